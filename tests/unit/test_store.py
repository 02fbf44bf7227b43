"""The store: versions are atomic, locked, checked; what is damaged or lost is an error."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec
from zarr.core.sync import sync

from mlipstore import history
from mlipstore.errors import DamagedStoreError, StoreError, StoreNotFoundError
from mlipstore.layout import CONFIGURATIONS, FEATURES, ArraySpec
from mlipstore.store import (
    LOCK_FILE,
    Repository,
    StoreConflictError,
    Transaction,
    append_rows,
    create_array,
    sealed,
    write_array,
)
from mlipstore.store_errors import translate

NUMBERS = ArraySpec("numbers", ("configuration", "feature"), "f8", "eV", "some numbers")
COUNTS = ArraySpec("counts", ("configuration",), "i8", "1", "some whole numbers")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "s.mlip")


def put(repository: Repository, name: str, data: Any, spec: ArraySpec = NUMBERS, **more: Any) -> str:
    """One version with one array in a group of its own."""
    with repository.transaction(f"put {name}", {"verb": "test"}, **more) as tx:
        write_array(tx.group(f"features/{name}"), spec, np.asarray(data))
    return tx.snapshot_id


# ------------------------------------------------------------------------ making
def test_a_new_store_is_empty_and_says_what_it_is(repository: Repository) -> None:
    snapshot = repository.at()
    assert {"atoms", "baselines", "configurations", "features", "index", "models"} <= set(snapshot.names(""))
    assert snapshot.root.attrs["mlipstore_format"] == 1
    assert repository.log() == [] and len(repository.log(include_all=True)) == 2
    assert snapshot.read("index/uid").shape == (0, 32)


def test_creating_twice_and_over_something_else(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a store already"):
        Repository.create(repository.path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"is not a store\. Choose another name"):
        Repository.create(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    assert Repository.create(tmp_path / "empty").log() == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("run.toml", r"is not a store but a TOML file\. For a run file: mlipstore run .*run\.toml"),
        ("frames.xyz", r"is not a store but a file\. Give the folder that ingest made"),
        ("folder/inside", r"folder is not a store \(it has no refs/branch\.main\)"),
    ],
    ids=["run-file", "file", "folder"],
)
def test_what_is_not_a_store_is_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(StoreError, match=said):
        Repository.open(tmp_path / name.partition("/")[0])


def test_leftovers_of_a_killed_making_are_removed(tmp_path: Path) -> None:
    """Of processes that run no more, of this store only."""
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()
    mine, alive, other = (
        tmp_path / f".{name}.making-{pid}"
        for name, pid in (("a[1].mlip", process.pid), ("a[1].mlip", os.getppid()), ("b.mlip", process.pid))
    )
    for folder in (mine, alive, other):
        folder.mkdir()
    Repository.create(tmp_path / "a[1].mlip")
    assert not mine.exists() and alive.exists() and other.exists()


def test_opening_what_is_not_there_names_the_nearest(repository: Repository) -> None:
    with pytest.raises(StoreNotFoundError, match=r"Did you mean 's.mlip'\? mlipstore ingest"):
        Repository.open(repository.path.with_name("s.milp"))


def test_a_store_that_nothing_got_into_can_be_removed(repository: Repository, tmp_path: Path) -> None:
    put(repository, "a", [[1.0]])
    repository.remove_if_empty()
    assert repository.path.exists()
    empty = Repository.create(tmp_path / "empty.mlip")
    empty.remove_if_empty()
    assert not empty.path.exists()


# ------------------------------------------------------------------ transactions
def test_an_exception_discards_the_version(repository: Repository) -> None:
    put(repository, "a", [[1.0]])
    before = repository.at().id
    with pytest.raises(ZeroDivisionError), repository.transaction("bad", {"verb": "test"}) as tx:
        write_array(tx.group("features/b"), NUMBERS, np.ones((2, 2)))
        raise ZeroDivisionError
    assert repository.at().id == before
    assert repository.at().names("features") == ["a"]


def test_an_error_of_the_disk_is_told_and_discards_the_version(repository: Repository) -> None:
    before = repository.at().id
    with (
        pytest.raises(StoreError, match=r"no space left on the device\. Free space") as caught,
        repository.transaction("ingest 5 configurations", {"verb": "test"}) as tx,
    ):
        tx.group("features/b")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(repository.path) in str(caught.value) and "ingest 5 configurations" in str(caught.value)
    assert repository.at().id == before


def test_an_error_in_what_runs_at_commit_discards_the_version(repository: Repository) -> None:
    before = repository.at().id

    def fails(root: zarr.Group) -> None:
        root["features"].attrs["half"] = True
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), repository.transaction("bad", {"verb": "test"}) as tx:
        tx.group("features/b")
        tx.at_commit(fails)
    assert repository.at().id == before


def test_nothing_changed_is_no_version(repository: Repository) -> None:
    before = repository.at().id
    with repository.transaction("nothing", {"verb": "test"}) as tx:
        pass
    assert tx.snapshot_id == "" and repository.at().id == before


def test_a_transaction_that_began_earlier_lands_on_top(repository: Repository) -> None:
    """Different groups do not conflict; what runs at commit sees what others have committed meanwhile."""
    seen = []
    with repository.transaction("late", {"verb": "test"}) as tx:
        write_array(tx.group("features/late"), NUMBERS, np.ones((2, 2)))
        put(repository, "early", [[1.0]])
        tx.at_commit(lambda root: seen.extend(sorted(root["features"].group_keys())))
    assert seen == ["early", "late"]
    assert repository.at().names("features") == ["early", "late"]
    assert [c.message for c in repository.log()] == ["late", "put early"]


def test_two_that_make_the_same_group_conflict(repository: Repository) -> None:
    with (
        pytest.raises(StoreConflictError, match="another process stored the same thing first"),
        repository.transaction("second", {"verb": "test"}) as tx,
    ):
        tx.group("features/same")
        put(repository, "same", [[1.0]])
    assert repository.at().read("features/same/numbers").tolist() == [[1.0]]


def _holds_the_lock(path: Path) -> bool:
    """Whether somebody has the lock of the store."""
    with open(path / LOCK_FILE, "a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_lock_is_held_at_commit(repository: Repository, exclusive: bool) -> None:
    """And from the start when exclusive; never afterwards, also after an error."""
    held = []
    with repository.transaction("locked", {"verb": "test"}, exclusive=exclusive) as tx:
        tx.group("features/a")
        held.append(_holds_the_lock(repository.path))
        tx.at_commit(lambda root: held.append(_holds_the_lock(repository.path)))
    assert held == [exclusive, True] and not _holds_the_lock(repository.path)
    with pytest.raises(ZeroDivisionError), repository.transaction("bad", {"verb": "test"}, exclusive=exclusive):
        raise ZeroDivisionError
    assert not _holds_the_lock(repository.path)


def _count(path: str, n: int) -> None:
    repository = Repository.open(path)
    for _ in range(n):
        with repository.transaction("count", {"verb": "test"}, exclusive=True) as tx:
            tx.root.attrs["count"] = int(tx.root.attrs.get("count", 0)) + 1  # type: ignore[call-overload]


def test_no_commit_is_lost_between_processes(repository: Repository) -> None:
    """Without the lock about a tenth to a third of such increments vanish silently."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(str(repository.path), 12)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert repository.at().root.attrs["count"] == 36
    assert len(repository.log()) == 36


