"""What every reader is given (:class:`ReadOptions`) and what it reports (:class:`ReadReport`).

A reader is one file in ``mlipstore/readers/`` with a frozen dataclass called ``plugin``::

    @dataclass(frozen=True)
    class MyFormat:
        options: ReadOptions = field(default_factory=ReadOptions)

        @staticmethod
        def recognises(path: Path, head: bytes) -> bool: ...      # cheap; head = first 4 kB, b"" for a folder
        def files(self, path: Path) -> list[Path]: ...            # what to read, in a fixed order
        def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]: ...

    plugin = MyFormat

``takes = ("stress_unit", "index")``, beside ``options``, says which of the options mean something to the reader
(``group_by`` does to all), so that others are refused by name; a reader without ``takes`` is given any.
A reader of many small files may have ``names(path) -> list[str]``, the same as ``files`` but faster.

``read`` gets one entry of ``files``; ``root`` is what the user named (``files`` was called with it), so that a group
can be the folder below it. ``read`` streams, converts to internal units, raises :class:`InputError` naming the file,
the frame and the line, and never loses a label silently: what it had to assume goes to ``report.assume``, what it met
to ``report.met``. It ends with :func:`mlipstore.labels.checked`; that module does what every reader needs (atomic
numbers, stress conventions, missing values). Which reader takes a path: :func:`mlipstore.readers.recognise`.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .configuration import Configuration
from .errors import InputError, SettingsError, listed, nearest
from .units import VOIGT, factor

T = TypeVar("T")
GROUP_BY = ("auto", "directory", "file", "none")
#: Options that several readers take (``takes``).
KEYS = ("energy_key", "force_key", "stress_key")
UNITS = ("energy_unit", "length_unit", "force_unit")
STRESS = ("stress_unit", "stress_sign", "stress_order", "group_stress_unit", "group_stress_order")
#: Endings of compressed files, which are read as what is inside.
COMPRESSED = (".gz", ".bz2", ".xz")


@dataclass(frozen=True)
class ReadOptions:
    """How to read files whose format leaves something open. None = what the format says, else ask.

    :param energy_key: name of the energy in files with free key names; likewise force, stress, virial
    :param energy_unit: unit of the numbers in the file, see :mod:`mlipstore.units`; likewise the others
    :param stress_sign: ``tension`` or ``compression``: which one is positive in the file
    :param stress_order: order of six stress numbers in the file, e.g. ``xx yy zz xy yz xz``
    :param group_stress_unit: unit per group, over ``stress_unit``
    :param group_stress_order: order per group, over ``stress_order``
    :param group_by: ``auto`` (what the format says), ``directory`` (folder below the named path), ``file`` (file name),
        ``none`` (one group, ``all``) or ``key:NAME`` (value of that key in the file)
    :param type_map: element symbols of integer atom types, in type order
    :param index: frames of a trajectory, ``:`` all, ``-1`` the last
    """

    energy_key: str | None = None
    force_key: str | None = None
    stress_key: str | None = None
    virial_key: str | None = None
    energy_unit: str | None = None
    length_unit: str | None = None
    force_unit: str | None = None
    stress_unit: str | None = None
    stress_sign: str | None = None
    stress_order: str | None = None
    group_stress_unit: Mapping[str, str] = field(default_factory=dict)
    group_by: str = "auto"
    type_map: tuple[str, ...] = ()
    index: str = ":"
    group_stress_order: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no reader would understand; :class:`SettingsError`."""
        for quantity in ("energy", "length", "force", "stress"):
            unit = getattr(self, f"{quantity}_unit")
            if unit is not None:
                factor(quantity, unit)
        for unit in self.group_stress_unit.values():
            factor("stress", unit)
        if self.stress_sign not in (None, "tension", "compression"):
            raise SettingsError(f"--stress-sign is {self.stress_sign!r}: say tension or compression (positive one).")
        for order in (self.stress_order, *self.group_stress_order.values()):
            if order is not None:
                voigt_order(order)
        if self.group_by not in GROUP_BY and not re.fullmatch("key:.+", self.group_by):
            raise SettingsError(f"--group-by is {self.group_by!r}: say one of {listed(GROUP_BY)}, key:NAME.")
        index_slice(self.index)

    def given(self) -> list[str]:
        """Names of the options that say something else than nothing."""
        nothing = ReadOptions()
        return [f.name for f in fields(ReadOptions) if getattr(self, f.name) != getattr(nothing, f.name)]


