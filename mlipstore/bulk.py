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
        documents[f"{here}/{spec.name}/zarr.json"] = json.dumps(document, indent=2).encode()
        chunks.update((f"{here}/{spec.name}/{key}", value) for key, value in _chunks(spec, data, shape))
    group = json.dumps({"attributes": sealed(attributes), "zarr_format": 3, "node_type": "group"}, indent=2)
    sync(_set(root.store, [{f"{here}/zarr.json": group.encode()}, documents, chunks]))
    if others:
        made = root[path]
        assert isinstance(made, zarr.Group)
        for spec, data in others:
            write_array(made, spec, data)


async def _set(store: Any, portions: list[dict[str, bytes]]) -> None:
    """Store portions one after another, the values of each together."""
    buffer = default_buffer_prototype().buffer
    for portion in portions:
        tasks = [store.set(key, buffer.from_bytes(value)) for key, value in portion.items()]
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
