"""From what a file says to what is stored: elements, numbers, stress conventions, the last checks of every reader."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .configuration import F8, Configuration
from .errors import InputError, nearest
from .reading import ReadOptions, ReadReport, voigt_order
from .units import factor


@cache
def elements() -> dict[str, int]:
    """Atomic number of each element symbol."""
    from ase.data import atomic_numbers as table

    return {symbol: z for symbol, z in table.items() if z > 0}


def atomic_numbers(symbols: Sequence[str], path: Path, frame: int | None = None) -> NDArray[np.int32]:
    """Atomic numbers ``(n,)`` of element symbols; :class:`InputError` names the one that is none."""
    table = elements()
    try:
        return np.array([table[s] for s in symbols], np.int32)
    except (KeyError, TypeError):
        for i, s in enumerate(symbols):
            if not isinstance(s, str) or s not in table:
                hint = nearest(str(s), table)
                raise InputError(f"atom {i + 1} is {s!r}, which is not an element. {hint}", str(path), frame) from None
        raise


def known_numbers(numbers: Any, path: Path, frame: int | None = None) -> NDArray[np.int32]:
    """Atomic numbers ``(n,)`` given as numbers, checked to be elements."""
    try:
        z = np.asarray(numbers, np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise InputError("the atomic numbers are not integers.", str(path), frame) from None
    bad = (z < 1) | (z > max(elements().values()))
    if bad.any():
        i = int(np.argmax(bad))
        raise InputError(f"atom {i + 1} has atomic number {int(z[i])}, which is not an element.", str(path), frame)
    return z.astype(np.int32)


def of_types(
    types: Any, options: ReadOptions, path: Path, frame: int | None = None, first: int = 0
) -> NDArray[np.int32]:
    """Atomic numbers ``(n,)`` of integer atom types that count from ``first``, by ``options.type_map``."""
    t = np.asarray(types, np.int64).reshape(-1) - first
    top = int(t.max()) if len(t) else 0
    if not options.type_map:
        raise InputError(
            f"atoms have types {first} to {top + first} and the file does not say which elements these are: "
            "give --type-map with one symbol per type, e.g. --type-map 'Si O'.",
            str(path),
            frame,
        )
    if len(t) and (int(t.min()) < 0 or top >= len(options.type_map)):
        raise InputError(
            f"atom type {int(t.min() if t.min() < 0 else top) + first} is not in --type-map "
            f"({' '.join(options.type_map)}), whose types are {first} to {len(options.type_map) + first - 1}.",
            str(path),
            frame,
        )
    return atomic_numbers(options.type_map, path)[t]


def force_factor(options: ReadOptions, report: ReadReport, n: int = 1) -> float:
    """Number that brings forces to eV/Å; what it assumes about ``n`` frames is noted."""
    if options.force_unit is not None:
        return factor("force", options.force_unit)
    if options.energy_unit is None and options.length_unit is None:
        return 1.0
    per_energy = 1.0 if options.energy_unit is None else factor("energy", options.energy_unit)
    length = 1.0 if options.length_unit is None else factor("length", options.length_unit)
    if per_energy != 1.0 or length != 1.0:
        report.assume("forces in the given energy unit per given length unit", n)
    return per_energy / length


def stress_unit(options: ReadOptions, group: str, default: str) -> str:
    """The unit that holds for a group: its own, else the general one, else the format's."""
    return options.group_stress_unit.get(group) or options.stress_unit or default


def stress_factor(options: ReadOptions, group: str, unit: str, sign: str) -> float:
    """Number that brings a stress of the file to eV/Å^3, tension positive.

    :param unit: unit of the format, used where the options name none
    :param sign: ``tension`` or ``compression``, used where the options name none
    """
    tension = (options.stress_sign or sign) == "tension"
    return factor("stress", stress_unit(options, group, unit)) * (1.0 if tension else -1.0)


def to_voigt(values: Any, order: str = "xx yy zz yz xz xy") -> tuple[F8, float]:
    """Six components xx yy zz yz xz xy of six or nine numbers, and how far the nine are from symmetric (relative).

    :param order: of six numbers; nine are a matrix, whose symmetric part is taken
    :raises ValueError: neither six nor nine numbers
    """
    v = np.asarray(values, float)
    if v.size == 6:
        return v.reshape(6)[list(voigt_order(order))], 0.0
    if v.size != 9:
        raise ValueError(f"a stress has 6 or 9 numbers, not {v.size}")
    xx, xy, xz, yx, yy, yz, zx, zy, zz = nine = v.reshape(9).tolist()
    skew = 0.0
    if xy != yx or xz != zx or yz != zy:
        skew = max(abs(xy - yx), abs(xz - zx), abs(yz - zy)) / max(map(abs, nine))
    return np.array([xx, yy, zz, 0.5 * (yz + zy), 0.5 * (xz + zx), 0.5 * (xy + yx)]), skew


#: Relative asymmetry of nine stress numbers above which they are told about, and above which they are not taken.
SKEW_TOLD, SKEW_REFUSED = 1e-6, 1e-2


