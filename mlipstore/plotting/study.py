"""Pictures of a study: the Pareto front among all trials, and what the balanced point depends on."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ..configuration import F8
from ..errors import counted
from ..searching.studies import Study
from .collect import QUANTITIES
from .style import COLOURS, GREY, SPLIT_COLOURS, footnote, heading, legend, new_figure, plain, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Trials with an objective this many times as large as the best, or as the given settings have it, are not drawn.
_FAR = 2.5
#: Parameters that are drawn, those of largest influence.
_PARAMETERS = 24


def front(study: Study) -> Figure:
    """Every pair of objectives against each other: trials, the front, the given settings, the balanced point.

    A single objective is drawn against the number of the trial.
    """
    pairs = list(combinations(range(len(study.objectives)), 2))
    across, down = min(max(1, len(pairs)), 3), max(1, -(-len(pairs) // 3))
    figure = new_figure(0.6 + 5.6 * across, 0.8 + 4.4 * down)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for ax in grid[max(1, len(pairs)) :]:
        ax.set_axis_off()
    far = [_pair(ax, study, i, j) for ax, (i, j) in zip(grid, pairs, strict=False)]
    notes = [counted(len(study.errors), "trial"), f"{len(study.front()):,} on the front"]
    if not pairs:
        _progress(grid[0], study)
        notes.pop()
    if any(far):
        notes.append(f"{counted(max(far), 'trial')} beyond the axes")
    heading(figure, study.name, "errors of rows that were not fitted")
    footnote(figure, notes)
    return figure


def _scaled(study: Study, j: int) -> tuple[F8, float, str]:
    """Values of an objective, its value at the given settings, and its name with the unit."""
    kind = study.objectives[j].partition(":")[0]
    q = next(q for q in QUANTITIES if q.kind == kind)
    name = f"{shortened(study.objectives[j])} RMSE ({q.error_unit})"
    return study.errors[:, j] * q.error_scale, float(study.base[j] * q.error_scale), name


def _pair(ax: Axes, study: Study, i: int, j: int) -> int:
    """Two objectives against each other; returns the number of trials that are not in the picture."""
    (x, x0, x_name), (y, y0, y_name) = _scaled(study, i), _scaled(study, j)
    best, balanced = study.front(), study.balanced()
    high = [_FAR * max(float(np.min(v[best])), given) for v, given in ((x, x0), (y, y0))]
    drawn = (x <= high[0]) & (y <= high[1])
    trials = ax.scatter(x[drawn], y[drawn], s=4, color=GREY, linewidths=0, rasterized=True)
    order = best[np.argsort(x[best])]
    order = order[drawn[order]]
    (line,) = ax.plot(x[order], y[order], "-o", color=SPLIT_COLOURS[0], markersize=3, linewidth=1.2)
    given = ax.scatter([x0], [y0], s=70, marker="X", color=COLOURS[1], zorder=4)
    chosen = ax.scatter([x[balanced]], [y[balanced]], s=70, marker="D", color=SPLIT_COLOURS[1], zorder=5)
    lower = f"balanced ({100 * (x[balanced] / x0 - 1):+.0f} %, {100 * (y[balanced] / y0 - 1):+.0f} %)"
    legend(ax, [trials, line, given, chosen], ["trials", "front", "given settings", lower], frameon=False)
    ax.axvline(x0, color=COLOURS[1], linewidth=0.6, linestyle=":")
    ax.axhline(y0, color=COLOURS[1], linewidth=0.6, linestyle=":")
    plain(ax.set_xlabel(x_name), ax.set_ylabel(y_name))
    return int((~drawn).sum())


def _progress(ax: Axes, study: Study) -> None:
    """One objective: every trial, and the best so far."""
    y, y0, name = _scaled(study, 0)
    best = np.minimum.accumulate(np.where(np.isfinite(y), y, np.inf))
    trials = ax.scatter(np.arange(len(y)), y, s=4, color=GREY, linewidths=0, rasterized=True)
    (line,) = ax.plot(best, color=SPLIT_COLOURS[0], linewidth=1.4)
    given = ax.axhline(y0, color=COLOURS[1], linewidth=0.8, linestyle=":")
    ax.set_ylim(0.98 * float(best[-1]), max(1.05 * y0, 1.3 * float(best[-1])))
    legend(ax, [trials, line, given], ["trials", "best so far", "given settings"], frameon=False)
    ax.set_xlabel("trial")
    plain(ax.set_ylabel(name))


def sensitivity(study: Study, slopes: F8) -> Figure:
    """Derivatives of each objective by each parameter at the balanced point, the largest first.

    :param slopes: derivatives of ln(objective) by ln(value), by the value for shifts ``(objectives, parameters)``
    """
    names = study.attributes["parameters"]
    order = np.argsort(-np.abs(slopes).max(axis=0), kind="stable")[:_PARAMETERS]
    m = len(slopes)
    figure = new_figure(8.0, 1.5 + (0.14 * m + 0.08) * len(order))
    ax = figure.subplots()
    height = 0.8 / m
    bars = []
    for j in range(m):
        at = np.arange(len(order)) + (j - (m - 1) / 2) * height
        colour = (*SPLIT_COLOURS, *COLOURS)[j % (len(SPLIT_COLOURS) + len(COLOURS))]
        bars.append(ax.barh(at, slopes[j, order], height * 0.92, color=colour, linewidth=0))
    ax.axvline(0.0, color="#555555", linewidth=0.8)
    ax.set_yticks(range(len(order)), [shortened(names[i], 40) for i in order])
    plain(*ax.get_yticklabels())
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#E5E5E5", linewidth=0.6)
    ax.set_xlabel("relative change of the error per relative change of the weight (per eV for shifts)")
    legend(ax, bars, [shortened(o) for o in study.objectives], frameon=False)
    heading(figure, study.name, "what the balanced point depends on")
    notes = [] if len(order) == len(names) else [f"{len(names) - len(order)} parameters of less influence left out"]
    footnote(figure, notes)
    return figure
