"""A fitted linear model in use: energies, forces and stresses of configurations, and an ASE calculator."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import registry
from .computing import Baseline, Column, Descriptor, Reference, apply, type_index
from .configuration import F8, Batch
from .errors import ComputeError, SettingsError, listed
from .features import find_model, stored_files
from .named_files import with_content
from .store import Snapshot

if TYPE_CHECKING:
    from .calculator import ModelCalculator
    from .kept.uncertainty import Spread, Uncertainty


@dataclass
class Model:
    """A linear model: E = E_baseline + sum_t N_t c_t + A_E beta, and its derivatives.

    :param coefficients: ``(M,)``, one per column, in eV per unit feature
    :param constants: energy per atom of each element in eV (zero when the fit had no constant columns)
    :param provenance: how it was made (data snapshot, feature, settings, versions, command)
    """

    id: str
    name: str
    descriptor: Descriptor
    baseline: Baseline | None
    columns: list[Column]
    coefficients: F8
    constants: dict[str, float]
    provenance: dict[str, Any] = field(default_factory=dict)
    snapshot: Snapshot | None = field(default=None, repr=False)

    @classmethod
    def load(cls, snapshot: Snapshot, name: str) -> Model:
        """A stored model by alias, id or its first characters."""
        id_ = find_model(snapshot, name)
        attributes = snapshot.attributes(f"models/{id_}")
        provenance = attributes["provenance"]
        feature, baseline = provenance["feature"], provenance["baseline"]
        descriptor: Descriptor = registry.make("descriptors", feature["type"], feature["settings"])
        here = f"models/{id_}/"
        elements = [str(e) for e in snapshot.read(here + "element")]
        return cls(
            id=id_,
            name=attributes["alias"],
            descriptor=descriptor,
            baseline=None
            if baseline is None
            else with_content(
                registry.make("baselines", baseline["type"], baseline["settings"]),
                stored_files(snapshot, baseline["id"]),
            ),
            columns=descriptor.columns(),
            coefficients=snapshot.read(here + "coefficient"),
            constants=dict(zip(elements, snapshot.read(here + "constant").tolist(), strict=True)),
            provenance=provenance,
            snapshot=snapshot,
        )

    def predict(self, batch: Batch) -> Reference:
        """Energy ``(n,)`` eV, force ``(N, 3)`` eV/Å and stress ``(n, 6)`` eV/Å^3 of a batch."""
        types = type_index(batch.number, self.descriptor.elements)
        if (types < 0).any():
            from ase.data import chemical_symbols

            i = int(np.searchsorted(batch.atom_start, int(np.argmax(types < 0)), side="right")) - 1
            mine = slice(batch.atom_start[i], batch.atom_start[i + 1])
            unknown = [chemical_symbols[z] for z in np.unique(batch.number[mine][types[mine] < 0])]
            raise ComputeError(
                f"{batch.place(i)} has {listed(unknown)}, which model {self.name!r} does not know. "
                f"It was fitted for {' '.join(self.descriptor.elements)}."
            )
        linear = apply(self.descriptor, self.coefficients, batch)
        constants = np.array([self.constants.get(e, 0.0) for e in self.descriptor.elements])
        per_atom = constants[types]
        energy = linear.energy + np.add.reduceat(np.append(per_atom, 0.0), batch.atom_start[:-1]) * (batch.n_atoms > 0)
        force, stress = linear.force, linear.stress
        if self.baseline is not None:
            reference = self.baseline.evaluate(batch)
            energy, force, stress = energy + reference.energy, force + reference.force, stress + reference.stress
        return Reference(energy, force, stress)

    @property
    def element_shifts(self) -> dict[str, float]:
        """What the fit added to energy labels, in eV per atom of an element: the energies of the model have it, too."""
        shifts: dict[str, float] = self.provenance.get("fit", {}).get("element_shifts", {})
        return {element: value for element, value in shifts.items() if value}

    @property
    def calibrated(self) -> bool:
        """Whether there are predicted standard deviations: ``mlipstore uncertainty`` was run."""
        return self.snapshot is not None and "uncertainty" in self.snapshot.attributes(f"models/{self.id}")

    @cached_property
    def uncertainty(self) -> Uncertainty:
        """Predicted standard deviations.

        :raises SettingsError: they were not calibrated: ``mlipstore uncertainty``
        """
        from .kept.uncertainty import Uncertainty

        if self.snapshot is None:
            raise SettingsError("only a model that was loaded from a store has an uncertainty.")
        return Uncertainty.load(self.snapshot, self.id)

    def spread(self, batch: Batch) -> Spread:
        """Predicted standard deviations of a batch; see :class:`mlipstore.kept.uncertainty.Spread`."""
        counts = None
        if self.constants:
            types = type_index(batch.number, self.descriptor.elements)
            counts = np.zeros((len(batch), len(self.descriptor.elements)))
            np.add.at(counts, (np.repeat(np.arange(len(batch)), batch.n_atoms), types), 1.0)
        return self.uncertainty.of(self.descriptor.rows(batch), batch.n_atoms, counts)

    def calculator(self, uncertainty: bool = False) -> ModelCalculator:
        """An ASE calculator (energy, free_energy, forces, stress).

        :param uncertainty: standard deviations and extrapolation grades as well
        """
        from .calculator import ModelCalculator

        return ModelCalculator(self, uncertainty)
