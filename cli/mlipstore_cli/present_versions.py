"""What people see of queries, changes of configurations, and versions."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping, Sequence
from typing import Any

from .error_tables import KINDS, UNITS
from .present import emit_facts
from .tables import alike, counted, next_step, number, say, table


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
        say(f"  {counted(len(selection), 'configuration')} · {counted(selection.n_atoms, 'atom')}")
        if groups:
            table(["group", "configurations"], [[g, f"{n:,}"] for g, n in groups.items()])

    emit_facts(facts, as_json, show)


def emit_rows(rows: Sequence[Mapping[str, Any]], names: Sequence[str], total: int, as_json: bool) -> None:
    """A table of configurations."""

    def show() -> None:
        if rows:
            table(list(names), [[_cell(name, row[name]) for name in names] for row in rows], left=2)
        if len(rows) < total:
            say(f"  {len(rows):,} of {counted(total, 'configuration')}; --limit 0 prints all")
        else:
            say(f"  {counted(total, 'configuration')}")

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
        why = counted(result.selected, "selected one is", "selected ones are") + " so already"
        if result.unmatched:
            why = f"the file has no other labels for {counted(result.unmatched, 'selected one')}"
        elif not result.selected:
            why = "no configuration is selected"
        say(f"  nothing to {result.verb}: {why}")
        return
    would = "would be " if result.dry_run else ""
    say(f"  {counted(result.changed, 'configuration')} {would}{verb}")
    if result.changes:
        say("  " + " · ".join(f"{what} of {n:,}" for what, n in result.changes.items()))
    table(["group", "configurations"], [[g, f"{n:,}"] for g, n in result.groups.items()])
    if result.unmatched:
        stays = counted(result.unmatched, "selected one stays", "selected ones stay")
        say(f"  {stays}: the file has no other labels")
    if result.not_carried:
        say(f"  to be computed for them: {', '.join(result.not_carried)}")
        next_step("featurize", store, or_else=" ...")
    if not result.dry_run:
        say(f"  committed {result.snapshot[:8]}")


def show_annotate(result: Any) -> None:
    """What was said."""
    if not result.configurations:
        say("  no configuration is selected")
        return
    parts = [f"flag {f}" for f in result.flags] + [f"column {v}" for v in result.values]
    parts += [f"without {r}" for r in result.removed]
    say(f"  {counted(result.configurations, 'configuration')}: {', '.join(parts)}")
    if not result.dry_run:
        say(f"  committed {result.snapshot[:8]}")


# ------------------------------------------------------------------- versions
def emit_log(commits: Sequence[Any], names: Mapping[str, Sequence[str]], limit: int, full: bool, as_json: bool) -> None:
    """Versions; those of one run of a command count as one line unless ``full``.

    :param names: branches and tags of each id
    """
    runs: dict[str, list[Any]] = {}
    for c in commits:
        runs.setdefault(c.id if full or as_json else c.metadata.get("run") or c.id, []).append(c)
    shown = list(runs.values())[: limit or None]
    if as_json:
        print(jsonlib.dumps(
            [{"id": c.id, "time": c.time.isoformat(), "from": c.parent, "names": names.get(c.id, []),
              "message": c.message, **c.metadata} for c, *_ in shown], indent=1,
        ))  # fmt: skip
        return
    for group in shown:
        c = group[0]
        called = [n for one in group for n in names.get(one.id, ())]
        mark = f"  ({', '.join(called)})" if called else ""
        if full:
            _show_commit(c, mark)
        else:
            say(f"{c.id[:8]}  {c.time:%Y-%m-%d %H:%M}  {c.metadata.get('verb', ''):10s} {_summary(group)}{mark}")
    if len(shown) < len(runs):
        say(f"{len(runs) - len(shown):,} more")


def _show_commit(c: Any, mark: str) -> None:
    say(f"{c.id}  {c.time:%Y-%m-%d %H:%M:%S}  {c.message}{mark}")
    say(f"    from {c.parent}")
    if c.metadata.get("command"):
        say(f"    by: {c.metadata['command']}")
    summary = {k: v for k, v in c.metadata.get("summary", {}).items() if v not in (None, "", [], {})}
    if summary:
        say(f"    {_fields(summary)}")
    if c.metadata.get("versions"):
        say(f"    {_fields(c.metadata['versions'])}")


def _fields(values: Mapping[str, Any]) -> str:
    return " · ".join(f"{k} {_plain(v)}" for k, v in values.items())


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return number(value)
    return jsonlib.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def _summary(commits: Sequence[Any]) -> str:
    """One line on what a run of a command changed."""
    first = commits[-1].message
    verb = commits[0].metadata.get("verb")
    if verb == "ingest":
        n = sum(c.metadata.get("summary", {}).get("configurations", 0) for c in commits)
        return f"{counted(n, 'configuration')}"
    if verb == "fit":
        s = commits[0].metadata.get("summary", {})
        parts = []
        for kind in KINDS:
            factor, unit = UNITS["standard"][kind]
            for split in ("train", "test"):
                value = s.get(f"{kind}_{split}_rmse")
                if value is not None:
                    parts.append(f"{kind} {split} {number(value * factor)} {unit}")
        return f"{commits[0].message.removeprefix('fit ')}  {' · '.join(parts)}"
    said = str(first).removeprefix(f"{verb} ")
    return said + (f" ({len(commits)} versions)" if len(commits) > 1 else "")


def emit_names(names: Mapping[str, str], repository: Any, as_json: bool) -> None:
    """Branches or tags; a star marks the branch that is written to."""

    def show() -> None:
        for name, id_ in names.items():
            say(f"{'*' if name == repository.branch else ' '} {name}  {id_[:8]}")

    emit_facts(dict(names), as_json, show)


def said(text: str, facts: Mapping[str, Any], as_json: bool) -> None:
    """One line, or its facts."""
    emit_facts(dict(facts), as_json, lambda: say(f"  {text}"))


def show_revert(result: Any) -> None:
    """What was, or would be, undone."""
    say("would be undone:" if result.dry_run else "undone:")
    for one in result.undone:
        say(f"  {one['id'][:8]}  {one['message']}")
    if result.snapshot:
        say(f"committed {result.snapshot[:8]}")


def show_difference(result: Any, names: Mapping[str, Sequence[str]]) -> None:
    """What leads from one version to another."""

    def called(id_: str) -> str:
        return f"{id_[:8]} ({', '.join(names[id_])})" if names.get(id_) else id_[:8]

    counts = result.versions
    if counts.get("only_a") and counts.get("only_b"):
        how = f"{counted(counts['only_a'], 'version')} back, {counted(counts['only_b'], 'version')} on"
    else:
        n = sum(counts.values())
        how = f"{counted(n, 'version')} {'back' if counts.get('only_a') else 'on'}"
    say(f"{called(result.a)} -> {called(result.b)}: {how}")
    if result.equal:
        say("  the same configurations, features, models and annotations")
        return
    if result.groups:
        _show_groups(result)
    for f in result.features:
        covered = f["configurations"]
        say(f"  {_sign(covered)} {f['kind']} {f['alias']} ({f['id']}): {_change(covered)} configurations")
    _show_models(result)
    for s in result.studies:
        say(f"  {_sign(s['trials'])} study {s['alias']} ({s['id']}): {_change(s['trials'])} trials")
    for a in result.annotations:
        what = "flag" if a["kind"] == "flag" else "column"
        say(f"  {_sign(a['configurations'])} {what} {a['name']}: {_change(a['configurations'])} configurations")
    for key, (old, new) in result.card.items():
        say(f"  card: {key} {_plain(old)} -> {_plain(new)}")


def _show_groups(result: Any) -> None:
    a, b = result.configurations
    say(f"  {a:,} -> {b:,} configurations")
    every = {k: k for k in ("added", "removed", "relabelled")} | {"moved_in": "moved here", "moved_out": "moved away"}
    shown = [k for k in every if any(getattr(c, k) for c in result.groups.values())]
    rows = [[g, *(f"{getattr(c, k):,}" for k in shown)] for g, c in result.groups.items()]
    table(["group", *(every[k] for k in shown)], rows)
    if result.labels:
        names = {"energy": "energy", "force": "forces", "stress": "stress"}
        say("  other labels: " + " · ".join(f"{names[k]} of {n:,}" for k, n in result.labels.items()))


def _show_models(result: Any) -> None:
    for m in result.models:
        say(f"  {'+' if m['change'] == 'added' else '-'} model {m['alias']} ({m['id']})")
    old, new = result.newest or (None, None)
    if old is None or new is None:
        return
    header: list[str | tuple[str, ...]] = ["newest model"]
    cells: list[Sequence[str]] = [[old["alias"], new["alias"]]]
    for kind in KINDS:
        factor, unit = UNITS["standard"][kind]
        found = [[m["rmse"].get(f"{kind}_{s}") for m in (old, new)] for s in ("train", "test")]
        header += [(f"{kind} {unit}", "train"), (f"{kind} {unit}", "test")]
        cells += alike([[None if v is None else v * factor for v in column] for column in found])
    table(header, list(zip(*cells, strict=True)), title="  root mean square errors:")
    for key, (before, after) in result.settings.items():
        say(f"  setting {key}: {_plain(before)} -> {_plain(after)}")


def _sign(pair: Sequence[Any]) -> str:
    return "+" if pair[0] is None else "-" if pair[1] is None else "~"


def _change(pair: Sequence[Any]) -> str:
    """``12 -> 14``, or the number where there is only one."""
    return " -> ".join(f"{n:,}" for n in pair if n is not None)
