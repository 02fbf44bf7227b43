"""What people see of kept factors, cross-validation and searches."""

from __future__ import annotations

from typing import Any

import numpy as np

from .error_tables import KINDS, UNITS, digits_of
from .progress import duration
from .tables import alike, counted, next_step, number, say, table


def show_factor_plan(plan: Any, workers: int) -> None:
    from mlipstore.errors import listed
    from mlipstore.memory import human

    say(f"  {plan.feature}   {counted(plan.keys, 'triangle')} of {counted(plan.columns, 'column')} = "
        f"{human(plan.bytes_on_disk)} on disk (the rows: {human(plan.bytes_rows)})")  # fmt: skip
    say(f"  to do: {counted(plan.rows_missing, 'row')} in {plan.segments_missing} of "
        f"{counted(plan.segments, 'segment')} = {human(plan.bytes_missing)}")  # fmt: skip
    if plan.not_kept:
        keys, rows, size = (sum(getattr(x, what) for x in plan.not_kept) for what in ("keys", "rows", "bytes"))
        say(f"  above the limit of {human(plan.limit)}, so not kept: {counted(keys, 'triangle')} of "
            f"{counted(len(plan.not_kept), 'segment')} = {human(size)}; each fit reads their {counted(rows, 'row')} "
            f"again, about {duration(plan.seconds_not_kept)}")  # fmt: skip
        lines = [[x.segment, listed(x.groups), f"{x.keys:,}", human(x.bytes), f"{x.rows:,}"] for x in plan.not_kept]
        table(["segment", "groups", "triangles", "bytes", "rows"], lines[:_LISTED])
        if len(lines) > _LISTED:
            say(f"  and {len(lines) - _LISTED:,} more: --json lists all")
    say(f"  {counted(workers, 'worker')} · {human(plan.bytes_per_worker)} each")


def show_factor(result: Any, store: str) -> None:
    if result.segments == 0:
        say(f"  nothing to do: the factors of this fit are kept ({counted(result.keys, 'triangle')}, set {result.set})")
    else:
        say(f"  {counted(result.rows, 'row')} of {counted(result.segments, 'segment')} · "
            f"{duration(result.seconds)} · {counted(result.keys, 'factor')} kept (set {result.set}) · "
            f"committed {result.snapshot[:8]}")  # fmt: skip
    if result.not_kept:
        without = counted(result.not_kept, "segment has", "segments have")
        say(f"  {without} none, for want of room (--limit): fits read their rows; see --plan")
    next_step("fit", store, "--config", "FIT.toml", "--from-factors")


def show_cross_validation(result: Any, units: str) -> None:
    """Errors inside and outside of the fit, side by side."""
    scale = UNITS[units]
    kinds = [k for k in KINDS if k in result.all.rows]
    lines = [*result.left_out, result.all]
    header: list[str | tuple[str, ...]] = [result.by, "energies"]
    cells = [["all" if x.name == "*" else x.name for x in lines], [f"{x.rows.get('energy', 0):,}" for x in lines]]
    for kind in kinds:
        factor, unit = scale[kind]
        header += [(f"{kind} {unit}", "fitted"), (f"{kind} {unit}", "left out")]
        found = [[x.inside.get(kind) for x in lines], [x.outside.get(kind) for x in lines]]
        cells += alike([[None if v is None else v * factor for v in column] for column in found], digits_of(units))
    table(header, list(zip(*cells, strict=True)), total=True)
    what = "fold" if result.by == "fold" else "group"
    say(f"  root mean square errors; 'left out': of the fit without the {what} · "
        f"{counted(len(result.left_out), 'fit')} from kept factors, no rows read · "
        f"{duration(result.seconds)}")  # fmt: skip


