"""New segments for configurations whose labels or group change, with the rows that were computed for the old ones.

Rows depend on the geometry, which stays: they are copied, so nothing has to be computed again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..arrays import create_array, write_array
from ..configuration import Batch
from ..errors import DamagedStoreError
from ..features import aliases, computed
from ..index import group_order, keys, read_batch, segment_name, write_segments
from ..layout import BASELINES, FEATURES, SEGMENT_ATOMS, SEGMENT_CONFIGURATIONS
from ..snapshot import Snapshot
from ..store import Repository, Transaction
from .annotations import carry
from .query import Selection

#: Rows of a new segment that are held in memory at most, in bytes; what is read at once.
_HELD, _READ = 128 << 20, 16 << 20
#: Rows per configuration (0: three per atom) of each array of a featurization or baseline.
ROWS = {"features": {"A_E": 1, "A_F": 0, "A_S": 6}, "baselines": {"energy": 1, "force": 0, "stress": 1}}


@dataclass
class Piece:
    """Configurations of one old segment.

    :param positions: where they are in it, sorted
    :param new: what becomes of them in a new segment
    """

    segment: str
    positions: NDArray[np.int64]
    old: Batch
    new: Batch


class Successors:
    """Writes what replaces the configurations of a selection."""

    def __init__(self, selection: Selection) -> None:
        self.selection, self.index, self.snapshot = selection, selection.index, selection.snapshot
        self.not_carried: set[str] = set()
        self._rows: list[NDArray[np.int64]] = []
        self._moved: list[NDArray[np.bool_]] = []
        #: new content hash by old one
        self.successor: dict[bytes, bytes] = {}
        self._covered = coverage(self.snapshot)
        self.most_atoms = most_atoms(self.snapshot, self._covered)

    def rows(self) -> NDArray[np.int64]:
        """Rows of the index that were replaced."""
        return np.concatenate(self._rows)

    def moved(self) -> NDArray[np.bool_]:
        """Which of them have the same content as before."""
        return np.concatenate(self._moved)

    def changed(self, change: Callable[[Batch], Batch], changes: Counter[str]) -> Iterator[tuple[Batch, Piece]]:
        """Changed configurations, segment by segment; counts what changed."""
        for segment, positions in self.selection.segments():
            whole = read_batch(self.snapshot, segment)
            old = whole.take(positions)
            new = change(old)
            different = self._different(old, new)
            mine = np.flatnonzero(np.logical_or.reduce(list(different.values())))
            if not len(mine):
                continue
            changes.update({k: int(v.sum()) for k, v in different.items() if v.any()})
            new = Batch.from_configurations(list(new.take(mine)))  # with its hashes
            yield new, Piece(segment, positions[mine], old.take(mine), new)

    @staticmethod
    def _different(old: Batch, new: Batch) -> dict[str, NDArray[np.bool_]]:
        """What changed of each configuration."""

        def differs(a: Any, b: Any) -> NDArray[np.bool_]:
            return np.asarray(~((a == b) | (np.isnan(a) & np.isnan(b))))

        force = differs(old.force, new.force).any(axis=1)
        owner = np.repeat(np.arange(len(old)), old.n_atoms)
        return {
            "energy": differs(old.energy, new.energy),
            "force": np.bincount(owner, force, len(old)) > 0,
            "stress": np.asarray(differs(old.stress, new.stress).any(axis=1)),
            "group": np.asarray(old.group != new.group, bool),
        }

    def write(
        self, tx: Transaction, change: Callable[[Batch], Batch], changes: Counter[str]
    ) -> Iterator[tuple[Batch, Piece]]:
        """As :meth:`changed`, and store them as new segments."""
        waiting: list[Piece] = []
        atoms = n = 0
        taken = {s.name for s in self.index.segments}
        for batch, piece in self.changed(change, changes):
            if waiting and (atoms + len(batch.number) > self.most_atoms or n + len(batch) > SEGMENT_CONFIGURATIONS):
                self._segment(tx, waiting, taken)
                waiting, atoms, n = [], 0, 0
            waiting.append(piece)
            atoms, n = atoms + len(batch.number), n + len(batch)
            yield batch, piece
        if waiting:
            self._segment(tx, waiting, taken)

    def _segment(self, tx: Transaction, pieces: list[Piece], taken: set[str]) -> None:
        batch, order = together(pieces)
        name = segment_name(batch, taken)
        taken.add(name)
        write_segments(tx, {name: batch})
        for p in pieces:
            self._rows.append(self.index.rows(p.segment).start + p.positions)
            self._moved.append((p.old.uid == p.new.uid).all(axis=1))
            self.successor.update(zip(keys(p.old.uid), keys(p.new.uid), strict=True))
        for path, (alias, segments) in self._covered.items():
            if all(p.segment in segments for p in pieces):
                copy_rows(self.snapshot, tx, path, name, pieces, batch, order)
            elif self.snapshot.attributes(path).get("storage") != "none":
                self.not_carried.add(alias)


def coverage(snapshot: Snapshot) -> dict[str, tuple[str, set[str]]]:
    """Alias and segments of each featurization and baseline, by path."""
    return {
        f"{kind}/{i}": (alias, set(computed(snapshot, f"{kind}/{i}")))
        for kind in ("features", "baselines")
        for i, alias in aliases(snapshot, kind).items()
    }


def most_atoms(snapshot: Snapshot, covered: Iterable[str]) -> int:
    """Atoms of a segment that is made of others, so that one array of its rows fits the memory."""
    columns = [len(snapshot.attributes(path)["columns"]) for path in covered if path.startswith("features")]
    return max(1, min(SEGMENT_ATOMS, _HELD // (24 * max(columns, default=1))))


def together(pieces: Sequence[Piece]) -> tuple[Batch, NDArray[np.int64]]:
    """The new segment of some pieces, ordered by group, and which of their configurations is where in it."""
    batch = Batch.concatenate([p.new for p in pieces])
    order = group_order(batch)
    return (batch, np.arange(len(batch))) if order is None else (batch.take(order), order)


def copy_rows(
    snapshot: Snapshot, tx: Transaction, path: str, name: str, pieces: Sequence[Piece], batch: Batch,
    order: NDArray[np.int64],
) -> None:  # fmt: skip
    """Rows of a featurization or baseline for a new segment, from those of the old ones, which have them all.

    :param batch, order: from :func:`together`
    """
    kind, place = path.partition("/")[0], np.argsort(order)
    group = tx.group(f"{path}/{name}")
    for array, per in ROWS[kind].items():
        _copy(snapshot, group, path, array, per, pieces, place, batch)


def _copy(
    snapshot: Snapshot, group: zarr.Group, path: str, array: str, per: int, pieces: Sequence[Piece],
    place: NDArray[np.int64], batch: Batch,
) -> None:  # fmt: skip
    """One array of :func:`copy_rows`."""
    features = path.startswith("features")
    spec = (FEATURES if features else BASELINES)[array]
    per_atom = 1 if not features else 3
    first = batch.atom_start[:-1] * per_atom if per == 0 else np.arange(len(batch)) * per
    source = snapshot.array(f"{path}/{pieces[0].segment}/{array}")
    n = len(batch.number) * per_atom if per == 0 else len(batch) * per
    out = np.empty((n, *source.shape[1:]), source.dtype)
    done = 0
    for p in pieces:
        counts = p.old.n_atoms * per_atom if per == 0 else np.full(len(p.old), per)
        here = f"{path}/{p.segment}/{array}"
        if per == 0:
            begin = snapshot.read(f"configurations/{p.segment}/atom_start")[p.positions] * per_atom
        else:
            begin = p.positions * per
        target = first[place[done : done + len(p.old)]]
        gather(snapshot, here, begin, counts, target, out)
        done += len(p.old)
    if features:
        multiple = {"A_E": 1, "A_F": 3, "A_S": 6}[array]
        made = create_array(group, spec, out.shape, multiple, {"float32": "f4", "float64": "f8"}[str(out.dtype)])
        if out.size:
            made[...] = out
    else:
        write_array(group, spec, out)


def gather(
    snapshot: Snapshot, path: str, begin: NDArray[np.int64], counts: NDArray[np.int64], target: NDArray[np.int64],
    out: NDArray[Any],
) -> None:  # fmt: skip
    """Copy runs of rows (begin, count) to their targets, reading each chunk once."""
    array = snapshot.array(path)
    chunk = array.chunks[0]
    width = max(1, int(np.prod(array.shape[1:])) * array.dtype.itemsize)
    step = max(1, _READ // (width * chunk)) * chunk
    # row of the array and row of the output, of everything that is copied; `begin` is sorted, so the first is too
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    rows, to = np.repeat(begin, counts) + within, np.repeat(target, counts) + within
    at = 0
    while at < len(rows):
        start = int(rows[at]) // chunk * chunk
        stop = min(start + step, array.shape[0])
        upto = int(np.searchsorted(rows, stop))
        data = snapshot.read(path, start, min(stop, (int(rows[upto - 1]) // chunk + 1) * chunk))
        part = data[rows[at:upto] - start]
        if np.isnan(part.reshape(len(part), -1)[:, 0]).any():
            raise DamagedStoreError(f"{snapshot.repository.path}: {path} has lost data (a chunk is missing).")
        out[to[at:upto]] = part
        at = upto


def carried_notes(repository: Repository, work: Successors) -> Callable[[zarr.Group], None]:
    """At commit: what is said about the old ones is said about the new ones."""

    def function(root: zarr.Group) -> None:
        carry(root, repository.at(), {k: v for k, v in work.successor.items() if k != v})

    return function
