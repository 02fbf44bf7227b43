"""Comparison with FitSNAP's error tables and dumps, for the reference tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlipstore.fit import FitResult
from mlipstore.fitsnap.convert import convert
from mlipstore.metrics import Entry
from mlipstore.pipeline import RunResult, run
from mlipstore.runs.runfile import load
from mlipstore.units import LAMMPS_BAR_PER_EV_A3

KINDS = {"Energy": ("energy", 1.0), "Force": ("force", 1.0), "Stress": ("stress", LAMMPS_BAR_PER_EV_A3)}

#: Errors of forces that are zero by symmetry.
ROUND_OFF = 1e-11


def move_over(source: Path, folder: Path, **changes: str) -> RunResult:
    """What a FitSNAP user does: turn the input into a run file and run it.

    :param changes: text replaced in the run file
    """
    target = folder / "run.toml"
    text = convert(source, target)
    for old, new in changes.items():
        text = text.replace(old, new)
    target.write_text(text, encoding="utf-8")
    return run(load(target))


def compare(result: FitResult, table: dict[str, Any], tolerance: float) -> int:
    """Assert that every line of a FitSNAP error table is met; returns how many numbers were compared."""
    have = {(e.group, e.split, e.kind, e.weighted): e for e in result.errors}
    compared = 0
    wrong = []
    for group, weightings in table.items():
        for weighting, splits in weightings.items():
            # tables of 2021 have no level of training and testing
            levels = splits if "Training" in splits else {"Training": splits}
            for kind, line in levels["Training"].items():
                name, bar = KINDS[kind]
                key = ("*" if group == "*ALL" else group, "train", name, weighting.lower() == "weighted")
                entry = have[key]
                assert entry.n == line["ncount"], (key, entry.n, line["ncount"])
                for what, factor in (("mae", bar), ("rmse", bar), ("rsq", 1.0)):
                    expected = line[what]
                    mine = _value(entry, what, factor)
                    if expected is None or expected != expected or abs(expected) == float("inf"):
                        continue
                    if what == "rsq" and line["rmse"] < ROUND_OFF:
                        continue  # a ratio of rounding errors
                    compared += 1
                    if abs(expected) < ROUND_OFF:  # zero by symmetry: only rounding is compared
                        assert abs(mine) < 100 * ROUND_OFF, (key, what, mine, expected)
                        continue
                    # 1 - rsq is what was measured; near 1 its own digits are fewer
                    room = tolerance * max(abs(expected), 1.0 if what == "rsq" else 0.0)
                    if abs(mine - expected) > room:
                        wrong.append((key, what, mine, expected, abs(mine - expected) / abs(expected)))
    assert not wrong, wrong[:10]
    return compared


def overall(result: FitResult, table: dict[str, Any]) -> float:
    """Largest relative difference of the lines that take all groups together."""
    worst = 0.0
    for e in result.errors:
        if e.group == "*" and not e.weighted:
            name = e.kind.capitalize()
            line = table["*ALL"]["Unweighted"]["Training"][name]
            for what in ("mae", "rmse"):
                worst = max(worst, abs(_value(e, what, KINDS[name][1]) / line[what] - 1))
    return worst


def _value(entry: Entry, what: str, factor: float) -> float:
    value = float(getattr(entry, what))
    if what != "rsq" and not entry.weighted:
        value *= factor  # weights are per bar already
    return value
