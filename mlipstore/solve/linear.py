"""Least squares on the triangular factor: truncated SVD, pivoted QR, ridge.

``(R, c, rest)`` stands for all rows: ``||A x - b||^2 = ||R x - c||^2 + rest^2`` for every x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..configuration import F8
from ..errors import SettingsError
from .blas import aligned, leading
from .factor import Factor
from .householder import merge_triangles


class Reduced(NamedTuple):
    """One target of a factor: R ``(M, M)``, c ``(M,)``, the norm below c, and the number of rows they stand for."""

    R: F8
    c: F8
    rest: float
    n_rows: int

    def residual_norm(self, x: F8) -> float:
        """``||A x - b||`` over all rows."""
        return float(np.hypot(np.linalg.norm(self.R @ x - self.c), self.rest))


@dataclass(frozen=True)
class Solution:
    """Coefficients and what is known about them.

    :param coefficients: ``(M,)``
    :param rank: number of directions that were kept
    :param singular_values: of the (column-scaled, penalised) matrix that was solved, descending; None where the method
        does not compute them
    :param condition: largest over smallest singular value of what was kept (an estimate in the 1-norm without them)
    :param residual_norm: ``||A x - b||`` over all rows, without a penalty
    """

    coefficients: F8
    rank: int
    singular_values: F8 | None
    condition: float
    residual_norm: float


def reduced(factor: Factor, target: int = 0) -> Reduced:
    """The problem of one target column."""
    if not 0 <= target < factor.n_targets:
        raise ValueError(f"target {target} of {factor.n_targets}")
    R, M = factor.R, factor.n_columns
    return Reduced(R[:M, :M], R[:M, M + target].copy(), float(np.linalg.norm(R[M:, M + target])), factor.n_rows)


def column_norms(R: F8) -> F8:
    """Norms of the columns, one where a column is zero: what to divide by."""
    norms = np.linalg.norm(R, axis=0)
    return np.where(norms > 0.0, norms, 1.0)


def svd_solve(R: F8, c: F8, rcond: float) -> tuple[F8, int, F8]:
    """Minimum-norm solution of R x = c without the singular values up to ``rcond`` times the largest.

    The same as ``scipy.linalg.lstsq(A, b, cond=rcond)`` on the rows themselves, whose singular values R has. Returns
    the coefficients, the rank and all singular values.
    """
    from scipy.linalg import LinAlgError, lstsq, svd

    if len(R) == 0:
        return np.zeros(0), 0, np.zeros(0)
    try:
        x, _, rank, s = lstsq(R, c, cond=rcond, lapack_driver="gelsd", check_finite=False)
    except LinAlgError:  # divide and conquer did not converge; plain QR iteration does
        U, s, Vt = svd(R, lapack_driver="gesvd", check_finite=False)
        rank = int(np.sum(s > rcond * s[0]))
        x = Vt[:rank].T @ ((U[:, :rank].T @ c) / s[:rank])
    return np.asarray(x), int(rank), np.asarray(s)


def qr_solve(R: F8, c: F8, rcond: float | None = None) -> tuple[F8, int, float]:
    """Solution of R x = c with columns scaled to unit norm: coefficients, rank, estimated condition number.

    Back substitution where R is numerically nonsingular (condition below 1/rcond; default M eps), which is untouched
    by badly scaled columns; else a complete orthogonal factorisation (LAPACK dgelsy) with the smallest scaled norm.
    The condition number is an estimate of six digits: the last bits of sums of absolute values in BLAS depend on where
    an array lies in memory, and what is stored must not.
    """
    from scipy.linalg import lapack, lstsq, solve_triangular

    M = len(R)
    if M == 0:
        return np.zeros(0), 0, 1.0
    rcond = M * float(np.finfo(float).eps) if rcond is None else rcond
    scale = column_norms(R)
    scaled = R / scale
    inverse_condition, info = lapack.dtrcon(np.asfortranarray(scaled), uplo="U")
    if info == 0 and inverse_condition > rcond:
        x = solve_triangular(scaled, c, check_finite=False)
        return x / scale, M, float(f"{1.0 / float(inverse_condition):.6g}")
    x, _, rank, _ = lstsq(scaled, c, cond=rcond, lapack_driver="gelsy", check_finite=False)
    return x / scale, int(rank), float(f"{1.0 / max(float(inverse_condition), rcond):.6g}")


def penalised(problem: Reduced, alpha: ArrayLike) -> Reduced:
    """The problem with the rows ``sqrt(alpha_j) x_j = 0`` added, by an orthogonal transformation.

    :param alpha: penalty of each coefficient: one number, or ``(M,)``
    """
    M = len(problem.c)
    alpha = np.asarray(alpha, float)
    if alpha.shape not in ((), (M,)):
        raise SettingsError(f"{alpha.size} penalties for {M} coefficients. Give one number, or one per column.")
    if not (np.isfinite(alpha) & (alpha >= 0.0)).all():
        raise SettingsError(f"penalty alpha = {alpha[()] if alpha.ndim == 0 else alpha.min()}: it cannot be negative.")
    if not alpha.any():
        return problem
    L, D = aligned(M + 1, leading(M + 1)), aligned(M + 1, leading(M + 1))
    L[:M, :M] = problem.R.T
    L[M, :M], L[M, M] = problem.c, problem.rest
    np.einsum("ii->i", D[:M, :M])[:] = np.sqrt(np.broadcast_to(alpha, M))
    merge_triangles(L, D, M + 1)
    return Reduced(L[:M, :M].T.copy(), L[M, :M].copy(), abs(float(L[M, M])), problem.n_rows + M)


def ridge_solve(problem: Reduced, alpha: ArrayLike, rcond: float | None = None) -> tuple[F8, int, float]:
    """Minimiser of ``||A x - b||^2 + sum_j alpha_j x_j^2``; see :func:`qr_solve` for what is returned."""
    stacked = penalised(problem, alpha)
    return qr_solve(stacked.R, stacked.c, rcond)
