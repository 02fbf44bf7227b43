"""Names of versions in a place, and moving them without losing anybody's work."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from ..errors import StoreError
from ..icefiles.files import parse_ref, ref_key, ref_name
from ..places import Objects
from ..places.http import REF_LIST


@dataclass
class Refs:
    """Branches and tags: the version that each names."""

    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, objects: Objects, where: str) -> Refs:
        """All refs of a place, empty where there is no store. Names that are none of ours are left out."""
        self = cls()
        keys = sorted({f.key for f in objects.listing("refs/")})
        for key in keys:
            named = ref_name(key)
            if named is None or f"{key}.deleted" in keys:
                continue
            found = objects.versioned(key)
            if found is not None:
                {"branch": self.branches, "tag": self.tags}[named[0]][named[1]] = parse_ref(key, found[0], where)
        return self


def lost_refs(objects: Objects) -> list[str]:
    """Names of files of refs that are lost: the folder is left without it. Removing a ref leaves no such folder."""
    return [key for folder in objects.emptied("refs/") if ref_name(key := f"{folder}ref.json") is not None]


def set_ref(objects: Objects, kind: str, name: str, version: str, expected: str | None, where: str) -> None:
    """Let a ref name a version, if it still names ``expected`` (None: if there is none). Under the lock.

    :raises StoreError: somebody was faster
    """
    key = ref_key(kind, name)
    data = json.dumps({"snapshot": version}, separators=(",", ":")).encode()
    if expected is None:
        done = objects.create(key, data)
    else:
        found = objects.versioned(key)
        same = found is not None and parse_ref(key, found[0], where) == expected
        done = same and found is not None and objects.replace(key, data, found[1])
    if not done:
        raise StoreError(
            f"{where}: somebody else has moved the {kind} {name!r} meanwhile. Nothing is lost; run it again."
        )


def publish(objects: Objects) -> None:
    """Write the list of refs that web servers, which list nothing, are read by."""
    keys = {f.key for f in objects.listing("refs/")}
    names = [key.split("/")[1] for key in keys if ref_name(key) is not None and f"{key}.deleted" not in keys]
    objects.put(REF_LIST, json.dumps({"refs": sorted(names)}).encode())
