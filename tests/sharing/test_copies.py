"""Clone, push and pull: equal copies, only what is missing, nobody's work lost."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.io import write

from mlipstore.curation.edit import remove
from mlipstore.errors import DamagedStoreError, StoreError
from mlipstore.fit import fit
from mlipstore.index import LIVE, Index
from mlipstore.ingest import ingest
from mlipstore.places import Folder, objects_at, place_of
from mlipstore.revert import revert
from mlipstore.runs.runfile import Fit
from mlipstore.sharing import transfer
from mlipstore.sharing.config import CONFIG_FILE
from mlipstore.sharing.remote import clone, pull, push
from mlipstore.show import show
from mlipstore.store import Repository
from mlipstore.verify import verify

from ..robustness.content import content, differences, files
from ..scripts import ROOT, run
from ..small_store import add, configurations, plugins
from .servers import secrets, web_server

Fresh = Callable[..., Repository]


def grow(repository: Repository, folder: Path, seed: int, n: int = 6) -> None:
    """More configurations, with features."""
    folder.mkdir(exist_ok=True)
    with plugins():
        add(repository, folder, configurations(n, seed))


def same(a: str | Path, b: str | Path) -> None:
    """Equal content and equal history."""
    assert differences(content(a), content(b)) == []
    one, other = Repository.open(a), Repository.open(b)
    assert [c.id for c in one.log()] == [c.id for c in other.log()]
    assert one.tags() == other.tags()


def test_clone_over_folders_s3_and_the_web(featurized: Path, bucket: str, tmp_path: Path) -> None:
    there = f"{bucket}/a.mlip"
    assert clone(featurized, there).refs == ["main", "v1"]
    with web_server(featurized.parent) as url:
        for n, source in enumerate((str(featurized), there, f"{url}/{featurized.name}")):
            target = tmp_path / f"{n}.mlip"
            clone(source, target)
            same(featurized, target)
            with pytest.raises(StoreError, match="exists already"):
                clone(source, target)
    with pytest.raises(StoreError, match="holds files already"):
        clone(featurized, there)
    for found in objects_at(place_of(there)).listing(""):
        data = objects_at(place_of(there)).get(found.key)
        assert not any(secret.encode() in data for secret in secrets())
    assert secrets()[1] not in (tmp_path / "1.mlip" / CONFIG_FILE).read_text()


def test_clone_of_a_tag(fresh: Fresh, tmp_path: Path) -> None:
    store = fresh()
    grow(store, tmp_path / "more", 5)
    clone(store.path, tmp_path / "b.mlip", "v1")
    copy = Repository.open(tmp_path / "b.mlip")
    assert copy.at().id == store.find("v1") != store.find("main")
    assert copy.tags() == store.tags() and list(copy.branches()) == ["main"]


def test_a_clone_that_was_cut_off_continues(featurized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At ten random places; what arrived is not fetched again."""
    rng, target = random.Random("clone"), tmp_path / "b.mlip"
    real, left, fetched = Folder.put, [0], []

    def put(self: Folder, key: str, data: bytes) -> None:
        if self.root == target and "/" in key:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, "No space left on device")
            fetched.append(key)
        real(self, key, data)

    monkeypatch.setattr(Folder, "put", put)
    for _ in range(10):
        left[0] = rng.randrange(16)
        with pytest.raises(OSError):
            clone(featurized, target)
        assert not Repository.exists(target)
    with pytest.raises(StoreError, match="unfinished copy of"):
        clone(_other(tmp_path), target)
    left[0] = 10_000
    clone(featurized, target)
    same(featurized, target)
    assert len(fetched) == len(set(fetched))


def _other(folder: Path) -> Path:
    path = Repository.create(folder / "other.mlip").path
    assert isinstance(path, Path)
    return path


