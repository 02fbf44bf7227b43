"""What audits left in a store: their findings, what was waived, and which configurations are flagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from .. import registry
from ..arrays import overwrite
from ..errors import StoreError, unknown_name
from ..snapshot import Snapshot

HERE = "audits"


def chosen_checks(names: Sequence[str] | None) -> list[str]:
    """Names of checks, as they were asked for or all of them.

    :raises UnknownNameError: there is no such check
    """
    known = registry.names("checks")
    if not names:
        return list(known)
    out = []
    for name in (n.replace("_", "-") for n in names):
        if name not in known:
            raise unknown_name("check", name, known)
        out.append(name)
    return out


def is_check(name: str) -> bool:
    """Whether a check has this name, with ``-`` or ``_``, the code of a finding after it or not."""
    return name.partition(":")[0].replace("_", "-") in registry.names("checks")


def needs_model(name: str) -> bool:
    """Whether a check looks at a model."""
    return bool(getattr(registry.get("checks", name), "needs_model", False))


@dataclass(frozen=True)
class Waiver:
    """A person has looked at findings and says that they do not count.

    :param check: name of the check; ``group``: one group, or ``*`` for all
    """

    check: str
    group: str
    reason: str

    def covers(self, check: str, group: str) -> bool:
        return self.check == check and self.group in ("*", group)


@dataclass(frozen=True)
class StoredAudit:
    """Findings of an audit that was stored.

    :param findings: plain values, see :func:`mlipstore.audit.run.described`, with ``waived`` as it is now
    :param attributes: data_snapshot, command, versions, ...
    """

    id: str
    findings: list[dict[str, Any]]
    attributes: dict[str, Any]
    finding: NDArray[np.int32]
    uid: NDArray[np.uint8]
    twin: NDArray[np.int32]

    def counts(self) -> dict[str, int]:
        """Errors and warnings that nobody has waived, and what was waived."""
        open_ = [f["verdict"] for f in self.findings if not f["waived"]]
        return {
            "errors": open_.count("error"),
            "warnings": open_.count("warning"),
            "waived": len(self.findings) - len(open_),
            "configurations": int(self.attributes["configurations"]),
        }

    def to_json(self) -> dict[str, Any]:
        return {"kind": "audit", "id": self.id, **self.attributes, "findings": self.findings}


def waivers(snapshot: Snapshot) -> list[Waiver]:
    """What was waived, in the order it was."""
    if not snapshot.exists(HERE):
        return []
    return [Waiver(**w) for w in snapshot.attributes(HERE).get("waivers", [])]


def load(snapshot: Snapshot, id_: str | None = None) -> StoredAudit | None:
    """The stored findings of the newest audit, or of one by its id; None if there is none.

    :raises UnknownNameError: there is no audit of that id
    """
    if not snapshot.exists(HERE):
        return None
    known = snapshot.names(HERE)
    if id_ is None:
        id_ = snapshot.attributes(HERE).get("latest")
        if id_ is None:
            return None
    else:
        match = [k for k in known if k.startswith(id_)]
        if len(match) != 1:
            raise unknown_name("audit", id_, known)
        id_ = match[0]
    here = f"{HERE}/{id_}"
    attributes = snapshot.attributes(here)
    findings = attributes.pop("findings")
    waived = waivers(snapshot)
    for f in findings:
        for w in waived:
            if f["verdict"] in ("warning", "error") and w.covers(f["check"], f["group"]):
                f["waived"] = w.reason
    return StoredAudit(id_, findings, attributes, *(snapshot.read(f"{here}/{k}") for k in ("finding", "uid", "twin")))


def twins(uid: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Of each configuration, how many of the same hash come before it: 0 but for copies with equal labels.

    :param uid: ``(n, 32)``, of the configurations that count, in the order of the index
    """
    raw = np.ascontiguousarray(uid).view("V32").ravel()
    order = np.argsort(raw, kind="stable") if len(raw) else np.zeros(0, np.int64)
    new = np.ones(len(raw), bool)
    new[1:] = raw[order][1:] != raw[order][:-1]
    first = np.maximum.accumulate(np.where(new, np.arange(len(raw)), 0)) if len(raw) else np.zeros(0, np.int64)
    out = np.zeros(len(raw), np.int32)
    out[order] = np.arange(len(raw)) - first
    return out


