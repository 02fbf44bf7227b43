"""A store of the first format stays readable and can be continued; one of a newer format is refused."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from mlipstore import layout, store
from mlipstore.curation.query import select
from mlipstore.errors import StoreError
from mlipstore.featurize import featurize
from mlipstore.fit import fit
from mlipstore.index import Index, keys, read_batch
from mlipstore.ingest import ingest
from mlipstore.reading import ReadOptions
from mlipstore.sharing import remote
from mlipstore.sharing.remote import clone, pull
from mlipstore.store import Repository
from mlipstore.verify import verify

from ..robustness.content import differences
from ..robustness.sources import frames, write_extxyz
from .make_format_1 import FEATURE, HERE, SETTINGS, described


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The store that was written by the first version."""
    with tarfile.open(HERE / "format-1.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "format-1.mlip"


def test_the_first_format(first: Path, tmp_path: Path) -> None:
    """Everything in it is read as it was; it is whole, can be copied, and continued."""
    expected = json.loads((HERE / "format-1.json").read_text())
    repository = Repository.open(first)
    found = described(repository)
    for ref, content in expected.pop("content").items():
        assert differences(found["content"][ref], content) == []  # type: ignore[index]
    assert {k: found[k] for k in expected} == expected
    report = verify(first)
    assert report.sound and not report.problems and report.unsealed == 0
    assert len(select(repository.at(), "n_atoms == 2")) == 13
    for segment in Index.load(repository.at()).segments:  # an ingest looks for what is known by them
        batch = read_batch(repository.at(), segment.name)
        assert [c.geometry() for c in batch] == keys(batch.geometry)
    clone(first, tmp_path / "copy.mlip")
    copy = Repository.open(tmp_path / "copy.mlip")
    ingest(copy, [write_extxyz(tmp_path / "new.xyz", frames(4, seed=9, most=1))], ReadOptions())
    featurize(copy, FEATURE, None)
    assert len(Index.load(copy.at())) == 17
    again = fit(repository, SETTINGS)
    assert not again.new
    np.testing.assert_allclose(again.coefficients, expected["coefficients"], rtol=1e-12)
    assert verify(copy.path).sound


def test_a_newer_format_is_refused(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By every way in, with what to do about it; a pull leaves the older store as it is."""
    clone(first, tmp_path / "older.mlip")
    for module in (layout, store, remote):
        monkeypatch.setattr(module, "FORMAT_VERSION", 2)
    newer = Repository.open(first)
    with newer.transaction("convert", {"verb": "convert"}, exclusive=True) as tx:
        tx.root.attrs["mlipstore_format"] = 2
    monkeypatch.undo()
    for attempt in (
        lambda: Repository.open(first),
        lambda: clone(first, tmp_path / "copy.mlip"),
        lambda: pull(tmp_path / "older.mlip"),
        lambda: verify(first).problems and Repository.open(first),
    ):
        with pytest.raises(StoreError, match=r"has format 2; this mlipstore reads up to 1\. Install a newer"):
            attempt()
    assert Repository.open(tmp_path / "older.mlip").find() == Repository.open(tmp_path / "older.mlip").find("main")
    assert not Repository.exists(tmp_path / "copy.mlip")
