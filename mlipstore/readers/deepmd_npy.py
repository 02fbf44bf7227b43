"""DeePMD-kit folders: ``type.raw``, ``type_map.raw``, ``set.*/{coord,box,energy,force,virial}.npy``.

Å, eV, eV/Å; the virial is in eV and equals minus volume times stress. All frames of a folder have the same atoms, or,
in the mixed-type layout, those of ``real_atom_types.npy`` (-1: no atom). A file ``nopbc`` means not periodic. Arrays
are mapped from disk; no pickle is ever read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8, Configuration
from ..errors import InputError
from ..labels import checked, of_types, place_of, symmetric_stress, volume_of
from ..reading import UNITS, ReadOptions, ReadReport, group_name, selected
from ..units import factor

_OTHERS = {"coord", "box", "energy", "force", "virial", "real_atom_types"}


@dataclass(frozen=True)
class DeepmdNpy:
    """Reader of DeePMD-kit data folders."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = (*UNITS, "stress_sign", "type_map", "index")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """A folder with ``type.raw`` and ``set.*`` somewhere in it."""
        return path.is_dir() and next(_systems(path), None) is not None

    def files(self, path: Path) -> list[Path]:
        """The folders that hold ``type.raw`` and ``set.*``, sorted."""
        if path.name == "type.raw" and path.is_file():
            return [path.parent]
        found = sorted(_systems(path), key=str)
        if not found:
            raise InputError("no folder in it has 'type.raw' and 'set.*'.", str(path))
        return found

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """Stream the frames of one folder, set after set."""
        sets = sorted(s for s in path.glob("set.*") if s.is_dir())
        if not sets:
            raise InputError("the folder has no 'set.*'.", str(path))
        types = _type_raw(path)
        options = self.options
        if (path / "type_map.raw").is_file():
            names = tuple((path / "type_map.raw").read_text(encoding="utf-8", errors="replace").split())
            options = replace(options, type_map=names)
        group = group_name(options, path / "type.raw", root, "directory", {})
        for frame, (where, arrays, i) in selected(enumerate(_frames(sets, len(types), report)), options.index):
            try:
                configuration = self._configuration(options, where, arrays, i, types, group, path, frame, report)
                checked(configuration, report, path)
            except InputError as error:
                report.refuse(error)
                continue
            yield configuration

    def _configuration(
        self,
        options: ReadOptions,
        where: Path,
        arrays: dict[str, NDArray[Any]],
        i: int,
        types: NDArray[np.int64],
        group: str,
        path: Path,
        frame: int,
        report: ReadReport,
    ) -> Configuration:
        length = 1.0 if options.length_unit is None else factor("length", options.length_unit)
        per_energy = 1.0 if options.energy_unit is None else factor("energy", options.energy_unit)
        per_force = per_energy / length if options.force_unit is None else factor("force", options.force_unit)
        types = arrays["real_atom_types"][i].astype(np.int64) if "real_atom_types" in arrays else types
        real = types >= 0
        periodic = "box" in arrays and not (path / "nopbc").exists()
        cell = arrays["box"][i].reshape(3, 3).astype(float) * length if periodic else np.zeros((3, 3))
        place = place_of(path, frame)
        energy = float("nan")
        if "energy" in arrays:
            energy = float(arrays["energy"][i].reshape(())) * per_energy
            if np.isnan(energy):
                report.met("energy is not a finite number: missing", place)
        else:
            report.met("no energy.npy", place)
        if "force" not in arrays:
            report.met("no force.npy", place)
        return Configuration(
            numbers=of_types(types[real], options, path, frame),
            positions=arrays["coord"][i].reshape(-1, 3)[real].astype(float) * length,
            cell=cell,
            pbc=np.full(3, periodic),
            energy=energy,
            forces=arrays["force"][i].reshape(-1, 3)[real].astype(float) * per_force if "force" in arrays else None,
            stress=self._stress(arrays, i, cell, per_energy, path, frame, report) if periodic else None,
            group=group,
            source=os.fspath(path),
            frame=frame,
            info={"set": where.name},
        )

    def _stress(
        self,
        arrays: dict[str, NDArray[Any]],
        i: int,
        cell: F8,
        per_energy: float,
        path: Path,
        frame: int,
        report: ReadReport,
    ) -> F8 | None:
        if "virial" not in arrays:
            report.met("no virial.npy", place_of(path, frame))
            return None
        volume = volume_of(cell)
        if volume == 0:
            raise InputError("the virial cannot become a stress: the cell has no volume.", str(path), frame)
        sign = self.options.stress_sign or "compression"
        report.assume(f"virial in {self.options.energy_unit or 'eV'}, {sign} positive: stress = virial/volume (DeePMD)")
        scale = per_energy / volume * (-1.0 if sign == "compression" else 1.0)
        return symmetric_stress(arrays["virial"][i].reshape(3, 3), "", scale, report, path, frame)


def _systems(path: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(path, followlinks=True):
        folders.sort()
        if "type.raw" in names and any(f.startswith("set.") for f in folders):
            yield Path(folder)


def _type_raw(path: Path) -> NDArray[np.int64]:
    try:
        text = (path / "type.raw").read_text(encoding="utf-8", errors="replace")
        types = np.array(text.split(), np.int64)
    except OSError as error:
        raise InputError(f"'type.raw' cannot be read: {error.strerror}.", str(path)) from None
    except (ValueError, OverflowError):
        raise InputError("'type.raw' must hold one integer per atom.", str(path)) from None
    if not len(types):
        raise InputError("'type.raw' is empty.", str(path))
    return types


def _frames(sets: list[Path], n: int, report: ReadReport) -> Iterator[tuple[Path, dict[str, NDArray[Any]], int]]:
    """Set folder, its arrays and the frame inside, for all sets."""
    for where in sets:
        arrays: dict[str, NDArray[Any]] = {}
        for file in sorted(where.glob("*.npy")):
            if file.stem not in _OTHERS:
                report.met(f"{file.name} is not stored", str(where))
                continue
            try:
                arrays[file.stem] = np.load(file, mmap_mode="r", allow_pickle=False)
            except Exception as error:  # NumPy parses the header as Python source and raises what that raises
                raise InputError(f"is not a NumPy array of numbers, or truncated: {error}.", str(file)) from None
        if "coord" not in arrays:
            raise InputError("the set has no 'coord.npy'.", str(where))
        count = len(arrays["coord"]) if arrays["coord"].ndim else 0
        width = {"coord": 3 * n, "force": 3 * n, "box": 9, "virial": 9, "energy": 1, "real_atom_types": n}
        for name, array in arrays.items():
            if array.dtype.kind not in "iuf":
                raise InputError(f"'{name}.npy' holds {array.dtype}, not numbers.", str(where))
            if array.ndim == 0 or len(array) != count or array.size != count * width[name]:
                what = f"'{name}.npy' has shape {array.shape}, expected ({count:,}, {width[name]:,})."
                raise InputError(what, str(where))
        for i in range(count):
            yield where, arrays, i


plugin = DeepmdNpy
