"""Features and a fit on MPI ranks: rank 0 runs the script and hands tasks out, the other ranks do them.

    mpiexec -n 3 python examples/03_mpi.py          # two workers and rank 0, which mostly waits

The command line does the same: ``mpiexec -n 3 mlipstore run RUN.toml --executor mpi``. With one rank it runs there.
"""

import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

import mlipstore
from mlipstore.executors.mpi import Mpi

# %% Every rank but 0 works until rank 0 closes the executor
executor = Mpi()
if executor.serve():
    raise SystemExit

# %% Rank 0: data
folder = Path(tempfile.mkdtemp(prefix="mlipstore-example-"))
random, frames = np.random.default_rng(1), []
for a in np.linspace(3.4, 3.9, 12):
    atoms = bulk("Cu", "fcc", a=a, cubic=True)
    atoms.positions += random.normal(0.0, 0.05, atoms.positions.shape)
    atoms.calc = EMT()
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    frames.append(atoms)
write(folder / "copper.xyz", frames)

# %% The verbs, on all ranks: they open the store themselves (on a cluster it lies in a folder that all nodes see)
store = mlipstore.create_store(folder / "copper.mlip")
store.ingest(folder / "copper.xyz")
computed = store.featurize({"type": "snap", "elements": ["Cu"], "rcutfac": 4.2, "twojmax": 4}, executor=executor)
result = store.fit({"name": "copper"}, executor=executor)
executor.close()
print(
    f"{executor.n_workers} worker(s) computed the rows of {computed.atoms} atoms and {len(result.columns)} coefficients"
)
for entry in result.errors:
    if entry.group == "*" and entry.kind == "energy" and not entry.weighted:
        print(f"energy error: {1000 * entry.rmse:.2f} meV/atom (RMSE of {entry.n})")
