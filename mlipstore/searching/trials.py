"""Trials of a search: re-weighted fits from kept factors, their errors on rows that were not fitted, and derivatives.

A trial costs, per set, one Cholesky factorisation and two products with small matrices, whatever the number of rows.

Derivatives (adjoint method): with x the minimiser of ``sum w_u^2 ||S_u [x; -1]||^2 + alpha ||x||^2``, P the matrix of
its normal equations and ``P l = dJ/dx``: ``dJ/d(ln w_u) = -2 w_u^2 (S_u [l; 0]) . (S_u [x; -1])``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8
from ..kept.fit import FactorProblem, factor_of
from ..solve.algebra import Reweighting, stack
from ..solve.linear import Reduced, column_norms, penalised
from .settings import Search
from .space import DIRECT, Space, space

#: Cost of the values of the objectives ``(m,)`` and its derivatives by them.
Combine = Callable[[F8], tuple[float, F8]]
_EPS = float(np.finfo(float).eps)


class Trials:
    """Evaluates points of a search space, given in the numbers that optimisers move (logarithms of factors)."""

    def __init__(self, problem: FactorProblem, search: Search) -> None:
        self.space: Space = space(problem, search)
        s = self.space
        self._solver: Any = problem.problem.solver
        solver = problem.problem.settings.solver
        self.direct = solver.type in DIRECT
        self._alpha: Any = self._solver.alpha if solver.type == "ridge" else 0.0
        self.low = np.array([p.inner(p.low) for p in s.parameters])
        self.high = np.array([p.inner(p.high) for p in s.parameters])
        self.start = np.array([p.inner(v) for p, v in zip(s.parameters, s.start, strict=True)])
        self._parameter = np.array([p for p, _ in s.units])
        self._factor = np.array([f for _, f in s.units])
        edges = np.searchsorted(s.part, np.arange(s.sets.shape[1] + 1))
        self._parts = [slice(int(a), int(b)) for a, b in pairwise(edges)]
        self._reweighting = Reweighting(s.triangles)
        self._reweighting.LIMIT = 1e10  # 5 of 16 digits: a search can do with the rest
        #: values of the objectives at the settings of [fit]
        self.base = self.evaluate(self.start)[0]

    def natural(self, theta: F8) -> F8:
        """Values of the parameters: factors, penalty, shifts in eV."""
        return np.array([p.value(float(t)) for p, t in zip(self.space.parameters, theta, strict=True)])

    def inner(self, values: F8) -> F8:
        """The inverse of :meth:`natural`."""
        return np.array([p.inner(float(v)) for p, v in zip(self.space.parameters, values, strict=True)])

    def evaluate(self, theta: F8, combine: Combine | None = None) -> tuple[F8, float, F8]:
        """Objectives ``(m,)`` at a point, and with ``combine`` their cost and its derivatives by theta."""
        s, K = self.space, self.space.n_columns
        w = self._weights(theta)
        P = np.stack([self._reweighting.gram(w[part], part) for part in self._parts])
        mix = self._mix(theta)
        fits = [self._fit(i, fitted.astype(float) @ P, w, theta, mix) for i, fitted in enumerate(s.sets)]
        errors = [[V @ fit.z for V, fit in zip(row, fits, strict=True)] for row in s.validation]
        values = np.sqrt([sum(float(e @ e) for e in row) for row in errors])
        if combine is None:
            return values, 0.0, np.zeros(0)
        cost, slopes = combine(values)
        share = np.divide(slopes, values, out=np.zeros_like(slopes), where=values > 0.0)  # by half the squares
        gradient = np.zeros(len(theta))
        products = np.zeros_like(P)
        for i, fit in enumerate(fits):
            g: F8 = np.zeros(len(fit.z))
            for a, row, e in zip(share, s.validation, errors, strict=True):
                g += a * (row[i].T @ e[i])
            adjoint = np.zeros(len(fit.z))
            adjoint[:K] = fit.inverse(g[:K])
            products[s.sets[i]] += self._reweighting.products(adjoint, fit.z)
            if s.ridge is not None:
                gradient[s.ridge] -= np.exp(theta[s.ridge]) * float(adjoint[:K] @ fit.z[:K])
            for number, column in s.shifts:
                through = (fit.R[:K, :K] @ adjoint[:K]) @ fit.R[:K, column]
                gradient[number] += float(through) - float(g[column])
        by_key = np.concatenate([
            self._reweighting.key_products(p, part) for p, part in zip(products, self._parts, strict=True)
        ])  # fmt: skip
        parameter = self._parameter[s.unit]
        varied = parameter >= 0
        np.add.at(gradient, parameter[varied], -2.0 * (w**2 * by_key)[varied])
        return values, cost, gradient

    def _weights(self, theta: F8) -> F8:
        """Factor on the weighted rows of each triangle."""
        by_unit = self._factor.copy()
        varied = self._parameter >= 0
        by_unit[varied] *= np.exp(theta[self._parameter[varied]])
        return by_unit[self.space.unit]

    def _mix(self, theta: F8) -> F8:
        """Coefficients of the columns behind those that are solved for: shifts, then the target."""
        mix = np.zeros(self.space.triangles[0].shape[1] - self.space.n_columns)
        mix[-1] = 1.0
        for parameter, column in self.space.shifts:
            mix[column - self.space.n_columns] = theta[parameter]
        return mix

    def _fit(self, i: int, gram: F8, w: F8, theta: F8, mix: F8) -> _Fit:
        s, K = self.space, self.space.n_columns
        R = self._reweighting.factored(gram)
        fitted = s.sets[i][s.part]
        if R is None:
            R = stack([S for S, use in zip(s.triangles, fitted, strict=True) if use], w[fitted])
        target = R[:, K:] @ mix
        problem = Reduced(R[:K, :K], target[:K], float(np.linalg.norm(target[K:])), int(s.rows[fitted].sum()))
        alpha = self._alpha if s.ridge is None else np.exp(theta[s.ridge])
        return _Fit(R, problem, alpha, mix, None if self.direct else self._solver)


class _Fit:
    """The solution of one set: ``z = [x; -shifts; -1]``, so that ``S z`` are the residuals of rows with triangle S."""

    def __init__(self, R: F8, problem: Reduced, alpha: Any, mix: F8, solver: Any) -> None:
        from scipy.linalg import lapack, svd

        self.R = R
        if solver is not None:
            S = np.block([[problem.R, problem.c[:, None]], [np.zeros((1, len(problem.c))), problem.rest]])
            self.z = np.append(solver.solve(factor_of(S, problem.n_rows)).coefficients, -mix)
            return
        solved = penalised(problem, alpha) if np.any(alpha) else problem
        self._scale = column_norms(solved.R)
        self._T = np.asfortranarray(solved.R / self._scale)
        self._pseudo: tuple[F8, F8, F8] | None = None
        inverse_condition, info = lapack.dtrcon(self._T, uplo="U")
        if info or inverse_condition < len(problem.c) * _EPS:  # directions that the rows do not determine
            U, d, Vt = svd(self._T, check_finite=False)
            rank = int(np.sum(d > 1e-13 * d[0])) if len(d) and d[0] > 0.0 else 0
            self._pseudo = U[:, :rank], d[:rank], Vt[:rank]
        self.z = np.append(self._back(solved.c, False) / self._scale, -mix)

    def inverse(self, g: F8) -> F8:
        """``P^-1 g`` for the matrix P of the normal equations."""
        return np.asarray(self._back(self._back(g / self._scale, True), False) / self._scale)

    def _back(self, c: F8, transposed: bool) -> F8:
        """The scaled triangle, or its transpose, divided into c."""
        from scipy.linalg import lapack

        if self._pseudo is not None:
            U, d, Vt = self._pseudo
            return np.asarray(U @ ((Vt @ c) / d) if transposed else Vt.T @ ((U.T @ c) / d))
        x, _ = lapack.dtrtrs(self._T, c, lower=0, trans=1 if transposed else 0)
        return np.asarray(x)


def not_dominated(values: F8) -> NDArray[np.int64]:
    """Points ``(n, m)`` that no other one beats in every objective, the best in the first objective first."""
    finite = np.flatnonzero(np.isfinite(values).all(axis=1))
    order = finite[np.lexsort(values[finite].T[::-1])]
    if values.shape[1] == 1:
        return order[:1]
    kept: list[int] = []
    best = np.full((0, values.shape[1]), np.inf)
    for i in order:
        if not (best <= values[i]).all(axis=1).any():
            kept.append(int(i))
            best = values[kept]
    return np.array(kept, np.int64)
