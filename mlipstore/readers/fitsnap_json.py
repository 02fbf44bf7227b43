"""FitSNAP JSON: one configuration per file, group = folder, units named by ``*Style`` keys.

Layout: an optional comment line, then ``{"Dataset": {"...Style": ..., "Data": [{...}]}}`` with ``Lattice`` (rows),
``Positions``, ``AtomTypes``, ``Energy`` (total), ``Forces``, ``Stress`` (3 x 3, positive in compression), and
optionally ``Spins`` (N x 4: magnitude, direction) and ``Charges``. Units are FitSNAP's, so that a moved project keeps
its numbers: 1 Ha = 27.2114 eV, 1 eV/Å^3 = 1.6021765e6 bar (LAMMPS metal). Entries of its table that are wrong by powers
of ten (m, cm, newton, dyne, atomic pressure) are right here, and a missing ``*Style`` key always means FitSNAP's
default, never the unit of the file read before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..configuration import F8, Batch, Configuration
from ..errors import InputError, listed, nearest
from ..labels import atomic_numbers, checked, number, of_types, place_of, stress_unit, symmetric_stress, table
from ..reading import STRESS, UNITS, ReadOptions, ReadReport, below, group_name, names_below
from ..units import LAMMPS_BAR_PER_EV_A3, factor
from ._fitsnap_runs import read_run

_ATOMIC_PRESSURE = 2.942102648438959e8  # bar in Ha/Bohr^3
_NEWTON = 6.241509e8  # eV/Å
#: Unit names of FitSNAP in lower case -> factor to eV, Å, eV/Å, bar.
STYLES: dict[str, dict[str, float]] = {
    "Energy": {
        **dict.fromkeys(("electronvolt", "electronvolts", "ev", "metal"), 1.0),
        **dict.fromkeys(("hartree", "hartrees", "ha", "atomic"), 27.2114),
        **dict.fromkeys(("rydberg", "ry"), 13.6056980659),
    },
    "Lattice": {
        **dict.fromkeys(("angstrom", "angstroms", "å", "a", "metal"), 1.0),
        **dict.fromkeys(("bohr", "au", "atomic"), 0.52917721067121),
        **dict.fromkeys(("nanometer", "nm"), 10.0),
        **dict.fromkeys(("centimeter", "cm"), 1e8),
        **dict.fromkeys(("meter", "m"), 1e10),
    },
    "Forces": {
        **dict.fromkeys(("electronvoltperangstrom", "ev/angstrom", "ev_per_angstrom", "ev/å", "ev/a", "metal"), 1.0),
        **dict.fromkeys(("hartree_per_bohr", "hartree/bohr", "hartreeperbohr", "ha/bohr", "atomic"), 51.422),
        "newton": _NEWTON,
        "dyne": _NEWTON * 1e-5,
    },
    "Stress": {
        **dict.fromkeys(("bar", "bars", "metal"), 1.0),
        **dict.fromkeys(("kb", "kbar", "kbars"), 1000.0),
        **dict.fromkeys(("atm", "atmosphere", "atmospheres"), 1.01325),
        **dict.fromkeys(("pa", "pascal", "pascals"), 1e-5),
        **dict.fromkeys(("kpa", "kilopascal", "kilopascals"), 1e-2),
        **dict.fromkeys(("mpa", "megapascal", "megapascals"), 10.0),
        **dict.fromkeys(("gpa", "gigapascal", "gigapascals"), 1e4),
        **dict.fromkeys(("atomic", "eh_per_bohr_per_bohr_per_bohr", "ha/bohr^3"), _ATOMIC_PRESSURE),
    },
}
STYLES["Positions"] = STYLES["Lattice"]
#: What FitSNAP assumes where a file does not say.
DEFAULT_STYLE = {
    "Energy": "electronvolt",
    "Lattice": "angstrom",
    "Positions": "angstrom",
    "Forces": "electronvoltperangstrom",
    "Stress": "bar",
}
_OPTION = {"Energy": "energy", "Lattice": "length", "Positions": "length", "Forces": "force", "Stress": "stress"}
_LABELS = ("Energy", "Forces", "Stress")
_QUANTITIES = ("Lattice", "Positions", "Energy", "Forces", "Stress")
_STYLE_KEYS = tuple(f"{q}Style" for q in _QUANTITIES)
_KNOWN = {"Lattice", "Positions", "AtomTypes", "NumAtoms", "Spins", "Charges", "Label", "AtomTypeStyle", "Data"}
_KNOWN |= {*_LABELS, *_STYLE_KEYS}
#: How a key ends, and hardly anything else in the text of such a file.
_KEY_END = b'":'
#: Bytes of a first read: most files fit, and a larger buffer costs more than the reading.
_ENOUGH = 1 << 14
_READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0)


@lru_cache(maxsize=1024)
def _factors(
    styles: tuple[str | None, ...], wanted: tuple[str | None, ...]
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Factors of :data:`_QUANTITIES` to eV, Å, eV/Å, eV/Å^3 (sign kept), and what had to be assumed.

    :param styles: unit names in the file, None where it says nothing
    :param wanted: units that the user says, None where the file is believed
    :raises ValueError: a style that is none
    """
    out, notes = [], []
    for quantity, style, unit in zip(_QUANTITIES, styles, wanted, strict=True):
        known, kind = STYLES[quantity], _OPTION[quantity]
        if style is None and unit is None:
            style = DEFAULT_STYLE[quantity]
            notes.append(f"{quantity} in {style}, FitSNAP's default (the file has no {quantity}Style)")
        name = str(style) if unit is None else unit
        value = known.get(name.strip().lower())
        if value is not None:
            out.append(value / LAMMPS_BAR_PER_EV_A3 if quantity == "Stress" else value)
        elif unit is not None:
            out.append(factor(kind, unit))
        else:
            raise ValueError(
                f"unknown {quantity}Style {style!r}. {nearest(name, known)}Known: {listed(known)}. "
                f"--{kind}-unit overrides it."
            )
    return tuple(out), tuple(notes)


