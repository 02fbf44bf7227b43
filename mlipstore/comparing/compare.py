"""``compare-data``: configurations that two data sets share, that only one has, and labels that differ."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..curation.columns import SPLIT_NAMES
from ..errors import UnknownNameError
from ..executors import Executor
from ..index import read_batch
from ..matching import Rows, Unmatched, common_groups, with_code
from ..metrics import KINDS
from ..readers import recognise, require_taken
from ..reading import ReadOptions
from .explain import Explanation, explain
from .labels import SharedLabels, shared_labels
from .removed import Removed, removed
from .sides import Side, opened, place_and_version
from .similar import Similar, similar

#: Configurations that are named of each kind of label; groups of which an explanation is looked for.
NAMED, _GROUPS = 20, 200
Progress = Callable[[int, int], None]


@dataclass
class GroupShare:
    """Configurations of one group.

    :param first, second: how many each side has
    :param shared: of the first side's, how many the second has, in whatever group
    :param only_first, only_second: those that have no partner
    :param elsewhere: of the shared ones, how many the second has in another group
    :param relabelled: of the shared ones, how many have a label that differs
    """

    first: int = 0
    second: int = 0
    shared: int = 0
    only_first: int = 0
    only_second: int = 0
    elsewhere: int = 0
    relabelled: int = 0


@dataclass
class LabelChange:
    """Labels of one kind of shared configurations, of all or of one group of the first side.

    :param both: configurations with this label on both sides; ``differ``: how many of them have another one
    :param only_first, only_second: configurations of which one side only has it
    :param rms, max: of the labels that differ: eV/atom, eV/Å or eV/Å^3 (components)
    """

    kind: str
    group: str
    both: int
    differ: int
    only_first: int
    only_second: int
    rms: float = 0.0
    max: float = 0.0
    explanation: Explanation | None = None

    def to_json(self) -> dict[str, Any]:
        rule = None if self.explanation is None else self.explanation.to_json()
        return {**{k: v for k, v in vars(self).items() if k != "explanation"}, "explanation": rule}


@dataclass
class Differing:
    """A shared configuration whose label differs.

    :param difference: as in :class:`LabelChange`; ``left``: what is left of it by the explanation, if there is one
    """

    kind: str
    difference: float
    left: float
    first: dict[str, Any]
    second: dict[str, Any]


@dataclass
class DataComparison:
    """What two data sets have in common.

    :param first, second: name, version, and numbers of configurations, atoms and groups of each side
    :param copies: of those without a partner, how many are further copies of shared ones, on each side
    :param removed: of those that only the other side has, how many were removed from each side, and when
    :param moved: how many went from which group to which, the most first
    :param parts: how many shared ones are of which part of a model on each side, "" where it has no such model
    """

    first: dict[str, Any]
    second: dict[str, Any]
    shared: int = 0
    identical: int = 0
    only_first: int = 0
    only_second: int = 0
    copies: tuple[int, int] = (0, 0)
    removed: tuple[Removed, Removed] = (Removed(), Removed())
    similar: Similar | None = None
    groups: dict[str, GroupShare] = field(default_factory=dict)
    labels: list[LabelChange] = field(default_factory=list)
    moved: list[tuple[str, str, int]] = field(default_factory=list)
    parts: list[tuple[str, str, int]] = field(default_factory=list)
    differing: list[Differing] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def agree(self) -> bool:
        """Whether all labels that both sides have are equal."""
        return not any(c.differ for c in self.labels)

    @property
    def equal(self) -> bool:
        """Whether both are the same data."""
        return self.shared == self.identical and not (self.only_first or self.only_second)

    def of(self, kind: str, group: str = "*") -> LabelChange:
        """Labels of a kind, of all or of one group."""
        return next(c for c in self.labels if (c.kind, c.group) == (kind, group))

    def to_json(self) -> dict[str, Any]:
        plain = asdict(self)
        return {
            **{k: v for k, v in plain.items() if k != "labels"},
            "labels": [c.to_json() for c in self.labels],
            "removed": [r.to_json() for r in self.removed],
            "moved": [{"from": a, "to": b, "configurations": n} for a, b, n in self.moved],
            "parts": [{"first": a, "second": b, "configurations": n} for a, b, n in self.parts],
            "agree": self.agree,
            "equal": self.equal,
        }


def compare_data(
    first: str | Path,
    second: str | Path,
    where: str | None = None,
    options: ReadOptions | None = None,
    format: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    look_alike: bool = True,
    model: str | None = None,
    scratch: str | Path | None = None,
) -> DataComparison:
    """Compare two data sets: each a store, ``STORE@VERSION``, or files or a folder of any readable format.

    Configurations are paired by their geometry (species, periodicity, cell and positions to 1e-4 Å), equal labels and
    equal groups first. Data stream by: what is held are the columns of the index (0.2 kB per configuration), 0.3 kB per
    shared configuration, and 0.6 kB for each that only one side has, and two segments. Where labels differ, a scratch
    file takes 24 bytes per atom.

    :param where: only what this expression selects, on both sides
    :param options, format: how files are read
    :param look_alike: also look for those that are copies but for noise or in other coordinates
    :param model: of one or both stores: who of the shared ones is in its training and in its test set
    :raises UnknownNameError: neither side has such a model
    :raises SettingsError: an option means nothing for any of the files
    :raises InputError: files cannot be read
    :raises StoreError: there is no such store or version
    """
    began = time.perf_counter()
    files = [Path(name) for name in (first, second) if place_and_version(str(name)) is None and Path(name).exists()]
    if files and options is not None:
        require_taken([recognise(path, format) for path in files], options)
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(opened(str(name), where, options, format, executor, scratch))
            for name in (first, second)
        )  # fmt: skip
        result = _Comparison(one, two, progress, scratch).run(look_alike, model)
    result.seconds = time.perf_counter() - began
    return result


class _Comparison:
    """The steps of one comparison."""

    def __init__(self, one: Side, two: Side, progress: Progress | None, scratch: str | Path | None) -> None:
        self.one, self.two, self.scratch = one, two, scratch
        self.names, self.group = common_groups(one.index, two.index)
        self._tell, self._done, self._total = progress, 0, 1
        self.out = DataComparison(_facts(one), _facts(two))

    def _progress(self, n: int) -> None:
        self._done += n
        if self._tell is not None:
            self._tell(min(self._done, self._total), self._total)

    def run(self, look_alike: bool, model: str | None) -> DataComparison:
        rows, equal, left = self._pair()
        self._total = max(1, 2 * int((~equal).sum()) + sum(map(len, left)) * look_alike)
        labels = shared_labels(self.one, self.two, rows, equal, self._progress, self.scratch)
        self._groups(labels, left)
        self._labels(labels)
        self._moved(labels)
        if model is not None:
            self._parts(labels, model)
        self._copies(labels, left)
        self.out.removed = removed(self.one, self.two, left[1]), removed(self.two, self.one, left[0])
        if look_alike:
            self.out.similar = similar((self.one, self.two), (left[0], left[1]), self._progress)
        return self.out

    def _pair(self) -> tuple[tuple[Rows, Rows], NDArray[np.bool_], list[Rows]]:
        """Rows of shared configurations, whether their content is equal, and the rows without a partner."""
        left = Unmatched(self.one.rows, self.two.rows)
        found, equal = [], []
        for column, grouped in (("uid", True), ("uid", False), ("geometry", True), ("geometry", False)):
            keys = []
            for side, codes, mine in zip((self.one, self.two), self.group, left.rows, strict=True):
                key = getattr(side.index, column)[mine]
                keys.append(with_code(key, codes[mine]) if grouped else key)
            found.append(left.pair(keys[0], keys[1]))
            equal.append(np.full(len(found[-1][0]), column == "uid"))
        one, two = (np.concatenate([f[i] for f in found]) for i in (0, 1))
        order = np.argsort(one)
        return (one[order], two[order]), np.concatenate(equal)[order], left.rows

    def _groups(self, s: SharedLabels, left: list[Rows]) -> None:
        out = self.out
        differs = np.logical_or.reduce([s.differs(k) for k in KINDS])
        lacks = np.logical_or.reduce([s.has[k][0] != s.has[k][1] for k in KINDS])
        codes = self.group[0][s.rows[0]], self.group[1][s.rows[1]]
        elsewhere = codes[0] != codes[1]
        n = len(self.names)
        table = {
            "first": np.bincount(self.group[0][self.one.rows], minlength=n),
            "second": np.bincount(self.group[1][self.two.rows], minlength=n),
            "shared": np.bincount(codes[0], minlength=n),
            "only_first": np.bincount(self.group[0][left[0]], minlength=n),
            "only_second": np.bincount(self.group[1][left[1]], minlength=n),
            "elsewhere": np.bincount(codes[0][elsewhere], minlength=n),
            "relabelled": np.bincount(codes[0][differs], minlength=n),
        }
        shares = {g: GroupShare(**{k: int(v[i]) for k, v in table.items()}) for i, g in enumerate(self.names)}
        out.groups = {g: share for g, share in shares.items() if share != GroupShare()}
        out.shared, out.only_first, out.only_second = len(s), len(left[0]), len(left[1])
        out.identical = int((~differs & ~lacks & ~elsewhere).sum())

    def _labels(self, s: SharedLabels) -> None:
        group = self.group[0][s.rows[0]]
        for kind in KINDS:
            differs = s.differs(kind)
            every = self._change(s, kind, "*", np.ones(len(s), bool), differs)
            self.out.labels.append(every)
            if not (every.differ or every.only_first or every.only_second):
                continue
            rule = every.explanation
            for g in np.unique(group[differs | (s.has[kind][0] != s.has[kind][1])])[:_GROUPS].tolist():
                change = self._change(s, kind, self.names[g], group == g, differs)
                if rule is not None and rule.holds[group[differs] == g].mean() > 0.9:
                    change.explanation = None  # what is said of all holds here
                self.out.labels.append(change)
            self._worst(s, kind, differs)

    def _change(
        self, s: SharedLabels, kind: str, group: str, mine: NDArray[np.bool_], differs: NDArray[np.bool_]
    ) -> LabelChange:
        has, both = s.has[kind][:, mine], s.both(kind) & mine
        out = LabelChange(kind, group, int(both.sum()), int((differs & mine).sum()), int((has[0] & ~has[1]).sum()),
                          int((has[1] & ~has[0]).sum()))  # fmt: skip
        which = np.flatnonzero(differs & mine)
        if len(which):
            squares, numbers = s.square(kind)
            out.rms = float(np.sqrt(squares[which].sum() / numbers[which].sum()))
            out.max = float(np.abs(s.difference(kind)[which]).max())
            out.explanation = explain(s, kind, which)
        return out

    def _worst(self, s: SharedLabels, kind: str, differs: NDArray[np.bool_]) -> None:
        """The configurations whose labels differ most, once what an explanation says is taken away."""
        which = np.flatnonzero(differs)
        if not len(which):
            return
        difference = s.difference(kind)
        left = np.full(len(s), np.nan)
        for change in self.out.labels:
            if change.kind == kind and change.explanation is not None:
                mine = which if change.group == "*" else self._of(s, which, change.group)
                left[mine] = change.explanation.left
        size = np.where(np.isfinite(left), left, np.abs(difference))[which]
        for i in which[np.argsort(-size, kind="stable")[:NAMED]].tolist():
            self.out.differing.append(
                Differing(kind, float(difference[i]), float(left[i]), self._place(0, s.rows[0][i]),
                          self._place(1, s.rows[1][i]))
            )  # fmt: skip

    def _of(self, s: SharedLabels, which: Rows, group: str) -> Rows:
        return np.asarray(which[self.group[0][s.rows[0][which]] == self.names.index(group)])

    def _place(self, side: int, row: int) -> dict[str, Any]:
        of = (self.one, self.two)[side]
        segment = int(np.searchsorted(of.index.start, row, side="right") - 1)
        at = int(row - of.index.start[segment])
        batch = read_batch(of.snapshot, of.index.segments[segment].name, at, at + 1)
        return {"source": str(batch.source[0]), "frame": int(batch.frame[0]), "group": str(batch.group[0]),
                "n_atoms": int(batch.n_atoms[0]), "uid": batch.uid[0].tobytes().hex()}  # fmt: skip

    def _moved(self, s: SharedLabels) -> None:
        a, b = self.group[0][s.rows[0]], self.group[1][s.rows[1]]
        went = Counter(zip(a[a != b].tolist(), b[a != b].tolist(), strict=True))
        self.out.moved = [(self.names[i], self.names[j], n) for (i, j), n in went.most_common()]

    def _parts(self, s: SharedLabels, model: str) -> None:
        """Parts of a model that shared configurations have on each side."""
        names: list[NDArray[Any]] = []
        unknown: list[UnknownNameError] = []
        for side, rows in zip((self.one, self.two), s.rows, strict=True):
            try:
                names.append(np.array(SPLIT_NAMES, object)[_parts(side, model)[rows]])
            except UnknownNameError as error:
                unknown.append(error)
                names.append(np.full(len(s), "", object))
        if len(unknown) == 2:
            raise unknown[0]
        found = Counter(zip(names[0].tolist(), names[1].tolist(), strict=True))
        self.out.parts = [(a, b, n) for (a, b), n in sorted(found.items())]

    def _copies(self, s: SharedLabels, left: list[Rows]) -> None:
        known = np.unique(_keys(self.one.index.geometry[s.rows[0]]))
        found = [
            int(np.isin(_keys(side.index.geometry[mine]), known).sum())
            for side, mine in zip((self.one, self.two), left, strict=True)
        ]
        self.out.copies = found[0], found[1]


def _keys(geometry: NDArray[np.uint8]) -> NDArray[np.void]:
    return np.ascontiguousarray(geometry).view("V16").ravel()


def _parts(side: Side, model: str) -> NDArray[np.int8]:
    """Part of each configuration of a side.

    :raises UnknownNameError: it has no such model
    """
    from ..kept.problem import known_parts, refit

    if not side.place:
        raise UnknownNameError(f"files have no model {model!r}: give a store that has it.")
    of = known_parts(refit(side.snapshot.repository, model, side.snapshot.id, check_memory=False))
    return np.concatenate([np.zeros(0, np.int8), *(of(g.name, g.n_configurations) for g in side.index.segments)])


def _facts(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "store": side.place,
        "version": side.snapshot.id if side.place else "",
        "configurations": len(side.selection),
        "atoms": side.selection.n_atoms,
        "groups": len(side.selection.groups()),
    }
