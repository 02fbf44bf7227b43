"""Whether the newest versions say what they must: digests, ids, the index against the segments, content hashes."""

from __future__ import annotations

import numpy as np

from ..errors import DamagedStoreError, MlipstoreError, StoreError, counted
from ..features import Feature, StoredBaseline
from ..fit import load
from ..index import MOVED, Index, Segment, keys, read_batch, segments
from ..places import Place
from ..snapshot import Snapshot
from ..store import Repository
from .files import Found, severity_of
from .report import DERIVED, LOST, VERSION, Problem, Report


def check_content(place: Place, found: Found, report: Report) -> None:
    """Check every version that a ref names and whose files can be read; what files lack is known already."""
    hurt = {p.path for p in report.problems if p.path}
    done: set[str] = set()
    seen: set[str] = set()
    for (_, name), id_ in sorted(found.refs.items(), key=lambda item: item[0] != ("branch", "main")):
        if id_ in done or id_ not in found.versions:
            continue
        done.add(id_)
        try:
            snapshot = Repository.open(place, name if ("branch", name) in found.refs else None).at(id_)
        except (MlipstoreError, StoreError) as error:
            if not report.problems:
                report.add(Problem(VERSION, "", str(error), versions=found.names_of(id_)))
            continue
        _version(snapshot, hurt, seen, report)


def _version(snapshot: Snapshot, hurt: set[str], seen: set[str], report: Report) -> None:
    """:param seen: segments that were checked in another version"""
    names = [snapshot.id]

    def attempt(path: str, severity: str, check: object) -> None:
        try:
            check()  # type: ignore[operator]
        except (MlipstoreError, KeyError, ValueError, TypeError) as error:
            if not _accounted_for(path, hurt):
                report.add(Problem(severity, "", _short(error), path, versions=names))

    known: list[Segment] = []

    def listing() -> None:
        known.extend(segments(snapshot))

    attempt("index", DERIVED, listing)
    there = _names(snapshot, "configurations", report)
    if known and (both := {s.name for s in known} ^ there):
        report.add(Problem(DERIVED, "", f"index and segments differ: {', '.join(sorted(both)[:3])}", "index",
                           versions=names))  # fmt: skip
    index = Index.load(snapshot)
    for i, name in enumerate(sorted(there)):
        for kind in ("configurations", "atoms"):
            attempt(f"{kind}/{name}", LOST, lambda kind=kind, name=name: snapshot.attributes(f"{kind}/{name}"))
        if name not in seen:
            seen.add(name)
            attempt(f"configurations/{name}", LOST, lambda name=name: _segment(snapshot, name, report))
        if name in {s.name for s in known} and not _accounted_for(f"configurations/{name}", hurt):
            attempt("index", DERIVED, lambda name=name, i=i: _rows(snapshot, index, name))
    for kind, loader in (("features", Feature.load), ("baselines", StoredBaseline.load), ("models", load)):
        for id_ in _names(snapshot, kind, report):
            attempt(f"{kind}/{id_}", LOST, lambda load=loader, id_=id_: load(snapshot, id_))
            for child in _names(snapshot, f"{kind}/{id_}", report) if kind != "models" else ():
                path = f"{kind}/{id_}/{child}"
                attempt(path, DERIVED, lambda path=path: snapshot.names(path))


def _accounted_for(path: str, hurt: set[str]) -> bool:
    """Whether a damaged file is known that explains why what is at a path cannot be read."""
    kind, _, rest = path.partition("/")
    if kind == "configurations":  # a segment is read as a whole
        return any(h.split("/")[:2] in (["configurations", rest], ["atoms", rest]) for h in hurt)
    return any(h == path or h.startswith(f"{path}/") for h in hurt)


def _names(snapshot: Snapshot, path: str, report: Report) -> set[str]:
    try:
        return {n for n in snapshot.names(path)} if snapshot.exists(path) else set()
    except StoreError as error:
        report.add(Problem(VERSION, "", _short(error), path, versions=[snapshot.id]))
        return set()


def _segment(snapshot: Snapshot, name: str, report: Report) -> None:
    """Content hashes of the configurations, computed anew."""
    batch = read_batch(snapshot, name)
    report.configurations += len(batch)
    wrong = sum(c.uid() != key for c, key in zip(batch, keys(batch.uid), strict=True))
    if wrong:
        raise DamagedStoreError(
            f"{counted(wrong, 'configuration is', 'configurations are')} not what the content hash says"
        )


def _rows(snapshot: Snapshot, index: Index, name: str) -> None:
    """The part of the index that is about a segment."""
    rows = index.rows(name)
    uid = snapshot.read(f"configurations/{name}/uid")
    number = index.number[name]
    same = (
        np.array_equal(index.uid[rows], uid)
        and (index.segment[rows] == number).all()
        and np.array_equal(index.position[rows], np.arange(len(uid)))
        and (index.state[rows] <= MOVED).all()
    )
    if not same:
        raise DamagedStoreError(f"it does not say what segment {name} holds")


def _short(error: BaseException) -> str:
    return f"{error}".rstrip(".")


__all__ = ["check_content", "severity_of"]
