"""``outliers``: training configurations whose labels do not fit the others, or that decide coefficients alone.

For a weighted training row a with residual r, ``h = a (A^T A + alpha)^-1 a^T`` is its leverage, between 0 and 1: the
share of its own label in its fitted value. Its studentised residual is ``r / (s sqrt(1 - h))``, with s the root mean
square residual of the rows of its group and kind without it (Cook and Weisberg 1982, sec. 2.2.1; one row of the error
that is usual for the kind is added to those of the group, so that groups of a few rows have a scale). A group whose
error is far above that of the others is listed by itself: where all labels of a group are off, none of them stands out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..blocks import Block, SegmentLabels
from ..configuration import F8
from ..errors import SettingsError, nearest
from ..metrics import ALL, KINDS
from ..solve.factor import Factor
from ..solve.linear import reduced
from ..solve.uncertainty import Posterior
from ..split import TRAIN
from ..store import Repository, Snapshot
from .problem import Refit, refit

BY = ("residual", "leverage")
#: Studentised residuals and leverages that are a reason to look, and group errors in units of those of other groups.
FAR, ALONE, WHOLE = 5.0, 0.5, 5.0

Progress = Callable[[str, int, int], None]


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
        done, total = 0, found.problem.plan.rows
        for labels, block in found.problem.matrix.blocks(found.problem.table.split):
            search.add(labels, block)
            done += len(block.b)
            if progress is not None:
                progress("outliers", done, total)
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
    codes: NDArray[np.int32]
    split: NDArray[np.int8]
    far: _Best
    strong: _Best = field(init=False)

    def __post_init__(self) -> None:
        self.strong = _Best.of(len(self.codes))


class _Search:
    """Looks at rows block by block and keeps the most unusual configurations."""

    def __init__(self, found: Refit, snapshot: Snapshot, number: int, by: str) -> None:
        self.problem, self.number, self.by = found.problem, number, by
        self.problem.matrix.separate = True  # labels as they are, the baseline beside them
        packed = snapshot.read(f"models/{found.model.id}/R")
        factor = Factor.from_packed(packed, len(found.x), found.model.rows)
        self._posterior, self._x = Posterior(reduced(factor), found.penalty, 1.0), found.x
        self._squares, self._counts = self._scales(found)
        self._segment: _Segment | None = None
        self._kept: list[tuple[float, str, int, _Segment]] = []
        self.configurations = self.rows = 0

    def _scales(self, found: Refit) -> tuple[F8, F8]:
        """Sums of squared residuals of each group and kind, with one row of the usual error of the kind; counts."""
        groups = {g: i for i, g in enumerate(self.problem.table.groups)}
        squares, counts = np.zeros((len(groups), len(KINDS))), np.zeros((len(groups), len(KINDS)))
        for k, kind in enumerate(KINDS):
            lines = [e for e in found.model.errors if (e.kind, e.split, e.weighted) == (kind, "train", False)]
            mine = [e for e in lines if e.group in groups and e.group != ALL]
            usual = float(np.median([e.rmse for e in mine])) if mine else 0.0
            squares[:, k], counts[:, k] = usual**2, 1.0
            for e in mine:
                squares[groups[e.group], k] += e.n * e.rmse**2
                counts[groups[e.group], k] += e.n
        return squares, counts

    def add(self, labels: SegmentLabels, block: Block) -> None:
        """Rows of one block."""
        if self._segment is None or self._segment.labels.name != labels.name:
            self.close()
            table = self.problem.table
            codes = table.codes(labels)
            self._segment = _Segment(labels, codes, table.split(labels), _Best.of(len(codes)))
        here = self._segment
        w = self.problem.table.row_weights(block, here.codes, here.split, labels.n_atoms)
        used = (here.split[block.configuration] == TRAIN) & (w > 0.0)
        if not used.any():
            return
        block = Block(
            block.kind, block.segment, block.A[used], block.b[used], block.configuration[used], block.row[used]
        )
        r = block.b - block.A @ self._x
        if labels.reference is not None:
            r -= labels.reference[block.kind][block.row]
        h = np.minimum(w[used] ** 2 * self._posterior.leverage(block.A), 1.0)
        t = self._studentised(r, h, here.codes[block.configuration], block.kind)
        facts = np.column_stack([r, block.b, t, h])
        here.far.add(block, np.abs(t), facts)
        here.strong.add(block, h, facts)
        self.rows += len(r)

    def _studentised(self, r: F8, h: F8, code: NDArray[np.int32], kind: int) -> F8:
        squares, counts = self._squares[code, kind], self._counts[code, kind]
        free = np.maximum(1.0 - h, 1e-12)
        others = np.maximum(squares - r**2 / free, 1e-6 * squares) / np.maximum(counts - 1.0, 1.0)
        return np.asarray(np.divide(r, np.sqrt(others * free), out=np.zeros_like(r), where=others > 0.0))

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
        component = ""
        if kind == "force":
            atom = row // 3 - int(here.labels.n_atoms[:i].sum())
            component = f"atom {atom} {'xyz'[row % 3]}"
        elif kind == "stress":
            component = ("xx", "yy", "zz", "yz", "xz", "xy")[row % 6]
        if kind == "energy":  # as in the file: element shifts were added
            b -= float(here.labels.counts[i] @ self.problem.matrix.shifts) / int(here.labels.n_atoms[i])
        return Row(kind, component, b, b - r, t, h)


def _reasons(far: Row, strong: Row) -> list[str]:
    out = []
    if abs(far.studentised) > FAR:
        out.append(f"{far.kind} {far.component}".strip() + f" is {far.studentised:+.1f} standard errors off the fit")
    if strong.leverage > ALONE:
        what = f"{strong.kind} {strong.component}".strip()
        out.append(f"{what} has leverage {strong.leverage:.2f}: hardly any other row determines what it does")
    return out
