"""Copying what a version holds, node by node, with its encoded bytes."""

from __future__ import annotations

from typing import Any

import zarr
from zarr.buffer import default_buffer_prototype
from zarr.core.sync import sync

from ..chunk_files import chunks_of
from ..errors import StoreError
from ..icefiles.files import Node
from ..store import Snapshot


def chunk_keys(snapshot: Snapshot, node: Node) -> list[str]:
    """Keys of the chunks that an array has, below it."""
    return ["/".join(["c", *map(str, chunk.index)]) for chunk in chunks_of(snapshot, node)]


def chunk(snapshot: Snapshot, key: str) -> bytes:
    """Encoded bytes of a chunk.

    :raises StoreError: there are none
    """
    with snapshot.reading(key):
        found = sync(snapshot.store.get(key, default_buffer_prototype()))
    if found is None:
        raise StoreError(f"{snapshot.repository.path}: {key} is missing. Restore the store from a copy.")
    data: bytes = found.to_bytes()
    return data


def copy_node(snapshot: Snapshot, node: Node, root: zarr.Group, metadata: bytes | None = None) -> None:
    """Write a group or an array as it is; what lies there is replaced.

    :param metadata: other metadata than its own
    """
    prefix = f"{node.path}/" if node.path else ""
    _put(root.store, f"{prefix}zarr.json", metadata or node.metadata)
    if node.is_array:
        for key in chunk_keys(snapshot, node):
            _put(root.store, f"{prefix}{key}", chunk(snapshot, f"{prefix}{key}"))


def _put(store: Any, key: str, data: bytes) -> None:
    sync(store.set(key, default_buffer_prototype().buffer.from_bytes(data)))
