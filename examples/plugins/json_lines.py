"""A reader in one file: one JSON object per line, in eV and Å, with a stress in GPa that is positive in tension."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mlipstore.configuration import Configuration
from mlipstore.errors import InputError
from mlipstore.labels import (
    atomic_numbers,
    checked,
    number,
    place_of,
    stress_factor,
    stress_unit,
    symmetric_stress,
    table,
)
from mlipstore.reading import ReadOptions, ReadReport, below, group_name, selected


@dataclass(frozen=True)
class JsonLines:
    """Reader of lines {"symbols": [..], "positions": [[..]], "cell": [[..]], "energy": .., "forces": [[..]]}."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = ("stress_unit", "stress_sign", "stress_order", "group_stress_unit", "index")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """A cheap look at the name and the first 4 kB (nothing for a folder)."""
        return path.suffix == ".jsonl" and b'"symbols"' in head and b'"positions"' in head

    def files(self, path: Path) -> list[Path]:
        """The files to read of what the user named, a file or a folder."""
        return below(path, "*.jsonl")

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """Stream the lines of one file; a line that makes no sense is refused by its number."""
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = ((n, line) for n, line in enumerate(file, 1) if line.strip())
            empty = True
            for frame, (n, line) in selected(enumerate(lines), self.options.index):
                empty = False
                try:
                    yield checked(self._configuration(line, path, frame, report, root), report, path, n)
                except InputError as error:  # raised, or noted when the user said --skip-bad
                    report.refuse(InputError(error.message, str(path), frame, n))
        if empty:
            raise InputError("there is no configuration in it.", str(path))

    def _configuration(self, line: str, path: Path, frame: int, report: ReadReport, root: Path | None) -> Configuration:
        try:
            item: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"not valid JSON (truncated?): {error}.") from None
        if not isinstance(item, dict) or not isinstance(item.get("symbols"), list) or "positions" not in item:
            raise InputError("a line is an object with the keys 'symbols' and 'positions'.")
        group = group_name(self.options, path, root, "file", item, frame)
        cell = item.get("cell")
        forces = item.get("forces")
        if forces is None:  # a label that is missing is told about, never made up
            report.met("no forces in the line", place_of(path, frame))
        stress = None
        if item.get("stress") is not None:
            unit, sign = stress_unit(self.options, group, "GPa"), self.options.stress_sign or "tension"
            report.assume(f"stress in {unit}, {sign} positive (JSON lines)")
            scale = stress_factor(self.options, group, "GPa", "tension")
            values = table(item["stress"], "stress", path, frame)
            if values.size not in (6, 9):
                raise InputError(f"'stress' has {values.size} numbers, expected 6 or 9.")
            order = self.options.stress_order or "xx yy zz yz xz xy"
            stress = symmetric_stress(values, order, scale, report, path, frame)
        return Configuration(
            numbers=atomic_numbers(item["symbols"], path, frame),
            positions=table(item["positions"], "positions", path, frame),
            cell=np.zeros((3, 3)) if cell is None else table(cell, "cell", path, frame),
            pbc=np.full(3, cell is not None),
            energy=number(item.get("energy"), "energy", report, path, frame),
            forces=None if forces is None else table(forces, "forces", path, frame),
            stress=stress,
            group=group,
            source=os.fspath(path),
            frame=frame,
        )


plugin = JsonLines
