"""Many arrays at once: the same values as through Zarr, and the same errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.core.sync import sync

from mlipstore import bulk_read, chunk_files, creating, layout
from mlipstore.bulk import RowChunks
from mlipstore.bulk_read import Chunks, read_rows
from mlipstore.configuration import Batch
from mlipstore.errors import DamagedStoreError
from mlipstore.index import Index, read_batch
from mlipstore.layout import ATOMS, CONFIGURATIONS, FEATURES
from mlipstore.snapshot import Snapshot
from mlipstore.store import Repository, create_array

from ..contracts.test_writers import sample, store_of


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A store whose arrays have several chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "CHUNK_BYTES", 256)
        return store_of(tmp_path_factory.mktemp("rows") / "a.mlip", sample()).at()


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (0, 0), (3, 4), (5, 17), (11, None), (29, 30), (30, 30), (7, 99)]
)
def test_values_are_those_of_zarr(
    snapshot: Snapshot, start: int, stop: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = Index.load(snapshot).segments[0].name
    for group, specs in ((f"configurations/{name}", CONFIGURATIONS), (f"atoms/{name}", ATOMS)):
        there = set(snapshot.names(group))
        expected = {k: snapshot.read(f"{group}/{k}", start, stop) for k in specs if k in there}
        with monkeypatch.context() as patch:
            patch.setattr(Snapshot, "read", lambda *_: pytest.fail("left to Zarr"))
            found = read_rows(snapshot, group, list(specs), start, stop)
        assert {k for k, v in found.items() if v is not None} == there
        for key, value in expected.items():
            mine = found[key]
            assert mine is not None and mine.flags.writeable
            assert mine.shape == value.shape
            if value.dtype.kind in "fiub":
                np.testing.assert_array_equal(mine, value)
            else:
                assert mine.tolist() == value.tolist()


def test_configurations_are_those_that_were_stored(snapshot: Snapshot) -> None:
    every = sample()
    for s in Index.load(snapshot).segments:
        whole = read_batch(snapshot, s.name)
        assert np.array_equal(whole.uid, Batch.from_configurations(list(whole)).uid)
        for i in (0, 7, len(whole) - 1):
            one = read_batch(snapshot, s.name, i, i + 1)
            assert one[0].uid() == whole[i].uid() == whole.uid[i].tobytes()
    assert len(every) == len(Index.load(snapshot))


@pytest.mark.parametrize("kind", ["bit", "short", "gone", "codec", "list", "cut"])
def test_what_is_not_ours_or_damaged_is_left_to_zarr(
    snapshot: Snapshot, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = f"configurations/{Index.load(snapshot).segments[0].name}"
    asked: list[str] = []
    real, get = Snapshot.read, bulk_read._get
    change: dict[str, Callable[[bytes], bytes | None]] = {
        "bit": lambda raw: bytes([raw[0] ^ 1]) + raw[1:], "short": lambda raw: raw[:3], "gone": lambda raw: None,
        "codec": lambda raw: raw.replace(b"crc32c", b"crc32d"), "list": lambda raw: b"[1]", "cut": lambda raw: raw[:9],
    }  # fmt: skip

    async def damaged(store: Any, keys: list[str]) -> list[Any]:
        """What is stored, the energies in another form: their document where there is one in this call, else chunks."""
        chunks = kind in ("bit", "short", "gone")
        found = await get(store, keys)
        return [
            change[kind](v) if isinstance(v, bytes) and "/energy/" in k and k.endswith("zarr.json") != chunks else v
            for k, v in zip(keys, found, strict=True)
        ]

    monkeypatch.setattr(bulk_read, "_get", damaged)
    monkeypatch.setattr(Snapshot, "read", lambda self, path, *rows: asked.append(path) or real(self, path, *rows))
    found = read_rows(snapshot, group, ["energy", "uid"])
    assert asked == [f"{group}/energy"]
    np.testing.assert_array_equal(found["energy"], real(snapshot, f"{group}/energy"))


def test_a_lost_chunk_is_told(tmp_path: Path) -> None:
    repository = store_of(tmp_path / "a.mlip", sample()[:20])
    name = Index.load(repository.at()).segments[0].name
    with repository.transaction("lose", {"verb": "test"}) as tx:
        sync(tx.session.store.delete(f"atoms/{name}/force/c/0/0"))
    with pytest.raises(DamagedStoreError, match=f"atoms/{name}/force has lost data"):
        read_batch(Repository.open(tmp_path / "a.mlip").at(), name)


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Repository, np.ndarray]:
    """A store with rows of eleven chunks, the last one not full, at ``rows/A_F``."""
    monkeypatch.setattr(layout, "CHUNK_BYTES", 6000)
    monkeypatch.setattr(bulk_read, "_FILES_FROM", 1000)
    values = np.random.default_rng(0).standard_normal((1000, 8))
    repository = store_of(tmp_path / "a.mlip", sample()[:4])
    with repository.transaction("rows", {"verb": "test"}) as tx:
        writer = RowChunks(create_array(tx.group("rows"), FEATURES["A_F"], values.shape, 3))
        writer.add(values)
        writer.close()
    return repository, values


def test_chunks_are_read_from_their_files(rows: tuple[Repository, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    repository, values = rows
    array = Chunks(repository.at(), "rows/A_F")
    monkeypatch.setattr(bulk_read, "_views", lambda *_: pytest.fail("asked Icechunk"))
    monkeypatch.setattr(Snapshot, "read", lambda *_: pytest.fail("left to Zarr"))
    for start, stop in [(0, 1000), (0, 5), (2 * array.rows, 5 * array.rows), (10 * array.rows, 1000), (930, 930)]:
        start = start // array.rows * array.rows
        found = array.read(start, stop)
        np.testing.assert_array_equal(np.concatenate([values[:0], *found]), values[start:stop])
        assert all(not part.flags.writeable for part in found)


@pytest.mark.parametrize("damage", ["bit", "short", "gone"])
def test_a_damaged_file_is_told(rows: tuple[Repository, np.ndarray], damage: str) -> None:
    repository, _ = rows
    (chunk,) = [c for c in chunk_files.chunks_of(repository.at(), chunk_files.nodes_of(repository.at())["rows/A_F"])
                if c.index == (4, 0)]  # fmt: skip
    file = Path(str(repository.path)) / "chunks" / str(chunk.id)
    data = file.read_bytes()
    file.unlink() if damage == "gone" else file.write_bytes(
        data[:-9] if damage == "short" else bytes([data[0] ^ 1]) + data[1:]
    )
    array = Chunks(Repository.open(repository.path).at(), "rows/A_F")
    assert len(array.read(0, 3 * array.rows)) == 3
    with pytest.raises(DamagedStoreError, match="rows/A_F"):
        array.read(3 * array.rows, 6 * array.rows)


@pytest.mark.parametrize("kind", ["format", "large"])
def test_files_of_another_kind_are_left_to_icechunk(
    rows: tuple[Repository, np.ndarray], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, values = rows
    if kind == "format":

        def unknown(key: str, *_: object) -> None:
            raise DamagedStoreError(f"{key} has another format")

        monkeypatch.setattr(chunk_files, "parse_snapshot", unknown)
    else:
        monkeypatch.setattr(chunk_files, "_LARGEST", 10)
    snapshot = repository.at()
    assert chunk_files.ChunkFiles.of(snapshot, "rows/A_F") is None
    np.testing.assert_array_equal(np.concatenate(Chunks(snapshot, "rows/A_F").read(0, 1000)), values)


@pytest.fixture
def pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A store whose index has chunks of two rows, of which Icechunk keeps the small ones in the list of chunks."""
    monkeypatch.setattr(creating, "_INDEX_CHUNK_ROWS", 2)
    monkeypatch.setattr(chunk_files, "_AT_ONCE", 5)
    return store_of(tmp_path / "a.mlip", sample())


