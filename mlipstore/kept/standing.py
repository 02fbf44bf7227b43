"""How labels stand to a stored model, for the audit: the worst rows of each configuration, and groups left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8
from ..errors import MemoryLimitError, SettingsError
from ..metrics import KINDS
from ..solve.algebra import residual_norms, stack
from ..solve.linear import column_norms, penalised, reduced
from ..store import Repository, Snapshot
from .compute import load
from .crossvalidation import LeftOut as Line
from .crossvalidation import Part, left_out, parts_of
from .fit import FactorProblem, factor_of
from .problem import Refit, refit
from .studentised import Progress, Studentised

#: Floating-point operations beyond which leaving out pairs of groups takes too long (minutes of one core).
_OPERATIONS = 3e12
#: Share of a direction that other groups have to determine; what they determine less stays as all of them have it.
_DETERMINED = 1e-9
#: Solvers whose coefficients are linear in the labels.
_LINEAR = ("qr", "svd", "ridge")


@dataclass
class Standing:
    """The row of each kind that is farthest from the fit, of configurations ``(n, kinds)``; NaN where none was fitted.

    :param residual: label minus fitted, in internal units; ``outside``: in the fit without the row
    :param label: element shifts taken away, baseline included
    :param studentised: of that row; ``leverage`` likewise; ``row``: its position among the rows of its configuration
    """

    residual: F8
    outside: F8
    label: F8
    studentised: F8
    leverage: F8
    row: NDArray[np.int64]

    @classmethod
    def concatenate(cls, parts: Sequence[Standing]) -> Standing:
        """Parts one after another."""
        return cls(*(np.concatenate(columns) for columns in zip(*(vars(p).values() for p in parts), strict=True)))

    @classmethod
    def none(cls, n: int) -> Standing:
        def empty() -> F8:
            return np.full((n, len(KINDS)), np.nan)

        return cls(empty(), empty(), empty(), empty(), empty(), np.zeros((n, len(KINDS)), np.int64))


@dataclass
class LeftOut:
    """Errors of groups in fits without them, and without another group besides: ``(groups, kinds)``.

    :param rows: number of rows that have a weight
    :param inside: root mean square errors in the fit of all; ``outside``: in the fit without the group
    :param size: root mean square of the labels, less baseline and element shifts
    :param spread: what the fit without the group predicts its errors to be, before calibration
    :param without: ``(left out besides, group, kind)``: without the group and one other; None where that takes too long
        or the solver is not linear in the labels
    """

    groups: list[str]
    rows: NDArray[np.int64]
    size: F8
    inside: F8
    outside: F8
    spread: F8
    without: F8 | None


@dataclass
class Fitted:
    """A model and what its rows say about the labels.

    :param segments: of each segment, how its configurations stand to the model
    :param left_out: None where that takes factors that are not kept, or too much memory; ``why_not`` says which
    """

    model: str
    segments: dict[str, Standing]
    left_out: LeftOut | None
    why_not: str = ""

    def of(self, segment: str, chosen: NDArray[np.bool_]) -> Standing:
        """The chosen configurations of a segment."""
        found = self.segments.get(segment)
        if found is None:
            return Standing.none(int(chosen.sum()))
        return Standing(*(v[chosen] for v in vars(found).values()))


def fitted(repository: Repository, model: str, ref: str | None = None, progress: Progress | None = None) -> Fitted:
    """Look at all training and test rows of a model once, and at its kept factors; holds 0.2 kB per configuration.

    :raises UnknownNameError: there is no such model
    """
    from threadpoolctl import threadpool_limits

    found = refit(repository, model, ref, check_memory=False)
    with threadpool_limits(1):
        segments = _rows(found, repository.at(ref), progress)
        try:
            return Fitted(found.model.name, segments, groups_left_out(found, progress))
        except (SettingsError, MemoryLimitError) as error:
            return Fitted(found.model.name, segments, None, str(error))


def _rows(found: Refit, snapshot: Snapshot, progress: Progress | None) -> dict[str, Standing]:
    out: dict[str, Standing] = {}
    for rows in Studentised(found, snapshot, test=True).rows("rows of the fit", progress):
        here = out.setdefault(rows.labels.name, Standing.none(len(rows.labels.n_atoms)))
        k, block = rows.block.kind, rows.block
        size = np.abs(rows.studentised)
        order = np.lexsort((-size, block.configuration))  # the farthest row of each configuration first
        owner = block.configuration[order]
        first = order[np.flatnonzero(np.diff(owner, prepend=-1))]
        i = block.configuration[first]
        farther = ~(np.abs(here.studentised[i, k]) >= size[first])  # true for NaN
        i, first = i[farther], first[farther]
        here.residual[i, k], here.outside[i, k] = rows.residual[first], rows.outside[first]
        here.label[i, k] = block.b[first]
        here.studentised[i, k], here.leverage[i, k] = rows.studentised[first], rows.leverage[first]
        here.row[i, k] = block.row[first] - _first_row(k, rows.labels.n_atoms)[i]
    return out


def _first_row(kind: int, n_atoms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each configuration of a segment, among the rows of a kind."""
    counts = (np.ones_like(n_atoms), 3 * n_atoms, np.full_like(n_atoms, 6))[kind]
    return np.cumsum(counts) - counts


