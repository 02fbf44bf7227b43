"""What the pictures of a model need, from one pass over its rows; memory depends on the groups, not on the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..axes import turn
from ..blocks import DesignMatrix
from ..curation.query import Selection, select
from ..errors import SettingsError, unknown_name
from ..kept.problem import Refit, split_of
from ..metrics import ALL, KINDS, Entry, ErrorTable
from ..segment_labels import SegmentLabels
from ..split import SPLITS, UNUSED
from ..units import GPA
from .histogram import Histogram
from .sample import Sample, keys

#: Points drawn per kind, and how many rows of largest error are always among them.
POINTS, WORST = 20_000, 200


@dataclass(frozen=True)
class Quantity:
    """How a kind of row is shown: units of axes and of errors, and how many of each are one internal unit."""

    kind: str
    title: str
    axis_unit: str
    axis_note: str
    axis_scale: float
    error_unit: str
    error_scale: float


QUANTITIES = (
    Quantity("energy", "energy per atom", "eV/atom", "", 1.0, "meV/atom", 1e3),
    Quantity("force", "force components", "eV/Å", "", 1.0, "meV/Å", 1e3),
    Quantity("stress", "stress components", "GPa", ", positive in tension", 1.0 / GPA, "GPa", 1.0 / GPA),
)
assert tuple(q.kind for q in QUANTITIES) == KINDS


@dataclass
class Kind:
    """Rows of one kind.

    :param errors: lines of the error table in units of ``quantity``'s errors; group ``*`` is all
    :param residual: per split, predicted minus reference, in units of errors
    :param lowest: the smaller of reference and predicted of each row, in units of axes; ``highest`` the larger
    :param points: the drawn ones: fields cell (2 group + split), reference (axes), residual (errors), key
    :param seen: rows of each cell
    :param level: points a cell may have; cells with fewer rows are drawn whole
    :param unweighted: whether the fit gave each group no weight for this kind
    """

    quantity: Quantity
    errors: list[Entry]
    residual: list[Histogram]
    lowest: Histogram
    highest: Histogram
    points: NDArray[np.void]
    seen: NDArray[np.int64]
    level: int
    unweighted: NDArray[np.bool_]

    def rows(self, split: int) -> int:
        return int(self.seen[split :: len(SPLITS)].sum())

    @property
    def splits(self) -> list[int]:
        """Splits that have rows."""
        return [s for s in range(len(SPLITS)) if self.rows(s)]

    def error(self, split: int, group: str = ALL) -> Entry | None:
        """The line of a group and split."""
        return next((e for e in self.errors if e.group == group and e.split == SPLITS[split]), None)


@dataclass
class Collected:
    """All kinds that have rows, of the groups ``groups`` (a cell counts them in this order)."""

    model: str
    groups: list[str]
    kinds: list[Kind]


@dataclass
class Rows:
    """Rows of one kind with all that is known of each, internal units; ``r`` is reference minus predicted."""

    kind: int
    split: NDArray[np.int8]
    group: NDArray[np.int32]
    reference: NDArray[np.float64]
    r: NDArray[np.float64]
    key: NDArray[np.uint64]


class Collector:
    """Takes rows as they come; its memory depends on the number of groups only."""

    def __init__(self, groups: list[str]) -> None:
        cells = len(groups) * len(SPLITS)
        self.groups = groups
        self.errors = ErrorTable(groups)
        self.samples = [Sample(cells, POINTS, WORST) for _ in KINDS]
        self.residual = [[Histogram() for _ in SPLITS] for _ in KINDS]
        self.lowest, self.highest = ([Histogram() for _ in KINDS] for _ in range(2))

    def add(self, rows: Rows) -> None:
        """Take rows."""
        quantity, k = QUANTITIES[rows.kind], rows.kind
        r = -rows.r * quantity.error_scale
        reference = rows.reference * quantity.axis_scale
        predicted = (rows.reference - rows.r) * quantity.axis_scale
        self.errors.add(k, rows.split, rows.group, r, reference, np.ones(len(r)))
        for s in range(len(SPLITS)):
            self.residual[k][s].add(r[rows.split == s])
        self.lowest[k].add(np.minimum(reference, predicted))
        self.highest[k].add(np.maximum(reference, predicted))
        self.samples[k].add(rows.key, rows.group.astype(np.int64) * len(SPLITS) + rows.split, reference, r)

    def collected(self, model: str, weight: NDArray[np.float64]) -> Collected:
        """All that was taken.

        :param weight: of each group in the fit ``(groups, kinds)``
        """
        entries = [e for e in self.errors.entries() if not e.weighted]
        kinds = [
            Kind(
                quantity,
                [e for e in entries if e.kind == quantity.kind],
                self.residual[k],
                self.lowest[k],
                self.highest[k],
                self.samples[k].points(),
                self.samples[k].seen,
                self.samples[k].level,
                weight[:, k] == 0,
            )
            for k, quantity in enumerate(QUANTITIES)
            if self.samples[k].seen.any()
        ]
        return Collected(model, self.groups, kinds)


def collect(
    refit: Refit,
    groups: Sequence[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    where: str | None = None,
) -> Collected:
    """Stream the rows of a model once.

    :param groups: only these; None = all
    :param where: only configurations for which this expression is true
    :raises UnknownNameError: the model's data have no such group
    :raises SettingsError: no row is left
    """
    table = refit.problem.table
    for name in groups or ():
        if name not in table.groups:
            raise unknown_name("group", name, table.groups)
    chosen = np.array([groups is None or g in groups for g in table.groups])
    collector = Collector(table.groups)
    done, total = 0, refit.problem.plan.rows
    selection = None if where is None else select(refit.problem.snapshot, where, split=split_of(refit))
    for rows in _stream(refit, chosen, selection):
        collector.add(rows)
        done += len(rows.r)
        if progress is not None:
            progress("plot", done, total)
    out = collector.collected(refit.model.name, table.weight)
    if not out.kinds:
        place = "" if groups is None else f" in {', '.join(map(repr, groups))}"
        if where is not None:
            place += f" where {where}"
        raise SettingsError(
            f"model {refit.model.name!r} has no labelled training or test rows{place}, so there is nothing to draw."
        )
    return out


def _stream(refit: Refit, chosen: NDArray[np.bool_], selection: Selection | None = None) -> Iterator[Rows]:
    """Rows of the chosen groups ``(groups,)``; the baseline is added back, so that labels are what was ingested."""
    matrix, table, x = refit.problem.matrix, refit.problem.table, refit.x

    def wanted(labels: SegmentLabels) -> NDArray[np.int8]:
        mine = chosen[table.codes(labels)]
        if selection is not None:
            mine = mine & selection.of(labels.name)
        return np.where(mine, table.split(labels), UNUSED).astype(np.int8)

    segment: SegmentLabels | None = None
    for labels, block in matrix.blocks(wanted):
        if labels is not segment:
            segment = labels
            split, codes = wanted(labels), table.codes(labels)
            kept = _kept(labels, split)
            baseline = _baseline(matrix, labels)
            cursor = [0] * len(KINDS)
        n, k = len(block.b), block.kind
        row = kept[k][cursor[k] : cursor[k] + n]
        cursor[k] += n
        owner = block.configuration
        yield Rows(
            k,
            split[owner],
            codes[owner],
            block.b + baseline[k][row],
            block.b - block.times(x),
            keys(labels.name, k, row),
        )


def _kept(labels: SegmentLabels, split: NDArray[np.int8]) -> list[NDArray[np.int64]]:
    """Rows of a segment that its blocks have, in their order, per kind."""
    use = labels.live & (split != UNUSED)
    repeats: list[Any] = [1, 3 * labels.n_atoms, 6]
    return [np.flatnonzero(np.repeat(use, n) & np.isfinite(b)) for n, b in zip(repeats, labels.targets, strict=True)]


def _baseline(matrix: DesignMatrix, labels: SegmentLabels) -> list[NDArray[np.float64]]:
    """What was taken off the labels of a segment, per kind and row."""
    if matrix.baseline is None:
        return [np.zeros_like(b) for b in labels.targets]
    at = f"baselines/{matrix.baseline.id}/{labels.name}/"
    energy, force, stress = (matrix.snapshot.read(at + k).reshape(-1, 1) for k in KINDS)
    if labels.turns is not None:  # to the axes that the rows have
        every = np.arange(len(labels.n_atoms))
        force = turn(labels.turns[0], np.repeat(every, labels.n_atoms), force)
        stress = turn(labels.turns[1], every, stress)
    return [energy.ravel() / labels.n_atoms, force.ravel(), stress.ravel()]
