"""ASE databases: SQLite (``.db``), JSON (``.json``) and, with the package ``ase-db-backends``, LMDB (``.aselmdb``).

Labels are those of the calculator of each row, in ASE's units and signs. Labels under other names are found with
``energy_key`` (in the key-value pairs) and ``force_key`` (in the data). Group: ``config_type``, ``group`` or
``config_name`` of the key-value pairs, else the file name.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..configuration import F8, Configuration
from ..errors import InputError, MissingDependencyError, counted, listed
from ..labels import (
    checked,
    force_factor,
    known_numbers,
    number,
    place_of,
    plain,
    stress_factor,
    symmetric_stress,
    table,
)
from ..reading import KEYS, STRESS, UNITS, ReadOptions, ReadReport, below, group_name, selected
from ..units import factor

_GROUPS = ("config_type", "group", "config_name")
_SQLITE = b"SQLite format 3\x00"


@dataclass(frozen=True)
class AseDb:
    """Reader of ASE databases."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = (*KEYS, *UNITS, *STRESS, "index")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """SQLite, ASE's JSON database, or ``.aselmdb``."""
        if path.suffix.lower() == ".aselmdb":
            return True
        if head.startswith(_SQLITE):
            return True
        return path.suffix.lower() == ".json" and b'"ctime"' in head and b'"mtime"' in head

    def files(self, path: Path) -> list[Path]:
        """All ``*.db``, ``*.aselmdb`` and ``*.json`` below a folder."""
        return below(path, "*.db", "*.aselmdb", "*.json")

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """Stream the rows of one database, in the order of their ids."""
        for frame, row in selected(enumerate(_rows(path)), self.options.index):
            try:
                configuration = checked(self._configuration(row, path, frame, report, root), report, path)
            except InputError as error:
                report.refuse(error)
                continue
            except Exception as error:  # the row is decoded by ASE, which raises whatever it meets
                report.refuse(InputError(f"the row cannot be decoded: {error!r:.200}.", str(path), frame))
                continue
            yield configuration

    def _configuration(self, row: Any, path: Path, frame: int, report: ReadReport, root: Path | None) -> Configuration:
        options = self.options
        pairs: Mapping[str, Any] = row.key_value_pairs
        length = 1.0 if options.length_unit is None else factor("length", options.length_unit)
        data: Mapping[str, Any] = row.data
        named = next((str(found[k]) for k in _GROUPS for found in (pairs, data) if k in found), "")
        group = group_name(options, path, root, f"={named}" if named else "file", pairs, frame)
        energy = float("nan")
        found = row.get("energy") if options.energy_key is None else _find(row, options.energy_key)
        if found is None:
            report.met(f"no {options.energy_key or 'energy'!r} in the row", place_of(path, frame))
        else:
            energy = number(found, "energy", report, path, frame)
            energy *= 1.0 if options.energy_unit is None else factor("energy", options.energy_unit)
        forces = None
        found = row.get("forces") if options.force_key is None else _find(row, options.force_key)
        if found is None:
            report.met(f"no {options.force_key or 'forces'!r} in the row", place_of(path, frame))
        else:
            forces = table(found, "forces", path, frame)
            forces *= force_factor(options, report)
        taken = {options.energy_key, *(_GROUPS if options.group_by == "auto" else ())}
        info = {k: plain(v) for k, v in pairs.items() if k not in taken}
        if isinstance(data.get("info"), Mapping):  # what no key-value pair can hold
            info |= {str(k): plain(v) for k, v in data["info"].items()}
        if row.get("free_energy") is not None:
            info["free_energy"] = plain(row.free_energy)
        spin = row.get("magmoms", row.get("initial_magmoms"))
        charge = row.get("charges", row.get("initial_charges"))
        return Configuration(
            numbers=known_numbers(row.numbers, path, frame),
            positions=np.array(row.positions, float) * length,
            cell=np.array(row.cell, float).reshape(3, 3) * length,
            pbc=np.array(np.broadcast_to(row.pbc, 3), bool),
            energy=energy,
            forces=forces,
            stress=self._stress(row, group, path, frame, report),
            group=group,
            source=os.fspath(path),
            frame=frame,
            spin=None if spin is None else _vectors(np.array(spin, float), len(row.numbers)),
            charge=None if charge is None else np.array(charge, float),
            info=info,
        )

    def _stress(self, row: Any, group: str, path: Path, frame: int, report: ReadReport) -> F8 | None:
        options = self.options
        found = row.get("stress") if options.stress_key is None else _find(row, options.stress_key)
        if found is None:
            report.met(f"no {options.stress_key or 'stress'!r} in the row", place_of(path, frame))
            return None
        order = options.group_stress_order.get(group) or options.stress_order or "xx yy zz yz xz xy"
        scale = stress_factor(options, group, "eV/Å^3", "tension")
        values = table(found, "stress", path, frame)
        if values.size not in (6, 9):
            raise InputError(f"the stress has {values.size} numbers, expected 6 or 9.", str(path), frame)
        return symmetric_stress(values, order, scale, report, path, frame)


def _find(row: Any, key: str) -> Any:
    """A value of the key-value pairs, else of the data."""
    return row.key_value_pairs.get(key, row.data.get(key))


def _vectors(moments: F8, n: int) -> F8:
    """Moments of ``n`` atoms as vectors; collinear ones point along z. SQLite has vectors one after another."""
    if moments.size == 3 * n:
        return moments.reshape(n, 3)
    return np.column_stack([np.zeros((len(moments), 2)), moments]) if moments.ndim == 1 else moments


def _rows(path: Path) -> Iterator[Any]:
    from ase.db import connect

    if not path.exists():
        raise InputError("there is no such file or folder.", str(path))
    if path.stat().st_size == 0:
        raise InputError("the file is empty.", str(path))
    kind = {".json": "json", ".aselmdb": "aselmdb"}.get(path.suffix.lower(), "db")
    count = 0
    try:
        if kind == "db":
            _require_ase(path)
        database: Any = connect(str(path), type=kind, use_lock_file=False)  # type: ignore[no-untyped-call]
        for row in database.select():
            yield row
            count += 1
    except (GeneratorExit, InputError):
        raise
    except ImportError as error:
        raise MissingDependencyError(f"{path}: needs the package ase-db-backends (pip install it): {error}.") from None
    except Exception as error:  # ASE and the backends raise whatever the bytes make them raise
        what = f"ASE cannot read the database after {counted(count, 'row')} (truncated or damaged?): {error!r:.200}."
        raise InputError(what, str(path), count) from None
    if count == 0:
        raise InputError("the database has no rows.", str(path))


def _require_ase(path: Path) -> None:
    """ASE makes its tables in any SQLite file that it opens: look first, without writing."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
    if "systems" not in names:
        have = f"it has the tables {listed(sorted(names))}" if names else "it has no tables"
        raise InputError(f"an SQLite database, but not one of ASE: {have}.", str(path))


plugin = AseDb
