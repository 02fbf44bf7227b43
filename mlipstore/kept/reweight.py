"""Re-weighting while you look: fits with other weights and their errors in milliseconds, from factors in memory.

:func:`mlipstore.kept.fit.fit_from_factors` resolves a fit, reads factors, merges them and stores a model.
:class:`Reweighted` does the first half once: rows that share a weight (a group and kind of row) are one triangle,
whatever the number of segments. A fit is then one weighted sum of small matrices and a Cholesky factorisation, and its
errors are products of small triangles with the coefficients.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..configuration import F8
from ..errors import MemoryLimitError, SettingsError, nearest, unknown_name
from ..memory import human
from ..metrics import KINDS
from ..solve.algebra import Reweighting, stack
from ..split import SPLITS, TRAIN
from .fit import FactorProblem, factor_of


@dataclass(frozen=True)
class Reweight:
    """One fit with other weights.

    :param coefficients: of the features, then of the constants ``(K,)``
    :param rmse: root mean square error by (group, split, kind), group ``*`` for all, in internal units
    :param seconds: what it took
    """

    coefficients: F8
    rank: int
    rmse: dict[tuple[str, str, str], float]
    seconds: float


class Reweighted:
    """A fit held ready for other weights; no rows are read.

    :param problem: the fit; its weights are the starting point
    :raises SettingsError: no row has a weight
    """

    def __init__(self, problem: FactorProblem) -> None:
        from threadpoolctl import threadpool_limits

        self.problem = problem
        K = problem.n_columns
        merged: dict[tuple[str, int, int, int], tuple[F8, int]] = {}
        scale: dict[tuple[str, int, int, int], float] = {}
        with threadpool_limits(1):
            for leaf in problem.kept.leaves:
                for key, R in problem.trapezoids(leaf):
                    S = np.zeros((K + 1, K + 1))
                    mine = problem.problem_of(R)
                    S[: len(mine)] = mine
                    at = (key.group, key.kind, key.split, key.n_atoms)
                    before, rows = merged.get(at, (None, 0))
                    merged[at] = S if before is None else stack([before, S], [1.0, 1.0]), rows + key.rows
                    if before is None:
                        scale[at] = problem.weight(key)
                        self._require_memory(len(merged))
            self._keys = sorted(merged)
            self._triangles = np.array([merged[k][0] for k in self._keys]).reshape(-1, K + 1, K + 1)
            self._rows = np.array([merged[k][1] for k in self._keys], float)
            #: the weights of the fit, by group and kind: what others are given instead of
            self._given = np.array([scale[k] for k in self._keys])
            self._train = np.array([i for i, k in enumerate(self._keys) if k[2] == TRAIN], int)
            if not (self._given[self._train] > 0.0).any():
                raise SettingsError("no row to train on has a weight. Check [fit.groups].")
            typical = self._given[self._train]
            self._reweighting = Reweighting(
                self._triangles[self._train], np.where(typical > 0.0, typical, typical.max() * 1e-6)
            )
        table = problem.problem.table
        settings = dict(zip(table.groups, table.settings, strict=True))
        self._position: dict[tuple[str, int], list[int]] = {}
        for i, (group, kind, *_) in enumerate(self._keys):
            for name in (group, "*"):
                self._position.setdefault((name, kind), []).append(i)
        #: the weights of the fit by ``GROUP.kind``, in units of 1/(eV/atom), 1/(eV/Å) and the fit's stress unit
        self.weights = {f"{g}.{KINDS[k]}": float(getattr(settings[g], KINDS[k])) for g, k, *_ in self._keys}

    def _require_memory(self, keys: int) -> None:
        kept, allowance = self.problem.kept, self.problem.problem.plan.allowance
        needed = Reweighting.projected_bytes(keys, self.problem.n_columns + 1)
        if needed > allowance:
            raise MemoryLimitError(
                f"holding {keys:,} and more triangles of {kept.n:,} columns for re-weighting needs {human(needed)}; "
                f"{human(allowance)} are allowed. Use fit --from-factors, which reads them one after another."
            )

    def fit(self, weights: Mapping[str, float] | None = None, factors: Mapping[str, float] | None = None) -> Reweight:
        """Fit with other weights; groups and kinds that are not named keep theirs.

        :param weights: by ``GROUP.kind``; the group ``*`` stands for all
        :param factors: on the weights, in the same form; both may be given
        :raises UnknownNameError, SettingsError: a group, a kind or a weight is wrong
        """
        from threadpoolctl import threadpool_limits

        began = time.perf_counter()
        w = self._weights(weights or {}, factors or {})
        with threadpool_limits(1):
            mine = w[self._train]
            R = self._reweighting.triangle(mine)
            used = int(self._rows[self._train][mine > 0.0].sum())
            solution = self.problem.problem.solver.solve(factor_of(R, used))
            rmse = self._errors(solution.coefficients)
        return Reweight(solution.coefficients, solution.rank, rmse, time.perf_counter() - began)

    def _weights(self, weights: Mapping[str, float], factors: Mapping[str, float]) -> F8:
        w = self._given.copy()
        for values, absolute in ((weights, True), (factors, False)):
            for name, value in values.items():
                if not (np.isfinite(value) and value >= 0.0):
                    raise SettingsError(f"weight {name} = {value}: it is a number from 0 on.")
                for i in self._chosen(name):
                    group, kind = self._keys[i][0], KINDS[self._keys[i][1]]
                    now = self.weights[f"{group}.{kind}"]
                    if absolute and now == 0.0:
                        raise SettingsError(f"{group}.{kind} has no weight in the fit: give it one there to change it.")
                    w[i] = self._given[i] * value / now if absolute else w[i] * value
        if not w[self._train].any():
            raise SettingsError("all weights are 0: nothing is left to fit.")
        return w

    def _chosen(self, name: str) -> list[int]:
        group, dot, kind = name.rpartition(".")
        if not dot or kind not in KINDS:
            raise SettingsError(f"{name!r} is not GROUP.kind. {nearest(kind, KINDS)}Kinds: {', '.join(KINDS)}.")
        if (group, KINDS.index(kind)) not in self._position:
            raise unknown_name("rows of", name, self.weights)
        return self._position[group, KINDS.index(kind)]

    def _errors(self, x: F8) -> dict[tuple[str, str, str], float]:
        n = len(x) + 1
        r = (self._triangles.reshape(-1, n) @ np.append(x, -1.0)).reshape(-1, n)
        squares = np.einsum("ki,ki->k", r, r)
        sums: dict[tuple[str, str, str], tuple[float, float]] = {}
        for (group, kind, split, _), s, n in zip(self._keys, squares.tolist(), self._rows.tolist(), strict=True):
            for name in (group, "*"):
                at = (name, SPLITS[split], KINDS[kind])
                total, rows = sums.get(at, (0.0, 0.0))
                sums[at] = total + s, rows + n
        return {at: float(np.sqrt(s / n)) for at, (s, n) in sums.items()}
