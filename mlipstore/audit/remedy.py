"""What to type next: the command that repairs, or shows, what an audit found."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from .finding import Finding

#: Codes of findings about which there is something to type, the most useful first.
_FIRST = ("unreadable", "fractional", "transposed", "unit", "unit-and-sign", "sign", "virial", "order", "conflict",
          "near-conflict", "energy-force", "lost-forces", "leakage", "zero-stress")  # fmt: skip


def command(findings: Sequence[Finding], source: str, stored: bool, verbs: Collection[str]) -> str:
    """One command line for the worst of the findings that count; empty if there is nothing to do.

    :param stored: whether ``source`` is a store whose findings are stored, else it is files
    :param verbs: names of the commands that there are
    """
    told = sorted((f for f in findings if f.counts), key=_rank)
    if not told:
        return ""
    first = told[0]
    same = [f for f in told if (f.check, f.code) == (first.check, first.code)]
    if stored:
        alike = [f.group for f in same if f.group != "*" and correction(f) == correction(first)]
        return _for_store(first, alike, source, verbs, told)
    if first.remedy.get("stress_unit"):
        same = [f for f in same if f.remedy.get("stress_unit") == first.remedy["stress_unit"]]
    return _for_files(first, same, source)


def _rank(f: Finding) -> tuple[int, int]:
    return (f.verdict != "error", _FIRST.index(f.code) if f.code in _FIRST else len(_FIRST))


def _for_store(first: Finding, groups: list[str], store: str, verbs: Collection[str], told: Sequence[Finding]) -> str:
    place = shlex.quote(store)
    if "relabel" in verbs and groups:
        options = " ".join(f"--{k.replace('_', '-')} {shlex.quote(str(v))}" for k, v in correction(first).items())
        if options:
            return f"mlipstore relabel {place} {options} --where {shlex.quote(where(groups))}"
    flagged = f'flagged("{flag_of(first, told)}")'
    for verb, codes, option in (
        ("mask", ("zero-stress",), "--stress "),
        ("mask", ("lost-forces", "force-conflict"), "--force "),
        ("remove", ("conflict", "energy-force", "distance", "fractional", "transposed"), ""),
    ):
        if first.code in codes and verb in verbs and (verb == "remove" or first.remedy.get("action") == verb):
            return f"mlipstore {verb} {place} {option}--where {shlex.quote(flagged)}"
    if "query" in verbs:
        return f"mlipstore query {place} --where {shlex.quote(flagged)}"
    return f"mlipstore audit {place} --check {first.check} --json"


def flag_of(f: Finding, told: Sequence[Finding]) -> str:
    """What expressions call the configurations of a finding: its check, with its code where others have another one."""
    name = f.check.replace("-", "_")
    alone = all(other.code == f.code for other in told if other.check == f.check)
    return name if alone else f"{name}:{f.code.replace('-', '_')}"


def correction(f: Finding) -> dict[str, object]:
    """Settings of ``relabel`` that repair stored labels as a finding says; none where that is not clear."""
    if f.code == "order":
        return {"stress_order": f.remedy["stored_order"]} if "stored_order" in f.remedy else {}
    if f.code == "virial":
        return {k: f.remedy[k] for k in ("stress_was", "virial", "stress_scale") if k in f.remedy}
    if f.code == "sign":
        return {k: f.remedy[k] for k in ("stress_scale", "force_scale") if k in f.remedy}
    if f.code not in ("unit", "unit-and-sign") or f.remedy.get("action") != "relabel":
        return {}
    was, unit = f.remedy["read_as"], f.remedy["stress_unit"]
    settings: dict[str, object] = {} if was == unit else {"stress_was": was, "stress_unit": unit}
    if f.code == "unit-and-sign":
        settings["stress_scale"] = -1.0
    return settings


def _for_files(first: Finding, same: list[Finding], source: str) -> str:
    options = []
    for f in same:
        if f.code == "unit" and f.group != "*":
            options.append(f"--group-stress-unit {shlex.quote(f.group + '=' + f.remedy['stress_unit'])}")
        elif f.code == "order" and "stress_order" in f.remedy:
            options.append(f"--group-stress-order {shlex.quote(f.group + '=' + f.remedy['stress_order'])}")
    if first.code == "length-unit":
        options.append("--length-unit Bohr")
    if options:
        return f"mlipstore ingest NEW.mlip {source} {' '.join(options)}"
    return f"mlipstore audit {source} --check {first.check} --json"


def where(groups: Sequence[str]) -> str:
    """An expression that selects groups.

    >>> where(["a"]), where(["a", "b"])
    ("group == 'a'", "group in ('a', 'b')")
    """
    names = [repr(g) for g in groups]
    if len(names) == 1:
        return f"group == {names[0]}"
    return f"group in ({', '.join(names)})" if names else ""
