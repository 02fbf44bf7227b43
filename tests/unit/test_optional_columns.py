"""Spins and charges that only some configurations have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mlipstore import ingest as ingesting
from mlipstore import portions
from mlipstore.configuration import Batch, Configuration
from mlipstore.index import Index, read_batch, segments
from mlipstore.ingest import ingest
from mlipstore.store import Repository

from ..robustness.content import content, differences


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """40 frames: 12 without, then spins and charges in turns, then 8 without."""
    rng = np.random.default_rng(3)
    images = []
    for i in range(40):
        atoms = Atoms("FeO", positions=rng.uniform(0, 4, (2, 3)), cell=[4, 4, 4], pbc=True)
        results = {"energy": float(i), "forces": rng.normal(size=(2, 3))}
        if 12 <= i < 32:
            if i % 2:
                results["magmoms"] = rng.normal(size=2)
            if i % 3:
                results["charges"] = rng.normal(size=2)
        atoms.calc = SinglePointCalculator(atoms, **results)
        images.append(atoms)
    write(tmp_path / "some.xyz", images)
    return tmp_path / "some.xyz"


def test_what_is_stored_does_not_depend_on_how_the_source_was_cut(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "SEGMENT_CONFIGURATIONS", 10)
    stores = []
    for travel in (1, 3, 7, 1000):
        monkeypatch.setattr(portions, "_TRAVEL_CONFIGURATIONS", travel)
        repository = Repository.create(tmp_path / f"{travel}.mlip")
        assert ingest(repository, [source]).added == 40
        stores.append(content(repository.path))
    for other in stores[1:]:
        assert differences(stores[0], other) == []
    snapshot = repository.at()
    columns = [set(snapshot.names(f"atoms/{s.name}")) & {"spin", "charge"} for s in segments(snapshot)]
    assert columns[0] == set() and all(c == {"spin", "charge"} for c in columns[1:])
    index = Index.load(snapshot)
    missing = 0
    for number, segment in enumerate(index.segments):
        for i, c in enumerate(read_batch(snapshot, segment.name)):
            at = (index.segment == number) & (index.position == i)
            assert c.uid() == index.uid[at].tobytes() and c.geometry() == index.geometry[at].tobytes()
            missing += c.spin is None
    assert missing == 30


def test_a_configuration_without_has_none_beside_one_with() -> None:
    def one(**more: object) -> Configuration:
        return Configuration(np.array([26]), np.zeros((1, 3)), np.eye(3), np.ones(3, bool), **more)  # type: ignore[arg-type]

    batch = Batch.from_configurations([one(), one(spin=np.ones((1, 3)), charge=np.ones(1))])
    assert batch[0].spin is None and batch[0].charge is None
    assert batch[1].spin is not None and batch[1].charge is not None
    joined = Batch.concatenate([Batch.from_configurations([one()]), batch])
    assert joined[0].spin is None and joined[2].spin is not None
