"""Errors by group: root mean square and mean absolute error of each, training and test side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..metrics import ALL, Entry
from ..split import SPLITS
from .collect import Collected, Kind
from .style import SMALL, SPLIT_COLOURS, footnote, heading, legend, new_figure, number, plain, shortened, written_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Groups beyond this many are left out, those of smallest error first.
MOST_GROUPS = 120
#: Pictures of more lines than this have numbers along the upper edge as well.
_TALL = 20
#: A wider range of errors than this gets a logarithmic axis.
_WIDE = 30.0
#: A logarithmic axis does not go below this part of the largest error; a bar that would is only a number.
_DEEPEST = 1e-4
_MEASURES = (("rmse", "RMSE"), ("mae", "MAE"))


def error_bars(collected: Collected, kind: Kind) -> Figure:
    """The picture of one kind: all groups together on top, then the groups from large to small error."""
    q, splits = kind.quantity, kind.splits
    lines = {(e.group, e.split): e for e in kind.errors}
    worst = {g: max(lines[g, s].rmse for s in SPLITS if (g, s) in lines) for g, _ in lines}
    ranked = sorted((g for g in worst if g != ALL), key=lambda g: (-worst[g], g))
    left_out = ranked[MOST_GROUPS:]
    names = [ALL, *ranked[:MOST_GROUPS]]
    pitch = 0.15 * len(splits) + 0.06
    figure = new_figure(10.0, 1.7 + pitch * len(names))
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    low, high = _range([getattr(lines[g, s], m) for g, s in lines if g in names for m, _ in _MEASURES])
    axes[0].set_xscale("log" if low else "linear")
    axes[0].set_xlim(low, high)
    written_out(axes[0].xaxis)
    for ax, (measure, title) in zip(axes, _MEASURES, strict=True):
        _bars(ax, measure, names, lines, splits, low)
        ax.set_xlabel(f"{title} ({q.error_unit})")
        ax.set_title(title, loc="left")
    weightless = {collected.groups[i] for i in np.flatnonzero(kind.unweighted)}
    ax = axes[0]
    ax.set_yticks(range(len(names)), [_label(g, lines, [SPLITS[s] for s in splits], g in weightless) for g in names])
    plain(*ax.get_yticklabels())
    ax.get_yticklabels()[0].set_fontweight("bold")
    ax.set_ylim(len(names) - 0.4, -0.6)
    for other in axes:
        other.tick_params(axis="y", length=0)
        if len(names) > _TALL:
            other.tick_params(axis="x", which="both", top=True, labeltop=True)
            other.spines["top"].set_visible(True)
        other.axhline(0.5, color="#999999", linewidth=0.7)
    if len(splits) > 1:
        from matplotlib.patches import Patch

        legend(figure, [Patch(color=SPLIT_COLOURS[s]) for s in splits], [SPLITS[s] for s in splits],
               loc="outside upper right", ncols=2, frameon=False)  # fmt: skip
    only = [SPLITS[s] for s in splits if len(splits) == 1]
    heading(figure, collected.model, "errors by group", q.title, *only, reserved=1.8)
    notes = [f"in brackets: number of rows, {' + '.join(SPLITS[s] for s in splits)}"]
    if weightless & set(names):
        notes.append("† not fitted: its weight is 0")
    if left_out:
        notes.append(f"{len(left_out)} more groups with RMSE up to {number(worst[left_out[0]])} {q.error_unit}")
    footnote(figure, notes)
    return figure


def _label(group: str, lines: dict[tuple[str, str], Entry], splits: list[str], weightless: bool) -> str:
    counts = [f"{lines[group, s].n:,}" if (group, s) in lines else "0" for s in splits]
    name = "all groups" if group == ALL else shortened(group)
    return f"{name}{' †' if weightless else ''}  ({' + '.join(counts)})"


def _range(values: list[float]) -> tuple[float, float]:
    """Both ends of the axis of errors; the lower one is 0 for a linear axis."""
    high = max(values)
    shown = [v for v in values if v > _DEEPEST * high]
    if not shown or high <= _WIDE * min(v for v in values if v > 0):
        return 0.0, 1.18 * high or 1.0  # room for the numbers beyond the longest bar
    low = 10 ** math.floor(math.log10(0.9 * min(shown)))
    return low, high * (high / low) ** 0.16


def _bars(
    ax: Axes, measure: str, names: list[str], lines: dict[tuple[str, str], Entry], splits: list[int], low: float
) -> None:
    """Horizontal bars with their values, one per split in each line, beginning at ``low``."""
    values = {key: getattr(e, measure) for key, e in lines.items() if key[0] in names}
    height = 0.8 / len(splits)
    for i, s in enumerate(splits):
        at = np.array([j for j, g in enumerate(names) if (g, SPLITS[s]) in values])
        length = np.array([values[names[j], SPLITS[s]] for j in at])
        y = at + (i - (len(splits) - 1) / 2) * height
        ax.barh(y, np.maximum(length, low) - low, height * 0.92, left=low, color=SPLIT_COLOURS[s], linewidth=0)
        for place, v in zip(y, length, strict=True):
            ax.annotate(number(v), (max(v, low), place), (3, 0), textcoords="offset points", va="center",
                        fontsize=SMALL)  # fmt: skip
    ax.grid(axis="x", color="#E5E5E5", linewidth=0.6)
