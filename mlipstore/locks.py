"""The lock that every change of a store takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .places import Place, objects_at
from .places.lock import LOCK_FILE, folder_lock, object_lock, runs
from .store_errors import translate

__all__ = ["LOCK_FILE", "locked", "runs"]


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Hold the store's exclusive lock: Icechunk loses commits of concurrent local writers without it.

    It is not to be taken twice by one thread.

    :raises StoreError: the place cannot be written to, or is a server that would lose commits
    """
    with ExitStack() as stack:
        if isinstance(place, Path):
            try:
                stack.enter_context(folder_lock(place))
            except OSError as error:
                raise translate(error, str(place), "writing to the store") from error
        else:
            objects = objects_at(place)
            objects.require_safe_writes()
            stack.enter_context(object_lock(objects, str(place)))
        yield
