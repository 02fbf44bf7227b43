"""One writer at a time where it matters: around a commit, a tag, a push, a collection.

A folder has a lock file (``flock``). A bucket has a lock object that is made by a conditional write and runs out: what
keeps commits from losing each other there is the conditional write of the branch itself, the lock only makes them
wait for each other instead of failing.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .objects import Objects

LOCK_FILE = "mlipstore.lock"
#: Seconds after which a lock that is not renewed any more belongs to nobody.
EXPIRES = 60.0
#: Seconds until somebody else's lock is given up on.
PATIENCE = 900.0
#: Seconds that a last renewal is waited for, which takes long where the server is gone.
_LAST = 15.0


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder.

    :raises OSError: the lock file cannot be made or locked
    """
    with open(folder / LOCK_FILE, "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def object_lock(objects: Objects, where: str) -> Iterator[None]:
    """Hold the lock object of a bucket; it is renewed while the block runs.

    :raises StoreError: another process has held it for :data:`PATIENCE` seconds
    """
    mine = holder()
    give_up, waited = time.monotonic() + PATIENCE, 0.02
    while not objects.create(LOCK_FILE, _said(mine)):
        found = objects.versioned(LOCK_FILE)
        if found is None:
            continue
        if over(found[0]) and objects.replace(LOCK_FILE, _said(mine), found[1]):
            break
        if time.monotonic() > give_up:
            raise StoreError(f"{where}: {_who(found[0])} has been writing for a long time. Try again later.")
        time.sleep(waited * random.uniform(0.5, 1.5))
        waited = min(1.0, 1.5 * waited)
    try:
        with renewed(lambda: _renew(objects, mine)):
            yield
    finally:
        given_up(mine)
        found = objects.versioned(LOCK_FILE)
        if found is not None and mine["nonce"] in _read(found[0]).values():
            objects.delete(LOCK_FILE)


def _renew(objects: Objects, mine: dict[str, Any]) -> None:
    found = objects.versioned(LOCK_FILE)
    if found is not None and mine["nonce"] in _read(found[0]).values():
        objects.replace(LOCK_FILE, _said(mine), found[1])


@contextmanager
def renewed(renew: Any, every: float = EXPIRES / 4) -> Iterator[None]:
    """Call ``renew`` now and then while the block runs; what it raises is left to the next time.

    A call that is under way when the block ends is waited for, or what it writes would come after its removal.
    """
    done = threading.Event()

    def work() -> None:
        while not done.wait(every):
            try:
                renew()
            except (StoreError, OSError):
                continue

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(_LAST)


# ----------------------------------------------------------------- who holds it
_held: set[str] = set()


def holder() -> dict[str, Any]:
    """This process, for others to see whether it still runs; until :func:`given_up`."""
    nonce = secrets.token_hex(8)
    _held.add(nonce)
    return {"machine": machine(), "host": socket.gethostname(), "pid": os.getpid(), "nonce": nonce}


def given_up(mine: dict[str, Any]) -> None:
    """What this process held counts no more, also where it cannot be removed because the server is gone."""
    _held.discard(mine["nonce"])


@cache
def machine() -> str:
    """This machine since it was started, so that process numbers mean something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")  # containers number their processes anew
    except OSError:
        boot, space = "", ""
    return f"{socket.gethostname()} {boot} {space}"


def _said(mine: dict[str, Any]) -> bytes:
    return json.dumps({**mine, "renewed": time.time(), "expires": time.time() + EXPIRES}).encode()


def _read(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def over(data: bytes) -> bool:
    """Whether what a holder left has run out, or its process does not run any more."""
    said = _read(data)
    expires, pid = said.get("expires", 0), said.get("pid")
    if not isinstance(expires, (int, float)) or time.time() > expires:
        return True
    if said.get("machine") != machine() or not isinstance(pid, int):
        return False
    return not runs(pid) or (pid == os.getpid() and said.get("nonce") not in _held)


def runs(pid: str | int) -> bool:
    """Whether a process of this machine has that number."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it runs, as somebody else
    return True


def _who(data: bytes) -> str:
    said = _read(data)
    return f"process {said.get('pid', '?')} on {said.get('host', '?')}"
