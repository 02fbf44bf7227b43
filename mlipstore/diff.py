"""``diff``: what leads from one version to another: configurations, labels, features, models, settings, annotations."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .curation.card import load_card
from .features import aliases, missing
from .fit import load
from .index import LIVE, Index, read_batch
from .matching import Rows, Unmatched, common_groups, with_code
from .metrics import ALL, KINDS
from .snapshot import Snapshot
from .store import Repository

#: Kinds of things that cover configurations.
_COVERING = ("features", "baselines")


@dataclass
class GroupChange:
    """Configurations of one group.

    :param relabelled: same geometry, other labels
    :param moved_in: same content, in another group before; ``moved_out`` likewise
    """

    added: int = 0
    removed: int = 0
    relabelled: int = 0
    moved_in: int = 0
    moved_out: int = 0


@dataclass
class Difference:
    """What leads from version ``a`` to version ``b``.

    :param versions: how many versions lead to only one of the two
    :param groups: what happened to configurations, by group; groups without changes are left out
    :param labels: of how many relabelled configurations energy, forces or stress are others
    :param features: features and baselines with how many configurations each version covers, where that differs
    :param models: models that only one of the two has, with their root mean square errors
    :param newest: the latest model of each, if it is not the same, with errors (eV/atom, eV/Å, eV/Å^3)
    :param settings: settings of these two that differ, as ``[in a, in b]``
    :param annotations: how many configurations have a flag or column, where what is said differs
    :param card: keys of the dataset card that differ
    """

    a: str
    b: str
    versions: dict[str, int] = field(default_factory=dict)
    configurations: list[int] = field(default_factory=list)
    groups: dict[str, GroupChange] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    features: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    newest: list[dict[str, Any] | None] = field(default_factory=list)
    settings: dict[str, list[Any]] = field(default_factory=dict)
    studies: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    card: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether nothing that is compared differs."""
        return not (self.groups or self.features or self.models or self.settings or self.studies or self.annotations
                    or self.card)  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "equal": self.equal}


def diff(repository: Repository, a: str | None = None, b: str | None = None) -> Difference:
    """Compare two versions.

    :param a: any name of a version; ``b`` likewise; None = the newest
    :raises StoreError: there is no such version
    """
    old, new = repository.at(a), repository.at(b)
    out = Difference(old.id, new.id)
    if old.id == new.id:
        return out
    out.versions = _versions(repository, old.id, new.id)
    _configurations(out, old, new)
    for kind in _COVERING:
        out.features += _coverage(kind, old, new)
    _models(out, repository, old, new)
    out.studies = _studies(old, new)
    out.annotations = _annotations(old, new)
    out.card = _pairs(load_card(old), load_card(new))
    return out


def _versions(repository: Repository, a: str, b: str) -> dict[str, int]:
    first, second = ([c.id for c in repository.log(i, include_all=True)] for i in (a, b))
    return {"only_a": len(set(first) - set(second)), "only_b": len(set(second) - set(first))}


# -------------------------------------------------------------- configurations
def _configurations(out: Difference, old: Snapshot, new: Snapshot) -> None:
    one, two = Index.load(old), Index.load(new)
    out.configurations = [int((i.state == LIVE).sum()) for i in (one, two)]
    names, group = common_groups(one, two)
    left = Unmatched(*(np.flatnonzero(i.state == LIVE) for i in (one, two)))

    def of(column: str) -> list[NDArray[Any]]:
        return [np.asarray(getattr(i, column))[mine] for i, mine in zip((one, two), left.rows, strict=True)]

    left.pair(*(with_code(u, g[mine]) for u, g, mine in zip(of("uid"), group, left.rows, strict=True)))
    moved = left.pair(*of("uid"))
    relabelled = left.pair(*of("geometry"))
    changes = [GroupChange() for _ in names]

    def count(what: str, codes: NDArray[np.int32]) -> None:
        for g, n in Counter(codes.tolist()).items():
            setattr(changes[g], what, getattr(changes[g], what) + n)

    count("removed", group[0][left.rows[0]])
    count("added", group[1][left.rows[1]])
    count("relabelled", group[1][relabelled[1]])
    for before, after in (moved, relabelled):
        elsewhere = group[0][before] != group[1][after]
        count("moved_out", group[0][before[elsewhere]])
        count("moved_in", group[1][after[elsewhere]])
    out.groups = {g: c for g, c in zip(names, changes, strict=True) if c != GroupChange()}
    if len(relabelled[0]):
        before_labels, after_labels = _labels(one, relabelled[0]), _labels(two, relabelled[1])
        differ = {k: int((before_labels[k] != after_labels[k]).sum()) for k in KINDS}
        out.labels = {k: n for k, n in differ.items() if n}


def _labels(index: Index, rows: Rows) -> dict[str, NDArray[Any]]:
    """A hash of each label of some configurations, in their order."""
    out = {k: np.zeros(len(rows), "S16") for k in KINDS}
    segment = np.searchsorted(index.start, rows, side="right") - 1
    for number in np.unique(segment):
        here = np.flatnonzero(segment == number)
        batch = read_batch(index.snapshot, index.segments[number].name).take(rows[here] - index.start[number])
        for place, i in enumerate(here):
            atoms = slice(int(batch.atom_start[place]), int(batch.atom_start[place + 1]))
            labels = (batch.energy[place : place + 1], batch.force[atoms], batch.stress[place])
            for kind, value in zip(KINDS, labels, strict=True):
                out[kind][i] = hashlib.blake2b(value.tobytes(), digest_size=8).hexdigest()
    return out


