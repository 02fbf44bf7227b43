"""Columns of configurations that expressions and tables know, read only as far as they are asked for.

What is small and often asked for lies beside the index, one read for the whole store; what a file said (source, frame,
``info``) is read segment by segment.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audit.flags import flagged, is_check
from ..errors import SettingsError, UnknownNameError, listed, nearest
from ..index import FACTS, LIVE, Index, keys
from ..split import SPLITS
from .annotations import FLAG, VALUE, annotation_names, load_annotation

#: Columns and what they mean; ``info.KEY`` and annotations come on top.
COLUMNS = {
    "group": "group of the configuration",
    "n_atoms": "number of atoms",
    "elements": 'symbols: "W" in elements, elements == "W Be", elements <= "W Be H" (no others)',
    "n_elements": "number of different elements",
    "energy": "total energy, eV",
    "energy_per_atom": "energy per atom, eV",
    "volume": "volume of a periodic cell, Å^3",
    "volume_per_atom": "volume per atom, Å^3",
    "max_force": "largest force on an atom, eV/Å",
    "pressure": "pressure, eV/Å^3 (minus a third of the trace of the stress)",
    "has_energy": "whether there is an energy label",
    "has_forces": "whether there are force labels",
    "has_stress": "whether there is a stress label",
    "pbc": 'periodic lattice vectors, "TTT" for all',
    "periodic": "whether all lattice vectors are periodic",
    "uid": "content hash, hexadecimal; its first characters (at least 4) are enough",
    "segment": "segment that holds the configuration",
    "source": "file it came from",
    "frame": "frame in that file, from 0",
    "split": '"train", "test" or "unused" in a model (where one is given)',
    "note": "note that was annotated",
}
#: Those that are read segment by segment.
_OF_FILES = ("source", "frame")
#: Parts of a configuration in a model, as `split` says them.
SPLIT_NAMES = (*SPLITS, "unused")


@dataclass
class Text:
    """Texts of configurations: ``names[codes]``, code -1 for a missing one."""

    names: NDArray[Any]
    codes: NDArray[Any]

    @classmethod
    def of(cls, values: list[str | None]) -> Text:
        table: dict[str, int] = {}
        codes = [-1 if v is None else table.setdefault(v, len(table)) for v in values]
        return cls(np.array(list(table), object), np.array(codes, np.int64))

    def tolist(self) -> list[str | None]:
        named = [*self.names.tolist(), None]
        return [named[c] for c in self.codes.tolist()]


@dataclass
class Uids:
    """Content hashes ``(n, 32)``."""

    data: NDArray[np.uint8]

    def tolist(self) -> list[str]:
        return [k.hex() for k in keys(self.data)]


@dataclass
class Elements:
    """Sets of elements as bits ``(n, 128)``."""

    data: NDArray[np.uint8]

    def tolist(self) -> list[list[str]]:
        from ase.data import chemical_symbols

        return [[chemical_symbols[z] for z in np.flatnonzero(row)] for row in self.data]


Column = NDArray[Any] | Text | Uids | Elements
#: Part of each configuration of a segment in a model: positions in SPLIT_NAMES.
SplitOf = Callable[[str], NDArray[np.int8]]


class Columns:
    """The columns of one version.

    :param split: says the parts of a model; without it there is no column ``split``
    """

    def __init__(self, index: Index, split: SplitOf | None = None) -> None:
        self.index, self.snapshot, self.split = index, index.snapshot, split

    @cached_property
    def flags(self) -> list[str]:
        return annotation_names(self.snapshot, FLAG)

    @cached_property
    def values(self) -> list[str]:
        return annotation_names(self.snapshot, VALUE)

    def known(self) -> list[str]:
        """Names of all columns but ``info.KEY``."""
        return [*COLUMNS, *(v for v in self.values if v not in COLUMNS)]

    def check(self, name: str) -> None:
        """Refuse a column that does not exist.

        :raises UnknownNameError: names the nearest one
        """
        if name in COLUMNS or name in self.values or (name.startswith("info.") and len(name) > 5):
            return
        hint = nearest(name, self.known())
        raise UnknownNameError(f"no column {name!r}. {hint}Known: {listed([*self.known(), 'info.KEY'], 60)}.")

    def by_segment(self, name: str) -> bool:
        """Whether a column is read segment by segment."""
        return name in _OF_FILES or name == "split" or name.startswith("info.")

    def get(self, name: str, segment: str | None = None) -> Column:
        """A column of the whole store, or of one segment.

        :raises SettingsError: it needs a model that was not given
        """
        self.check(name)
        rows = slice(None) if segment is None else self.index.rows(segment)
        if self.by_segment(name):
            assert segment is not None
            return self._of_segment(name, segment)
        return self._of_index(name, rows)

    def flagged(self, names: list[str], segment: str | None = None) -> NDArray[np.bool_]:
        """Whether each configuration has one of these flags (any flag, if none is named).

        The name of a check of the audit stands for what the newest stored audit warns about.
        """
        checks = [n for n in names if n not in self.flags and is_check(n)]
        for name in names:
            if name not in self.flags and name not in checks:
                have = f"Known: {listed(self.flags)}." if self.flags else "There are no flags yet."
                raise UnknownNameError(f"no flag {name!r}. {nearest(name, self.flags)}{have}")
        rows = slice(None) if segment is None else self.index.rows(segment)
        out = np.zeros(len(self.index.state[rows]), bool)
        for name in names or self.flags:
            out |= self._check(name)[rows] if name in checks else self._flag(name)[rows]
        return out

    def _check(self, name: str) -> NDArray[np.bool_]:
        """Which configurations a check of the newest stored audit warns about."""
        live = self.index.state == LIVE
        out = np.zeros(len(live), bool)
        out[live] = flagged(self.index.snapshot, self.index.uid[live], name)
        return out

    # ------------------------------------------------------------------- beside the index
    def _fact(self, name: str, rows: slice) -> NDArray[np.float64]:
        out: NDArray[np.float64] = self.index.facts[rows, FACTS.index(name)]
        return out

    def _of_index(self, name: str, rows: slice) -> Column:
        index = self.index
        if name in ("n_atoms", "energy", "volume", "max_force", "pressure"):
            return self._fact(name, rows)
        if name in ("energy_per_atom", "volume_per_atom"):
            return self._fact(name.removesuffix("_per_atom"), rows) / self._fact("n_atoms", rows)
        if name.startswith("has_"):
            fact = {"has_energy": "energy", "has_forces": "max_force", "has_stress": "pressure"}[name]
            return np.isfinite(self._fact(fact, rows))
        if name == "periodic":
            return np.asarray(self._fact("periodic", rows) == 7)
        if name == "pbc":
            texts = ["".join("FT"[i >> k & 1] for k in range(3)) for i in range(8)]
            return Text(np.array(texts, object), self._fact("periodic", rows).astype(np.int64))
        if name == "group":
            groups, codes = index.group_codes
            return Text(np.array(groups, object), codes[rows])
        if name == "segment":
            numbers = np.repeat(np.arange(len(index.segments)), np.diff(index.start))
            return Text(np.array([s.name for s in index.segments], object), numbers[rows])
        if name == "uid":
            return Uids(index.uid[rows])
        if name in ("elements", "n_elements"):
            bits = np.unpackbits(index.elements[rows], axis=1, bitorder="little")
            return Elements(bits) if name == "elements" else bits.sum(axis=1).astype(float)
        return _sliced(self._value(name), rows)

    @cached_property
    def _keys(self) -> list[bytes]:
        return keys(self.index.uid)

    def _flag(self, name: str) -> NDArray[np.bool_]:
        have = load_annotation(self.snapshot, FLAG, name).values
        return np.fromiter((k in have for k in self._keys), bool, len(self._keys))

    @cached_property
    def _held(self) -> dict[str, Column]:
        return {}

    def _value(self, name: str) -> Column:
        """An annotated column of the whole store."""
        if name not in self._held:
            table = load_annotation(self.snapshot, VALUE, name).values if name in self.values else {}
            self._held[name] = column_of([table.get(k) for k in self._keys])
        return self._held[name]

    # --------------------------------------------------------------- of segments
    def _of_segment(self, name: str, segment: str) -> Column:
        here = f"configurations/{segment}/"
        if name == "frame":
            return np.asarray(self.snapshot.read(here + "frame"), float)
        if name == "source":
            return Text.of(self.snapshot.read(here + "source").tolist())
        if name == "split":
            if self.split is None:
                raise SettingsError("the column 'split' is that of a model: say which, with --model NAME.")
            return Text(np.array(SPLIT_NAMES, object), self.split(segment).astype(np.int64))
        key = name.removeprefix("info.")
        return column_of([json.loads(t).get(key) if t else None for t in self.snapshot.read(here + "info").tolist()])


def column_of(values: list[Any]) -> Column:
    """Numbers where all values that are there are numbers, else texts; lists and tables as JSON text."""
    have = [v for v in values if v is not None]
    if all(isinstance(v, (int, float)) for v in have):
        return np.array([np.nan if v is None else _number(v) for v in values])
    return Text.of([v if v is None or isinstance(v, str) else json.dumps(v, sort_keys=True) for v in values])


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return float("inf") if value > 0 else float("-inf")


def _sliced(column: Column, rows: slice) -> Column:
    if isinstance(column, Text):
        return Text(column.names, column.codes[rows])
    assert isinstance(column, np.ndarray)
    part: NDArray[Any] = column[rows]
    return part
