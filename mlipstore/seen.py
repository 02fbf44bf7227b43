"""What a store holds, as an ingest asks for it: which configurations are new, were removed, have other labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .configuration import Batch
from .index import LIVE, MOVED, Hashes, Index, keys, short
from .layout import SEGMENT_ATOMS, SEGMENT_CONFIGURATIONS
from .store import Snapshot


def _small(n_configurations: int, n_atoms: int) -> bool:
    """Whether a segment is at most half as large as it may be."""
    return 2 * n_atoms <= SEGMENT_ATOMS and 2 * n_configurations <= SEGMENT_CONFIGURATIONS


class Seen:
    """Counts uids: the k-th copy in the input is new when the store holds fewer than k."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.met: dict[bytes, int] = {}
        self._live: NDArray[np.uint8] | Hashes
        self.look(snapshot)

    def look(self, snapshot: Snapshot) -> None:
        """Take note of what the store holds now."""
        index = Index.load(snapshot)
        live, there = index.state == LIVE, index.state != MOVED
        self.stored = Hashes(index.uid if there.all() else index.uid[there])
        self._live = self.stored if live.all() else index.uid[live]
        names, codes = index.group_codes
        self._code = {name: code for code, name in enumerate(names)}
        geometry = short(index.geometry)[live]
        order = np.argsort(geometry)  # once: what comes later is sorted in between
        self.geometries = geometry[order]
        self._places = [(self.geometries, codes[live][order])]
        self.known = {s.name for s in index.segments}
        self.small_segments = sum(_small(s.n_configurations, s.n_atoms) for s in index.segments)
        #: and those that are being written, which another process may have stored under the same name meanwhile
        self.names = set(self.known)

    def stored_now(self, name: str, batch: Batch) -> None:
        """Take note of a segment that this ingest has stored."""
        codes = [self._code.setdefault(group, len(self._code)) for group in batch.group.tolist()]
        self._places.append((short(batch.geometry), np.array(codes, np.int32)))
        self.known.add(name)
        self.small_segments += _small(len(batch), len(batch.number))

    def places(self) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        """Geometry and group of everything that counts, as numbers that tell them apart, ``(n,)`` each."""
        return np.concatenate([p[0] for p in self._places]), np.concatenate([p[1] for p in self._places])

    def count(self, batch: Batch) -> NDArray[np.int64]:
        """Which copy in the input each configuration is, from 1, ``(n,)``."""
        met, out = self.met, []
        for key in keys(batch.uid):
            met[key] = n = met.get(key, 0) + 1
            out.append(n)
        return np.array(out, np.int64)

    def fresh(self, batch: Batch, copy: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which configurations, being the ``copy``-th of their kind, the store lacks."""
        return np.asarray(copy > self.stored.count(batch.uid))

    def gone(self, batch: Batch, fresh: NDArray[np.bool_]) -> int:
        """How many of those that are not fresh were removed or replaced, so that none of their kind counts."""
        return 0 if fresh.all() else int((self.live.count(batch.uid[~fresh]) == 0).sum())

    @property
    def live(self) -> Hashes:
        """Those that count, made when they are first asked for."""
        if not isinstance(self._live, Hashes):
            self._live = Hashes(self._live)
        return self._live

    def relabelled(self, batch: Batch) -> int:
        """How many configurations have a geometry that the store holds, with labels that it does not."""
        if not len(self.geometries):
            return 0
        mine = short(batch.geometry)
        at = np.searchsorted(self.geometries, mine).clip(max=len(self.geometries) - 1)
        there = self.geometries[at] == mine
        return int((self.stored.count(batch.uid[there]) == 0).sum())
