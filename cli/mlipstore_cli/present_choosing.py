"""What people see of chosen configurations and outliers."""

from __future__ import annotations

import os
from shlex import quote
from typing import Any

from .error_tables import UNITS
from .progress import duration
from .tables import counted, number, say, table

#: Groups that are listed as off.
_GROUPS = 8


def show_select(result: Any, store: str, units: str) -> None:
    """The picks, best first."""
    scale = UNITS[units]
    calibrated = any(p.energy_std is not None for p in result.picks)
    words = {"i-optimal": "share of variance", "d-optimal": "information", "max-variance": "variance"}
    what = words[result.method]
    header = ["", "from", "frame", "group", "atoms", f"{what}\nwhen chosen", "leverage\nin the fit"]
    if calibrated:
        header += [f"energy std\n{scale['energy'][1]}", f"force std\n{scale['force'][1]}"]
    rows = []
    for rank, p in enumerate(result.picks, 1):
        row = [f"{rank}", os.path.basename(p.source), f"{p.frame}", p.group, f"{p.n_atoms}"]
        row += [number(p.score), number(p.leverage)]
        if calibrated:
            row += [number(p.energy_std * scale["energy"][0]), number(p.force_std * scale["force"][0])]
        rows.append(row)
    table(header, rows, left=2)
    left_out = [
        f"{counted(n, *words)} {text}"
        for n, words, text in (
            (result.copies, ("copy", "copies"), "of stored or fitted ones left out"),
            (result.near_duplicates, ("near-duplicate",), "passed over"),
        )
        if n
    ]
    say(" · ".join([
        f"  {len(result.picks)} of {counted(result.candidates, 'candidate')}, {result.method} per {result.per}",
        *left_out, duration(result.seconds),
    ]))  # fmt: skip
    if not calibrated and result.picks:
        how = f"mlipstore uncertainty {quote(store)} {quote(result.model)}"
        say(f"  predicted deviations in units of energies and forces: {how}")
    if result.output is not None:
        say(f"  wrote {result.output}; label these, then mlipstore ingest {quote(store)} FILE and featurize")


def show_outliers(result: Any, units: str) -> None:
    """Configurations to look at, and groups that are off as a whole."""
    scale = UNITS[units]
    header = [
        "from",
        "frame",
        "group",
        "atoms",
        "row",
        "label",
        "fitted",
        "unit",
        "residual\n/ std. error",
        "largest\nleverage",
    ]
    rows = []
    for o in result.outliers:
        row = o.farthest if result.by == "residual" else o.strongest
        factor, unit = scale[row.kind] if row.kind != "energy" else (1.0, "eV/atom")
        rows.append([
            os.path.basename(o.source), f"{o.frame}", o.group, f"{o.n_atoms}", f"{row.kind} {row.component}".strip(),
            number(row.label * factor), number(row.fitted * factor), unit, f"{row.studentised:+.1f}",
            f"{o.strongest.leverage:.2g}",
        ])  # fmt: skip
    table(header, rows)
    strange = sum(1 for o in result.outliers if o.reasons)
    say(f"  {len(result.outliers)} of {counted(result.configurations, 'training configuration')} by {result.by}, "
        f"{strange} of them beyond 5 standard errors or leverage 0.5 · {counted(result.rows, 'row')} in one pass · "
        f"{duration(result.seconds)}")  # fmt: skip
    if not result.groups:
        return
    say("  groups whose error is far above that of the others (labels off as a whole, or next to no weight):")
    for g in result.groups[:_GROUPS]:
        factor, unit = scale[g.kind]
        say(f"    {g.group}: {g.kind} RMSE {number(g.rmse * factor)} {unit} over {counted(g.rows, 'row')}, "
            f"{g.rmse / g.median:.0f} times the median of the groups")  # fmt: skip
    if len(result.groups) > _GROUPS:
        say(f"    and {len(result.groups) - _GROUPS} more: --json lists them")
