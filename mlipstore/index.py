"""The index: which configurations the store holds, in which segment, and whether they count.

It repeats what the segments say (so it can be rebuilt) and makes opening, listing and looking up fast.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from .bulk import write_group
from .bulk_read import read_rows
from .configuration import Batch
from .errors import DamagedStoreError
from .layout import ATOMS, CONFIGURATIONS, ArraySpec
from .store import Snapshot, Transaction, append_rows, overwrite, sealed

#: States. One is replaced by a configuration of other content; one of which only the place changed, such as its
#: group, has moved: the same content is in another segment.
LIVE, DELETED, REPLACED, MOVED = 0, 1, 2, 3
#: Columns of ``index/facts``.
FACTS = ("n_atoms", "energy", "volume", "max_force", "pressure", "periodic")


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


class Index:
    """The configurations of one version, those of a segment one after another in its order; read as they are asked for.

    Per configuration: ``uid (n, 32)``, ``geometry (n, 16)``, segment, position, state, facts, elements.

    :raises DamagedStoreError: an array has other rows than the segments
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    @classmethod
    def load(cls, snapshot: Snapshot) -> Index:
        return cls(snapshot)

    @cached_property
    def segments(self) -> list[Segment]:
        return segments(self.snapshot)

    @cached_property
    def start(self) -> NDArray[np.int64]:
        """First row of each segment, and the number of rows, ``(segments + 1,)``."""
        return np.cumsum([0, *(s.n_configurations for s in self.segments)])

    @cached_property
    def number(self) -> dict[str, int]:
        """Position of each segment in the list, by name."""
        return {s.name: i for i, s in enumerate(self.segments)}

    def __len__(self) -> int:
        return int(self.start[-1])

    def _read(self, name: str) -> NDArray[Any]:
        data = read_rows(self.snapshot, "index", [name])[name]
        if data is None:
            data = self.snapshot.read(f"index/{name}")  # which says what is wrong
        if len(data) != len(self):
            raise DamagedStoreError(
                f"{self.snapshot.repository.path}: index/{name} has {len(data):,} rows for {len(self):,} "
                "configurations. Restore the store from a copy."
            )
        return data

    uid = cached_property[NDArray[np.uint8]](lambda self: self._read("uid"))
    geometry = cached_property[NDArray[np.uint8]](lambda self: self._read("geometry"))
    segment = cached_property[NDArray[np.int32]](lambda self: self._read("segment"))
    position = cached_property[NDArray[np.int32]](lambda self: self._read("position"))

    @cached_property
    def state(self) -> NDArray[np.uint8]:
        """One of the states above for each configuration ``(n,)``."""
        kept = self.snapshot.kept
        if "state" not in kept:  # many ask: every look at what there is makes an index of its own
            kept["state"] = self._read("state")
        return np.array(kept["state"])

    @cached_property
    def facts(self) -> NDArray[np.float64]:
        """See :data:`FACTS`, ``(n, 6)``."""
        return self._kept("facts", 0)

    @cached_property
    def elements(self) -> NDArray[np.uint8]:
        """Elements of each configuration as bits, ``(n, 16)``."""
        return self._kept("elements", 1)

    def _kept(self, name: str, which: int) -> NDArray[Any]:
        return self._read(name) if self.snapshot.exists(f"index/{name}") else self._derived[which]

    @cached_property
    def _derived(self) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """Facts and elements, made of the segments: for a store that was written before it had them."""
        parts = [derived(read_batch(self.snapshot, s.name)) for s in self.segments]
        if not parts:
            return np.zeros((0, len(FACTS))), np.zeros((0, 16), np.uint8)
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def columns(self) -> list[str]:
        """Names of the arrays that the index has, but for ``segment``."""
        optional = [n for n in ("facts", "elements") if self.snapshot.exists(f"index/{n}")]
        return ["uid", "geometry", "position", "state", *optional]

    def counts(self) -> Counter[bytes]:
        """How many configurations of each uid were taken in, also of those that were removed or replaced since."""
        return Counter(keys(self.uid[self.state != MOVED]))

    def rows(self, segment: str) -> slice:
        """Rows of a segment."""
        i = self.number[segment]
        return slice(int(self.start[i]), int(self.start[i + 1]))

    def live(self, segment: str) -> NDArray[np.bool_]:
        """Which configurations of a segment count."""
        out: NDArray[np.bool_] = self.state[self.rows(segment)] == LIVE
        return out

    @cached_property
    def group_codes(self) -> tuple[list[str], NDArray[np.int32]]:
        """Names of all groups, sorted, and the position in them of the group of each configuration ``(n,)``."""
        names = sorted({g for s in self.segments for g in s.groups})
        code = {g: i for i, g in enumerate(names)}
        runs = [(code[g], n) for s in self.segments for g, n in s.groups.items()]
        return names, np.repeat(np.array([r[0] for r in runs], np.int32), np.array([r[1] for r in runs], np.int64))

    def live_groups(self, chosen: NDArray[np.bool_] | None = None) -> dict[str, int]:
        """Configurations that count of each group that has some.

        :param chosen: only these rows ``(n,)``
        """
        names, codes = self.group_codes
        mine = self.state == LIVE if chosen is None else chosen
        n = np.bincount(codes[mine], minlength=len(names))
        return {name: int(k) for name, k in zip(names, n, strict=True) if k}

    def live_segments(self) -> list[Segment]:
        """Segments with a configuration that counts."""
        return [s for s, n in zip(self.segments, self.live_per_segment, strict=True) if n]

    @cached_property
    def live_per_segment(self) -> NDArray[np.int64]:
        """How many configurations of each segment count."""
        total = np.concatenate([[0], np.cumsum(self.state == LIVE)])
        return np.asarray(total[self.start[1:]] - total[self.start[:-1]])

    def live_elements(self) -> list[int]:
        """Atomic numbers in configurations that count."""
        if (self.state == LIVE).all():
            return sorted({z for s in self.segments for z in s.elements})
        bits = np.bitwise_or.reduce(self.elements[self.state == LIVE], axis=0) if len(self) else np.zeros(16, np.uint8)
        return [int(z) for z in np.flatnonzero(np.unpackbits(bits, bitorder="little"))]


