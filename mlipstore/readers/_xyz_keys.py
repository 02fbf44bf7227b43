"""Which key of an extended XYZ frame is what: found among the names in use, or as the user says."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import listed, nearest
from ..labels import plain, stress_factor, stress_unit
from ..reading import ReadOptions
from ..units import factor
from ._xyz import Frame, written

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
_NOT_FORCES = ("mask", "sigma", "weight", "std", "var", "uncertainty", "error")


@dataclass(slots=True)
class Plan:
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


def plan_of(frame: Frame, used: dict[str, str], options: ReadOptions) -> Plan:
    """Find out which key is what; ValueError says what is ambiguous.

    :param used: the keys chosen so far in this file: one file, one meaning
    """
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
    return Plan(
        *(species, numbers, positions, lattice, pbc, keys, spin, charge, group),
        tuple(k for k in frame.info if k not in taken),
        kept_columns,
        tuple(notes),
    )


def stress_rule(options: ReadOptions, group: str) -> tuple[str, float, float, str]:
    """Order and factor of a stress, factor of a virial (without volume), and what is assumed about a stress."""
    order = options.group_stress_order.get(group) or options.stress_order or "xx yy zz yz xz xy"
    sign = -1.0 if (options.stress_sign or "compression") == "compression" else 1.0
    virial = sign * (1.0 if options.energy_unit is None else factor("energy", options.energy_unit))
    what = f"stress in {stress_unit(options, group, 'eV/Å^3')}, {options.stress_sign or 'tension'} positive (extxyz)"
    return order, stress_factor(options, group, "eV/Å^3", "tension"), virial, what


def virial_assumption(options: ReadOptions, scale: float) -> str:
    """What is assumed about a virial whose factor is ``scale``."""
    sign = "compression" if scale < 0 else "tension"
    return f"virial in {options.energy_unit or 'eV'}, {sign} positive: stress = virial/volume"


def name_of(value: Any, comment: str, key: str) -> str:
    """A name, such as that of a group: as it is written, which may be as JSON, whatever else it could mean.

    :param value: what the parser takes it for; ``007``, ``1e5``, ``T`` and ``"1 2"`` are names like any other
    :param comment: the comment line, or the part of it with ``key``
    """
    text = value if type(value) is str else written(comment, key)
    if text is None:  # a key without a value
        return str(value)
    if text.startswith("_JSON"):
        with contextlib.suppress(ValueError):
            told = json.loads(text[5:])
            return told if type(told) is str else text[5:].strip()
    return text


def kept(
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
