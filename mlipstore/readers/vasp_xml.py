"""VASP ``vasprun.xml``: every ionic step, streamed (a step is forgotten when it has been read).

Energy is the one extrapolated to sigma -> 0; forces are derivatives of the free energy, kept as
``info["free_energy"]``. The block of a step may hold stale energies beside the free energy, so the difference between
the two is taken from the last electronic step. Stress: 3 x 3, kbar, compression positive.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..configuration import F8, Configuration
from ..errors import InputError
from ..labels import atomic_numbers, checked, place_of, stress_factor, stress_unit, symmetric_stress
from ..reading import ReadOptions, ReadReport, below, group_name, selected

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: Relative asymmetry that VASP's own numbers show.
_SKEW = 1e-3
#: Large parts of a step that are of no use here.
_FORGOTTEN = ("dos", "eigenvalues", "projected", "dielectricfunction", "partial")


@dataclass(slots=True)
class _Step:
    """One ``<calculation>``."""

    cell: F8
    fractional: F8
    forces: F8 | None
    kbar: F8 | None
    free_energy: float
    energy: float
    electronic_steps: int
    most_steps: int


@dataclass(frozen=True)
class VaspXml:
    """Reader of vasprun.xml files."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = ("stress_unit", "stress_sign", "group_stress_unit", "index")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """An XML text whose root is ``modeling``."""
        return b"<modeling>" in head

    def files(self, path: Path) -> list[Path]:
        """All ``*vasprun*.xml`` below a folder."""
        return below(path, "*vasprun*.xml", "*.vasprun.xml")

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """Stream the ionic steps of one run."""
        group = group_name(self.options, path, root, "directory", {})
        what = "energy is energy(sigma->0); forces are derivatives of the free energy, kept as free_energy (VASP)"
        numbers = None
        for frame, (symbols, step) in selected(enumerate(_steps(path, report)), self.options.index):
            if numbers is None:
                numbers = atomic_numbers(symbols, path)
            place = place_of(path, frame)
            report.assume(what)
            stress = None
            if step.kbar is None:
                report.met("no stress in the step", place)
            else:
                sign = self.options.stress_sign or "compression"
                report.assume(f"stress in {stress_unit(self.options, group, 'kbar')}, {sign} positive (VASP)")
                scale = stress_factor(self.options, group, "kbar", "compression")
                stress = symmetric_stress(step.kbar, "", scale, report, path, frame, told=_SKEW)
            info: dict[str, object] = {"free_energy": step.free_energy}
            if 0 < step.most_steps <= step.electronic_steps:
                info["unconverged"] = True
                report.met("electronic loop took NELM steps: kept, marked unconverged", place)
            if step.forces is None:
                report.met("no forces in the step", place)
            configuration = Configuration(
                numbers=numbers,
                positions=step.fractional @ step.cell,
                cell=step.cell,
                pbc=np.ones(3, bool),
                energy=step.energy,
                forces=step.forces,
                stress=stress,
                group=group,
                source=os.fspath(path),
                frame=frame,
                info=info,
            )
            try:
                checked(configuration, report, path)
            except InputError as error:
                report.refuse(error)
                continue
            yield configuration


def _steps(path: Path, report: ReadReport) -> Iterator[tuple[list[str], _Step]]:
    """Complete ionic steps; a run that ends inside one is refused after the others."""
    import xml.etree.ElementTree as ET

    good = 0
    symbols: list[str] = []
    most = electronic = 0
    last: Element | None = None
    root: Element | None = None
    try:
        for event, element in ET.iterparse(path, events=("start", "end")):
            if event == "start":
                root = element if root is None else root
                if element.tag == "calculation":
                    electronic, last = 0, None
                continue
            if element.tag == "atominfo":
                symbols = [(row[0].text or "").strip() for row in element.iterfind("array[@name='atoms']/set/rc")]
            elif element.tag == "parameters":
                nelm = element.find(".//i[@name='NELM']")
                most = int(nelm.text or 0) if nelm is not None else 0
            elif element.tag == "scstep":
                electronic, last = electronic + 1, element.find("energy")
                if last is not None:
                    element.remove(last)
                element.clear()
            elif element.tag in _FORGOTTEN:
                element.clear()
            elif element.tag == "calculation":
                step = _step(element, last, electronic, most, len(symbols), path, good)
                if step is None:
                    report.met("step without structure or energy: left out", place_of(path, good))
                else:
                    yield symbols, step
                    good += 1
                element.clear()
                if root is not None and root is not element:
                    root.remove(element)
    except ET.ParseError as error:
        line = error.position[0]
        if good == 0 and not symbols:
            raise InputError(f"not a complete vasprun.xml: {error}.", str(path), line=line) from None
        what = f"the file ends or breaks after {good:,} complete ionic steps ({error})"
        report.refuse(InputError(f"{what}. --skip-bad keeps the complete steps.", str(path), good, line))
        return
    except (ValueError, TypeError, IndexError, AttributeError, LookupError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"a value is not as expected: {error}.", str(path), good) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", str(path)) from None
    if good == 0:
        raise InputError("there is no ionic step in it.", str(path))


def _table(element: Element, name: str, width: int, path: Path, frame: int) -> F8 | None:
    rows = element.find(f".//varray[@name='{name}']")
    if rows is None:
        return None
    try:
        values = np.array([[float(x) for x in (v.text or "").split()] for v in rows])
    except ValueError as error:
        raise InputError(f"{name!r}: {error}.", str(path), frame) from None
    if values.ndim != 2 or values.shape[1] != width:
        raise InputError(f"{name!r} has shape {values.shape}, expected rows of {width}.", str(path), frame)
    return values


def _step(
    element: Element, last: Element | None, electronic: int, most: int, n: int, path: Path, frame: int
) -> _Step | None:
    structure, energies = element.find("structure"), element.find("energy")
    if structure is None or energies is None:
        return None
    cell = _table(structure, "basis", 3, path, frame)
    fractional = _table(structure, "positions", 3, path, frame)
    if cell is None or fractional is None:
        return None
    if len(fractional) != n:
        raise InputError(f"'positions' has {len(fractional):,} rows for {n:,} atoms.", str(path), frame)
    free = _energy(energies, "e_fr_energy")
    energy = _energy(energies, "e_0_energy")
    if last is not None:
        shift = _energy(last, "e_0_energy") - _energy(last, "e_fr_energy")
        energy = free + shift if np.isfinite(shift) else energy
    stress = _table(element, "stress", 3, path, frame)
    if stress is not None and stress.shape != (3, 3):
        raise InputError(f"'stress' has shape {stress.shape}.", str(path), frame)
    return _Step(cell, fractional, _table(element, "forces", 3, path, frame), stress, free, energy, electronic, most)


def _energy(element: Element, name: str) -> float:
    found = element.find(f"i[@name='{name}']")
    try:
        return float(found.text or "nan") if found is not None else float("nan")
    except ValueError:
        return float("nan")


plugin = VaspXml
