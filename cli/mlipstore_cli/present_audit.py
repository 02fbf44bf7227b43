"""What people see of an audit."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, Any

from .present import duration, say
from .tables import counted, next_step

if TYPE_CHECKING:
    from mlipstore.audit.finding import Finding
    from mlipstore.audit.run import AuditResult
    from mlipstore.curation.recipe import ApplyResult, Recipe

_WIDTH = 98
_VERBS = ("error", "warning")


def show_audit(result: AuditResult, source: str, stored: bool, everything: bool) -> None:
    """The table of findings, what passed, and what to type next."""
    from mlipstore.audit.remedy import command

    s = result.data.summary
    pairs = result.data.pairs
    left_out = f" ({pairs.dropped:,} left out: too far apart in the files)" if pairs.dropped else ""
    say(
        f"  {counted(len(s), 'configuration')} · {counted(int(s.n_atoms.sum()), 'atom')} · "
        f"{counted(len(s.groups), 'group')} · {counted(len(pairs), 'pair')} of near ones{left_out} · "
        f"{duration(result.seconds)}"
    )
    verdicts = [*_VERBS, *(("undecided", "ok") if everything else ())]
    told = [f for f in result.findings if f.verdict in verdicts and not f.waived]
    if told:
        say("")
        _table(told)
    if not everything:
        _undecided(result)
    for f in result.findings:
        if f.waived:
            say(f"  waived: {f.check} of {_group(f)} ({f.what}): {f.waived}")
    bad = {f.check for f in result.findings if f.verdict != "ok" and not f.waived}
    passed = sorted({f.check for f in result.findings if f.verdict == "ok"} - bad)
    if passed:
        say("")
        for line in textwrap.wrap("in order: " + ", ".join(passed), _WIDTH - 2):
            say(f"  {line}")
    errors, warnings = result.count("error"), result.count("warning")
    kept = f" · kept as {result.id[:8]}" if result.stored else ""
    say(f"  {_number(errors, 'error')} · {_number(warnings, 'warning')} · {result.count('undecided')} undecided{kept}")
    if result.not_stored:
        for line in textwrap.wrap(f"the findings were not stored: {_printable(result.not_stored)}", _WIDTH - 2):
            say(f"  {line}")
    next_ = command(result.findings, source, stored, _commands())
    if next_ and result.not_stored:  # what corrects it needs a store that can be written
        next_ = f"mlipstore clone {shlex.quote(source)} COPY.mlip"
    if next_.isprintable() and next_:
        say(f"next: {next_}")


def show_applied(result: ApplyResult, recipe: Recipe, store: str) -> None:
    """What each step of a recipe changed."""
    steps = recipe.steps[len(recipe.steps) - len(result.steps) :]
    if result.done_before:
        say(f"  {result.done_before} of {len(recipe.steps)} steps were taken before, and are not repeated")
    for step, done in zip(steps, result.steps, strict=True):
        number, _, what = counted(done.changed, "configuration").partition(" ")
        say(f"  {step.verb:8}{number:>9} {what:14}  {textwrap.shorten(step.reason, _WIDTH - 35)}")
    if result.dry_run:
        say("  nothing was changed (--dry-run)")
    elif result.steps:
        next_step("audit", store)


def show_stored(facts: dict[str, Any]) -> None:
    """Findings as they were stored."""
    from mlipstore.audit.finding import Finding

    names = ("verdict", "what", "group", "code", "evidence", "remedy", "check", "version", "waived")
    findings = [Finding(**{k: f[k] for k in names}) for f in facts["findings"]]
    looked_at = counted(facts["configurations"], "configuration")
    say(f"audit {facts['id'][:8]} of {looked_at} at {facts['data_snapshot'][:8]}")
    told = [f for f in findings if f.counts]
    if told:
        _table(told)
    for f in findings:
        if f.waived:
            say(f"  waived: {f.check} of {_group(f)} ({f.what}): {f.waived}")
    say(f"  {sum(f.verdict == 'undecided' for f in findings):,} undecided")


def _number(n: int, what: str) -> str:
    return counted(n, what) if n else f"no {what}s"


def _commands() -> set[str]:
    """Names of the commands that there are."""
    from .app import app

    return {c.name or (c.callback.__name__.replace("_", "-") if c.callback else "") for c in app.registered_commands}


def _table(findings: list[Finding]) -> None:
    """Findings in lines of at most 98 characters; the last column is wrapped."""
    group = min(22, max(5, *(len(_group(f)) for f in findings)))
    check = max(5, *(len(f.check) for f in findings))
    rest = _WIDTH - (2 + 10 + check + 2 + group + 2)
    say(f"  {'':10}{'check':{check}}  {'group':{group}}  what was found")
    say("  " + "─" * (_WIDTH - 2))
    for f in findings:
        lines = textwrap.wrap(_printable(f.what), rest, break_on_hyphens=False) or [""]
        name = _group(f)
        name = name if len(name) <= group else name[: group - 1] + "…"
        say(f"  {f.verdict:10}{f.check:{check}}  {name:{group}}  {lines[0]}")
        for line in lines[1:]:
            say(" " * (2 + 10 + check + 2 + group + 2) + line)


def _group(f: Finding) -> str:
    return "all" if f.group == "*" else _printable(f.group)


def _printable(text: str) -> str:
    """Text of files, without what would steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _undecided(result: AuditResult) -> None:
    """One line per check: where there was too little to tell."""
    by_check: dict[str, list[str]] = {}
    for f in result.findings:
        if f.verdict == "undecided":
            by_check.setdefault(f.check, []).append(_group(f))
    if by_check:
        say("")
    for check, groups in by_check.items():
        text = f"undecided (too little to tell): {check} in {_number(len(groups), 'group')}: {', '.join(groups[:6])}"
        lines = textwrap.wrap(text + (", ..." if len(groups) > 6 else ""), _WIDTH - 2)
        for i, line in enumerate(lines):
            say(("  " if i == 0 else "    ") + line)
