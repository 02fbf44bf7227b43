"""``cross-validate``: errors on rows that a fit has not seen, group by group or fold by fold, from kept factors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..configuration import F8
from ..errors import MemoryLimitError, SettingsError
from ..fit import Progress, no_rows, prepare
from ..memory import human
from ..metrics import KINDS
from ..runs.runfile import Fit
from ..solve.algebra import leave_one_out, residual_norms, stack
from ..solve.linear import reduced
from ..solve.uncertainty import Posterior
from ..split import TRAIN
from ..store import Repository
from .compute import load
from .fit import FactorProblem, factor_of


@dataclass(frozen=True)
class LeftOut:
    """Errors on the training rows of one group or fold, in internal units (eV/atom, eV/Å, eV/Å^3).

    :param rows: number of rows of each kind
    :param inside: root mean square error of each kind in the fit of all training rows
    :param outside: in the fit without these rows
    :param spread: root mean square over the rows of the standard deviation that the fit without them predicts (see
        :class:`mlipstore.solve.uncertainty.Posterior`; the groups or folds are its groups), before calibration
    :param spread_inside: the same of the fit of all training rows
    """

    name: str
    rows: dict[str, int]
    inside: dict[str, float]
    outside: dict[str, float]
    spread: dict[str, float]
    spread_inside: dict[str, float]


@dataclass
class CrossValidation:
    """One line per group or fold, and all of them together: every row predicted by the fit that did not see it.

    :param sigma, deviations: of the coefficients of the fit of all training rows, see
        :class:`mlipstore.solve.uncertainty.Posterior`
    """

    by: str
    left_out: list[LeftOut]
    all: LeftOut
    factors: str
    seconds: float = 0.0
    sigma: float = field(default=0.0, repr=False)
    deviations: F8 = field(default_factory=lambda: np.zeros((0, 0)), repr=False)

    def to_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k not in ("sigma", "deviations")}


def cross_validate(
    repository: Repository, settings: Fit, folds: int = 0, ref: str | None = None, progress: Progress | None = None
) -> CrossValidation:
    """Leave out each group in turn (``folds`` = 0), or each of so many folds; reads no rows.

    :raises SettingsError: factors are missing, or there are fewer than two groups to train on
    :raises MemoryLimitError: the triangles of all groups do not fit the allowance
    """
    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    problem = prepare(repository, settings, ref)
    kept = load(problem, folds)
    with threadpool_limits(1):
        result = left_out(FactorProblem(problem, kept), folds, progress)
    result.seconds = time.perf_counter() - began
    return result


@dataclass
class Part:
    """What is left out together.

    :param weighted: triangle ``(K + 1, K + 1)`` of the weighted rows, ``rows`` their number
    :param kinds: triangle of the unweighted rows of each kind, and their number
    """

    weighted: F8 | None = None
    rows: int = 0
    kinds: dict[int, tuple[F8, int]] = field(default_factory=dict)


def left_out(problem: FactorProblem, folds: int = 0, progress: Progress | None = None) -> CrossValidation:
    """:func:`cross_validate` of a fit that is resolved already."""
    parts = {name: p for name, p in sorted(parts_of(problem, folds).items()) if p.weighted is not None}
    if not parts:
        raise no_rows()
    if len(parts) < 2:
        what = "folds" if folds else "groups"
        raise SettingsError(f"cross-validation takes at least two {what} with training rows; there is {len(parts)}.")
    names, every = list(parts), list(parts.values())
    triangles = [p.weighted for p in every if p.weighted is not None]
    ones, total = [1.0] * len(every), sum(p.rows for p in every)
    solver, K = problem.problem.solver, problem.n_columns
    alpha = solver.alpha if problem.problem.settings.solver.type == "ridge" else 0.0
    whole = factor_of(stack(triangles, ones), total)
    inside = solver.solve(whole).coefficients
    prior = Posterior(reduced(whole), alpha).clustered(_scores(triangles, inside))
    sums: F8 = np.zeros((len(every), len(KINDS), 5))  # rows, squares inside and outside, variances outside and inside
    for done, (i, outside) in enumerate(leave_one_out(triangles, ones)):
        factor = factor_of(outside, total - every[i].rows)
        x = solver.solve(factor).coefficients
        others = [S for j, S in enumerate(triangles) if j != i]
        posterior = Posterior(reduced(factor), alpha).clustered(_scores(others, x))
        for kind, (S, n) in every[i].kinds.items():
            errors = [residual_norms(S, y)[0] ** 2 for y in (inside, x)]
            sums[i, kind] = [n, *errors, *(p.variance(S[:, :K]).sum() for p in (posterior, prior))]
        if progress is not None:
            progress("cross-validation", done + 1, len(names))
    lines = [_line(name, row) for name, row in zip(names, sums, strict=True)]
    every_row = _line("*", sums.sum(axis=0))
    return CrossValidation(
        "fold" if folds else "group", lines, every_row, problem.kept.settings.id, sigma=prior.sigma,
        deviations=prior.deviations,
    )  # fmt: skip


def _scores(triangles: Sequence[F8], x: F8) -> F8:
    """``A^T r`` of the rows of each triangle ``(K, triangles)``."""
    K = len(x)
    return np.column_stack([S[:, :K].T @ (S[:, K] - S[:, :K] @ x) for S in triangles])


def parts_of(problem: FactorProblem, folds: int) -> dict[str, Part]:
    """Triangles of what is left out in turn, by name."""
    K = problem.n_columns
    count = folds or len(problem.problem.table.groups)
    needed = 8 * ((1 + len(KINDS)) * count + 2 * int(np.ceil(np.log2(count + 1)))) * (K + 1) ** 2
    if needed > problem.problem.plan.allowance:
        raise MemoryLimitError(
            f"cross-validation over {count:,} parts needs {human(needed)} for their triangles of {K + 1:,} columns; "
            f"{human(problem.problem.plan.allowance)} are allowed. Use folds: --folds 5."
        )
    parts: dict[str, Part] = {}
    for leaf in problem.kept.leaves:
        for key, R in problem.trapezoids(leaf):
            if key.split != TRAIN:
                continue
            part = parts.setdefault(f"fold {key.fold + 1}" if folds else key.group, Part())
            S = np.zeros((K + 1, K + 1))
            mine = problem.problem_of(R)
            S[: len(mine)] = mine
            before, n = part.kinds.get(key.kind, (None, 0))
            part.kinds[key.kind] = _both(before, S, 1.0), n + key.rows
            w = problem.weight(key)
            if w != 0.0:
                part.weighted = _both(part.weighted, S, w)
                part.rows += key.rows
    return parts


def _both(before: F8 | None, S: F8, weight: float) -> F8:
    return stack([S], [weight]) if before is None else stack([before, S], [1.0, weight])


def _line(name: str, sums: F8) -> LeftOut:
    have = [k for k in range(len(KINDS)) if sums[k, 0]]

    def root(column: int) -> dict[str, float]:
        return {KINDS[k]: float(np.sqrt(sums[k, column] / sums[k, 0])) for k in have}

    return LeftOut(name, {KINDS[k]: int(sums[k, 0]) for k in have}, root(1), root(2), root(3), root(4))
