"""What people see of a store: what it holds, one thing in it, its versions."""

from __future__ import annotations

import json as jsonlib
from typing import Any

from .error_tables import KINDS, UNITS, show_errors_long
from .tables import alike, counted, say, table


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
    elif kind in ("group", "array"):
        _show_node(facts)
    else:
        for key, value in facts.items():
            if key not in ("columns", "column_elements", "kind"):
                say(f"  {key}: {_short(value)}")
        if "columns" in facts:
            say(f"  columns: {len(facts['columns']):,}, from {facts['columns'][0]!r} to {facts['columns'][-1]!r}")


def _short(value: Any) -> str:
    return jsonlib.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def show_card(card: dict[str, Any]) -> None:
    """A dataset card, for people."""
    version = f", version {card['version']}" if "version" in card else ""
    say(f"  {card['title']}{version}{', ' + card['date'] if 'date' in card else ''}")
    if "description" in card:
        for line in card["description"].splitlines():
            say(f"  {line}")
    for author in card["authors"]:
        details = [author[k] for k in ("affiliation", "orcid", "email") if k in author]
        say(f"  by {author['name']}{' (' + ', '.join(details) + ')' if details else ''}")
    say(f"  licence {card['licence']}")
    for text in card.get("citation", ()):
        say(f"  cite {text}")
    for key in ("doi", "url"):
        if key in card:
            say(f"  {key} {card[key]}")
    if "keywords" in card:
        say(f"  keywords {', '.join(card['keywords'])}")
    theory = dict(card.get("level_of_theory", {}))
    if "cutoff" in theory:
        theory["cutoff"] = f"{theory['cutoff']:g} eV"
    if theory:
        say(f"  level of theory: {' · '.join(f'{k.replace(chr(95), chr(32))} {v}' for k, v in theory.items())}")
    if "code" in card:
        say(f"  code: {' · '.join(' '.join(c[k] for k in ('name', 'version', 'url') if k in c) for c in card['code'])}")
    if "units" in card:
        said = " · ".join(f"{k.replace('_', ' ')} {v}" for k, v in card["units"].items())
        say(f"  units of the sources: {said}; here eV and Å")


def show_card_result(result: Any) -> None:
    """What was stored, and what is not said."""
    show_card(result.card)
    if result.not_said:
        say(f"  not said: {', '.join(result.not_said)}")
    say(f"  committed {result.snapshot[:8]}" if result.changed else "  nothing to do: the store has this card")


def _show_store(facts: dict[str, Any]) -> None:
    say(f"{facts['path']} at {facts['snapshot'][:8]}")
    if facts["card"]:
        show_card(facts["card"])
    counts = [counted(facts["configurations"], "configuration"), counted(facts["atoms"], "atom")]
    counts += [" ".join(facts["elements"]), counted(len(facts["groups"]), "group")]
    say("  " + " · ".join([*filter(None, counts), counted(facts["segments"], "segment")]))
    if facts["removed"]:
        say(f"  {counted(facts['removed'], 'removed configuration')} not counted (query --removed, restore)")
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
        say(f"  study {s['alias']} ({s['id']}): {counted(s['trials'], 'trial')}")
    if facts["audit"] is not None:
        a = facts["audit"]
        waived = f" · {a['waived']} waived" if a["waived"] else ""
        found = f"{counted(a['errors'], 'error')} · {counted(a['warnings'], 'warning')}{waived}"
        say(f"  audit {a['id'][:8]}: {found}, of {counted(a['configurations'], 'configuration')}")
    if facts["models"]:
        models = facts["models"]
        header: list[str | tuple[str, ...]] = ["model", "id", "features"]
        cells = [[", ".join([m["alias"], *m["also_called"]]) for m in models]]
        cells += [[m[key] for m in models] for key in ("id", "feature")]
        for kind in KINDS:
            factor, unit = UNITS["standard"][kind]
            rmse = [[m["rmse"].get(f"{kind}_{s}") for m in models] for s in ("train", "test")]
            header += [(f"{kind} {unit}", "train"), (f"{kind} {unit}", "test")]
            cells += alike([[None if v is None else v * factor for v in column] for column in rmse])
        table(header, list(zip(*cells, strict=True)), left=3, title="  root mean square errors of the models:")


def _show_node(facts: dict[str, Any]) -> None:
    """A group or an array as it is stored."""
    say(f"/{facts['path']} at {facts['snapshot'][:8]}")
    if facts["kind"] == "array":
        say(f"  {_described(facts)}")
        for row in facts["first"]:
            say(f"  {_short(row)}")
        if facts["shape"][0] > len(facts["first"]):
            say(f"  ... ({facts['shape'][0]:,})")
        return
    for key, value in facts["attributes"].items():
        say(f"  {key}: {_short(value)}")
    for name in facts["groups"]:
        say(f"  {name}/")
    for name, about in facts["arrays"].items():
        say(f"  {name}: {_described(about)}")
    if facts["more"]:
        say(f"  and {facts['more']:,} more")


def _described(array: dict[str, Any]) -> str:
    """``100 x 3 (configuration x xyz) float64, eV: total energy``."""
    axes = f" ({' x '.join(array['axes'])})" if array["axes"] else ""
    unit = f", {array['units']}" if array["units"] not in (None, "1") else ""
    about = f": {array['about']}" if array["about"] else ""
    return f"{' x '.join(f'{n:,}' for n in array['shape'])}{axes} {array['type']}{unit}{about}"


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
