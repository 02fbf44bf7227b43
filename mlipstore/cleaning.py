"""``gc``: forget old versions, and remove files that no version needs."""

from __future__ import annotations

import datetime
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import icechunk

from .errors import SettingsError, StoreError
from .icefiles.files import KINDS, parse_manifest, parse_snapshot
from .icefiles.seals import Digest, read_seal, seal
from .leases import CLAIMS, SKEW, oldest
from .places import Objects
from .places.lock import over
from .sharing.refs import Refs
from .store import Repository
from .store_errors import translate

Progress = Callable[[int, int], None]
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|w)?")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, None: 86400.0}
_STRAY = re.compile(r"(^|/)\.[^/]+\.part$")


@dataclass
class Collected:
    """What was removed, or would be.

    :param young: files that no version needs and that stay: too new, or a writer is at work
    """

    files: int = 0
    bytes: int = 0
    expired: int = 0
    young: int = 0
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def age(text: str) -> float:
    """Seconds that ``30d``, ``12h``, ``2w`` stand for; a bare number means days.

    :raises SettingsError: it is no age
    """
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise SettingsError(f"{text!r} is no age. Write 30d, 12h, 2w, 30min or 0s.")
    return float(found[1]) * _SECONDS[found[2]]


def gc(
    store: str | os.PathLike[str] | Repository,
    expire: float | None = None,
    grace: float = 3600.0,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Collected:
    """Remove files that no branch and no tag leads to.

    :param expire: also forget versions that are older (seconds), but for those that branches and tags name
    :param grace: files younger than this (seconds) stay, and all that are younger than the oldest writer at work, and
        versions that were the newest of their branch since then, which somebody may be reading
    :raises DamagedStoreError: a version or a list of chunks cannot be read, so that it is not known what it needs
    """
    repository = store if isinstance(store, Repository) else Repository.open(store)
    objects, where = repository.objects, str(repository.path)
    now = time.time()
    before = None if expire is None else now - expire
    result = Collected(dry_run=dry_run)
    with repository.locked():
        writer = oldest(objects)
        cutoff = min(now - grace, now if writer is None else writer - SKEW)
        if before is not None:
            before = min(before, _read_since(objects, where, now - grace))
        keep, result.expired = _needed(objects, where, before)
        if not dry_run and result.expired:
            _forget(repository, objects, where, before)
            keep, _ = _needed(objects, where, None)
        goners = []
        for info in objects.listing(""):
            kind = info.key.partition("/")[0]
            stray = _STRAY.search(info.key) or "#" in info.key
            if info.key in keep or (kind not in KINDS and not stray):
                continue
            if info.modified > cutoff:
                result.young += 1
                continue
            goners.append(info)
        goners.sort(key=lambda f: KINDS.index(kind) if (kind := f.key.partition("/")[0]) in KINDS else -1, reverse=True)
        for n, info in enumerate(goners):  # versions before what they need: a kill leaves none that cannot be read
            result.files += 1
            result.bytes += info.size
            if not dry_run:
                objects.delete(info.key)
            if progress is not None:
                progress(n + 1, len(goners))
        if not dry_run:
            for info in list(objects.listing(CLAIMS)):
                found = objects.versioned(info.key)
                if found is not None and over(found[0]):
                    objects.delete(info.key)
    return result


def _needed(objects: Objects, where: str, before: float | None) -> tuple[set[str], int]:
    """Names of the files that refs lead to, and how many versions are forgotten.

    :param before: versions that are older, and that no ref names, do not count
    """
    refs = Refs.read(objects, where)
    tips = {*refs.branches.values(), *refs.tags.values()}
    if "main" not in refs.branches:
        raise StoreError(f"{where} has no branch main. mlipstore verify {where} says what happened.")
    keep: set[str] = set()
    manifests: set[str] = set()
    expired: set[str] = set()
    seen: set[str] = set()
    waiting: list[tuple[str, bool]] = [(tip, True) for tip in tips]
    kept: set[str] = set()
    while waiting:
        id_, counts = waiting.pop()
        if id_ in kept or (not counts and id_ in seen):
            continue
        seen.add(id_)
        key = f"snapshots/{id_}"
        version = parse_snapshot(key, objects.get(key), where, nodes=False)
        old = before is not None and version.flushed_at / 1e6 < before and id_ not in tips
        # the first version, which is empty, always stays: all others lead to it
        if counts and (not old or version.parent is None):
            kept.add(id_)
            expired.discard(id_)
            keep |= {key, f"transactions/{id_}", f"seals/{id_}"}
            manifests |= version.manifests.keys()
        elif version.parent is None:
            keep |= {key, f"transactions/{id_}", f"seals/{id_}"}
        else:
            expired.add(id_)
        if version.parent is not None:
            waiting.append((version.parent, counts and not old))
    return keep | _chunks(objects, where, manifests), len(expired - kept)


def _read_since(objects: Objects, where: str, since: float) -> float:
    """Time of the oldest version that was the newest of its branch at some time since then."""
    oldest_read = float("inf")
    for tip in Refs.read(objects, where).branches.values():
        at: str | None = tip
        while at is not None:
            key = f"snapshots/{at}"
            version = parse_snapshot(key, objects.get(key), where, nodes=False)
            if at != tip:  # branches keep their newest in any case
                oldest_read = min(oldest_read, version.flushed_at / 1e6)
            at = None if version.flushed_at / 1e6 <= since else version.parent
    return oldest_read - 1e-3


def _chunks(objects: Objects, where: str, manifests: Iterable[str]) -> set[str]:
    """Names of manifests and of the chunk files that they list."""
    out: set[str] = set()
    for name in manifests:
        key = f"manifests/{name}"
        out.add(key)
        for chunks in parse_manifest(key, objects.get(key), where).values():
            out.update(f"chunks/{c.id}" for c in chunks if c.id is not None)
    return out


def _forget(repository: Repository, objects: Objects, where: str, before: float | None) -> None:
    """Cut the line of versions; the oldest that stays follows upon the first one, so its file and seal change."""
    assert before is not None
    whole = []
    for info in objects.listing("snapshots/"):
        id_ = info.key.partition("/")[2]
        sealed = read_seal(objects, id_, where)
        if sealed is not None and sealed.get(info.key) == Digest.of(objects.get(info.key)):
            whole.append(id_)
    try:
        repository._repository.expire_snapshots(datetime.datetime.fromtimestamp(before, datetime.UTC))
    except icechunk.IcechunkError as error:
        raise translate(error, where, "forgetting old versions") from error
    for id_ in whole:
        key = f"snapshots/{id_}"
        sealed = read_seal(objects, id_, where)
        if objects.size(key) is not None and sealed is not None and sealed[key] != Digest.of(objects.get(key)):
            seal(objects, id_, where)
