"""A small store of made-up rows for tests of what happens after featurization: elements, sizes, groups, segments.

Rows are smooth functions of the positions, so that nothing is degenerate; physics is not asked for. The plugins are
known to this process only: workers must be :class:`mlipstore.executors.serial.Serial`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mlipstore import ingest as ingesting
from mlipstore import registry
from mlipstore.computing import Column, Reference, Rows, empty_rows
from mlipstore.configuration import Batch
from mlipstore.features import Feature, StoredBaseline
from mlipstore.featurize import featurize
from mlipstore.reading import ReadOptions
from mlipstore.store import Repository

ELEMENTS = ("Ta", "W")
COLUMNS = 5


@dataclass(frozen=True)
class Waves:
    """Descriptor: sines of the positions, ``COLUMNS`` of them per element."""

    elements: tuple[str, ...] = ELEMENTS

    def columns(self) -> list[Column]:
        return [Column(f"{e}{i}", e) for e in self.elements for i in range(COLUMNS)]

    def label(self) -> str:
        return "waves"

    def rows(self, batch: Batch) -> Rows:
        out = empty_rows(batch, 2 * COLUMNS)
        powers = np.arange(1, COLUMNS + 1)
        for i, (a, b) in enumerate(zip(batch.atom_start[:-1], batch.atom_start[1:], strict=True)):
            for e, z in enumerate((73, 74)):
                mine = slice(e * COLUMNS, (e + 1) * COLUMNS)
                x = batch.position[a:b]
                kind = (batch.number[a:b] == z)[:, None]
                out.energy[i, mine] = (kind * np.cos(x.sum(axis=1)[:, None] * powers)).sum(axis=0)
                out.force[3 * a : 3 * b, mine] = (kind[:, :, None] * np.sin(x[:, :, None] * powers)).reshape(
                    -1, COLUMNS
                )
                out.stress[6 * i : 6 * i + 6, mine] = 0.1 * np.sin(x.sum() * np.arange(1, 7)[:, None] * powers)
        return out


@dataclass(frozen=True)
class Slope:
    """Baseline: 2 eV per atom, a force of 1, 2, 3 eV/Å on each."""

    elements: tuple[str, ...] = ELEMENTS

    def label(self) -> str:
        return "slope"

    def evaluate(self, batch: Batch) -> Reference:
        force = np.tile([1.0, 2.0, 3.0], (len(batch.number), 1))
        return Reference(2.0 * batch.n_atoms, force, np.full((len(batch), 6), 0.01))


@contextmanager
def plugins() -> Iterator[None]:
    """The two are plugins inside."""
    real = registry.get
    mine = {("descriptors", "waves"): Waves, ("baselines", "slope"): Slope}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "get", lambda kind, name: mine.get((kind, name)) or real(kind, name))
        yield


def configurations(n: int, seed: int, groups: tuple[str, ...] = ("bulk", "melt/2000 K", "surface")) -> list[Atoms]:
    """Cells of 2 to 5 atoms in turned axes; some lack energy, forces or stress."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        size = int(rng.integers(2, 6))
        symbols = ["Ta" if u < 0.6 else "W" for u in rng.random(size)]
        cell = rng.normal(0, 0.5, (3, 3)) + 4 * np.eye(3)
        atoms = Atoms(symbols, positions=rng.uniform(0, 4, (size, 3)), cell=cell, pbc=True)
        labels = {
            "energy": -12.0 * size + rng.normal(),
            "forces": rng.normal(size=(size, 3)),
            "stress": 0.1 * rng.normal(size=6),
        }
        for name in ("energy", "forces", "stress"):
            if rng.random() < 0.1 and len(labels) > 1:
                del labels[name]
        atoms.calc = SinglePointCalculator(atoms, **labels)
        atoms.info["config_type"] = groups[i % len(groups)]
        out.append(atoms)
    return out


def add(repository: Repository, folder: Path, atoms: list[Atoms], segment: int = 20) -> None:
    """Ingest and featurize, with small segments."""
    file = folder / f"data-{len(list(folder.iterdir()))}.xyz"
    write(file, atoms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingesting, "SEGMENT_CONFIGURATIONS", segment)
        ingesting.ingest(repository, [file], ReadOptions())
    featurize(repository, Feature.of("waves", Waves(), None), StoredBaseline.of("slope", Slope(), None))


def small_store(folder: Path, n: int = 70, seed: int = 1) -> Repository:
    """A featurized store of ``n`` configurations, 20 per segment; call it inside :func:`plugins`."""
    repository = Repository.create(folder / "a.mlip")
    add(repository, folder, configurations(n, seed))
    return repository
