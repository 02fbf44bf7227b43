"""Error tables: MAE and RMSE per group and kind, training and test side by side, one or one for each kind."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

from mlipstore.units import GPA, LAMMPS_BAR_PER_EV_A3

from .tables import DIGITS, alike, cells, lines_of, say, table, width_of_output

#: Factor and name of the unit of each kind of error.
UNITS = {
    "standard": {"energy": (1e3, "meV/atom"), "force": (1e3, "meV/Å"), "stress": (1.0 / GPA, "GPa")},
    "fitsnap": {"energy": (1.0, "eV/atom"), "force": (1.0, "eV/Å"), "stress": (LAMMPS_BAR_PER_EV_A3, "bar")},
}
KINDS = ("energy", "force", "stress")
MEASURES = {"mae": "MAE", "rmse": "RMSE"}


def digits_of(units: str) -> int:
    """Significant digits; tables in FitSNAP's units are compared with FitSNAP's, which have six."""
    return 6 if units == "fitsnap" else DIGITS


def show_errors(entries: Sequence[Any], units: str) -> None:
    """One table where the output is wide enough for it, else one for each kind."""
    every = _Errors(entries, units)
    whole = every.table(every.kinds)
    width = width_of_output()
    folded = lines_of(*whole, total=True, width=width if sys.stdout.isatty() else None)
    if len(every.kinds) == 1 or max(map(cells, folded)) <= width:
        table(*whole, total=True)
        return
    for i, kind in enumerate(every.kinds):
        if i:
            say("")
        table(*every.table([kind]), total=True)


class _Errors:
    """Unweighted entries of an error table by group, split and kind."""

    def __init__(self, entries: Sequence[Any], units: str) -> None:
        self.scale, self.digits = UNITS[units], digits_of(units)
        self.have = {(e.group, e.split, e.kind): e for e in entries if not e.weighted}
        names = list(dict.fromkeys(group for group, _, _ in self.have))
        self.names = [n for n in names if n != "*"] + ["*"] * ("*" in names)
        self.splits = [s for s in ("train", "test") if any(k[1] == s for k in self.have)]
        self.kinds = [k for k in KINDS if any(x[2] == k for x in self.have)]
        # a fit from factors has no mean absolute errors
        self.measures = [m for m in MEASURES if any(math.isfinite(getattr(e, m)) for e in self.have.values())]

    def table(self, kinds: Sequence[str]) -> tuple[list[tuple[str, ...]], list[list[str]]]:
        """Headers and rows for some kinds; of one kind, with the numbers of its rows."""
        one = len(kinds) == 1
        columns: list[tuple[str, ...]] = [("group",)]
        values: list[list[str]] = [["all" if n == "*" else n for n in self.names]]
        counted = kinds[0] if one else "energy"
        if counted in kinds:
            what = {"energy": "energies", "force": "force components", "stress": "stress components"}[counted]
            for split in self.splits:
                columns.append((what, split) if one else ("", what, split))
                found = [self.have.get((n, split, counted)) for n in self.names]
                values.append(["" if e is None else f"{e.n:,}" for e in found])
        for kind in kinds:
            factor, unit = self.scale[kind]
            errors: list[list[float | None]] = []
            for split in self.splits:
                for measure in self.measures:
                    columns.append((f"{kind} {unit}", split, MEASURES[measure]))
                    found = [self.have.get((n, split, kind)) for n in self.names]
                    errors.append([None if e is None else getattr(e, measure) * factor for e in found])
            values += alike(errors, self.digits)
        return columns, [list(row) for row in zip(*values, strict=True)]


def show_errors_long(entries: Sequence[Any], units: str) -> None:
    """A table for each kind with the numbers of rows, MAE, RMSE, largest error and R^2."""
    scale = UNITS[units]
    plain = [e for e in entries if not e.weighted]
    for kind in KINDS:
        mine = [e for e in plain if e.kind == kind]
        if not mine:
            continue
        factor, unit = scale[kind]
        numbers = alike([[getattr(e, m) * factor for e in mine] for m in (*MEASURES, "max")], digits_of(units))
        rsq = [f"{e.rsq:.6f}" if math.isfinite(e.rsq) else "-" for e in mine]
        rows = [
            ["all" if e.group == "*" else e.group, e.split, f"{e.n:,}", *values]
            for e, *values in zip(mine, *numbers, rsq, strict=True)
        ]
        say("")
        head = f"{kind} {unit}"
        table(["group", "split", "rows", (head, "MAE"), (head, "RMSE"), (head, "max"), "R²"], rows, left=2)
    if len(plain) < len(entries):
        say("  errors of weighted rows: --json")
