"""Units that the user names mean the same for every format: forces are in energy per length unless said otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mlipstore.errors import SettingsError
from mlipstore.readers import reader_for
from mlipstore.reading import ReadOptions, ReadReport
from mlipstore.units import BOHR, HARTREE, KCAL_PER_MOL, factor

from ..reader_samples import extxyz_text, forces, pymatgen_item


def _atoms() -> Atoms:
    atoms = Atoms("Si2", [[0.0, 0.0, 0.0], [0.1, 0.2, 2.3]], cell=np.eye(3) * 6.0, pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=forces(0)[:2])  # type: ignore[no-untyped-call]
    return atoms


def _traj(folder: Path) -> Path:
    from ase.io import write

    write(folder / "a.traj", _atoms())
    return folder / "a.traj"


def _db(folder: Path) -> Path:
    from ase.db import connect

    connect(folder / "a.db", use_lock_file=False).write(_atoms())  # type: ignore[no-untyped-call]
    return folder / "a.db"


def _json(folder: Path) -> Path:
    (folder / "a.json").write_text(json.dumps([pymatgen_item(0)]))
    return folder / "a.json"


def _xyz(folder: Path) -> Path:
    (folder / "a.xyz").write_text(extxyz_text(1, "energy=-1.0"))
    return folder / "a.xyz"


@pytest.mark.parametrize("make", [_traj, _db, _json, _xyz], ids=["traj", "db", "pymatgen", "extxyz"])
def test_forces_follow_the_units_of_energy_and_length(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)

    def read(**units: str) -> tuple[np.ndarray, ReadReport]:
        _, reader = reader_for(path, ReadOptions(**units))
        report = ReadReport()
        found = next(iter(reader.read(path, report)))
        assert found.forces is not None
        return found.forces, report

    as_written, report = read()
    assert not any("per given length" in what for what in report.assumed)
    found, report = read(energy_unit="Ha", length_unit="Bohr")
    np.testing.assert_allclose(found, as_written * HARTREE / BOHR)
    assert report.assumed["forces in the given energy unit per given length unit"] == 1
    np.testing.assert_allclose(read(energy_unit="kcal/mol")[0], as_written * KCAL_PER_MOL)
    np.testing.assert_array_equal(read(energy_unit="kcal/mol", force_unit="eV/A")[0], as_written)


def test_any_energy_per_any_length() -> None:
    assert factor("force", "kJ/mol/nm") == pytest.approx(factor("energy", "kJ/mol") / 10)
    assert factor("force", "ha/Å") == HARTREE
    assert factor("force", "kcal/mol/Bohr") == pytest.approx(KCAL_PER_MOL / BOHR)
    assert factor("stress", "meV/Å^3") == 1e-3
    for quantity, unit in (("force", "N"), ("force", "GPa/Å"), ("stress", "eV/Å"), ("energy", "eV/Å"), ("force", "/")):
        with pytest.raises(SettingsError, match="unknown"):
            factor(quantity, unit)
