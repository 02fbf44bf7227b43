"""BLAS and LAPACK on raw addresses: any leading dimension, no copies, and the GIL is released.

SciPy exports the function pointers of its BLAS and LAPACK for Cython (``scipy.linalg.cython_blas.__pyx_capi__``);
here they are called through ctypes. The wrappers of ``scipy.linalg.blas`` hold the GIL, so two threads that call them
use one core, and they copy what is not contiguous.

A C-order block of ``rows x n`` numbers is, byte for byte, a Fortran ``n x rows`` matrix with leading dimension n: the
routines below work on blocks as they are stored, without a transposition. All matrices are float64.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..configuration import F8

_KEEP: list[Any] = []  # what the cached addresses point to
_ALIGNMENT = 64
#: Columns that dgeqrf has work space for: more than it takes at once.
_GEQRF = 64


@cache
def _function(library: str, name: str, n_arguments: int) -> Callable[..., None]:
    import importlib

    capsule = importlib.import_module(f"scipy.linalg.{library}").__pyx_capi__[name]
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = get_pointer(capsule, get_name(capsule))
    function: Callable[..., None] = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_arguments)(address)
    return function


@cache
def _int(value: int) -> int:
    _KEEP.append(ctypes.c_int(value))
    return ctypes.addressof(_KEEP[-1])


@cache
def _double(value: float) -> int:
    _KEEP.append(ctypes.c_double(value))
    return ctypes.addressof(_KEEP[-1])


@cache
def _char(value: str) -> int:
    _KEEP.append(ctypes.c_char(value.encode()))
    return ctypes.addressof(_KEEP[-1])


def gemm(
    trans: str, m: int, n: int, k: int, alpha: float, a: int, lda: int, b: int, ldb: int, beta: float, c: int, ldc: int
) -> None:
    """C <- alpha op(A) op(B) + beta C with C ``m x n``; ``trans`` is two letters, such as ``"NT"``."""
    _function("cython_blas", "dgemm", 13)(
        _char(trans[0]), _char(trans[1]), _int(m), _int(n), _int(k), _double(alpha), a, _int(lda), b, _int(ldb),
        _double(beta), c, _int(ldc),
    )  # fmt: skip


def trsm(side: str, trans: str, m: int, n: int, a: int, lda: int, b: int, ldb: int) -> None:
    """B <- op(A)^-1 B (side L) or B op(A)^-1 (side R); A upper triangular, B ``m x n``."""
    _function("cython_blas", "dtrsm", 11)(
        _char(side), _char("U"), _char(trans), _char("N"), _int(m), _int(n), _double(1.0), a, _int(lda), b, _int(ldb)
    )


def trmm(trans: str, m: int, n: int, a: int, lda: int, b: int, ldb: int) -> None:
    """B <- op(A) B; A ``m x m`` upper triangular, B ``m x n``."""
    _function("cython_blas", "dtrmm", 11)(
        _char("L"), _char("U"), _char(trans), _char("N"), _int(m), _int(n), _double(1.0), a, _int(lda), b, _int(ldb)
    )


def syrk(trans: str, n: int, k: int, a: int, lda: int, beta: float, c: int, ldc: int) -> None:
    """Upper triangle of C <- A A^T + beta C (``trans`` N, A ``n x k``) or A^T A + beta C (T, A ``k x n``)."""
    _function("cython_blas", "dsyrk", 10)(
        _char("U"), _char(trans), _int(n), _int(k), _double(1.0), a, _int(lda), _double(beta), c, _int(ldc)
    )


def potrf(n: int, a: int, lda: int) -> int:
    """Upper Cholesky factor in place; 0, or the order of the first minor that is not positive."""
    info = ctypes.c_int(0)
    _function("cython_lapack", "dpotrf", 5)(_char("U"), _int(n), a, _int(lda), ctypes.addressof(info))
    return info.value


def tpqrt(
    m: int, n: int, trapezoid: int, nb: int, a: int, lda: int, b: int, ldb: int, t: int, ldt: int, work: int
) -> None:
    """Householder QR of [A; B]: A ``n x n`` upper triangular becomes R, B ``m x n`` the reflectors (LAPACK dtpqrt).

    :param trapezoid: number of last rows of B that form an upper trapezoid (0: B is full, n: B is triangular)
    :param t: ``nb x n`` triangular factors, :param work: ``nb x n``
    """
    info = ctypes.c_int(0)
    _function("cython_lapack", "dtpqrt", 12)(
        _int(m), _int(n), _int(trapezoid), _int(nb), a, _int(lda), b, _int(ldb), t, _int(ldt), work,
        ctypes.addressof(info),
    )  # fmt: skip
    if info.value:
        raise AssertionError(f"dtpqrt: argument {-info.value} is wrong")


def geqrf(m: int, n: int, a: int, lda: int) -> None:
    """Householder QR of A ``m x n``: its upper triangle becomes R, the rest the reflectors (LAPACK dgeqrf)."""
    info, steps = ctypes.c_int(0), max(1, min(m, n))
    tau, work = aligned(1, steps), aligned(max(n, 1), _GEQRF)
    _function("cython_lapack", "dgeqrf", 8)(
        _int(m), _int(n), a, _int(lda), tau.ctypes.data, work.ctypes.data, _int(work.size), ctypes.addressof(info)
    )
    if info.value:
        raise AssertionError(f"dgeqrf: argument {-info.value} is wrong")


def aligned(rows: int, columns: int) -> F8:
    """Zeros ``(rows, columns)`` in C order that start on a cache line, so that no result depends on where memory is."""
    raw = np.zeros(rows * columns + _ALIGNMENT // 8)
    skip = (-raw.ctypes.data % _ALIGNMENT) // 8
    return raw[skip : skip + rows * columns].reshape(rows, columns)


def leading(n: int) -> int:
    """Leading dimension for n columns: whole cache lines, and no power of two (rows would share cache sets)."""
    padded = -(-n // 8) * 8
    return padded + 8 if padded >= 256 and padded % 256 == 0 else padded
