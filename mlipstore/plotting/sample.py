"""A bounded, reproducible sample of an endless stream of points, fair to small cells."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


class Sample:
    """Up to ``size`` points, chosen by a hash of where they are stored: the same ones however the stream is cut.

    Every cell (a group and split) keeps its ``level`` points of lowest hash, or all it has. The level is the highest
    one that keeps the total within ``size``; it only falls as more points come, so one pass gives the exact result.
    The ``worst`` points of largest residual are kept besides.
    """

    def __init__(self, cells: int, size: int, worst: int) -> None:
        self.size, self.worst = size, worst
        self.seen = np.zeros(cells, np.int64)
        self._limit = np.full(cells, np.iinfo(np.uint64).max, np.uint64)
        self._points = _empty()
        self._extreme = _empty()

    def add(
        self,
        key: NDArray[np.uint64],
        cell: NDArray[np.int64],
        reference: NDArray[np.float64],
        residual: NDArray[np.float64],
    ) -> None:
        """Offer points: hash, cell, reference value and residual of each ``(n,)``."""
        new = np.empty(len(key), _POINT)
        new["key"], new["cell"], new["reference"], new["residual"] = key, cell, reference, residual
        self.seen += np.bincount(cell, minlength=len(self.seen))
        self._points = np.concatenate([self._points, new[key <= self._limit[cell]]])
        if len(self._points) > 2 * self.size:
            self._trim()
        bar = np.abs(self._extreme["residual"]).min() if len(self._extreme) >= self.worst else 0.0
        extreme = np.concatenate([self._extreme, new[np.abs(residual) >= bar]])
        order = np.lexsort((extreme["key"], -np.abs(extreme["residual"])))
        self._extreme = extreme[order[: self.worst]]

    def points(self) -> NDArray[np.void]:
        """The chosen points with fields key, cell, reference and residual, in the order of their hashes."""
        self._trim()
        both = np.concatenate([self._points, self._extreme])
        return both[np.unique(both["key"], return_index=True)[1]]

    @property
    def level(self) -> int:
        """Points that a cell may keep now."""
        counts = np.sort(self.seen[self.seen > 0])
        left, cells = self.size, len(counts)
        for i, n in enumerate(counts):
            if n * (cells - i) > left:
                return max(1, left // (cells - i))
            left -= int(n)
        return int(counts[-1]) if cells else 0

    def _trim(self) -> None:
        level = self.level
        points = self._points[np.lexsort((self._points["key"], self._points["cell"]))]
        first = np.searchsorted(points["cell"], points["cell"])
        rank = np.arange(len(points)) - first
        last = rank == level - 1
        self._limit[points["cell"][last]] = points["key"][last]
        self._points = points[rank < level]


_POINT = np.dtype([("key", "u8"), ("cell", "i8"), ("reference", "f8"), ("residual", "f8")])


def _empty() -> NDArray[np.void]:
    return np.empty(0, _POINT)


def keys(segment: str, kind: int, row: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A hash of each row ``(n,)`` of a segment: splitmix64, doi:10.1145/2660193.2660195."""
    start = hashlib.blake2b(f"{segment}/{kind}".encode(), digest_size=8).digest()
    z = row.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(int.from_bytes(start, "little"))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
