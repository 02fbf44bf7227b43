"""Seals: digests of the files that came with a version, so that damage to them can be told for certain.

Chunks carry their crc32c. The files that say which chunks there are carry nothing: a flipped bit can rename a group.
``seals/<version>`` is written after a commit; a version without one (made by another program, or the process died in
between) is checked as far as its structure allows.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import StoreError
from ..places import ObjectMissing, Objects
from .files import added_manifests, damaged


@dataclass(frozen=True)
class Digest:
    """Size and sha256 of a file."""

    size: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Digest:
        return cls(len(data), hashlib.sha256(data).hexdigest())


def seal(objects: Objects, version: str, where: str) -> None:
    """Write the seal of a version: its snapshot, its transaction, and the manifests that its parent does not have.

    :raises StoreError: it cannot be written
    """
    key = f"snapshots/{version}"
    data = objects.get(key)
    parent, added = added_manifests(key, data, where, objects.get)
    digests = {key: Digest.of(data)}
    # the version that a repository begins with has no transaction
    names = [*([] if parent is None else [f"transactions/{version}"]), *(f"manifests/{m}" for m in added)]
    with ThreadPoolExecutor(min(objects.parallel, 16)) as pool:  # a server takes its time for each
        digests.update(zip(names, pool.map(lambda name: Digest.of(objects.get(name)), names), strict=True))
    plain = {name: [d.size, d.sha256] for name, d in sorted(digests.items())}
    objects.put(f"seals/{version}", json.dumps({"files": plain, "digest": _own(plain)}).encode())


def read_seal(objects: Objects, version: str, where: str) -> dict[str, Digest] | None:
    """Digests by name of file, None if the version has no seal.

    :raises DamagedStoreError: the seal itself is damaged
    """
    try:
        return parse_seal(objects.get(f"seals/{version}"), version, where)
    except ObjectMissing:
        return None


def parse_seal(data: bytes, version: str, where: str) -> dict[str, Digest]:
    """:raises DamagedStoreError: it is not whole, or that of another version"""
    try:
        said: Any = json.loads(data)
        plain = said["files"]
        if said["digest"] != _own(plain) or f"snapshots/{version}" not in plain:
            raise ValueError
        return {name: Digest(int(size), str(sha256)) for name, (size, sha256) in plain.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise damaged(where, f"seals/{version}", "it does not match its own digest") from None


def check_snapshot(objects: Objects, version: str, where: str) -> None:
    """Compare the file of a version with its seal, if it has one.

    :raises DamagedStoreError: they differ
    """
    sealed = read_seal(objects, version, where)
    key = f"snapshots/{version}"
    if sealed is not None and Digest.of(objects.get(key)) != sealed[key]:
        raise damaged(where, key, "it does not match its seal")


def try_to_seal(objects: Objects, version: str, where: str) -> None:
    """:func:`seal` where it can be done; a commit stands without."""
    with suppress(StoreError):
        seal(objects, version, where)


def _own(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
