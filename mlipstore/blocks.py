"""The design matrix as a stream of blocks; never in memory as a whole.

A block is a run of rows of one kind from one segment. Energy rows are per atom, so that a row means the same for a
cell of 2 and of 200 atoms; constants and element shifts enter through the composition of each configuration.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ahead import ahead
from .axes import FRAMES, lammps_rotations, stress_rotations, turn
from .bulk_read import Chunks, read_columns
from .computing import type_index
from .curation.query import Selection, select
from .device import Cpu, Device, picked, rows_at
from .errors import DamagedStoreError, SettingsError
from .features import Feature, StoredBaseline, missing
from .featurize import PART_BYTES, parts
from .index import Index, Segment, read_batch
from .metrics import KINDS
from .segment_labels import SegmentGroups, SegmentLabels, as_rows
from .solve.kernels import to_host
from .split import TRAIN, UNUSED
from .store import Snapshot

#: Kind, number of the first row in its array, rows in runs that lie one after another.
_Piece = tuple[int, int, list[NDArray[Any]]]
#: Default size of a block in bytes. Larger ones buy nothing: the factor gathers what it needs.
BLOCK_BYTES = 16 << 20
HOST = Cpu()


@dataclass
class Block:
    """Rows of one kind: ``A (n, K)``, targets ``b (n,)``, and per row the configuration it belongs to.

    :param kind: index into :data:`mlipstore.metrics.KINDS`
    :param runs: the rows, in arrays ``(n_i, K)`` one after another; not to be changed. Those that a device made are its
        arrays
    :param configuration: position in the segment, ``(n,)``
    :param row: position among all rows of this kind of the segment, ``(n,)``, ascending
    """

    kind: int
    segment: str
    runs: list[NDArray[np.float64]]
    b: NDArray[np.float64]
    configuration: NDArray[np.int64]
    row: NDArray[np.int64]

    @property
    def A(self) -> NDArray[np.float64]:
        """All rows in one array: a copy if there are several runs."""
        return self.runs[0] if len(self.runs) == 1 else np.concatenate(self.runs)

    def pieces(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Each run and which rows of the block it has."""
        first = 0
        for run in self.runs:
            yield slice(first, first + len(run)), run
            first += len(run)

    def times(self, x: NDArray[np.float64], device: Device = HOST) -> NDArray[np.float64]:
        """``A x``, computed where the rows are.

        :param device: the one that :meth:`DesignMatrix.blocks` was told
        """
        return np.concatenate([to_host(r @ (x if isinstance(r, np.ndarray) else device.send(x))) for r in self.runs])


