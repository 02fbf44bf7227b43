"""Pictures of findings: pressure against volume, energies against forces, who is copied where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingsError, nearest
from ..metrics import KINDS
from ..plot import FORMATS, save_figure, writable_folder
from ..plotting.style import (
    COLOURS,
    GREY,
    SPLIT_COLOURS,
    file_stem,
    footnote,
    heading,
    legend,
    new_figure,
    plain,
    shortened,
    style,
    written_out,
)
from ..units import GPA
from .finding import READ_IN
from .material import Series
from .run import AuditResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..kept.standing import LeftOut
    from .finding import Finding
#: Points of a scatter that are drawn, groups of a map.
_POINTS, _GROUPS = 20_000, 40
#: Standard errors off the fit from which a label of a suspect configuration is one that stands out.
_OFF = 4.0
#: Groups whose names are written beside their points, at most.
_NAMED = 6


def plot(result: AuditResult, directory: str | Path, format: str = "png") -> list[Path]:
    """Draw what the audit warns about.

    ``stress-unit-GROUP``: energy and pressure along a series of volumes, or strained pairs; ``energy-force-GROUP``:
    energy differences against the work of the forces; ``copies``: how many geometries each pair of groups shares;
    ``suspect-label``: residuals and leverages of a model; ``group-conflict``: errors of groups that were left out.

    :param directory: made if it is not there
    :raises MissingDependencyError: matplotlib is not installed
    :raises StoreError: the directory cannot be written
    """
    suffix = format.lower().lstrip(".")
    if suffix not in FORMATS:
        raise SettingsError(
            f"unknown picture format {format!r}. {nearest(suffix, FORMATS)}Known: {', '.join(FORMATS)}."
        )
    with style():
        folder = writable_folder(Path(directory))
        return [save_figure(figure, folder / f"{name}.{suffix}", suffix) for name, figure in _figures(result)]


def _figures(result: AuditResult) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each picture."""
    for f in result.findings:
        if f.group == "*" or f.verdict == "ok":
            continue
        stem = f"{f.check}-{file_stem(f.group, f.group.encode().hex()[:4])}"
        if f.check == "stress-unit" and f.verdict in ("warning", "error"):
            series = [s for s in result.data.series if result.data.summary.groups[s.group] == f.group]
            figure = _pressures(result, f, series) if f.evidence.get("series") else _strained(result, f)
            if figure is not None:
                yield stem, figure
        elif f.check == "energy-force" and f.verdict in ("warning", "error"):
            yield stem, _work(result, f)
    if result.data.fit is not None:
        suspects = [f for f in result.findings if f.check == "suspect-label" and f.verdict == "warning"]
        if suspects:
            yield "suspect-label", _suspects(result, suspects)
        left = result.data.fit.left_out
        if left is not None and any(f.check == "group-conflict" and f.verdict == "warning" for f in result.findings):
            yield "group-conflict", _conflicts(result.data.fit.model, left)
    if any(f.check in ("copies", "near-copies") and f.counts for f in result.findings):
        figure = _copies(result)
        if figure is not None:
            yield "copies", figure


def _pressures(result: AuditResult, f: Finding, series: list[Series]) -> Figure:
    """Energy, and the pressure of the energies and of the labels, against the volume."""
    s = result.data.summary
    ratio = float(f.evidence["ratio"])
    figure = new_figure(7.4, 6.4)
    top, bottom = figure.subplots(2, 1, sharex=True)
    handles: list[Any] = []
    names: list[str] = []
    for k, one in enumerate(sorted(series, key=lambda x: -len(x.which))[:6]):
        n = s.n_atoms[one.which[0]]
        v = one.volume / n
        colour = COLOURS[k % len(COLOURS)]
        inner = np.isfinite(one.slope)
        label = -s.stress[one.which, :3].mean(axis=1) / GPA
        top.plot(v, one.energy / n, "-", color=colour, lw=1)
        (numerical,) = bottom.plot(v[inner], -one.slope[inner] / GPA, "-", color=colour, lw=1.2)
        (stored,) = bottom.plot(v, label, ".", color=GREY, ms=4)
        (scaled,) = bottom.plot(v, label / ratio, "+", color=colour, ms=5, mew=0.8)
        if not handles:
            handles = [numerical, stored, scaled]
            names = ["numerical −dE/dV", "label, as stored", f"label / {ratio:.3g}"]
    top.set_ylabel("energy (eV/atom)")
    bottom.set_ylabel("pressure (GPa)")
    bottom.set_xlabel("volume (Å³/atom)")
    written_out(top.xaxis, top.yaxis, bottom.yaxis)
    legend(bottom, handles, names, loc="upper right")
    heading(figure, f.group, "pressure from energies and from labels")
    footnote(figure, [f.what, "one colour per series of volumes"])
    return figure


