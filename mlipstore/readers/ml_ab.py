"""VASP ``ML_AB``: the training data that on-the-fly learning writes.

A header, then for each ``Configuration num.`` sections of a title and rows, parted by lines of ``*``, ``=`` and ``-``:
atom types and numbers, lattice vectors (Å), positions (Å), total energy (eV), forces (eV/Å), and a stress in kbar in
two rows, ``XX YY ZZ`` and ``XY YZ ZX``, taken as positive in compression as everywhere in VASP.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..configuration import Configuration
from ..errors import InputError
from ..labels import atomic_numbers, checked, number, stress_factor, stress_unit, symmetric_stress, table
from ..reading import STRESS, ReadOptions, ReadReport, below, group_name, selected

_ORDER = "xx yy zz xy yz xz"
_TITLES = {
    "System name": "name",
    "Atom types and atom numbers": "types",
    "The number of atoms": "size",
    "Primitive lattice vectors": "cell",
    "Atomic positions": "positions",
    "Total energy": "energy",
    "Forces": "forces",
    "XX YY ZZ": "diagonal",
    "XY YZ ZX": "shear",
}


@dataclass(slots=True)
class _Block:
    """One configuration: the rows of each section and the line where they begin."""

    line: int
    rows: dict[str, list[list[str]]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class MlAb:
    """Reader of VASP's on-the-fly training data."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = (*STRESS, "index")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """A text that begins with the version line and the number of configurations of such a file."""
        return b"The number of configurations" in head and b"ersion" in head[:60]

    def files(self, path: Path) -> list[Path]:
        """All ``ML_AB*`` and ``ML_ABN*`` below a folder."""
        return below(path, "ML_AB*", "*.ML_AB", "*.ML_ABN")

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """Stream the configurations of one file."""
        for frame, block in selected(enumerate(_blocks(path, report)), self.options.index):
            try:
                configuration = checked(self._configuration(block, path, frame, report, root), report, path, block.line)
            except InputError as error:
                report.refuse(error)
                continue
            yield configuration

    def _configuration(
        self, block: _Block, path: Path, frame: int, report: ReadReport, root: Path | None
    ) -> Configuration:
        for title, name in _TITLES.items():
            if name not in ("name", "size") and not block.rows.get(name):
                raise InputError(f"the configuration has no {title!r}: is it truncated?", str(path), frame, block.line)
        symbols: list[str] = []
        for row in block.rows["types"]:
            if len(row) != 2 or not row[1].isdecimal() or int(row[1]) > 10**7:
                raise InputError(
                    f"expected an element and a number of atoms, found {' '.join(row)!r}.",
                    str(path),
                    frame,
                    block.lines["types"],
                )
            symbols += [row[0]] * int(row[1])
        values = {
            name: table(block.rows[name], name, path, frame, block.lines[name])
            for name in ("cell", "positions", "forces")
        }
        if block.rows.get("size") and block.rows["size"][0] != [str(len(symbols))]:
            size = " ".join(block.rows["size"][0])
            raise InputError(
                f"'The number of atoms' is {size}, the types have {len(symbols):,}.", str(path), frame, block.line
            )
        energy = number(block.rows["energy"][0][0], "energy", report, path, frame)
        info = {"system": " ".join(block.rows["name"][0])} if block.rows.get("name") else {}
        group = group_name(self.options, path, root, "directory", info, frame)
        six = table([*block.rows["diagonal"][0], *block.rows["shear"][0]], "stress", path, frame)
        if six.shape != (6,):
            raise InputError(f"the stress has {six.size} numbers.", str(path), frame, block.lines["shear"])
        sign = self.options.stress_sign or "compression"
        report.assume(f"stress in {stress_unit(self.options, group, 'kbar')}, {sign} positive (ML_AB)")
        scale = stress_factor(self.options, group, "kbar", "compression")
        order = self.options.group_stress_order.get(group) or self.options.stress_order or _ORDER
        return Configuration(
            numbers=atomic_numbers(symbols, path, frame),
            positions=values["positions"],
            cell=values["cell"],
            pbc=np.ones(3, bool),
            energy=energy,
            forces=values["forces"],
            stress=symmetric_stress(six, order, scale, report, path, frame),
            group=group,
            source=os.fspath(path),
            frame=frame,
            info=dict(info),
        )


def _is_rule(text: str) -> bool:
    return len(text) > 9 and not text.strip(text[0]) and text[0] in "*=-"


def _blocks(path: Path, report: ReadReport) -> Iterator[_Block]:
    """Configurations of a file, split at ``Configuration num.``."""
    block: _Block | None = None
    section = ""
    told = -1
    wait_count = False
    found = 0
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for n, line in enumerate(file, 1):
                text = line.strip()
                if not text or _is_rule(text):
                    continue
                if text.startswith("Configuration num"):
                    found += 1
                    if block is not None:
                        yield block
                    block, section = _Block(n), ""
                elif block is None:
                    if wait_count:
                        told, wait_count = int(text) if text.isdecimal() else -1, False
                    wait_count = wait_count or text.startswith("The number of configurations")
                elif name := next((v for k, v in _TITLES.items() if text.startswith(k)), ""):
                    section = name
                    if name in block.rows:
                        raise InputError(f"{text!r} is there twice.", str(path), found - 1, n)
                    block.rows[name], block.lines[name] = [], n
                elif text[0].isalpha() and section not in ("types", "name"):
                    section = ""  # a section of no interest here (CTIFOR, basis sets, ...)
                elif section:
                    if section == "types" and not text.split()[-1].isdecimal():
                        section = ""
                        continue
                    block.rows[section].append(text.split())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", str(path)) from None
    if block is not None:
        yield block
    if not found:
        raise InputError("the file is empty: there is no 'Configuration num.'.", str(path))
    if told > found:
        report.refuse(
            InputError(f"the header says {told:,} configurations, {found:,} are there: it is truncated.", str(path))
        )


plugin = MlAb
