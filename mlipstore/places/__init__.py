"""Where stores lie: a folder, a bucket of an S3 server, or (to read) a static web server.

``objects_at`` gives the files of a store by name, whatever holds them. Nothing here knows what is in them.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from ..errors import StoreError
from .objects import Folder, Info, ObjectMissing, Objects
from .remote import Remote

__all__ = ["Folder", "Info", "ObjectMissing", "Objects", "Place", "Remote", "objects_at", "place_of"]

#: A folder, or the address of a store elsewhere.
Place = Path | Remote


def place_of(text: str | os.PathLike[str]) -> Place:
    """A folder, or what ``s3://bucket/prefix`` and ``http(s)://host/path`` stand for.

    :raises StoreError: the address has a password in it, or makes no sense
    """
    if isinstance(text, Remote):
        return text
    name = os.fspath(text)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise StoreError(f"the name of the store {name!r} is not UTF-8. Choose another.") from None
    return Remote.parse(name) if "://" in name else Path(name)


def objects_at(place: Place) -> Objects:
    """The files of the store at ``place``."""
    return Folder(place) if isinstance(place, Path) else _elsewhere(place)


@cache
def _elsewhere(address: Remote) -> Objects:
    """One connection per address and process."""
    if address.scheme == "s3":
        from .s3 import Bucket

        return Bucket(address)
    from .http import Web

    return Web(address)
