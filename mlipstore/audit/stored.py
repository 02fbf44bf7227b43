"""Writes what an audit found beside the data: ``audits/<audit-id>``, and waivers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import write_array
from ..errors import SettingsError, unknown_name
from ..index import Index
from ..layout import AUDITS
from ..provenance import commit_metadata, content_id, new_run, versions
from ..schema import canonical
from ..store import Repository, Snapshot
from .finding import described
from .flags import HERE, Waiver, chosen_checks, twins, waivers
from .run import AuditResult


def apply_waivers(result: AuditResult, snapshot: Snapshot) -> None:
    """Mark the findings that are waived."""
    for waiver in waivers(snapshot):
        for f in result.findings:
            if f.verdict in ("warning", "error") and waiver.covers(f.check, f.group):
                f.waived = waiver.reason


def store(repository: Repository, result: AuditResult, command: str = "") -> str:
    """Keep the findings of an audit of the whole newest version; nothing is written when they are there already.

    :return: the id of the audit
    """
    content = _content(result)
    id_ = content_id(canonical({k: content[k] for k in ("findings", "data_digest", "model") if k in content}))
    snapshot = repository.at()
    result.id, result.stored = id_, True
    if snapshot.exists(HERE) and snapshot.attributes(HERE).get("latest") == id_:
        return id_
    told = [f for f in result.findings if f.verdict != "ok"]
    entries = [np.full(len(f.configurations), i, np.int32) for i, f in enumerate(told)]
    uid, twin = result.data.summary.uid, twins(result.data.summary.uid)
    where = np.concatenate([np.zeros(0, np.int64), *(f.configurations for f in told)])
    metadata = commit_metadata(
        "audit", command, new_run(), errors=result.count("error"), warnings=result.count("warning")
    )
    with repository.transaction(f"audit: {_counts(result)}", metadata, exclusive=True) as tx:
        newest = repository.at()
        known = newest.attributes(HERE) if newest.exists(HERE) else {}
        tx.group(HERE, {"waivers": known.get("waivers", []), "latest": id_})
        group = tx.group(f"{HERE}/{id_}", {**content, "command": command, "versions": versions()})
        write_array(group, AUDITS["finding"], np.concatenate(entries) if entries else np.zeros(0, np.int32))
        write_array(group, AUDITS["uid"], uid[where])
        write_array(group, AUDITS["twin"], twin[where])
    return id_


def _content(result: AuditResult) -> dict[str, Any]:
    s = result.data.summary
    uids = np.ascontiguousarray(s.uid).view("V32").ravel()
    told = [f for f in result.findings if f.verdict != "ok"]
    return {
        "findings": [{**described(f), "waived": "", "configurations": len(f.configurations)} for f in told],
        "passed": sorted({f.check for f in result.findings if f.verdict == "ok"}),
        "configurations": len(s),
        "data_snapshot": result.snapshot,
        **({} if result.data.fit is None else {"model": result.data.fit.model}),
        "data_digest": content_id(np.sort(uids).tobytes().hex()),
    }


def _counts(result: AuditResult) -> str:
    return ", ".join(f"{result.count(v)} {v}s" for v in ("error", "warning"))


def waive(repository: Repository, check: str, group: str, reason: str, command: str = "") -> Waiver:
    """Say that findings of a check do not count, and why; a second waiver of the same check and group replaces it.

    :raises SettingsError: no reason
    :raises UnknownNameError: no such check, or no such group in the store
    """
    (check,) = chosen_checks([check])
    if not reason.strip():
        raise SettingsError("a waiver needs a reason: --reason TEXT.")
    groups = Index.load(repository.at()).live_groups()
    if group != "*" and group not in groups:
        raise unknown_name("group", group, groups)
    made = Waiver(check, group, reason)
    metadata = commit_metadata("waive", command, new_run(), check=check, group=group, reason=reason)
    with repository.transaction(f"waive {check} of {group}", metadata, exclusive=True) as tx:
        newest = repository.at()
        known = newest.attributes(HERE) if newest.exists(HERE) else {}
        others = [w for w in known.get("waivers", []) if (w["check"], w["group"]) != (check, group)]
        rest = {k: v for k, v in known.items() if k != "waivers"}
        tx.group(HERE, {**rest, "waivers": [*others, {"check": check, "group": group, "reason": reason}]})
    return made
