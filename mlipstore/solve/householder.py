"""Householder updates of a triangular factor by blocks of rows, in place on C-order memory.

``L`` is the transposed factor: a C-order array with ``L[j, i] = R[i, j]``, zero where i > j, so that its memory is the
upper triangle R in Fortran order, as LAPACK wants it.
"""

from __future__ import annotations

import numpy as np

from ..configuration import F8
from . import blas
from .blas import aligned, leading

_PANEL, _INNER = 64, 8


class Householder:
    """Workspace for updates of a factor of ``n`` columns by blocks of at most ``rows`` rows.

    Two levels: a panel of 64 columns goes through LAPACK dtpqrt, the columns to its right are updated by two matrix
    products with the block reflector I - Y T Y^T, Y = [I; V], whose T comes from the UT transform
    T^-1 = striu(V^T V) + (I + diag(V^T V)) / 2 (Joffrain et al. 2006, doi:10.1145/1141885.1141886). A column that is
    zero in the new rows has no reflector.
    """

    #: Up to this many columns one panel (LAPACK dtpqrt over all columns) is the faster form.
    NARROW = 256

    def __init__(self, n: int, rows: int) -> None:
        self.n = n
        k = self.width = self.panel_width(n)
        self._panel = aligned(k, leading(rows))
        self._t, self._work = aligned(k, _INNER), aligned(k, _INNER)
        self._gram, self._side = aligned(k, k), aligned(k, n)

    @staticmethod
    def panel_width(n: int) -> int:
        """Columns that are factored at once."""
        return n if n <= Householder.NARROW else _PANEL

    def update(self, L: F8, X: F8) -> None:
        """R <- R of [R; X]; the rows ``X`` (rows, >= n), with any leading dimension, are destroyed."""
        n, k, rows = self.n, self.width, len(X)
        ldr, ldx, ldv = L.strides[0] // 8, X.strides[0] // 8, self._panel.shape[1]
        for j in range(0, n, k):
            width = min(k, n - j)
            rest = n - j - width
            V = self._panel[:width, :rows]
            V[:] = X[:, j : j + width].T
            v, trailing = V.ctypes.data, X.ctypes.data + 8 * (j + width)
            blas.tpqrt(
                rows, width, 0, min(_INNER, width), L.ctypes.data + 8 * (j * ldr + j), ldr, v, ldv,
                self._t.ctypes.data, _INNER, self._work.ctypes.data,
            )  # fmt: skip
            if not rest:
                return
            gram, side = self._gram, self._side.reshape(-1)[: width * rest].reshape(width, rest)
            g, s = gram.ctypes.data, side.ctypes.data
            blas.syrk("T", width, rows, v, ldv, 0.0, g, k)
            diagonal = np.einsum("ii->i", gram)
            # LAPACK reflects nothing (T is zero) where nothing has to be eliminated; 2 / (1 + 0) would flip a sign
            diagonal[:] = np.where(diagonal == 0.0, np.inf, 0.5 * (diagonal + 1.0))
            above = L[j + width : n, j : j + width]
            side[:] = above.T
            blas.gemm("NN", rest, width, rows, 1.0, trailing, ldx, v, ldv, 1.0, s, rest)
            blas.trsm("R", "N", rest, width, g, k, s, rest)
            above -= side.T
            blas.gemm("NT", rest, rows, width, -1.0, s, rest, v, ldv, 1.0, trailing, ldx)


def merge_triangles(L: F8, other: F8, n: int) -> None:
    """R <- R of [R; R_other] for two transposed factors of n columns; ``other`` is destroyed (LAPACK dtpqrt, l = n)."""
    if n == 0:
        return
    nb = min(8 if n <= 256 else 16 if n <= 512 else 32, n)
    t, work = aligned(n, nb), aligned(n, nb)
    blas.tpqrt(
        n, n, n, nb, L.ctypes.data, L.strides[0] // 8, other.ctypes.data, other.strides[0] // 8,
        t.ctypes.data, nb, work.ctypes.data,
    )  # fmt: skip
