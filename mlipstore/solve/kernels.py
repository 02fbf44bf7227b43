"""Arithmetic of a triangular factor: on the CPU through BLAS, or with any array library (NumPy, CuPy).

A factor is held transposed: ``L`` is a C-order array ``(n, ld)`` with ``L[j, i] = R[i, j]`` and zeros where i > j. Its
memory is R in Fortran order for LAPACK; for an array library it is a lower triangle.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol

import numpy as np

from ..configuration import F8
from . import blas
from .householder import Householder, merge_triangles

#: Blocks on the diagonal of a triangle that rows are divided by: they are multiplied by the inverse of blocks up to the
#: first width, if those are well conditioned, and left to dtrsm, whose rate is a quarter, from the second width down.
_INVERSE, _SOLVE = 64, 32
#: Largest ``|| |R| |R^-1| ||`` (infinity norm; Higham 2002, sec. 14.2) of a block whose inverse is used: it bounds the
#: rounding error of the product over that of a substitution.
_WELL_CONDITIONED = 10.0
_PRODUCT_WIDTH = 256


class Kernels(Protocol):
    """What :class:`~mlipstore.solve.factor.Factor` asks of an array library. Arrays are of this library."""

    xp: ModuleType

    def chunk_rows(self, n: int) -> int:
        """Rows that are folded into a factor of n columns at once."""
        ...

    def preconditions(self, n: int) -> bool:
        """Whether accumulation on a preconditioner is faster than Householder updates for n columns."""
        ...

    def zeros(self, rows: int, columns: int) -> Any:
        """A workspace."""
        ...

    def triangulate(self, L: Any, rows: int, n: int) -> None:
        """R <- R of the first rows (at most n) of what ``L`` holds transposed, and which is no triangle yet."""
        ...

    def householder(self, L: Any, X: Any, n: int) -> None:
        """R <- R of [R; X]; ``X (rows, >= n)`` is destroyed."""
        ...

    def merge(self, L: Any, other: Any, n: int) -> None:
        """R <- R of [R; R_other]; ``other`` is destroyed."""
        ...

    def divisor(self, L: Any, m: int) -> Any:
        """What :meth:`divide` needs of the first m columns of R, which stays as it is meanwhile."""
        ...

    def divide(self, divisor: Any, W: Any, m: int) -> None:
        """W <- W R^-1 in place, for the first m columns."""
        ...

    def gram(self, W: Any, m: int, G: Any) -> None:
        """G <- G + W^T W, where i <= j of ``G[j, i]`` counts."""
        ...

    def collapse(self, L: Any, G: Any, m: int) -> None:
        """R <- chol(I + G) R, G <- 0."""
        ...

    def release(self) -> None:
        """Give workspaces back."""
        ...


class BlasKernels:
    """float64 on the host, in place, with the GIL released (:mod:`mlipstore.solve.blas`)."""

    xp: ModuleType = np

    def __init__(self) -> None:
        self._householder: Householder | None = None

    def chunk_rows(self, n: int) -> int:
        return chunk_rows(n)

    def preconditions(self, n: int) -> bool:
        return n > Householder.NARROW

    def zeros(self, rows: int, columns: int) -> Any:
        return blas.aligned(rows, columns)

    def triangulate(self, L: Any, rows: int, n: int) -> None:
        if not rows:
            return
        blas.geqrf(rows, n, L.ctypes.data, L.strides[0] // 8)
        for j in range(rows):  # where the reflectors are
            L[j, j + 1 : rows] = 0.0

    def householder(self, L: Any, X: Any, n: int) -> None:
        if self._householder is None or self._householder.n != n:
            self._householder = Householder(n, chunk_rows(n))
        self._householder.update(L, X)

    def merge(self, L: Any, other: Any, n: int) -> None:
        merge_triangles(L, other, n)

    def divisor(self, L: Any, m: int) -> Divisor:
        return Divisor(L, m)

    def divide(self, divisor: Divisor, W: Any, m: int) -> None:
        """Recursive triangular solve R^T X = W^T, nearly all of it matrix products; nothing is transposed."""
        L, inverses = divisor.L, divisor.inverses
        ldr, ldw, rows = L.strides[0] // 8, W.strides[0] // 8, len(W)
        r, w = L.ctypes.data, W.ctypes.data

        def solve(j: int, width: int) -> None:
            inverse = inverses.get((j, width))
            if inverse is not None:
                blas.trmm("T", width, rows, inverse.ctypes.data, width, w + 8 * j, ldw)
                return
            if width <= _SOLVE:
                blas.trsm("L", "T", width, rows, r + 8 * (j * ldr + j), ldr, w + 8 * j, ldw)
                return
            half = -(-width // 16) * 8
            solve(j, half)
            below = r + 8 * ((j + half) * ldr + j)
            blas.gemm("TN", width - half, rows, half, -1.0, below, ldr, w + 8 * j, ldw, 1.0, w + 8 * (j + half), ldw)
            solve(j + half, width - half)

        solve(0, m)

    def gram(self, W: Any, m: int, G: Any) -> None:
        blas.syrk("N", m, len(W), W.ctypes.data, W.strides[0] // 8, 1.0, G.ctypes.data, G.strides[0] // 8)

    def collapse(self, L: Any, G: Any, m: int) -> None:
        ldr, ldg = L.strides[0] // 8, G.strides[0] // 8
        diagonal(G, m)[:] += 1.0
        if blas.potrf(m, G.ctypes.data, ldg):
            raise ArithmeticError("I + G is not positive definite")
        for j in range(0, m, _PRODUCT_WIDTH):
            width = min(_PRODUCT_WIDTH, m - j)
            blas.trmm("N", j + width, width, G.ctypes.data, ldg, L.ctypes.data + 8 * j * ldr, ldr)
        G[:] = 0.0

    def release(self) -> None:
        self._householder = None


class Divisor:
    """A triangle that rows are divided by, with the inverses of those blocks on its diagonal that bear it.

    With X = fl(R^-1) of a block, ``W = A X`` has the residual ``|W R - A| <= c eps |W| |R| |X| |R|``, and that of a
    substitution is ``c eps |W| |R|``. So blocks with a small ``|R| |X|`` lose nothing; others are divided into smaller
    ones, and solved.

    :param L: transposed triangle, see the module
    """

    def __init__(self, L: F8, m: int) -> None:
        self.L = L
        #: memory of X in Fortran order by first column and width
        self.inverses: dict[tuple[int, int], F8] = {}
        self._divide(0, m)

    def _divide(self, j: int, width: int) -> None:
        if width <= _INVERSE and self._invert(j, width):
            return
        if width > _SOLVE:
            half = -(-width // 16) * 8
            self._divide(j, half)
            self._divide(j + half, width - half)

    def _invert(self, j: int, width: int) -> bool:
        """Keep the inverse of a block, unless it is ill conditioned."""
        L = self.L
        ld = L.strides[0] // 8
        inverse = blas.aligned(width, width)
        diagonal(inverse, width)[:] = 1.0
        # X R = 1 row by row, so that it is X R, which is to be near 1, and not R X
        with np.errstate(all="ignore"):
            blas.trsm("R", "N", width, width, L.ctypes.data + 8 * (j * ld + j), ld, inverse.ctypes.data, width)
            block = np.abs(L[j : j + width, j : j + width].T)
            growth = float((block @ np.abs(inverse.T)).sum(axis=1).max(initial=0.0))
        if not growth <= _WELL_CONDITIONED:
            return False
        self.inverses[j, width] = inverse
        return True


class ArrayKernels:
    """The same steps in the array library ``xp``; for CuPy all of them are level-3 calls of cuBLAS and cuSOLVER."""

    def __init__(self, xp: ModuleType) -> None:
        import importlib

        self.xp = xp
        linalg = "scipy.linalg" if xp.__name__ == "numpy" else f"{xp.__name__}x.scipy.linalg"
        self._solve_triangular = importlib.import_module(linalg).solve_triangular

    def chunk_rows(self, n: int) -> int:
        return chunk_rows(n) if self.xp is np else min(max(4 * n, 4096), 16384)

    def preconditions(self, n: int) -> bool:
        return n > 1

    def zeros(self, rows: int, columns: int) -> Any:
        return self.xp.zeros((rows, columns))

    def triangulate(self, L: Any, rows: int, n: int) -> None:
        L[:n, :rows] = self._triangle(L[:n, :rows].T).T

    def _triangle(self, rows: Any) -> Any:
        """R of the QR factorisation of ``rows (r, n)``: ``(min(r, n), n)``."""
        return self.xp.linalg.qr(rows, mode="r")

    def householder(self, L: Any, X: Any, n: int) -> None:
        L[:, :n] = self._triangle(self.xp.concatenate([L[:, :n].T, X[:, :n]])).T

    def merge(self, L: Any, other: Any, n: int) -> None:
        L[:, :n] = self._triangle(self.xp.concatenate([L[:, :n].T, other[:, :n].T])).T

    def divisor(self, L: Any, m: int) -> Any:
        return L

    def divide(self, divisor: Any, W: Any, m: int) -> None:
        W[:, :m] = self._solve_triangular(divisor[:m, :m], W[:, :m].T, lower=True, check_finite=False).T

    def gram(self, W: Any, m: int, G: Any) -> None:
        G[:m, :m] += W[:, :m].T @ W[:, :m]

    def collapse(self, L: Any, G: Any, m: int) -> None:
        diagonal(G, m)[:] += 1.0
        L[:m, :m] = L[:m, :m] @ self.xp.linalg.cholesky(G[:m, :m])
        G[:] = 0.0

    def release(self) -> None:
        pass


def chunk_rows(n: int) -> int:
    """Rows that are folded at once into a factor of n columns on the CPU: enough for level-3 speed, within cache."""
    return min(max(4 * n, 768), 1024)


def copy_rows(xp: ModuleType, rows: Any, weights: Any, out: Any) -> None:
    """out <- rows, multiplied by their weights ``(rows,)`` unless those are None."""
    if weights is None:
        out[:] = rows
    else:
        xp.multiply(rows, weights[:, None], out=out)


def diagonal(L: Any, n: int) -> Any:
    """The first n diagonal elements of a C-order array, as a view."""
    ld = L.shape[1]
    return L.reshape(-1)[: n * ld : ld + 1]


def kernels_for(array: Any) -> Kernels:
    """The kernels for the library that an array belongs to."""
    library = type(array).__module__.partition(".")[0]
    if library == "cupy":
        import importlib

        return ArrayKernels(importlib.import_module(library))
    return BlasKernels()


def to_host(array: Any) -> Any:
    """The array as a NumPy array (a copy only from a device)."""
    return array.get() if hasattr(array, "get") else np.asarray(array)
