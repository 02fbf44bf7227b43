"""Extended XYZ: many configurations per file, free key names.

Which key is the energy, the forces and the stress is found among the names in use (QUIP, GAP, MACE, KLIFF, GPUMD,
NOMAD, ASE); exactly one must be there, or ``--energy-key`` and its like must say which. Units are eV and Å unless said
otherwise; a stress is positive in tension (ASE), a virial W = -V sigma in eV (QUIP). Group: ``config_type``, ``group``
or ``config_name``, else the file name.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8, Batch, Configuration
from ..errors import InputError
from ..labels import (
    atomic_numbers,
    checked,
    force_factor,
    known_numbers,
    number,
    place_of,
    symmetric_stress,
    volume_of,
)
from ..parts import Part
from ..reading import KEYS, STRESS, UNITS, ReadOptions, ReadReport, below, group_name, selected
from ..units import factor
from ._xyz import Frame, frames, frames_of, mapped
from ._xyz_keys import Plan, kept, name_of, plan_of, stress_rule, virial_assumption
from ._xyz_lines import Place, borders
from ._xyz_runs import Runs

#: What is remembered of a file: kinds of frames and lists of elements, of so many atoms.
_CACHED, _CACHED_ATOMS = 1000, 1000


@dataclass(frozen=True)
class ExtXyz:
    """Reader of extended XYZ files."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = (*KEYS, "virial_key", *UNITS, *STRESS, "index")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """``.xyz``, ``.extxyz`` or any text of an atom count and a line with ``Lattice=`` or ``Properties=``."""
        # blank lines may come first, or the mark that some editors put before a text
        lines = head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 2)
        if len(lines) < 2 or not lines[0].strip().isdigit():
            return False
        said = lines[1].lower()
        return path.suffix.lower() in (".xyz", ".extxyz", ".exyz") or b"lattice=" in said or b"properties=" in said

    def files(self, path: Path) -> list[Path]:
        """All ``*.xyz``, ``*.extxyz``, ``*.exyz`` below a folder."""
        return below(path, "*.xyz", "*.extxyz", "*.exyz")

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """Stream the frames of one file."""
        return self._read(path, selected(frames(path, report), self.options.index), {}, report, root)

    def parts(self, path: Path, n_bytes: int) -> Iterator[Part]:
        """Parts of a file between frames, see :class:`mlipstore.parts.PartReader`."""
        return (Part(place.at, place.stop, place.index) for place in borders(path, n_bytes))

    def read_part(
        self, path: Path, part: Part, report: ReadReport, root: Path | None = None
    ) -> Generator[Configuration, None, Part]:
        """Stream the frames of a part; its ``known`` are the keys chosen so far."""
        place, used = Place(part.start, part.frame, part.stop), dict(part.known)
        yield from self._read(path, frames(path, report, place), used, report, root)
        return Part(place.at, None, place.index, used)

    def read_blocks(
        self, path: Path, part: Part, report: ReadReport, root: Path | None = None
    ) -> Generator[Configuration | Batch, None, Part]:
        """As :meth:`read_part`, but frames that look like the one before come together, see :mod:`._xyz_runs`."""
        place, used = Place(part.start, part.frame, part.stop), dict(part.known)
        reading, runs = _Reading(self, path, used, report, root), Runs(self.options, path, report, root)
        with mapped(path) as data:
            for frame in frames_of(path, data, report, place):
                found = reading.one(frame)
                if found is not None:
                    yield found[0]
                    yield from runs.after(frame, found[1], found[0].pbc, data, place)
        return Part(place.at, None, place.index, used)

    def _read(
        self, path: Path, found: Iterator[Frame], used: dict[str, str], report: ReadReport, root: Path | None
    ) -> Iterator[Configuration]:
        reading = _Reading(self, path, used, report, root)
        for frame in found:
            one = reading.one(frame)
            if one is not None:
                yield one[0]

    def _configuration(
        self,
        frame: Frame,
        plan: Plan,
        species: dict[tuple[str, bytes], NDArray[np.int32]],
        path: Path,
        root: Path | None,
        report: ReadReport,
    ) -> Configuration:
        options, info, arrays, index = self.options, frame.info, frame.arrays, frame.index
        for note in plan.notes:
            report.met(note, place_of(path, index))
        if plan.species is not None:
            symbols = arrays[plan.species]
            known = (symbols.dtype.str, symbols.tobytes())
            numbers = species.get(known)
            if numbers is None:
                numbers = atomic_numbers(symbols.tolist(), path, index)
                if len(numbers) <= _CACHED_ATOMS and len(species) < _CACHED:
                    species[known] = numbers
        else:
            numbers = known_numbers(arrays[plan.numbers or ""], path, index)
        length = 1.0 if options.length_unit is None else factor("length", options.length_unit)
        cell = self._cell(info, plan, length)
        pbc = self._pbc(info, plan)
        key = plan.keys["energy"]
        energy = math.nan
        if key is None:
            report.met("no energy in the frame", place_of(path, index))
        else:
            energy = number(info[key], "energy", report, path, index)
        per_energy = 1.0 if options.energy_unit is None else factor("energy", options.energy_unit)
        forces: F8 | None = None
        key = plan.keys["force"]
        if key is None:
            report.met("no forces in the frame", place_of(path, index))
        else:
            forces = arrays[key]
            if forces.dtype.kind != "f":
                forces = forces.astype(float)
            if options.force_unit is not None or per_energy != 1.0 or length != 1.0:
                forces = forces * force_factor(options, report)
        group = self._name(frame, plan.group) if plan.group is not None else ""
        if not group or options.group_by != "auto":
            group = group_name(options, path, root, f"={group}" if group else "file", self._names(frame), index)
        positions = arrays[plan.positions]
        if length != 1.0 or positions.dtype.kind != "f":
            positions = positions * length
        spin = None if plan.spin is None else arrays[plan.spin].astype(float)
        if spin is not None and spin.ndim == 1:  # collinear moments point along z
            spin = np.column_stack([np.zeros((len(spin), 2)), spin])
        return Configuration(
            numbers=numbers,
            positions=positions,
            cell=cell,
            pbc=pbc,
            energy=energy * per_energy,
            forces=forces,
            stress=self._stress(frame, plan, cell, pbc, group, path, report),
            group=group,
            source=os.fspath(path),
            frame=index,
            spin=spin,
            charge=None if plan.charge is None else arrays[plan.charge].astype(float),
            info=kept(info, plan.kept, arrays, plan.kept_columns),
        )

    @staticmethod
    def _name(frame: Frame, key: str) -> str:
        return name_of(frame.info[key], frame.comment.decode("utf-8", "replace"), key)

    def _names(self, frame: Frame) -> Mapping[str, Any]:
        """What the frame says, the key that is asked for as it is written."""
        key = self.options.group_by.removeprefix("key:")
        if key not in frame.info or key == self.options.group_by:
            return frame.info
        return {**frame.info, key: self._name(frame, key)}

    @staticmethod
    def _cell(info: Mapping[str, Any], plan: Plan, length: float) -> F8:
        """Rows are the lattice vectors; the parser gives them as columns. Zero without ``Lattice``."""
        if plan.lattice is None:
            return np.zeros((3, 3))
        lattice = np.asarray(info[plan.lattice])
        if lattice.shape == (3, 3) and lattice.dtype.kind in "fi":
            cell = lattice.T.astype(float, order="C")
            return cell if length == 1.0 else cell * length
        if lattice.shape == (3,) and lattice.dtype.kind in "if":
            return np.diag(lattice.astype(float)) * length
        raise ValueError(f"Lattice={info[plan.lattice]!s:.60} is not nine numbers")

    @staticmethod
    def _pbc(info: Mapping[str, Any], plan: Plan) -> NDArray[np.bool_]:
        """Periodic in all directions if there is a lattice and the file does not say otherwise."""
        if plan.pbc is None:
            return np.full(3, plan.lattice is not None)
        pbc = np.asarray(info[plan.pbc])
        if pbc.dtype.kind == "b" and pbc.size == 3:
            return pbc
        if pbc.dtype.kind not in "biuf" or pbc.size not in (1, 3) or not np.isin(pbc, (0, 1)).all():
            raise ValueError(f"{plan.pbc}={info[plan.pbc]!s:.40} is not three of T or F")
        return np.broadcast_to(pbc.astype(bool).reshape(-1), 3).copy()

    def _stress(
        self, frame: Frame, plan: Plan, cell: F8, pbc: NDArray[np.bool_], group: str, path: Path, report: ReadReport
    ) -> F8 | None:
        stress_key, virial_key = plan.keys["stress"], plan.keys["virial"]
        if stress_key is None and virial_key is None:
            return None
        rule = plan.rules.get(group)
        if rule is None:
            rule = plan.rules[group] = stress_rule(self.options, group)
        order, stress_scale, virial_scale, what = rule
        stress = virial = None
        if stress_key is not None and _is_tensor(frame, stress_key, path, report):
            stress = symmetric_stress(frame.info[stress_key], order, stress_scale, report, path, frame.index)
        if virial_key is not None and _is_tensor(frame, virial_key, path, report):
            volume = volume_of(cell)
            if not pbc.all():
                what_virial = "virial of a cell that is not periodic in all directions: no stress"
                report.met(what_virial, place_of(path, frame.index))
            elif volume == 0.0:
                raise ValueError("the virial cannot become a stress: the periodic cell has no volume")
            else:
                scale = virial_scale / volume
                virial = symmetric_stress(frame.info[virial_key], order, scale, report, path, frame.index)
        if stress is not None and virial is not None:
            largest = max(float(np.abs(stress).max()), float(np.abs(virial).max()))
            if float(np.abs(stress - virial).max()) > 1e-2 * largest:
                raise ValueError(
                    f"{stress_key!r} and {virial_key!r} do not agree (stress = -virial/volume): say --stress-key "
                    f"{stress_key} (with --stress-unit, --stress-sign) or --virial-key {virial_key}"
                )
        if stress is not None:
            report.assume(what)
            return stress
        if virial is not None:
            report.assume(virial_assumption(self.options, virial_scale))
        return virial


def _is_tensor(frame: Frame, key: str, path: Path, report: ReadReport) -> bool:
    """Whether a key holds six or nine numbers; a text such as ``None`` is missing."""
    value = frame.info[key]
    if isinstance(value, str) and value.startswith("_JSON"):  # ASE writes 3 x 3 arrays so, but for names it knows
        with contextlib.suppress(ValueError):
            value = frame.info[key] = np.array(json.loads(value[5:]))
    if isinstance(value, str) and re.search("(?i)nan|inf", value):  # words, to the C parser
        with contextlib.suppress(ValueError):
            value = np.array([float(word) for word in value.split()])
    if isinstance(value, np.ndarray) and value.size in (6, 9) and value.dtype.kind in "if":
        if np.isfinite(value).all():
            return True
        report.met(f"{key!r} is not finite numbers: missing", place_of(path, frame.index))
        return False
    if isinstance(value, str) and value.strip().lower() in ("none", "nan", ""):
        report.met(f"{key!r} is {value!r}: missing", place_of(path, frame.index))
        return False
    raise ValueError(f"{key}={str(value).replace(chr(10), ' '):.60} is not 6 or 9 numbers")


@dataclass
class _Reading:
    """What is remembered while a file is read.

    :param used: the keys chosen so far, see :func:`._xyz_keys.plan_of`
    """

    reader: ExtXyz
    path: Path
    used: dict[str, str]
    report: ReadReport
    root: Path | None
    plans: dict[tuple[tuple[str, ...], tuple[str, ...]], Plan] = field(default_factory=dict)
    species: dict[tuple[str, bytes], NDArray[np.int32]] = field(default_factory=dict)

    def one(self, frame: Frame) -> tuple[Configuration, Plan] | None:
        """The configuration of a frame, None if it was refused."""
        try:
            signature = (tuple(frame.info), tuple(frame.arrays))
            plan = self.plans.get(signature)
            if plan is None:
                if len(self.plans) == _CACHED:
                    self.plans.clear()
                plan = self.plans[signature] = plan_of(frame, self.used, self.reader.options)
            c = self.reader._configuration(frame, plan, self.species, self.path, self.root, self.report)
            return checked(c, self.report, self.path), plan
        except InputError as error:
            self.report.refuse(self._placed(error, frame))
        except (ValueError, TypeError, OverflowError) as error:
            self.report.refuse(self._placed(InputError(f"{error}."), frame))
        return None

    def _placed(self, error: InputError, frame: Frame) -> InputError:
        """The error with the file, frame and line where the frame begins."""
        line = error.line
        if line is None:
            with open(self.path, "rb") as file:
                line = file.read(frame.start).count(b"\n") + 1
        return InputError(error.message, str(self.path), frame.index, line)


plugin = ExtXyz
