"""Damage is found, named, and mended where it can be; what no version needs goes away, and nothing else."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import icechunk
import numpy as np
import pytest

from mlipstore.cleaning import age, gc
from mlipstore.errors import DamagedStoreError, SettingsError, StoreError, StoreNotFoundError
from mlipstore.features import Feature, StoredBaseline
from mlipstore.fit import fit
from mlipstore.index import Index, read_batch, segments
from mlipstore.leases import LEASES, at_work
from mlipstore.runs.runfile import Fit
from mlipstore.sharing.remote import clone
from mlipstore.store import Repository
from mlipstore.verify import verify
from mlipstore.verify.report import DERIVED, LOST

from ..robustness.content import content, differences
from ..robustness.sources import run
from ..small_store import Slope, Waves, add, configurations, plugins

Fresh = Callable[..., Repository]


def everything(path: Path) -> dict[str, str]:
    """What is read of a store, as a digest of each thing; also through our own readers, which check more."""
    snapshot = Repository.open(path).at()
    index = Index.load(snapshot)
    _ = index.uid, index.geometry, index.segment, index.position, index.state, index.facts, index.elements
    for kind in ("features", "baselines"):
        for id_ in snapshot.names(kind):
            snapshot.attributes(f"{kind}/{id_}")
            for s in segments(snapshot):
                for name in snapshot.names(f"{kind}/{id_}/{s.name}"):
                    snapshot.read(f"{kind}/{id_}/{s.name}/{name}")
    for s in segments(snapshot):
        read_batch(snapshot, s.name)
    return content(path)


def harm(path: Path, rng: random.Random) -> bytes:
    """Flip one bit; the bytes as they were."""
    data = path.read_bytes()
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(changed)
    return data


def chunk_of(store: Path, array: str) -> Path:
    """The file of a chunk of an array."""
    found = verify(store)
    assert found.sound
    from mlipstore.icefiles.files import parse_manifest, parse_snapshot
    from mlipstore.places import Folder

    objects, id_ = Folder(store), Repository.open(store).find()
    version = parse_snapshot(f"snapshots/{id_}", objects.get(f"snapshots/{id_}"), "")
    node = next(n for n in version.nodes if n.path == array)
    key = f"manifests/{node.manifests[0]}"
    chunk = parse_manifest(key, objects.get(key), "")[node.id][0]
    return store / "chunks" / chunk.id if chunk.id else store / key


def test_a_whole_store(featurized: Path, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    clone(featurized, f"{bucket}/a.mlip")
    for place in (str(featurized), f"{bucket}/a.mlip"):
        report = verify(place)
        assert report.sound and not report.problems
        assert report.configurations == 70 and report.unsealed == 0 and report.versions == 9
    outcome = run("verify", featurized, "-q")
    assert outcome.code == 0 and "70 configurations: whole" in outcome.out


FLIPS = int(os.environ.get("MLIPSTORE_FLIPS", "18"))


def test_flipped_bits(fresh: Fresh) -> None:
    """None is silent: what is read is right or an error, and verify names the file."""
    store, rng = fresh().path, random.Random("flips")
    assert isinstance(store, Path)
    gc(store, grace=0.0)
    truth = everything(store)
    kinds = ("chunks", "manifests", "snapshots", "transactions", "seals", "refs")
    files = {k: sorted(p for p in (store / k).rglob("*") if p.is_file()) for k in kinds}
    for n in range(FLIPS):
        kind = kinds[n % len(kinds)]
        path = rng.choice(files[kind])
        data = harm(path, rng)
        with suppress(StoreError, icechunk.IcechunkError):  # the latter from what is read besides our readers
            assert everything(store) == truth, path
        report = verify(store)
        assert report.problems, path
        if kind != "refs":  # a flipped bit of a ref names another version, which is missing
            assert any(p.file == str(path.relative_to(store)) for p in report.problems), path
        path.write_bytes(data)
    assert verify(store).sound


@pytest.mark.parametrize(
    ("array", "severity"),
    [("features/ID/SEGMENT/A_F", DERIVED), ("index/uid", DERIVED), ("atoms/SEGMENT/position", LOST)],
)
def test_what_is_lost_and_what_is_not(fresh: Fresh, array: str, severity: str) -> None:
    """The finding names array, segment, file and remedy; --repair makes what can be made; a copy gives the rest."""
    repository = fresh()
    store = repository.path
    assert isinstance(store, Path)
    snapshot = repository.at()
    array = array.replace("SEGMENT", segments(snapshot)[0].name).replace("ID", snapshot.names("features")[0])
    truth = content(store)
    backup = Path(shutil.copytree(store, store.parent / "backup.mlip"))
    path = chunk_of(store, array)
    harm(path, random.Random(1))
    report = verify(store)
    (problem,) = report.problems
    assert (problem.severity, problem.path, problem.file) == (severity, array, str(path.relative_to(store)))
    assert problem.versions == ["main", "v1"] or problem.versions == ["main"] or "main" in problem.versions
    outcome = run("verify", store, "-q")
    assert outcome.code == 1 and array in outcome.out and "--repair" in outcome.out and "DAMAGED" in outcome.out
    mended = verify(store, repair=True)
    if severity == LOST:
        assert not mended.sound and not mended.repaired
    else:
        with plugins():
            add_nothing(Repository.open(store))
        assert differences(content(store), truth) == []
    assert verify(store, repair=True, source=str(backup)).sound
    assert differences(content(store), truth) == []


def add_nothing(repository: Repository) -> None:
    """Compute rows that are missing."""
    from mlipstore.featurize import featurize

    featurize(repository, Feature.of("waves", Waves(), None), StoredBaseline.of("slope", Slope(), None))


def test_the_newest_version_is_lost(fresh: Fresh) -> None:
    """Without a copy the branch goes back to the last whole version; with one nothing is lost."""
    repository = fresh()
    store = repository.path
    assert isinstance(store, Path)
    tip, before = repository.find(), repository.find("main~1")
    backup = Path(shutil.copytree(store, store.parent / "backup.mlip"))
    (store / "snapshots" / tip).write_bytes(b"nothing")
    with pytest.raises(DamagedStoreError):
        Repository.open(store).at()
    assert verify(store, repair=True, source=str(backup)).sound
    assert Repository.open(store).find() == tip
    (store / "snapshots" / tip).unlink()
    (store / "refs" / "tag.v1" / "ref.json").unlink()
    (store / "refs" / "branch.main" / "ref.json").write_bytes(b"{}")
    report = verify(store, repair=True)
    assert report.sound and "names" in report.repaired[0]
    assert Repository.open(store).find() == before


def change(store: Path, branch: str) -> None:
    """A small version on a branch."""
    with Repository.open(store, branch).transaction(f"on {branch}", {"verb": "card"}) as tx:
        tx.group(f"studies/of-{branch}")


@pytest.mark.parametrize("name", ["main", "dev"])
def test_a_branch_whose_file_is_lost(fresh: Fresh, name: str) -> None:
    """It is told, nothing is removed meanwhile, and the branch gets what it alone led to, not what another does."""
    store = Path(fresh().path)
    repository = Repository.open(store)
    repository.create_branch("dev")
    for branch in ("main", "dev") if name == "main" else ("dev", "main"):
        change(store, branch)
    before = Repository.open(store).branches()
    ref = store / "refs" / f"branch.{name}" / "ref.json"
    ref.unlink()
    (problem,) = verify(store).problems
    assert problem.file == f"refs/branch.{name}/ref.json" and problem.what == "it is missing"
    if name == "dev":
        with pytest.raises(StoreError, match=r"the file of the branch 'dev' is lost.*--delete says so"):
            gc(repository, grace=0.0)
    report = verify(store, repair=True)
    assert report.sound and f"branch {name} names" in report.repaired[0] and len(report.repaired) == 1
    assert Repository.open(store).branches() == before
    if name == "dev":
        ref.unlink()
        Repository.open(store).delete_branch("dev")
        assert verify(store).sound and not ref.parent.exists()
        assert gc(Repository.open(store), grace=0.0).files > 0


def test_versions_that_lost_their_names(fresh: Fresh) -> None:
    """With several branches lost, none of what they led to is; a branch that was removed is none that was lost."""
    store = Path(fresh().path)
    for name in ("one", "two", "old"):
        Repository.open(store).create_branch(name, "main")
        change(store, name)
    tips = {Repository.open(store).find(name) for name in ("one", "two")}
    Repository.open(store).delete_branch("old")
    assert verify(store).sound
    gc(Repository.open(store), grace=0.0)
    for name in ("main", "one"):
        (store / "refs" / f"branch.{name}" / "ref.json").unlink()
    (store / "refs" / "branch.two" / "ref.json").write_bytes(b"")
    assert len(verify(store).problems) == 3
    assert verify(store, repair=True).sound
    assert tips <= set(Repository.open(store).branches().values())


def test_a_tag_that_names_nothing(fresh: Fresh, tmp_path: Path) -> None:
    """A copy brings it back; without one its name is free again, and the store can be copied and cleaned."""
    store = Path(fresh().path)
    ref = next((store / "refs").glob("tag.*")) / "ref.json"
    clone(store, tmp_path / "copy.mlip")
    before = ref.read_bytes()
    ref.write_bytes(b"")
    with pytest.raises(DamagedStoreError, match="it names no version"):
        gc(Repository.open(store))
    report = verify(store, repair=True, source=str(tmp_path / "copy.mlip"))
    assert report.sound and ref.read_bytes() == before
    ref.write_bytes(b"")
    report = verify(store, repair=True)
    name = ref.parent.name.partition(".")[2]
    assert report.sound and f"mlipstore tag {store} {name} --ref VERSION" in report.repaired[0]
    assert Repository.open(store).tags() == {}
    Repository.open(store).tag(name)
    gc(Repository.open(store))


def test_gc_frees_what_nobody_needs(fresh: Fresh, tmp_path: Path) -> None:
    """A dry run says how much; old versions go if asked, tags and all content stay; then verify is clean."""
    repository = fresh()
    store = repository.path
    assert isinstance(store, Path)
    (store / "chunks" / "0000000000000000000G").write_bytes(b"x" * 1000)
    (store / "chunks" / ".ABC.1.part").write_bytes(b"x" * 10)
    truth, log = content(store), repository.log()
    young = gc(store)
    assert young.files == 0 and young.young > 1
    planned = gc(store, grace=0.0, dry_run=True)
    assert planned.files >= 2 and planned.bytes >= 1010 and (store / "chunks" / ".ABC.1.part").exists()
    done = gc(store, grace=0.0)
    assert (done.files, done.bytes) == (planned.files, planned.bytes)
    assert gc(store, grace=0.0).files == 0
    assert differences(content(store), truth) == [] and len(Repository.open(store).log()) == len(log)
    folder = tmp_path / "more"
    folder.mkdir()
    with plugins():
        add(repository, folder, configurations(6, 5))
    truth = content(store)
    assert gc(store, expire=0.0).expired == 0  # somebody may be reading what was the newest a moment ago
    planned = gc(store, expire=0.0, grace=0.0, dry_run=True)
    done = gc(store, expire=0.0, grace=0.0)
    assert planned.expired == done.expired > 5 and done.bytes > 0
    assert differences(content(store), truth) == []
    assert Repository.open(store).at("v1").id == log[0].id
    report = verify(store)
    assert report.sound and not report.problems and not report.orphans
    with plugins():
        fit(Repository.open(store), Fit())
    clone(store, tmp_path / "copy.mlip")
    assert verify(tmp_path / "copy.mlip").sound


def test_gc_leaves_a_writer_alone(fresh: Fresh) -> None:
    """What a session has written and not committed stays, however short the grace."""
    repository = fresh()
    store = repository.path
    assert isinstance(store, Path)
    with repository.transaction("slow", {"verb": "test"}) as tx:
        tx.root.create_array("features/slow", data=np.arange(10_000.0), chunks=(1000,))
        for path in (store / "chunks").iterdir():  # however old they look
            os.utime(path, (path.stat().st_mtime - 200,) * 2)
        assert gc(repository, grace=0.0).young > 0
    assert (np.asarray(repository.at().array("features/slow")[:]) == np.arange(10_000.0)).all()
    assert list((store / LEASES).iterdir()) == []


def test_leases_of_the_dead_do_not_count(fresh: Fresh) -> None:
    repository = fresh()
    with at_work(repository.objects):
        (path,) = (Path(str(repository.path)) / LEASES).iterdir()
        said = json.loads(path.read_bytes())
        (path.parent / "other.json").write_text(json.dumps({**said, "pid": 2**22 + 1, "since": 0.0}))
        from mlipstore.leases import oldest

        assert oldest(repository.objects) == pytest.approx(said["since"])
        assert not (path.parent / "other.json").exists()


def test_gc_refuses_what_it_cannot_read(fresh: Fresh) -> None:
    store = fresh().path
    assert isinstance(store, Path)
    for path in (store / "manifests").iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    chunks = sorted((store / "chunks").iterdir())
    with pytest.raises(DamagedStoreError, match="manifests/"):
        gc(store, grace=0.0)
    assert sorted((store / "chunks").iterdir()) == chunks


def test_a_copy_that_is_not_there(fresh: Fresh, tmp_path: Path) -> None:
    """A mistake in the name of the copy changes nothing; without it the branch would go back."""
    store = Path(fresh().path)
    ref = store / "refs" / "branch.main" / "ref.json"
    ref.write_bytes(b"")
    with pytest.raises(StoreNotFoundError, match=r"there is no store at .*none"):
        verify(store, repair=True, source=str(tmp_path / "none.mlip"))
    assert ref.read_bytes() == b""


def test_where_there_is_no_store(tmp_path: Path) -> None:
    """It is not called a damaged one, and nothing is made there."""
    for repair in (False, True):
        with pytest.raises(StoreNotFoundError):
            verify(tmp_path / "none.mlip", repair=repair)
        with pytest.raises(StoreError, match="is not a store"):
            verify(tmp_path, repair=repair)
    assert not list(tmp_path.iterdir())


def test_ages() -> None:
    assert (age("30d"), age("12h"), age("2 w"), age("1")) == (2592000.0, 43200.0, 1209600.0, 86400.0)
    with pytest.raises(SettingsError, match="no age"):
        age("soon")
