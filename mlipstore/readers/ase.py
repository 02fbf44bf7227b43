"""Whatever else ASE reads (QE, CASTEP, FHI-aims, GPAW, LAMMPS dumps, trajectories, ...), in its conventions.

Labels are those of the calculator that ASE attaches, in eV, Å, eV/Å^3, tension positive. Labels under other names are
found with ``energy_key`` (in ``info``) and ``force_key`` (in the arrays). Formats that hold Python pickles are refused:
reading one can run any program.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..configuration import Configuration
from ..errors import InputError
from ..labels import (
    checked,
    force_factor,
    known_numbers,
    number,
    of_types,
    place_of,
    plain,
    stress_factor,
    symmetric_stress,
    table,
)
from ..reading import KEYS, STRESS, UNITS, ReadOptions, ReadReport, below, group_name, selected
from ..units import factor

if TYPE_CHECKING:
    from ase import Atoms

_GROUPS = ("config_type", "group", "config_name")
#: Formats of ASE that unpickle, talk to a server, or are no structures.
_REFUSED = ("bundletrajectory", "mysql", "postgresql", "py", "gif", "mp4", "png", "pov", "html")
#: Formats that hold integer types instead of elements, unless the file says more.
_TYPED = ("lammps-dump-text", "lammps-dump-binary")


def _format(path: Path) -> str | None:
    """ASE's name of the format of a file, or None."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    try:
        name = filetype(str(path), read=True, guess=False)
    except (UnknownFileTypeError, OSError, ValueError, IndexError, EOFError):
        return None
    return name if name in ioformats and ioformats[name].can_read else None


@dataclass(frozen=True)
class Ase:
    """Reader of all other formats that ASE knows."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = (*KEYS, *UNITS, *STRESS, "type_map", "index")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """ASE knows the format by name or content."""
        return bool(head) and _format(path) is not None

    def files(self, path: Path) -> list[Path]:
        """A file, or all files of a folder that ASE knows."""
        if not path.is_dir():
            return below(path)
        found = [f for f in below(path, "*") if f.stat().st_size and _format(f) not in (None, *_REFUSED)]
        if not found:
            raise InputError("ASE knows no file of this folder.", str(path))
        return found

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """Stream the images of one file."""
        for frame, (atoms, kind) in selected(enumerate(_images(path)), self.options.index):
            try:
                configuration = checked(self._configuration(atoms, kind, path, frame, report, root), report, path)
            except InputError as error:
                report.refuse(error)
                continue
            yield configuration

    def _configuration(
        self, atoms: Atoms, kind: str, path: Path, frame: int, report: ReadReport, root: Path | None
    ) -> Configuration:
        options = self.options
        named = next((str(atoms.info[k]) for k in _GROUPS if k in atoms.info), "")
        auto = f"={named}" if named else "file"
        group = group_name(options, path, root, auto, atoms.info, frame)
        c = Configuration.from_ase(atoms, group, os.fspath(path), frame)
        if kind in _TYPED and not _names_elements(path):
            c.numbers = of_types(c.numbers, options, path, frame, first=1)
        c.numbers = known_numbers(c.numbers, path, frame)
        length = 1.0 if options.length_unit is None else factor("length", options.length_unit)
        c.positions, c.cell = c.positions * length, c.cell * length
        results: dict[str, Any] = dict(atoms.calc.results) if atoms.calc is not None else {}
        if options.energy_key is not None:
            found = atoms.info.get(options.energy_key, results.get(options.energy_key))
            c.energy = float("nan") if found is None else number(found, options.energy_key, report, path, frame)
        if options.force_key is not None:
            found = atoms.arrays.get(options.force_key, results.get(options.force_key))
            c.forces = None if found is None else table(found, options.force_key, path, frame)
        elif c.forces is None:
            for name, array in atoms.arrays.items():
                if "forc" in name.lower() and np.shape(array)[1:] == (3,):
                    raise InputError(
                        f"the array {name!r} may be the forces: say --force-key {name} if it is.", str(path), frame
                    )
        if options.stress_key is not None:
            found = atoms.info.get(options.stress_key, results.get(options.stress_key))
            c.stress = None if found is None else table(found, options.stress_key, path, frame)
        if c.stress is not None:
            if c.stress.size not in (6, 9):
                what = options.stress_key or "stress"
                raise InputError(f"{what!r} has {c.stress.size} numbers, expected 6 or 9.", str(path), frame)
            order = options.group_stress_order.get(group) or options.stress_order or "xx yy zz yz xz xy"
            scale = stress_factor(options, group, "eV/Å^3", "tension")
            c.stress = symmetric_stress(c.stress, order, scale, report, path, frame)
            report.assume(f"labels as ASE gives them: stress in eV/Å^3, tension positive ({kind})")
        c.energy *= 1.0 if options.energy_unit is None else factor("energy", options.energy_unit)
        if c.forces is not None:
            c.forces = c.forces * force_factor(options, report)
        for what, missing in (("energy", np.isnan(c.energy)), ("forces", c.forces is None)):
            if missing:
                report.met(f"no {what} in the image", place_of(path, frame))
        taken = _GROUPS if options.group_by == "auto" else ()
        c.info = {str(k): plain(v) for k, v in atoms.info.items() if k not in taken and plain(v) is not None}
        if results.get("free_energy") is not None:
            c.info["free_energy"] = plain(results["free_energy"])
        return c


def _names_elements(path: Path) -> bool:
    """Whether the columns of a LAMMPS dump name the element."""
    with open(path, "rb") as file:
        for line in file.read(65536).split(b"\n"):
            if line.startswith(b"ITEM: ATOMS"):
                return b" element" in line
    return False


def _images(path: Path) -> Iterator[tuple[Atoms, str]]:
    from ase.io import iread

    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", str(path)) from None
    if not head:
        raise InputError("the file is empty.", str(path))
    kind = _format(path)
    if kind is None:
        raise InputError("ASE does not know this format. Say which reader takes it with --format.", str(path))
    if kind in _REFUSED or head.startswith((b"PickleTrajectory", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        raise InputError(f"is a {kind} file, which holds Python pickles or no structures: it is not read.", str(path))
    if b" CP2K| version" in head:
        how = "Write its positions, cells, energies and forces as extended XYZ (docs/formats.md)"
        raise InputError(f"is the output of CP2K, which neither ASE nor another reader here takes. {how}.", str(path))
    count = 0
    try:
        images = iter(iread(str(path), index=":", format=kind))
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                atoms = next(images, None)
            if atoms is None:
                break
            yield atoms, kind
            count += 1
    except GeneratorExit:
        raise
    except Exception as error:  # ASE's readers raise whatever the bytes make them raise
        what = f"ASE's reader of {kind} failed after {count:,} images (truncated or damaged?): {error!r:.200}."
        raise InputError(what, str(path), count) from None
    if count == 0:
        what = f"ASE takes it for {kind} and finds no image in it: the run was cut, or the file is of another program."
        raise InputError(what, str(path))


plugin = Ase
