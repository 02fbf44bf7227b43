"""Histograms of the residuals of all rows, training and test."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..split import SPLITS
from .collect import Collected, Kind
from .style import SMALL, SPLIT_COLOURS, SPLIT_INKS, heading, legend, new_figure, number, written_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The axis reaches this much beyond the residuals that this fraction of the rows stays within (3.5 standard deviations
#: of normal ones); rows beyond it are counted in the margins.
_BEYOND, _WITHIN = 1.5, 0.98


def residuals(collected: Collected) -> Figure:
    """One panel per kind."""
    figure = new_figure(4.2 * len(collected.kinds) + 0.4, 4.4)
    axes = figure.subplots(1, len(collected.kinds), squeeze=False)[0]
    for ax, kind in zip(axes, collected.kinds, strict=True):
        _panel(ax, kind)
    axes[0].set_ylabel("rows in bin")
    heading(figure, collected.model, "residuals")
    return figure


def _panel(ax: Axes, kind: Kind) -> None:
    from matplotlib.patches import Patch

    q = kind.quantity
    width, half = _bins(kind)
    borders = width * np.arange(-half, half + 1)
    tails, handles, names = [], [], []
    for s in kind.splits:
        counts, below, above = kind.residual[s].linear(width, half)
        tails.append((s, below, above))
        colour = SPLIT_COLOURS[s]
        first = s == kind.splits[0]  # a face for the first and a line for the second, so that both are seen
        ax.stairs(np.maximum(counts, 0.5), borders, baseline=0.5, fill=first, color=colour,
                  alpha=0.45 if first else 1.0, linewidth=0 if first else 1.4)  # fmt: skip
        entry = kind.error(s)
        if entry is not None:
            face, line = ((colour, 0.45), 0.0) if first else ("none", 1.4)
            handles.append(Patch(facecolor=face, edgecolor=colour, linewidth=line))
            names.append(f"{SPLITS[s]}: {entry.n:,} rows, RMSE {number(entry.rmse)}, max {number(entry.max)}")
    ax.axvline(0, color="#777777", linewidth=0.7, zorder=1)
    ax.set_yscale("log")
    ax.locator_params(axis="x", nbins=7)
    written_out(ax.xaxis, ax.yaxis)
    top = ax.get_ylim()[1]
    ax.set_ylim(0.5, top**1.12)
    ax.set_xlim(borders[0], borders[-1])
    ax.set_xlabel(f"predicted − reference ({q.error_unit})")
    ax.set_title(q.title, loc="left", pad=8 + 15 * len(handles))
    legend(ax, handles, names, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, borderaxespad=0.2,
           borderpad=0.1)  # fmt: skip
    for s, below, above in tails:
        y = -8 - 13 * kind.splits.index(s)
        sides = ((below, 0, "left", f"◂ {below:,} beyond"), (above, 1, "right", f"{above:,} beyond ▸"))
        for n, x, align, text in sides:
            if n:
                ax.annotate(text, (x, 1), (4 if x == 0 else -4, y), xycoords="axes fraction", ha=align, va="top",
                            textcoords="offset points", fontsize=SMALL, color=SPLIT_INKS[s])  # fmt: skip


def _bins(kind: Kind) -> tuple[float, int]:
    """Width of a bin, a power of two, and how many there are on either side of zero."""
    both = kind.residual[0] + kind.residual[1]
    tail = (1 - _WITHIN) / 2
    reach = min(both.reach, _BEYOND * max(abs(both.quantile(tail)), abs(both.quantile(1 - tail))) or both.reach)
    if not 0 < reach < math.inf:
        return 2.0**-10, 8
    # Freedman and Diaconis 1981, doi:10.1007/BF01025868: twice the interquartile range over the cube root of n
    best = 2 * (both.quantile(0.75) - both.quantile(0.25)) / both.n ** (1 / 3)
    width = 2.0 ** math.floor(math.log2(min(reach / 6, max(reach / 32, best))))
    return width, min(128, math.ceil(reach / width))
