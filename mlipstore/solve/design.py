"""Which rows would teach a linear model most: I-optimal, D-optimal and largest-variance choice from its factor.

``P = R^T R`` is the information matrix of the rows so far. Rows S add ``ln det(P + S^T S) - ln det P``, twice the
logarithm of how much they shrink the confidence ellipsoid of the coefficients: D-optimality (Fedorov 1972). For
potentials Podryabinkin and Shapeev 2017, doi:10.1016/j.commatsci.2017.08.031, and Lysogorskiy et al. 2023,
doi:10.1103/PhysRevMaterials.7.043801, maximise such a determinant by MaxVol. I-optimality (Box and Draper 1959,
doi:10.1080/01621459.1959.10501525) asks instead how well all of some rows C are predicted: it lowers the sum of their
variances, ``tr (P + S^T S)^-1 C^T C``. Extreme rows count no more than they matter for C.

Neither the gain in the determinant nor the leverage ``a P^-1 a^T`` of a row ever grows when other rows are added, so a
greedy choice has to look again only at candidates whose last known value still leads (Minoux 1978,
doi:10.1007/BFb0006528). The gain in the variance of C can grow, though it rarely does: there that is an approximation.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np

from ..configuration import F8
from . import blas
from .blas import aligned, leading
from .linear import Reduced, column_norms

#: Weight of the prior rows relative to columns of unit norm: what the rows do not determine at all counts as known so
#: badly, and no worse, so that gains are finite.
_PRIOR = 1e-8


class Information:
    """The triangle of the information matrix of rows, and what other rows would add to it.

    :param problem: the weighted rows that are there
    :param alpha: penalty of the fit, one number or ``(M,)``
    """

    def __init__(self, problem: Reduced, alpha: float | F8 = 0.0) -> None:
        M = len(problem.c)
        self.n = M
        self._scale = column_norms(problem.R)
        self._L = aligned(M, leading(M))
        self._L[:, :M] = (problem.R / self._scale).T
        prior = np.sqrt(np.broadcast_to(np.asarray(alpha, float), (M,)) / self._scale**2 + _PRIOR**2)
        self._merge(self._L, np.diag(prior))
        self._aim: F8 = np.zeros((0, M))
        self._seen: F8 | None = None
        self._total = 1.0

    def aim_at(self, triangle: F8) -> None:
        """Say which rows are to be predicted well: C, or its triangle, :meth:`scaled`, ``(k, M)``."""
        self._aim, self._seen = triangle, None
        self._total = float(np.sum(self._seen_aim() ** 2)) or 1.0

    def _seen_aim(self) -> F8:
        """``C R^-1``: the squares of its elements are the variances of C."""
        if self._seen is None:
            self._seen = self._divided(self._aim).T
        return self._seen

    def _divided(self, rows: F8) -> F8:
        """``(rows R^-1)^T``, ``(M, k)``."""
        from scipy.linalg import solve_triangular

        return np.asarray(solve_triangular(self._L[:, : self.n].T, rows.T, trans="T", check_finite=False))

    def prediction_gain(self, rows: F8) -> float:
        """By which share of what it was at first :meth:`compressed` rows S lower the sum of the variances of C.

        With ``W = S R^-1`` and ``Z = C R^-1``: ``tr (1 + W W^T)^-1 W Z^T Z W^T``; the triangle of ``1 + W W^T`` is that
        of the QR factorisation of ``[1; W^T]``.
        """
        from scipy.linalg import solve_triangular

        if not self.n or not len(rows):
            return 0.0
        W = self._divided(rows)
        T = np.linalg.qr(np.vstack([np.eye(len(rows)), W]), mode="r")
        X = solve_triangular(T, (self._seen_aim() @ W).T, trans="T", check_finite=False)
        return float(np.sum(X**2)) / self._total

    def compressed(self, rows: F8) -> F8:
        """The same information as ``rows (k, M)`` in ``(min(k, M), M)`` numbers, for :meth:`gain` and :meth:`take`."""
        scaled = np.asarray(rows, float) / self._scale
        return np.asarray(np.linalg.qr(scaled, mode="r")) if len(scaled) > self.n else scaled

    def gain(self, rows: F8) -> float:
        """``ln det(P + S^T S) - ln det P`` of :meth:`compressed` rows S."""
        L = aligned(*self._L.shape)
        L[:] = self._L
        self._merge(L, rows)
        return 2.0 * float(np.sum(np.log(np.abs(_diagonal(L))) - np.log(np.abs(_diagonal(self._L)))))

    def take(self, rows: F8) -> None:
        """Add :meth:`compressed` rows."""
        self._seen = None
        self._merge(self._L, rows)

    def leverages(self, rows: F8) -> F8:
        """``a P^-1 a^T`` of each of :meth:`compressed` or, not compressed, scaled rows ``(k,)``."""
        if not self.n:
            return np.zeros(len(rows))
        W = self._divided(rows)
        return np.asarray(np.einsum("ij,ij->j", W, W))

    def scaled(self, rows: F8) -> F8:
        """Rows as :meth:`leverages` takes them."""
        return np.asarray(np.asarray(rows, float) / self._scale)

    def _merge(self, L: F8, rows: F8) -> None:
        n, m = self.n, len(rows)
        if not n or not m:
            return
        B = aligned(n, m)
        B[:] = rows.T
        nb = min(8 if n <= 256 else 32, n)
        t, work = aligned(n, nb), aligned(n, nb)
        triangle = m if m == n and not np.tril(rows, -1).any() else 0
        blas.tpqrt(m, n, triangle, nb, L.ctypes.data, L.shape[1], B.ctypes.data, m, t.ctypes.data, nb, work.ctypes.data)


def _diagonal(L: F8) -> F8:
    return np.asarray(np.einsum("ii->i", L[:, : len(L)]))


def greedy(
    first: Sequence[float],
    value: Callable[[int], float],
    take: Callable[[int], bool],
    number: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[int, float]]:
    """The ``number`` best candidates one after another, with their values at the time they were chosen.

    :param first: value of each candidate before anything is chosen; later values are never larger
    :param value: the present value of a candidate; ``take`` chooses it, or says that it is not to be chosen (False)
    """
    heap = [(-v, i, 0) for i, v in enumerate(first)]
    heapq.heapify(heap)
    chosen: list[tuple[int, float]] = []
    while heap and len(chosen) < number:
        v, i, known = heapq.heappop(heap)
        if known != len(chosen):  # from before the last choice: look again, unless it cannot lead anyway
            now = min(value(i), -v)
            if heap and -heap[0][0] > now:
                heapq.heappush(heap, (-now, i, len(chosen)))
                continue
            v = -now
        if take(i):
            chosen.append((i, -v))
            if progress is not None:
                progress(len(chosen), number)
    return chosen
