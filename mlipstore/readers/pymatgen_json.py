"""JSON of pymatgen structures with labels: the mlearn, maml and SNAP data sets.

A list (or lines, or one) of ``{"structure": {...}, "group": ..., "outputs": {"energy", "forces", "virial_stress"}}``:
Cartesian ``xyz`` in Å (``abc`` has 6 digits only), total energies in eV, forces in eV/Å. pymatgen is not needed.

Stress: ``virial_stress`` of mlearn is no virial but a stress in kbar, compression positive, and the order of its three
shear numbers differs between groups of one file (measured: Si AIMD-NVT and Vacancy ``xx yy zz xy xz yz``, Si Elastic
and Li ``xx yy zz xy yz xz``). Nothing in the file says so. Six numbers are therefore stored as missing, with a note,
unless ``stress_order`` or ``group_stress_order`` says what they are; a 3 x 3 tensor is stored if ``stress_unit`` is
given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8, Configuration
from ..errors import InputError, listed
from ..labels import (
    atomic_numbers,
    checked,
    force_factor,
    number,
    place_of,
    plain,
    stress_factor,
    stress_unit,
    symmetric_stress,
    table,
)
from ..reading import KEYS, STRESS, UNITS, ReadOptions, ReadReport, below, group_name, selected
from ..units import factor

_STRESS_KEYS = ("virial_stress", "stress")
_LEFT_OUT = (
    "stress stored as missing: the file does not say the order of its six numbers (in mlearn it differs between "
    "groups); give --stress-order, e.g. 'xx yy zz xy yz xz', for all or per group (kbar, compression positive unless "
    "--stress-unit and --stress-sign say otherwise)"
)
_NO_UNIT = "stress stored as missing: the file does not say its unit; give --stress-unit (and --stress-sign)"


def _items(path: Path, report: ReadReport) -> Iterator[Any]:
    """The items of a JSON list, or JSON values one after another, one at a time, until the file ends or breaks."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8.", str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", str(path)) from None
    decoder = json.JSONDecoder()
    at = _space(text, 0)
    if at == len(text):
        raise InputError("the file is empty.", str(path))
    inside = text[at] == "["
    at = _space(text, at + 1) if inside else at
    index = 0
    while at < len(text) and not (inside and text[at] == "]"):
        try:
            item, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, getattr(error, "pos", at)) + 1
            what = f"not valid JSON after {index:,} items (truncated?): {error}."
            report.refuse(InputError(what, str(path), index, line))
            return
        yield item
        index += 1
        at = _space(text, at)
        if inside and text[at : at + 1] == ",":
            at = _space(text, at + 1)
        elif inside and text[at : at + 1] not in ("]", ""):
            line = text.count("\n", 0, at) + 1
            report.refuse(InputError(f"expected ',' or ']' after item {index:,}.", str(path), index, line))
            return
    if inside and at == len(text):
        report.refuse(InputError(f"the file ends after {index:,} items: it is truncated.", str(path), index))


def _space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


