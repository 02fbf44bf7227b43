"""FitSNAP JSON: a folder per group, a file per configuration, eV, Å and bar (positive in compression).

FitSNAP knows periodic cells only, and has no way to say that a label is missing: such configurations are left out, or
written without the key, and counted. Its unit of pressure is the bar, so that a stress may come back changed in the
last of its 16 digits.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration import F8, Configuration
from ..units import LAMMPS_BAR_PER_EV_A3, VOIGT_INDEX
from ..writing import WriteReport, folder_names

_STYLES = {
    "EnergyStyle": "electronvolt", "StressStyle": "bar", "AtomTypeStyle": "chemicalsymbol",
    "PositionsStyle": "angstrom", "ForcesStyle": "electronvoltperangstrom", "LatticeStyle": "angstrom",
}  # fmt: skip
#: Keys of the format, which ``info`` must not take.
_KEYS = {
    *_STYLES, "Dataset", "Data", "Label", "NumAtoms", "Lattice", "Positions", "AtomTypes", "Energy", "Forces", "Stress",
    "Spins", "Charges", "Chis", "Group", "File", "Natoms", "QMLattice", "Rotation", "Translation",
}  # fmt: skip


@dataclass(frozen=True)
class Fitsnap:
    """A folder of JSON files."""

    suffix = ""
    format = "fitsnap-json"

    def reading(self, groups: Sequence[str]) -> Mapping[str, Any]:
        """The group is the folder, unless one of the names cannot be that of a folder."""
        return {} if all(g == name for g, name in folder_names(groups).items()) else {"group_by": "key:Group"}

    def write(
        self, configurations: Iterator[Configuration], groups: Sequence[str], path: Path, report: WriteReport
    ) -> int:
        """Write a folder; how many configurations."""
        folders = folder_names(groups)
        named = bool(self.reading(groups))
        path.mkdir()
        count: Counter[str] = Counter()
        for c in configurations:
            if not c.pbc.all():
                report.leave_out("not periodic in all directions, which FitSNAP takes every configuration for")
                continue
            count[c.group] += 1
            folder = path / folders[c.group]
            folder.mkdir(exist_ok=True)
            text = json.dumps({"Dataset": _dataset(c, named, report)}, ensure_ascii=True)
            (folder / f"{count[c.group]:07d}.json").write_text(text, encoding="utf-8")
        return count.total()


def _dataset(c: Configuration, named: bool, report: WriteReport) -> dict[str, Any]:
    from ase.data import chemical_symbols

    data: dict[str, Any] = {
        "NumAtoms": len(c),
        "Lattice": c.cell.tolist(),
        "Positions": c.positions.tolist(),
        "AtomTypes": [chemical_symbols[z] for z in c.numbers.tolist()],
    }
    if np.isfinite(c.energy):
        data["Energy"] = float(c.energy)
    if c.forces is not None:
        data["Forces"] = c.forces.tolist()
    if c.stress is not None:
        stress, exact = in_bar(c.stress)
        tensor = np.empty((3, 3))
        for value, (i, j) in zip(stress, VOIGT_INDEX, strict=True):
            tensor[i, j] = tensor[j, i] = value
        data["Stress"] = tensor.tolist()
        if not exact:
            report.lose("stress in bar, whose last digit differs")
    for key in ("Energy", "Forces", "Stress"):
        if key not in data:
            report.lose(f"no {key}: the key is left out, FitSNAP itself needs it")
    if np.linalg.det(c.cell) < 0:
        report.lose("left-handed cell, which FitSNAP refuses")
    if c.spin is not None:
        size = np.linalg.norm(c.spin, axis=1)
        data["Spins"] = np.column_stack([size, c.spin / np.where(size > 0, size, 1.0)[:, None]]).tolist()
        report.lose("spins as size and direction, whose last digit differs")
    if c.charge is not None:
        data["Charges"] = [[float(q)] for q in c.charge]
    dataset: dict[str, Any] = {"Label": str(c.info["label"])} if isinstance(c.info.get("label"), str) else {}
    if named:
        data["Group"] = c.group
    for key, value in c.info.items():
        if key == "label" and "Label" in dataset:
            continue
        if key in _KEYS or not isinstance(value, (str, int, float, bool)):
            report.lose(f"info {key!r}")
        else:
            data[key] = value
    return {**dataset, **_STYLES, "Data": [data]}


def in_bar(stress: F8) -> tuple[F8, bool]:
    """Bar, positive in compression, that come back as near to ``stress`` (eV/Å^3) as they can; whether exactly."""
    scale = -1.0 / LAMMPS_BAR_PER_EV_A3
    out = stress / scale
    for step in (0.0, np.inf, -np.inf):
        tried = out if step == 0 else np.nextafter(stress / scale, step)
        better = np.abs(tried * scale - stress) < np.abs(out * scale - stress)
        out = np.where(better, tried, out)
    return out, bool((out * scale == stress).all())


plugin = Fitsnap