def derived(batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Facts ``(n, 6)`` and elements ``(n, 16)`` of a batch, as the index keeps them."""
    n = len(batch)
    largest: NDArray[np.float64] = np.full(n, np.nan)
    if len(batch.number):
        size = np.sqrt((batch.force**2).sum(axis=1))
        some = batch.n_atoms > 0
        largest[some] = np.maximum.reduceat(size, batch.atom_start[:-1][some])
    facts = np.column_stack(
        [batch.n_atoms, batch.energy, batch.volume, largest, -batch.stress[:, :3].mean(axis=1), batch.pbc @ [1, 2, 4]]
    ).astype(float)
    bits = np.zeros((n, 128), np.uint8)
    bits[np.repeat(np.arange(n), batch.n_atoms), batch.number] = 1
    return facts.reshape(n, len(FACTS)), np.packbits(bits, axis=1, bitorder="little")


def keys(uid: NDArray[np.uint8]) -> list[bytes]:
    """Rows of content hashes ``(n, k)`` as keys of a dictionary."""
    width = uid.shape[1]
    raw = uid.tobytes()
    return [raw[i : i + width] for i in range(0, len(raw), width)]


def segments(snapshot: Snapshot) -> list[Segment]:
    """Segments of a version in the order of the index."""
    if "segments" not in snapshot.kept:
        snapshot.kept["segments"] = [Segment(**s) for s in snapshot.attributes("index")["segments"]]
    return list(snapshot.kept["segments"])


def write_segment(tx: Transaction, name: str, batch: Batch) -> None:
    """Store a batch, already ordered by group, as one segment and enter it in the index at commit."""
    write_segments(tx, {name: batch})


def write_segments(tx: Transaction, batches: Mapping[str, Batch]) -> None:
    """Store batches, each ordered by group, as segments and enter them in the index at commit."""
    for name, batch in batches.items():
        write_batch(tx.root, name, batch)
    entries = next((f for f in tx.last if isinstance(f, _Entries)), None)
    if entries is None:
        entries = _Entries()
        tx.at_commit(entries)
    entries.batches.update(batches)


def write_batch(root: zarr.Group, name: str, batch: Batch) -> None:
    """Store a batch, ordered by group, as a segment that the index does not know yet."""
    columns = {key: getattr(batch, key) for key in CONFIGURATIONS} | {"atom_start": batch.atom_start[:-1]}
    attributes = {"n_configurations": len(batch), "n_atoms": len(batch.number)}
    write_group(root, f"configurations/{name}", attributes, [(spec, columns[k]) for k, spec in CONFIGURATIONS.items()])
    atoms = [(spec, getattr(batch, key)) for key, spec in ATOMS.items() if _has(batch, key)]
    write_group(root, f"atoms/{name}", {"n_atoms": len(batch.number)}, atoms)


def _has(batch: Batch, column: str) -> bool:
    """Whether a column of atoms is stored: an optional one only where a configuration of the segment has it."""
    values = getattr(batch, column)
    return values is not None and not (ATOMS[column].optional and np.isnan(values).all())


@dataclass
class _Entries:
    """Enters the segments of one transaction in the index, all at once."""

    batches: dict[str, Batch] = field(default_factory=dict)

    def __call__(self, root: zarr.Group) -> None:
        enter(root, self.batches)


def enter(root: zarr.Group, new: Mapping[str, Batch]) -> None:
    """Enter segments at the end of the index; all their configurations count."""
    index = root["index"]
    assert isinstance(index, zarr.Group)
    batches = new.values()
    known: Any = index.attrs["segments"]
    number = np.arange(len(known), len(known) + len(batches), dtype=np.int32)
    append_rows(index, "uid", np.concatenate([b.uid for b in batches]))
    append_rows(index, "geometry", np.concatenate([b.geometry for b in batches]))
    append_rows(index, "segment", np.repeat(number, [len(b) for b in batches]))
    append_rows(index, "position", np.concatenate([np.arange(len(b), dtype=np.int32) for b in batches]))
    append_rows(index, "state", np.zeros(sum(map(len, batches)), np.uint8))
    if "facts" in index:  # a store that was made without them stays so
        both = [derived(b) for b in batches]
        append_rows(index, "facts", np.concatenate([b[0] for b in both]))
        append_rows(index, "elements", np.concatenate([b[1] for b in both]))
    entries = [asdict(describe(name, batch)) for name, batch in new.items()]
    with zarr.config.set({"json_indent": None}):  # a long list, which takes ten times as long with blanks
        index.update_attributes(sealed({"segments": [*known, *entries]}, plain=True))


def rewrite(root: zarr.Group, segments: Sequence[Segment], columns: Mapping[str, NDArray[Any]], first: int = 0) -> None:
    """Put other rows in the place of the whole index, or of those from ``first`` on.

    :param columns: by name, the rows of the segments one after another from ``first`` on; ``segment`` is known without
    """
    group = root["index"]
    assert isinstance(group, zarr.Group)
    number = np.repeat(np.arange(len(segments), dtype=np.int32), [s.n_configurations for s in segments])
    for name, data in {**columns, "segment": number[first:]}.items():
        array = group[name]
        assert isinstance(array, zarr.Array)
        array.resize((first + len(data), *data.shape[1:]))
        overwrite(group, name, data, first)
    with zarr.config.set({"json_indent": None}):
        group.update_attributes(sealed({"segments": [asdict(s) for s in segments]}, plain=True))


def describe(name: str, batch: Batch) -> Segment:
    """The index entry of a batch that is ordered by group."""
    groups = dict(Counter(map(str, batch.group.tolist())))  # in the order of their first configuration
    return Segment(name, len(batch), len(batch.number), groups, np.unique(batch.number).tolist())


def group_order(batch: Batch) -> NDArray[np.int64] | None:
    """The order that sorts by group and changes nothing else, None where that is so already."""
    groups = batch.group.tolist()
    rank = {g: i for i, g in enumerate(sorted(set(groups)))}
    number = np.array([rank[g] for g in groups])
    return None if (np.diff(number) >= 0).all() else np.argsort(number, kind="stable")


def segment_name(batch: Batch, taken: Container[str]) -> str:
    """A name made of the content, so that a repeated run makes the same store.

    :param taken: names of other segments
    """
    h = hashlib.sha256(batch.uid.tobytes())
    for copy in range(1, 1_000_000):
        name = h.hexdigest()[:16]
        if name not in taken:
            return name
        h.update(copy.to_bytes(4, "little"))  # a whole segment that is a copy of another one
    raise AssertionError("unreachable")


def read_batch(snapshot: Snapshot, segment: str, start: int = 0, stop: int | None = None) -> Batch:
    """Configurations ``start:stop`` of a segment as columns."""
    columns: dict[str, Any] = _require(snapshot, f"configurations/{segment}", CONFIGURATIONS, start, stop)
    n_atoms, starts = columns["n_atoms"], columns.pop("atom_start")
    first = int(starts[0]) if len(n_atoms) else 0
    for key in ("group", "source", "info"):
        columns[key] = columns[key].astype(object)
    columns |= _require(snapshot, f"atoms/{segment}", ATOMS, first, first + int(n_atoms.sum()))
    return Batch(**columns)


def _require(
    snapshot: Snapshot, path: str, specs: Mapping[str, ArraySpec], start: int, stop: int | None
) -> dict[str, NDArray[Any] | None]:
    """Rows of the arrays of a group; those that must be there are, others may be None.

    :raises StoreError: one is not
    """
    columns = read_rows(snapshot, path, list(specs), start, stop)
    for key, values in columns.items():
        if values is None and not specs[key].optional:
            columns[key] = snapshot.read(f"{path}/{key}", start, stop)  # which says what is wrong
    return columns
