"""``input.data`` of n2p2 and RuNNer, in eV and Å; the group as ``comment``.

The format has no stress, takes a cell with lattice vectors for periodic in all directions and one without for none,
and needs a force on every atom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration import Configuration
from ..writing import WriteReport

_CARRIED = ("set", "total_charge")


@dataclass(frozen=True)
class N2p2:
    """One file of all configurations."""

    suffix = ".data"
    format = "n2p2-data"

    def reading(self, groups: Sequence[str]) -> Mapping[str, Any]:
        """The format says neither units nor groups."""
        return {"length_unit": "A", "energy_unit": "eV", "group_by": "key:comment"}

    def write(
        self, configurations: Iterator[Configuration], groups: Sequence[str], path: Path, report: WriteReport
    ) -> int:
        """Write one file; how many configurations."""
        from ase.data import chemical_symbols

        n = 0
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            for c in configurations:
                if c.pbc.any() and not c.pbc.all():
                    report.leave_out("periodic in some directions only, which the format cannot say")
                    continue
                if c.forces is None:
                    report.leave_out("no forces, which the format needs")
                    continue
                symbols = [chemical_symbols[z] for z in c.numbers.tolist()]
                charges = np.zeros(len(c)) if c.charge is None else np.asarray(c.charge, float)
                values = np.column_stack([c.positions, charges, c.forces]).tolist()
                lines = [f"begin{_mark(c)}", f"comment {_line(c.group, report)}"]
                lines += [f"lattice {_numbers(row)}" for row in (c.cell.tolist() if c.pbc.all() else ())]
                lines += [f"atom {_numbers(v[:3])} {s} {v[3]!r} 0.0 {_numbers(v[4:])}"
                          for s, v in zip(symbols, values, strict=True)]  # fmt: skip
                if np.isfinite(c.energy):
                    lines.append(f"energy {float(c.energy)!r}")
                total = c.info.get("total_charge", 0.0)
                charge = float(total) if isinstance(total, (int, float)) else 0.0
                lines += [f"charge {charge!r}", "end"]
                file.write("\n".join(lines) + "\n")
                _note_losses(c, report)
                n += 1
        return n


def _note_losses(c: Configuration, report: WriteReport) -> None:
    """Count what the format has no place for."""
    if c.stress is not None:
        report.lose("stress")
    if c.spin is not None:
        report.lose("spins")
    if not np.isfinite(c.energy):
        report.lose("no energy: the line is left out, n2p2 itself needs it")
    if not c.pbc.any() and c.cell.any():
        report.lose("cell of a configuration that is not periodic")
    if c.charge is not None and not c.charge.any():
        report.lose("charges, which are all zero")
    for key in c.info:
        if key not in (*_CARRIED, "comment"):
            report.lose(f"info {key!r}")
        elif key == "comment" and c.info[key] != c.group:
            report.lose("info 'comment': the group stands there")


def _mark(c: Configuration) -> str:
    mark = c.info.get("set")
    return f" set={mark}" if isinstance(mark, str) and mark.isalnum() else ""


def _numbers(values: Sequence[float]) -> str:
    return " ".join(map(repr, values))


def _line(text: str, report: WriteReport) -> str:
    """A text that fits a line and is read back as it is."""
    out = " ".join(text.split("\n")).strip() if "\n" in text else text.strip()
    out = "".join(ch if ch.isprintable() else "_" for ch in out) or "_"
    if out != text:
        report.lose("group name, in which line breaks and blanks at the ends are others")
    return out


plugin = N2p2
