"""Columns that are zero: those of elements that are not there, in the rows of configurations without them.

Rows that are zero in many columns are factored without those columns, at the square of the share that is left, and a
triangle whose rows and columns are zero together is merged without them. Indices of live columns ascend, so that what
is left of an upper triangle is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blas import leading

#: Rows are factored without their zero columns if no more than this share of the columns is left.
WIDEST = 0.7


def runs_of(flags: NDArray[np.bool_]) -> list[tuple[int, int, bool]]:
    """Runs of equal flags: first, one past the last, and the flag."""
    if not len(flags):
        return []
    edges = [0, *(np.flatnonzero(flags[1:] != flags[:-1]) + 1).tolist(), len(flags)]
    return [(start, stop, bool(flags[start])) for start, stop in pairwise(edges)]


def live_columns(parts: Sequence[tuple[Any, Any]], widest: int) -> NDArray[np.intp] | None:
    """Columns of rows below each other ``(k_i, M)`` that are not zero, ascending; None if more than ``widest`` are not.

    :param parts: rows and their weights, which do not matter here
    """
    zero = np.ones(parts[0][0].shape[1], bool)
    for rows, _ in parts:  # most of what is not zero shows in the first and the last row
        zero &= (rows[0] == 0.0) & (rows[-1] == 0.0)
    if len(zero) - int(zero.sum()) > widest:
        return None
    for start, stop, flag in runs_of(zero):
        if not flag:
            continue
        for rows, _ in parts:
            if rows[:, start:stop].any():
                zero[start:stop] &= ~rows[:, start:stop].any(axis=0)
    live = np.flatnonzero(~zero)
    return live if len(live) <= widest else None


def columns_of(rows: Any, chosen: NDArray[np.intp]) -> Any:
    """Those columns of rows; a view if they lie side by side."""
    if len(chosen) and chosen[-1] - chosen[0] + 1 == len(chosen):
        return rows[:, chosen[0] : chosen[-1] + 1]
    return rows[:, chosen]


def shared_zeros(triangles: Sequence[Any], n: int) -> NDArray[np.intp] | None:
    """Columns of transposed triangles ``(n, ld)`` that are not zero in all of them; None unless it pays to leave out
    the others, and their rows are zero, too."""
    live = np.zeros(n, bool)
    for L in triangles:
        live |= L[:, :n].any(axis=1)
    chosen = np.flatnonzero(live)
    if len(chosen) > WIDEST * n or any(L[:, :n][:, ~live].any() for L in triangles):
        return None
    return chosen


def compacted(L: Any, chosen: NDArray[np.intp], kernels: Any) -> Any:
    """The chosen rows and columns of a transposed triangle, as one of their number."""
    m = len(chosen)
    out = kernels.zeros(m, leading(m))
    out[:, :m] = L[chosen[:, None], chosen[None, :]]
    return out


def spread(small: Any, chosen: NDArray[np.intp], L: Any) -> None:
    """L <- the triangle whose chosen rows and columns are ``small``, and the others zero."""
    m = len(chosen)
    L[:] = 0.0
    L[chosen[:, None], chosen[None, :]] = small[:m, :m]
