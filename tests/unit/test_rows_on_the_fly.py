"""Rows that are not stored but made as a fit needs them give the model that stored rows give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlipstore.configuration import Batch, Configuration
from mlipstore.features import Feature
from mlipstore.featurize import featurize
from mlipstore.fit import fit
from mlipstore.index import write_segment
from mlipstore.provenance import commit_metadata
from mlipstore.registry import make
from mlipstore.runs.runfile import Fit, GroupSettings
from mlipstore.store import Repository


def store_of(path: Path) -> Repository:
    rng = np.random.default_rng(8)
    repository = Repository.create(path)
    for segment in ("a", "b"):
        configurations = [
            Configuration(
                numbers=rng.choice([29, 79], n),
                positions=rng.uniform(0, 6, (n, 3)),
                cell=np.eye(3) * 6.0 + rng.normal(0, 0.2, (3, 3)),
                pbc=np.ones(3, bool),
                energy=rng.normal(),
                forces=None if i % 7 == 0 else rng.normal(size=(n, 3)),
                stress=rng.normal(size=6),
                group="abc"[i * 3 // 40],
            )
            for i, n in enumerate(rng.integers(1, 20, 40))
        ]
        with repository.transaction("make", commit_metadata("ingest", "test", "test")) as tx:
            write_segment(tx, segment, Batch.from_configurations(configurations))
    return repository


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("frame", ["input", "lammps"])
def test_same_model(tmp_path: Path, precision: str, frame: str) -> None:
    repository = store_of(tmp_path / "s.mlip")
    descriptor = make("descriptors", "snap", {"elements": ("Cu", "Au"), "twojmax": 4, "rcutfac": 4.0})
    settings = Fit(frame=frame, default=GroupSettings(train=0.7, test=0.3), groups={"b": GroupSettings(force=0.0)})

    feature = Feature.of("snap", descriptor, None, precision, "none")
    result = featurize(repository, feature, None)
    assert result.segments == 0
    assert repository.at().names(f"features/{feature.id}") == []
    made = fit(repository, settings)

    stored = Feature.of("snap", descriptor, None, precision, "rows")
    assert stored.id == feature.id
    assert featurize(repository, stored, None).segments == 2
    again = fit(repository, Fit(frame=frame, default=settings.default, groups=settings.groups, seed=0, block_rows=4097))
    assert again.new and again.rows == made.rows
    # blocks are cut elsewhere, so the last bits may differ
    assert np.allclose(again.coefficients, made.coefficients, rtol=1e-9, atol=1e-12)
    for one, other in zip(made.errors, again.errors, strict=True):
        assert one.n == other.n
        assert one.rmse == pytest.approx(other.rmse, rel=1e-9, nan_ok=True)