def test_a_writer_waits_for_the_lock(repository: Repository) -> None:
    done = []

    def write() -> None:
        put(repository, "late", [[1.0]])
        done.append(time.monotonic())

    with repository.transaction("first", {"verb": "test"}, exclusive=True) as tx:
        tx.group("features/first")
        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(0.3)
        assert not done
    thread.join(20)
    assert done and repository.at().names("features") == ["first", "late"]


# --------------------------------------------------------------------- versions
def test_versions_by_branch_tag_and_id(repository: Repository) -> None:
    first = put(repository, "a", [[1.0]])
    put(repository, "b", [[2.0]])
    repository._repository.create_tag("v1", first)
    assert repository.at().names("features") == ["a", "b"]
    assert repository.at("v1").names("features") == ["a"]
    assert repository.at(first).id == repository.at(first[:8].lower()).id == first
    assert [c.message for c in repository.log("v1")] == ["put a"]
    for ref in ("v2", "", "ZZZZZZ"):
        with pytest.raises(StoreError, match="Known: main, v1"):
            repository.at(ref)


def test_an_ambiguous_version_is_refused(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    put(repository, "a", [[1.0]])
    commit = repository.log()[0]
    twice = [commit, type(commit)(commit.id[:5] + "X", "", {}, commit.time)]
    monkeypatch.setattr(history, "walk", lambda *_: iter(twice))
    with pytest.raises(StoreError, match="is ambiguous"):
        repository.at(commit.id[:5])


def test_what_is_not_there(repository: Repository) -> None:
    snapshot = repository.at()
    assert not snapshot.exists("features/a")
    with pytest.raises(StoreError, match="nothing at 'features/a'"):
        snapshot.attributes("features/a")


# ----------------------------------------------------------------------- arrays
def test_every_array_has_a_checksum_names_and_units(repository: Repository) -> None:
    put(repository, "a", np.ones((3, 2)))
    array = repository.at().array("features/a/numbers")
    assert array.compressors == (Crc32cCodec(),)
    assert array.metadata.dimension_names == ("configuration", "feature")
    assert array.attrs["units"] == "eV" and np.isnan(array.fill_value)


def test_a_flipped_bit_is_an_error(repository: Repository) -> None:
    put(repository, "a", np.arange(200.0).reshape(100, 2))
    (chunk,) = (repository.path / "chunks").iterdir()
    data = bytearray(chunk.read_bytes())
    data[500] ^= 4
    chunk.write_bytes(data)
    with pytest.raises(DamagedStoreError, match=r"reading features/a/numbers: .* checksum"):
        repository.at().read("features/a/numbers")


@pytest.mark.parametrize("left", [None, 0, 100])
def test_a_chunk_file_that_is_gone_or_cut_is_an_error(repository: Repository, left: int | None) -> None:
    put(repository, "a", np.arange(200.0).reshape(100, 2))
    (chunk,) = (repository.path / "chunks").iterdir()
    chunk.unlink() if left is None else chunk.write_bytes(chunk.read_bytes()[:left])
    with pytest.raises(DamagedStoreError, match="features/a/numbers"):
        repository.at().read("features/a/numbers")


@pytest.mark.parametrize("lost", [0, 1, 3])
@pytest.mark.parametrize("kind", ["numbers", "zeros", "text"])
def test_a_chunk_that_is_not_listed_is_an_error(repository: Repository, kind: str, lost: int) -> None:
    """It would be read as NaN, 0 or "": also where the neighbours really are that."""
    spec = {
        "numbers": NUMBERS,
        "zeros": COUNTS,
        "text": CONFIGURATIONS["group"],
    }[kind]
    data: Any = {
        "numbers": np.full((10, 2), np.nan),
        "zeros": np.zeros(10, np.int64),
        "text": np.array([""] * 10, object),
    }[kind]
    with repository.transaction("write", {"verb": "test"}) as tx:
        array = create_array(tx.group("features/a"), spec, data.shape, chunk_rows=3)
        array[...] = data
    read = repository.at().read
    assert len(read(f"features/a/{spec.name}")) == 10
    assert len(read(f"features/a/{spec.name}", 4, 8)) == 4
    with repository.transaction("harm", {"verb": "test"}) as tx:
        sync(tx.session.store.delete(f"features/a/{spec.name}/c/{lost}" + "/0" * (data.ndim - 1)))
    read = repository.at().read
    with pytest.raises(DamagedStoreError, match=f"features/a/{spec.name} has lost data"):
        read(f"features/a/{spec.name}")
    with pytest.raises(DamagedStoreError, match="has lost data"):
        read(f"features/a/{spec.name}", 3 * lost, 3 * lost + 1)
    kept = 3 * ((lost + 1) % 3)
    assert len(read(f"features/a/{spec.name}", kept, kept + 3)) == 3


def test_growing_arrays_keep_zeros(repository: Repository) -> None:
    """Zeros are data: a chunk of them is there."""
    with repository.transaction("write", {"verb": "test"}) as tx:
        create_array(tx.group("features/a"), COUNTS, (0,), chunk_rows=4)
        for n in (3, 0, 6):
            append_rows(tx.root["features/a"], "counts", np.zeros(n, np.int64))  # type: ignore[arg-type]
    assert repository.at().read("features/a/counts").tolist() == [0] * 9


def test_empty_arrays(repository: Repository) -> None:
    put(repository, "a", np.zeros((0, 4)))
    assert repository.at().read("features/a/numbers").shape == (0, 4)


def test_chunks_hold_whole_atoms_and_tensors(repository: Repository) -> None:
    with repository.transaction("write", {"verb": "test"}) as tx:
        group = tx.group("features/a")
        shapes = {
            name: create_array(group, FEATURES[name], (60_000, 200), multiple).chunks
            for name, multiple in (("A_F", 3), ("A_S", 6))
        }
    assert all(columns == 200 for _, columns in shapes.values())
    assert shapes["A_F"][0] % 3 == 0 and shapes["A_S"][0] % 6 == 0
    assert all(3_000_000 < 8 * rows * 200 <= 4 << 20 for rows, _ in shapes.values())


def test_attributes_that_were_changed_are_an_error(repository: Repository) -> None:
    with repository.transaction("write", {"verb": "test"}) as tx:
        tx.group("features/a", {"alias": "rows", "settings": {"rcutfac": 4.67637, "elements": ("Ta",)}})
    expected = {"alias": "rows", "settings": {"rcutfac": 4.67637, "elements": ["Ta"]}}
    assert repository.at().attributes("features/a") == expected
    with repository.transaction("harm", {"verb": "test"}) as tx:
        tx.root["features/a"].attrs["alias"] = "rovs"
    with pytest.raises(DamagedStoreError, match="attributes of features/a are damaged"):
        repository.at().attributes("features/a")


def test_sealing_twice_changes_nothing() -> None:
    assert sealed(sealed({"a": 1.5, "b": [1, None]})) == sealed({"b": [1, None], "a": 1.5})


def test_reading_and_writing_with_xarray(repository: Repository) -> None:
    put(repository, "a", np.arange(6.0).reshape(3, 2))
    data = repository.at().to_xarray("features/a")
    assert data.numbers.dims == ("configuration", "feature") and data.numbers.attrs["units"] == "eV"
    assert data.numbers.values.tolist() == [[0, 1], [2, 3], [4, 5]]


# ----------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("IO error: No space left on device (os error 28)", "no space left on the device. Free space"),
        ("disk quota exceeded (os error 122)", "no space left on the device"),
        ("File too large (os error 27)", "no space left on the device"),
        ("Read-only file system (os error 30)", "read-only. Copy the store"),
        ("Permission denied (os error 13)", "permission denied. Choose a folder"),
        ("[Errno 37] No locks available", "cannot lock files"),
        ("Too many open files (os error 24)", "ulimit -n"),
    ],
)
def test_what_the_layer_below_says(said: str, words: str) -> None:
    error = translate(OSError(said), "s.mlip", "storing (x)")
    assert type(error) is StoreError and words in str(error) and str(error).startswith("s.mlip: storing (x) failed")


