"""The two passes of a fit over its rows, leaf by leaf on any executor: the factor, then the errors.

A leaf is a run of segments with enough rows that merging its factor costs little. Leaves depend on the data and the
number of columns alone, their factors are merged over the fixed tree and their errors in the order of the leaves: the
bits are the same on one core and on many nodes. Workers open the store themselves; what travels is a packed triangle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Block, DesignMatrix
from .device import Device, join_on, open_device, picked
from .executors import Executor
from .features import Feature, StoredBaseline
from .metrics import ErrorTable
from .runs.runfile import Fit
from .schema import canonical
from .segment_labels import SegmentLabels
from .solve.factor import Factor
from .solve.tree import join
from .split import TRAIN
from .store import Address, Repository, Snapshot
from .weights import GroupTable

Progress = Callable[[str, int, int], None]
#: A leaf has at least so many rows per column, and so many rows in all: merging then costs a few per cent.
LEAF_ROWS_PER_COLUMN, LEAF_ROWS = 8, 8_192


@dataclass(frozen=True)
class Rows:
    """The weighted rows of a fit, as a worker is told of them."""

    store: Address
    snapshot: str
    feature: Feature
    baseline: StoredBaseline | None
    settings: Fit
    table: GroupTable

    @classmethod
    def of(cls, matrix: DesignMatrix, settings: Fit, table: GroupTable) -> Rows:
        baseline = None if matrix.baseline is None else replace(matrix.baseline, content={})
        snapshot = matrix.snapshot
        rows = cls(snapshot.repository.address, snapshot.id, matrix.feature, baseline, settings, table)
        _opened[:] = [(rows, rows._key, matrix)]
        return rows

    @property
    def _key(self) -> str:
        ids = [str(self.store), self.snapshot, self.feature.id, self.baseline.id if self.baseline else ""]
        return canonical([*ids, self.settings.to_dict()])

    def matrix(self) -> DesignMatrix:
        """The design matrix, opened once in every process."""
        if _opened and _opened[0][0] is self:  # here all leaves have one; to workers each brings its own
            return _opened[0][2]
        key = self._key
        if _opened and _opened[0][1] == key:
            matrix = _opened[0][2]
        else:
            snapshot = Repository.open(self.store).at(self.snapshot)
            matrix = matrix_of(snapshot, self.feature, self.baseline, self.settings)
        _opened[:] = [(self, key, matrix)]
        return matrix


#: The rows that were asked for last, their key, and their matrix.
_opened: list[tuple[Rows, str, DesignMatrix]] = []


def matrix_of(snapshot: Snapshot, feature: Feature, baseline: StoredBaseline | None, settings: Fit) -> DesignMatrix:
    """The design matrix that the settings of a fit stand for."""
    return DesignMatrix(
        snapshot, feature, baseline, settings.constant, dict(settings.element_shifts), settings.block_rows,
        settings.frame, where=settings.where,
    )  # fmt: skip


@dataclass(frozen=True)
class _Leaf:
    """Rows of some segments; for the errors with the coefficients ``(K,)``."""

    rows: Rows
    segments: tuple[str, ...]
    x: NDArray[np.float64] | None = None


def leaves(matrix: DesignMatrix) -> list[tuple[str, ...]]:
    """Runs of segments that are factored one by one, in the order of the stream."""
    return [names for names, _ in _runs(matrix)]


def leaf_rows(matrix: DesignMatrix) -> list[float]:
    """Rows of each leaf, labelled or not."""
    return [float(rows) for _, rows in _runs(matrix)]


def least_rows(n_columns: int) -> int:
    """Rows that make a leaf."""
    return max(LEAF_ROWS, LEAF_ROWS_PER_COLUMN * (n_columns + 1))


def _runs(matrix: DesignMatrix) -> list[tuple[tuple[str, ...], int]]:
    out: list[tuple[tuple[str, ...], int]] = []
    names: list[str] = []
    rows = 0
    for s in matrix.segments:
        names.append(s.name)
        rows += 7 * s.n_configurations + 3 * s.n_atoms
        if rows >= least_rows(matrix.n_columns):
            out.append((tuple(names), rows))
            names, rows = [], 0
    return [*out, (tuple(names), rows)] if names else out


def accumulate(rows: Rows, executor: Executor, progress: Progress | None = None) -> Factor | None:
    """The factor of the weighted training rows: one pass. None if there are none."""
    matrix = rows.matrix()
    tasks = [_Leaf(rows, names) for names in leaves(matrix)]
    total = matrix.n_rows()

    def done(n: int) -> None:
        if progress is not None:
            progress("fit", total * n // len(tasks), total)

    device = rows.settings.device
    factor = executor.reduce(_factor, tasks, join if device == "cpu" else partial(join_on, device), done)
    if factor is not None:
        factor.finish()
    return factor


def errors(rows: Rows, x: NDArray[np.float64], executor: Executor, progress: Progress | None = None) -> ErrorTable:
    """The error table of any coefficients ``(K,)``: one pass."""
    matrix = rows.matrix()
    tasks = [_Leaf(rows, names, x) for names in leaves(matrix)]
    total = matrix.n_rows()
    table = ErrorTable(rows.table.groups)
    for i, part in enumerate(executor.map(_errors, tasks)):
        table.merge(part)
        if progress is not None:
            progress("errors", total * (i + 1) // len(tasks), total)
    return table


def _blocks(
    leaf: _Leaf, as_stored: tuple[int, ...], device: Device
) -> Iterator[tuple[SegmentLabels, Block, NDArray[np.int32], NDArray[np.int8]]]:
    """Blocks of a leaf, with the group code and the split of each configuration of their segment."""
    matrix, table = leaf.rows.matrix(), leaf.rows.table
    known = None
    for labels, block in matrix.blocks(table.split, leaf.segments, as_stored, device):
        if labels is not known:
            known, codes, split = labels, table.codes(labels), table.split(labels)
        yield labels, block, codes, split


def _factor(leaf: _Leaf) -> Factor | None:
    """The factor of one leaf; None if it has no training rows."""
    matrix, table = leaf.rows.matrix(), leaf.rows.table
    device = open_device(leaf.rows.settings.device)
    factor = Factor(matrix.n_columns, 1, device.kernels())
    # the three force rows of an atom have one weight: turning them would not change the factor
    for labels, block, codes, split in _blocks(leaf, (1,), device):
        w = table.row_weights(block, codes, split, labels.n_atoms)
        w = np.where(split[block.configuration] == TRAIN, w, 0.0)
        used = w > 0
        if not used.any():
            continue
        runs, b = block.runs, block.b
        if not used.all():
            runs = [picked(device.xp, run, np.flatnonzero(used[at])) for at, run in block.pieces()]
            b, w = b[used], w[used]
        factor.update_runs([device.send(run) for run in runs], device.send(b[:, None]), device.send(w))
    factor.finish()
    return factor if factor.n_rows else None


def _errors(leaf: _Leaf) -> ErrorTable:
    """The errors of one leaf, training and test rows."""
    table, device = leaf.rows.table, open_device(leaf.rows.settings.device)
    out = ErrorTable(table.groups)
    x: Any = leaf.x
    for labels, block, codes, split in _blocks(leaf, (1, 2), device):
        w = table.row_weights(block, codes, split, labels.n_atoms)
        r = labels.turned(block.kind, block.row, block.b - block.times(x, device))
        b = labels.targets[block.kind][block.row]
        out.add(block.kind, split[block.configuration], codes[block.configuration], r, b, w)
    return out
