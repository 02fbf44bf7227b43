"""Mending a store: files from another copy, what can be derived, and the last whole version where nothing helps."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr

from ..arrays import overwrite, sealed
from ..creating import make_index
from ..errors import MlipstoreError, StoreError
from ..history import walk
from ..icefiles.files import Version, chunk_is_whole, parse_manifest, parse_ref, parse_snapshot, ref_key
from ..icefiles.seals import Digest, read_seal, seal
from ..index import LIVE, MOVED, Index, enter, read_batch, segments
from ..locks import locked
from ..places import Objects, Place, objects_at, place_of
from ..provenance import commit_metadata, new_run
from ..sharing.config import Config
from ..snapshot import Snapshot
from ..store import Repository
from .files import Found, check_files
from .report import DERIVED, VERSION, Report


def mend(place: Place, objects: Objects, where: str, report: Report, source: str | None, command: str) -> list[str]:
    """What was done, one line each. What is lost for good is left as it is."""
    out: list[str] = []
    remote = source or Config.load(objects).remote
    with locked(place):
        if remote:
            there = objects_at(place_of(remote))
            _fetch(there, objects, remote, report, out)
            _fetch_tags(there, objects, remote, report, out)
        now = Report(where)
        found = check_files(objects, where, now)
        for problem in now.problems:
            if problem.file.startswith("seals/"):
                _seal_anew(objects, problem.file.partition("/")[2], where, out)
        _go_back(objects, where, now, found, out)
        _let_go(objects, where, now, out)
    if Repository.exists(place):
        now = Report(where)
        found = check_files(objects, where, now)
        from .content import check_content

        check_content(place, found, now)
        _derive(place, now, out, command)
    return out


def _fetch(there: Objects, here: Objects, remote: str, report: Report, out: list[str]) -> None:
    """Damaged files from a copy: a name stands for one content, everywhere."""
    for problem in report.problems:
        kind = problem.file.partition("/")[0]
        if kind not in ("chunks", "manifests", "snapshots", "transactions", "seals"):
            continue
        try:
            data = there.get(problem.file)
            if kind == "chunks" and not chunk_is_whole(data):
                continue
            if kind == "manifests":
                parse_manifest(problem.file, data, remote)
            if kind == "snapshots":
                parse_snapshot(problem.file, data, remote)
            expected = _sealed_by(here, problem.versions, problem.file) if kind != "seals" else None
            if expected is not None and expected != Digest.of(data):
                continue
            here.put(problem.file, data)
        except MlipstoreError:
            continue
        out.append(f"{problem.file} fetched from {remote}")


def _fetch_tags(there: Objects, here: Objects, remote: str, report: Report, out: list[str]) -> None:
    """Tags that name nothing, from a copy: they never move, so that its tag of that name is the same."""
    for problem in report.problems:
        if not problem.file.startswith("refs/tag."):
            continue
        try:
            data = there.get(problem.file)
            id_ = parse_ref(problem.file, data, remote)
            parse_snapshot(f"snapshots/{id_}", here.get(f"snapshots/{id_}"), remote)
            here.put(problem.file, data)
        except MlipstoreError:
            continue
        out.append(f"{problem.file} fetched from {remote}")


def _let_go(objects: Objects, where: str, report: Report, out: list[str]) -> None:
    """Take away tags that name nothing: while they are there, nothing can be copied or cleaned."""
    for problem in report.problems:
        if problem.severity == VERSION and problem.file.startswith("refs/tag."):
            name = problem.file.split("/")[1].partition(".")[2]
            objects.delete(problem.file)
            objects.remove_emptied(problem.file.rpartition("/")[0])
            again = shlex.join(["mlipstore", "tag", where, name])
            out.append(f"tag {name}, which named no version, is gone: {again} --ref VERSION gives the name again")


def _sealed_by(objects: Objects, versions: list[str], key: str) -> Digest | None:
    """What a seal here says about a file."""
    id_ = key.partition("/")[2] if key.startswith(("snapshots/", "transactions/")) else ""
    try:
        found = read_seal(objects, id_, "") if id_ else None
    except MlipstoreError:
        return None
    return found.get(key) if found else None


def _seal_anew(objects: Objects, id_: str, where: str, out: list[str]) -> None:
    try:
        seal(objects, id_, where)
        out.append(f"seals/{id_} written anew")
    except StoreError:
        objects.delete(f"seals/{id_}")


def _go_back(objects: Objects, where: str, report: Report, found: Found, out: list[str]) -> None:
    """Let a branch whose newest version is not known, or cannot be read, name the newest one that can be.

    What it alone led to is what no other name leads to; a version that was committed has a seal.
    """
    broken = {p.file for p in report.problems if p.severity == VERSION and p.file.startswith("snapshots/")}
    refs = [p.file for p in report.problems if p.severity == VERSION and p.file.startswith("refs/branch.")]
    refs += [ref_key(*ref) for ref, id_ in found.refs.items() if ref[0] == "branch" and f"snapshots/{id_}" in broken]
    if not refs:
        return
    line: dict[str, Version] = {}
    sealed_: set[str] = set()
    for info in objects.listing("snapshots/"):
        try:
            version = parse_snapshot(info.key, objects.get(info.key), where, nodes=False)
            digests = read_seal(objects, version.id, where)
        except StoreError:
            continue
        if info.key not in broken and (digests is None or digests[info.key] == Digest.of(objects.get(info.key))):
            line[version.id] = version
            sealed_.update([version.id] if digests else [])
    readable = {id_: v for id_, v in line.items() if v.parent is not None}
    named = {id_ for tip in found.refs.values() for id_ in _line(line, tip)}

    def unnamed() -> set[str]:
        """The newest versions of what no name leads to."""
        alone = readable.keys() - named
        return alone - {readable[id_].parent for id_ in alone}

    def give(name: str, key: str, id_: str, why: str) -> None:
        objects.put(key, f'{{"snapshot":"{id_}"}}'.encode())
        out.append(f"branch {name} names {id_[:8]} now ({readable[id_].message!r}), {why}")
        named.update(_line(line, id_))

    if not readable:
        return
    for key in sorted(refs, key=lambda key: (key != ref_key("branch", "main"), key)):
        tips = unnamed()
        newest = max(tips or readable, key=lambda id_: (id_ in sealed_, readable[id_].flushed_at))
        why = "the newest version that is whole" + (" and that no other name leads to" if tips else "")
        if not tips and found.refs:
            look = shlex.join(["mlipstore", "log", where])
            why += f": other names lead to all there are, so see whether it is that one ({look})"
        give(key.split("/")[1].partition(".")[2], key, newest, why)
    for id_ in sorted(unnamed() & sealed_):
        name = f"found-{id_[:8]}"
        give(name, ref_key("branch", name), id_, "which no other name leads to: --delete it if nobody misses it")


def _line(versions: dict[str, Version], id_: str | None) -> Iterator[str]:
    """A version and those before it."""
    while id_ in versions:
        yield id_
        id_ = versions[id_].parent


def _derive(place: Place, report: Report, out: list[str], command: str) -> None:
    """Remove what can be made again from the newest version of each branch, and make the index."""
    paths = {p.path for p in report.problems if p.severity == DERIVED and p.path}
    if not paths:
        return
    for branch in Repository.open(place).branches():
        repository = Repository.open(place, branch)
        snapshot = repository.at()
        parts = {_unit(p) for p in paths if not p.startswith("index")}
        gone = sorted(u for u in parts if snapshot.exists(u) and _is_hurt(snapshot, u))
        again = any(p.startswith("index") for p in paths) and not _index_is_whole(snapshot)
        if not gone and not again:
            continue
        metadata = commit_metadata("repair", command, new_run(), removed=gone, index=again)
        with repository.transaction("repair", metadata, exclusive=True) as tx:
            for path in gone:
                del tx.root[path]
            if again:
                lost = _index_anew(repository, snapshot, tx.root)
                out.append(f"index of {branch} made anew" + (f" ({lost})" if lost else ""))
        out += [f"{path} removed from {branch}: the next run makes it again" for path in gone]


def _unit(path: str) -> str:
    """The group that is made in one go."""
    return "/".join(path.split("/")[: 4 if path.startswith("factors/") else 3])


def _is_hurt(snapshot: Snapshot, path: str) -> bool:
    """Whether a number below a group of this version cannot be read."""
    try:
        for name in snapshot.names(path):
            if name != "zarr.json":
                snapshot.read(f"{path}/{name}")
        snapshot.attributes(path)
    except MlipstoreError:
        return True
    return False


def _index_is_whole(snapshot: Snapshot) -> bool:
    try:
        index = Index.load(snapshot)
        if {s.name for s in index.segments} != set(snapshot.names("configurations")):
            return False
        for s in index.segments:
            rows = index.rows(s.name)
            uid = snapshot.read(f"configurations/{s.name}/uid")
            if not np.array_equal(index.uid[rows], uid) or (index.state[rows] > MOVED).any():
                return False
        _ = index.geometry, index.segment, index.position, index.facts, index.elements
    except (MlipstoreError, IndexError, ValueError):
        return False
    return True


def _index_anew(repository: Repository, snapshot: Snapshot, root: zarr.Group) -> str:
    """Make the index from the segments; what was removed or replaced comes from the newest version that tells.

    :return: what could not be found out
    """
    there = snapshot.names("configurations")
    try:
        order = [s.name for s in segments(snapshot)]
    except MlipstoreError:
        order = []
    order = [name for name in order if name in there]
    order += [name for name in there if name not in order]
    states, lost = _states(repository, snapshot, set(order))
    del root["index"]
    make_index(root)
    marks: list[Any] = []
    for name in order:
        batch = read_batch(snapshot, name)
        enter(root, {name: batch})
        marks.append(states.get(name, np.full(len(batch), LIVE, np.uint8)))
    group = root["index"]
    assert isinstance(group, zarr.Group)
    if marks:
        overwrite(group, "state", np.concatenate(marks))
    group.attrs.update(sealed({k: v for k, v in group.attrs.asdict().items() if k != "digest"}))
    return lost


def _states(repository: Repository, snapshot: Snapshot, wanted: set[str]) -> tuple[dict[str, Any], str]:
    for i, commit in enumerate(walk(repository._repository, snapshot.id)):
        try:
            index = Index.load(snapshot if i == 0 else repository.at(commit.id))
            found = {s.name: index.state[index.rows(s.name)] for s in index.segments}
            if i == 0:
                return found, ""
            what = (
                ""
                if wanted <= found.keys() and not _removed_since(repository, commit.id)
                else (f"what was removed or relabelled after {commit.id[:8]} counts again")
            )
            return found, what
        except MlipstoreError:
            continue
    return {}, "what was removed or relabelled counts again: no version tells"


def _removed_since(repository: Repository, id_: str) -> bool:
    for commit in walk(repository._repository, repository.find()):
        if commit.id == id_:
            return False
        if commit.verb in ("remove", "relabel", "revert", "restore"):
            return True
    return True