def test_long_stories_of_the_layer_below_are_cut_short() -> None:
    lines = [
        "  x cannot serialize ref json",
        "  | ",
        "  | context:",
        "  |   0: icechunk::refs",
        "  `-> EOF at column 32",
    ]
    said = "\n".join(lines)
    error = translate(icechunk.IcechunkError(said), "s.mlip", "opening the store", reading=True)
    assert isinstance(error, DamagedStoreError)
    assert "(cannot serialize ref json: EOF at column 32)" in str(error) and "\n" not in str(error)


def test_an_error_that_is_clear_already_stays() -> None:
    error = StoreError("clear")
    assert translate(error, "s.mlip", "storing") is error


def test_a_transaction_gives_the_group_that_is_there(repository: Repository) -> None:
    with repository.transaction("twice", {"verb": "test"}) as tx:
        assert isinstance(tx, Transaction)
        write_array(tx.group("features/a", {"x": 1}), NUMBERS, np.ones((2, 2)))
        assert "numbers" in tx.group("features/a")
    assert repository.at().attributes("features/a") == {"x": 1}


def test_processes_that_have_just_read_end_cleanly(tmp_path: Path) -> None:
    """A thread of Icechunk that is still handing over a result when Python ends aborted some of them."""
    path = Repository.create(tmp_path / "s.mlip").path
    code = f"from mlipstore.store import Repository; Repository.open({str(path)!r}).at().read('index/uid')"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(6)]
    assert [process.wait() for process in running] == [0] * 6