def many_to_voigt(given: F8, order: str) -> tuple[F8, NDArray[np.bool_]]:
    """:func:`to_voigt` of ``(n, 6)`` or ``(n, 9)``, and which may not be symmetric enough."""
    if given.shape[1] == 6:
        return given[:, list(voigt_order(order))], np.zeros(len(given), bool)
    t = given.reshape(-1, 3, 3)
    six = np.column_stack(
        [t[:, 0, 0], t[:, 1, 1], t[:, 2, 2], *(0.5 * (t[:, i, j] + t[:, j, i]) for i, j in ((1, 2), (0, 2), (0, 1)))]
    )
    apart = np.abs(t - t.transpose(0, 2, 1)).max(axis=(1, 2))
    return six, apart > 0.5 * SKEW_TOLD * np.abs(given).max(axis=1)


def symmetric_stress(
    values: Any, order: str, scale: float, report: ReadReport, path: Path, frame: int, told: float = SKEW_TOLD
) -> F8 | None:
    """:func:`to_voigt` times ``scale``; nine numbers that are not symmetric are told about, None if far from it."""
    stress, skew = to_voigt(values, order)
    if scale != 1.0:
        stress *= scale
    if not skew > told:
        return stress
    if skew < SKEW_REFUSED:
        report.met(f"stress tensor not symmetric to {told:.0e}, symmetric part taken", place_of(path, frame))
        return stress
    report.met("stress tensor far from symmetric (scrambled components?): stored as missing", place_of(path, frame))
    return None


def volume_of(cell: F8) -> float:
    """Volume of a cell ``(3, 3)``; silent over numbers that :func:`checked` is going to refuse."""
    with np.errstate(all="ignore"):
        return abs(float(np.linalg.det(cell)))


def place_of(path: Path, frame: int) -> str:
    """Where a configuration stands, for :meth:`ReadReport.met`."""
    return f"{path}, frame {frame:,}"


#: Å; no atom is farther away, and NaN is not nearer.
FARTHEST = 1e9


def _finite(array: F8) -> bool:
    """Whether all numbers are finite; the square that is tried first is cheap, and sure when it is finite."""
    return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


def checked(c: Configuration, report: ReadReport, path: Path, line: int | None = None) -> Configuration:
    """The last step of every reader: shapes agree, positions and cell are numbers, other labels are missing.

    :raises InputError: no atoms, a wrong shape, positions or cell not finite
    """
    n = len(c.numbers)
    rows = (n, 3)
    usual = n > 0 and c.positions.shape == rows and c.cell.shape == (3, 3) and c.spin is None and c.charge is None
    if not usual or (c.forces is not None and c.forces.shape != rows):
        _check_shapes(c, path, line)
    if not np.vdot(c.positions, c.positions) < FARTHEST:
        _check_lengths(c.positions, "position of atom", c, path, line)
    if not np.vdot(c.cell, c.cell) < FARTHEST:
        _check_lengths(c.cell, "cell vector", c, path, line)
    if math.isinf(c.energy):
        report.met("energy is not a finite number: missing", place_of(path, c.frame))
        c.energy = float("nan")
    if c.forces is not None and not _finite(c.forces):
        report.met("forces are not finite numbers: missing", place_of(path, c.frame))
        c.forces = None
    if c.stress is not None and not _finite(c.stress):
        report.met("stress is not finite numbers: missing", place_of(path, c.frame))
        c.stress = None
    return c


def _check_shapes(c: Configuration, path: Path, line: int | None) -> None:
    n = len(c.numbers)
    if n == 0:
        raise InputError("the configuration has no atoms.", str(path), c.frame, line)
    for name, array, shape in (
        ("positions", c.positions, (n, 3)),
        ("cell", c.cell, (3, 3)),
        ("forces", c.forces, (n, 3)),
        ("spins", c.spin, (n, 3)),
        ("charges", c.charge, (n,)),
    ):
        if array is not None and array.shape != shape:
            if array.ndim == 2 and len(array) != n and name != "cell":
                raise InputError(f"{name!r} has {len(array):,} rows for {n:,} atoms.", str(path), c.frame, line)
            raise InputError(f"{name!r} has shape {array.shape}, expected {shape}.", str(path), c.frame, line)
        if name in ("spins", "charges") and array is not None and not np.isfinite(array).all():
            raise InputError(f"the {name} are not finite numbers.", str(path), c.frame, line)


def _check_lengths(array: F8, what: str, c: Configuration, path: Path, line: int | None) -> None:
    bad = ~(np.abs(array) < FARTHEST).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        where = f"{what} {row + 1}"
        raise InputError(f"the {where} is no length in Å: {array[row].tolist()}.", str(path), c.frame, line)


def number(value: Any, what: str, report: ReadReport, path: Path, frame: int = 0) -> float:
    """A label as a number; None, ``None``, NaN, inf and an empty text are missing (NaN, told about).

    :raises InputError: anything else that is not a number
    """
    try:
        x = float(value)
    except (TypeError, ValueError, OverflowError):
        if value is not None and str(value).strip().lower() not in ("none", "null", "nan", "n/a", ""):
            raise InputError(f"{what} is {value!r:.60}, which is not a number.", str(path), frame) from None
        x = float("nan")
    if not math.isfinite(x):
        report.met(f"{what} is not a finite number: missing", place_of(path, frame))
        return float("nan")
    return x


def table(value: Any, what: str, path: Path, frame: int | None = None, line: int | None = None) -> F8:
    """Lists of numbers as an array; :class:`InputError` if they are no numbers or the rows differ in length."""
    try:
        return np.array(value, float)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"{what!r} is not a table of numbers with rows of one length.", str(path), frame, line
        ) from None


def plain(value: Any) -> Any:
    """A value as JSON can hold it, or None: NumPy scalars and arrays become numbers and lists."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return None
