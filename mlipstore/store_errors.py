"""What Icechunk and Zarr say, as errors that a user can act on (for :mod:`mlipstore.store` alone)."""

from __future__ import annotations

import atexit
import re
import time
from contextlib import suppress
from shlex import quote

import icechunk

from .errors import DamagedStoreError, StoreError
from .places.gateway import what_was_said

#: Seconds that the threads of Icechunk get to finish before Python ends.
_LAST_WORDS = 0.05


@atexit.register
def _let_threads_finish() -> None:
    """Give the interpreter lock away once more before Python ends.

    A thread of Icechunk hands over a result by a call into Python. One that is still inside that call when the
    interpreter is taken down is ended by it in the middle of Rust code, and the process aborts (exit code 134).
    """
    with suppress(KeyboardInterrupt):  # all is done: Ctrl-C ends it as well
        time.sleep(_LAST_WORDS)


class StoreConflictError(StoreError):
    """Another process stored the same thing first; what this one did is discarded."""


_REMEDIES = (
    (
        ("no space left", "os error 28", "storage full", "quota", "os error 122", "file too large", "os error 27"),
        "no space left on the device. Free space and run the same command again; earlier versions are whole",
    ),
    (
        ("read-only file system", "os error 30"),
        "the file system is read-only. Copy the store to a place you may write to",
    ),
    (
        ("permission denied", "os error 13", "operation not permitted", "os error 1)"),
        "permission denied. Choose a folder you may write to, or ask its owner",
    ),
    (
        ("no locks available", "errno 37", "not supported", "errno 95"),
        "this file system cannot lock files, so that two writers could lose each other's work. Use another one",
    ),
    (
        (
            "dispatch failure",
            "connection refused",
            "connection reset",
            "connection closed",
            "dns error",
            "timed out",
            "timeout",
            "internalerror",
            "serviceunavailable",
            "slowdown",
            "streaming error",
        ),
        "the server cannot be reached. What was stored before is whole; run the same command again",
    ),
    (
        ("accessdenied", "invalidaccesskeyid", "signaturedoesnotmatch", "expiredtoken", "requesttimetooskewed"),
        "the server denies access. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, to what may do "
        "this, and run the same command again",
    ),
    (
        ("too many open files", "os error 24"),
        "too many open files. Raise the limit (ulimit -n 4096) and run the same command again",
    ),
)


def _restore(path: str) -> str:
    return (
        f"Restore the store from a copy, or run mlipstore verify {quote(path)} --repair, which mends what can be mended"
    )


def is_ours_to_tell(error: BaseException) -> bool:
    """Any exception, and a panic of Icechunk (which is none) over bytes that it did not expect."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def translate(error: BaseException, path: str, doing: str, reading: bool = False) -> StoreError:
    """The error to raise for one of the layer below.

    :param doing: what failed, e.g. ``reading index/uid``
    :param reading: what is read was whole once, so that anything without another cause is damage
    """
    if isinstance(error, StoreError):
        return error
    low = str(error).lower()
    if isinstance(error, (icechunk.ConflictError, icechunk.RebaseFailedError)):
        return StoreConflictError(f"{path}: {doing}: another process stored the same thing first. Run it again.")
    if "accessdenied" in low and (told := what_was_said(path)) is not None:
        return StoreError(str(told))
    for words, remedy in _REMEDIES:
        if any(w in low for w in words):
            return StoreError(f"{path}: {doing} failed: {remedy}.")
    said = _said(error)
    if "checksum" in low:
        return DamagedStoreError(f"{path}: {doing}: stored bytes do not match their checksum. {_restore(path)}.")
    lost = re.search(r"[Oo]bject at location (.+?) not found", said)
    if lost:
        return DamagedStoreError(f"{path}: {doing}: the file {lost[1]} is missing. {_restore(path)}, or put it back.")
    if reading:
        return DamagedStoreError(f"{path}: {doing}: a file of the store is damaged ({said}). {_restore(path)}.")
    return StoreError(f"{path}: {doing} failed: {said}.")


def lost_chunk(path: str, array: str) -> DamagedStoreError:
    """For a chunk that the array must have and the store does not list."""
    return DamagedStoreError(f"{path}: {array} has lost data (a chunk is missing). {_restore(path)}.")


def _said(error: BaseException) -> str:
    """The first line and the last cause of a message of Icechunk, or the message."""
    lines = [re.sub(r"^[\s×|│`╰├─▶>-]*(?:x )?\s*", "", line).strip().rstrip(".") for line in str(error).splitlines()]
    lines = [line for line in lines if line]
    first = lines[0] if lines else type(error).__name__
    last = lines[-1] if lines else first
    return (first if last in first else f"{first}: {last}")[:400]
