"""Slabs and molecules: a stress that a file has for them is no label, in fits as in predictions."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mlipstore.api import create_store


def test_stress_labels_without_a_volume_are_not_rows(tmp_path: Path) -> None:
    images = []
    for i in range(4):
        for atoms in (
            bulk("Cu", cubic=True),
            fcc111("Cu", (2, 2, 2), vacuum=5.0),
            Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]]),
        ):
            atoms.rattle(0.05, seed=i)
            atoms.calc = EMT()
            labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": [0.01] * 6}
            group = {3: "bulk", 2: "slab", 0: "molecule"}[int(atoms.pbc.sum())]
            atoms.calc = SinglePointCalculator(atoms, **labels)
            atoms.info["config_type"] = group
            images.append(atoms)
    write(tmp_path / "some.xyz", images)
    store = create_store(tmp_path / "s.mlip")
    assert store.ingest(tmp_path / "some.xyz").added == 12
    store.featurize({"type": "snap", "elements": ["Cu"], "twojmax": 2, "rcutfac": 4.0})
    store.fit({"name": "m"})
    for errors in (store.show("m")["errors"], [vars(e) for e in store.predict("m", tmp_path / "some.xyz").errors]):
        plain = [e for e in errors if not e["weighted"]]
        assert {e["group"]: e["n"] for e in plain if e["kind"] == "stress"} == {"bulk": 24, "*": 24}
        assert {e["group"]: e["n"] for e in plain if e["kind"] == "energy"} == {
            "bulk": 4, "molecule": 4, "slab": 4, "*": 12
        }  # fmt: skip