def _strained(result: AuditResult, f: Finding) -> Figure | None:
    """Energy differences of strained pairs against the work of the stored stresses, as stored and scaled."""
    p, s = result.data.pairs, result.data.summary
    mine = np.flatnonzero(p.strained & (p.group == s.groups.index(f.group)))
    ratio = f.evidence.get("ratio")
    if len(mine) < 2 or not ratio or f.code == "virial":
        return None
    mine = _some(mine)
    y = p.energy[mine] - p.work[mine]
    x = p.stretch[mine] + np.trace(p.shear[mine], axis1=1, axis2=2)
    figure = new_figure(6.4, 5.6)
    ax = figure.subplots()
    _scatter(ax, x, y, GREY)
    _scatter(ax, x / ratio, y, SPLIT_COLOURS[0])
    _diagonal(ax, y)
    ax.set_xlabel("V σ : ε (eV)")
    ax.set_ylabel("E₂ − E₁ + F · u (eV)")
    written_out(ax.xaxis, ax.yaxis)
    legend(ax, list(ax.collections)[:2], ["label, as stored", f"label / {ratio:.3g}"], loc="upper left")
    heading(figure, f.group, "strained pairs: energies against stresses")
    footnote(figure, [f.what])
    return figure


def _work(result: AuditResult, f: Finding) -> Figure:
    """Energy differences of displaced pairs against the work of the forces."""
    p, s = result.data.pairs, result.data.summary
    mine = _some(np.flatnonzero(p.displaced & p.forces & (p.group == s.groups.index(f.group))))
    x, y = p.work[mine], p.energy[mine]
    figure = new_figure(9.6, 4.8)
    left, right = figure.subplots(1, 2)
    _scatter(left, x, y, SPLIT_COLOURS[0])
    _diagonal(left, np.concatenate([x, y]))
    near = np.abs(y - x) <= 1.0
    _scatter(right, x[near], y[near], SPLIT_COLOURS[0])
    if near.any():
        _diagonal(right, np.concatenate([x[near], y[near]]))
    left.set_title("all pairs", loc="left")
    right.set_title(f"the {int(near.sum()):,} within 1 eV", loc="left")
    for ax in (left, right):
        ax.set_xlabel("−(F₁ + F₂)/2 · d (eV)")
        ax.set_ylabel("E₂ − E₁ (eV)")
        written_out(ax.xaxis, ax.yaxis)
    heading(figure, f.group, "energies against forces")
    footnote(figure, [f.what, "grey: equal"])
    return figure


def _suspects(result: AuditResult, findings: list[Finding]) -> Figure:
    """Residuals in standard errors against leverages, a panel for each kind of label; suspects stand out."""
    assert result.data.fit is not None
    st = result.data.fit.standing
    kinds = [k for k in range(len(KINDS)) if np.isfinite(st.studentised[:, k]).any()]
    told = np.unique(np.concatenate([f.configurations for f in findings]))
    figure = new_figure(3.9 * len(kinds) + 0.6, 4.4)
    for ax, k in zip(np.atleast_1d(figure.subplots(1, len(kinds))), kinds, strict=True):
        known = np.flatnonzero(np.isfinite(st.studentised[:, k]))
        off = np.intersect1d(told, known[np.abs(st.studentised[known, k]) > _OFF])
        for which, colour in ((_some(known), GREY), (off, SPLIT_COLOURS[1])):
            _scatter(
                ax, np.maximum(st.leverage[which, k], 1e-9), np.maximum(abs(st.studentised[which, k]), 1e-3), colour
            )
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("leverage")
        ax.set_title(KINDS[k], loc="left")
    figure.axes[0].set_ylabel("|residual| / standard error")
    legend(figure.axes[0], list(figure.axes[0].collections)[:2], ["all", "suspect"], loc="upper left")
    heading(figure, "labels off the fit", f"model {result.data.fit.model}: the farthest row of each configuration")
    footnote(figure, ["suspect: far off the fit, and similar configurations are not"])
    return figure


