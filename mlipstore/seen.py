"""What a store holds, as an ingest asks for it: which configurations are new, were removed, have other labels.

The same content has the same geometry, and new content as a rule another one than all that there is. So configurations
are looked for by geometry, and content hashes read where there is such a geometry.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from .configuration import Batch
from .index import LIVE, MOVED, Index, keys
from .layout import SEGMENT_ATOMS, SEGMENT_CONFIGURATIONS
from .store import Snapshot


def _small(n_configurations: int, n_atoms: int) -> bool:
    """Whether a segment is at most half as large as it may be."""
    return 2 * n_atoms <= SEGMENT_ATOMS and 2 * n_configurations <= SEGMENT_CONFIGURATIONS


class Beginnings:
    """Rows of hashes by the first four bytes, which as a rule tell them apart.

    Every ingest makes one of all that there is. Two bytes are put in order by counting, twice, in half the time of a
    sort; a dictionary takes ten times as long as that.

    :param hashes: ``(n, k)``
    """

    def __init__(self, hashes: NDArray[np.uint8]) -> None:
        two = np.ascontiguousarray(hashes[:, :4]).view("<u2")
        order = np.argsort(two[:, 0], kind="stable")
        self._order = order[np.argsort(two[order, 1], kind="stable")]
        self._sorted = _begin(hashes)[self._order]

    def like(self, hashes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Rows that begin as one of ``(m, k)`` does."""
        begin = np.unique(_begin(hashes))
        low, high = np.searchsorted(self._sorted, begin, "left"), np.searchsorted(self._sorted, begin, "right")
        n = high - low
        return np.asarray(self._order[np.repeat(low - np.cumsum(n) + n, n) + np.arange(n.sum())])

    def shared(self) -> NDArray[np.int64]:
        """Rows that begin as another does."""
        same = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        return np.asarray(self._order[np.union1d(same, same + 1)])


def _begin(hashes: NDArray[np.uint8]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(hashes[:, :4]).view("<u4").ravel()


class Seen:
    """Counts uids: the k-th copy in the input is new when the store holds fewer than k."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.met: dict[bytes, int] = {}
        self.look(snapshot)

    def look(self, snapshot: Snapshot) -> None:
        """Take note of what the store holds now."""
        self._index = index = Index.load(snapshot)
        self._state = index.state
        self._geometries = Beginnings(index.geometry)
        names, self._group = index.group_codes
        self._code = {name: code for code, name in enumerate(names)}
        self._added: list[tuple[NDArray[np.uint8], NDArray[np.int32]]] = []
        self.known = {s.name for s in index.segments}
        self.small_segments = sum(_small(s.n_configurations, s.n_atoms) for s in index.segments)
        #: and those that are being written, which another process may have stored under the same name meanwhile
        self.names = set(self.known)

    def stored_now(self, name: str, batch: Batch) -> None:
        """Take note of a segment that this ingest has stored."""
        codes = [self._code.setdefault(group, len(self._code)) for group in batch.group.tolist()]
        self._added.append((batch.geometry, np.array(codes, np.int32)))
        self.known.add(name)
        self.small_segments += _small(len(batch), len(batch.number))

    def places(self) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        """Geometry and group of all that count, as numbers that tell them apart, ``(n,)`` each.

        Those are left out that were there before and are like no other, which as a rule is most of them.
        """
        added = np.concatenate([self._index.geometry[:0], *(geometry for geometry, _ in self._added)])
        rows = np.union1d(self._geometries.shared(), self._geometries.like(added))
        rows = rows[self._state[rows] == LIVE]
        geometry = np.concatenate([self._index.geometry[rows], added])
        key = np.ascontiguousarray(geometry[:, :8]).view(np.uint64).ravel()
        return key, np.concatenate([self._group[rows], *(codes for _, codes in self._added)])

    def count(self, batch: Batch) -> NDArray[np.int64]:
        """Which copy in the input each configuration is, from 1, ``(n,)``."""
        met, out = self.met, []
        for key in keys(batch.uid):
            met[key] = n = met.get(key, 0) + 1
            out.append(n)
        return np.array(out, np.int64)

    def fresh(self, batch: Batch, copy: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which configurations, being the ``copy``-th of their kind, the store lacks."""
        rows = self._geometries.like(batch.geometry)
        return np.asarray(copy > self._stored(batch, rows[self._state[rows] != MOVED]))

    def gone(self, batch: Batch, fresh: NDArray[np.bool_]) -> int:
        """How many of those that are not fresh were removed or replaced, so that none of their kind counts."""
        if fresh.all():
            return 0
        rows = self._geometries.like(batch.geometry[~fresh])
        counts = self._stored(batch, rows[self._state[rows] == LIVE])
        return int((counts[~fresh] == 0).sum())

    def relabelled(self, batch: Batch) -> int:
        """How many configurations have a geometry that the store holds, with labels that it does not."""
        rows = self._geometries.like(batch.geometry)
        live = set(keys(self._index.geometry[rows[self._state[rows] == LIVE]]))
        there = np.array([geometry in live for geometry in keys(batch.geometry)], bool)
        return int((self._stored(batch, rows[self._state[rows] != MOVED])[there] == 0).sum())

    def _stored(self, batch: Batch, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of these rows of the index each configuration is, ``(n,)``."""
        if not len(rows):
            return np.zeros(len(batch), np.int64)
        there = Counter(keys(self._index.uid[rows]))
        return np.array([there[uid] for uid in keys(batch.uid)], np.int64)
