"""Files that appear only when they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import SettingsError, StoreError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; it takes the place of ``path`` if nothing goes wrong.

    The folder is made if it is missing.

    :raises StoreError: the file cannot be written
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # the folder itself may be out of reach, which was told above
            part.unlink(missing_ok=True)


def require_free(path: Path) -> None:
    """Nothing is at ``path`` that a file written there would take the place of.

    :raises SettingsError: something is; it can be replaced by ``--force``
    """
    if path.exists() or path.is_symlink():
        raise SettingsError(f"{path} exists. Choose another name, or --force (force=True in Python) to replace it.")


def unwritable(path: Path, error: OSError) -> StoreError:
    """The error for a place that cannot be written to."""
    return StoreError(f"cannot write {path}: {error.strerror or error}. Choose another place with --output.")
