"""MTP ``.cfg`` of MLIP-2 and MLIP-3: blocks of ``BEGIN_CFG ... END_CFG``.

Atom types are integers from 0: ``type_map`` must name the elements. ``PlusStress`` is a stress times the volume in eV
whose sign differs between the programs that write it: it is stored as missing, with a note, unless ``stress_sign`` says
which sign it has. Fewer than three ``Supercell`` rows mean that the other directions are not periodic.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..configuration import F8, Configuration
from ..errors import InputError
from ..labels import checked, number, of_types, place_of, symmetric_stress, table, volume_of
from ..reading import UNITS, ReadOptions, ReadReport, below, group_name, selected
from ..units import factor

_LEFT_OUT = (
    "PlusStress stored as missing: its sign is not fixed by the format; give --stress-sign (tension: "
    "stress = PlusStress/volume; compression: minus that)"
)
_SECTIONS = ("Size", "Supercell", "AtomData:", "Energy", "PlusStress:", "VirialStress:", "Feature")


@dataclass(slots=True)
class _Block:
    """One configuration as it stands in the file: sections with their header words and rows of words."""

    line: int
    header: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, list[list[str]]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    features: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MtpCfg:
    """Reader of MTP configuration files."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = (*UNITS, "stress_sign", "stress_order", "type_map", "index")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """A text that begins with ``BEGIN_CFG``."""
        return head.lstrip().startswith(b"BEGIN_CFG")

    def files(self, path: Path) -> list[Path]:
        """All ``*.cfg`` and ``*.cfgs`` below a folder."""
        return below(path, "*.cfg", "*.cfgs")

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """Stream the blocks of one file."""
        for frame, block in selected(_blocks(path, report), self.options.index):
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
        where = (str(path), frame, block.line)
        for name in ("Size", "AtomData:"):
            if not block.rows.get(name):
                raise InputError(f"the block has no {name.rstrip(':')!r}.", *where)
        length = 1.0 if options.length_unit is None else factor("length", options.length_unit)
        per_energy = 1.0 if options.energy_unit is None else factor("energy", options.energy_unit)
        columns, rows = block.header["AtomData:"], block.rows["AtomData:"]
        size = block.rows["Size"][0][0]
        if size != str(len(rows)):
            raise InputError(f"'Size' is {size} and 'AtomData' has {len(rows):,} rows.", *where)
        if any(len(r) != len(columns) for r in rows):
            bad = next(i for i, r in enumerate(rows) if len(r) != len(columns))
            raise InputError(
                f"atom line {bad + 1} has {len(rows[bad])} values, AtomData names {len(columns)} columns.",
                str(path),
                frame,
                block.lines["AtomData:"] + bad + 1,
            )
        data = table(rows, "AtomData", path, frame, block.lines["AtomData:"])
        if len(set(columns)) != len(columns):
            raise InputError("AtomData names a column twice.", *where)
        column = {name: data[:, i] for i, name in enumerate(columns)}
        if "id" in column:  # rows may stand in any order
            order = np.argsort(column["id"], kind="stable")
            column = {name: values[order] for name, values in column.items()}
        lattice = table(block.rows.get("Supercell", []), "Supercell", path, frame)
        if lattice.size not in (0, 3, 6, 9):
            raise InputError(f"'Supercell' has {lattice.size} numbers, expected three rows of three.", *where)
        lattice = lattice.reshape(-1, 3)
        cell = np.zeros((3, 3))
        cell[: len(lattice)] = lattice
        positions = _columns(column, "cartes_x", "cartes_y", "cartes_z")
        if positions is None:
            direct = _columns(column, "direct_x", "direct_y", "direct_z")
            if direct is None or len(lattice) < 3:
                raise InputError("AtomData has no cartes_x ... (or direct_x ... and three Supercell rows).", *where)
            positions = direct @ cell
        types = column.get("type")
        if types is None or not (np.abs(types) < 1e6).all() or (types % 1).any():
            raise InputError("AtomData has no column 'type' of whole numbers.", *where)
        energy = float("nan")
        if block.rows.get("Energy"):
            energy = number(block.rows["Energy"][0][0], "Energy", report, path, frame) * per_energy
        else:
            report.met("no energy in the block", place_of(path, frame))
        forces = _columns(column, "fx", "fy", "fz")
        if forces is None:
            report.met("no forces in the block", place_of(path, frame))
        elif options.force_unit is not None:
            forces *= factor("force", options.force_unit)
        else:
            forces *= per_energy / length
        info: dict[str, Any] = {k: v for k, v in block.features.items() if k not in ("mindist",)}
        return Configuration(
            numbers=of_types(types.astype(np.int64), options, path, frame),
            positions=positions * length,
            cell=cell * length,
            pbc=np.arange(3) < len(lattice),
            energy=energy,
            forces=forces,
            stress=self._stress(block, cell * length, per_energy, path, frame, report),
            group=group_name(options, path, root, "file", info, frame),
            source=os.fspath(path),
            frame=frame,
            charge=column.get("charge"),
            info=info,
        )

    def _stress(
        self, block: _Block, cell: F8, per_energy: float, path: Path, frame: int, report: ReadReport
    ) -> F8 | None:
        name = next((n for n in ("PlusStress:", "VirialStress:") if block.rows.get(n)), None)
        if name is None:
            report.met("no stress in the block", place_of(path, frame))
            return None
        sign = self.options.stress_sign
        if sign is None:
            report.met(_LEFT_OUT, place_of(path, frame))
            return None
        values = table(block.rows[name][0], name, path, frame, block.lines[name])
        order = self.options.stress_order or " ".join(block.header[name]) or "xx yy zz yz xz xy"
        volume = volume_of(cell)
        if volume == 0:
            raise InputError(f"{name!r} needs a cell with a volume to become a stress.", str(path), frame, block.line)
        if values.shape != (6,):
            raise InputError(f"{name!r} has {len(values)} numbers, expected 6.", str(path), frame, block.lines[name])
        report.assume(f"PlusStress: stress times volume in {self.options.energy_unit or 'eV'}, {sign} positive (MTP)")
        scale = per_energy / volume * (1.0 if sign == "tension" else -1.0)
        return symmetric_stress(values, order, scale, report, path, frame)


def _columns(column: dict[str, F8], *names: str) -> F8 | None:
    if any(n not in column for n in names):
        return None
    return np.column_stack([column[n] for n in names])


def _blocks(path: Path, report: ReadReport) -> Iterator[tuple[int, _Block]]:
    """Number and content of the blocks of a file; a broken one is refused and the next ``BEGIN_CFG`` is sought."""
    block: _Block | None = None
    section = ""
    index = found = 0
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for n, line in enumerate(file, 1):
                words = line.split("#")[0].split()
                if not words:
                    continue
                if words[0] == "BEGIN_CFG":
                    found += 1
                    if block is not None:
                        error = InputError("'BEGIN_CFG' before the block's 'END_CFG'.", str(path), index, block.line)
                        report.refuse(error)
                        index += 1
                    block, section = _Block(n), ""
                elif block is None:
                    continue
                elif words[0] == "END_CFG":
                    done, block = block, None
                    yield index, done
                    index += 1
                elif words[0] == "Feature":
                    section = "Feature"
                    if len(words) > 1:
                        block.features[words[1]] = " ".join(words[2:])
                elif words[0] in _SECTIONS:
                    section = words[0]
                    if section in block.rows:
                        report.refuse(InputError(f"{section!r} is there twice in one block.", str(path), index, n))
                        block, index = None, index + 1
                        continue
                    block.header[section], block.rows[section], block.lines[section] = words[1:], [], n
                elif section and section != "Feature":
                    block.rows[section].append(words)
    except OSError as error_:
        raise InputError(f"cannot be read: {error_.strerror}.", str(path)) from None
    if block is not None:
        report.refuse(InputError("the file ends before 'END_CFG': it is truncated.", str(path), index, block.line))
    elif not found:
        raise InputError("the file is empty: there is no 'BEGIN_CFG'.", str(path))


plugin = MtpCfg