# ------------------------------------------------------- what is made of them
def _coverage(kind: str, old: Snapshot, new: Snapshot) -> list[dict[str, Any]]:
    """Features or baselines that cover other configurations."""
    out = []
    known = aliases(old, kind), aliases(new, kind)
    for id_ in sorted({*known[0], *known[1]}, key=lambda i: known[1].get(i, known[0].get(i, ""))):
        covered = [_covered(s, kind, id_) if id_ in k else None for s, k in zip((old, new), known, strict=True)]
        if covered[0] != covered[1]:
            alias = known[1].get(id_) or known[0][id_]
            out.append({"kind": kind.rstrip("s"), "id": id_, "alias": alias, "configurations": covered})
    return out


def _covered(snapshot: Snapshot, kind: str, id_: str) -> int:
    """How many configurations that count have it."""
    index = Index.load(snapshot)
    return int((index.state == LIVE).sum()) - sum(int(index.live(s.name).sum()) for s in missing(snapshot, kind, id_))


def _models(out: Difference, repository: Repository, old: Snapshot, new: Snapshot) -> None:
    known = [aliases(s, "models") for s in (old, new)]
    held: dict[tuple[int, str], dict[str, Any]] = {}

    def facts(which: int, id_: str) -> dict[str, Any]:
        if (which, id_) not in held:
            model = load((old, new)[which], id_)
            rmse = {f"{e.kind}_{e.split}": e.rmse for e in model.errors if e.group == ALL and not e.weighted}
            held[which, id_] = {"id": id_, "alias": model.name, "rmse": rmse, "provenance": model.provenance}
        return held[which, id_]

    def plain(model: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in model.items() if k != "provenance"}

    for which, change in ((0, "removed"), (1, "added")):
        for id_ in sorted(set(known[which]) - set(known[1 - which]), key=lambda i: known[which][i]):
            out.models.append({"change": change, **plain(facts(which, id_))})
    newest = [_newest(repository, s.id, k) for s, k in zip((old, new), known, strict=True)]
    if newest[0] != newest[1]:
        models = [None if n is None else facts(i, n) for i, n in enumerate(newest)]
        out.newest = [None if m is None else plain(m) for m in models]
        if models[0] is not None and models[1] is not None:
            out.settings = _pairs(_settings(models[0]["provenance"]), _settings(models[1]["provenance"]))


def _newest(repository: Repository, id_: str, known: Mapping[str, str]) -> str | None:
    """The model that was fitted last."""
    for commit in repository.log(id_):
        model = commit.metadata.get("summary", {}).get("model")
        if commit.verb == "fit" and model in known:
            return str(model)
    return min(known, default=None) if len(known) == 1 else None


def _settings(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a fit with the settings of its features and baseline."""
    out: dict[str, Any] = {"fit": {k: v for k, v in provenance["fit"].items() if k not in ("features", "baseline")}}
    for kind, table in (("descriptor", provenance["feature"]), ("baseline", provenance["baseline"])):
        out[kind] = None if table is None else {"type": table["type"], **table["settings"]}
    return out


def _studies(old: Snapshot, new: Snapshot) -> list[dict[str, Any]]:
    known = aliases(old, "studies"), aliases(new, "studies")
    out = []
    for id_ in sorted({*known[0], *known[1]}):
        trials = [s.array(f"studies/{id_}/run").shape[0] if id_ in k else None
                  for s, k in zip((old, new), known, strict=True)]  # fmt: skip
        if trials[0] != trials[1]:
            out.append({"id": id_, "alias": known[1].get(id_) or known[0][id_], "trials": trials})
    return out


def _annotations(old: Snapshot, new: Snapshot) -> list[dict[str, Any]]:
    """Flags and columns of which something else is said."""
    said = [_said(old), _said(new)]
    out = []
    for name in sorted({*said[0], *said[1]}):
        one, two = said[0].get(name), said[1].get(name)
        if one != two:
            kind, _, alias = name.partition("-")
            out.append({"kind": kind, "name": alias, "configurations": [x and x[0] for x in (one, two)]})
    return out


def _said(snapshot: Snapshot) -> dict[str, tuple[int, str]]:
    """How many configurations have each flag and column, and a hash of what is said of which."""
    out = {}
    for name in snapshot.names("annotations") if snapshot.exists("annotations") else ():
        here = f"annotations/{name}"
        uid = snapshot.read(f"{here}/uid")
        h = hashlib.blake2b(uid.tobytes())
        if snapshot.exists(f"{here}/value"):
            h.update("\0".join(map(str, snapshot.read(f"{here}/value").tolist())).encode())
        out[name] = (len(uid), h.hexdigest())
    return out


def _pairs(a: Any, b: Any, path: str = "") -> dict[str, list[Any]]:
    """Values of nested tables that differ, by their path; None where there is none."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        out: dict[str, list[Any]] = {}
        for key in [*a, *(k for k in b if k not in a)]:
            out |= _pairs(a.get(key), b.get(key), f"{path}.{key}" if path else str(key))
        return out
    return {} if a == b and type(a) is type(b) else {path: [a, b]}
