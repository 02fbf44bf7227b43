"""What people see of queries, changes of configurations, and versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .present import emit_facts, number, say, table


def show_columns(columns: Mapping[str, str], values: Sequence[str], flags: Sequence[str]) -> None:
    """Columns that an expression may name."""
    rows = [[name, about] for name, about in columns.items()]
    rows += [["info.KEY", "an entry that the file had, e.g. info.temperature"]]
    rows += [[name, "annotated"] for name in values if name not in columns]
    rows += [[f'flagged("{name}")', "flag"] for name in flags]
    table(["column", "meaning"], rows, left=2)


def emit_count(selection: Any, as_json: bool) -> None:
    """How many configurations, by group."""
    groups = selection.groups()
    facts = {"configurations": len(selection), "atoms": selection.n_atoms, "groups": groups}

    def show() -> None:
        say(f"  {len(selection):,} configurations · {selection.n_atoms:,} atoms")
        if groups:
            table(["group", "configurations"], [[g, f"{n:,}"] for g, n in groups.items()])

    emit_facts(facts, as_json, show)


def emit_rows(rows: Sequence[Mapping[str, Any]], names: Sequence[str], total: int, as_json: bool) -> None:
    """A table of configurations."""

    def show() -> None:
        if rows:
            table(list(names), [[_cell(name, row[name]) for name in names] for row in rows], left=2)
        if len(rows) < total:
            say(f"  {len(rows):,} of {total:,} configurations; --limit 0 prints all")
        else:
            say(f"  {total:,} configurations")

    emit_facts(list(rows), as_json, show)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "uid":
        return str(value)[:12]
    if isinstance(value, list):
        return " ".join(map(str, value))
    return number(value) if isinstance(value, float) else str(value)


def show_edit(result: Any, store: str) -> None:
    """What was, or would be, changed."""
    verb = {"remove": "removed", "restore": "restored", "relabel": "relabelled", "mask": "masked"}[result.verb]
    if not result.changed:
        same = f"; the {result.selected:,} selected ones are so already" if result.selected else ""
        say(f"  nothing to {result.verb}{same}")
        return
    would = "would be " if result.dry_run else ""
    say(f"  {result.changed:,} configurations {would}{verb}")
    if result.changes:
        say("  " + " · ".join(f"{what} of {n:,}" for what, n in result.changes.items()))
    table(["group", "configurations"], [[g, f"{n:,}"] for g, n in result.groups.items()])
    if result.unmatched:
        say(f"  {result.unmatched:,} selected ones stay: the file has no other labels for them")
    if result.not_carried:
        say(f"  to be computed for them: {', '.join(result.not_carried)} (mlipstore featurize {store} ...)")
    if not result.dry_run:
        say(f"  committed {result.snapshot[:8]}")


def show_annotate(result: Any) -> None:
    """What was said."""
    if not result.configurations:
        say("  no configuration is selected")
        return
    parts = [f"flag {f}" for f in result.flags] + [f"column {v}" for v in result.values]
    parts += [f"without {r}" for r in result.removed]
    say(f"  {result.configurations:,} configurations: {', '.join(parts)}")
    if not result.dry_run:
        say(f"  committed {result.snapshot[:8]}")
