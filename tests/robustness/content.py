"""What a store holds, as digests that two stores with the same content share.

Left out: snapshot ids, times, run ids, command lines, and where an object lies in a file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from mlipstore.store import Repository

#: Attributes that say which run made a thing, not what it is, and the digest that covers them.
_OF_THE_RUN = ("command", "data_snapshot", "created_by", "versions", "digest")


def content(path: str | Path, ref: str | None = None) -> dict[str, str]:
    """Digest of every group (attributes) and array (type, shape, chunks, names, bytes) of a version."""
    snapshot = Repository.open(path).at(ref)
    out: dict[str, str] = {}

    def visit(group: zarr.Group, here: str) -> None:
        out[f"{here}/"] = _text(dict(group.attrs))
        for name, array in sorted(group.arrays()):
            out[f"{here}/{name}"] = _array(array)
        for name, child in sorted(group.groups()):
            visit(child, f"{here}/{name}")

    visit(snapshot.root, "")
    return out


def differences(a: dict[str, str], b: dict[str, str]) -> list[str]:
    """Paths that only one has, or that differ."""
    return sorted(k for k in {*a, *b} if a.get(k) != b.get(k))


def _array(array: Any) -> str:
    data = np.asarray(array[...])
    head = _text([str(data.dtype), data.shape, array.chunks, array.metadata.dimension_names, dict(array.attrs)])
    body = (
        "\0".join(map(str, data.ravel())).encode() if data.dtype.kind in "OUT" else np.ascontiguousarray(data).tobytes()
    )
    return hashlib.sha256(head.encode() + body).hexdigest()


def _text(value: Any) -> str:
    return json.dumps(_clean(value), sort_keys=True, default=str)


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items() if k not in _OF_THE_RUN}
    if isinstance(value, (list, tuple)):
        return [_clean(v) for v in value]
    return value


def files(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder, as it lies on disk."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
