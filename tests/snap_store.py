"""A featurized store of displaced bcc cells that any process can read: SNAP rows, in segments of a given number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlipstore.configuration import Batch, Configuration
from mlipstore.executors import Executor
from mlipstore.features import Feature
from mlipstore.featurize import featurize
from mlipstore.index import write_segment
from mlipstore.provenance import commit_metadata
from mlipstore.registry import make as plugin
from mlipstore.store import Repository

SETTINGS = {"elements": ("Ta",), "twojmax": 4, "rcutfac": 4.7}
_SITES = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])


def cells_of(n: int, cells: int = 2, seed: int = 5) -> list[Configuration]:
    """Cells of ``2 cells^3`` atoms with made-up labels."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    site = (grid + _SITES).reshape(-1, 3) * 3.3
    return [
        Configuration(
            numbers=np.full(len(site), 73),
            positions=site + rng.normal(0, 0.1, site.shape),
            cell=np.eye(3) * 3.3 * cells,
            pbc=np.ones(3, bool),
            energy=-11.0 * len(site) + rng.normal(),
            forces=rng.normal(size=site.shape),
            stress=rng.normal(size=6),
            group=("md", "strain")[i % 2],
        )
        for i in range(n)
    ]


def make(path: Path, segments: int, configurations: int, executor: Executor | None = None) -> Path:
    """A store of so many segments of so many configurations each, featurized."""
    featurize(Repository.open(ingested(path, segments, configurations)), feature(), None, executor)
    return path


def ingested(path: Path, segments: int, configurations: int) -> Path:
    """The same, not featurized yet."""
    repository = Repository.create(path)
    for number in range(segments):
        made = sorted(cells_of(configurations, seed=number), key=lambda c: c.group)
        with repository.transaction("make", commit_metadata("ingest", "test", "test")) as tx:
            write_segment(tx, f"segment{number:03}", Batch.from_configurations(made))
    return path


def feature() -> Feature:
    return Feature.of("snap", plugin("descriptors", "snap", SETTINGS), None)