@dataclass
class ReadReport:
    """Counts of what was assumed and met while reading; reports of parallel workers add up.

    :param skip_bad: leave out a configuration that makes no sense and go on with the next (see :meth:`refuse`)
    :param refused: messages of the configurations that were left out
    """

    assumed: dict[str, int] = field(default_factory=dict)
    observed: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    skip_bad: bool = False
    refused: list[str] = field(default_factory=list)

    def refuse(self, error: InputError) -> None:
        """For a reader that can go on after a bad configuration: raise ``error``, or note it when ``skip_bad``."""
        if not self.skip_bad:
            raise error
        self.refused.append(str(error))

    def assume(self, what: str, n: int = 1) -> None:
        """Count one use of an assumption, e.g. ``stress in bar, compression positive (FitSNAP JSON)``."""
        self.assumed[what] = self.assumed.get(what, 0) + n

    def met(self, what: str, where: str = "", n: int = 1) -> None:
        """Count something worth telling, e.g. ``all-zero stress tensor``, keeping a few examples."""
        self.observed[what] = self.observed.get(what, 0) + n
        if where:
            examples = self.examples.setdefault(what, [])
            if len(examples) < 5:
                examples.append(where)

    def add(self, other: ReadReport) -> None:
        """Fold another report into this one."""
        for what, n in other.assumed.items():
            self.assume(what, n)
        for what, n in other.observed.items():
            self.met(what, n=n)
        for what, places in other.examples.items():
            mine = self.examples.setdefault(what, [])
            mine.extend(places[: 5 - len(mine)])
        self.refused.extend(other.refused)

    def of_file(self, name: str, other: str) -> ReadReport:
        """The same about a file that is called otherwise."""
        places = {what: [p.replace(name, other) for p in found] for what, found in self.examples.items()}
        return replace(self, examples=places, refused=[text.replace(name, other) for text in self.refused])

    def take(self) -> ReadReport:
        """What has been noted so far, as a report of its own; this one, which a reader may still hold, is emptied."""
        out = ReadReport(skip_bad=self.skip_bad)
        out.add(self)
        for notes in (self.assumed, self.observed, self.examples, self.refused):
            notes.clear()
        return out

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the store and for ``--json``."""
        return {"assumed": self.assumed, "observed": self.observed, "examples": self.examples}


class Reader(Protocol):
    """The contract of a reader plugin, see the module docstring."""

    options: ReadOptions

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool: ...

    def files(self, path: Path) -> list[Path]: ...

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]: ...


def below(path: Path, *patterns: str) -> list[Path]:
    """Files of a folder and its sub-folders that match a pattern, by folder then name as strings; or the file itself.

    :raises InputError: nothing there, or no file matches
    """
    return list(map(Path, names_below(path, *patterns)))


def names_below(path: Path, *patterns: str) -> list[str]:
    """:func:`below` as strings: to make a :class:`~pathlib.Path` takes as long as to open a small file."""
    if not path.is_dir():
        if not path.exists():
            raise InputError("there is no such file or folder.", str(path))
        return [str(path)]
    matches = re.compile("|".join(fnmatch.translate(os.path.normcase(p)) for p in patterns)).match
    found = []
    for folder, names in walk(path):
        found += [(folder, n) for n in names if matches(os.path.normcase(plain_name(n)))]
    if not found:
        raise InputError(f"no file matches {listed(patterns)} in this folder.", str(path))
    bases = {
        folder: os.path.join(Path(folder), "").removeprefix(f".{os.sep}") for folder, _ in found
    }  # as a Path is written
    return [bases[folder] + n for folder, n in sorted(found)]


def plain_name(name: str) -> str:
    """The name of the file inside a compressed one; any other name as it is.

    >>> plain_name("a.xyz.gz")
    'a.xyz'
    """
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in COMPRESSED else name


def walk(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder from ``path`` down with the names of its files, in order, hidden ones left out.

    Links are followed, but not into a folder that they lie in.

    :raises InputError: a folder cannot be read
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"the folder cannot be read: {error.strerror}.", str(error.filename))

    above: dict[str, frozenset[str]] = {}  # real paths of a folder and those it was reached through
    for folder, folders, names in os.walk(path, followlinks=True, onerror=refuse):
        here, parents = os.path.realpath(folder), above.get(os.path.dirname(folder), frozenset())
        if here in parents:
            folders.clear()
            continue
        above[folder] = parents | {here}
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        yield folder, sorted(n for n in names if not n.startswith("."))


@lru_cache(maxsize=4096)
def _folder_below(folder: str, root: str | None) -> str:
    parent = os.path.abspath(folder)
    if root is not None:
        inside = os.path.relpath(parent, os.path.abspath(root))
        if inside != "." and not inside.startswith(".."):
            return inside.replace(os.sep, "/")
    return os.path.basename(parent) or "all"


def group_name(
    options: ReadOptions,
    path: Path,
    root: Path | None,
    auto: str = "directory",
    keys: Mapping[str, Any] | None = None,
    frame: int | None = None,
) -> str:
    """The group of a configuration.

    :param auto: what ``group_by = "auto"`` means for this format: one of the other choices, or ``=NAME`` for a name
        that the file gives
    :param keys: what the file says about the configuration, for ``key:NAME``
    """
    by = auto if options.group_by == "auto" else options.group_by
    if by.startswith("="):
        return by[1:]
    if by == "directory":
        return _folder_below(os.path.dirname(path), None if root is None else str(root))
    if by == "file":
        return path.stem
    if by == "none":
        return "all"
    key = by.removeprefix("key:")
    if not keys or keys.get(key) is None:
        have = listed(sorted(keys or {})) or "none"
        raise InputError(
            f"--group-by key:{key}: this configuration has no {key!r}. {nearest(key, keys or {})}Keys here: {have}.",
            str(path),
            frame,
        )
    return str(keys[key])


@cache
def voigt_order(order: str) -> tuple[int, ...]:
    """Where each of xx yy zz yz xz xy stands in six numbers of another order.

    >>> voigt_order("xx yy zz xy yz zx")
    (0, 1, 2, 4, 5, 3)
    """
    names = ["".join(sorted(n)) for n in order.lower().replace(",", " ").split()]
    if sorted(names) != sorted(VOIGT):
        raise SettingsError(f"--stress-order {order!r} must name xx yy zz yz xz xy once each, in the file's order.")
    return tuple(names.index(n) for n in VOIGT)


def index_slice(index: str) -> slice:
    """``:`` all, ``-1`` the last, ``0`` the first, ``10:100:5`` as in Python."""
    parts = index.split(":")
    try:
        numbers = [int(p) if p.strip() else None for p in parts]
        if len(numbers) == 1 and numbers[0] is not None:
            return slice(numbers[0], numbers[0] + 1 or None)
        if len(numbers) in (2, 3) and numbers[2:] != [0] and (len(numbers) == 2 or (numbers[2] or 1) > 0):
            return slice(*numbers)
    except ValueError:
        pass
    raise SettingsError(f"--index {index!r}: say ':' (all), '-1' (the last), '0' (the first) or start:stop:step.")


def selected(frames: Iterable[T], index: str) -> Iterator[T]:
    """The frames that ``index`` names, streaming; only indices that count from the end keep frames."""
    s = index_slice(index)
    if (s.start or 0) >= 0 and (s.stop is None or s.stop >= 0):
        yield from islice(frames, s.start, s.stop, s.step)
    elif s.start is not None and s.start < 0 and s.stop is None:
        yield from islice(deque(frames, maxlen=-s.start), None, None, s.step)
    else:
        yield from list(frames)[s]
