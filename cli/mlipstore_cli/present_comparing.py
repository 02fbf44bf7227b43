"""What people see of two data sets side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .error_tables import UNITS
from .progress import duration
from .tables import alike, counted, next_step, number, say, table

_LABELS = {"energy": "energy", "force": "forces", "stress": "stress"}
#: Lines of each table that people get; ``--json`` has all.
_GROUPS, _MOVED, _WORST, _REMOVALS = 60, 8, 5, 3


def show_comparison(result: Any, everything: bool, words: Sequence[str], label_words: Sequence[str]) -> None:
    """What both have, group by group, and how labels differ.

    :param words: options that the files were read with, for ``ingest``, and those for ``relabel``
    """
    for name, side in (("A", result.first), ("B", result.second)):
        version = f" at {side['version'][:8]}" if side["version"] else ""
        say(f"  {name}  {_printable(side['name'])}{version}: {counted(side['configurations'], 'configuration')} · "
            f"{counted(side['atoms'], 'atom')} · {counted(side['groups'], 'group')}")  # fmt: skip
    say(f"  {result.shared:,} shared ({result.identical:,} with equal labels and group) · {result.only_first:,} only "
        f"in A · {result.only_second:,} only in B · {duration(result.seconds)}")  # fmt: skip
    _only(result)
    for a, b, n in result.parts:
        sides = [f"{part} in {side}" for part, side in ((a, "A"), (b, "B")) if part]
        say(f"  {n:,} of the shared ones: {', '.join(sides)}")
    if result.equal:
        return
    _groups(result, everything)
    for a, b, n in result.moved[:_MOVED]:
        say(f"  {counted(n, 'configuration')} of {_printable(a)} in A: of {_printable(b)} in B")
    if len(result.moved) > _MOVED:
        say(f"  and {len(result.moved) - _MOVED} more changes of group: --json lists them")
    _labels(result)
    _next(result, words, label_words)


def _only(result: Any) -> None:
    """What those without a partner are."""
    for i, name in enumerate("AB"):
        n = (result.only_first, result.only_second)[i]
        parts = [counted(result.copies[i], "further copy", "further copies") + " of shared ones"] * bool(
            result.copies[i]
        )
        if result.similar is not None:
            other = "BA"[i]
            if result.similar.near[i]:
                parts.append(f"{result.similar.near[i]:,} within 0.002 Å of one of {other}")
            if result.similar.turned[i]:
                parts.append(f"{result.similar.turned[i]:,} with the distances of one of {other}, in other coordinates")
        if n and parts:
            say(f"  of the {n:,} only in {name}: {', '.join(parts)}")
        _removed(result.removed[1 - i], "BA"[i])


def _removed(found: Any, name: str) -> None:
    """What is not there because somebody took it out."""
    if not found.configurations:
        return
    known = sum(r.configurations for r in found.removals)
    parts = [f"{r.configurations:,} by {r.version[:8]} of {r.time[:10]} ({_printable(r.message)})"
             for r in found.removals[:_REMOVALS]]  # fmt: skip
    rest = found.configurations - sum(r.configurations for r in found.removals[:_REMOVALS])
    if rest and parts:
        parts.append(f"{rest:,} by other versions" if known == found.configurations else f"{rest:,} earlier")
    said = f": {', '.join(parts)}" if parts else ""
    lacking = counted(found.configurations, "configuration was", "configurations were")
    say(f"  {lacking} removed from {name}{said}; ingest leaves them out")


def _groups(result: Any, everything: bool) -> None:
    rows = []
    for name, g in result.groups.items():
        if everything or g.only_first or g.only_second or g.elsewhere or g.relabelled:
            counts = (g.first, g.second, g.shared, g.only_first, g.only_second, g.elsewhere, g.relabelled)
            rows.append([_printable(name), *(f"{n:,}" for n in counts)])
    if not rows:
        return
    header = ["group", "in A", "in B", "shared", "only A", "only B", "other\ngroup", "other\nlabels"]
    table(header, rows if everything else rows[:_GROUPS])
    if not everything and len(rows) > _GROUPS:
        say(f"  and {counted(len(rows) - _GROUPS, 'more group')}: --all lists them")


def _labels(result: Any) -> None:
    changes = [c for c in result.labels if c.group == "*" and (c.differ or c.only_first or c.only_second)]
    if not changes:
        return
    rows = []
    for c in changes:
        factor, unit = UNITS["standard"][c.kind]
        ((rms, largest),) = (alike([[c.rms * factor], [c.max * factor]]),)
        rows.append([_LABELS[c.kind], f"{c.both:,}", f"{c.differ:,}", rms[0], largest[0], unit, f"{c.only_first:,}",
                     f"{c.only_second:,}"])  # fmt: skip
    table(["labels", "both", "differ", "RMS", "largest", "unit", "only A", "only B"], rows)
    for c in result.labels:
        if c.explanation is not None and c.differ:
            where = "" if c.group == "*" else f" of {_printable(c.group)}"
            say(f"  {_LABELS[c.kind]}{where}, A to B: {_rule(c.explanation)} (holds for "
                f"{100 * c.explanation.share:.3g} % of the {c.differ:,} that differ)")  # fmt: skip
    for c in changes:
        if c.differ and c.explanation is None and not any(
            o.explanation for o in result.labels if o.kind == c.kind
        ):  # fmt: skip
            say(f"  {_LABELS[c.kind]}: no unit, sign, order or zero explains it")
    _worst(result)


def _rule(rule: Any) -> str:
    text = str(rule.what).replace("the first", "A").replace("the second", "B")
    return f"another zero, {text}" if rule.code in ("offset", "element-offsets") else text


def _worst(result: Any) -> None:
    rows = []
    for kind in _LABELS:
        factor, unit = UNITS["standard"][kind]
        for d in [d for d in result.differing if d.kind == kind and not _explained(d)][:_WORST]:
            left = number(d.left * factor) if d.left == d.left else "-"
            rows.append([_place(d.first), _place(d.second), _printable(d.first["group"]), _LABELS[kind],
                         number(d.difference * factor), left, unit])  # fmt: skip
    if rows:
        table(["in A", "in B", "group", "label", "difference", "beyond rule", "unit"], rows, left=4,
              title="  those that differ most:")  # fmt: skip


def _explained(d: Any) -> bool:
    """Whether a rule says all of a difference but rounding."""
    return bool(d.left <= 1e-3 * abs(d.difference))


def _place(side: Any) -> str:
    return _printable(f"{os.path.basename(side['source'])} {side['frame']}")


def _next(result: Any, words: Sequence[str], label_words: Sequence[str]) -> None:
    sides = (result.first, result.second)
    if not result.agree:
        side = next((s for s in sides if s["store"]), result.first)
        other = result.second if side is result.first else result.first
        version = [] if side["name"] == side["store"] or not side["store"] else ["--ref", side["version"][:12]]
        if all(p.isprintable() for s in sides for p in (s["name"], s["store"])):
            next_step("audit", side["store"] or side["name"], *version,
                      or_else=f"   and of {other['name']}: physics tells whose labels are right")  # fmt: skip
        return
    for side, other, fresh, key, gone in (
        (*sides, result.only_second, "only_second", result.removed[0]),
        (*sides[::-1], result.only_first, "only_first", result.removed[1]),
    ):
        if not side["store"] or other["store"] or side["name"] != side["store"] or not other["name"].isprintable():
            continue
        lacking = [c.kind for c in result.labels if c.group == "*" and getattr(c, key)]
        if fresh > gone.configurations:
            next_step("ingest", side["store"], other["name"], *words)
            return
        if fresh:
            where = next((r.where for r in gone.removals if r.where and r.where.isprintable()), "EXPRESSION")
            next_step("restore", side["store"], "--where", where, or_else="   if they are to count again")
            return
        if lacking:
            has = {"energy": "has_energy", "force": "has_forces", "stress": "has_stress"}[lacking[0]]
            next_step("relabel", side["store"], "--labels", other["name"], "--where", f"not {has}", *label_words)
            return


def _printable(text: str) -> str:
    """Text of files, without what would steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
