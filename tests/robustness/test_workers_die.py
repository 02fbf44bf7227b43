"""Workers that are killed in the middle: Dask makes it good, MPI ends the run and the same command continues."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from mlipstore.executors._pool import THREAD_VARIABLES
from mlipstore.executors.dask import Dask
from mlipstore.executors.serial import Serial
from tests import executor_tasks, snap_store
from tests.robustness import deaths
from tests.robustness.content import content, differences
from tests.scripts import mpiexec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snap_store.ingested(tmp_path_factory.mktemp("base") / "s.mlip", segments=9, configurations=6)


@pytest.fixture(scope="module")
def expected(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an undisturbed run of one process stores."""
    store = shutil.copytree(base, tmp_path_factory.mktemp("serial") / "s.mlip")
    deaths.everything(store, Serial())
    return content(store)


def test_dask_workers_killed_in_the_middle_cost_no_bit(base: Path, expected: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    executor = Dask(2)
    try:
        for at in (1, 4):
            store = shutil.copytree(base, tmp_path / str(at) / "s.mlip")
            assert deaths.everything(store, executor, lambda at=at: deaths.of_dask(executor, at)) == 2  # type: ignore[misc]
            assert differences(content(store), expected) == []
    finally:
        executor.close()


def test_dask_workers_that_do_not_come_back_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask does not start one again that dies as it connects; the others wait for it for ever."""
    pytest.importorskip("distributed")
    monkeypatch.setattr("mlipstore.executors.dask._PATIENCE", 0.5)
    executor = Dask(2)
    try:
        client = executor.client()
        for nanny in client.cluster.workers.values():
            nanny.auto_restart = False
        gone = set(client.run(os.getpid).values())
        for process in gone:
            os.kill(process, signal.SIGKILL)
        assert list(executor.map(executor_tasks.square, range(3))) == [0, 1, 4]
        there = set(client.run(os.getpid).values())
        assert there and not there & gone
        assert set(client.run(os.environ.get, THREAD_VARIABLES[0]).values()) == {"1"}
    finally:
        executor.close()


@pytest.mark.mpi
def test_an_mpi_rank_killed_ends_the_run_and_the_next_one_continues(
    base: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("mpi4py")
    store = shutil.copytree(base, tmp_path / "s.mlip")
    done = mpiexec(3, tmp_path, "-m", "tests.robustness.deaths", str(store), "kill")
    assert done.returncode != 0 and "done" not in done.stdout
    begun = content(store)  # every byte can be read
    assert any(name.startswith("/features/") for name in begun)
    done = mpiexec(3, tmp_path, "-m", "tests.robustness.deaths", str(store))
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert differences(content(store), expected) == []
