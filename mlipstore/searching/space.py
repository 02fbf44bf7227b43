"""What a search moves in: parameters, and the triangles of the rows that are fitted and predicted.

Everything that a trial does not change is folded together here: training keys with the same parameter into one triangle
per part, validation rows into one triangle per objective and set. A set is one division of the parts into fitted and
predicted ones: one for test rows or held-out groups, K for K folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8
from ..errors import MemoryLimitError, SettingsError, unknown_name
from ..kept.factors import Key
from ..kept.fit import FactorProblem
from ..memory import human
from ..metrics import KINDS
from ..solve.algebra import Reweighting, stack
from ..split import TRAIN
from .settings import Search

Place = TypeVar("Place")
#: Solvers that a trial solves itself, with derivatives; the others are asked.
DIRECT = ("svd", "qr", "ridge")


@dataclass(frozen=True)
class Parameter:
    """One thing that varies: a factor on weights, the penalty, or the energy shift of an element.

    :param log: the search moves in the logarithm of the value
    """

    name: str
    low: float
    high: float
    log: bool = True

    def inner(self, value: float) -> float:
        """The number that an optimiser moves."""
        return float(np.log(value)) if self.log else value

    def value(self, inner: float) -> float:
        return float(np.clip(np.exp(inner), self.low, self.high)) if self.log else inner


@dataclass
class Space:
    """A search made ready.

    :param start: value of each parameter as ``[fit]`` has it, or the nearest one in its range
    :param n_columns: K, columns that are solved for; then one per element where shifts vary, then the target
    :param units: of each kind of weight, the number of its parameter (-1: none) and a fixed factor
    :param triangles: of the weighted training rows, one per part and unit, ordered by part; ``part``, ``unit`` and
        ``rows`` of each
    :param sets: which parts are fitted ``(sets, parts)``
    :param validation: ``[objective][set]``, scaled so that an objective is the norm of all its ``V [x; -shifts; -1]``
    :param shifts: parameter and column of each shift
    :param ridge: parameter of the penalty
    """

    parameters: list[Parameter]
    start: list[float]
    objectives: list[str]
    n_columns: int
    units: list[tuple[int, float]]
    triangles: list[F8]
    part: NDArray[np.int64]
    unit: NDArray[np.int64]
    rows: NDArray[np.int64]
    sets: NDArray[np.bool_]
    validation: list[list[F8]]
    shifts: list[tuple[int, int]]
    ridge: int | None


def space(problem: FactorProblem, search: Search) -> Space:
    """Fold the kept factors of a fit together for a search.

    :raises SettingsError, UnknownNameError: settings do not go together; nothing is fitted, predicted or varied
    :raises MemoryLimitError: the triangles do not fit the allowance
    """
    _check(problem, search)
    return _Builder(problem, search).build()


def _check(problem: FactorProblem, search: Search) -> None:
    fit = problem.problem.settings
    solver = fit.solver.type
    if search.method == "gradient" and solver not in DIRECT:
        raise SettingsError(
            f"method = 'gradient' takes the solver svd, qr or ridge; [fit.solver] has {solver!r}. Use method = "
            "'differential-evolution' or 'random'."
        )
    if search.ridge is not None and solver not in DIRECT:
        raise SettingsError(f"[search] ridge is the penalty of the solver ridge; [fit.solver] has {solver!r}.")
    if search.element_shifts and fit.constant:
        raise SettingsError(
            "[search] element_shifts: [fit] has constant = true, which fits the energy of every element already. "
            "Leave them out."
        )
    for symbol in search.element_shifts:
        if symbol not in problem.kept.elements:
            raise unknown_name("element", symbol, problem.kept.elements)
    groups = problem.problem.table.groups
    for pattern in (*search.groups, *search.hold_out):
        if not any(fnmatchcase(g, pattern) for g in groups):
            raise unknown_name("group", pattern, groups)
    for i in range(len(search.objectives)):
        group = search.objective(i)[1]
        if group is not None and group not in groups:
            raise unknown_name("group", group, groups)


class _Builder:
    """Collects parameters and triangles in one pass over the factors."""

    def __init__(self, problem: FactorProblem, search: Search) -> None:
        self.problem, self.search = problem, search
        self.groups = problem.problem.table.groups
        self.width = problem.n_columns + (len(problem.kept.elements) if search.element_shifts else 0)
        self.parameters: list[Parameter] = []
        self.start: list[float] = []
        self.units: list[tuple[int, float]] = []
        self.unit_of: dict[str, int] = {}
        self.training: dict[tuple[int, int], F8] = {}
        self.training_rows: dict[tuple[int, int], int] = {}
        self.validation: dict[tuple[int, int, str], F8] = {}
        self.validation_rows: dict[tuple[int, str], int] = {}
        self._require_memory()

    def build(self) -> Space:
        for leaf in self.problem.kept.leaves:
            for key, R in self.problem.trapezoids(leaf):
                w = self.problem.weight(key)
                if w != 0.0:  # rows without weight do not count, neither here nor there
                    self._add(key, w, R)
        if not self.training:
            raise SettingsError("no rows to train on: check train, the weights in [fit.groups], and hold_out.")
        search, fit = self.search, self.problem.problem.settings
        ridge = None
        if search.ridge is not None:
            alpha = fit.solver.settings.get("alpha") if fit.solver.type == "ridge" else None
            ridge = self._parameter(
                Parameter("ridge", *search.ridge), alpha if isinstance(alpha, float) else search.ridge[0]
            )
        shifts = []
        for symbol, (low, high) in search.element_shifts.items():
            column = self.problem.n_columns + self.problem.kept.elements.index(symbol)
            shifts.append((self._parameter(Parameter(f"element_shifts.{symbol}", low, high, log=False), 0.0), column))
        if not self.parameters:
            raise SettingsError("nothing varies: give ranges in [search], such as energy = [0.01, 100].")
        order = sorted(self.training)
        n_parts = 1 + order[-1][0]
        n_sets = n_parts if search.validation in ("folds", "each-group") else 1
        return Space(
            parameters=self.parameters,
            start=self.start,
            objectives=list(search.objectives),
            n_columns=self.problem.n_columns,
            units=self.units,
            triangles=[self.training[k] for k in order],
            part=np.array([part for part, _ in order]),
            unit=np.array([unit for _, unit in order]),
            rows=np.array([self.training_rows[k] for k in order]),
            sets=~np.eye(n_sets, dtype=bool) if n_sets > 1 else np.ones((1, 1), bool),
            validation=[self._scaled(j, n_sets) for j in range(len(search.objectives))],
            shifts=shifts,
            ridge=ridge,
        )

    # ------------------------------------------------------------------- rows
    def _add(self, key: Key, weight: float, R: F8) -> None:
        """Rows of one key: to those that are fitted, to those that are predicted, or to both."""
        part, at = self._role(key)
        if part is None and at is None:
            return
        S = np.zeros((self.width + 1, self.width + 1))
        mine = self.problem.problem_of(R, self.width)
        S[: len(mine)] = mine
        if part is not None:
            place = part, self._unit(key.group, KINDS[key.kind])
            _fold(self.training, place, weight * S)
            self.training_rows[place] = self.training_rows.get(place, 0) + key.rows
        if at is None:
            return
        for j in range(len(self.search.objectives)):
            kind, group = self.search.objective(j)
            if KINDS[key.kind] == kind and group in (None, key.group):
                name = key.group if self.search.average == "groups" else ""
                _fold(self.validation, (j, at, name), S)
                self.validation_rows[j, name] = self.validation_rows.get((j, name), 0) + key.rows

    def _role(self, key: Key) -> tuple[int | None, int | None]:
        """Part in which a key is fitted, and set in which it is predicted."""
        how, training = self.search.validation, key.split == TRAIN
        if how == "test":
            return (0, None) if training else (None, 0)
        if how == "groups":
            if self.search.held_out(key.group):
                return None, 0
            return (0 if training else None), None
        if not training:
            return None, None
        part = key.fold if how == "folds" else self.groups.index(key.group)
        return part, part

    def _scaled(self, j: int, n_sets: int) -> list[F8]:
        """Validation triangles of one objective."""
        names = [name for i, name in self.validation_rows if i == j]
        if not names:
            raise SettingsError(_nothing_to_predict(self.search, self.search.objectives[j]))
        out = []
        for at in range(n_sets):
            mine = [n for n in names if (j, at, n) in self.validation]
            scale = [1.0 / np.sqrt(len(names) * self.validation_rows[j, n]) for n in mine]
            if mine:
                out.append(stack([self.validation[j, at, n] for n in mine], scale))
            else:
                out.append(np.zeros((self.width + 1, self.width + 1)))
        return out

    # ------------------------------------------------------------- parameters
    def _parameter(self, parameter: Parameter, start: float) -> int:
        self.parameters.append(parameter)
        self.start.append(float(np.clip(start, parameter.low, parameter.high)))
        return len(self.parameters) - 1

    def _unit(self, group: str, kind: str) -> int:
        """The number of what the weight of a group and kind varies with."""
        name, low, high = self.search.weight(group, kind)
        if name not in self.unit_of:
            self.unit_of[name] = len(self.units)
            number = -1 if low == high else self._parameter(Parameter(name, low, high), 1.0)
            self.units.append((number, low if low == high else 1.0))
        return self.unit_of[name]

    def _require_memory(self) -> None:
        parts = self.search.folds if self.search.validation == "folds" else 1
        keys = len(self.groups) * len(KINDS) * parts
        sets = {"folds": parts, "each-group": len(self.groups)}.get(self.search.validation, 1)
        needed = Reweighting.projected_bytes(keys, self.width + 1)
        needed += 8 * len(self.search.objectives) * sets * (self.width + 1) ** 2
        allowance = self.problem.problem.plan.allowance
        if needed > allowance:
            raise MemoryLimitError(
                f"the search needs {human(needed)} for {keys:,} triangles of {self.width + 1:,} columns; "
                f"{human(allowance)} are allowed. Use fewer groups or folds, or raise max_memory in [fit]."
            )


def _fold(into: dict[Place, F8], place: Place, S: F8) -> None:
    into[place] = stack([into[place], S], [1.0, 1.0]) if place in into else stack([S], [1.0])


def _nothing_to_predict(search: Search, objective: str) -> str:
    remedy = {
        "test": "Give test = .. in [fit.default] or [fit.groups], or validation = 'folds' or 'groups' in [search].",
        "groups": "Check hold_out in [search].",
    }.get(search.validation, "Check the labels and weights.")
    return f"objective {objective!r}: there are no such rows to predict (validation = {search.validation!r}). {remedy}"
