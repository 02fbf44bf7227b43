"""``fit --from-factors``: a fit and its error table from kept factors, without reading a row.

Weights, element shifts, constants, the baseline and the solver enter here. Root mean square errors and R^2 are those of
the rows, to rounding; mean absolute and largest errors need the residuals and are NaN unless a pass over the rows is
asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from ..configuration import F8
from ..executors import Executor
from ..fit import FitResult, Problem, Progress, confirm, evaluate, finished, known, no_rows, prepare, store_model
from ..index import segments
from ..metrics import Entry, ErrorTable
from ..runs.runfile import Fit
from ..solve.algebra import stack
from ..solve.factor import Factor
from ..solve.linear import Solution
from ..solve.tree import ReductionTree
from ..split import TRAIN
from ..store import Repository
from .compute import complete, require_complete
from .factors import FactorSet, KeptFactors, Key, Leaf, find
from .packing import pack

#: Factors of at most this share of the allowed memory are read once; larger ones once more for the errors.
_HELD = 0.25


class FactorProblem:
    """A fit resolved against kept factors: what a weight, a shift or a constant changes takes no data."""

    def __init__(self, problem: Problem, kept: KeptFactors) -> None:
        self.problem, self.kept = problem, kept
        matrix, table = problem.matrix, problem.table
        self.n_columns = matrix.n_columns
        self.target = kept.target(matrix.shifts, problem.baseline is not None)
        self._code = {name: i for i, name in enumerate(table.groups)}
        self._made_of = np.flatnonzero(self.target)
        #: weighted squares of those columns, of the rows that were accumulated last
        self._squares = np.zeros(len(self._made_of))
        self._hold = _bytes(kept) < _HELD * problem.plan.allowance

    def trapezoids(self, leaf: Leaf) -> Iterator[tuple[Key, F8]]:
        """Keys of a segment and their factors ``(min(rows, n), n)`` of all columns."""
        return self.kept.trapezoids(leaf, self._hold)

    def weight(self, key: Key) -> float:
        """Weight of the rows of a key."""
        table, code = self.problem.table, self._code[key.group]
        w = float(table.weight[code, key.kind])
        if table.scale_by_size:
            w /= max(1, int(table.sizes[code, key.split]))
            w /= (1, 3 * key.n_atoms, 6)[key.kind]
        return w

    def problem_of(self, R: F8, width: int | None = None) -> F8:
        """The trapezoid of ``[A | b]`` of this fit from that of all columns: ``(min(rows, K + 1), K + 1)``.

        :param width: keep this many columns before b, instead of the K that are solved for
        """
        K = self.n_columns if width is None else width
        b = R @ self.target
        out = np.column_stack([R[: K + 1, :K], b[: K + 1]])
        if len(R) > K:
            out[K:, :K] = 0.0
            out[K, K] = np.linalg.norm(b[K:])
        return out

    @property
    def labels(self) -> float:
        """Norm of what the targets were made of: labels as they are in the data, shifts, baseline."""
        return float(np.abs(self.target[self._made_of]) @ np.sqrt(self._squares))

    def accumulate(self, progress: Progress | None = None) -> Factor:
        """The factor of the weighted training rows.

        :raises SettingsError: no row is left to train on
        """
        if not self.kept.leaves:
            raise no_rows()
        self._squares[:] = 0.0
        tree = ReductionTree(len(self.kept.leaves))
        for i, leaf in enumerate(self.kept.leaves):
            tree.add(i, self._leaf_factor(leaf))
            if progress is not None:
                progress("fit", i + 1, len(self.kept.leaves))
        factor = tree.result()
        if factor is None:
            raise no_rows()
        return factor

    def _leaf_factor(self, leaf: Leaf) -> Factor | None:
        """The weighted training rows of a segment; None if it has none."""
        few: list[F8] = []
        full: list[tuple[float, float, F8]] = []
        rows = 0
        for key, R in self.trapezoids(leaf):
            w = self.weight(key)
            if key.split != TRAIN or w == 0.0:
                continue
            self._squares += w**2 * np.square(R[:, self._made_of]).sum(axis=0)
            S = self.problem_of(R)
            if len(S) <= self.n_columns:  # hardly any rows: cheaper as they are
                few.append(w * S)
            else:
                full.append((w * float(np.abs(S).max()), w, S))
                rows += key.rows
        if full:  # large rows first: small ones then keep their digits (Cox and Higham 1998, row-wise stability)
            full.sort(key=lambda item: -item[0])
            factor = factor_of(stack([S for _, _, S in full], [w for _, w, _ in full]), rows)
        else:
            factor = Factor(self.n_columns, 1)
        for S in few:
            factor.update(S[:, :-1], S[:, -1:])
        return factor if factor.n_rows else None

    def errors(self, x: F8, progress: Progress | None = None) -> list[Entry]:
        """The error table of any coefficients ``(K,)``; mean absolute and largest errors are NaN."""
        table = ErrorTable(self.problem.table.groups)
        z = np.zeros((self.kept.n, 3))
        z[: self.n_columns, 0] = x
        z[:, 0] -= self.target
        z[:, 1] = self.target
        z[-1, 2] = 1.0
        for i, leaf in enumerate(self.kept.leaves):
            for key, R in self.trapezoids(leaf):
                r, b, one = (R @ z).T
                mean = float(b @ one) / key.rows
                scatter = b - mean * one
                table.add_sums(
                    key.kind, key.split, self._code[key.group], key.rows, float(r @ r), mean,
                    float(scatter @ scatter), self.weight(key),
                )  # fmt: skip
            if progress is not None:
                progress("errors", i + 1, len(self.kept.leaves))
        return table.entries()


def _bytes(kept: KeptFactors) -> int:
    """What the factors take in memory at most: a triangle per group, kind and split."""
    groups = sum(len(s.groups) for s in segments(kept.snapshot))
    return 8 * 6 * max(1, kept.settings.folds) * groups * kept.n * (kept.n + 1) // 2


def factor_of(S: F8, rows: int) -> Factor:
    """A triangle ``(K + 1, K + 1)`` of ``[A | b]`` as the factor that solvers take."""
    return Factor.from_packed(pack(S, max(rows, len(S))), len(S) - 1, rows)


def solve(problem: Problem, factor: Factor) -> Solution:
    """What the solver of a fit makes of a factor."""
    solution: Solution = problem.solver.solve(factor)
    return solution


def fit_from_factors(
    repository: Repository,
    settings: Fit,
    ref: str | None = None,
    full: bool = False,
    keep: bool = False,
    executor: Executor | None = None,
    progress: Progress | None = None,
    command: str = "fit",
    limit: str | None = None,
) -> FitResult:
    """Fit from kept factors and store the model; one that is there already is returned.

    :param full: pass over the rows once for mean absolute and largest errors
    :param keep: compute and store the factors that are missing, instead of refusing
    :raises SettingsError: factors are missing
    """
    began = time.perf_counter()
    problem = prepare(repository, settings, ref)
    kept = find(problem.matrix, problem.table)
    if keep and kept.missing:
        meter = None if progress is None else lambda done, total: progress("factor", done, total)
        complete(repository, problem, kept, executor, meter, command, limit)
        kept = find(problem.matrix, problem.table)
    require_complete(problem, kept)
    problem.factors = {**asdict(kept.settings), "id": kept.settings.id, "full": full}
    if problem.snapshot.exists(f"models/{problem.id}"):
        return known(repository, problem, settings.name, command)
    result, factor = compute_from_factors(FactorProblem(problem, kept), full, progress)
    store_model(repository, problem, factor, result, command)
    result.seconds = time.perf_counter() - began
    return result


def compute_from_factors(
    problem: FactorProblem, full: bool = False, progress: Progress | None = None
) -> tuple[FitResult, Factor]:
    """Solution and error table; nothing is stored."""
    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    with threadpool_limits(1):  # the bits depend on the number of BLAS threads
        factor = problem.accumulate(progress)
        solution = solve(problem.problem, factor)
        x = solution.coefficients
        errors = evaluate(problem.problem, x, progress) if full else problem.errors(x, progress)
        confirm(factor, solution, errors, problem.labels)
    result = finished(problem.problem, factor, solution, errors)
    result.rows_not_kept = sum(problem.kept.sizes[leaf.segment].rows for leaf in problem.kept.left_out)
    result.seconds = time.perf_counter() - began
    return result, factor


def repeat(problem: Problem, factors: dict[str, Any], progress: Progress | None = None) -> FitResult:
    """Repeat a fit from the set of factors that its provenance tells; those that are gone are computed again."""
    names = [f.name for f in fields(FactorSet)]
    kept = find(problem.matrix, problem.table, only=FactorSet(**{k: factors[k] for k in names}))
    problem.factors = factors
    return compute_from_factors(FactorProblem(problem, kept), factors["full"], progress)[0]