@dataclass(frozen=True)
class PymatgenJson:
    """Reader of lists of pymatgen structures with labels."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = (*KEYS, *UNITS, *STRESS, "index")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """A ``.json`` or ``.jsonl`` file that begins with ``structure`` or a pymatgen mark."""
        if path.suffix.lower() not in (".json", ".jsonl") or head.lstrip()[:1] not in (b"[", b"{"):
            return False
        return b'"structure"' in head or b'"pymatgen.' in head or b'"outputs"' in head

    def files(self, path: Path) -> list[Path]:
        """All ``*.json`` and ``*.jsonl`` below a folder."""
        return below(path, "*.json", "*.jsonl")

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """Stream the items of one file."""
        for frame, item in selected(enumerate(_items(path, report)), self.options.index):
            try:
                configuration = checked(self._configuration(item, path, frame, report, root), report, path)
            except InputError as error:
                report.refuse(error)
                continue
            except (TypeError, ValueError, OverflowError, KeyError, AttributeError, IndexError) as error:
                report.refuse(InputError(f"the item is not laid out as expected: {error!r:.200}.", str(path), frame))
                continue
            yield configuration

    def _configuration(self, item: Any, path: Path, frame: int, report: ReadReport, root: Path | None) -> Configuration:
        structure = item.get("structure") if isinstance(item, Mapping) else None
        if not isinstance(structure, Mapping) or not isinstance(structure.get("sites"), list):
            raise InputError("an item has no 'structure' with 'sites'.", str(path), frame)
        outputs = item.get("outputs", item)
        if not isinstance(outputs, Mapping):
            raise InputError("'outputs' is not an object.", str(path), frame)
        options = self.options
        length = 1.0 if options.length_unit is None else factor("length", options.length_unit)
        cell, pbc, positions = self._geometry(structure, path, frame)
        n = len(positions)
        if item.get("num_atoms", n) != n:
            raise InputError(f"'num_atoms' is {item['num_atoms']!r} and there are {n:,} sites.", str(path), frame)
        named = item.get("group", item.get("tag", item.get("tags")))
        named = "-".join(map(str, named)) if isinstance(named, list) else str(named or "")
        group = group_name(options, path, root, f"={named}" if named else "file", item, frame)
        energy, forces = float("nan"), None
        energy_key, force_key = options.energy_key or "energy", options.force_key or "forces"
        if outputs.get(energy_key) is None:
            report.met(f"no {energy_key!r} in the item", place_of(path, frame))
        else:
            energy = number(outputs[energy_key], energy_key, report, path, frame)
            energy *= 1.0 if options.energy_unit is None else factor("energy", options.energy_unit)
        if outputs.get(force_key) is None:
            report.met(f"no {force_key!r} in the item", place_of(path, frame))
        else:
            forces = table(outputs[force_key], force_key, path, frame)
            forces *= force_factor(options, report)
        skip = {"structure", "outputs", "group", "num_atoms", "element", energy_key, force_key, *_STRESS_KEYS}
        symbols = [self._element(site, i, path, frame) for i, site in enumerate(structure["sites"])]
        return Configuration(
            numbers=atomic_numbers(symbols, path, frame),
            positions=positions * length,
            cell=cell * length,
            pbc=pbc,
            energy=energy,
            forces=forces,
            stress=self._stress(outputs, group, path, frame, report),
            group=group,
            source=os.fspath(path),
            frame=frame,
            spin=_moments(structure["sites"]),
            info={k: plain(v) for k, v in item.items() if k not in skip and isinstance(v, (str, int, float, list))},
        )

    @staticmethod
    def _geometry(structure: Mapping[str, Any], path: Path, frame: int) -> tuple[F8, NDArray[np.bool_], F8]:
        """Cell, periodicity and Cartesian positions in the unit of the file; a molecule has no lattice."""
        lattice, sites = structure.get("lattice"), structure["sites"]
        cell, pbc = np.zeros((3, 3)), np.zeros(3, bool)
        if isinstance(lattice, Mapping):
            cell = table(lattice.get("matrix"), "matrix", path, frame)
            pbc = np.broadcast_to(np.array(lattice.get("pbc", True), bool), 3).copy()
        if sites and all("xyz" in site for site in sites):
            positions = table([site["xyz"] for site in sites], "xyz", path, frame)
        elif sites and isinstance(lattice, Mapping) and all("abc" in site for site in sites):
            positions = table([site["abc"] for site in sites], "abc", path, frame) @ cell
        else:
            raise InputError("the sites have no 'xyz' (or 'abc' and a lattice).", str(path), frame)
        return cell, pbc, positions

    @staticmethod
    def _element(site: Mapping[str, Any], i: int, path: Path, frame: int) -> str:
        species = site.get("species")
        if not isinstance(species, list) or len(species) != 1 or abs(float(species[0].get("occu", 1)) - 1) > 1e-6:
            what = listed([str(s.get("element")) for s in species]) if isinstance(species, list) else species
            raise InputError(
                f"site {i + 1} is not occupied by one element ({what}): disordered structures have no atoms to fit.",
                str(path),
                frame,
            )
        return str(species[0].get("element"))

    def _stress(self, outputs: Mapping[str, Any], group: str, path: Path, frame: int, report: ReadReport) -> F8 | None:
        options, place = self.options, place_of(path, frame)
        keys = (options.stress_key,) if options.stress_key else _STRESS_KEYS
        key = next((k for k in keys if outputs.get(k) is not None), None)
        if key is None:
            report.met("no stress in the item", place)
            return None
        values = table(outputs[key], key, path, frame)
        order = options.group_stress_order.get(group) or options.stress_order
        if values.shape == (6,):
            if order is None:
                report.met(_LEFT_OUT, place)
                return None
        elif values.shape not in ((3, 3), (9,)):
            raise InputError(f"{key!r} has shape {values.shape}, expected 6 numbers or 3 x 3.", str(path), frame)
        elif stress_unit(options, group, "") == "":
            report.met(_NO_UNIT, place)
            return None
        sign = options.stress_sign or "compression"
        report.assume(f"stress in {stress_unit(options, group, 'kbar')}, {sign} positive (pymatgen JSON)")
        scale = stress_factor(options, group, "kbar", "compression")
        return symmetric_stress(values, order or "xx yy zz yz xz xy", scale, report, path, frame)


def _moments(sites: list[Mapping[str, Any]]) -> F8 | None:
    """Moments of all sites as vectors, or None when some site has none."""
    values = [(site.get("properties") or {}).get("magmom") for site in sites]
    if any(v is None or isinstance(v, Mapping) for v in values):
        return None
    moments = np.array(values, float)
    if moments.ndim == 1:
        moments = np.column_stack([np.zeros((len(moments), 2)), moments])
    return moments


plugin = PymatgenJson
