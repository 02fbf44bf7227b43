"""Arithmetic of a triangular factor: on the CPU through BLAS, or with any array library (NumPy, CuPy).

A factor is held transposed: ``L`` is a C-order array ``(n, ld)`` with ``L[j, i] = R[i, j]`` and zeros where i > j. Its
memory is R in Fortran order for LAPACK; for an array library it is a lower triangle.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol

import numpy as np

from . import blas
from .householder import Householder, merge_triangles

_SOLVE_LEAF = 48  # below this many columns the triangular solve is left to dtrsm
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

    def triangle(self, rows: Any) -> Any:
        """R of the QR factorisation of ``rows (r, n)``: ``(min(r, n), n)``."""
        ...

    def householder(self, L: Any, X: Any, n: int) -> None:
        """R <- R of [R; X]; ``X (rows, >= n)`` is destroyed."""
        ...

    def merge(self, L: Any, other: Any, n: int) -> None:
        """R <- R of [R; R_other]; ``other`` is destroyed."""
        ...

    def divide(self, L: Any, W: Any, m: int) -> None:
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

    def triangle(self, rows: Any) -> Any:
        return np.linalg.qr(rows, mode="r")

    def householder(self, L: Any, X: Any, n: int) -> None:
        if self._householder is None or self._householder.n != n:
            self._householder = Householder(n, chunk_rows(n))
        self._householder.update(L, X)

    def merge(self, L: Any, other: Any, n: int) -> None:
        merge_triangles(L, other, n)

    def divide(self, L: Any, W: Any, m: int) -> None:
        """Recursive triangular solve R^T X = W^T, nearly all of it matrix products; nothing is transposed."""
        ldr, ldw, rows = L.strides[0] // 8, W.strides[0] // 8, len(W)
        r, w = L.ctypes.data, W.ctypes.data

        def solve(j: int, width: int) -> None:
            if width <= _SOLVE_LEAF:
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
            blas.trmm(j + width, width, G.ctypes.data, ldg, L.ctypes.data + 8 * j * ldr, ldr)
        G[:] = 0.0

    def release(self) -> None:
        self._householder = None


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

    def triangle(self, rows: Any) -> Any:
        return self.xp.linalg.qr(rows, mode="r")

    def householder(self, L: Any, X: Any, n: int) -> None:
        L[:, :n] = self.triangle(self.xp.concatenate([L[:, :n].T, X[:, :n]])).T

    def merge(self, L: Any, other: Any, n: int) -> None:
        L[:, :n] = self.triangle(self.xp.concatenate([L[:, :n].T, other[:, :n].T])).T

    def divide(self, L: Any, W: Any, m: int) -> None:
        W[:, :m] = self._solve_triangular(L[:m, :m], W[:, :m].T, lower=True, check_finite=False).T

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
