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
from mlipstore.readers import reader_for
from mlipstore.reading import ReadOptions, ReadReport
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


@pytest.mark.parametrize("vectors", [False, True], ids=["collinear", "vectors"])
@pytest.mark.parametrize("computed", [(), ("magmoms",), ("charges",), ("magmoms", "charges")], ids="-".join)
def test_every_format_of_ase_gives_the_same_configuration(
    computed: tuple[str, ...], vectors: bool, tmp_path: Path
) -> None:
    """Initial moments and charges are taken where the calculator has none; another state is another configuration."""
    hashes = []
    for state in (1.0, -1.0):
        moments = state * np.array([[0.5, 0.25, 2.0], [0, 0, -1.5]]) if vectors else state * np.array([2.0, -1.5])
        atoms = Atoms("FeO", [[0, 0, 0], [2, 0, 0]], cell=[4, 4, 4], pbc=True)
        atoms.set_initial_magnetic_moments(moments)
        atoms.set_initial_charges(state * np.array([1.0, -1.0]))
        results = {"magmoms": 0.75 * moments, "charges": state * np.array([0.5, -0.5])}
        atoms.calc = SinglePointCalculator(
            atoms, energy=-1.0, forces=np.zeros((2, 3)), **{k: results[k] for k in computed}
        )
        found = []
        for name in ("a.xyz", "a.traj", "a.db", "a.json"):
            path = tmp_path / f"{state}{name}"
            write(path, atoms)
            _, reader = reader_for(path, ReadOptions())
            (c,) = reader.read(path, ReadReport(), path)
            found.append(c)
        expected = results["magmoms"] if "magmoms" in computed else moments
        for c in found:
            np.testing.assert_array_equal(c.spin if vectors else c.spin[:, 2], expected)
            assert c.charge.tolist() == ([0.5 * state, -0.5 * state] if "charges" in computed else [state, -state])
        assert len({(c.uid(), c.geometry()) for c in found}) == 1
        hashes.append(found[0].geometry())
    assert hashes[0] != hashes[1]