class DesignMatrix:
    """All rows of one featurization against the labels minus baseline plus element shifts.

    Columns are the features, then (with ``constant``) one per element: the fraction N_t / N in energy rows.

    :param separate: leave the baseline in the targets; it comes beside them, as ``SegmentLabels.reference``
    :param where: only the configurations that this expression selects, see :mod:`mlipstore.curation.query`
    :raises SettingsError: a segment is not featurized yet
    """

    def __init__(
        self,
        snapshot: Snapshot,
        feature: Feature,
        baseline: StoredBaseline | None,
        constant: bool,
        element_shifts: dict[str, float],
        block_rows: int | None = None,
        frame: str = "input",
        separate: bool = False,
        where: str | None = None,
    ) -> None:
        if frame not in FRAMES:
            raise SettingsError(f"frame is {frame!r}; it is one of {', '.join(FRAMES)}.")
        self.frame, self.separate = frame, separate
        self.snapshot, self.feature, self.baseline = snapshot, feature, baseline
        attributes = snapshot.attributes(f"features/{feature.id}")
        self.columns: list[str] = attributes["columns"]
        self.column_elements: list[str] = attributes["column_elements"]
        self.elements = list(feature.descriptor().elements)
        self.constant = constant
        for symbol in element_shifts:
            if symbol not in self.elements:
                raise SettingsError(
                    f"element_shifts names {symbol}, which is not among the elements of the features: "
                    f"{' '.join(self.elements)}. Remove it."
                )
        self.shifts = np.array([element_shifts.get(e, 0.0) for e in self.elements])
        self.index = Index.load(snapshot)
        self.selection: Selection = select(snapshot, where, index=self.index)
        #: those with a configuration that counts, sorted by name: whatever order they were written in
        have = {name for name, _ in self.selection.segments()}
        self.segments = sorted((s for s in self.index.segments if s.name in have), key=lambda s: s.name)
        lacking = self._lacking("features", feature.id)
        #: segments whose rows are not stored but made as they are needed
        self.computed = {s.name for s in lacking} if attributes.get("storage") == "none" else set()
        if not self.computed:
            self._require("features", feature.id, feature.alias)
        if baseline is not None:
            self._require("baselines", baseline.id, baseline.alias)
        self.block_rows = block_rows or max(1024, BLOCK_BYTES // (8 * self.n_columns))
        self._groups: dict[str, SegmentGroups] = {}

    @property
    def n_columns(self) -> int:
        return len(self.columns) + (len(self.elements) if self.constant else 0)

    def n_rows(self) -> int:
        """Rows of all segments that are read, labelled or not."""
        return sum(7 * s.n_configurations + 3 * s.n_atoms for s in self.segments)

    @cached_property
    def _largest_chunk(self) -> tuple[int, int]:
        """Rows of a chunk, and of the array, with the most rows of a segment."""
        largest = max(self.segments, key=lambda s: s.n_atoms)
        return Chunks(self.snapshot, f"features/{self.feature.id}/{largest.name}/A_F").rows, 3 * largest.n_atoms

    @property
    def least_block_rows(self) -> int:
        """Fewer rows than this per block change nothing: a chunk is read as a whole, and a computed part is one."""
        return self.largest_block if self.computed else self._largest_chunk[0]

    def rows_of_a_block(self, block_rows: int) -> int:
        """Rows that the largest block really has with this setting."""
        if self.computed:
            return self.largest_block
        chunk, whole = self._largest_chunk
        return min(max(1, block_rows // chunk) * chunk, whole)

    @property
    def largest_block(self) -> int:
        """Rows of the largest block, about."""
        if not self.computed:
            return self.rows_of_a_block(self.block_rows)
        most = max(-(-3 * s.n_atoms // s.n_configurations) for s in self.segments)
        return max(2 * most, PART_BYTES // (8 * len(self.columns)))

    def row_rate(self) -> float:
        """Bytes of rows that are read, or made, per second of CPU time here: some of them are, once."""
        began, done = time.process_time(), 0
        for _, block in self._blocks(lambda labels: np.full(len(labels.n_atoms), TRAIN, np.int8), self._names()):
            done += 8 * len(block.b) * self.n_columns
            if time.process_time() - began > 0.3:
                break
        return max(done, 1) / max(time.process_time() - began, 1e-3)

    def _names(self) -> list[str]:
        return [s.name for s in self.segments]

    def _require(self, kind: str, id_: str, alias: str) -> None:
        lacking = self._lacking(kind, id_)
        if lacking:
            n = sum(s.n_configurations for s in lacking)
            raise SettingsError(
                f"{kind[:-1]} {alias!r} lacks {n:,} of {sum(s.n_configurations for s in self.segments):,} "
                f"configurations. Run mlipstore featurize {quote(str(self.snapshot.repository.path))} first."
            )

    def _lacking(self, kind: str, id_: str) -> list[Segment]:
        """Segments of this matrix that a feature or baseline does not cover yet."""
        mine = {s.name for s in self.segments}
        return [s for s in missing(self.snapshot, kind, id_) if s.name in mine]

    def members(self) -> Iterator[SegmentGroups]:
        """Who is in each segment, in the order of the stream."""
        for s in self.segments:
            yield self.members_of(s.name)

    def members_of(self, name: str) -> SegmentGroups:
        """Who is in a segment, as the index knows it: nothing of the segment itself is read."""
        if name not in self._groups:
            names, codes = self.index.group_codes
            mine = self.index.rows(name)
            group = np.array(names, object)[codes[mine]]
            self._groups[name] = SegmentGroups(name, self.index.geometry[mine], group, self.selection.of(name))
        return self._groups[name]

    def composition(self, name: str) -> NDArray[np.float64]:
        """Atoms of each element in the configurations of a segment ``(n, elements)``."""
        n_atoms = self.snapshot.read(f"configurations/{name}/n_atoms")
        return self._counts(n_atoms, self.snapshot.read(f"atoms/{name}/number"))

    def _counts(self, n_atoms: NDArray[np.int64], number: NDArray[np.int32]) -> NDArray[np.float64]:
        types = type_index(number, tuple(self.elements))
        counts = np.zeros((len(n_atoms), len(self.elements)))
        np.add.at(counts, (np.repeat(np.arange(len(n_atoms)), n_atoms), types), 1.0)
        return counts

    def _labels(self, name: str) -> SegmentLabels:
        names = ["n_atoms", "energy", "stress", "pbc", "cell"]
        own = read_columns(self.snapshot, f"configurations/{name}", names)
        atoms = read_columns(self.snapshot, f"atoms/{name}", ["number", "force"])
        n_atoms, stress = own["n_atoms"], own["stress"]
        counts = self._counts(n_atoms, atoms["number"])
        stress[~own["pbc"].all(axis=1)] = np.nan  # without a volume there are no stress rows
        labels = [own["energy"] + counts @ self.shifts, atoms["force"], stress]
        turns = None
        if self.frame == "lammps":
            rotation = lammps_rotations(own["cell"])
            turns = (rotation, stress_rotations(rotation))
        reference = None
        if self.baseline is not None:
            at = f"baselines/{self.baseline.id}/{name}"
            values = list(read_columns(self.snapshot, at, ["energy", "force", "stress"]).values())
            if not all(np.isfinite(r).all() for r in values):
                raise DamagedStoreError(f"{self.snapshot.repository.path}: {at} has lost data (a chunk is missing).")
            if self.separate:
                reference = as_rows(values, n_atoms, turns)
            else:
                labels = [a - r for a, r in zip(labels, values, strict=True)]
        return SegmentLabels(
            **vars(self.members_of(name)),
            n_atoms=n_atoms,
            counts=counts,
            targets=as_rows(labels, n_atoms, turns),
            as_stored=as_rows(labels, n_atoms, None),
            turns=turns,
            reference=reference,
        )

    def blocks(
        self,
        wanted: Callable[[SegmentLabels], NDArray[np.int8]],
        segments: Sequence[str] | None = None,
        as_stored: Sequence[int] = (),
        device: Device = HOST,
    ) -> Iterator[tuple[SegmentLabels, Block]]:
        """Blocks of labelled rows of live configurations that ``wanted`` gives a split other than UNUSED.

        The next block is read while this one is used (memory: two blocks).

        :param segments: of these segments alone
        :param as_stored: kinds whose rows and targets stay in the frame of the data, where turning them would change
            nothing (rows of equal weights) or can be done to the residuals (:meth:`SegmentLabels.turned`)
        :param device: what makes rows that are not stored, where it can; they stay there
        """
        names = self._names() if segments is None else segments
        return ahead(self._blocks(wanted, names, as_stored, device))

    def _blocks(
        self,
        wanted: Callable[[SegmentLabels], NDArray[np.int8]],
        names: Sequence[str],
        as_stored: Sequence[int] = (),
        device: Device = HOST,
    ) -> Iterator[tuple[SegmentLabels, Block]]:
        for segment in names:
            labels = self._labels(segment)
            use = labels.live & (wanted(labels) != UNUSED)
            if not use.any():
                continue
            n = len(labels.n_atoms)
            owners = [np.arange(n), np.repeat(np.arange(n), 3 * labels.n_atoms), np.repeat(np.arange(n), 6)]
            keeps = [use[o] & np.isfinite(b) for o, b in zip(owners, labels.targets, strict=True)]
            pieces = self._computed(labels, keeps, device) if segment in self.computed else self._stored(labels, keeps)
            for kind, start, stored in pieces:
                plain = kind in as_stored
                runs, every = [], []
                for rows in stored:
                    mine = np.flatnonzero(keeps[kind][start : start + len(rows)]) + start
                    if len(mine):
                        runs.append(self._finish(labels, kind, start, rows, mine, not plain, device))
                        every.append(mine)
                    start += len(rows)
                chosen = np.concatenate(every)
                b = (labels.as_stored if plain else labels.targets)[kind][chosen]
                yield labels, Block(kind, segment, runs, b, owners[kind][chosen], chosen)

    def _stored(self, labels: SegmentLabels, keeps: list[NDArray[np.bool_]]) -> Iterator[_Piece]:
        """Runs of stored rows that hold wanted ones: kind, first row, rows."""
        for kind, name in enumerate(("A_E", "A_F", "A_S")):
            path = f"features/{self.feature.id}/{labels.name}/{name}"
            if not keeps[kind].any():
                continue
            array = Chunks(self.snapshot, path)
            for start, stop in self._ranges(keeps[kind], array.rows):
                runs = array.read(start, stop)
                if any(np.isnan(rows[:, 0]).any() for rows in runs):  # a chunk spans all columns: one sees a lost chunk
                    raise DamagedStoreError(
                        f"{self.snapshot.repository.path}: {path} has lost data (a chunk is missing)."
                    )
                yield kind, start, runs

    def _computed(self, labels: SegmentLabels, keeps: list[NDArray[np.bool_]], device: Device) -> Iterator[_Piece]:
        """The same rows, made as they are needed: for matrices larger than the disk."""
        descriptor = self.feature.descriptor()
        batch = read_batch(self.snapshot, labels.name)
        there = device.row_maker(descriptor) is not None  # a device is kept busy by many atoms at once
        for first, last in parts(batch, len(self.columns), (there and device.part_bytes) or PART_BYTES):
            begin, end = int(batch.atom_start[first]), int(batch.atom_start[last])
            borders = [(first, last), (3 * begin, 3 * end), (6 * first, 6 * last)]
            if not any(keep[a:b].any() for keep, (a, b) in zip(keeps, borders, strict=True)):
                continue
            made = rows_at(device, descriptor, batch.slice(first, last))
            if self.feature.precision == "float32":
                made.force = made.force.astype(np.float32)
            for kind, rows in enumerate((made.energy, made.force, made.stress)):
                if keeps[kind][slice(*borders[kind])].any():
                    yield kind, borders[kind][0], [rows]

    def _ranges(self, keep: NDArray[np.bool_], chunk: int) -> Iterator[tuple[int, int]]:
        """Row ranges on borders of chunks of so many rows that hold at least one wanted row."""
        step = max(1, self.block_rows // chunk) * chunk
        for start in range(0, len(keep), step):
            stop = min(start + step, len(keep))
            hits = np.flatnonzero(keep[start:stop])
            if len(hits):
                yield start + int(hits[0]) // chunk * chunk, min(stop, start + (int(hits[-1]) // chunk + 1) * chunk)

    def _finish(
        self,
        labels: SegmentLabels,
        kind: int,
        start: int,
        rows: Any,
        chosen: NDArray[np.int64],
        turned: bool,
        device: Device,
    ) -> Any:
        """Wanted rows of a run, turned if asked for, energies per atom, with their constant columns, C order."""
        xp = np if isinstance(rows, np.ndarray) else device.xp
        if labels.turns is not None and kind > 0 and turned:
            owner = labels.owner(kind)
            d = (3, 6)[kind - 1]  # chunks hold whole atoms and whole tensors
            rows = turn(labels.turns[kind - 1], owner[start // d : (start + len(rows)) // d], rows, xp)
        m = len(self.columns)
        if len(chosen) == len(rows) and kind != 0 and not self.constant and rows.dtype == np.float64:
            return rows
        A = xp.zeros((len(chosen), self.n_columns))
        A[:, :m] = rows if len(chosen) == len(rows) else picked(xp, rows, chosen - start)
        if kind == 0:
            if self.constant:
                A[:, m:] = xp.asarray(labels.counts[chosen])
            A /= xp.asarray(labels.n_atoms[chosen, None])
        return A


assert KINDS == ("energy", "force", "stress")
