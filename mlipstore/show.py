"""``show``: what a store, a segment, a featurization, a baseline, a study or a model is, as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr

from .arrays import DIGEST
from .audit.flags import load as load_audit
from .audit.flags import stored_audit
from .curation.card import load_card
from .errors import SettingsError, unknown_name
from .features import aliases, missing, other_names
from .fit import load
from .index import DELETED, LIVE, Index, segments
from .searching.studies import Study
from .store import Repository, Snapshot

#: What is shown of a group and an array: names, rows, numbers of a row.
_LISTED, _ROWS, _WIDE = 1_000, 5, 20


def show(repository: Repository, name: str | None = None, ref: str | None = None) -> dict[str, Any]:
    """Facts about the store, or about the segment, feature, baseline, study or model called ``name``.

    :param name: also ``REF:PATH``, a group or array (or a name) in any version, or ``:PATH`` in this one
    :raises UnknownNameError: there is no such thing
    """
    if name is not None and ":" in name:
        before, _, path = name.rpartition(":")  # the last one: a time has some of its own
        if before and ref is not None:
            raise SettingsError(f"{name!r} and --ref {ref} name two versions. Give one of them.")
        snapshot = repository.at(before or ref)
        if "/" not in path.strip("/") and path.strip("/") and not snapshot.exists(path.strip("/")):
            return show(repository, path.strip("/"), snapshot.id)
        return _node(snapshot, path.strip("/"))
    snapshot = repository.at(ref)
    if name is None:
        return _store(snapshot)
    every = {
        **{s.name: ("segment", s.name) for s in segments(snapshot)},
        **{key: (kind, i) for kind in ("features", "baselines", "studies", "models")
           for i, alias in aliases(snapshot, kind).items() for key in (i, alias)},
        **{other: ("models", i) for other, i in other_names(snapshot, "models").items()},
    }  # fmt: skip
    hits = {every[k] for k in every if k == name} or {every[k] for k in every if k.startswith(name)}
    if not hits:
        audit = stored_audit(snapshot, name)
        if audit is not None:
            return audit.to_json()
    if len(hits) != 1:
        raise unknown_name("segment, feature, baseline, study or model", name, every)
    kind, id_ = hits.pop()
    if kind == "segment":
        return _segment(snapshot, id_)
    if kind == "models":
        result = load(snapshot, id_)
        return {"kind": "model", **result.to_json(), "provenance": result.provenance}
    if kind == "studies":
        return _study(Study.load(snapshot, id_))
    attributes = snapshot.attributes(f"{kind}/{id_}")
    lacking, index = missing(snapshot, kind, id_), Index.load(snapshot)
    return {
        "kind": "feature" if kind == "features" else "baseline",
        "id": id_,
        **attributes,
        "configurations_missing": sum(int(index.live(s.name).sum()) for s in lacking),
    }


def elements(snapshot: Snapshot) -> list[str]:
    """Symbols of the elements of a version, by atomic number."""
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in Index.load(snapshot).live_elements()]


def _store(snapshot: Snapshot) -> dict[str, Any]:
    index = Index.load(snapshot)
    groups = index.live_groups()
    total = sum(groups.values())
    live = dict(zip((s.name for s in index.segments), index.live_per_segment.tolist(), strict=True))
    features = []
    for i, alias in aliases(snapshot, "features").items():
        a = snapshot.attributes(f"features/{i}")
        lacking = sum(live[s.name] for s in missing(snapshot, "features", i))
        features.append({"id": i, "alias": alias, "type": a["type"], "columns": len(a["columns"]),
                         "configurations": total - lacking, "configurations_missing": lacking})  # fmt: skip
    baselines = [{"id": i, "alias": alias} for i, alias in aliases(snapshot, "baselines").items()]
    studies = [
        {"id": i, "alias": alias, "trials": snapshot.array(f"studies/{i}/run").shape[0]}
        for i, alias in aliases(snapshot, "studies").items()
    ]
    models = []
    made = {c.metadata.get("summary", {}).get("model"): c.time for c in snapshot.repository.log(snapshot.id)}
    for i in sorted(aliases(snapshot, "models"), key=lambda i: (made[i].timestamp() if i in made else 0.0, i)):
        m = load(snapshot, i)
        every = {f"{e.kind}_{e.split}": e.rmse for e in m.errors if e.group == "*" and not e.weighted}
        models.append({"id": i, "alias": m.name, "also_called": m.also, "feature": m.provenance["feature"]["alias"],
                       "made": made[i].isoformat() if i in made else None, "rmse": every})  # fmt: skip
    audit = load_audit(snapshot)
    return {
        "kind": "store",
        "path": str(snapshot.repository.path),
        "snapshot": snapshot.id,
        "format": snapshot.root.attrs["mlipstore_format"],
        "configurations": total,
        "atoms": int(index.facts[index.state == LIVE, 0].sum()),
        "removed": int((index.state == DELETED).sum()),
        "elements": elements(snapshot),
        "groups": dict(sorted(groups.items())),
        "segments": len(index.live_segments()),
        "card": load_card(snapshot),
        "features": features,
        "baselines": baselines,
        "studies": studies,
        "audit": None if audit is None else {"id": audit.id, **audit.counts()},
        "models": models,
    }


def _node(snapshot: Snapshot, path: str) -> dict[str, Any]:
    """A group or an array as it is stored.

    :raises UnknownNameError: there is none
    """
    if path and not snapshot.exists(path):
        above, _, last = path.rpartition("/")
        while above and not snapshot.exists(above):
            above, _, last = above.rpartition("/")
        inside = [] if above and isinstance(snapshot.root[above], zarr.Array) else snapshot.names(above)
        raise unknown_name(f"group or array in {above or 'the store'}", last, inside)
    node = snapshot.root[path] if path else snapshot.root
    here = {"path": path, "snapshot": snapshot.id}
    if isinstance(node, zarr.Array):
        return {"kind": "array", **here, **_array(node), "first": _first(snapshot, path, node)}
    names = snapshot.names(path)
    nodes = {n: snapshot.root[f"{path}/{n}".lstrip("/")] for n in names[:_LISTED]}
    return {
        "kind": "group",
        **here,
        "attributes": {k: v for k, v in node.attrs.asdict().items() if k != DIGEST} if not path
        else snapshot.attributes(path),
        "groups": [n for n, g in nodes.items() if isinstance(g, zarr.Group)],
        "arrays": {n: _array(a) for n, a in nodes.items() if isinstance(a, zarr.Array)},
        "more": max(0, len(names) - _LISTED),
    }  # fmt: skip


def _array(array: zarr.Array[Any]) -> dict[str, Any]:
    about = array.attrs.asdict()
    return {"shape": list(array.shape), "type": "string" if array.dtype.kind in "OT" else str(array.dtype),
            "axes": list(getattr(array.metadata, "dimension_names", None) or ()), "units": about.get("units"),
            "about": about.get("long_name")}  # fmt: skip


def _first(snapshot: Snapshot, path: str, array: zarr.Array[Any]) -> list[Any]:
    """The first rows; hashes as hexadecimal digits."""
    rows = snapshot.read(path, 0, min(array.shape[0], _ROWS))
    if array.dtype == np.uint8 and array.ndim == 2:
        return [row.tobytes().hex() for row in rows]
    wide = rows.reshape(len(rows), -1)[:, :_WIDE] if rows.ndim > 1 and rows[:1].size > _WIDE else rows
    plain: list[Any] = wide.tolist()
    return plain


def _study(study: Study) -> dict[str, Any]:
    balanced = study.balanced() if len(study.errors) else None
    return {
        "kind": "study",
        "id": study.id,
        **study.attributes,
        "trials": len(study.errors),
        "front": [{"trial": int(i), "errors": study.errors[i].tolist()} for i in study.front()],
        "balanced": balanced,
        "values": None if balanced is None else dict(
            zip(study.attributes["parameters"], study.values[balanced].tolist(), strict=True)
        ),
    }  # fmt: skip


def _segment(snapshot: Snapshot, name: str) -> dict[str, Any]:
    s = next(s for s in segments(snapshot) if s.name == name)
    covered = [alias for i, alias in aliases(snapshot, "features").items() if s not in missing(snapshot, "features", i)]
    return {
        "kind": "segment",
        "name": s.name,
        "configurations": s.n_configurations,
        "that_count": int(Index.load(snapshot).live(name).sum()),
        "atoms": s.n_atoms,
        "groups": s.groups,
        "features": covered,
    }
