"""Who is at work: leases of writers, which a collection of garbage respects, and claims, so that work is done once.

A lease is a file below ``leases/`` that says since when; a claim one below ``claims/`` that says what. Both name
machine and process and run out when they are not renewed, so that a process that was killed is not waited for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .errors import StoreError
from .places import Objects
from .places.lock import EXPIRES, given_up, holder, over, renewed

LEASES, CLAIMS = "leases/", "claims/"
#: Clocks of machines that share a store may differ by so many seconds.
SKEW = 300.0


@contextmanager
def at_work(objects: Objects) -> Iterator[None]:
    """Tell others that this process writes files that no version needs yet."""
    mine, since = holder(), time.time()
    key = f"{LEASES}{mine['nonce']}.json"

    def tell() -> None:
        said = {**mine, "since": since, "expires": time.time() + EXPIRES}
        objects.put(key, json.dumps(said).encode())

    with suppress(StoreError):  # where a lease cannot be written nothing can: writing itself says why
        tell()
    try:
        with renewed(tell):
            yield
    finally:
        given_up(mine)
        with suppress(StoreError):
            objects.delete(key)


def oldest(objects: Objects) -> float | None:
    """Since when the longest of the writers that are alive has been at work; leases of others are removed."""
    times = []
    for info in list(objects.listing(LEASES)):
        found = objects.versioned(info.key)
        if found is None:
            continue
        if over(found[0]):
            objects.delete(info.key)
            continue
        since = json.loads(found[0]).get("since")
        times.append(float(since) if isinstance(since, (int, float)) else 0.0)
    return min(times, default=None)


def anybody(objects: Objects) -> bool:
    """Whether a process that is alive writes, or has claimed a piece of work."""
    files = [info.key for folder in (LEASES, CLAIMS) for info in objects.listing(folder)]
    found = (objects.versioned(key) for key in files)
    return any(f is not None and not over(f[0]) for f in found)


@contextmanager
def claim(objects: Objects, name: str) -> Iterator[bool]:
    """Try to be the one that does a piece of work; whether it is so.

    Work that is done twice does no harm, it only costs: so where nothing can be claimed, it is ours.
    """
    mine = holder()
    key = f"{CLAIMS}{name}"

    def said() -> bytes:
        return json.dumps({**mine, "expires": time.time() + EXPIRES}).encode()

    def renew() -> None:
        objects.put(key, said())

    try:
        got = objects.create(key, said())
        if not got:
            found = objects.versioned(key)
            got = found is None or (over(found[0]) and objects.replace(key, said(), found[1]))
    except StoreError:
        yield True
        return
    if not got:
        yield False
        return
    try:
        with renewed(renew):
            yield True
    finally:
        given_up(mine)
        with suppress(StoreError):
            objects.delete(key)
