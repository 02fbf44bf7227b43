"""``compact``: many small segments become few, so that a store of many small ingests works as fast as one of few.

A segment of configurations is fifteen arrays, and every version names every array. Small segments are written again as
larger ones with the same configurations (those that do not count, too), their rows and baseline values, and the index
says where everything lies now. Nothing is computed. Earlier versions keep their segments until they are forgotten
(``gc --expire``). Kept factors of merged segments are left out: they belong to a segment as a whole, and those of small
segments are hardly smaller than the rows that they are made of again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import compress
from math import prod
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from .audit.flags import renumber
from .chunk_files import nodes_of
from .creating import make_index
from .curation.successors import Piece, copy_rows, coverage, most_atoms, together
from .errors import StoreError, counted
from .history import RESEGMENTED
from .icefiles.files import Node
from .index import LIVE, Index, Segment, describe, read_batch, rewrite, segment_name, write_batch
from .layout import SEGMENT_CONFIGURATIONS, segment_of
from .leases import anybody
from .provenance import commit_metadata, new_run
from .store import Repository, StoreConflictError, Transaction

#: Bytes after which there is a new version: what a kill can lose.
_VERSION_BYTES = 1 << 30
#: Attempts while others change the same segments.
_ATTEMPTS = 20
#: An ingest merges small segments when there are so many; it looks whenever another :data:`_LOOK` of them are there.
PILE, _LOOK = 64, 16
#: It merges those of about the same size, so many at least, that take fewer bytes each with their rows: what lies in
#: them is written again a few times at most, however small the ingests, and no ingest waits long for it.
_ALIKE, _PILED_BYTES = 16, 8 << 20
#: Bytes that a text takes, about.
_TEXT = 64

#: ``progress(configurations done, configurations in all)``
Progress = Callable[[int, int], None]


@dataclass
class Compacted:
    """What was merged, or would be.

    :param merged: of ``segments`` that there were, so many small ones became ``into`` larger ones
    :param arrays: how many the version had, ``arrays_left`` how many it has now
    :param bytes: of arrays that are written again, about; as many are free when the versions before are forgotten
    :param factors: kept factors that are left out and have to be made again
    """

    segments: int = 0
    segments_left: int = 0
    merged: int = 0
    into: int = 0
    configurations: int = 0
    arrays: int = 0
    arrays_left: int = 0
    bytes: int = 0
    factors: int = 0
    snapshot: str = ""
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Merge:
    """Segments that become one.

    :param covered: features and baselines that all of them have, by path
    """

    parts: tuple[Segment, ...]
    covered: frozenset[str]

    def fits(self, more: Segment, atoms: int) -> bool:
        parts = (*self.parts, more)
        n = sum(s.n_configurations for s in parts)
        return sum(s.n_atoms for s in parts) <= atoms and n <= SEGMENT_CONFIGURATIONS


def compact(
    repository: Repository,
    dry_run: bool = False,
    message: str | None = None,
    progress: Progress | None = None,
    command: str = "compact",
) -> Compacted:
    """Merge small segments of the newest version; what it holds stays the same.

    Segments are merged that the same features and baselines cover, in the order in which they came. There is a new
    version for every gigabyte; killed and repeated, it continues. While others change the same segments it begins anew.

    :raises StoreError: others do so again and again; what was merged until then stays
    """
    result = Compacted(dry_run=dry_run)
    metadata = {**commit_metadata("compact", command, new_run()), RESEGMENTED: True}
    for attempt in range(_ATTEMPTS):
        work = _Work(repository)
        if not attempt:
            result.segments, result.arrays = len(work.index.segments), work.arrays
        if dry_run:
            work.count(result, work.merges)
            result.segments_left = result.segments - result.merged + result.into
            result.arrays_left = work.arrays_after()
            return result
        total = result.configurations + sum(s.n_configurations for m in work.merges for s in m.parts)
        try:
            for portion in work.portions():
                n = sum(len(m.parts) for m in portion)
                said = message or f"compact {counted(n, 'segment')} into {len(portion):,}"
                with repository.transaction(said, metadata) as tx:
                    work.write(tx, portion)
                work.count(result, portion)
                result.snapshot = tx.snapshot_id
                if progress is not None:
                    progress(result.configurations, total)
            break
        except StoreConflictError:
            if attempt == _ATTEMPTS - 1:
                raise
    now = _Work(repository)
    result.segments_left, result.arrays_left = len(now.index.segments), now.arrays
    return result


def compact_pile(repository: Repository, before: int, now: int, command: str) -> int:
    """Merge small segments with their rows, if ingests have made a pile of them and nobody is at work.

    Kept factors stay as they are, with their segments. It costs a small part of the ingests, and is put off where
    anything is in its way.

    :param before, now: small segments in the store before the ingest, and after it
    :return: how many were merged
    """
    if now < PILE or now // _LOOK == before // _LOOK:
        return 0
    metadata = {**commit_metadata("compact", command, new_run()), RESEGMENTED: True}
    merged = 0
    with suppress(StoreError):  # what was ingested is stored
        if anybody(repository.objects):
            return 0
        for portion in (work := _Work(repository, piled=True)).portions():
            n = sum(len(m.parts) for m in portion)
            with repository.transaction(f"compact {n:,} segments into {len(portion):,}", metadata) as tx:
                work.write(tx, portion)
            merged += n
    return merged


class _Work:
    """What there is to merge in the version that is the newest now.

    :param piled: only segments that have piled up, see :func:`compact_pile`
    """

    def __init__(self, repository: Repository, piled: bool = False) -> None:
        self.repository = repository
        self.piled = piled
        self.snapshot = repository.at()
        self.index = Index.load(self.snapshot)
        self.covered = coverage(self.snapshot)
        self._taken = set(self.index.number)
        self._of: dict[str, list[Node]] = {}
        for path, node in nodes_of(self.snapshot).items():
            self._of.setdefault(segment_of(path), []).append(node)

    @property
    def arrays(self) -> int:
        """How many arrays the version has."""
        return sum(node.is_array for nodes in self._of.values() for node in nodes)

    @cached_property
    def merges(self) -> list[_Merge]:
        """Small segments side by side, as long as they fit into one."""
        atoms = most_atoms(self.snapshot, self.covered)
        small = [s for s in self.index.segments
                 if 2 * s.n_atoms <= atoms and 2 * s.n_configurations <= SEGMENT_CONFIGURATIONS]  # fmt: skip
        kinds = [(_covering(self.covered, s.name), _magnitude(s) if self.piled else 0) for s in small]
        if self.piled:
            alone = [any(map(_is_factor, self._of[s.name])) or self._bytes([s]) > _PILED_BYTES for s in small]
            enough = Counter(k for k, no in zip(kinds, alone, strict=True) if not no)
            mine = [not no and enough[k] >= _ALIKE for k, no in zip(kinds, alone, strict=True)]
            small, kinds = list(compress(small, mine)), list(compress(kinds, mine))
        out: list[_Merge] = []
        open_: dict[tuple[frozenset[str], int], int] = {}
        for s, kind in zip(small, kinds, strict=True):
            at = open_.get(kind)
            if at is not None and out[at].fits(s, atoms):
                out[at] = _Merge((*out[at].parts, s), kind[0])
            else:
                open_[kind] = len(out)
                out.append(_Merge((s,), kind[0]))
        return [m for m in out if len(m.parts) > 1]

    def portions(self) -> Iterator[list[_Merge]]:
        """What is merged in one version."""
        portion: list[_Merge] = []
        size = 0
        for m in self.merges:
            portion.append(m)
            size += self._bytes(m.parts)
            if size >= _VERSION_BYTES:
                yield portion
                portion, size = [], 0
        if portion:
            yield portion

    def count(self, result: Compacted, merges: Sequence[_Merge]) -> None:
        """Add what becomes of some segments."""
        parts = [s for m in merges for s in m.parts]
        result.merged += len(parts)
        result.into += len(merges)
        result.configurations += sum(s.n_configurations for s in parts)
        result.bytes += self._bytes(parts)
        result.factors += sum(_is_factor(n) and not n.is_array for s in parts for n in self._of[s.name])

    def arrays_after(self) -> int:
        """How many arrays the version has when all is merged."""
        out = self.arrays
        for m in self.merges:
            names = {(n.path.replace(s.name, "")) for s in m.parts for n in self._of[s.name]
                     if n.is_array and not _is_factor(n)}  # fmt: skip
            out += len(names) - sum(n.is_array for s in m.parts for n in self._of[s.name])
        return out

    def _bytes(self, parts: Sequence[Segment]) -> int:
        """What the arrays of some segments take, about: texts are not looked at."""
        nodes = (n for s in parts for n in self._of[s.name] if n.is_array and not _is_factor(n))
        return sum(_stored(json.loads(n.metadata)) for n in nodes)

    # ----------------------------------------------------------------- writing
    def write(self, tx: Transaction, merges: Sequence[_Merge]) -> None:
        """Write the new segments, take the old ones out, and see to the index at commit."""
        made = [self._merged(tx, m) for m in merges]
        gone = {s.name for m in merges for s in m.parts}
        # factors of segments that are merged may come from a run that began before
        known = set(self.index.number)
        for segment, nodes in self._of.items():
            for node in nodes:
                stray = _is_factor(node) and segment and segment not in known
                if not node.is_array and (segment in gone or stray) and node.path in tx.root:
                    del tx.root[node.path]
        tx.at_commit(_Replace(self.repository, merges, made, anew=not self.piled))

    def _merged(self, tx: Transaction, merge: _Merge) -> tuple[Segment, NDArray[np.int64]]:
        """Write one segment; what it is, and which of the configurations of its parts is where in it."""
        pieces = []
        for s in merge.parts:
            old = read_batch(self.snapshot, s.name)
            pieces.append(Piece(s.name, np.arange(len(old)), old, old))
        batch, order = together(pieces)
        name = segment_name(batch, self._taken)
        self._taken.add(name)
        write_batch(tx.root, name, batch)
        for path in sorted(merge.covered):
            copy_rows(self.snapshot, tx, path, name, pieces, batch, order)
        return describe(name, batch), order


@dataclass(frozen=True)
class _Replace:
    """Puts new segments into the place of their parts in the index, at commit, if the parts are as they were.

    :param anew: make the index anew, else write it from the first of them on: what came before stays as it is
    """

    repository: Repository
    merges: Sequence[_Merge]
    made: Sequence[tuple[Segment, NDArray[np.int64]]]
    anew: bool

    def __call__(self, root: zarr.Group) -> None:
        now = self.repository.at()
        index, covered = Index.load(now), coverage(now)
        for m, (new, _) in zip(self.merges, self.made, strict=True):
            if new.name in index.number or any(
                s.name not in index.number or _covering(covered, s.name) != m.covered for s in m.parts
            ):
                raise StoreConflictError(f"{self.repository.path}: others change the same segments. Run it again.")
        of = {s.name: i for i, m in enumerate(self.merges) for s in m.parts}
        segments: list[Segment] = []
        rows: list[NDArray[np.int64]] = []
        done: set[int] = set()
        every = np.arange(len(index))
        for s in index.segments:
            i = of.get(s.name)
            if i is None:
                segments.append(s)
                rows.append(every[index.rows(s.name)])
            elif i not in done:
                done.add(i)
                new, order = self.made[i]
                segments.append(new)
                rows.append(np.concatenate([every[index.rows(p.name)] for p in self.merges[i].parts])[order])
        row = np.concatenate(rows)
        first = 0 if self.anew else min(index.rows(name).start for name in of)
        columns = {name: getattr(index, name)[row[first:]] for name in index.columns() if name != "position"}
        position = [np.arange(s.n_configurations, dtype=np.int32) for s in segments]
        columns["position"] = np.concatenate(position)[first:]
        if self.anew:  # that of an older store has larger chunks
            del root["index"]
            make_index(root, columns)
        rewrite(root, segments, columns, first)
        counts = np.flatnonzero(index.state == LIVE)
        place = np.cumsum(index.state == LIVE) - 1  # of each among those that count
        renumber(root, now, index.uid[counts], place[row[index.state[row] == LIVE]])


def _covering(covered: dict[str, tuple[str, set[str]]], segment: str) -> frozenset[str]:
    """Features and baselines that cover a segment."""
    return frozenset(path for path, (_, names) in covered.items() if segment in names)


def _magnitude(segment: Segment) -> int:
    """Segments of the same one differ in atoms by less than a factor of 16."""
    return segment.n_atoms.bit_length() // 4


def _is_factor(node: Node) -> bool:
    return node.path.startswith("factors/")


def _stored(document: dict[str, Any]) -> int:
    """Bytes of the chunks of an array with this metadata."""
    chunk = document["chunk_grid"]["configuration"]["chunk_shape"]
    kind = document["data_type"]
    n = prod(-(-a // b) for a, b in zip(document["shape"], chunk, strict=True))
    width = _TEXT if kind == "string" else np.dtype(kind).itemsize
    return int(n * (prod(chunk) * width + 4))