def test_push_and_pull_move_what_is_missing(fresh: Fresh, bucket: str, tmp_path: Path) -> None:
    """Over S3: two copies follow each other."""
    a, there = fresh(), f"{bucket}/shared.mlip"
    all_of_it = push(a.path, there)
    assert all_of_it.refs == ["main", "v1"]
    assert push(a.path).refs == []
    clone(there, tmp_path / "b.mlip")
    b = Repository.open(tmp_path / "b.mlip")
    assert pull(b.path).refs == []
    grow(a, tmp_path / "more", 5)
    a.tag("v2")
    some = push(a.path)
    assert some.refs == ["main", "v2"] and some.objects < all_of_it.objects / 2 and some.bytes < all_of_it.bytes
    with pytest.raises(StoreError, match=r"is ahead of .* by \d versions.*mlipstore pull"):
        push(b.path)
    got = pull(b.path)
    assert got.bytes == some.bytes and got.refs == ["main", "v2"]
    same(a.path, b.path)
    same(a.path, there)


def test_two_people_who_both_added_data(fresh: Fresh, tmp_path: Path) -> None:
    """Both end with both, models and annotations included; what both stored counts once."""
    shared = fresh("what we share.mlip")
    for name in ("a", "b"):
        clone(shared.path, tmp_path / f"{name}.mlip")
    a, b = Repository.open(tmp_path / "a.mlip"), Repository.open(tmp_path / "b.mlip")
    with plugins():
        for store, seed in ((a, 5), (b, 6)):
            grow(store, tmp_path / f"of-{seed}", seed)
            fit(store, Fit(name="mine"))
            folder = tmp_path / f"both-{seed}"
            folder.mkdir()
            add(store, folder, configurations(4 + seed, 7))  # the first of these are the same for both
    push(a.path)
    with pytest.raises(StoreError, match=r"\d versions that .* lacks.*--rebase") as told:
        push(b.path)
    words = shlex.split("mlipstore" + str(told.value).rpartition("mlipstore")[2])  # to be pasted as it is
    assert words[:5] == ["mlipstore", "pull", str(b.path), str(shared.path), "--rebase"]
    with pytest.raises(StoreError, match=r"lacks, which has \d of its own"):
        pull(b.path)
    before = b.find()
    merged = pull(b.path, rebase=True)
    assert merged.rebased > 0 and b.find() == merged.snapshot
    assert b.find(f"before-rebase-{before[:8]}") == before
    assert push(b.path).refs[0] == "main"
    pull(a.path)
    same(a.path, b.path)
    index = Index.load(a.at())
    assert int((index.state == LIVE).sum()) == 70 + 6 + 6 + 10
    models = {m["alias"] for m in show(a)["models"]}
    assert models == {"mine", "mine-2"}
    assert [f["configurations_missing"] for f in show(a)["features"]] == [0]
    assert len(a.branches()) == 1
    with plugins():
        fit(a, Fit(name="both"))


def test_a_line_that_took_an_ingest_back(fresh: Fresh, tmp_path: Path) -> None:
    """One of its own, and one that both have, of which the others have made rows or removed a configuration."""
    shared = fresh("shared.mlip")
    for seed, name in enumerate(("both", "one", "two"), 11):
        write(tmp_path / f"{name}.xyz", configurations(4, seed, (name,)))
    both = ingest(shared, [tmp_path / "both.xyz"]).snapshot
    clone(shared.path, tmp_path / "mine.mlip")
    mine = Repository.open(tmp_path / "mine.mlip")
    grow(shared, tmp_path / "more", 5)  # with rows of what both have
    own = ingest(mine, [tmp_path / "one.xyz"]).snapshot
    ingest(mine, [tmp_path / "two.xyz"])
    revert(mine, own)
    revert(mine, both)
    pull(mine.path, rebase=True)
    groups = Index.load(shared.at()).live_groups()
    assert groups.pop("both") == 4 and Index.load(mine.at()).live_groups() == {**groups, "two": 4}
    assert [f["configurations_missing"] for f in show(mine)["features"]] == [4]
    assert verify(mine.path).sound
    clone(shared.path, tmp_path / "other.mlip")
    other = Repository.open(tmp_path / "other.mlip")
    revert(other, both)
    remove(shared, 'group == "both" and frame == 0')
    with pytest.raises(StoreError, match="both lines changed configurations of segment"):
        pull(other.path, rebase=True)
    assert "both" not in Index.load(other.at()).live_groups()


