"""``outliers``: training configurations whose labels do not fit the others, or that decide coefficients alone.

Rows are judged by their studentised residuals and leverages (:mod:`mlipstore.kept.studentised`). A group whose error is
far above that of the others is listed by itself: where all labels of a group are off, none of them stands out.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..blocks import Block
from ..configuration import F8
from ..errors import SettingsError, nearest
from ..metrics import ALL, KINDS
from ..segment_labels import SegmentLabels
from ..store import Repository, Snapshot
from .problem import Refit, refit
from .studentised import Progress, Rows, Studentised, component

BY = ("residual", "leverage")
#: Studentised residuals and leverages that are a reason to look, and group errors in units of those of other groups.
FAR, ALONE, WHOLE = 5.0, 0.5, 5.0


@dataclass(frozen=True)
class Row:
    """One training row, in internal units (eV/atom, eV/Å, eV/Å^3).

    :param component: ``atom 12 y`` of a force, ``yz`` of a stress, empty for an energy
    :param label, fitted: baseline included, without element shifts; in the axes of the fit
    :param studentised: residual (label minus fitted) in standard errors
    """

    kind: str
    component: str
    label: float
    fitted: float
    studentised: float
    leverage: float


@dataclass(frozen=True)
class Outlier:
    """One training configuration with the row that is farthest from the fit and the one of most leverage.

    :param reasons: in words, why to look at it; empty if nothing is unusual
    """

    segment: str
    position: int
    source: str
    frame: int
    group: str
    n_atoms: int
    farthest: Row
    strongest: Row
    reasons: list[str]


@dataclass(frozen=True)
class OddGroup:
    """A group whose root mean square error is far above the median of all groups."""

    group: str
    kind: str
    rows: int
    rmse: float
    median: float


@dataclass
class OutliersResult:
    """The configurations to look at, most unusual first."""

    model: str
    by: str
    configurations: int
    rows: int
    outliers: list[Outlier]
    groups: list[OddGroup]
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def outliers(
    repository: Repository,
    model: str,
    number: int = 20,
    by: str = "residual",
    ref: str | None = None,
    progress: Progress | None = None,
) -> OutliersResult:
    """Rank the training configurations of a stored model; the rows stream once, in memory are ``number`` of them.

    :param by: ``residual``: the largest studentised residual of a row; ``leverage``: the largest leverage of a row
    :raises UnknownNameError: there is no such model
    :raises SettingsError: an option makes no sense
    """
    from threadpoolctl import threadpool_limits

    if by not in BY:
        raise SettingsError(f"by is {by!r}. {nearest(by, BY)}It is one of {', '.join(BY)}.")
    if number < 1:
        raise SettingsError(f"{number} configurations cannot be listed. Give at least 1.")
    began = time.perf_counter()
    found = refit(repository, model, ref, check_memory=False)
    with threadpool_limits(1):
        search = _Search(found, repository.at(ref), number, by)
        for rows in search.studentised.rows("outliers", progress):
            search.add(rows)
        search.close()
    return OutliersResult(
        found.model.name, by, search.configurations, search.rows, search.found(), odd_groups(found),
        time.perf_counter() - began,
    )  # fmt: skip


def odd_groups(found: Refit) -> list[OddGroup]:
    """Groups whose training errors are more than ``WHOLE`` times the median of all groups, the worst first."""
    out = []
    for kind in KINDS:
        lines = [e for e in found.model.errors if (e.kind, e.split, e.weighted) == (kind, "train", False)]
        lines = [e for e in lines if e.group != ALL and e.rmse > 0.0]
        median = float(np.median([e.rmse for e in lines])) if lines else 0.0
        out += [OddGroup(e.group, kind, e.n, e.rmse, median) for e in lines if e.rmse > WHOLE * median]
    return sorted(out, key=lambda g: -g.rmse / g.median)


@dataclass
class _Best:
    """The worst rows so far of each configuration of a segment: value, kind, row, residual, label, leverage."""

    value: F8
    kind: NDArray[np.int8]
    row: NDArray[np.int64]
    facts: F8

    @classmethod
    def of(cls, n: int) -> _Best:
        return cls(np.full(n, -1.0), np.zeros(n, np.int8), np.zeros(n, np.int64), np.zeros((n, 4)))

    def add(self, block: Block, value: F8, facts: F8) -> None:
        """Fold in rows of a block: what they are ranked by, and (residual, label, studentised, leverage) of each."""
        owner = block.configuration
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        for start, stop in zip(first, [*first[1:], len(owner)], strict=True):
            i, k = int(owner[start]), int(start + np.argmax(value[start:stop]))
            if value[k] > self.value[i]:
                self.value[i], self.kind[i], self.row[i], self.facts[i] = value[k], block.kind, block.row[k], facts[k]


@dataclass
class _Segment:
    """The segment that streams by."""

    labels: SegmentLabels
    far: _Best
    strong: _Best = field(init=False)

    def __post_init__(self) -> None:
        self.strong = _Best.of(len(self.far.value))


class _Search:
    """Looks at rows block by block and keeps the most unusual configurations."""

    def __init__(self, found: Refit, snapshot: Snapshot, number: int, by: str) -> None:
        self.problem, self.number, self.by = found.problem, number, by
        self.studentised = Studentised(found, snapshot)
        self._segment: _Segment | None = None
        self._kept: list[tuple[float, str, int, _Segment]] = []
        self.configurations = self.rows = 0

    def add(self, rows: Rows) -> None:
        """Rows of one block."""
        if self._segment is None or self._segment.labels.name != rows.labels.name:
            self.close()
            self._segment = _Segment(rows.labels, _Best.of(len(rows.labels.n_atoms)))
        here, t, h = self._segment, rows.studentised, rows.leverage
        facts = np.column_stack([rows.residual, rows.block.b, t, h])
        here.far.add(rows.block, np.abs(t), facts)
        here.strong.add(rows.block, h, facts)
        self.rows += len(t)

    def close(self) -> None:
        """Take over what is unusual in the segment that is over."""
        here, self._segment = self._segment, None
        if here is None:
            return
        best = here.far if self.by == "residual" else here.strong
        seen = np.flatnonzero(best.value >= 0.0)
        self.configurations += len(seen)
        leading = seen[np.argsort(-best.value[seen], kind="stable")[: self.number]]
        self._kept += [(float(best.value[i]), here.labels.name, int(i), here) for i in leading]
        self._kept = sorted(self._kept, key=lambda item: (-item[0], item[1], item[2]))[: self.number]

    def found(self) -> list[Outlier]:
        """What was kept, most unusual first."""
        return [self._outlier(here, i) for _, _, i, here in self._kept]

    def _outlier(self, here: _Segment, i: int) -> Outlier:
        read, at = self.problem.snapshot.read, f"configurations/{here.labels.name}/"
        far, strong = self._row(here, here.far, i), self._row(here, here.strong, i)
        return Outlier(
            here.labels.name, i, str(read(at + "source", i, i + 1)[0]), int(read(at + "frame", i, i + 1)[0]),
            str(here.labels.group[i]), int(here.labels.n_atoms[i]), far, strong, _reasons(far, strong),
        )  # fmt: skip

    def _row(self, here: _Segment, best: _Best, i: int) -> Row:
        kind, row = KINDS[best.kind[i]], int(best.row[i])
        r, b, t, h = map(float, best.facts[i])
        if kind == "energy":  # as in the file: element shifts were added
            b -= float(here.labels.counts[i] @ self.problem.matrix.shifts) / int(here.labels.n_atoms[i])
        return Row(kind, component(kind, row, int(here.labels.n_atoms[:i].sum())), b, b - r, t, h)


def _reasons(far: Row, strong: Row) -> list[str]:
    out = []
    if abs(far.studentised) > FAR:
        out.append(f"{far.kind} {far.component}".strip() + f" is {far.studentised:+.1f} standard errors off the fit")
    if strong.leverage > ALONE:
        what = f"{strong.kind} {strong.component}".strip()
        out.append(f"{what} has leverage {strong.leverage:.2f}: hardly any other row determines what it does")
    return out
