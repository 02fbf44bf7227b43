"""A part of a store: some configurations, some features, the rest as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlipstore.curation.annotations import Annotation, every, write
from mlipstore.curation.query import select
from mlipstore.errors import MlipstoreError, SettingsError, StoreError
from mlipstore.fit import fit
from mlipstore.index import Index, keys, segments
from mlipstore.runs.tables import Fit
from mlipstore.sharing import part
from mlipstore.sharing.remote import clone, pull
from mlipstore.store import Repository
from mlipstore.verify import verify

from ..robustness.content import content, differences
from ..robustness.sources import run
from ..small_store import plugins
from .servers import web_server

Fresh = Callable[..., Repository]
BULK = "group == 'bulk'"


@pytest.fixture
def fitted(fresh: Fresh) -> Repository:
    """With a model of bulk alone, and a note on every configuration."""
    repository = fresh()
    uids = keys(Index.load(repository.at()).uid)
    with plugins():
        fit(repository, Fit(name="bulk", where=BULK))
    with repository.transaction("note", {"verb": "annotate"}, exclusive=True) as tx:
        write(tx.root, Annotation("value", "n", {uid: i for i, uid in enumerate(uids)}))
    return repository


def test_some_configurations(fitted: Repository, tmp_path: Path) -> None:
    """They, their rows, baselines and notes; a fit of them is the same to the bit; it is a store like any other."""
    copy = tmp_path / "b.mlip"
    with web_server(tmp_path) as url:
        clone(f"{url}/a.mlip", copy, where=BULK)
    there, here = fitted.at(), Repository.open(copy).at()
    wanted = select(there, BULK)
    assert sorted(keys(Index.load(here).uid)) == sorted(keys(wanted.index.uid[wanted.rows]))
    assert here.names("models") == there.names("models")
    (note,) = every(here)
    assert set(note.values) == set(keys(Index.load(here).uid))
    assert verify(copy).sound and not verify(copy).problems
    with plugins():
        again = fit(Repository.open(copy), Fit(name="again", where=BULK))
        original = fit(fitted, Fit(name="again", where=BULK))
    np.testing.assert_allclose(again.coefficients, original.coefficients, rtol=1e-9)
    with pytest.raises(StoreError, match="exists already"):
        clone(fitted.path, copy, where=BULK)
    with pytest.raises(StoreError, match="is a part of"):
        pull(copy)


def test_without_features(fitted: Repository, tmp_path: Path) -> None:
    """Segments that are copied whole are the same, byte for byte."""
    outcome = run("clone", fitted.path, tmp_path / "b.mlip", "--features", "none", "--ref", "v1", "-q")
    assert outcome.code == 0, outcome.err
    a, b = content(str(fitted.path), "v1"), content(tmp_path / "b.mlip")
    gone = [p for p in differences(a, b) if not p.startswith("/features/")]
    assert gone == [] and Repository.open(tmp_path / "b.mlip").at().names("features") == []
    clone(fitted.path, tmp_path / "c.mlip", "v1", features=["waves"])
    assert differences(a, content(tmp_path / "c.mlip")) == []
    with pytest.raises(MlipstoreError, match="wave"):
        clone(fitted.path, tmp_path / "d.mlip", features=["wave s"])
    with pytest.raises(SettingsError, match="no configuration"):
        clone(fitted.path, tmp_path / "d.mlip", where="n_atoms > 1000")
    assert not (tmp_path / "d.mlip").exists()


def test_a_part_that_was_cut_off_continues(fitted: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = part._Copy._some, [2]

    def some(self: part._Copy, *arguments: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(part._Copy, "_some", some)
    with pytest.raises(StoreError, match="no space left"):
        clone(fitted.path, tmp_path / "b.mlip", where=BULK)
    assert len(segments(Repository.open(tmp_path / "b.mlip").at())) == 2
    with pytest.raises(StoreError, match="exists already"):
        clone(fitted.path, tmp_path / "b.mlip", where="group != 'bulk'")
    left[0] = 100
    clone(fitted.path, tmp_path / "b.mlip", where=BULK)
    clone(fitted.path, tmp_path / "c.mlip", where=BULK)
    assert differences(content(tmp_path / "b.mlip"), content(tmp_path / "c.mlip")) == []