def show_calibration(result: Any, units: str) -> None:
    """Predicted deviations and errors of what was left out."""
    scale = UNITS[units]
    kinds = [k for k in KINDS if k in result.scale]
    header: list[str | tuple[str, ...]] = [f"{result.by} left out"]
    pairs = {(name, kind): values for name, kind, *values in result.lines}
    names = list(dict.fromkeys(name for name, *_ in result.lines))
    cells = [names]
    for kind in kinds:
        factor, unit = scale[kind]
        header += [(f"{kind} {unit}", "predicted"), (f"{kind} {unit}", "error")]
        found = [pairs.get((name, kind)) for name in names]
        values = [[None if v is None else v[i] * factor for v in found] for i in (0, 1)]
        cells += alike(values, digits_of(units))
    table(header, list(zip(*cells, strict=True)))
    ranks = {k: result.rank_correlation[k] for k in kinds}
    say("  rank correlation of predicted deviations and errors: " + " · ".join(
        f"{k} {'-' if r is None else f'{r:.2f}'}" for k, r in ranks.items()
    ))  # fmt: skip
    say(f"  kept with model {result.name!r} · {duration(result.seconds)} · in Python: "
        f"store.model({result.name!r}).calculator(uncertainty=True)")  # fmt: skip


#: Points of a Pareto front that are listed; the others are in the store.
_LISTED = 12
_SENSITIVE = 6


def show_search(result: Any, picked: int, units: str) -> None:
    """The Pareto front, the picked point and what it depends on."""
    study = result.study
    shown_front(
        study,
        picked,
        units,
        f"{counted(len(study.errors), 'trial')} ({result.added:,} new) · {duration(result.seconds)}",
    )
    names, slopes = study.attributes["parameters"], result.sensitivities
    if np.isfinite(slopes).all():
        order = np.argsort(-np.abs(slopes).max(axis=0))[:_SENSITIVE]
        say("  what the balanced point depends on most: " + " · ".join(
            f"{names[i]} ({', '.join(f'{s:+.3f}' for s in slopes[:, i])})" for i in order
        ))  # fmt: skip


def show_study(study: Any, units: str) -> None:
    """A stored study: what it varies and the points that count."""
    if not len(study.errors):
        say(f"  study {study.name!r} ({study.id}): no trials yet")
        return
    settings, balanced = study.attributes["search"], study.balanced()
    shown_front(study, balanced, units, counted(len(study.errors), "trial"))
    say(f"  method {settings['method']} · seed {settings['seed']} · validation {settings['validation']} · made by: "
        f"{study.attributes['command']}")  # fmt: skip
    rows = [
        [name, *(number(v) for v in values)]
        for name, *values in zip(
            study.attributes["parameters"], study.values[balanced], study.attributes["low"], study.attributes["high"],
            strict=True,
        )
    ]  # fmt: skip
    table(["parameter", "balanced", "least", "largest"], rows)


def shown_front(study: Any, picked: int, units: str, head: str) -> None:
    """The front of a study as a table, relative to the settings that were given."""
    front = study.front().tolist()
    say(f"  study {study.name!r} ({study.id}): {head} · {counted(len(study.attributes['parameters']), 'parameter')} · "
        f"{counted(len(front), 'point')} on the front")  # fmt: skip
    scale = [UNITS[units][o.partition(":")[0]] for o in study.objectives]
    header: list[str | tuple[str, ...]] = ["point", "trial"]
    for objective, (_, unit) in zip(study.objectives, scale, strict=True):
        header += [(f"{objective} {unit}", "error"), (f"{objective} {unit}", "change")]
    marks: dict[int, str] = {}
    best = [(f"best {o}", front[int(np.argmin(study.errors[front, j]))]) for j, o in enumerate(study.objectives)]
    for mark, i in (*best, ("balanced", study.balanced()), ("picked", picked)):
        marks[i] = ", ".join(filter(None, [marks.get(i), mark]))
    step = max(1, -(-len(front) // _LISTED))
    listed = sorted({*front[::step], *marks}, key=lambda i: tuple(study.errors[i]))
    rows = [["given", "", *_errors(study.base, study.base, scale)]]
    rows += [[marks.get(i, ""), str(i), *_errors(study.errors[i], study.base, scale)] for i in listed]
    table(header, rows)


def _errors(errors: Any, base: Any, scale: Any) -> list[str]:
    out = []
    for e, b, (factor, _) in zip(errors, base, scale, strict=True):
        out += [number(e * factor), f"{100 * (e / b - 1):+.1f} %" if b else "-"]
    return out
