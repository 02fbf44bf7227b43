"""One store, two versions of Icechunk: each reads, extends and commits what the other made.

    OLD_PYTHON -m tests.compatibility.exchange make STORE
    NEW_PYTHON -m tests.compatibility.exchange extend STORE
    OLD_PYTHON -m tests.compatibility.exchange verify STORE

``make test-icechunk2`` runs it with Icechunk 1 and 2, in both directions. On-disk format 1 is what both write.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from mlipstore.api import Store, create_store, open_store

SNAP = {"type": "snap", "elements": ["Cu"], "twojmax": 4, "rcutfac": 4.0}
FRAMES = 8


def frames(seed: int, folder: Path) -> Path:
    """Displaced copper with EMT labels, the same for a seed everywhere."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(FRAMES):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
        atoms.calc = EMT()
        atoms.get_potential_energy()
        atoms.get_forces()
        atoms.get_stress()
        atoms.info["config_type"] = f"seed{seed}"
        out.append(atoms)
    path = folder / f"seed{seed}.xyz"
    write(path, out, format="extxyz")
    return path


def extend(store: Store, seed: int) -> None:
    """New data, its features and a fit of everything."""
    with tempfile.TemporaryDirectory() as folder:
        assert store.ingest(frames(seed, Path(folder))).added == FRAMES
    store.featurize(SNAP)
    store.fit({"name": f"after-seed{seed}", "solver": {"type": "ridge", "alpha": 1e-6}})


def verify(store: Store, seeds: int) -> None:
    """Everything that was stored is there, and the last model repeats."""
    facts = store.show()
    assert facts["configurations"] == seeds * FRAMES, facts
    assert len(facts["models"]) == seeds, facts
    assert facts["features"][0]["configurations_missing"] == 0, facts
    again = store.replay(f"after-seed{seeds - 1}")
    assert again.largest_difference < 1e-9, again.to_json()
    assert len(store.configurations.to_ase(group="seed0")) == FRAMES
    assert len(store.log()) >= 2 * seeds


def main() -> None:
    what, path = sys.argv[1], sys.argv[2]
    if what == "make":
        extend(create_store(path), 0)
        seeds = 1
    else:
        store = open_store(path)
        seeds = len(store.show()["groups"])
        verify(store, seeds)
        if what == "extend":
            extend(store, seeds)
            seeds += 1
    verify(open_store(path), seeds)
    print(f"{what}: {seeds * FRAMES} configurations, {seeds} models, Icechunk {version('icechunk')}")


if __name__ == "__main__":
    main()
