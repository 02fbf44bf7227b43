"""The index: which configurations the store holds, in which segment, and whether they count.

It repeats what the segments say (so it can be rebuilt) and makes opening, listing and looking up fast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from .bulk import write_group
from .configuration import Batch
from .errors import DamagedStoreError
from .layout import ATOMS, CONFIGURATIONS
from .store import Snapshot, Transaction, append_rows, sealed

LIVE, DELETED, REPLACED = 0, 1, 2


@dataclass(frozen=True)
class Segment:
    """A batch of configurations written once; within it they are ordered by group.

    :param groups: number of configurations of each group, in stored order
    """

    name: str
    n_configurations: int
    n_atoms: int
    groups: dict[str, int]
    elements: list[int]

    def group_ranges(self) -> dict[str, tuple[int, int]]:
        """First and one-past-last configuration of each group."""
        out, start = {}, 0
        for group, n in self.groups.items():
            out[group] = (start, start + n)
            start += n
        return out


@dataclass(frozen=True)
class Index:
    """The configurations of one version: per configuration ``uid (n, 32)``, ``geometry (n, 16)``, segment, state."""

    segments: list[Segment]
    uid: NDArray[np.uint8]
    geometry: NDArray[np.uint8]
    segment: NDArray[np.int32]
    position: NDArray[np.int32]
    state: NDArray[np.uint8]

    @classmethod
    def load(cls, snapshot: Snapshot) -> Index:
        read = snapshot.read
        self = cls(
            segments=segments(snapshot),
            uid=read("index/uid"),
            geometry=read("index/geometry"),
            segment=read("index/segment"),
            position=read("index/position"),
            state=read("index/state"),
        )
        n = sum(s.n_configurations for s in self.segments)
        for name in ("uid", "geometry", "segment", "position", "state"):
            if len(getattr(self, name)) != n:
                raise DamagedStoreError(
                    f"{snapshot.repository.path}: index/{name} has {len(getattr(self, name)):,} rows for {n:,} "
                    "configurations. Restore the store from a copy."
                )
        return self

    def counts(self) -> Counter[bytes]:
        """How many live configurations there are of each uid."""
        return Counter(keys(self.uid[self.state == LIVE]))

    def live(self, segment: str) -> NDArray[np.bool_]:
        """Which configurations of a segment count."""
        number = [s.name for s in self.segments].index(segment)
        mine = self.segment == number
        out = np.zeros(self.segments[number].n_configurations, bool)
        out[self.position[mine]] = self.state[mine] == LIVE
        return out


def keys(uid: NDArray[np.uint8]) -> list[bytes]:
    """Rows of content hashes ``(n, k)`` as keys of a dictionary."""
    width = uid.shape[1]
    raw = uid.tobytes()
    return [raw[i : i + width] for i in range(0, len(raw), width)]


def segments(snapshot: Snapshot) -> list[Segment]:
    """Segments of a version in the order of the index (one attribute read)."""
    return [Segment(**s) for s in snapshot.attributes("index")["segments"]]


def write_segment(tx: Transaction, name: str, batch: Batch) -> None:
    """Store a batch, already ordered by group, as one segment and enter it in the index at commit."""
    write_segments(tx, {name: batch})


def write_segments(tx: Transaction, batches: Mapping[str, Batch]) -> None:
    """Store batches, each ordered by group, as segments and enter them in the index at commit."""
    for name, batch in batches.items():
        columns = {key: getattr(batch, key) for key in CONFIGURATIONS} | {"atom_start": batch.atom_start[:-1]}
        attributes = {"n_configurations": len(batch), "n_atoms": len(batch.number)}
        write_group(
            tx.root, f"configurations/{name}", attributes, [(spec, columns[k]) for k, spec in CONFIGURATIONS.items()]
        )
        atoms = [(spec, getattr(batch, key)) for key, spec in ATOMS.items() if _has(batch, key)]
        write_group(tx.root, f"atoms/{name}", {"n_atoms": len(batch.number)}, atoms)
    entries = next((f for f in tx.last if isinstance(f, _Entries)), None)
    if entries is None:
        entries = _Entries()
        tx.at_commit(entries)
    entries.batches.update(batches)


def _has(batch: Batch, column: str) -> bool:
    """Whether a column of atoms is stored: an optional one only where a configuration of the segment has it."""
    values = getattr(batch, column)
    return values is not None and not (ATOMS[column].optional and np.isnan(values).all())


@dataclass
class _Entries:
    """Enters the segments of one transaction in the index, all at once."""

    batches: dict[str, Batch] = field(default_factory=dict)

    def __call__(self, root: zarr.Group) -> None:
        index = root["index"]
        assert isinstance(index, zarr.Group)
        batches = self.batches.values()
        known: Any = index.attrs["segments"]
        number = np.arange(len(known), len(known) + len(batches), dtype=np.int32)
        append_rows(index, "uid", np.concatenate([b.uid for b in batches]))
        append_rows(index, "geometry", np.concatenate([b.geometry for b in batches]))
        append_rows(index, "segment", np.repeat(number, [len(b) for b in batches]))
        append_rows(index, "position", np.concatenate([np.arange(len(b), dtype=np.int32) for b in batches]))
        append_rows(index, "state", np.zeros(sum(map(len, batches)), np.uint8))
        new = [asdict(describe(name, batch)) for name, batch in self.batches.items()]
        index.attrs.update(sealed({"segments": [*known, *new]}))


def describe(name: str, batch: Batch) -> Segment:
    """The index entry of a batch that is ordered by group."""
    groups = dict(Counter(map(str, batch.group.tolist())))  # in the order of their first configuration
    return Segment(name, len(batch), len(batch.number), groups, np.unique(batch.number).tolist())


def read_batch(snapshot: Snapshot, segment: str, start: int = 0, stop: int | None = None) -> Batch:
    """Configurations ``start:stop`` of a segment as columns."""
    here = f"configurations/{segment}/"
    columns: dict[str, Any] = {
        key: snapshot.read(here + key, start, stop) for key in CONFIGURATIONS if key != "atom_start"
    }
    n_atoms = columns["n_atoms"]
    first = int(snapshot.read(here + "atom_start", start, start + 1)[0]) if len(n_atoms) else 0
    last = first + int(n_atoms.sum())
    for key in ("group", "source", "info"):
        columns[key] = columns[key].astype(object)
    stored = set(snapshot.names(f"atoms/{segment}"))
    for key in ATOMS:
        columns[key] = snapshot.read(f"atoms/{segment}/{key}", first, last) if key in stored else None
    return Batch(**columns)
