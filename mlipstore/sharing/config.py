"""What a copy remembers: where it came from. Addresses only, never credentials."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from shlex import quote
from typing import Any

from ..errors import StoreError
from ..places import ObjectMissing, Objects

CONFIG_FILE = "mlipstore.remote.json"


@dataclass
class Config:
    """:param remote: where the copy came from, or was pushed to
    :param incomplete: the copy is being made
    :param part: what a partial copy was asked for
    """

    remote: str | None = None
    incomplete: bool = False
    part: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, objects: Objects) -> Config:
        try:
            said = json.loads(objects.get(CONFIG_FILE))
            return cls(**{k: said[k] for k in ("remote", "incomplete", "part") if k in said})
        except ObjectMissing:
            return cls()
        except (ValueError, TypeError):
            return cls()

    def save(self, objects: Objects) -> None:
        objects.put(CONFIG_FILE, json.dumps(asdict(self), indent=2).encode())


def remote_of(objects: Objects, given: str | None, where: str, verb: str) -> str:
    """The address that was given, or the one that is remembered.

    :raises StoreError: there is neither
    """
    remote = given or Config.load(objects).remote
    if not isinstance(remote, str) or not remote:
        how = f"mlipstore {verb} {quote(where)} REMOTE"
        raise StoreError(f"{where} does not know where it came from. Say it: {how}.")
    return remote
