"""The executor mpi on several ranks: its contract, what the command line does with ranks, and a rank that dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.scripts import ROOT

pytestmark = pytest.mark.mpi
pytest.importorskip("mpi4py")
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))


def mpiexec(ranks: int, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the given arguments on several ranks."""
    if MPIEXEC is None:
        pytest.skip("there is no mpiexec")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI_", "HYDRA_", "OMPI_"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "cli"), environment.get("PYTHONPATH", "")])
    return subprocess.run(
        [MPIEXEC, "-n", str(ranks), sys.executable, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


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