def test_a_damaged_source_is_not_copied(fresh: Fresh, tmp_path: Path) -> None:
    """Whatever is hurt: the copy fails, names the file where the store opens at all, and is no store."""
    rng = random.Random("damaged source")
    store = fresh().path
    assert isinstance(store, Path)
    copier = transfer.Copier(objects_at(store), Folder(tmp_path / "all"), (), "")
    copier.copy([Repository.open(store).find()])  # what a version needs: a session leaves other files behind
    empty = "1CECHNKREP0F1RSTCMT0"  # Icechunk's own first version: it holds nothing, and has no seal
    for kind, times in (("chunks", 3), ("manifests", 3), ("snapshots", 12)):  # a bit may turn one name into another
        names = sorted({p.name for p in (tmp_path / "all" / kind).iterdir()} - {empty})
        for _ in range(times):
            path = store / kind / rng.choice(names)
            data = path.read_bytes()
            harmed = bytearray(data)
            harmed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(harmed)
            with pytest.raises(
                DamagedStoreError, match=f"{path.name}|opening the store: a file of the store is damaged"
            ):
                clone(store, tmp_path / path.name)
            assert not Repository.exists(tmp_path / path.name)
            path.write_bytes(data)
    clone(store, tmp_path / "b.mlip")
    same(store, tmp_path / "b.mlip")


def test_a_hostile_source(fresh: Fresh, tmp_path: Path) -> None:
    """Names that lead out of the folder are not followed."""
    store = fresh().path
    assert isinstance(store, Path)
    (store / "refs.json").write_text(json.dumps({"refs": ["branch.main", "../../evil", "tag.../x", "tag.v1", 7]}))
    with web_server(store.parent) as url:
        clone(f"{url}/{store.name}", tmp_path / "b.mlip")
    names = sorted(p.name for p in (tmp_path / "b.mlip").rglob("*") if p.is_dir())
    assert not (tmp_path / "evil").exists()
    assert [n for n in names if n.startswith(("tag", "branch"))] == ["branch.main", "tag.v1"]
    (store / "refs" / "branch.main" / "ref.json").write_text('{"snapshot":"../../../../etc/passwd"}')
    with pytest.raises(StoreError):
        clone(store, tmp_path / "c.mlip")


def test_a_push_never_overwrites_a_commit_that_comes_between(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = fresh()
    push(a.path, str(tmp_path / "shared.mlip"))
    shared = Repository.open(tmp_path / "shared.mlip")
    grow(a, tmp_path / "more", 5)
    real = transfer.Copier.copy

    def overtaken(self: transfer.Copier, tips: object) -> object:
        result = real(self, tips)  # type: ignore[arg-type]
        shared.tag("now")
        grow(shared, tmp_path / "meanwhile", 8)
        return result

    monkeypatch.setattr(transfer.Copier, "copy", overtaken)
    with pytest.raises(StoreError, match="somebody else has moved"):
        push(a.path)
    monkeypatch.undo()
    before = files(tmp_path / "shared.mlip" / "refs")
    with pytest.raises(StoreError, match="--rebase"):
        push(a.path)
    assert files(tmp_path / "shared.mlip" / "refs") == before


def test_the_example_on_s3(bucket: str, tmp_path: Path) -> None:
    """The example of sharing with a bucket between the two; it runs with a folder among the examples."""
    printed = run(ROOT / "examples/07_sharing.py", tmp_path, f"{bucket}/w.mlip")
    assert printed.count("30 configurations") == 4 and "damaged" not in printed