def test_many_small_chunks_are_read_from_their_files(pieces: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, names = pieces.at(), ["uid", "facts", "state"]
    by_zarr = {name: snapshot.read(f"index/{name}") for name in names}
    asked, get = [], bulk_read._get
    monkeypatch.setattr(bulk_read, "_get", lambda store, keys: (asked.extend(keys), get(store, keys))[1])
    for start, stop in ((0, None), (1, 27)):
        found = read_rows(snapshot, "index", names, start, stop)
        for name in names:
            np.testing.assert_array_equal(found[name], by_zarr[name][start:stop])
    assert not [key for key in asked if "/c/" in key]
    assert chunk_files.ChunkFiles.several(snapshot, ["index/nothing", "inde", "zzz"]) == {}


def test_a_damaged_file_of_the_index_is_told(pieces: Repository) -> None:
    snapshot = pieces.at()
    node = chunk_files.nodes_of(snapshot)["index/facts"]
    chunk = next(c for c in chunk_files.chunks_of(snapshot, node) if c.index == (4, 0))
    assert isinstance(pieces.path, Path)
    target = (pieces.path / "chunks" / str(chunk.id)) if chunk.id else (pieces.path / "manifests" / node.manifests[0])
    data = bytearray(target.read_bytes())
    data[-9] ^= 1
    target.write_bytes(data)
    with pytest.raises(DamagedStoreError, match=r"index/facts|manifests"):
        read_rows(Repository.open(pieces.path).at(), "index", ["facts"])
