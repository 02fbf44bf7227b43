"""Features and a fit on the workers of a Dask cluster, with the bits of a run on one core.

Here the cluster is two processes of this machine. On a real one, give the address of its scheduler instead:
``Dask(scheduler="tcp://host:8786")``, or ``--scheduler tcp://host:8786`` on the command line. See docs/clusters.md.
"""

# %% Data: shaken copper crystals, written as extended XYZ
import logging
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

import mlipstore
from mlipstore.executors.dask import Dask

DESCRIPTOR = {"type": "snap", "elements": ["Cu"], "rcutfac": 4.2, "twojmax": 4}


def crystals() -> list:
    """Labelled structures."""
    random, frames = np.random.default_rng(1), []
    for a in np.linspace(3.4, 3.9, 12):
        atoms = bulk("Cu", "fcc", a=a, cubic=True)
        atoms.positions += random.normal(0.0, 0.05, atoms.positions.shape)
        atoms.calc = EMT()
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        frames.append(atoms)
    return frames


def main() -> None:
    """Workers are processes of their own, which import this file: what runs stands below the last line."""
    from dask.distributed import LocalCluster

    folder = Path(tempfile.mkdtemp(prefix="mlipstore-example-"))
    write(folder / "copper.xyz", crystals())

    # %% On one core
    alone = mlipstore.create_store(folder / "alone.mlip")
    alone.ingest(folder / "copper.xyz")
    alone.featurize(DESCRIPTOR)
    expected = alone.fit({"name": "copper"})

    # %% On a cluster: workers open the store themselves; rows never go through the scheduler
    # silence_logs: Dask reports workers that it stops itself as connections lost
    options = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with LocalCluster(n_workers=2, **options) as cluster:
        executor = Dask(scheduler=cluster.scheduler_address)
        store = mlipstore.create_store(folder / "cluster.mlip")
        store.ingest(folder / "copper.xyz")
        computed = store.featurize(DESCRIPTOR, executor=executor)
        result = store.fit({"name": "copper"}, executor=executor)
        print(f"{executor.n_workers} workers computed the rows of {computed.atoms} atoms and the fit")
        executor.close()

    same = result.coefficients.tobytes() == expected.coefficients.tobytes()
    print(f"{len(result.coefficients)} coefficients, {'the same bits as on one core' if same else 'DIFFERENT BITS'}")
    assert same


if __name__ == "__main__":
    main()
