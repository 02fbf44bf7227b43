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
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8, Configuration
from ..errors import InputError, listed, nearest
from ..labels import (
    atomic_numbers,
    checked,
    known_numbers,
    number,
    place_of,
    plain,
    stress_factor,
    stress_unit,
    symmetric_stress,
    volume_of,
)
from ..parts import Part
from ..reading import ReadOptions, ReadReport, below, group_name, selected
from ..units import factor
from ._xyz import Frame, frames
from ._xyz_lines import Place, borders

#: Names in use, in lower case (upper and lower case are both taken).
CANDIDATES = {
    "energy": (
        *("energy", "ref_energy", "dft_energy", "free_energy", "total_energy", "totenergy", "tot_energy"),
        *("nomad_total_energy", "corrected_energy", "corrected_total_energy", "potential_energy", "ref_total_energy"),
        *("dft_total_energy", "pbe_energy", "vasp_energy", "qm_energy"),
    ),
    "force": ("forces", "force", "ref_forces", "ref_force", "dft_forces", "dft_force", "qm_forces", "vasp_forces"),
    "stress": ("stress", "ref_stress", "dft_stress", "stresses"),
    "virial": ("virial", "virials", "ref_virial", "ref_virials", "dft_virial", "dft_virials"),
}
GROUP_KEYS = ("config_type", "group", "config_name")
_POSITIONS = ("pos", "positions", "position")
_SPECIES = ("species", "symbols", "symbol", "element", "elements")
_NUMBERS = ("z", "numbers", "atomic_numbers")
_SPIN = ("magmoms", "magmom", "initial_magmoms", "spins")
_CHARGE = ("charges", "charge", "initial_charges", "initial_charge")
#: Per-atom columns that say how to use the labels: kept in ``info``.
_KEPT_COLUMNS = ("force_mask", "local_property_mask", "force_atom_sigma", "force_component_sigma", "atom_pref")
#: What is remembered of a file: kinds of frames and lists of elements, of so many atoms.
_CACHED, _CACHED_ATOMS = 1000, 1000
_NOT_FORCES = ("mask", "sigma", "weight", "std", "var", "uncertainty", "error")


@dataclass(slots=True)
class _Plan:
    """Which key is what, for all frames with the same keys."""

    species: str | None
    numbers: str | None
    positions: str
    lattice: str | None
    pbc: str | None
    keys: dict[str, str | None]
    spin: str | None
    charge: str | None
    group: str | None
    kept: tuple[str, ...]
    kept_columns: tuple[str, ...]
    notes: tuple[str, ...]
    rules: dict[str, tuple[str, float, float, str]] = field(default_factory=dict)


def _first(names: Mapping[str, str], wanted: tuple[str, ...]) -> str | None:
    return next((names[w] for w in wanted if w in names), None)


def _choose(quantity: str, wanted: str | None, names: list[str]) -> tuple[str | None, str | None]:
    """The key of a quantity among ``names``, and a note when the wanted one is not there."""
    candidates = [k for k in names if k.lower() in CANDIDATES[quantity]]
    option = f"--{quantity}-key"
    if wanted is not None:
        if wanted in names:
            return wanted, None
        hint = nearest(wanted, names)
        if hint or candidates:
            raise ValueError(f"there is no {wanted!r} ({option}). {hint}Names here: {listed(names)}")
        return None, f"no {wanted!r} ({option}) in the frame"
    if quantity == "energy" and sorted(candidates) == ["energy", "free_energy"]:
        return "energy", None
    if len(candidates) > 1:
        what = " and ".join(repr(k) for k in candidates)
        raise ValueError(f"{what} can both be the {quantity}: say which with {option} {candidates[0]}")
    return (candidates[0] if candidates else None), None


