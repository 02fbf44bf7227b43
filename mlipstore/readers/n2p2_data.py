"""``input.data`` of n2p2 and RuNNer: blocks of ``begin ... end``, without units.

``lattice`` (three rows, or none: not periodic), ``atom x y z element charge 0 fx fy fz``, ``energy``, ``charge``,
``comment``. The file never says its units (RuNNer: Bohr and Hartree; some published sets: Å and eV): ``length_unit``
and ``energy_unit`` must be given, forces are in energy per length unless ``force_unit`` says otherwise. Without them
the error says what the distances in the file suggest. There is no stress.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..configuration import F8, Configuration
from ..errors import InputError
from ..labels import atomic_numbers, checked
from ..reading import UNITS, ReadOptions, ReadReport, below, group_name, selected
from ..units import BOHR, factor

#: Atoms whose neighbours are looked at for the hint about units.
_HINT_ATOMS = 32


@dataclass(slots=True)
class _Block:
    """One configuration as it stands in the file; ``line`` is that of ``begin``."""

    line: int
    mark: str
    lattice: list[list[float]]
    atoms: list[list[str]]
    atom_lines: list[int]
    energy: float | None = None
    charge: float | None = None
    comment: str = ""


@dataclass(frozen=True)
class N2p2Data:
    """Reader of n2p2 and RuNNer data files."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = (*UNITS, "index")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """A text whose first word is ``begin`` and whose next lines are its keywords."""
        words = [line.split() for line in head.split(b"\n") if line.strip() and not line.lstrip().startswith(b"#")]
        return (
            len(words) > 1
            and words[0][0] == b"begin"
            and words[1][0] in (b"comment", b"lattice", b"atom", b"energy", b"charge")
        )

    def files(self, path: Path) -> list[Path]:
        """All ``*.data`` below a folder that begin as such a file does (``scaling.data`` and weights are others)."""
        if not path.is_dir():
            return below(path)
        found = []
        for file in below(path, "*.data"):
            with open(file, "rb") as stream:
                if self.recognises(file, stream.read(4096)):
                    found.append(file)
        return found

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """Stream the blocks of one file."""
        for frame, block in selected(_blocks(path, report), self.options.index):
            self._ask_for_units(block, path)
            try:
                configuration = checked(self._configuration(block, path, frame, report, root), report, path, block.line)
            except InputError as error:
                report.refuse(error)
                continue
            yield configuration

    def _configuration(
        self, block: _Block, path: Path, frame: int, report: ReadReport, root: Path | None
    ) -> Configuration:
        options = self.options
        length, energy = factor("length", options.length_unit or ""), factor("energy", options.energy_unit or "")
        force = energy / length
        if options.force_unit is not None:
            force = factor("force", options.force_unit)
        unit = options.force_unit or f"{options.energy_unit}/{options.length_unit}"
        report.assume(f"lengths in {options.length_unit}, energies in {options.energy_unit}, forces in {unit} (n2p2)")
        numbers = atomic_numbers([a[3] for a in block.atoms], path, frame)
        rows = []
        for atom, line in zip(block.atoms, block.atom_lines, strict=True):
            try:
                rows.append([float(atom[i]) for i in (0, 1, 2, 4, -3, -2, -1)])
            except ValueError as error:
                raise InputError(f"{error}.", str(path), frame, line) from None
        values = np.array(rows)
        info: dict[str, object] = {}
        if block.comment:
            info["comment"] = block.comment
        if block.mark:
            info["set"] = block.mark
        if block.charge:
            info["total_charge"] = block.charge
        if block.energy is None:
            report.met("no energy in the block", f"{path}, frame {frame:,}")
        return Configuration(
            numbers=numbers,
            positions=values[:, :3] * length,
            cell=np.array(block.lattice) * length if block.lattice else np.zeros((3, 3)),
            pbc=np.full(3, bool(block.lattice)),
            energy=float("nan") if block.energy is None else block.energy * energy,
            forces=values[:, 4:] * force,
            group=group_name(options, path, root, "directory", info, frame),
            source=os.fspath(path),
            frame=frame,
            charge=values[:, 3].copy() if values[:, 3].any() else None,
            info=info,
        )

    def _ask_for_units(self, block: _Block, path: Path) -> None:
        options = self.options
        missing = [
            option
            for option, value in (("--length-unit", options.length_unit), ("--energy-unit", options.energy_unit))
            if value is None
        ]
        if not missing:
            return
        raise InputError(
            f"the format does not say its units: give {' and '.join(missing)}. {_hint(block, path)}", str(path)
        )


def _blocks(path: Path, report: ReadReport) -> Iterator[tuple[int, _Block]]:
    """Number and content of the blocks of a file; a broken one is refused and the next ``begin`` is sought."""
    block: _Block | None = None
    index = found = 0
    skipping = False
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for n, line in enumerate(file, 1):
                words = line.split()
                if not words or words[0].startswith("#"):
                    continue
                keyword = words[0]
                try:
                    if keyword == "begin":
                        found += 1
                        if block is not None:
                            block, before = _begin(words, n), block
                            raise InputError("'begin' before the block's 'end'.", str(path), index, before.line)
                        block, skipping = _begin(words, n), False
                    elif skipping:
                        continue
                    elif block is None:
                        raise InputError(f"{keyword!r} outside of begin ... end.", str(path), index, n)
                    elif keyword == "end":
                        if len(block.lattice) not in (0, 3):
                            what = f"{len(block.lattice)} 'lattice' lines, expected 3 or none."
                            raise InputError(what, str(path), index, n)
                        if not block.atoms:
                            raise InputError("the block has no atoms.", str(path), index, n)
                        done, block = block, None
                        yield index, done
                        index += 1
                    else:
                        _take(block, words, line, n, path, index)
                except InputError as error:
                    report.refuse(error)
                    index += 1
                    if keyword != "begin":
                        block, skipping = None, True
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", str(path)) from None
    if block is not None:
        report.refuse(InputError("the file ends before 'end': it is truncated.", str(path), index, block.line))
    elif not found:
        raise InputError("the file is empty: there is no 'begin'.", str(path))


def _begin(words: list[str], line: int) -> _Block:
    mark = next((w.partition("=")[2] for w in words[1:] if w.startswith("set=")), "")
    return _Block(line, mark, [], [], [])


def _take(block: _Block, words: list[str], line: str, n: int, path: Path, frame: int) -> None:
    keyword, values = words[0], words[1:]
    if keyword == "comment":
        block.comment = line.strip()[len("comment") :].strip()
    elif keyword == "atom":
        if len(values) != 9:
            what = f"an atom line has {len(values)} values, expected x y z element charge 0 fx fy fz."
            raise InputError(what, str(path), frame, n)
        block.atoms.append(values)
        block.atom_lines.append(n)
    elif keyword in ("lattice", "energy", "charge"):
        wanted = 3 if keyword == "lattice" else 1
        try:
            numbers = [float(v) for v in values[:wanted]]
            if len(numbers) != wanted:
                raise ValueError(f"{keyword!r} needs {wanted} number{'s' if wanted > 1 else ''}")
        except ValueError as error:
            raise InputError(f"{error}.", str(path), frame, n) from None
        if keyword == "lattice":
            block.lattice.append(numbers)
        elif getattr(block, keyword) is not None:
            raise InputError(f"{keyword!r} is there twice in one block.", str(path), frame, n)
        else:
            setattr(block, keyword, numbers[0])
    else:
        raise InputError(f"unknown keyword {keyword!r}.", str(path), frame, n)


def _hint(block: _Block, path: Path) -> str:
    """What nearest-neighbour distances, in units of the sum of covalent radii, suggest."""
    from ase.data import covalent_radii

    numbers = atomic_numbers([a[3] for a in block.atoms], path, 0)
    try:
        positions = np.array([[float(x) for x in a[:3]] for a in block.atoms])
    except ValueError:
        return "RuNNer files are in Bohr and Ha (--length-unit Bohr --energy-unit Ha)."
    cell = np.array(block.lattice) if block.lattice else np.zeros((3, 3))
    distance, other = _nearest(positions, cell)
    radii = covalent_radii[numbers]
    ratio = distance / (radii[: len(distance)] + radii[other])
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    if not len(ratio):
        return "RuNNer files are in Bohr and Ha (--length-unit Bohr --energy-unit Ha)."
    typical, low = float(np.median(ratio)), float(distance[distance > 0].min())
    as_bohr = abs(np.log(typical * BOHR)) < abs(np.log(typical))
    suggestion = "--length-unit Bohr --energy-unit Ha" if as_bohr else "--length-unit Å --energy-unit eV"
    return (
        f"The nearest atoms of the first configuration are {low:.2f} apart; neighbours are typically at {typical:.2f} "
        f"times the sum of their covalent radii if that is Å, {typical * BOHR:.2f} times if it is Bohr: this suggests "
        f"{suggestion}."
    )


def _nearest(positions: F8, cell: F8) -> tuple[F8, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Distance to the nearest other atom or image, and which, for the first atoms."""
    some = positions[:_HINT_ATOMS]
    shifts = np.array(np.meshgrid(*[(-1, 0, 1)] * 3)).reshape(3, -1).T @ cell if cell.any() else np.zeros((1, 3))
    best = np.full(len(some), np.inf)
    other = np.zeros(len(some), np.int64)
    for shift in shifts:
        d = np.linalg.norm(positions[None] + shift - some[:, None], axis=2)
        d[d < 1e-9] = np.inf
        j = d.argmin(axis=1)
        closer = d[np.arange(len(some)), j] < best
        best[closer], other[closer] = d[np.arange(len(some)), j][closer], j[closer]
    return best, other


plugin = N2p2Data