def renumber(root: zarr.Group, snapshot: Snapshot, uid: NDArray[np.uint8], place: NDArray[np.int64]) -> None:
    """Let stored audits mean the same copies when the configurations that count come in another order.

    :param root: of the version in the making, ``snapshot`` the one before
    :param uid: ``(n, 32)``, in the order before
    :param place: where each was in that order, in the new order ``(n,)``
    """
    if not snapshot.exists(HERE) or not snapshot.names(HERE):
        return
    old, new = twins(uid), np.empty(len(uid), np.int32)
    new[place] = twins(uid[place])
    moved = np.flatnonzero(old != new)
    became = {k.tobytes(): n for k, n in zip(_keys(uid[moved], old[moved]), new[moved], strict=True)}
    for name in snapshot.names(HERE) if became else ():
        here = f"{HERE}/{name}"
        twin = snapshot.read(f"{here}/twin")
        entries = _keys(snapshot.read(f"{here}/uid"), twin)
        now = np.array([became.get(k.tobytes(), n) for k, n in zip(entries, twin, strict=True)], np.int32)
        group = root[here]
        assert isinstance(group, zarr.Group)
        if not np.array_equal(now, twin):
            overwrite(group, "twin", now)


def flagged(snapshot: Snapshot, uid: NDArray[np.uint8], check: str | None = None) -> NDArray[np.bool_]:
    """Which configurations the newest stored audit warns about, where nobody has waived it.

    :param uid: ``(n, 32)``, of the configurations that count, in the order of the index
    :param check: of this check only, with ``-`` or ``_``; ``check:code``: of its findings with this code
    :raises UnknownNameError: there is no such check
    :raises StoreError: the store has no stored audit, or none of a model for a check that takes one
    """
    of, _, code = (check or "").partition(":")
    name = None if check is None else chosen_checks([of])[0]
    audit = load(snapshot)
    if audit is None:
        place = snapshot.repository.path
        how = f"mlipstore audit {quote(str(place))} makes one."
        raise StoreError(f"{place} has no stored audit to say what is flagged. {how}")
    if name is not None and needs_model(name) and not audit.attributes.get("model"):
        place = snapshot.repository.path
        raise StoreError(
            f"the newest audit of {place} looked at no model, which {name} takes: "
            f"mlipstore audit {quote(str(place))} --model NAME."
        )
    counts = np.array(
        [
            f["verdict"] in ("warning", "error")
            and not f["waived"]
            and name in (None, f["check"])
            and code.replace("_", "-") in ("", f["code"])
            for f in audit.findings
        ],
        bool,
    )
    told = counts[audit.finding] if len(audit.finding) else np.zeros(0, bool)
    return np.asarray(np.isin(_keys(uid, twins(uid)), _keys(audit.uid[told], audit.twin[told])))


def _keys(uid: NDArray[np.uint8], twin: NDArray[np.int32]) -> NDArray[np.void]:
    both = np.column_stack([uid, np.ascontiguousarray(twin.astype("<i4")).view(np.uint8).reshape(-1, 4)])
    return np.ascontiguousarray(both).view("V36").ravel()


def stored_audit(snapshot: Snapshot, name: str) -> StoredAudit | None:
    """The newest audit by the name ``audit``, or one by its id; None if there is none of that name."""
    if name == "audit":
        return load(snapshot)
    ids = [i for i in snapshot.names(HERE) if i.startswith(name)] if snapshot.exists(HERE) else []
    return load(snapshot, ids[0]) if len(ids) == 1 else None