@dataclass(frozen=True)
class ExtXyz:
    """Reader of extended XYZ files."""

    options: ReadOptions = field(default_factory=ReadOptions)

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """``.xyz``, ``.extxyz`` or any text of an atom count and a line with ``Lattice=`` or ``Properties=``."""
        lines = head.split(b"\n", 2)
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

    def _read(
        self, path: Path, found: Iterator[Frame], used: dict[str, str], report: ReadReport, root: Path | None
    ) -> Iterator[Configuration]:
        plans: dict[tuple[tuple[str, ...], tuple[str, ...]], _Plan] = {}
        species: dict[tuple[str, bytes], NDArray[np.int32]] = {}
        for frame in found:
            try:
                signature = (tuple(frame.info), tuple(frame.arrays))
                plan = plans.get(signature)
                if plan is None:
                    if len(plans) == _CACHED:
                        plans.clear()
                    plan = plans[signature] = self._plan(frame, used)
                configuration = self._configuration(frame, plan, species, path, root, report)
                checked(configuration, report, path)
            except InputError as error:
                report.refuse(self._placed(error, frame, path))
                continue
            except (ValueError, TypeError, OverflowError) as error:
                report.refuse(self._placed(InputError(f"{error}."), frame, path))
                continue
            yield configuration

    @staticmethod
    def _placed(error: InputError, frame: Frame, path: Path) -> InputError:
        """The error with the file, frame and line where the frame begins."""
        line = error.line
        if line is None:
            with open(path, "rb") as file:
                line = file.read(frame.start).count(b"\n") + 1
        return InputError(error.message, str(path), frame.index, line)

    def _plan(self, frame: Frame, used: dict[str, str]) -> _Plan:
        """Find out which key is what; ValueError says what is ambiguous.

        :param used: the keys chosen so far in this file: one file, one meaning
        """
        options = self.options
        info = {k.lower(): k for k in frame.info}
        columns = {k.lower(): k for k in frame.arrays}
        notes = []
        keys: dict[str, str | None] = {}
        for quantity, wanted, names in (
            ("energy", options.energy_key, list(frame.info)),
            ("force", options.force_key, list(frame.arrays)),
            ("stress", options.stress_key, list(frame.info)),
            ("virial", options.virial_key, list(frame.info)),
        ):
            other = {"stress": options.virial_key, "virial": options.stress_key}.get(quantity)
            if other and not wanted:  # the user named the other one
                key, note = None, None
            else:
                key, note = _choose(quantity, wanted, names)
            keys[quantity] = key
            if note:
                notes.append(note)
            if key is not None and used.setdefault(quantity, key) != key:
                raise ValueError(
                    f"the {quantity} is {key!r} here and {used[quantity]!r} in frames before: they may not mean the "
                    f"same. Say which one to take with --{quantity}-key"
                )
        if keys["force"] is None and options.force_key is None:
            for name, array in frame.arrays.items():
                low = name.lower()
                if array.shape[1:] == (3,) and "forc" in low and not any(w in low for w in _NOT_FORCES):
                    raise ValueError(f"the column {name!r} may be the forces: say --force-key {name} if it is")
        if keys["energy"] is None and options.energy_key is None:
            maybe = [k for k in frame.info if "energy" in k.lower() and not any(w in k.lower() for w in _NOT_FORCES)]
            if maybe:
                notes.append(f"no energy is known; {maybe[0]!r} may be one (--energy-key {maybe[0]})")
        positions = _first(columns, _POSITIONS)
        if positions is None:
            raise ValueError(f"there is no column 'pos'. Columns: {listed(frame.arrays)}")
        species, numbers = _first(columns, _SPECIES), _first(columns, _NUMBERS)
        if species is None and numbers is None:
            raise ValueError(f"there is no column 'species'. Columns: {listed(frame.arrays)}")
        lattice, pbc = info.get("lattice"), info.get("pbc")
        spin, charge = _first(columns, _SPIN), _first(columns, _CHARGE)
        group = _first(info, GROUP_KEYS)
        taken = {keys["energy"], keys["stress"], keys["virial"], lattice, pbc}
        if options.group_by == "auto":  # else it would be lost
            taken.add(group)
        kept_columns = tuple(columns[k] for k in _KEPT_COLUMNS if k in columns)
        read = {species, numbers, positions, keys["force"], spin, charge, *kept_columns}
        notes += [f"per-atom column {name!r} is not stored" for name in frame.arrays if name not in read]
        return _Plan(
            *(species, numbers, positions, lattice, pbc, keys, spin, charge, group),
            tuple(k for k in frame.info if k not in taken),
            kept_columns,
            tuple(notes),
        )

    def _configuration(
        self,
        frame: Frame,
        plan: _Plan,
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
                forces = forces * self._force_factor(per_energy, length, report)
        group = str(info[plan.group]) if plan.group is not None else ""
        if not group or options.group_by != "auto":
            group = group_name(options, path, root, f"={group}" if group else "file", info, index)
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
            info=_kept(info, plan.kept, arrays, plan.kept_columns),
        )

    def _force_factor(self, per_energy: float, length: float, report: ReadReport) -> float:
        if self.options.force_unit is not None:
            return factor("force", self.options.force_unit)
        report.assume("forces in the given energy unit per given length unit")
        return per_energy / length

    @staticmethod
    def _cell(info: Mapping[str, Any], plan: _Plan, length: float) -> F8:
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
    def _pbc(info: Mapping[str, Any], plan: _Plan) -> NDArray[np.bool_]:
        """Periodic in all directions if there is a lattice and the file does not say otherwise."""
        if plan.pbc is None:
            return np.full(3, plan.lattice is not None)
        pbc = np.asarray(info[plan.pbc])
        if pbc.dtype.kind == "b" and pbc.size == 3:
            return pbc
        if pbc.dtype.kind not in "biuf" or pbc.size not in (1, 3) or not np.isin(pbc, (0, 1)).all():
            raise ValueError(f"{plan.pbc}={info[plan.pbc]!s:.40} is not three of T or F")
        return np.broadcast_to(pbc.astype(bool).reshape(-1), 3).copy()

    def _rule(self, group: str) -> tuple[str, float, float, str]:
        """Order and factor of a stress, factor of a virial (without volume), and what is assumed about a stress."""
        options = self.options
        order = options.group_stress_order.get(group) or options.stress_order or "xx yy zz yz xz xy"
        sign = -1.0 if (options.stress_sign or "compression") == "compression" else 1.0
        virial = sign * (1.0 if options.energy_unit is None else factor("energy", options.energy_unit))
        what = (
            f"stress in {stress_unit(options, group, 'eV/Å^3')}, {options.stress_sign or 'tension'} positive (extxyz)"
        )
        return order, stress_factor(options, group, "eV/Å^3", "tension"), virial, what

    def _stress(
        self, frame: Frame, plan: _Plan, cell: F8, pbc: NDArray[np.bool_], group: str, path: Path, report: ReadReport
    ) -> F8 | None:
        stress_key, virial_key = plan.keys["stress"], plan.keys["virial"]
        if stress_key is None and virial_key is None:
            return None
        rule = plan.rules.get(group)
        if rule is None:
            rule = plan.rules[group] = self._rule(group)
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
            sign = "compression" if virial_scale < 0 else "tension"
            report.assume(f"virial in {self.options.energy_unit or 'eV'}, {sign} positive: stress = virial/volume")
        return virial


