"""Triangles as they are stored: without what is zero by construction."""

from __future__ import annotations

import numpy as np

from ..configuration import F8


def packed_size(rows: int, n: int) -> int:
    """Numbers in the trapezoid of ``rows`` rows and n columns: never more than in the rows themselves."""
    r = min(rows, n)
    return r * n - r * (r - 1) // 2


def pack(R: F8, rows: int) -> F8:
    """Column by column what is not zero by construction, so that the first columns are a beginning of it."""
    n = R.shape[1]
    return np.asarray(R[: min(rows, n)].T[np.tri(n, min(rows, n), dtype=bool)])


def unpack(packed: F8, rows: int, n: int) -> F8:
    """The trapezoid ``(min(rows, n), n)`` of :func:`pack`."""
    L = np.zeros((n, min(rows, n)))
    L[np.tri(*L.shape, dtype=bool)] = packed
    R: F8 = L.T
    return R