def _conflicts(model: str, left: LeftOut) -> Figure:
    """Errors of each group in the fit without it against what that fit expects, a panel for each kind of label."""
    kinds = [k for k in range(len(KINDS)) if (left.rows[:, k] > 0).any()]
    figure = new_figure(3.9 * len(kinds) + 0.6, 4.4)
    for ax, k in zip(np.atleast_1d(figure.subplots(1, len(kinds))), kinds, strict=True):
        factor, unit = READ_IN[KINDS[k]]
        mine = np.flatnonzero((left.outside[:, k] > 1e-9) & (left.spread[:, k] > 1e-9))
        x, y = left.spread[mine, k] * factor, left.outside[mine, k] * factor
        if not len(mine):
            continue
        _scatter(ax, x, y, SPLIT_COLOURS[0])
        _diagonal(ax, np.concatenate([x, y]))
        ax.set_xscale("log")
        ax.set_yscale("log")
        written: list[float] = []
        for i in np.argsort(-y / x)[:_NAMED].tolist():
            if all(abs(np.log(y[i] / other)) > 0.3 for other in written):  # names do not lie on each other
                plain(ax.annotate(shortened(left.groups[mine[i]], 18), (x[i], y[i]), fontsize=7))
                written.append(float(y[i]))
        ax.set_xlabel(f"expected error ({unit})")
        ax.set_title(KINDS[k], loc="left")
    figure.axes[0].set_ylabel("error in the fit without the group")
    heading(figure, "groups against the others", f"model {model}: each group in the fit without it")
    footnote(figure, ["grey: equal; far above it and no better when fitted: labels that contradict the other groups"])
    return figure


def _copies(result: AuditResult) -> Figure | None:
    """How many copies, exact or nearly, each pair of groups has."""
    data, s = result.data, result.data.summary
    shared: dict[tuple[int, int], int] = {}
    for c in data.copies:
        groups, counts = np.unique(s.group[c], return_counts=True)
        for g, n in zip(groups.tolist(), counts.tolist(), strict=True):
            if n > 1:
                shared[g, g] = shared.get((g, g), 0) + n - 1
        for i, a in enumerate(groups.tolist()):
            for b in groups.tolist()[i + 1 :]:
                shared[a, b] = shared.get((a, b), 0) + 1
    near = np.flatnonzero(data.pairs.nearly)
    for a, b in np.sort(np.column_stack([s.group[data.pairs.first[near]], s.group[data.pairs.second[near]]])).tolist():
        shared[a, b] = shared.get((a, b), 0) + 1
    if not shared:
        return None
    totals: dict[int, int] = {}
    for (a, b), n in shared.items():
        totals[a] = totals.get(a, 0) + n
        totals[b] = totals.get(b, 0) + n
    kept = sorted(sorted(totals, key=lambda g: -totals[g])[:_GROUPS], key=lambda g: s.groups[g])
    at = {g: i for i, g in enumerate(kept)}
    matrix = np.full((len(kept), len(kept)), np.nan)
    for (a, b), n in shared.items():
        if a in at and b in at:
            matrix[at[a], at[b]] = matrix[at[b], at[a]] = n
    size = max(4.2, 2.6 + 0.3 * len(kept))
    figure = new_figure(size + 0.6, size)
    ax = figure.subplots()
    ax.imshow(np.log10(1 + np.nan_to_num(matrix)), cmap="Blues", vmin=0)
    for i, j in np.argwhere(np.isfinite(matrix)).tolist():
        dark = np.log10(1 + matrix[i, j]) > 0.6 * np.log10(1 + np.nanmax(matrix))
        ax.text(j, i, f"{int(matrix[i, j])}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
    ticks = [shortened(s.groups[g], 22) for g in kept]
    ax.set_xticks(range(len(kept)), ticks, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(kept)), ticks)
    plain(*ax.get_xticklabels(), *ax.get_yticklabels())
    heading(figure, "copies", "exact (1e-4 Å) and near (0.002 Å)")
    footnote(figure, ["diagonal: copies inside a group; else geometries that both groups have"])
    return figure


def _scatter(ax: Axes, x: Any, y: Any, colour: str) -> None:
    ax.scatter(x, y, s=7, color=colour, alpha=0.6, linewidths=0, rasterized=True)


def _diagonal(ax: Axes, values: Any) -> None:
    low, high = float(np.min(values)), float(np.max(values))
    ax.plot([low, high], [low, high], "-", color="#888888", lw=0.8, zorder=0)


def _some(which: Any) -> Any:
    """At most ``_POINTS`` of them, evenly."""
    return which[:: max(1, -(-len(which) // _POINTS))]
