"""Files by name: what a folder, a bucket and a web server have in common."""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreError


class ObjectMissing(StoreError):
    """There is no file of that name."""


@dataclass(frozen=True)
class Info:
    """A file in a listing: its name, bytes, and when it was written (seconds since 1970)."""

    key: str
    size: int
    modified: float


class Objects(ABC):
    """The files of one store by name (``chunks/ABC``). Methods may be called from several threads.

    A *version* stands for the content that was read; :meth:`replace` takes it to see that nobody was faster.
    """

    #: Whether files can be written here.
    writable = True
    #: How many requests at once make sense.
    parallel = 8

    @abstractmethod
    def get(self, key: str) -> bytes:
        """:raises ObjectMissing: there is none"""

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Bytes of a file, None if there is none."""

    @abstractmethod
    def listing(self, prefix: str) -> Iterator[Info]:
        """Files whose name begins with ``prefix``, a folder ending in ``/``, in no order."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write a file; it appears when it is whole."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Write a file that must be new; False if there is one."""

    @abstractmethod
    def versioned(self, key: str) -> tuple[bytes, str] | None:
        """Content and version, None if there is no such file."""

    @abstractmethod
    def replace(self, key: str, data: bytes, version: str) -> bool:
        """Write a file if it still has this version, else False."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove a file; it need not be there."""

    def emptied(self, prefix: str) -> list[str]:
        """Folders right below ``prefix`` (``refs/branch.dev/``) with nothing in them; only folders have such."""
        return []

    def remove_emptied(self, folder: str) -> None:  # noqa: B027 - most places have no folders
        """Remove a folder with nothing in it; it need not be there."""

    def require_safe_writes(self) -> None:  # noqa: B027 - most places are safe
        """:raises StoreError: two writers here would lose each other's work, or nobody can write"""


class Folder(Objects):
    """A folder. Changes that depend on what is there are made under the lock of the store."""

    parallel = 4

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> bytes:
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissing(f"{self.root}: the file {key} is missing.") from None
        except OSError as error:
            raise StoreError(f"{self.root}: {key} cannot be read: {error.strerror or error}.") from error

    def size(self, key: str) -> int | None:
        try:
            return (self.root / key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"{self.root}: {key} cannot be read: {error.strerror or error}.") from error

    def listing(self, prefix: str) -> Iterator[Info]:
        waiting = [self.root / prefix]
        while waiting:
            try:
                entries = [*os.scandir(waiting.pop())]
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise StoreError(f"{self.root}: {prefix} cannot be listed: {error.strerror or error}.") from error
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                    continue
                with suppress(FileNotFoundError):  # removed meanwhile
                    found = entry.stat()
                    yield Info(os.path.relpath(entry.path, self.root), found.st_size, found.st_mtime)

    def emptied(self, prefix: str) -> list[str]:
        try:
            below = [entry.name for entry in os.scandir(self.root / prefix) if entry.is_dir(follow_symlinks=False)]
            return sorted(f"{prefix}{name}/" for name in below if not os.listdir(self.root / prefix / name))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(f"{self.root}: {prefix} cannot be listed: {error.strerror or error}.") from error

    def remove_emptied(self, folder: str) -> None:
        with suppress(OSError):
            (self.root / folder).rmdir()

    def put(self, key: str, data: bytes) -> None:
        path = self.root / key
        part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise unwritable(self.root, key, error) from error

    def create(self, key: str, data: bytes) -> bool:
        path = self.root / key
        part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            os.link(part, path)  # fails where there is one; unlike open(x), the file is never seen half-written
        except FileExistsError:
            return False
        except OSError as error:
            raise unwritable(self.root, key, error) from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        return True

    def versioned(self, key: str) -> tuple[bytes, str] | None:
        try:
            data = self.get(key)
        except ObjectMissing:
            return None
        return data, data.hex()

    def replace(self, key: str, data: bytes, version: str) -> bool:
        found = self.versioned(key)
        if found is None or found[1] != version:
            return False
        self.put(key, data)
        return True

    def delete(self, key: str) -> None:
        try:
            (self.root / key).unlink(missing_ok=True)
        except NotADirectoryError:
            pass
        except OSError as error:
            raise unwritable(self.root, key, error) from error


def unwritable(root: Path, key: str, error: OSError) -> StoreError:
    """The error for a file that could not be written."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreError(
            f"{root}: no space left on the device while writing {key}. Free space and run the same command again; "
            "earlier versions are whole."
        )
    return StoreError(f"{root}: {key} cannot be written: {error.strerror or error}. Choose another place.")
