"""Linear models with few coefficients, from the factor as if it were the data.

``||A x - b||^2 = ||R x - c||^2 + rest^2`` makes (R, c) an equivalent data set of M rows for every estimator that sees
the rows through this sum. Estimators that divide it by their number of rows get a penalty that is rescaled by N / M.
"""

from __future__ import annotations

import warnings

import numpy as np

from ..configuration import F8
from ..errors import ComputeError, MissingDependencyError
from .linear import Reduced, Solution, column_norms


def elastic_net(
    problem: Reduced, alpha: float | None, l1_ratio: float, scale: bool, tol: float, max_iter: int
) -> Solution:
    """Minimiser of ``||A x - b||^2 / 2 + N alpha (l1_ratio |x|_1 + (1 - l1_ratio) / 2 ||x||^2)`` by scikit-learn.

    The same alpha as in ``sklearn.linear_model.ElasticNet`` on all N rows.

    :param alpha: penalty; 1e-4 of the smallest one that leaves nothing when None
    :param scale: penalise coefficients in units that give every column unit root mean square
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import ElasticNet
    except ImportError as error:
        raise MissingDependencyError(
            "the solvers lasso and elastic-net need scikit-learn: pip install scikit-learn"
        ) from error
    M, N = len(problem.c), max(problem.n_rows, 1)
    if M == 0:
        return _solution(problem, np.zeros(0))
    units = column_norms(problem.R) / np.sqrt(N) if scale else np.ones(M)
    R = problem.R / units
    if alpha is None:
        alpha = 1e-4 * float(np.abs(R.T @ problem.c).max()) / N / max(l1_ratio, 1e-3)
    if alpha == 0.0:  # the targets are orthogonal to all columns
        return _solution(problem, np.zeros(M))
    estimator = ElasticNet(alpha=alpha * N / M, l1_ratio=l1_ratio, fit_intercept=False, tol=tol, max_iter=max_iter)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            estimator.fit(R, problem.c)
        except ConvergenceWarning as error:
            raise ComputeError(
                f"coordinate descent did not converge in {max_iter:,} sweeps at alpha = {alpha:.3g}: "
                "use a larger alpha, a larger tol, or scale = true."
            ) from error
    return _solution(problem, estimator.coef_ / units)


def matching_pursuit(problem: Reduced, n_nonzero: int) -> Solution:
    """Orthogonal matching pursuit: columns are taken one by one, always the one that reduces the residual most steeply.

    Columns count at unit norm (Pati et al. 1993, doi:10.1109/ACSSC.1993.342465); the coefficients of the chosen ones
    are those of least squares.
    """
    M = len(problem.c)
    columns = problem.R / column_norms(problem.R)
    basis: F8 = np.zeros((M, 0))
    residual = problem.c.copy()
    chosen: list[int] = []
    free = np.linalg.norm(columns, axis=0) > 0.0
    while len(chosen) < min(n_nonzero, M) and free.any():
        gain = np.where(free, np.abs(columns.T @ residual), -1.0)
        best = int(np.argmax(gain))
        if gain[best] <= 1e-14 * float(np.linalg.norm(problem.c)):
            break
        free[best] = False
        v = columns[:, best]
        for _ in range(2):  # twice is enough
            v = v - basis @ (basis.T @ v)
        size = float(np.linalg.norm(v))
        if size < 1e-12:  # it depends on those that were taken
            continue
        chosen.append(best)
        basis = np.column_stack([basis, v / size])
        residual = residual - basis[:, -1] * (basis[:, -1] @ residual)
    x = np.zeros(M)
    if chosen:
        x[chosen] = np.linalg.lstsq(columns[:, chosen], problem.c, rcond=None)[0]
    return _solution(problem, x / column_norms(problem.R))


def relevance(problem: Reduced, threshold: float, tol: float, max_iter: int) -> Solution:
    """Automatic relevance determination: a prior precision per coefficient, all of them by maximum evidence.

    MacKay's updates (Tipping 2001, JMLR 1, 211, eqs. 16-18) with the true number of rows and the true residual.
    Columns and targets are used at unit root mean square; coefficients whose prior precision passes ``threshold`` in
    these units are left out.
    """
    M, N = len(problem.c), max(problem.n_rows, 1)
    units = column_norms(problem.R) / np.sqrt(N)
    size = float(np.hypot(np.linalg.norm(problem.c), problem.rest)) / np.sqrt(N)
    if M == 0 or size == 0.0:
        return _solution(problem, np.zeros(M))
    R, c, rest = problem.R / units, problem.c / size, problem.rest / size
    kept = np.flatnonzero(np.linalg.norm(R, axis=0))
    prior, noise = np.ones(len(kept)), 1.0
    mean: F8 = np.zeros(0)
    old: F8 = np.zeros(M)
    for _ in range(max_iter):
        mean, variance = _posterior(R[:, kept], c, prior, noise)
        determined = np.clip(1.0 - prior * variance, 1e-15, 1.0)
        misfit = float(np.sum((R[:, kept] @ mean - c) ** 2)) + rest**2
        with np.errstate(divide="ignore"):
            prior = determined / mean**2
        noise = max(N - float(determined.sum()), 1e-3 * N) / max(misfit, 1e-30 * N)
        relevant = prior < threshold
        new: F8 = np.zeros(M)
        new[kept] = mean
        kept, prior = kept[relevant], prior[relevant]
        if relevant.all() and float(np.abs(new - old).max()) <= tol * float(np.abs(new).max()):
            break
        old = new
    x: F8 = np.zeros(M)
    if len(kept):
        mean, _ = _posterior(R[:, kept], c, prior, noise)
        x[kept] = mean
    return _solution(problem, x * size / units)


def _posterior(R: F8, c: F8, prior: F8, noise: float) -> tuple[F8, F8]:
    """Mean and variances of coefficients, by QR of the rows stacked on the prior."""
    from scipy.linalg import solve_triangular

    k = R.shape[1]
    stacked = np.zeros((len(R) + k, k + 1))
    stacked[: len(R), :k], stacked[: len(R), k] = np.sqrt(noise) * R, np.sqrt(noise) * c
    np.einsum("ii->i", stacked[len(R) :, :k])[:] = np.sqrt(prior)
    P: F8 = np.asarray(np.linalg.qr(stacked, mode="r"))
    inverse = solve_triangular(P[:k, :k], np.eye(k), check_finite=False)
    return np.asarray(inverse @ P[:k, k]), np.asarray(np.sum(inverse**2, axis=1))


def _solution(problem: Reduced, x: F8) -> Solution:
    """With the number of coefficients that are not zero as rank, and the condition number of their columns."""
    used = np.flatnonzero(x)
    condition = float(np.linalg.cond(problem.R[:, used])) if len(used) else float("inf")
    return Solution(np.asarray(x), len(used), None, condition, problem.residual_norm(x))
