"""A fitted model as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from .configuration import Batch, Configuration

if TYPE_CHECKING:
    from ase import Atoms

    from .model import Model


class ModelCalculator(Calculator):
    """Energy (and the equal ``free_energy``) in eV, forces in eV/Å, stress in eV/Å^3 (tension positive, Voigt order).

    Everything is computed in one go and kept until the atoms change. There is no stress unless the cell is
    periodic in all directions. Initial magnetic moments and charges reach baselines that use them.

    With ``uncertainty`` also standard deviations ``energy_std`` (eV), ``forces_std`` (eV/Å), ``stress_std`` (eV/Å^3),
    and how far they are from those of typical training rows, far above 1 being extrapolation: ``grade`` of the
    configuration, ``grades`` of its atoms (see :class:`mlipstore.kept.uncertainty.Spread`).

    :param model: a fitted model
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - a list in ASE

    def __init__(self, model: Model, uncertainty: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self.model, self.uncertainty = model, uncertainty
        if uncertainty:
            _ = model.uncertainty  # told now if there is none
            self.implemented_properties = [
                *self.implemented_properties, "energy_std", "forces_std", "stress_std", "grade", "grades"
            ]  # fmt: skip

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill ``results``.

        :raises ComputeError: an element the model does not know, or a cell that cannot be
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        now: Any = self.atoms
        spin = charge = None
        if now.has("initial_magmoms"):
            spin = np.asarray(now.get_initial_magnetic_moments(), np.float64)
            if spin.ndim == 1:  # collinear moments point along z
                spin = np.column_stack([np.zeros((len(spin), 2)), spin])
        if now.has("initial_charges"):
            charge = np.asarray(now.get_initial_charges(), np.float64)
        configuration = Configuration(
            numbers=np.asarray(now.numbers),
            positions=np.asarray(now.positions, np.float64),
            cell=np.asarray(now.cell[:], np.float64),
            pbc=np.asarray(now.pbc, np.bool_),
            source=now.get_chemical_formula(),
            spin=spin,
            charge=charge,
        )
        batch = Batch.from_configurations([configuration])
        predicted = self.model.predict(batch)
        energy = float(predicted.energy[0])
        self.results = {"energy": energy, "free_energy": energy, "forces": predicted.force}
        if now.pbc.all():
            self.results["stress"] = predicted.stress[0]
        if self.uncertainty:
            spread = self.model.spread(batch)
            self.results |= {
                "energy_std": float(spread.energy[0]),
                "forces_std": spread.force,
                "grade": float(spread.grade[0]),
                "grades": spread.atom_grade,
            }
            if now.pbc.all():
                self.results["stress_std"] = spread.stress[0]
