"""A data set with a history: what changed, the way back, a card, and configurations for other programs.

Every change of a store is a new version; earlier ones stay as they were. The data are made up; take your own files.
"""

# %% Data: two groups of tungsten cells, one of them with stresses in kbar that were taken for bar
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

import mlipstore
from mlipstore.curation.annotate import annotate
from mlipstore.curation.edit import Relabel, relabel, remove

folder = Path(tempfile.mkdtemp(prefix="mlipstore-example-"))
random = np.random.default_rng(1)
frames = []
for i in range(24):
    atoms = bulk("W", "bcc", a=3.17 * (1 + 0.01 * random.normal()), cubic=True)
    atoms.rattle(0.05, rng=random)
    group = "bulk" if i < 16 else "melt"
    stress = 0.01 * random.normal(size=6) / (1000.0 if group == "melt" else 1.0)
    forces = random.normal(size=(2, 3)) * (40.0 if i == 20 else 1.0)
    atoms.calc = SinglePointCalculator(atoms, energy=-22.0 + random.normal(), forces=forces, stress=stress)
    atoms.info["config_type"] = group
    frames.append(atoms)
write(folder / "tungsten.xyz", frames)

# %% The first version, with a name and a card that say what it is
store = mlipstore.create_store(folder / "w.mlip")
store.ingest(folder / "tungsten.xyz")
store.set_card({
    "title": "Tungsten, an example", "authors": [{"name": "A. Author"}], "licence": "CC-BY-4.0",
    "level_of_theory": {"method": "DFT", "functional": "PBE"}, "code": [{"name": "made up"}],
})  # fmt: skip
store.tag("v1.0")
print(store.card["title"], "·", len(store.configurations), "configurations")

# %% Look before changing anything: expressions over columns, as --where on the command line
odd = store.configurations.where("max_force > 30")
print("large forces:", odd.table("uid", "group", "max_force")[0]["group"], len(odd))

# %% Three corrections, three versions
annotate(store.repository, "max_force > 30", flags=("odd",), note="not converged")
remove(store.repository, 'flagged("odd")')
corrected = relabel(store.repository, 'group == "melt"', Relabel(stress_was="bar", stress_unit="kbar"))
print("stress of", corrected.changes["stress"], "configurations corrected")

# %% What leads from v1.0 to now, and the versions one by one
change = store.diff("v1.0")
for name, counts in change.groups.items():
    print(f"{name}: {counts.removed} removed, {counts.relabelled} relabelled")
for commit in store.log():
    print(commit.id[:8], commit.verb, commit.message)

# %% Take back the removal only; the correction of the stress stays
removal = next(c for c in store.log() if c.verb == "remove")
store.revert(removal.id)
print("again", len(store.configurations), "configurations;", len(store.at("v1.0").configurations), "in v1.0")

# %% A selection for another program: extended XYZ, with every digit
written = store.export_data("extxyz", folder / "melt.xyz", where='group == "melt" and not flagged("odd")')
print(
    written.configurations,
    "configurations in",
    Path(written.path).name,
    "·",
    len(read(written.path, ":")),
    "read by ASE",
)
