"""Connections that are cut, servers that answer 500 or 503, answers that are slow or end early, and outages."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.io import write

from mlipstore import places
from mlipstore.errors import DamagedStoreError, MlipstoreError, StoreError
from mlipstore.fit import fit
from mlipstore.index import Index, read_batch
from mlipstore.ingest import ingest
from mlipstore.places import http, objects_at, s3
from mlipstore.runs.tables import Fit
from mlipstore.sharing.remote import clone, pull, push
from mlipstore.store import Repository
from mlipstore.verify import verify

from ..robustness.content import content, differences
from ..small_store import add, configurations, plugins
from .faults import NowAndThen, Outage, Proxy, proxy
from .servers import web_server

pytestmark = pytest.mark.slow
Fresh = Callable[..., Repository]
EXTENDED = "MLIPSTORE_WRITERS" in os.environ


@pytest.fixture
def between(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of the S3 server, which the environment points to."""
    with proxy(s3) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        places._elsewhere.cache_clear()
        yield made
    places._elsewhere.cache_clear()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is gone is given up on at once, but for what Icechunk asks of it."""
    monkeypatch.setattr(s3, "TRIES", 2)


def filled(place: str | Path, folder: Path, n: int = 6) -> Repository:
    """The same content wherever it is."""
    repository = Repository.create(place)
    with plugins():
        more(repository, folder, configurations(n, 1))
        fit(repository, Fit(name="model"))
    return repository


def more(repository: Repository, folder: Path, atoms: list[Atoms]) -> None:
    """Add data from a file that has the same name every time."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with plugins():
        add(repository, folder, atoms, segment=6)


def test_s3_that_fails_now_and_then(bucket: str, between: Proxy, tmp_path: Path) -> None:
    """Everything succeeds, and nothing is lost or there twice."""
    here = filled(tmp_path / "here.mlip", tmp_path / "data")
    between.fault = faults = NowAndThen(0.1, "now and then")
    there = filled(f"{bucket}/a.mlip", tmp_path / "data")
    assert differences(content(str(there.path)), content(str(here.path))) == []
    assert len(there.log()) == len(here.log())
    clone(f"{bucket}/a.mlip", tmp_path / "b.mlip")
    push(tmp_path / "b.mlip", f"{bucket}/c.mlip")
    assert faults.faults > 20
    between.fault = lambda method, path: None
    for place in (tmp_path / "b.mlip", f"{bucket}/c.mlip"):
        assert differences(content(str(place)), content(str(here.path))) == []
        assert verify(place).sound


def test_s3_that_is_gone(bucket: str, between: Proxy, impatient: None, tmp_path: Path) -> None:
    """At whatever request: one clear error, what was stored before is whole, and the same again finishes.

    Icechunk waits 25 s for each of its own requests, so that few are tried here and others by ``make extended``.
    """
    rng, rounds = random.Random("outage"), 4 if EXTENDED else 1
    for number in range(rounds + 1):
        write(tmp_path / f"{number}.xyz", configurations(6, number))
    between.fault = outage = Outage(float("inf"))
    made = Repository.create(f"{bucket}/a.mlip")
    ingest(made, [tmp_path / "0.xyz"])
    first = read_batch(made.at(), Index.load(made.at()).segments[0].name)
    for number in range(1, rounds + 1):
        before = [c.id for c in made.log()]
        if EXTENDED:
            outage.left = rng.randrange(1, 45)
        else:
            outage.first = "mlipstore.lock"
        with pytest.raises(MlipstoreError, match="the server cannot be reached"):
            ingest(made, [tmp_path / f"{number}.xyz"])
        outage.left, outage.first = float("inf"), None
        again = Repository.open(made.path)
        log = [c.id for c in again.log()]
        assert log[-len(before) :] == before and len(log) <= len(before) + 1  # one whose answer was lost may be there
        batch = read_batch(again.at(), Index.load(again.at()).segments[0].name)
        assert batch.uid.tobytes() == first.uid.tobytes() and batch.position.tobytes() == first.position.tobytes()
        ingest(made, [tmp_path / f"{number}.xyz"])
        assert len(made.log()) == len(before) + 1
    report = verify(made.path)
    assert report.sound and report.configurations == 6 * (rounds + 1)


@pytest.mark.parametrize("verb", ["clone", "pull", "push"])
def test_copies_when_s3_is_gone(
    verb: str, fresh: Fresh, bucket: str, between: Proxy, impatient: None, tmp_path: Path
) -> None:
    """At ten random requests; the same again continues and ends equal."""
    rng = random.Random(verb)
    source, place, copy = fresh(), f"{bucket}/a.mlip", tmp_path / "copy.mlip"
    between.fault = outage = Outage(float("inf"))
    if verb != "push":
        push(source.path, place)
    if verb == "pull":
        clone(place, copy)
        more(source, tmp_path / "data", configurations(12, 5))
        push(source.path, place)
    action = {
        "clone": lambda: clone(place, copy),
        "pull": lambda: pull(copy),
        "push": lambda: push(source.path, place),
    }[verb]
    failed = 0
    for _ in range(10):
        outage.left = rng.randrange(1, 40)
        try:
            action()
            break
        except MlipstoreError as error:
            failed += 1
            assert "What was stored before is whole; run the same command again" in str(error), error
    outage.left = float("inf")
    assert failed >= 3
    if verb != "clone" or not Repository.exists(copy):
        action()
    other = str(place) if verb == "push" else str(copy)
    assert differences(content(other), content(str(source.path))) == []
    assert verify(other).sound


def test_a_web_server_that_fails_now_and_then(featurized: Path, tmp_path: Path) -> None:
    with web_server(featurized.parent) as url, proxy(url) as between:
        between.fault = NowAndThen(0.1, "web")
        place = f"{between.url}/{featurized.name}"
        clone(place, tmp_path / "b.mlip")
        assert between.fault.faults > 5
    assert differences(content(tmp_path / "b.mlip"), content(featurized)) == []


def test_a_web_server_that_is_gone(featurized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as that, not as damage, and others that ask it do not wait as long."""
    monkeypatch.setattr(http, "_TRIES", 3)
    with web_server(featurized.parent) as url, proxy(url) as between:
        between.fault = outage = Outage(float("inf"))
        there = Repository.open(f"{between.url}/{featurized.name}")
        outage.left = 0
        asked = []
        monkeypatch.setattr(http.Web, "_once", _counted(http.Web._once, asked))
        for more in (3, 1):
            before = len(asked)
            with pytest.raises(StoreError, match="run the same command again") as caught:
                objects_at(there.path).get("refs/branch.main/ref.json")
            assert len(asked) == before + more and not isinstance(caught.value, DamagedStoreError)
        with pytest.raises(StoreError, match="run the same command again") as caught:
            there.at().read("index/uid")
        assert not isinstance(caught.value, DamagedStoreError)
        outage.left = float("inf")
        assert len(there.at().read("index/uid"))


def _counted(once: Callable[..., Any], asked: list[str]) -> Callable[..., Any]:
    def function(self: http.Web, method: str, url: str, headers: dict[str, str]) -> Any:
        asked.append(url)
        return once(self, method, url, headers)

    return function
