"""Which rows of two tables belong together: equal keys, one to one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .index import Index

Rows = NDArray[np.int64]


class Unmatched:
    """Rows of two tables that have no partner yet.

    :param rows: of the first and of the second table, sorted
    """

    def __init__(self, one: Rows, two: Rows) -> None:
        self.rows = [one, two]

    def pair(self, one: NDArray[Any], two: NDArray[Any]) -> tuple[Rows, Rows]:
        """Rows with equal keys, which have partners from now on; of several copies the first ones.

        :param one: bytes ``(n, k)`` of each row of the first table that has none yet; ``two`` likewise
        """
        i, j = _matched(one, two)
        pairs = self.rows[0][i], self.rows[1][j]
        self.rows = [np.delete(self.rows[0], i), np.delete(self.rows[1], j)]
        return pairs


def with_code(keys: NDArray[Any], codes: NDArray[np.int32]) -> NDArray[Any]:
    """Keys ``(n, k)`` that are equal only where a number ``(n,)`` is equal, too."""
    return np.hstack([keys, codes.astype("<i4").view(np.uint8).reshape(-1, 4)])


def common_groups(one: Index, two: Index) -> tuple[list[str], list[NDArray[np.int32]]]:
    """Names of the groups of both, sorted, and the position in them of the group of each configuration of each."""
    names = sorted({*one.group_codes[0], *two.group_codes[0]})
    code = {g: i for i, g in enumerate(names)}
    return names, [np.array([code[g] for g in i.group_codes[0]], np.int32)[i.group_codes[1]] for i in (one, two)]


def _matched(a: NDArray[Any], b: NDArray[Any]) -> tuple[Rows, Rows]:
    """Positions of equal rows of two tables of bytes, one to one; of several copies the first ones."""
    if not len(a) or not len(b):
        none = np.zeros(0, np.int64)
        return none, none
    both = np.ascontiguousarray(np.concatenate([a, b])).view(f"V{a.shape[1]}").ravel()
    _, code = np.unique(both, return_inverse=True)
    one, two = (_numbered(c, len(both)) for c in (code.ravel()[: len(a)], code.ravel()[len(a) :]))
    _, i, j = np.intersect1d(one, two, assume_unique=True, return_indices=True)
    order = np.argsort(i)
    return i[order], j[order]


def _numbered(code: NDArray[Any], most: int) -> Rows:
    """``code * most + k`` for the k-th row (from 0) of each code."""
    order = np.argsort(code, kind="stable")
    ordered = code[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    out = np.empty(len(code), np.int64)
    out[order] = ordered * most + np.arange(len(code)) - np.repeat(first, np.diff(np.append(first, len(code))))
    return out