def _bytes(path: Path) -> bytes:
    """A small file, with as few calls as can be."""
    try:
        handle = os.open(path, _READ_ONLY)
        try:
            raw = os.read(handle, _ENOUGH)
            if len(raw) == _ENOUGH:
                rest = max(os.fstat(handle).st_size, _ENOUGH)
                while more := os.read(handle, rest):
                    raw += more
        finally:
            os.close(handle)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", str(path)) from None
    return raw


def _load(path: Path) -> tuple[Any, bytes]:
    """The JSON value of a file and its text, the comment line skipped; :class:`InputError` with line and column."""
    import orjson

    raw = _bytes(path)
    skipped = 0
    if raw[:1] != b"{":
        start = 0 if raw.lstrip()[:1] == b"{" else raw.find(b"\n") + 1
        if start == 0 and raw.lstrip()[:1] != b"{":
            raise InputError("the file is empty or has no JSON after its first line.", str(path))
        skipped = raw.count(b"\n", 0, start)
        raw = raw[start:]
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError:
        data = _load_tolerant(raw, path, skipped)
    return data, raw


def _load_tolerant(raw: bytes, path: Path, skipped: int) -> Any:
    """What the standard library reads: also NaN and Infinity."""
    try:
        return json.loads(raw)
    except json.JSONDecodeError as error:
        line = error.lineno + skipped
        if not raw[error.pos :].strip():
            raise InputError("the file ends too early: it is truncated.", str(path), line=line) from None
        raise InputError(f"not valid JSON: {error.msg} at column {error.colno}.", str(path), line=line) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not valid JSON: {error}.", str(path)) from None


