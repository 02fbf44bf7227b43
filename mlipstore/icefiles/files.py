"""The files of an Icechunk repository of format 1, as far as copying and checking needs them.

    refs/branch.NAME/ref.json, refs/tag.NAME/ref.json    {"snapshot": ID}
    snapshots/ID      a version: its nodes (groups, arrays with their metadata), and the manifests they use
    manifests/ID      for some arrays, where each chunk lies (or the chunk itself, if it is small)
    chunks/ID         encoded chunks, each with its crc32c at the end
    transactions/ID   what a version changed
    seals/ID          ours: digests of the other files that came with a version

Everything but refs is written once and never changed. What cannot be read raises :class:`DamagedStoreError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from ..errors import DamagedStoreError
from .flatbuffer import Malformed, Table

_HEADER = b"ICE\xf0\x9f\xa7\x8aCHUNK"
_HEADER_SIZE = 39
SNAPSHOT, MANIFEST = 1, 2
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{20}")
_REF = re.compile(r"refs/(branch|tag)\.([A-Za-z0-9][A-Za-z0-9._+-]{0,99})/ref\.json")
KINDS = ("chunks", "manifests", "transactions", "snapshots", "seals")
#: Nothing that a snapshot or a manifest holds takes more than this; a small file that promises more is refused.
_MOST_BYTES = 4 << 30


def id_text(raw: bytes) -> str:
    """The name of an object, from its bytes (Crockford's base 32, the last character filled up)."""
    bits = 5 * -(-8 * len(raw) // 5)
    number = int.from_bytes(raw, "big") << (bits - 8 * len(raw))
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(bits - 5, -1, -5))


def _id_texts(raw: NDArray[np.uint8]) -> list[str]:
    """:func:`id_text` of many of 12 bytes ``(n, 12)``: a large version has one for every array."""
    bits = np.zeros((len(raw), 100), np.uint8)
    bits[:, :96] = np.unpackbits(raw, axis=1)
    digits = bits.reshape(len(raw), 20, 5) @ np.array([16, 8, 4, 2, 1], np.uint8)
    letters = np.frombuffer(_CROCKFORD.encode(), np.uint8)[digits]
    text = letters.tobytes().decode()
    return [text[i : i + 20] for i in range(0, len(text), 20)]


@dataclass(frozen=True)
class Node:
    """A group or an array of a version.

    :param metadata: its zarr.json
    :param manifests: where the chunks of an array are listed
    """

    id: bytes
    path: str
    metadata: bytes
    is_array: bool
    manifests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Version:
    """What a snapshot file says."""

    id: str
    parent: str | None
    message: str
    flushed_at: int
    metadata_keys: tuple[str, ...]
    manifests: dict[str, int]
    nodes: list[Node] = field(default_factory=list, compare=False)


@dataclass(frozen=True)
class Chunk:
    """Where a chunk lies: in the file ``id``, or in the manifest itself (``inline``)."""

    index: tuple[int, ...]
    id: str | None
    offset: int
    length: int
    inline: bytes | None
    location: str | None


def parse_ref(key: str, data: bytes, where: str) -> str:
    """Id of the version that a ref names."""
    try:
        id_ = json.loads(data)["snapshot"]
    except (ValueError, KeyError, TypeError):
        id_ = None
    if not isinstance(id_, str) or not _ID.fullmatch(id_):
        raise damaged(where, key, "it names no version")
    return id_


def ref_name(key: str) -> tuple[str, str] | None:
    """Kind (``branch``, ``tag``) and name of a ref, None for what is none."""
    found = _REF.fullmatch(key)
    return (found[1], found[2]) if found and ".." not in found[2] else None


def ref_key(kind: str, name: str) -> str:
    return f"refs/{kind}.{name}/ref.json"


def _opened(data: bytes, key: str, kind: int, where: str) -> Table:
    if data[:12] != _HEADER or len(data) < _HEADER_SIZE:
        raise damaged(where, key, "it does not begin as it should")
    version, found, compression = data[36:39]
    if version != 1:
        raise damaged(where, key, f"its format is {version}, expected 1")
    if found != kind or compression not in (0, 1):
        raise damaged(where, key, "it is of another kind")
    body = data[_HEADER_SIZE:]
    if compression:
        try:
            if _promised(body) > _MOST_BYTES:
                raise damaged(where, key, "it promises too much")
            body = bytes(Zstd().decode(body))
        except (RuntimeError, ValueError, MemoryError):
            raise damaged(where, key, "it cannot be decompressed") from None
    return Table.root(body)


def _promised(frame: bytes) -> int:
    """Bytes that a Zstandard frame says it holds (RFC 8878, 3.1.1.1), 0 if it does not say."""
    if len(frame) < 14:
        return 0
    flag, single = frame[4] >> 6, frame[4] >> 5 & 1
    size = single if flag == 0 else 1 << flag
    at = 5 + (0 if single else 1) + (0, 1, 2, 4)[frame[4] & 3]
    return int.from_bytes(frame[at : at + size], "little") + (256 if size == 2 else 0)


def parse_snapshot(key: str, data: bytes, where: str, nodes: bool = True) -> Version:
    """:param nodes: also read the groups and arrays
    :raises DamagedStoreError: it is no snapshot, or that of another name
    """
    try:
        t = _opened(data, key, SNAPSHOT, where)
        id_, parent = t.raw(0, 12), t.raw(1, 12)
        table = _manifest_table(t)
        sizes = np.ascontiguousarray(table[:, 16:24]).view("<u8").ravel().tolist()
        manifests = dict(zip(_id_texts(table[:, :12]), sizes, strict=True))
        version = Version(
            id=id_text(id_ or b""),
            parent=None if parent is None else id_text(parent),
            message=t.text(4) or "",
            flushed_at=t.u64(3),
            metadata_keys=tuple(item.text(0) or "" for item in t.tables(5)),
            manifests=manifests,
            nodes=[_node(n) for n in t.tables(2)] if nodes else [],
        )
    except (Malformed, RecursionError) as error:
        raise damaged(where, key, str(error)) from None
    if f"snapshots/{version.id}" != key:
        raise damaged(where, key, "it belongs to another name")
    return version


def find_nodes(key: str, data: bytes, where: str, paths: Iterable[str]) -> dict[str, Node]:
    """Some nodes of a version (the file ``data``) by path, without going through all; those that are found.

    :raises DamagedStoreError: it is no snapshot
    """
    try:
        t = _opened(data, key, SNAPSHOT, where)
        found = {path: t.lookup(2, 1, f"/{path}") for path in paths}
        return {path: _node(node) for path, node in found.items() if node is not None}
    except (Malformed, RecursionError) as error:
        raise damaged(where, key, str(error)) from None


def added_manifests(key: str, data: bytes, where: str, get: Callable[[str], bytes]) -> tuple[str | None, list[str]]:
    """Parent of a version (the file ``data``), and the manifests that the parent does not have.

    :param get: gives the file of a name
    :raises DamagedStoreError: one of the two is no snapshot
    """
    try:
        t = _opened(data, key, SNAPSHOT, where)
        mine, parent = _manifest_table(t), t.raw(1, 12)
        if parent is not None:
            above = f"snapshots/{id_text(parent)}"
            old = _manifest_table(_opened(get(above), above, SNAPSHOT, where))
            mine = mine[~np.isin(_beginnings(mine), _beginnings(old))]
    except Malformed as error:
        raise damaged(where, key, str(error)) from None
    return None if parent is None else id_text(parent), _id_texts(mine[:, :12])


def _beginnings(table: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first 8 bytes of each id as a number: they are random, and tell ids apart."""
    return np.ascontiguousarray(table[:, :8]).view("<u8").ravel()


def _manifest_table(t: Table) -> NDArray[np.uint8]:
    """The list of manifests of a snapshot as it is stored, ``(n, 32)``: id, bytes, number of chunks."""
    return np.frombuffer(t.structs(6, 32) or b"", np.uint8).reshape(-1, 32)


def _node(t: Table) -> Node:
    kind, data = t.u8(3), t.table(4)
    path, raw = t.text(1), t.raw(0, 8)
    if path is None or raw is None or kind not in (1, 2):
        raise Malformed("a node without a name or kind")
    manifests: list[str] = []
    if kind == 1 and data is not None:
        for ref in data.tables(_ARRAY_MANIFESTS):
            object_id = ref.raw(0, 12)
            if object_id is None:
                raise Malformed("an array without its manifest")
            manifests.append(id_text(object_id))
    return Node(raw, path.lstrip("/"), t.octets(2) or b"", kind == 1, tuple(manifests))


_ARRAY_MANIFESTS = 2


def parse_manifest(key: str, data: bytes, where: str) -> dict[bytes, list[Chunk]]:
    """Chunks of each array (by the id of its node).

    :raises DamagedStoreError: it is no manifest, or that of another name
    """
    out: dict[bytes, list[Chunk]] = {}
    try:
        t = _opened(data, key, MANIFEST, where)
        id_ = t.raw(0, 12)
        for array in t.tables(1):
            node = array.raw(0, 8)
            if node is None:
                raise Malformed("an array without a name")
            out[node] = [_chunk(ref) for ref in array.tables(1)]
    except Malformed as error:
        raise damaged(where, key, str(error)) from None
    if f"manifests/{id_text(id_ or b'')}" != key:
        raise damaged(where, key, "it belongs to another name")
    return out


def _chunk(t: Table) -> Chunk:
    raw = t.raw(4, 12)
    index = tuple(int(i) for i in t.numbers(0))
    return Chunk(index, None if raw is None else id_text(raw), t.u64(2), t.u64(3), t.octets(1), t.text(5))


def chunk_is_whole(data: bytes) -> bool:
    """Whether the crc32c at the end of an encoded chunk is that of its bytes."""
    return len(data) >= 4 and int(google_crc32c.value(data[:-4])) == int.from_bytes(data[-4:], "little")


def expected_chunks(metadata: dict[str, Any]) -> Iterator[tuple[int, ...]]:
    """Indices of the chunks that an array must have, from its zarr.json."""
    shape = metadata["shape"]
    grid = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    counts = [-(-n // c) for n, c in zip(shape, grid, strict=True)]
    yield from (tuple(map(int, i)) for i in np.ndindex(*counts))


def damaged(where: str, key: str, what: str) -> DamagedStoreError:
    """The error for a file that is not what it was."""
    return DamagedStoreError(
        f"{where}: the file {key} is damaged ({what}). mlipstore verify {quote(where)} says what is lost; "
        "restore that file from a copy."
    )
