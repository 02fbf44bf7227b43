"""Predicted standard deviations of a model against the errors of what was left out of the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .collect import QUANTITIES, Quantity
from .style import GREY, SMALL, SPLIT_COLOURS, footnote, heading, new_figure, number, plain, shortened, written_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Groups that are named: those whose error is farthest from the prediction.
_NAMED = 6


def calibration(model: str, uncertainty: dict[str, Any]) -> Figure:
    """One panel per kind of row, one point per group or fold that was left out.

    :param uncertainty: as it is stored with the model
    """
    kinds = [q for q in QUANTITIES if q.kind in uncertainty["scale"]]
    figure = new_figure(0.6 + 4.0 * len(kinds), 4.8)
    for ax, q in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        _panel(ax, q, uncertainty)
    heading(figure, model, f"predicted deviations, each {uncertainty['by']} left out")
    footnote(figure, ["line: error as predicted; dotted: a factor of 2", "root mean squares over the rows of a group"])
    return figure


def _panel(ax: Axes, q: Quantity, uncertainty: dict[str, Any]) -> None:
    mine = [(name, predicted, error) for name, kind, predicted, error in uncertainty["lines"] if kind == q.kind]
    x, y = (np.array([line[i] for line in mine]) * q.error_scale for i in (1, 2))
    low, high = 0.7 * min(x.min(), y.min()), 1.4 * max(x.max(), y.max())
    ax.set_xscale("log")
    ax.set_yscale("log")
    for factor, dots in ((1.0, "-"), (2.0, ":"), (0.5, ":")):
        ax.plot([low, high], [factor * low, factor * high], dots, color=GREY, linewidth=1.0)
    ax.scatter(x, y, s=16, color=SPLIT_COLOURS[0], linewidths=0, zorder=3)
    for i in np.argsort(-np.abs(np.log(y / x)), kind="stable")[:_NAMED]:
        plain(ax.annotate(shortened(mine[i][0], 20), (x[i], y[i]), (3, 3), textcoords="offset points", fontsize=SMALL))
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_aspect("equal")
    written_out(ax.xaxis)
    written_out(ax.yaxis)
    rank = uncertainty["rank_correlation"][q.kind]
    ax.set_title(q.title + ("" if rank is None else f", rank correlation {number(rank, 2)}"), loc="left")
    ax.set_xlabel(f"predicted ({q.error_unit})")
    ax.set_ylabel(f"error ({q.error_unit})")
