"""Parity plots: predicted against reference, coloured by group, residuals below, training and test side by side."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..split import SPLITS
from .collect import WORST, Collected, Kind
from .histogram import BORDERS
from .style import (
    COLOURS,
    FAINT,
    GREY,
    INK,
    footnote,
    heading,
    legend,
    new_figure,
    number,
    plain,
    shortened,
    written_out,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Axes leave out extreme rows only if this makes the range of the others so many times larger.
_WORTH = 3.0
#: The part of the rows at either end that counts as extreme.
_EXTREME = 5e-4
#: An inset shows the rows without this part of them at either end, if they take less than 1/6 of the axes.
_OUTSIDE, _SMALL_PART = 0.05, 6.0


def named_groups(collected: Collected, limit: int = len(COLOURS)) -> list[int]:
    """Groups that get a colour, the same in all pictures: those with most of the squared error, over all kinds.

    Returned as positions in ``collected.groups``, the largest share first.
    """
    share = np.zeros(len(collected.groups))
    where = {g: i for i, g in enumerate(collected.groups)}
    for kind in collected.kinds:
        squares = np.zeros(len(share))
        for e in kind.errors:
            if e.group in where:
                squares[where[e.group]] += e.n * e.rmse**2
        total = squares.sum()
        rows = kind.seen.reshape(-1, len(SPLITS)).sum(axis=1)
        # with exact predictions, those with most rows
        share += squares / total if total > 0 else rows / rows.sum()
    order = np.argsort(-share, kind="stable")
    present = np.any([kind.seen for kind in collected.kinds], axis=0).reshape(-1, len(SPLITS)).any(axis=1)
    return [int(i) for i in order if present[i]][:limit]


def parity(collected: Collected, kind: Kind) -> Figure:
    """The picture of one kind."""
    q = kind.quantity
    columns = kind.splits
    figure = new_figure(4.0 * len(columns) + 2.7, 6.0)
    axes = figure.subplots(
        2, len(columns), sharex=True, sharey="row", squeeze=False, gridspec_kw={"height_ratios": [2.9, 1.0]}
    )
    named = named_groups(collected)
    low, high, left_out = _limits(kind)
    zoom = _zoom(kind, low, high)
    notes: dict[str, str] = {}
    if len(kind.points) < kind.seen.sum():
        notes["drawn"] = f"drawn: up to {kind.level:,} rows per group and split, and the {WORST} largest errors"
    if left_out:
        notes["beyond"] = f"triangles: {left_out:,} {'row' if left_out == 1 else 'rows'} beyond the axes"
    area = float(np.clip(6e4 * len(columns) / len(kind.points), 7.0, 22.0))
    for column, split in enumerate(columns):
        top, bottom = axes[0][column], axes[1][column]
        points = kind.points[kind.points["cell"] % len(SPLITS) == split]
        cloud = _Cloud(kind, points, named, area)
        _draw(top, bottom, cloud, kind, low, high)
        if zoom is not None and _inset(top, cloud, low, high, zoom):
            notes["inset"] = "inset: the middle 90 % of the rows"
        _texts(top, kind, split, len(points))
        bottom.set_xlabel(f"reference ({q.axis_unit}{q.axis_note})")
    top, bottom = axes[0][0], axes[1][0]
    top.set_xlim(low, high)
    top.set_ylim(low, high)
    top.locator_params(axis="x", nbins=6)
    if _residual_axis(bottom, kind):
        notes["scale"] = "residuals: linear between the grey lines, logarithmic beyond"
        threshold = bottom.yaxis.get_transform().linthresh
        for ax, t in itertools.product(axes[1], (threshold, -threshold)):
            ax.axhline(t, color=FAINT, linewidth=0.7, zorder=1)
    written_out(top.xaxis, top.yaxis, bottom.yaxis)
    top.set_ylabel(f"predicted ({q.axis_unit})")
    bottom.set_ylabel(f"predicted − reference\n({q.error_unit})")
    figure.align_ylabels(axes[:, 0])
    _group_legend(axes[0][-1], collected, kind, named)
    heading(figure, collected.model, q.title)
    footnote(figure, list(notes.values()))
    return figure


def _limits(kind: Kind) -> tuple[float, float, int]:
    """Both ends of the axes, and how many rows lie beyond."""
    lowest, highest = kind.lowest, kind.highest
    full = lowest.least, highest.greatest
    core = lowest.quantile(_EXTREME), highest.quantile(1 - _EXTREME)
    if 0 < _WORTH * (core[1] - core[0]) < full[1] - full[0]:
        margin = 0.04 * (core[1] - core[0])
        # on borders of bins, so that the rows beyond are counted exactly
        low = BORDERS[np.searchsorted(BORDERS, core[0] - margin, side="right") - 1]
        high = BORDERS[np.searchsorted(BORDERS, core[1] + margin)]
        return float(low), float(high), lowest.below(low) + highest.above(high)
    margin = 0.04 * (full[1] - full[0]) or 0.01 * abs(full[1]) or 1.0
    return full[0] - margin, full[1] + margin, 0


def _zoom(kind: Kind, low: float, high: float) -> tuple[float, float] | None:
    """The range of nearly all rows, if it is a small part of the axes."""
    core = kind.lowest.quantile(_OUTSIDE), kind.highest.quantile(1 - _OUTSIDE)
    if not 0 < _SMALL_PART * (core[1] - core[0]) < high - low:
        return None
    margin = 0.05 * (core[1] - core[0])
    return core[0] - margin, core[1] + margin


class _Cloud:
    """Points of one split in the order of drawing, where small groups come last and are seen.

    Grey ones come first, then full cells mixed with each other, then the smaller the later.
    """

    def __init__(self, kind: Kind, points: NDArray[np.void], named: list[int], area: float) -> None:
        from matplotlib.colors import to_rgba

        q = kind.quantity
        palette = np.array([to_rgba(GREY)] * (len(kind.seen) // len(SPLITS)))
        for i, g in enumerate(named):
            palette[g] = to_rgba(COLOURS[i])
        group = points["cell"] // len(SPLITS)
        size = np.minimum(kind.seen[points["cell"]], kind.level)
        order = np.lexsort((points["key"], -size, np.isin(group, named)))
        self.x = points["reference"][order]
        self.residual = points["residual"][order]
        self.y = self.x + self.residual / q.error_scale * q.axis_scale
        self.colour = palette[group[order]]
        self.area = area

    def scatter(
        self, ax: Axes, y: NDArray[np.float64], mine: NDArray[np.bool_], x: NDArray[np.float64] | None = None,
        **style: Any,
    ) -> None:  # fmt: skip
        """Draw some of the points; as pixels also in vector formats."""
        style = {"s": self.area, "linewidths": 0, "alpha": 0.75, "rasterized": True, "zorder": 2, **style}
        ax.scatter((self.x if x is None else x)[mine], y[mine], c=self.colour[mine], **style)


def _draw(top: Axes, bottom: Axes, cloud: _Cloud, kind: Kind, low: float, high: float) -> None:
    """Both panels of one split. Rows beyond the axes are triangles on the border that they lie behind."""
    top.axline((low, low), slope=1, color=INK, linewidth=0.8, zorder=1.5)
    bottom.axhline(0, color=INK, linewidth=0.8, zorder=1.5)
    x, y = np.clip(cloud.x, low, high), np.clip(cloud.y, low, high)
    above, below = cloud.y > high, cloud.y < low
    right, left = (cloud.x > high) & ~above & ~below, (cloud.x < low) & ~above & ~below
    cloud.scatter(top, y, ~(above | below | right | left))
    cloud.scatter(bottom, cloud.residual, np.ones(len(x), bool), x)
    for marker, mine in (("^", above), ("v", below), (">", right), ("<", left)):
        if mine.any():
            cloud.scatter(top, y, mine, x, marker=marker, clip_on=False, s=24.0, zorder=3)


def _inset(top: Axes, cloud: _Cloud, low: float, high: float, zoom: tuple[float, float]) -> bool:
    """An enlarged view of where nearly all points are, in the corner below the diagonal if that is empty."""
    x, y = (cloud.x - low) / (high - low), (cloud.y - low) / (high - low)
    if ((x > 0.55) & (y < 0.45)).any():
        return False
    ax = top.inset_axes((0.66, 0.09, 0.32, 0.33))
    ax.set_xlim(*zoom)
    ax.set_ylim(*zoom)
    ax.axline((zoom[0], zoom[0]), slope=1, color=INK, linewidth=0.8, zorder=1.5)
    inside = (cloud.x >= zoom[0]) & (cloud.x <= zoom[1]) & (cloud.y >= zoom[0]) & (cloud.y <= zoom[1])
    cloud.scatter(ax, cloud.y, inside)
    ax.spines[:].set_visible(True)
    ax.locator_params(nbins=3)
    written_out(ax.xaxis, ax.yaxis)
    top.indicate_inset_zoom(ax, edgecolor="#777777", linewidth=0.7)
    return True


def _texts(top: Axes, kind: Kind, split: int, shown: int) -> None:
    q, total = kind.quantity, kind.rows(split)
    entry = kind.error(split)
    part = "" if shown == total else f", {shown:,} drawn"
    top.set_title(f"{SPLITS[split]}: {total:,} {'row' if total == 1 else 'rows'}{part}", loc="left")
    if entry is not None:
        top.annotate(
            f"MAE    {number(entry.mae)} {q.error_unit}\nRMSE  {number(entry.rmse)} {q.error_unit}", (0, 1), (8, -8),
            xycoords="axes fraction", textcoords="offset points", ha="left", va="top",
            bbox={"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": FAINT, "alpha": 0.85},
        )  # fmt: skip


def _residual_axis(bottom: Axes, kind: Kind) -> bool:
    """Linear, or linear near zero and logarithmic beyond where a few errors would flatten all others.

    :return: whether it is partly logarithmic
    """
    both = kind.residual[0] + kind.residual[1]
    largest = both.reach
    usual = max(abs(both.quantile(0.05)), abs(both.quantile(0.95)))
    power = math.ceil(math.log10(usual)) if usual > 0 else 0
    if usual == 0 or 10.0 ** (power + 1) > 1.2 * largest:  # no room for a second number that shows the change of scale
        bottom.set_ylim(-1.1 * largest or -1.0, 1.1 * largest or 1.0)
        return False
    last = math.floor(math.log10(1.3 * largest))
    bottom.set_yscale("symlog", linthresh=10.0**power, linscale=1.0)
    ticks = [10.0**p for p in range(power, last + 1, math.ceil((last - power + 1) / 3))]
    bottom.set_yticks([*(-t for t in reversed(ticks)), 0.0, *ticks])
    bottom.set_yticks([], minor=True)
    bottom.set_ylim(-1.3 * largest, 1.3 * largest)
    return True


def _group_legend(ax: Axes, collected: Collected, kind: Kind, named: list[int]) -> None:
    from matplotlib.lines import Line2D

    rows = kind.seen.reshape(-1, len(SPLITS)).sum(axis=1)
    mine = [(i, g) for i, g in enumerate(named) if rows[g]]
    others = int((rows > 0).sum()) - len(mine)
    entries = [(COLOURS[i], shortened(collected.groups[g])) for i, g in mine]
    if others:
        entries.append((GREY, f"{others} other {'group' if others == 1 else 'groups'}"))
    handles = [Line2D([], [], marker="o", linestyle="", color=c, markersize=6) for c, _ in entries]
    title = "groups, by squared error"
    box = legend(ax, handles, [n for _, n in entries], loc="upper left", bbox_to_anchor=(1.0, 1.02), frameon=False,
                 title=title, alignment="left", handletextpad=0.3, borderaxespad=0.6)  # fmt: skip
    plain(box.get_title())
