"""A fit has the same bits on every executor, and however its rows are cut into leaves by workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mlipstore import passes, registry
from mlipstore.configuration import Batch
from mlipstore.errors import ComputeError, MissingDependencyError, SettingsError
from mlipstore.executors import Executor
from mlipstore.executors.dask import Dask
from mlipstore.executors.processes import Processes
from mlipstore.executors.serial import Serial
from mlipstore.featurize import featurize
from mlipstore.fit import Problem, accumulate, confirm, evaluate, fit, prepare
from mlipstore.index import write_segment
from mlipstore.metrics import ALL, KINDS, Entry
from mlipstore.runs.runfile import Fit
from mlipstore.solve.factor import Factor
from mlipstore.store import Repository
from tests import snap_store

EXECUTORS = [("processes", 3), ("dask", 2), ("mpi", 0)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snap_store.make(tmp_path_factory.mktemp("store") / "a.mlip", segments=13, configurations=6)


@pytest.fixture(autouse=True)
def small_leaves() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "LEAF_ROWS", 300)
        patch.setattr(passes, "LEAF_ROWS_PER_COLUMN", 1)
        yield


@pytest.fixture
def problem(store: Path) -> Problem:
    return prepare(Repository.open(store), Fit())


@pytest.mark.parametrize(("name", "workers"), EXECUTORS)
def test_bits_are_those_of_serial(problem: Problem, name: str, workers: int) -> None:
    assert len(passes.leaves(problem.matrix)) > 5
    expected = accumulate(problem)
    executor: Executor = registry.make("executors", name, {"workers": workers} if workers else {})
    try:
        factor = accumulate(problem, executor=executor)
        x = np.linspace(-1, 1, problem.matrix.n_columns)
        assert evaluate(problem, x, executor=executor) == evaluate(problem, x)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    finally:
        executor.close()
    assert factor.packed().tobytes() == expected.packed().tobytes()
    assert (factor.n_rows, factor.target_squares.tobytes()) == (expected.n_rows, expected.target_squares.tobytes())


def test_blocks_are_as_large_as_planned(store: Path) -> None:
    """A chunk is read as a whole: asking for less does nothing, and the plan says so."""
    problem = prepare(Repository.open(store), Fit(block_rows=5))
    matrix = problem.matrix
    largest = max(len(block.b) for _, block in matrix.blocks(problem.table.split))
    assert 5 < largest <= matrix.largest_block == matrix.least_block_rows
    assert problem.plan.note.startswith("block_rows = 5 saves no memory")
    assert not prepare(Repository.open(store), Fit()).plan.note


def test_leaves_are_runs_of_segments_and_tell_of_progress(problem: Problem) -> None:
    cut = passes.leaves(problem.matrix)
    assert [name for leaf in cut for name in leaf] == [s.name for s in problem.matrix.segments]
    told: list[tuple[str, int, int]] = []
    accumulate(problem, lambda *step: told.append(step))
    total = problem.plan.rows
    assert [n for _, n, _ in told] == sorted(n for _, n, _ in told) and told[-1] == ("fit", total, total)


def test_a_triangle_that_does_not_stand_for_the_rows_is_an_error(problem: Problem) -> None:
    factor = accumulate(problem)
    solution = problem.solver.solve(factor)
    errors = evaluate(problem, solution.coefficients)
    confirm(factor, solution, errors)
    with pytest.raises(ComputeError, match="does not stand for the rows"):
        confirm(factor, replace(solution, residual_norm=(1 + 2e-6) * solution.residual_norm), errors)


@pytest.mark.parametrize("solver", ["svd", "qr", "ridge"])
@pytest.mark.parametrize("noise", [0.0, 1e-9, 1.0], ids="noise {:g}".format)
@pytest.mark.parametrize("kind", ["plain", "alike", "weights", "columns", "few rows", "single precision"])
def test_rounding_is_no_difference(kind: str, noise: float, solver: str) -> None:
    """Weights over 12 decades, columns over 16, columns nearly the same; a row that is lost is a difference."""
    rng = np.random.default_rng(0)
    N, M = (100 if kind == "few rows" else 3000), 120
    A = rng.normal(size=(N, M))
    if kind != "plain":  # columns that are nearly the same
        A = np.exp(-20 * (rng.uniform(size=(N, 1)) - np.linspace(0, 1, M)) ** 2) * rng.uniform(0.5, 2, (N, 1))
    w = np.repeat(10.0 ** rng.uniform(-6, 6, 20), N // 20) if kind == "weights" else np.ones(N)
    A *= 10.0 ** rng.uniform(-8, 8, M) if kind == "columns" else 1.0
    if kind == "single precision":
        A = A.astype(np.float32).astype(float)
    b = A @ (rng.normal(size=M) / np.linalg.norm(A, axis=0)) + noise * rng.normal(size=N)
    factor = Factor(M, 1)
    for rows in np.array_split(np.arange(N), 3):
        part = Factor(M, 1)
        part.update(w[rows, None] * A[rows], w[rows] * b[rows])
        factor.merge(part)
    solution = registry.make("solvers", solver, {"alpha": 1e-6} if solver == "ridge" else {}).solve(factor)
    r = w * (b - A @ solution.coefficients)
    confirm(factor, solution, [_entry(r)])
    if noise == 1.0 and kind == "plain":  # a row of a fifth of the usual residual, one of 3,000
        lost = r.copy()
        lost[np.argmin(np.abs(np.abs(r) - 0.2 * np.sqrt(np.mean(r**2))))] = 0.0
        with pytest.raises(ComputeError, match="does not stand for the rows"):
            confirm(factor, solution, [_entry(lost)])


def _entry(r: NDArray[np.float64]) -> Entry:
    return Entry(ALL, "train", "force", True, len(r), 0.0, float(np.sqrt(np.mean(r**2))), 0.0, 0.0)


def test_a_fit_that_is_small_starts_no_workers(store: Path) -> None:
    executor = Processes(2)
    result = fit(Repository.open(store), Fit(name="small"), executor=executor)
    assert result.new and not executor._running


def test_workers_that_the_memory_does_not_hold() -> None:
    assert Processes(2).within(5).n_workers == 2
    with pytest.raises(SettingsError, match=r"holds 1 of the 2 workers. Use --workers 1"):
        Processes(2).within(1)
    assert isinstance(Processes().within(1), (Serial, Processes))
    with pytest.raises(SettingsError, match="holds 0 of the 2"):
        Dask(2).within(0)


def test_rows_in_the_frame_of_the_data_make_the_same_fit(tmp_path: Path) -> None:
    """Forces are fitted, and errors counted, without turning rows; cells, some of them turned, lack some labels."""
    rng = np.random.default_rng(3)
    cells = snap_store.cells_of(10)
    for i, c in enumerate(cells):
        assert c.forces is not None
        if i % 3:
            turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            c.cell, c.positions = c.cell @ turn, c.positions @ turn
        if i % 2:
            c.forces[i % len(c.forces), 1] = np.nan
        if i % 4 == 3:
            c.stress = None
    repository = Repository.create(tmp_path / "a.mlip")
    with repository.transaction("make", {}) as tx:
        write_segment(tx, "segment", Batch.from_configurations(sorted(cells, key=lambda c: c.group)))
    featurize(repository, snap_store.feature(), None)
    problem = prepare(repository, Fit(frame="lammps", constant=False))
    x = rng.normal(size=problem.matrix.n_columns)
    rows, targets, residuals = [], [], []
    for labels, block in problem.matrix.blocks(problem.table.split):
        split = problem.table.split(labels)
        w = problem.table.row_weights(block, problem.table.codes(labels), split, labels.n_atoms)
        rows.append(w[:, None] * block.A)
        targets.append(w * block.b)
        residuals.append([block.kind, np.abs(block.b - block.A @ x).sum(), np.abs(block.b - block.A @ x).max()])
    R = np.linalg.qr(np.hstack([np.vstack(rows), np.concatenate(targets)[:, None]]), mode="r")
    R *= np.where(np.diag(R) < 0, -1.0, 1.0)[:, None]
    factor = accumulate(problem)
    assert factor.n_rows == len(np.concatenate(targets))
    np.testing.assert_allclose(factor.R, R, rtol=0, atol=1e-10 * abs(R).max())
    for entry in evaluate(problem, x):
        if entry.group == "*" and not entry.weighted:
            mine = [r for r in residuals if KINDS[int(r[0])] == entry.kind]
            np.testing.assert_allclose(entry.mae * entry.n, sum(r[1] for r in mine), rtol=1e-10)
            np.testing.assert_allclose(entry.max, max(r[2] for r in mine), rtol=1e-10)