def _is_tensor(frame: Frame, key: str, path: Path, report: ReadReport) -> bool:
    """Whether a key holds six or nine numbers; a text such as ``None`` is missing."""
    value = frame.info[key]
    if isinstance(value, str) and value.startswith("_JSON"):  # ASE writes 3 x 3 arrays so, but for names it knows
        with contextlib.suppress(ValueError):
            value = frame.info[key] = np.array(json.loads(value[5:]))
    if isinstance(value, np.ndarray) and value.size in (6, 9) and value.dtype.kind in "if":
        return True
    if isinstance(value, str) and value.strip().lower() in ("none", "nan", ""):
        report.met(f"{key!r} is {value!r}: missing", place_of(path, frame.index))
        return False
    raise ValueError(f"{key}={str(value).replace(chr(10), ' '):.60} is not 6 or 9 numbers")


def _kept(
    info: Mapping[str, Any], names: tuple[str, ...], arrays: Mapping[str, Any], columns: tuple[str, ...]
) -> dict[str, Any]:
    """Keys that are no labels, as JSON values."""
    out: dict[str, Any] = {}
    for name in names:
        value = info[name]
        if type(value) is str and value.startswith("_JSON"):
            with contextlib.suppress(ValueError):
                value = json.loads(value[5:])
        out[name] = plain(value)
    for name in columns:
        out[name] = arrays[name].tolist()
    return out


plugin = ExtXyz
