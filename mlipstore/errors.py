"""What a user can act on. Every message says what is wrong, where, what was expected and what to do next.

Anything that is not a :class:`MlipstoreError` is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MlipstoreError(Exception):
    """Base of all errors a user can act on."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class InputError(MlipstoreError, ValueError):
    """A file or a configuration cannot be read or does not make sense.

    :param message: what was found and what was expected
    :param path: the file
    :param frame: the configuration inside the file, counted from 0
    :param line: the line of the file, counted from 1
    """

    def __init__(
        self,
        message: str,
        path: str | None = None,
        frame: int | None = None,
        line: int | None = None,
    ) -> None:
        self.message, self.path, self.frame, self.line = message, path, frame, line
        place = "" if path is None else str(path)
        if frame is not None:
            place += f", frame {frame:,}"
        if line is not None:
            place += f" (line {line:,})" if frame is not None else f", line {line:,}"
        super().__init__(f"{place}: {message}" if place else message)

    def __reduce__(self) -> tuple[type, tuple[str, str | None, int | None, int | None]]:
        return type(self), (self.message, self.path, self.frame, self.line)


class SettingsError(MlipstoreError, ValueError):
    """A run file, an option or a setting of a plugin is not valid."""


class UnknownNameError(MlipstoreError, KeyError):
    """A name (plugin, group, feature, model, setting) does not exist."""


class StoreError(MlipstoreError, OSError):
    """The store cannot be read or written."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no store at this place."""


class DamagedStoreError(StoreError):
    """Stored bytes are missing or do not match their checksum."""


class ComputeError(MlipstoreError, RuntimeError):
    """A descriptor or a reference potential failed for one configuration."""


class MemoryLimitError(MemoryError, MlipstoreError):  # this order: MemoryError brings its own __new__
    """The projected memory of a run exceeds its allowance."""


class MissingDependencyError(MlipstoreError, ImportError):
    """An optional package is needed for what was asked."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?`` with the closest known name, or an empty string.

    >>> nearest("surfce", ["surface", "vacancy"])
    "Did you mean 'surface'? "
    """
    lower = {k.lower(): k for k in known}
    match = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f"Did you mean {lower[match[0]]!r}? " if match else ""


def listed(names: Iterable[str], limit: int = 20) -> str:
    """Names as a sentence part, cut after ``limit`` with the total.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b, ... (3)'
    """
    all_names = list(names)
    if len(all_names) <= limit:
        return ", ".join(all_names)
    return ", ".join(all_names[:limit]) + f", ... ({len(all_names)})"


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """A number of things, for people.

    >>> counted(1, "group"), counted(2000, "group"), counted(2, "copy", "copies")
    ('1 group', '2,000 groups', '2 copies')
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def unknown_name(what: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that does not exist, with the nearest one and the list."""
    names = sorted(known)
    have = f"Known: {listed(names)}." if names else "There is none yet."
    return UnknownNameError(f"no {what} {name!r}. {nearest(name, names)}{have}")
