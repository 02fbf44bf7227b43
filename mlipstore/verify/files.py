"""Checking the files of a store one by one, without Icechunk: what it would panic about is a finding here."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..errors import DamagedStoreError, StoreError
from ..history import RESEGMENTED
from ..icefiles.files import (
    KINDS,
    Chunk,
    Version,
    chunk_is_whole,
    expected_chunks,
    parse_manifest,
    parse_ref,
    parse_snapshot,
    ref_name,
)
from ..icefiles.seals import Digest, parse_seal
from ..layout import segment_of
from ..places import ObjectMissing, Objects
from ..sharing.refs import lost_refs
from ..sharing.transfer import Progress
from .report import DERIVED, HARMLESS, LOST, VERSION, Problem, Report

#: First parts of paths that can be computed again from the rest.
_DERIVED = ("features", "baselines", "factors", "index")


@dataclass
class Found:
    """What the files of a store say.

    :param refs: version that each ref (``branch main``) names
    :param versions: those that can be read; ``broken``: those that cannot
    """

    refs: dict[tuple[str, str], str] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    needed: set[str] = field(default_factory=set)

    def names_of(self, id_: str) -> list[str]:
        return [name for (_, name), version in sorted(self.refs.items()) if version == id_] or [id_]


def severity_of(path: str) -> str:
    """Whether what lies at a path can be computed again: rows, factors and the index can."""
    parts = path.split("/")
    if parts[0] == "index":
        return DERIVED
    # a feature's own attributes are its settings; arrays below a segment are rows
    return DERIVED if parts[0] in _DERIVED and len(parts) >= 4 else LOST


def check_files(objects: Objects, where: str, report: Report, progress: Progress | None = None) -> Found:
    """Check every file that a ref leads to, and count those that none does."""
    found = Found()
    _refs(objects, where, report, found)
    with ThreadPoolExecutor(min(objects.parallel, 16)) as pool:
        _versions(objects, where, report, found)
        chunks = _manifests(pool, objects, where, report, found)
        _chunks(pool, objects, report, chunks, progress)
    report.versions = len(found.versions)
    for kind in KINDS:
        for info in objects.listing(f"{kind}/"):
            if info.key not in found.needed:
                report.orphans += 1
                report.orphan_bytes += info.size
    return found


def _refs(objects: Objects, where: str, report: Report, found: Found) -> None:
    lost = lost_refs(objects)
    keys = {f.key for f in objects.listing("refs/")}
    for key in sorted(keys):
        named = ref_name(key)
        if named is None or f"{key}.deleted" in keys:
            continue
        try:
            found.refs[named] = parse_ref(key, objects.get(key), where)
        except StoreError as error:
            what = _why(error)
            report.add(Problem(VERSION, key, what, versions=[named[1]]))
    for key in {*lost}.intersection(lost_refs(objects)) - keys:  # a name may just come or go
        report.add(Problem(VERSION, key, "it is missing", versions=[key.split("/")[1].partition(".")[2]]))
    if ("branch", "main") not in found.refs and "refs/branch.main/ref.json" not in keys:
        report.add(Problem(VERSION, "refs/branch.main/ref.json", "it is missing", versions=["main"]))


def _versions(objects: Objects, where: str, report: Report, found: Found) -> None:
    """Follow refs and parents."""
    waiting = deque(dict.fromkeys(found.refs.values()))
    child: dict[str, str] = {}
    while waiting:
        id_ = waiting.popleft()
        if id_ in found.versions or id_ in found.broken:
            continue
        key = f"snapshots/{id_}"
        found.needed |= {key, f"transactions/{id_}", f"seals/{id_}"}
        names = found.names_of(child.get(id_, id_))
        try:
            data = objects.get(key)
            version = parse_snapshot(key, data, where)
            seal = _seal(objects, where, id_, report, names)
            if seal is not None and seal.get(key) != Digest.of(data):
                raise DamagedStoreError(f"{where}: the file {key} is damaged (it does not match its seal).")
        except StoreError as error:
            found.broken.add(id_)
            report.add(Problem(VERSION, key, _why(error), versions=names))
            continue
        report.files += 1
        report.bytes += len(data)
        found.versions[id_] = version
        report.unsealed += seal is None and version.parent is not None
        if seal is not None:
            _transaction(objects, id_, seal, report)
        if version.parent is not None:
            child.setdefault(version.parent, child.get(id_, id_))
            waiting.append(version.parent)
    for id_, version in found.versions.items():
        _vanished(id_, version, found, report)


def _seal(objects: Objects, where: str, id_: str, report: Report, names: list[str]) -> dict[str, Digest] | None:
    try:
        return parse_seal(objects.get(f"seals/{id_}"), id_, where)
    except ObjectMissing:
        return None
    except DamagedStoreError as error:
        report.add(Problem(DERIVED, f"seals/{id_}", _why(error), versions=names))
        return None


def _transaction(objects: Objects, id_: str, seal: dict[str, Digest], report: Report) -> None:
    key = f"transactions/{id_}"
    if key not in seal:
        return
    try:
        whole = Digest.of(objects.get(key)) == seal[key]
        what = "it does not match its seal"
    except StoreError as error:
        whole, what = False, _why(error)
    if not whole:
        report.add(Problem(HARMLESS, key, what))


def _vanished(id_: str, version: Version, found: Found, report: Report) -> None:
    """Configurations are never taken out of a version: a segment that its parent has must be there, or be merged."""
    before = found.versions.get(version.parent or "")
    if before is None or RESEGMENTED in version.metadata_keys:
        return
    mine = {n.path for n in version.nodes}
    for node in before.nodes:
        parts = node.path.split("/")
        if parts[0] in ("configurations", "atoms") and len(parts) == 2 and node.path not in mine:
            where = f"snapshots/{id_}"
            what = f"{node.path} of the version before is gone"
            if any(n.path.split("/")[0] == parts[0] and n.path not in {b.path for b in before.nodes}
                   for n in version.nodes):  # fmt: skip
                report.add(Problem(VERSION, where, what, node.path, segment_of(node.path), found.names_of(id_)))


@dataclass
class _Use:
    """What a chunk belongs to."""

    size: int
    path: str
    versions: list[str]


def _manifests(pool: ThreadPoolExecutor, objects: Objects, where: str, report: Report, found: Found) -> dict[str, _Use]:
    """Check all manifests, and that each array has the chunks it must have; the chunk files that are needed."""
    users: dict[str, tuple[str, str]] = {}  # manifest: path, version
    for id_ in _newest_first(found):
        for node in found.versions[id_].nodes:
            for name in node.manifests:
                users.setdefault(name, (node.path, id_))
        for name in found.versions[id_].manifests:
            users.setdefault(name, ("", id_))
    digests: dict[str, Digest] = {}
    for id_ in found.versions:
        try:
            digests |= parse_seal(objects.get(f"seals/{id_}"), id_, where)
        except StoreError:
            continue
    listed: dict[tuple[str, bytes], dict[tuple[int, ...], Chunk]] = {}
    bad: set[str] = set()

    def read(name: str) -> tuple[str, dict[bytes, list[Chunk]], int, str]:
        key = f"manifests/{name}"
        try:
            data = objects.get(key)
            if key in digests and digests[key] != Digest.of(data):
                return name, {}, 0, "it does not match its seal"
            return name, parse_manifest(key, data, where), len(data), ""
        except StoreError as error:
            return name, {}, 0, _why(error)

    uses: dict[str, _Use] = {}
    for name, arrays, size, what in pool.map(read, sorted(users)):
        path, id_ = users[name]
        key = f"manifests/{name}"
        found.needed.add(key)
        report.files += 1
        report.bytes += size
        if what:
            bad.add(name)
            report.add(Problem(severity_of(path), key, what, path, segment_of(path), found.names_of(id_)))
        for node_id, chunks in arrays.items():
            listed[name, node_id] = {c.index: c for c in chunks}
            for chunk in chunks:
                _note(chunk, key, path, found.names_of(id_), uses, report)
    _complete(found, listed, bad, report)
    found.needed |= uses.keys()
    return uses


def _note(chunk: Chunk, key: str, path: str, versions: list[str], uses: dict[str, _Use], report: Report) -> None:
    if chunk.location is not None:
        report.add(Problem(LOST, key, "it points to files outside the store", path, segment_of(path), versions))
    elif chunk.id is not None:
        uses.setdefault(f"chunks/{chunk.id}", _Use(chunk.offset + chunk.length, path, versions))
    elif chunk.inline is None or not chunk_is_whole(chunk.inline):
        what = "a chunk in it does not match its checksum"
        report.add(Problem(severity_of(path), key, what, path, segment_of(path), versions))


def _complete(
    found: Found, listed: dict[tuple[str, bytes], dict[tuple[int, ...], Chunk]], bad: set[str], report: Report
) -> None:
    seen: set[tuple[bytes, bytes, tuple[str, ...]]] = set()
    for id_ in _newest_first(found):
        for node in found.versions[id_].nodes:
            if not node.is_array or (node.id, node.metadata, node.manifests) in seen:
                continue
            seen.add((node.id, node.metadata, node.manifests))
            if bad.intersection(node.manifests):
                continue
            have = {i for name in node.manifests for i in listed.get((name, node.id), ())}
            try:
                document: dict[str, Any] = json.loads(node.metadata)
                lacking = [i for i in expected_chunks(document) if i not in have]
            except (ValueError, KeyError, TypeError, AttributeError):
                what = f"the description of {node.path} is damaged"
                severity = VERSION if severity_of(node.path) == LOST else DERIVED
                report.add(Problem(severity, f"snapshots/{id_}", what, node.path, segment_of(node.path),
                                   found.names_of(id_)))  # fmt: skip
                continue
            if lacking:
                what = f"{len(lacking)} of its chunks are not listed"
                report.add(Problem(severity_of(node.path), "", what, node.path, segment_of(node.path),
                                   found.names_of(id_)))  # fmt: skip


def _chunks(
    pool: ThreadPoolExecutor, objects: Objects, report: Report, uses: dict[str, _Use], progress: Progress | None
) -> None:
    total, done = sum(u.size for u in uses.values()), 0

    def check(key: str) -> tuple[str, str]:
        try:
            data = objects.get(key)
        except StoreError as error:
            return key, _why(error)
        if len(data) != uses[key].size:
            return key, f"it has {len(data):,} bytes, expected {uses[key].size:,}"
        return key, "" if chunk_is_whole(data) else "it does not match its checksum"

    for key, what in _few_at_once(pool, check, iter(sorted(uses)), 4 * objects.parallel):
        use = uses[key]
        done += use.size
        report.files += 1
        report.bytes += use.size
        if what:
            report.add(Problem(severity_of(use.path), key, what, use.path, segment_of(use.path), use.versions))
        if progress is not None:
            progress(done, total)


def _few_at_once(pool: ThreadPoolExecutor, function: Any, keys: Iterator[str], n: int) -> Iterator[tuple[str, str]]:
    """As ``pool.map``, without asking for everything at once."""
    waiting: deque[Future[tuple[str, str]]] = deque()
    for key in keys:
        waiting.append(pool.submit(function, key))
        if len(waiting) >= n:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _newest_first(found: Found) -> list[str]:
    return sorted(found.versions, key=lambda id_: -found.versions[id_].flushed_at)


def _why(error: Exception) -> str:
    """The reason in an error of ours about a file."""
    text = str(error)
    if "is missing" in text:
        return "it is missing"
    _, found, rest = text.partition("is damaged (")
    return rest.partition(")")[0] if found else text
