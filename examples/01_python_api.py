"""The same job from Python: labelled structures in, a fitted model out, used as an ASE calculator.

What the command line does, a store does as methods of the same names. The data are a handful of copper crystals
labelled with ASE's EMT potential; take your own list of ``ase.Atoms`` instead.
"""

# %% Data: shaken copper crystals at several volumes, written as extended XYZ with a group each
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import mlipstore

folder = Path(tempfile.mkdtemp(prefix="mlipstore-example-"))
random = np.random.default_rng(1)
frames = []
for group, shake in (("crystal", 0.0), ("warm", 0.05), ("hot", 0.12)):
    for a in np.linspace(3.4, 3.9, 11):
        atoms = bulk("Cu", "fcc", a=a, cubic=True) * (1, 1, 2)
        atoms.positions += random.normal(0.0, shake, atoms.positions.shape)
        work = atoms.copy()
        work.calc = EMT()
        atoms.calc = SinglePointCalculator(
            atoms, energy=work.get_potential_energy(), forces=work.get_forces(), stress=work.get_stress()
        )
        atoms.info["config_type"] = group
        frames.append(atoms)
write(folder / "copper.xyz", frames)

# %% A store: everything that follows is kept in it, in versions
store = mlipstore.create_store(folder / "copper.mlip")
added = store.ingest(folder / "copper.xyz")
print(f"{added.added} configurations, {added.atoms} atoms, groups {dict(added.groups)}")

# %% Features: computed once for each descriptor; the second call finds them there
descriptor = {"type": "snap", "elements": ["Cu"], "rcutfac": 4.2, "twojmax": 6}
first = store.featurize(descriptor)
again = store.featurize(descriptor)
print(f"computed {first.configurations} configurations, the second time {again.configurations}")

# %% A fit: settings are those of the [fit] table of a run file
result = store.fit({"name": "copper", "default": {"train": 0.8, "test": 0.2, "energy": 100, "force": 1, "stress": 0.1}})
for entry in result.errors:
    if entry.group == "*" and entry.kind == "energy" and not entry.weighted:
        print(f"energy error, {entry.split}: {1000 * entry.rmse:.2f} meV/atom (RMSE of {entry.n})")

# %% The model as an ASE calculator: the lattice constant it gives for copper
model = store.model("copper")
lattice_constants = np.linspace(3.45, 3.75, 13)
energies = []
for a in lattice_constants:
    crystal = bulk("Cu", "fcc", a=a)
    crystal.calc = model.calculator()
    energies.append(crystal.get_potential_energy())
curvature, slope, _ = np.polyfit(lattice_constants - 3.6, energies, 2)
equilibrium = 3.6 - slope / (2 * curvature)
print(f"lattice constant {equilibrium:.3f} Å (EMT: 3.59 Å)")

# %% Every array of the store is an xarray.Dataset: named dimensions, units in the attributes, read when needed
segment = store.features["snap-2J6"].segments[0]
rows = store.features["snap-2J6"].to_xarray(segment)
print(rows)

# %% The same numbers again: the store knows what the model was made of
replayed = store.replay("copper")
print("replayed to equal bits:", replayed.equal)
print(store)
