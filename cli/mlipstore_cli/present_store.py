"""What people see of a store: what it holds, one thing in it, its versions."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence
from typing import Any

from .error_tables import KINDS, UNITS, show_errors_long
from .tables import alike, number, say, table


def show_facts(facts: dict[str, Any], units: str) -> None:
    """A store or one thing in it."""
    kind = facts["kind"]
    if kind == "store":
        _show_store(facts)
    elif kind == "model":
        _show_model(facts, units)
    elif kind == "audit":
        from .present_audit import show_stored

        show_stored(facts)
    else:
        for key, value in facts.items():
            if key not in ("columns", "column_elements", "kind"):
                say(f"  {key}: {_short(value)}")
        if "columns" in facts:
            say(f"  columns: {len(facts['columns']):,}, from {facts['columns'][0]!r} to {facts['columns'][-1]!r}")


def _short(value: Any) -> str:
    return jsonlib.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def _show_store(facts: dict[str, Any]) -> None:
    say(f"{facts['path']} at {facts['snapshot'][:8]}")
    say(f"  {facts['configurations']:,} configurations · {facts['atoms']:,} atoms · {' '.join(facts['elements'])} · "
        f"{len(facts['groups'])} groups · {facts['segments']} segments")  # fmt: skip
    if facts["removed"]:
        say(f"  {facts['removed']:,} removed configurations do not count (query --removed, restore)")
    if facts["groups"]:
        table(["group", "configurations"], [[g, f"{n:,}"] for g, n in facts["groups"].items()])
    if facts["features"]:
        table(
            ["features", "id", "columns", "configurations", "missing"],
            [[f["alias"], f["id"], f"{f['columns']:,}", f"{f['configurations']:,}", f"{f['configurations_missing']:,}"]
             for f in facts["features"]],
            left=2,
        )  # fmt: skip
    for b in facts["baselines"]:
        say(f"  baseline {b['alias']} ({b['id']})")
    for s in facts["studies"]:
        say(f"  study {s['alias']} ({s['id']}): {s['trials']:,} trials")
    if facts["audit"] is not None:
        a = facts["audit"]
        waived = f" · {a['waived']} waived" if a["waived"] else ""
        counted = f"{a['errors']} errors · {a['warnings']} warnings{waived}"
        say(f"  audit {a['id'][:8]}: {counted}, of {a['configurations']:,} configurations")
    if facts["models"]:
        models = facts["models"]
        header: list[str | tuple[str, ...]] = ["model", "id", "features"]
        cells = [[", ".join([m["alias"], *m["also_called"]]) for m in models]]
        cells += [[m[key] for m in models] for key in ("id", "feature")]
        for kind in KINDS:
            factor, unit = UNITS["standard"][kind]
            found = [[m["rmse"].get(f"{kind}_{s}") for m in models] for s in ("train", "test")]
            header += [(f"{kind} {unit}", "train"), (f"{kind} {unit}", "test")]
            cells += alike([[None if v is None else v * factor for v in column] for column in found])
        table(header, list(zip(*cells, strict=True)), left=3, title="  root mean square errors of the models:")


def _show_model(facts: dict[str, Any], units: str) -> None:
    from mlipstore.metrics import Entry

    provenance = facts["provenance"]
    say(f"model {', '.join([facts['name'], *facts['also_called']])} ({facts['model']})")
    say(f"  made by: {provenance['command']}")
    say(f"  data: snapshot {provenance['data_snapshot']}, digest {provenance['data_digest']}")
    say(f"  features: {provenance['feature']['alias']} ({provenance['feature']['id']})")
    if provenance["baseline"]:
        say(f"  baseline: {provenance['baseline']['alias']} ({provenance['baseline']['id']})")
    say(f"  solver: {_short(provenance['fit']['solver'])}")
    say(f"  versions: {_short(provenance['versions'])}")
    say(f"  {facts['rows']:,} rows x {facts['columns']:,} · rank {facts['rank']} · condition {facts['condition']:.1e}")
    say(f"  weighted residual norm {facts['weighted_residual_norm']:.10g}")
    show_errors_long([Entry(**e) for e in facts["errors"]], units)


def emit_log(commits: Sequence[Any], full: bool, as_json: bool) -> None:
    """Versions; commits of one run of a command count as one line unless ``full``."""
    if as_json:
        print(jsonlib.dumps(
            [{"id": c.id, "time": c.time.isoformat(), "message": c.message, **c.metadata} for c in commits], indent=1
        ))  # fmt: skip
        return
    if full:
        for c in commits:
            say(f"{c.id}  {c.time:%Y-%m-%d %H:%M:%S}  {c.message}")
            say(f"    {c.metadata.get('command', '')}")
            say(f"    {_short(c.metadata.get('versions', {}))}")
        return
    runs: dict[str, list[Any]] = {}
    for c in commits:
        runs.setdefault(c.metadata.get("run") or c.id, []).append(c)
    for group in runs.values():
        c = group[0]
        say(f"{c.id[:8]}  {c.time:%Y-%m-%d %H:%M}  {c.metadata.get('verb', ''):10s} {_summary(group)}")


def _summary(commits: Sequence[Any]) -> str:
    """One line on what a run of a command changed."""
    first = commits[-1].message
    verb = commits[0].metadata.get("verb")
    if verb == "ingest":
        n = sum(c.metadata.get("summary", {}).get("configurations", 0) for c in commits)
        return f"{n:,} configurations"
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
    return f"{first}" + (f" ({len(commits)} versions)" if len(commits) > 1 else "")