# ------------------------------------------------------------------------ groups
def groups_left_out(found: Refit, progress: Progress | None = None) -> LeftOut:
    """Errors of each group in the fit without it, and without it and each other one; reads kept factors, no rows.

    :raises SettingsError: factors are missing, or there are fewer than two groups
    :raises MemoryLimitError: the triangles of all groups do not fit the allowance
    """
    problem = FactorProblem(found.problem, load(found.problem))
    lines = left_out(problem, 0, progress).left_out
    parts = parts_of(problem, 0)
    every = [parts[line.name] for line in lines]
    size = np.array([_errors(p, np.zeros(problem.n_columns)) for p in every])

    def column(values: Callable[[Line], dict[str, float]]) -> F8:
        return np.array([[values(line).get(kind, np.nan) for kind in KINDS] for line in lines])

    fitted = found.problem.table.weight[[found.problem.table.groups.index(line.name) for line in lines]] != 0.0
    rows = np.array([[line.rows.get(kind, 0) for kind in KINDS] for line in lines], np.int64) * fitted
    return LeftOut(
        [line.name for line in lines], rows, size, column(lambda x: x.inside), column(lambda x: x.outside),
        column(lambda x: x.spread), _pairs(found, problem, every, progress),
    )  # fmt: skip


def _pairs(found: Refit, problem: FactorProblem, every: Sequence[Part], progress: Progress | None) -> F8 | None:
    """Errors of each group in fits without it and one other.

    With ``T^T (A^T A + alpha) T = 1``, ``H_g = A_g T`` and residuals ``r_g`` of the fit of all, the fit without the
    groups D is at ``x + T y``, ``y = -(1 - sum_D H_g^T H_g)^-1 sum_D H_g^T r_g``: one Cholesky factorisation for each
    pair of groups.
    """
    from scipy.linalg import cho_factor, cho_solve

    triangles = [p.weighted for p in every if p.weighted is not None]
    G, K, x = len(every), problem.n_columns, found.x
    operations, needed = G * G / 2 * (K**3 / 3 + G * K**2), 8 * G * K * K
    too_much = operations > _OPERATIONS or needed > found.problem.plan.allowance
    if too_much or found.settings.solver.type not in _LINEAR:
        return None
    whole = reduced(factor_of(stack(triangles, [1.0] * G), sum(p.rows for p in every)))
    T = _whitening(penalised(whole, found.penalty).R)
    P, t = np.empty((G, T.shape[1], T.shape[1])), np.empty((G, T.shape[1]))
    for g, S in enumerate(triangles):
        H = S[:, :K] @ T
        P[g], t[g] = H.T @ H, H.T @ (S[:, K] - S[:, :K] @ x)
    one = np.eye(T.shape[1]) * (1.0 + _DETERMINED)
    out = np.full((G, G, len(KINDS)), np.nan)
    for done, (i, j) in enumerate(combinations(range(G), 2), 1):
        both = x - T @ cho_solve(cho_factor(one - P[i] - P[j], check_finite=False), t[i] + t[j])
        out[i, j], out[j, i] = _errors(every[j], both), _errors(every[i], both)
        if progress is not None:
            progress("groups left out", done, G * (G - 1) // 2)
    return out


def _whitening(R: F8) -> F8:
    """``T (K, rank)`` with ``T^T R^T R T = 1``; directions that no row determines are left out."""
    from scipy.linalg import svd

    scale = column_norms(R)
    _, s, Vt = svd(R / scale, check_finite=False)
    rank = int(np.sum(s > 1e-13 * s[0]))
    return np.asarray(Vt[:rank].T / s[:rank] / scale[:, None])


def _errors(part: Part, x: F8) -> list[float]:
    """Root mean square error of each kind, NaN where there are no rows."""
    return [
        float(residual_norms(part.kinds[k][0], x)[0] / np.sqrt(part.kinds[k][1])) if k in part.kinds else float("nan")
        for k in range(len(KINDS))
    ]
