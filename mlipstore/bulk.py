"""Many small arrays at once, in the bytes that Zarr writes for them.

Through Zarr an array costs about ten round trips to its event loop, 3 ms, whatever its size; a segment has fifteen.
Here the metadata document of each kind of array is made once by Zarr and filled in with the shape, and all documents
and chunks of a segment go to the store together.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any

import google_crc32c  # what Zarr's own codec calls
import numpy as np
import zarr
from numcodecs.vlen import VLenUTF8
from numpy.typing import NDArray
from zarr.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from .layout import ArraySpec, chunk_shape
from .store import create_array, sealed, write_array
from .stored_bytes import StoredBytes

Arrays = Iterable[tuple[ArraySpec, NDArray[Any]]]
_TEXT, _NUMBERS = ["vlen-utf8", "crc32c"], ["bytes", "crc32c"]


def write_group(root: zarr.Group, path: str, attributes: Mapping[str, Any], arrays: Arrays) -> None:
    """A new group at ``path`` (nothing is there, its parent is) with its attributes and arrays, complete.

    Equal to :meth:`mlipstore.store.Transaction.group` and :func:`mlipstore.store.write_array` of each array.
    """
    here = f"{root.path}/{path}".lstrip("/")
    documents: dict[str, bytes] = {}
    chunks: dict[str, bytes] = {}
    others = []
    for spec, data in arrays:
        document = _document(spec, data.shape[1:])
        codecs = [codec["name"] for codec in document["codecs"]]
        if codecs not in (_TEXT, _NUMBERS):  # another Zarr, which knows better how to write it
            others.append((spec, data))
            continue
        shape = chunk_shape(spec, data.shape)
        grid = {**document["chunk_grid"], "configuration": {"chunk_shape": shape}}
        document = {**document, "shape": data.shape, "chunk_grid": grid}
        documents[f"{here}/{spec.name}/zarr.json"] = _json(document)
        chunks.update((f"{here}/{spec.name}/{key}", value) for key, value in _chunks(spec, data, shape))
    said = sealed(attributes) if attributes else {}
    group = _json({"attributes": said, "zarr_format": 3, "node_type": "group"})
    sync(_set(root.store, [{f"{here}/zarr.json": group}, documents, chunks]))
    if others:
        made = root[path]
        assert isinstance(made, zarr.Group)
        for spec, data in others:
            write_array(made, spec, data)


def _json(document: Mapping[str, Any]) -> bytes:
    """Without blanks: every version repeats the documents of all arrays."""
    return json.dumps(document, separators=(",", ":")).encode()


async def _set(store: Any, portions: list[dict[str, bytes]]) -> None:
    """Store portions one after another, the values of each together."""
    for portion in portions:
        tasks = [store.set(key, StoredBytes.from_bytes(value)) for key, value in portion.items()]
        # wait for all: none may go on writing to a session that is given up
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome


@cache
def _document(spec: ArraySpec, trailing: tuple[int, ...]) -> dict[str, Any]:
    """What Zarr says about such an array of one row."""
    store = MemoryStore()
    create_array(zarr.create_group(store), spec, (1, *trailing))
    written = sync(store.get(f"{spec.name}/zarr.json", default_buffer_prototype()))
    assert written is not None
    document: dict[str, Any] = json.loads(written.to_bytes())
    return document


def _chunks(spec: ArraySpec, data: NDArray[Any], shape: tuple[int, ...]) -> Iterator[tuple[str, bytes]]:
    """Key and bytes of each chunk; the last ones are filled up."""
    if not data.size:
        return
    for place in product(*(range(-(-n // c)) for n, c in zip(data.shape, shape, strict=True))):
        part = data[tuple(slice(i * c, (i + 1) * c) for i, c in zip(place, shape, strict=True))]
        if part.shape != shape:
            whole = np.full(shape, spec.fill_value, object if spec.dtype == "str" else spec.dtype)
            whole[tuple(slice(n) for n in part.shape)] = part
            part = whole
        if spec.dtype == "str":
            raw = bytes(VLenUTF8().encode(part.astype(object, copy=False)))
        else:
            raw = np.ascontiguousarray(part, np.dtype(spec.dtype).newbyteorder("<")).tobytes()
        yield "/".join(["c", *map(str, place)]), raw + int(google_crc32c.value(raw)).to_bytes(4, "little")


class RowChunks:
    """Fills an array of rows from the top, in the bytes that Zarr writes for them.

    Through Zarr each row is copied five times on its way to the file, here twice. Chunks go to the store as soon as
    they are full, so none is written twice.
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = array
        self.at = 0
        self._dtype = array.dtype.newbyteorder("<")
        self._rows = array.chunks[0]
        self._bytes = self._rows * int(np.prod(array.shape[1:], dtype=np.int64)) * self._dtype.itemsize
        self._waiting: list[NDArray[np.uint8]] = []
        self._n_waiting = 0
        codecs = [codec["name"] for codec in array.metadata.to_dict()["codecs"]]  # type: ignore[index, union-attr, call-overload]
        #: whether the bytes of a chunk are known here; another Zarr may write them in another way
        self._known = codecs == _NUMBERS and array.chunks[1:] == array.shape[1:]

    def add(self, rows: NDArray[Any]) -> None:
        """Take the next rows; they may be needed until the next call, so they must not change."""
        data = np.ascontiguousarray(rows, self._dtype)
        start = 0
        while start < len(data):
            stop = min(len(data), start + self._rows - self._n_waiting)
            self._waiting.append(data[start:stop].reshape(-1).view(np.uint8))
            self._n_waiting += stop - start
            start = stop
            if self._n_waiting == self._rows:
                self._store()
        if self._waiting and data.nbytes > 2 * self._bytes:
            # a copy, not a view: a large block must not stay in memory for its last rows
            self._waiting[-1] = self._waiting[-1].copy()

    def close(self) -> None:
        """Store what is left and check that the array is full."""
        if self._n_waiting:
            self._store()
        if self.at != self.array.shape[0]:
            raise AssertionError(f"{self.array.path}: {self.at} rows written of {self.array.shape[0]}")

    def _store(self) -> None:
        """Store a chunk of the rows that wait; the last one is filled up."""
        n, self._n_waiting = self._n_waiting, 0
        pieces, self._waiting = self._waiting, []
        if self._known:
            missing = self._rows - n
            if missing:
                fill = np.full((missing, *self.array.shape[1:]), self.array.fill_value, self._dtype)
                pieces.append(fill.reshape(-1).view(np.uint8))
            crc = 0
            for piece in pieces:
                crc = google_crc32c.extend(crc, piece)
            raw = b"".join([*(piece.data for piece in pieces), crc.to_bytes(4, "little")])
            key = "/".join([self.array.path, "c", str(self.at // self._rows), *["0"] * (len(self.array.shape) - 1)])
            sync(self.array.store.set(key, StoredBytes.from_bytes(raw)))
        else:
            rows = np.concatenate(pieces).view(self._dtype).reshape(n, *self.array.shape[1:])
            self.array[self.at : self.at + n] = rows
        self.at += n
