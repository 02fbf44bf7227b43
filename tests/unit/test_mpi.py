"""The executor mpi on several ranks: its contract, what the command line does with ranks, and a rank that dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import mpiexec

pytestmark = pytest.mark.mpi
pytest.importorskip("mpi4py")


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_contract_on_ranks(ranks: int, tmp_path: Path) -> None:
    done = mpiexec(ranks, tmp_path, "-m", "tests.mpi_program")
    assert (done.returncode, done.stdout) == (0, "kept\n"), done.stderr


def test_ranks_without_the_executor_are_refused_once(tmp_path: Path) -> None:
    done = mpiexec(3, tmp_path, "-m", "mlipstore_cli", "log", "a.mlip")
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1 and "Add --executor mpi" in done.stderr


def test_errors_are_told_once_and_end_all_ranks(tmp_path: Path) -> None:
    done = mpiexec(3, tmp_path, "-m", "mlipstore_cli", "run", "nothing.toml", "--executor", "mpi")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("error:") == 1 and "nothing.toml" in done.stderr


def test_a_rank_that_dies_ends_the_run(tmp_path: Path) -> None:
    program = """
from mlipstore.executors.mpi import Mpi
from tests.executor_tasks import die_once
executor = Mpi()
if not executor.serve():
    print(list(executor.map(die_once, [('.', i) for i in range(8)])))
"""
    done = mpiexec(3, tmp_path, "-c", program)
    assert done.returncode != 0 and done.stdout.count("[") == 0
    done = mpiexec(3, tmp_path, "-c", program)
    assert (done.returncode, done.stdout) == (0, f"{list(range(8))}\n"), done.stderr
