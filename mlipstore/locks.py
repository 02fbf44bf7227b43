"""The lock that every change of a local store takes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .store_errors import translate

LOCK_FILE = "mlipstore.lock"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the store's exclusive lock: Icechunk loses commits of concurrent local writers without it."""
    try:
        handle = open(path / LOCK_FILE, "a")  # noqa: SIM115 - closed below, kept open while locked
    except OSError as error:
        raise translate(error, str(path), "writing to the store") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        handle.close()


def runs(pid: str) -> bool:
    """Whether a process of this machine has that number."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass  # it runs, as somebody else
    return True
