"""Rows of many arrays of a group at once, from the bytes that are stored.

Through Zarr an array costs about 1.5 ms whatever its size, most of it round trips to its event loop; a configuration
has fifteen. Here all documents are asked for together, then all chunks. Whatever is not exactly as
:mod:`mlipstore.bulk` writes it, or does not fit its checksum, is left to :meth:`mlipstore.snapshot.Snapshot.read`,
which reads it or says what is wrong.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numcodecs.vlen import VLenUTF8
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.core.sync import sync

from .chunk_files import ChunkFiles, checked
from .snapshot import Snapshot
from .stored_bytes import AS_BYTES

_TYPES = {"float64": "<f8", "float32": "<f4", "int64": "<i8", "int32": "<i4", "uint8": "u1", "bool": "?", "string": "O"}
_CODECS = (["bytes", "crc32c"], ["vlen-utf8", "crc32c"], ["bytes", "zstd", "crc32c"])
#: Arrays of fewer bytes are not worth finding out where their chunks lie.
_FILES_FROM = 1 << 20
#: Nor are so few chunks, in an array that is cut into small ones.
_MANY = 8
_KEYS = {"name": "default", "configuration": {"separator": "/"}}


@dataclass
class _Plan:
    """Which chunks of an array are read; ``chunk`` is the shape of one, which may be ``packed`` by Zstandard."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    start: int
    stop: int
    packed: bool

    @property
    def first(self) -> int:
        return self.start // self.chunk[0]

    def chunk_keys(self) -> list[str]:
        """Names of the chunks below the array."""
        rest = "/0" * (len(self.shape) - 1)
        last = -(-self.stop // self.chunk[0]) if self.stop > self.start else self.first
        return [f"c/{i}{rest}" for i in range(self.first, last)]


class Chunks:
    """An array of numbers whose first axis is cut into chunks, read without copies: each chunk is a read-only array.

    :param path: of the array
    """

    def __init__(self, snapshot: Snapshot, path: str) -> None:
        self._snapshot, self._path = snapshot, path
        (document,) = sync(_get(snapshot.store, [f"{path}/zarr.json"]))
        plan = None if document is None or isinstance(document, BaseException) else _plan(document, 0, None)
        plain = plan is not None and not plan.packed and plan.dtype != object and plan.chunk[1:] == plan.shape[1:]
        self._whole = plan if plain else None
        large = self._whole is not None and prod(self._whole.shape) * self._whole.dtype.itemsize >= _FILES_FROM
        #: where the chunks lie, of an array that is worth it; others are asked for by name
        self._files = ChunkFiles.of(snapshot, path) if large else None
        #: rows of a chunk
        self.rows: int = self._whole.chunk[0] if self._whole is not None else snapshot.array(path).chunks[0]

    def read(self, start: int, stop: int) -> list[NDArray[Any]]:
        """Rows from ``start``, the first of a chunk, up to ``stop``, one array for each chunk.

        :raises DamagedStoreError: stored bytes are damaged or missing
        """
        if self._whole is None or start % self.rows:
            return [self._snapshot.read(self._path, start, stop)]
        plan = replace(self._whole, start=start, stop=min(stop, self._whole.shape[0]))
        keys = plan.chunk_keys()
        if self._files is None:
            found = sync(_views(self._snapshot.store, [f"{self._path}/{key}" for key in keys]))
        else:
            found = self._files.read(plan.first, plan.first + len(keys))
        out = []
        for i, raw in enumerate(found, plan.first):
            try:
                chunk = None if raw is None else raw.view(plan.dtype).reshape(plan.chunk)
            except ValueError:
                chunk = None
            if chunk is None:
                return [self._snapshot.read(self._path, start, stop)]  # which says what is wrong
            out.append(chunk[: plan.stop - i * self.rows])
        return out


async def _views(store: Any, keys: Sequence[str]) -> list[NDArray[np.uint8] | None]:
    """Values of keys without their checksums, as they lie in memory; None where there is none, or another one."""
    return [checked(f) for f in await _get(store, keys)]


def read_rows(
    snapshot: Snapshot, path: str, names: Sequence[str], start: int = 0, stop: int | None = None
) -> dict[str, NDArray[Any] | None]:
    """Rows ``start:stop`` of arrays of a group, writable; None for an array that is not there.

    :raises DamagedStoreError: stored bytes are damaged or missing
    """
    found = sync(_read(snapshot.store, path, names, start, stop, snapshot))
    return {
        name: value if done else (snapshot.read(f"{path}/{name}", start, stop))
        for name, (done, value) in found.items()
    }  # fmt: skip


def read_columns(
    snapshot: Snapshot, path: str, names: Sequence[str], start: int = 0, stop: int | None = None
) -> dict[str, NDArray[Any]]:
    """:func:`read_rows` of arrays that must be there.

    :raises StoreError: one is not
    """
    found = read_rows(snapshot, path, names, start, stop)
    # reading what is not there says what is wrong
    return {k: snapshot.read(f"{path}/{k}", start, stop) if v is None else v for k, v in found.items()}


def read_attributes(snapshot: Snapshot, paths: Sequence[str]) -> list[dict[str, Any]]:
    """:meth:`mlipstore.snapshot.Snapshot.attributes` of many groups at once."""
    texts = sync(_get(snapshot.store, [f"{path}/zarr.json" for path in paths]))
    return [snapshot.attributes(p, t if isinstance(t, bytes) else None) for p, t in zip(paths, texts, strict=True)]


def read_groups(
    snapshot: Snapshot, paths: Sequence[str], names: Sequence[str]
) -> dict[str, dict[str, NDArray[Any] | None]]:
    """:func:`read_rows` of many groups at once, all rows; None also for an array that has to be read by itself."""

    async def every() -> list[dict[str, tuple[bool, NDArray[Any] | None]]]:
        return await asyncio.gather(*(_read(snapshot.store, path, names, 0, None) for path in paths))

    found = zip(paths, sync(every()), strict=True)
    return {path: {name: value for name, (_, value) in arrays.items()} for path, arrays in found}


async def _read(
    store: Any, path: str, names: Sequence[str], start: int, stop: int | None, snapshot: Snapshot | None = None
) -> dict[str, tuple[bool, NDArray[Any] | None]]:
    """Of each array whether it could be read, and its rows.

    :param snapshot: of which many chunks may be read from their files
    """
    documents = await _get(store, [f"{path}/{name}/zarr.json" for name in names])
    out: dict[str, tuple[bool, NDArray[Any] | None]] = {}
    plans: dict[str, _Plan] = {}
    for name, document in zip(names, documents, strict=True):
        if document is None:
            out[name] = True, None
            continue
        plan = None if isinstance(document, BaseException) else _plan(document, start, stop)
        if plan is None:
            out[name] = False, None
        else:
            plans[name] = plan
    n = {name: len(plan.chunk_keys()) for name, plan in plans.items()}
    many = [name for name in plans if n[name] >= _MANY]
    files = ChunkFiles.several(snapshot, [f"{path}/{name}" for name in many]) if snapshot and many else {}
    for name in many:
        if (lies := files.get(f"{path}/{name}")) is not None:
            first = plans[name].first
            done, rows = _rows(plans[name], lies.read(first, first + n[name]))
            if done:  # else they are asked for by name
                out[name] = done, rows
                del plans[name]
    keys = [f"{path}/{name}/{key}" for name, plan in plans.items() for key in plan.chunk_keys()]
    chunks = iter(await _get(store, keys))
    for name, plan in plans.items():
        out[name] = _rows(plan, [checked(next(chunks)) for _ in range(n[name])])
    return out


async def _get(store: Any, keys: Sequence[str]) -> list[bytes | BaseException | None]:
    """Values of keys; None where there is none, the error where it cannot be read."""
    found = await asyncio.gather(*(store.get(key, AS_BYTES) for key in keys), return_exceptions=True)
    return [f if f is None or isinstance(f, BaseException) else f.to_bytes() for f in found]


def _plan(text: bytes, start: int, stop: int | None) -> _Plan | None:
    """What to read of an array with this document; None if it is not of our making."""
    try:
        document = json.loads(text)
        codecs = [codec["name"] for codec in document["codecs"]]
        dtype = _TYPES.get(document["data_type"])
        shape = tuple(map(int, document["shape"]))
        chunk = tuple(map(int, document["chunk_grid"]["configuration"]["chunk_shape"]))
        ours = (
            document["node_type"] == "array" and document["chunk_grid"]["name"] == "regular"
            and document["chunk_key_encoding"] == _KEYS and codecs in _CODECS and dtype is not None
            and (codecs[0] == "vlen-utf8") == (dtype == "O") and not document.get("storage_transformers")
            and document["codecs"][0].get("configuration", {}).get("endian", "little") == "little"
            and len(shape) == len(chunk) and min(chunk) > 0
            and all(c >= n for n, c in zip(shape[1:], chunk[1:], strict=True))
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
    if not ours or start < 0:
        return None
    return _Plan(
        np.dtype(dtype), shape, chunk, start, min(shape[0], shape[0] if stop is None else stop), "zstd" in codecs
    )


def _rows(plan: _Plan, chunks: Sequence[NDArray[np.uint8] | None]) -> tuple[bool, NDArray[Any] | None]:
    """Rows out of chunks without their checksums; not done if one is missing or did not fit."""
    out = np.empty((max(0, plan.stop - plan.start), *plan.shape[1:]), plan.dtype)
    trailing = tuple(slice(n) for n in plan.shape[1:])
    for i, body in enumerate(chunks, plan.first):
        if body is None:
            return False, None
        try:
            if plan.packed:
                body = Zstd().decode(body, np.empty(prod(plan.chunk) * plan.dtype.itemsize, np.uint8))
            if plan.dtype == object:
                data = np.asarray(VLenUTF8().decode(body.tobytes()), object).reshape(plan.chunk)
            else:
                data = body.view(plan.dtype).reshape(plan.chunk)
        except (ValueError, RuntimeError):
            return False, None
        low, high = max(plan.start, i * plan.chunk[0]), min(plan.stop, (i + 1) * plan.chunk[0])
        part = data[(slice(low - i * plan.chunk[0], high - i * plan.chunk[0]), *trailing)]
        out[low - plan.start : high - plan.start] = part
    return True, out
