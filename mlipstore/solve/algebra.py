"""What kept factors give without reading a row: re-weighted fits, errors of any coefficients, leaving rows out.

One factor ``S (n, n)`` per key (segment, group, kind of row, fold ...), of its unweighted rows ``[A | B]`` with M
columns and T targets, n = M + T. A weight multiplies all rows of a key: it is the root of a weight of squared errors.
Everything is exact to rounding. Mean absolute and maximum errors are not in a factor: they need the residuals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..configuration import F8
from . import blas
from .blas import aligned, leading
from .householder import merge_triangles
from .linear import Reduced

_EPS = float(np.finfo(float).eps)


def stack(triangles: Iterable[F8], weights: Iterable[float]) -> F8:
    """The factor of all keys with their rows multiplied by ``weights``: R of the stacked ``w_k S_k``, ``(n, n)``.

    Keys of weight zero are left out. The bits depend on the order of the keys.
    """
    L: F8 | None = None
    other: F8 | None = None
    n = 0
    for S, w in zip(triangles, weights, strict=True):
        if L is None:
            n = len(S)
            L, other = aligned(n, leading(n)), aligned(n, leading(n))
            L[:, :n] = w * S.T
        elif w != 0.0:
            assert other is not None
            other[:, :n] = w * S.T
            merge_triangles(L, other, n)
    if L is None:
        raise ValueError("there is nothing to stack")
    R = np.ascontiguousarray(L[:, :n].T)
    return np.asarray(R * np.where(np.signbit(np.diag(R)), -1.0, 1.0)[:, None] + 0.0)


def problem(S: F8, n_columns: int, n_rows: int, mix: ArrayLike = 1.0) -> Reduced:
    """The least-squares problem in a factor, for the target ``B @ mix``.

    :param mix: coefficients of the target columns ``(T,)``, such as 1, -1 for label minus baseline; one number stands
        for the first target times this number
    """
    target = S[:, n_columns:] @ _mix(mix, S.shape[1] - n_columns)
    R, c = S[:n_columns, :n_columns], target[:n_columns]
    return Reduced(R.copy(), c, float(np.linalg.norm(target[n_columns:])), n_rows)


def residual_norms(S: F8, x: F8, mix: ArrayLike = 1.0) -> F8:
    """``||A x - B mix||`` over the rows of a key, for coefficients ``(M,)`` or ``(M, k)`` at once: ``(k,)``."""
    columns = np.asarray(x).reshape(len(x), -1)
    M = len(columns)
    target = S[:, M:] @ _mix(mix, S.shape[1] - M)
    return np.asarray(np.linalg.norm(S[:, :M] @ columns - target[:, None], axis=0))


def rmse(S: F8, n_rows: int, x: F8, mix: ArrayLike = 1.0) -> F8:
    """Root mean square error over the rows of a key, trained on or not, for one or several coefficient vectors."""
    return np.asarray(residual_norms(S, x, mix) / np.sqrt(n_rows))


def leave_one_out(triangles: Sequence[F8], weights: Sequence[float]) -> Iterator[tuple[int, F8]]:
    """``(i, factor of all keys but the i-th)`` for each key; with folds as keys this is K-fold cross-validation.

    Halves the keys again and again, so K keys cost K log2 K merges and log2 K factors of memory.
    """
    if len(triangles) < 2:
        raise ValueError("leaving one out takes at least two keys")

    def visit(first: int, last: int, outside: F8 | None) -> Iterator[tuple[int, F8]]:
        if last - first == 1:
            assert outside is not None
            yield first, outside
            return
        middle = (first + last) // 2
        for here, there in (((first, middle), (middle, last)), ((middle, last), (first, middle))):
            parts = [] if outside is None else [outside]
            factors = [*parts, *triangles[there[0] : there[1]]]
            yield from visit(*here, stack(factors, [*([1.0] * len(parts)), *weights[there[0] : there[1]]]))

    return visit(0, len(triangles), None)


class Reweighting:
    """Many re-weighted fits of the same keys: one Cholesky factorisation each instead of one QR per key.

    With R0 the factor of all keys, W_k = S_k R0^-1 and H_k = W_k^T W_k, the factor for weights w is
    chol(sum w_k^2 H_k) R0. Nothing is lost by that as long as the sum is well conditioned, i.e. R0 represents the
    weighted rows; where it is not, the keys are stacked.

    :param weights: typical weights, for R0; all one when None
    """

    #: Condition number of the weighted sum (digits lost: half of its exponent) above which keys are stacked.
    LIMIT = 1e4

    def __init__(self, triangles: Sequence[F8], weights: Sequence[float] | None = None) -> None:
        from scipy.linalg import solve_triangular

        self.triangles = triangles
        R0 = stack(triangles, [1.0] * len(triangles) if weights is None else weights)
        norms = np.linalg.norm(R0, axis=0)
        self._live = np.flatnonzero(norms)
        R0 = R0[np.ix_(self._live, self._live)]
        pivots = np.einsum("ii->i", R0)
        pivots[:] = np.maximum(pivots, _EPS * norms[self._live])  # dependent columns, as in solve.preconditioned
        self._R0 = R0
        m = len(R0)
        self._upper = np.triu_indices(m)
        self._H = np.empty((len(triangles), len(self._upper[0])))
        for k, S in enumerate(triangles):
            W = solve_triangular(R0, S[:, self._live].T, trans="T", check_finite=False).T
            self._H[k] = (W.T @ W)[self._upper]
        self.stacked = 0

    @staticmethod
    def projected_bytes(n_keys: int, n: int) -> int:
        """Memory for factors of n columns, the factors themselves included."""
        return 8 * (n_keys * (n * n + n * (n + 1) // 2) + 6 * n * n)

    def triangle(self, weights: Sequence[float] | F8) -> F8:
        """The same as ``stack(triangles, weights)``, to rounding."""
        w = np.asarray(weights, float)
        found = self.factored(self.gram(w))
        if found is None:
            self.stacked += 1
            return stack(self.triangles, w)
        return found

    def gram(self, weights: F8, keys: slice = slice(None)) -> F8:
        """``sum w_k^2 H_k`` over the keys, as one row of numbers: sums of these stand for all of their keys."""
        return np.asarray(np.square(weights) @ self._H[keys])

    def products(self, u: F8, v: F8) -> F8:
        """What :meth:`key_products` takes, for two vectors ``(n,)``; sums of it stand for sums of products."""
        a, b = self._R0 @ u[self._live], self._R0 @ v[self._live]
        both = np.outer(a, b)
        both += both.T
        np.einsum("ii->i", both)[:] *= 0.5
        return np.asarray(both[self._upper])

    def key_products(self, products: F8, keys: slice = slice(None)) -> F8:
        """``(S_k u) . (S_k v)`` for every key; good to about ``eps ||S u|| ||S v||`` over all keys."""
        return np.asarray(self._H[keys] @ products)

    def factored(self, gram: F8) -> F8 | None:
        """The factor that a :meth:`gram` stands for; None where it is too badly conditioned to be it."""
        from scipy.linalg import lapack

        m, n = len(self._R0), len(self.triangles[0])
        H = np.zeros((m, m), order="F")
        H[self._upper] = gram
        C, info = lapack.dpotrf(H, lower=0, clean=1, overwrite_a=1)
        if info == 0:
            inverse_condition, info = lapack.dtrcon(C, uplo="U")
        if info or inverse_condition**2 * self.LIMIT < 1.0:
            return None
        R = aligned(m, m).T
        R[:] = self._R0
        blas.trmm("N", m, m, C.ctypes.data, m, R.T.ctypes.data, m)
        if m == n:
            return np.ascontiguousarray(R)
        full = np.zeros((n, n))
        full[np.ix_(self._live, self._live)] = R
        return full


def _mix(mix: ArrayLike, n_targets: int) -> F8:
    mix = np.asarray(mix, float)
    if mix.ndim == 0:
        first: F8 = np.zeros(n_targets)
        first[:1] = mix
        return first
    if mix.shape != (n_targets,):
        raise ValueError(f"{mix.size} coefficients for {n_targets} targets")
    return mix