def _refuse_twice(raw: bytes, path: Path) -> None:
    """Read again, slowly, looking for keys that are there twice."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            names = [k for k, _ in items]
            key = next(k for k in names if names.count(k) > 1)
            raise InputError(f"the key {key!r} is there twice.", str(path))
        return found

    json.loads(raw, object_pairs_hook=pairs)


@dataclass(frozen=True)
class FitsnapJson:
    """Reader of FitSNAP's JSON trees."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = (*UNITS, *STRESS, "type_map")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """A ``.json`` file whose first object holds ``Dataset``."""
        start = head.find(b"{")
        return path.suffix.lower() == ".json" and start >= 0 and head[start + 1 :].lstrip()[:9] == b'"Dataset"'

    def files(self, path: Path) -> list[Path]:
        """All ``*.json`` below a folder, by group folder then file name as strings."""
        return below(path, "*.json")

    def names(self, path: Path) -> list[str]:
        """:meth:`files` as strings."""
        return names_below(path, "*.json")

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """The configuration of one file (or several, where ``Data`` lists several)."""
        data, raw = _load(path)
        dataset = data.get("Dataset") if isinstance(data, dict) else None
        if not isinstance(dataset, dict):
            raise InputError("FitSNAP JSON has one object with the key 'Dataset'; it is not here.", str(path))
        items = dataset.get("Data")
        if not isinstance(items, list) or not items:
            raise InputError("'Dataset' has no list 'Data' with a configuration.", str(path))
        keys = len(data) + len(dataset) + sum(len(item) for item in items if isinstance(item, dict))
        if raw.count(_KEY_END) != keys:  # a parser keeps the last of two equal keys: look closer
            _refuse_twice(raw, path)
        for frame, item in enumerate(items):
            if not isinstance(item, dict):
                raise InputError("an entry of 'Data' is not an object.", str(path), frame)
            both = [k for k in item if k in dataset]
            if both:
                raise InputError(f"{both[0]!r} is in 'Dataset' and in 'Data': say it once.", str(path), frame)
            try:
                configuration = self._configuration({**dataset, **item}, path, frame, report, root)
            except (TypeError, ValueError, OverflowError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"a value has the wrong type: {error}.", str(path), frame) from None
            checked(configuration, report, path)
            if _left_handed(configuration.cell):
                report.met("left-handed cell (FitSNAP refuses it; kept)", place_of(path, frame))
            yield configuration

    def read_run(self, paths: Sequence[str], report: ReadReport, root: Path | None = None) -> Batch | None:
        """The configurations of the first of these files, one each, where they look alike; see `_fitsnap_runs`."""
        options = self.options
        if options.group_by not in ("auto", "directory", "none"):
            return None
        folder = os.path.dirname(paths[0])
        same = next((i for i, path in enumerate(paths) if os.path.dirname(path) != folder), len(paths))
        group = group_name(options, Path(paths[0]), root)
        wanted = self._wanted(group)
        sign = options.stress_sign or "compression"

        def factors_of(styles: tuple[str | None, ...]) -> tuple[tuple[float, ...], tuple[str, ...]]:
            factors, notes = _factors(styles, wanted)
            return factors, (*notes, _stress_assumption(wanted[-1] or styles[-1], sign))

        return read_run(paths[:same], group, factors_of, 1.0 if sign == "tension" else -1.0, self._order(group), report)

    def _wanted(self, group: str) -> tuple[str | None, ...]:
        """Units of :data:`_QUANTITIES` that the user says, None where the file is believed."""
        options = self.options
        return (
            *(options.length_unit, options.length_unit, options.energy_unit, options.force_unit),
            stress_unit(options, group, "") or None,
        )

    def _order(self, group: str) -> str:
        """Order of six stress components."""
        options = self.options
        return options.group_stress_order.get(group) or options.stress_order or "xx yy zz yz xz xy"

    def _configuration(
        self, item: dict[str, Any], path: Path, frame: int, report: ReadReport, root: Path | None
    ) -> Configuration:
        for key in ("Lattice", "Positions", "AtomTypes"):
            if item.get(key) is None:
                raise InputError(f"{key!r} is missing. {nearest(key, item)}", str(path), frame)
        group = group_name(self.options, path, root, "directory", item, frame)
        types = item["AtomTypes"]
        if not isinstance(types, list):
            raise InputError("'AtomTypes' is not a list of element symbols.", str(path), frame)
        if types and isinstance(types[0], int):
            numbers = of_types(types, self.options, path, frame, first=1)
        else:
            numbers = atomic_numbers(types, path, frame)
        n = len(numbers)
        if item.get("NumAtoms", n) != n:
            raise InputError(f"'NumAtoms' is {item['NumAtoms']!r}, 'AtomTypes' has {n:,}.", str(path), frame)
        wanted = self._wanted(group)
        try:
            factors, notes = _factors(tuple([item.get(k) for k in _STYLE_KEYS]), wanted)
        except ValueError as error:
            raise InputError(str(error), str(path), frame) from None
        for note in notes:
            report.assume(note)
        cell = _times(table(item["Lattice"], "Lattice", path, frame), factors[0])
        positions = _times(table(item["Positions"], "Positions", path, frame), factors[1])
        energy = float("nan")
        if item.get("Energy") is not None:
            energy = number(item["Energy"], "energy", report, path, frame) * factors[2]
        forces = stress = None
        if item.get("Forces") is not None:
            forces = _times(table(item["Forces"], "Forces", path, frame), factors[3])
        if item.get("Stress") is not None:
            stress = self._stress(item, factors[4], wanted[-1], group, path, frame, report)
        for key in _LABELS:
            if item.get(key) is None:
                report.met(f"no {key.lower()} in the file", place_of(path, frame))
        info = {"label": item["Label"]} if isinstance(item.get("Label"), str) else {}
        for key in item.keys() - _KNOWN:
            if isinstance(item[key], (str, int, float, bool)):
                info[key] = item[key]
            else:
                report.met(f"{key!r} is not stored", place_of(path, frame))
        return Configuration(
            numbers=numbers,
            positions=positions,
            cell=cell,
            pbc=np.ones(3, bool),
            energy=energy,
            forces=forces,
            stress=stress,
            group=group,
            source=os.fspath(path),
            frame=frame,
            spin=self._spins(item, path, frame),
            charge=None if item.get("Charges") is None else table(item["Charges"], "Charges", path, frame).reshape(-1),
            info=info,
        )

    def _stress(
        self,
        item: Mapping[str, Any],
        scale: float,
        unit: str | None,
        group: str,
        path: Path,
        frame: int,
        report: ReadReport,
    ) -> F8 | None:
        values = table(item["Stress"], "Stress", path, frame)
        if values.shape not in ((3, 3), (6,), (9,)):
            raise InputError(f"'Stress' has shape {values.shape}, expected (3, 3).", str(path), frame)
        sign = self.options.stress_sign or "compression"
        report.assume(_stress_assumption(unit or item.get("StressStyle"), sign))
        scale = scale if sign == "tension" else -scale
        return symmetric_stress(values, self._order(group), scale, report, path, frame)

    def _spins(self, item: Mapping[str, Any], path: Path, frame: int) -> F8 | None:
        """Moment vectors: magnitude times unit direction; a zero direction is no moment."""
        if item.get("Spins") is None:
            return None
        spins = table(item["Spins"], "Spins", path, frame)
        if spins.ndim != 2 or spins.shape[1] != 4:
            raise InputError(f"'Spins' has shape {spins.shape}, expected rows of magnitude x y z.", str(path), frame)
        length = np.linalg.norm(spins[:, 1:], axis=1)
        return spins[:, 1:] * (spins[:, 0] / np.where(length > 0, length, 1.0))[:, None]


def _stress_assumption(unit: str | None, sign: str) -> str:
    return f"stress in {unit or DEFAULT_STYLE['Stress']}, {sign} positive (FitSNAP JSON)"


def _times(values: F8, scale: float) -> F8:
    return values if scale == 1.0 else values * scale


def _left_handed(cell: F8) -> bool:
    (a, b, c), (d, e, f), (g, h, i) = cell.tolist()
    return bool(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) < 0)


plugin = FitsnapJson
