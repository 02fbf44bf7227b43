"""Arrays that are written together are, byte for byte, those that Zarr writes one by one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

import mlipstore.layout
from mlipstore.bulk import RowChunks, write_group
from mlipstore.layout import ATOMS, CONFIGURATIONS, FEATURES, FIXED_AXES, ArraySpec
from mlipstore.store import create_array, sealed, write_array

ALL = [*CONFIGURATIONS.values(), *ATOMS.values()]


def some(spec: ArraySpec, n: int) -> Any:
    rng = np.random.default_rng(n)
    shape = (n, *(FIXED_AXES[d] for d in spec.dims[1:]))
    if spec.dtype == "str":
        return np.array([["", "Å/é.json", "surface"][i % 3] for i in range(n)], object).reshape(shape)
    if spec.dtype == "f8":
        return np.where(rng.random(shape) < 0.2, np.nan, rng.normal(size=shape))
    return rng.integers(0, 2, shape).astype(spec.dtype)


def contents(store: MemoryStore) -> dict[str, bytes]:
    async def all_of() -> dict[str, bytes]:
        return {k: (await store.get(k, default_buffer_prototype())).to_bytes() async for k in store.list()}  # type: ignore[union-attr]

    return sync(all_of())


def both(arrays: list[tuple[ArraySpec, Any]]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    attributes = {"n_atoms": 3, "text": "Å"}
    one, other = MemoryStore(), MemoryStore()
    root = zarr.create_group(one)
    root.create_group("atoms")
    write_group(root, "atoms/a", attributes, arrays)
    root = zarr.create_group(other)
    group = root.create_group("atoms").create_group("a")
    group.attrs.update(sealed(attributes))
    for spec, data in arrays:
        write_array(group, spec, data)
    return contents(one), contents(other)


def same(a: dict[str, bytes], b: dict[str, bytes]) -> bool:
    def plain(key: str, value: bytes) -> Any:
        return json.loads(value) if key.endswith("zarr.json") else value

    return {k: plain(k, v) for k, v in a.items()} == {k: plain(k, v) for k, v in b.items()}


@pytest.mark.parametrize("n", [0, 1, 7])
def test_same_bytes_as_zarr(n: int) -> None:
    written, expected = both([(spec, some(spec, n)) for spec in {s.name: s for s in ALL}.values()])
    assert len(expected) > 10 and same(written, expected)


def test_several_chunks_the_last_one_not_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlipstore.layout, "CHUNK_BYTES", 256)
    written, expected = both([(spec, some(spec, 50)) for spec in {s.name: s for s in ALL}.values()])
    assert sum("/c/" in key for key in expected) > 40 and same(written, expected)


def test_a_codec_of_another_zarr_is_left_to_zarr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlipstore.bulk._TEXT", ["something", "new"])
    spec = CONFIGURATIONS["group"]
    written, expected = both([(spec, some(spec, 7))])
    assert same(written, expected)


def test_an_error_comes_through(tmp_path: Any) -> None:
    class Full(MemoryStore):
        async def set(self, key: str, value: Any, byte_interval: Any = None) -> None:
            if key.endswith("c/0/0"):
                raise OSError("no space left")
            await super().set(key, value, byte_interval)

    root = zarr.create_group(Full())
    root.create_group("atoms")
    with pytest.raises(OSError, match="no space"):
        write_group(root, "atoms/a", {}, [(ATOMS["force"], np.zeros((3, 3)))])


@pytest.mark.parametrize("zarr_writes", [False, True], ids=["here", "zarr"])
@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("pieces", [[50], [1, 7, 0, 30, 12], [8, 8, 8, 8, 8, 10], [24, 26]], ids=["one", "a", "b", "c"])
def test_rows_in_pieces_are_the_chunks_that_zarr_writes(
    pieces: list[int], dtype: str, zarr_writes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlipstore.layout, "CHUNK_BYTES", 320)  # 8 rows of 5 columns, or 7 in threes: 6
    if zarr_writes:
        monkeypatch.setattr("mlipstore.bulk._NUMBERS", ["something", "new"])
    data = np.random.default_rng(1).normal(size=(sum(pieces), 5))
    written, expected = MemoryStore(), MemoryStore()
    for name, multiple in (("A_E", 1), ("A_F", 3)):
        chunks = RowChunks(create_array(zarr.open_group(written), FEATURES[name], data.shape, multiple, dtype))
        for part in np.split(data, np.cumsum(pieces)[:-1]):
            chunks.add(part)
        chunks.close()
        create_array(zarr.open_group(expected), FEATURES[name], data.shape, multiple, dtype)[...] = data
    assert same(contents(written), contents(expected))


def test_an_array_that_was_not_filled_is_told() -> None:
    chunks = RowChunks(create_array(zarr.create_group(MemoryStore()), FEATURES["A_E"], (9, 5)))
    chunks.add(np.zeros((8, 5)))
    with pytest.raises(AssertionError, match="8 rows written of 9"):
        chunks.close()
