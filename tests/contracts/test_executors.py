"""What every executor keeps: it equals serial, errors come as they are, nothing begins after one, no death is a hang.

The executor mpi is asked here with one rank; :mod:`tests.unit.test_mpi` starts it with more.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipstore import registry
from mlipstore.errors import ComputeError, InputError, MissingDependencyError
from mlipstore.executors import Executor
from mlipstore.executors.serial import Serial
from mlipstore.solve.tree import join
from tests import executor_tasks as tasks

SETTINGS: dict[str, dict[str, int]] = {"processes": {"workers": 2}, "dask": {"workers": 2}}


@pytest.fixture(scope="module", params=registry.names("executors"))
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    name = request.param
    try:
        made: Executor = registry.make("executors", name, SETTINGS.get(name, {}))
        list(made.map(tasks.square, [1]))
    except MissingDependencyError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def test_map_keeps_the_order_and_takes_tasks_as_they_are_needed(executor: Executor) -> None:
    taken = itertools.count()
    results = executor.map(tasks.square, (next(taken) for _ in range(1000)))
    assert list(itertools.islice(results, 20)) == [i * i for i in range(20)]
    results.close() if hasattr(results, "close") else None  # the caller has enough
    assert next(taken) <= 20 + 2 * executor.n_workers + 1
    assert list(executor.map(tasks.square, range(5))) == [0, 1, 4, 9, 16]
    assert list(executor.map(tasks.square, [])) == []


def test_unordered_tells_the_task_of_each_result(executor: Executor) -> None:
    assert sorted(executor.unordered(tasks.square, range(3, 40))) == [(i, (i + 3) ** 2) for i in range(37)]


def test_reduction_has_the_bits_of_serial(executor: Executor) -> None:
    for n in (1, 2, tasks.LEAVES):
        told: list[int] = []
        expected = Serial().reduce(tasks.leaf, range(n), join)
        factor = executor.reduce(tasks.leaf, range(n), join, told.append)
        assert factor is not None and expected is not None
        assert factor.packed().tobytes() == expected.packed().tobytes()
        assert factor.n_rows == expected.n_rows
        assert factor.target_squares.tobytes() == expected.target_squares.tobytes()
        assert told == sorted(told) and told[-1] <= n
    assert executor.reduce(tasks.leaf, [4, 4, 4], join) is None


def test_an_error_comes_as_it_is(executor: Executor) -> None:
    for run in (executor.map, executor.unordered):
        with pytest.raises(InputError) as caught:
            list(run(tasks.fail_at_five, range(9)))
        assert str(caught.value) == "train.xyz, frame 3 (line 17): no forces"
        assert (caught.value.path, caught.value.frame, caught.value.line) == ("train.xyz", 3, 17)
    with pytest.raises(InputError, match="no forces"):
        executor.reduce(tasks.bad_leaf, range(tasks.LEAVES), join)
    with pytest.raises(Exception, match=r"task [01] went wrong"):
        list(executor.map(tasks.fail_oddly, range(2)))
    assert list(executor.map(tasks.square, [3])) == [9]  # and it goes on


def test_nothing_begins_after_an_error(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stop here"):
        list(executor.unordered(tasks.mark, ((str(tmp_path), i) for i in itertools.count())))
    if type(executor).__name__ != "Dask":  # whose running tasks cannot be waited for
        begun = len(list(tmp_path.iterdir()))
        list(executor.map(tasks.square, range(3)))
        assert len(list(tmp_path.iterdir())) == begun


def test_a_number_of_workers_that_was_asked_for_stays(executor: Executor) -> None:
    assert executor.unless_asked(1).n_workers == executor.n_workers


@pytest.mark.parametrize("name", ["processes", "dask"])
def test_as_many_workers_as_are_of_use(name: str) -> None:
    default: Executor = registry.make("executors", name, {})
    assert default.unless_asked(1).n_workers == 1
    assert default.unless_asked(10_000) is default


def test_workers_use_one_blas_thread(executor: Executor) -> None:
    if not isinstance(executor, Serial):
        assert set().union(*executor.map(tasks.blas_threads, range(4))) <= {1}


@pytest.mark.parametrize("name", ["processes", "dask"])
def test_a_dead_worker_is_one_clear_error_or_made_good(name: str, tmp_path: Path) -> None:
    executor: Executor = registry.make("executors", name, {"workers": 2})
    if name == "dask":
        pytest.importorskip("distributed")
    work = [(str(tmp_path), i) for i in range(8)]
    try:
        if name == "dask":
            assert list(executor.map(tasks.die_once, work)) == list(range(8))
        else:
            with pytest.raises(ComputeError, match="worker process died"):
                list(executor.map(tasks.die_once, work))
        assert list(executor.map(tasks.die_once, work)) == list(range(8))
    finally:
        executor.close()
