"""How much to regularise, from the factor alone: the ridge path, generalised cross-validation, Bayesian evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..configuration import F8
from .algebra import stack
from .linear import Reduced

_LOG_2PI = float(np.log(2.0 * np.pi))


class RidgePath:
    """All minimisers of ``||A x - b||^2 + alpha ||x / scale||^2`` from one singular value decomposition of R.

    With R diag(scale) = U s V^T: ``x(alpha) = scale V (s U^T c / (s^2 + alpha))``.

    :param scale: expected size of each coefficient ``(M,)``; all one when None
    """

    def __init__(self, problem: Reduced, scale: ArrayLike | None = None) -> None:
        from scipy.linalg import svd

        self.n_rows = problem.n_rows
        M = len(problem.c)
        self.scale: F8 = np.ones(M) if scale is None else np.asarray(scale, float)
        U, s, Vt = svd(problem.R * self.scale, check_finite=False) if M else (np.eye(0), np.zeros(0), np.eye(0))
        self.singular_values: F8 = s
        self._Vt: F8 = Vt
        self._projected: F8 = U.T @ problem.c
        self._rest = problem.rest

    def coefficients(self, alpha: float) -> F8:
        """``x(alpha)``, ``(M,)``; for alpha = 0 that of minimum norm."""
        return np.asarray(self.scale * (self._Vt.T @ self._scaled(alpha)))

    def residual_norm(self, alpha: float) -> float:
        """``||A x(alpha) - b||``."""
        r = self._projected - self.singular_values * self._scaled(alpha)
        return float(np.hypot(np.linalg.norm(r), self._rest))

    def penalty(self, alpha: float) -> float:
        """``||x(alpha) / scale||^2``."""
        return float(np.sum(self._scaled(alpha) ** 2))

    def degrees_of_freedom(self, alpha: float) -> float:
        """``sum s^2 / (s^2 + alpha)``, the trace of the hat matrix."""
        return float(np.sum(self.singular_values * self._filter(alpha)))

    def gcv(self, alpha: float) -> float:
        """Generalised cross-validation, ``N ||r||^2 / (N - dof)^2`` (Golub et al. 1979, doi:10.2307/1268518)."""
        free = self.n_rows - self.degrees_of_freedom(alpha)
        return self.n_rows * self.residual_norm(alpha) ** 2 / free**2 if free > 0 else float("inf")

    def log_evidence(self, prior: float, noise: float) -> float:
        """log p(b | prior, noise) with prior precision ``prior / scale^2`` and noise precision ``noise``.

        Bishop, Pattern Recognition and Machine Learning (2006), eq. 3.86.
        """
        alpha, s = prior / noise, self.singular_values
        misfit = noise * self.residual_norm(alpha) ** 2 + prior * self.penalty(alpha)
        determinant = float(np.sum(np.log1p((noise / prior) * s**2)))
        return float(0.5 * (self.n_rows * (np.log(noise) - _LOG_2PI) - misfit - determinant))

    def minimise_gcv(self) -> float:
        """The penalty alpha with the smallest :meth:`gcv`."""
        return self._minimise(lambda alpha: float(np.log(self.gcv(alpha))))

    def maximise_evidence(self) -> tuple[float, float]:
        """Prior and noise precision of largest evidence. Their ratio is the penalty alpha.

        For a fixed ratio the best noise precision is N over the penalised misfit; the ratio is searched for.
        """

        def noise_at(alpha: float) -> float:
            return self.n_rows / (self.residual_norm(alpha) ** 2 + alpha * self.penalty(alpha))

        def cost(alpha: float) -> float:
            noise = noise_at(alpha)
            return -self.log_evidence(alpha * noise, noise)

        alpha = self._minimise(cost)
        noise = noise_at(alpha)
        return alpha * noise, noise

    def _filter(self, alpha: float) -> F8:
        s = self.singular_values
        d = s**2 + alpha
        return np.asarray(np.divide(s, d, out=np.zeros_like(s), where=d > 0.0))

    def _scaled(self, alpha: float) -> F8:
        return np.asarray(self._filter(alpha) * self._projected)

    def _minimise(self, cost: Callable[[float], float]) -> float:
        """Minimum over alpha: the best of a logarithmic grid over all scales that matter, refined."""
        from scipy.optimize import minimize_scalar

        top = float(self.singular_values[0]) ** 2 if len(self.singular_values) else 1.0
        top = top if top > 0.0 else 1.0
        grid = np.log(top) + np.log(10.0) * np.linspace(-30.0, 4.0, 137)
        with np.errstate(divide="ignore"):
            costs = np.array([cost(float(np.exp(g))) for g in grid])
        i = int(np.nanargmin(costs))
        low, high = grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)]
        found = minimize_scalar(
            lambda g: cost(float(np.exp(g))), bounds=(low, high), method="bounded", options={"xatol": 1e-7}
        )
        return float(np.exp(found.x if found.fun <= costs[i] else grid[i]))


@dataclass(frozen=True)
class Noise:
    """Result of :func:`maximise_noise_evidence`.

    :param prior: precision of the coefficients (divided by scale squared)
    :param noise: precision of the rows of each key; its root is the weight of the key's rows
    :param coefficients: posterior mean ``(M,)``
    """

    prior: float
    noise: F8
    coefficients: F8
    log_evidence: float


def noise_evidence(
    triangles: Sequence[F8], n_rows: Sequence[int], prior: float, noise: ArrayLike, scale: ArrayLike | None = None
) -> tuple[float, F8, F8]:
    """Log evidence of several kinds of rows with a noise precision each, and its gradient.

    :param triangles: factor ``(M + 1, M + 1)`` of the unweighted rows of each kind
    :returns: the log evidence, its derivatives by log prior and the log noise of each kind, the posterior mean
    """
    from scipy.linalg import solve_triangular

    M = len(triangles[0]) - 1
    noise = np.asarray(noise, float)
    scale = np.ones(M) if scale is None else np.asarray(scale, float)
    prior_rows = np.zeros((M + 1, M + 1))
    np.einsum("ii->i", prior_rows)[:M] = np.sqrt(prior) / scale
    P = stack([prior_rows, *triangles], [1.0, *np.sqrt(noise)])
    mean = solve_triangular(P[:M, :M], P[:M, M], check_finite=False)
    total = float(np.sum(n_rows))
    log_evidence = 0.5 * (
        M * np.log(prior) - 2.0 * np.sum(np.log(scale)) + np.sum(np.asarray(n_rows) * np.log(noise))
        - P[M, M] ** 2 - total * _LOG_2PI
    ) - float(np.sum(np.log(np.diag(P)[:M])))  # fmt: skip
    gradient = np.empty(1 + len(triangles))
    inverse = solve_triangular(P[:M, :M], np.diag(1.0 / scale), trans="T", check_finite=False)
    gradient[0] = 0.5 * (M - prior * (np.sum((mean / scale) ** 2) + np.sum(inverse**2)))
    for k, S in enumerate(triangles):
        spread = solve_triangular(P[:M, :M], S[:, :M].T, trans="T", check_finite=False)
        misfit = np.sum((S @ np.append(mean, -1.0)) ** 2) + np.sum(spread**2)
        gradient[1 + k] = 0.5 * (n_rows[k] - noise[k] * misfit)
    return float(log_evidence), gradient, mean


def maximise_noise_evidence(
    triangles: Sequence[F8], n_rows: Sequence[int], scale: ArrayLike | None = None, start: ArrayLike | None = None
) -> Noise:
    """Noise precision of each kind of rows and prior precision that maximise the evidence.

    :param start: first guess of the noise precisions; from a fit in which every kind counts the same when None
    """
    from scipy.optimize import minimize

    M = len(triangles[0]) - 1
    counts = np.maximum(np.asarray(n_rows, float), 1.0)
    if start is None:
        sizes = np.array([np.linalg.norm(S[:, M]) for S in triangles]) / np.sqrt(counts)
        sizes = np.where(sizes > 0.0, sizes, 1.0)
        x = np.linalg.lstsq(*_split(stack(triangles, 1.0 / (sizes * np.sqrt(counts))), M), rcond=1e-12)[0]
        misfit = np.array([np.sum((S @ np.append(x, -1.0)) ** 2) for S in triangles])
        noise = counts / np.maximum(misfit, 1e-20 * counts * sizes**2)
        size = np.sum((x / (1.0 if scale is None else np.asarray(scale))) ** 2)
        prior = M / float(size) if size > 0.0 else 1.0
    else:
        noise, prior = np.asarray(start, float), 1.0

    def cost(logs: F8) -> tuple[float, F8]:
        value, gradient, _ = noise_evidence(triangles, n_rows, float(np.exp(logs[0])), np.exp(logs[1:]), scale)
        return -value, -gradient

    first = np.log(np.append(prior, noise))
    bounds = [(v - 46.0, v + 46.0) for v in first]  # 20 decades either way
    found = minimize(cost, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500, "ftol": 1e-14})
    prior, noise = float(np.exp(found.x[0])), np.exp(found.x[1:])
    value, _, mean = noise_evidence(triangles, n_rows, prior, noise, scale)
    return Noise(prior, noise, mean, value)


def _split(S: F8, M: int) -> tuple[F8, F8]:
    return S[:, :M], S[:, M]
