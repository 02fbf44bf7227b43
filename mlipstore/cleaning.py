"""``gc``: forget old versions, and remove files that no version needs."""

from __future__ import annotations

import datetime
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from shlex import quote
from typing import Any

import icechunk

from .errors import SettingsError, StoreError
from .icefiles.files import KINDS, Version, parse_manifest, parse_snapshot
from .icefiles.seals import Digest, read_seal, seal
from .leases import CLAIMS, SKEW, oldest
from .places import Info, Objects
from .places.lock import over
from .sharing.refs import Refs, lost_refs
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
    result = Collected(dry_run=dry_run)
    needed = _Needed(objects, where)

    def before() -> float | None:
        return None if expire is None else min(now - expire, needed.read_since(now - grace))

    try:
        needed.look(before())
    except StoreError:  # another process collects, or something is wrong: the lock shows which
        needed.start()
    with repository.locked():
        writer = oldest(objects)
        cutoff = min(now - grace, now if writer is None else writer - SKEW)
        forget = before()
        needed.look(forget)
        result.expired = needed.forgotten
        if forget is not None and result.expired and not dry_run:
            _forget(repository, objects, where, forget)
            needed.start()
            needed.look(None)
        goners = []
        for info in objects.listing(""):
            kind = info.key.partition("/")[0]
            stray = _STRAY.search(info.key) or "#" in info.key
            if info.key in needed.keep or (kind not in KINDS and not stray):
                continue
            if info.modified > cutoff:
                result.young += 1
                continue
            goners.append(info)
        _remove(objects, goners, result, progress)
        if not dry_run:
            for info in list(objects.listing(CLAIMS)):
                found = objects.versioned(info.key)
                if found is not None and over(found[0]):
                    objects.delete(info.key)
    return result


def _remove(objects: Objects, goners: list[Info], result: Collected, progress: Progress | None) -> None:
    """Remove files, versions before what they need: a kill leaves none that cannot be read."""

    def rank(info: Info) -> int:
        kind = info.key.partition("/")[0]
        return -1 if kind not in KINDS else KINDS.index(kind)

    goners.sort(key=rank, reverse=True)
    with ThreadPoolExecutor(objects.parallel) as pool:
        for _, alike in groupby(goners, rank):
            infos = list(alike)
            done = infos if result.dry_run else pool.map(objects.delete, [i.key for i in infos])
            for info, _ in zip(infos, done, strict=True):
                result.files += 1
                result.bytes += info.size
                if progress is not None:
                    progress(result.files, len(goners))


class _Needed:
    """The files that branches and tags lead to.

    Versions and lists of chunks do not change, so what was read before the lock is taken is not read again under it:
    on a server, writers would wait for thousands of answers.

    :param keep: names of files
    """

    def __init__(self, objects: Objects, where: str) -> None:
        self.objects, self.where = objects, where
        self._chunks: dict[str, list[str]] = {}
        self.start()

    def start(self, before: float | None = None) -> None:
        """Follow all versions anew, which may be others now; lists of chunks stay known."""
        self._before = before
        self._line: dict[str, tuple[str | None, float]] = {}
        self._seen: set[str] = set()
        self._kept: set[str] = set()
        self._expired: set[str] = set()
        self._manifests: set[str] = set()
        self.keep: set[str] = set()

    @property
    def forgotten(self) -> int:
        """How many versions are too old to be kept."""
        return len(self._expired - self._kept)

    def _version(self, id_: str) -> Version:
        key = f"snapshots/{id_}"
        version = parse_snapshot(key, self.objects.get(key), self.where, nodes=False)
        self._line[id_] = version.parent, version.flushed_at / 1e6
        return version

    def look(self, before: float | None) -> None:
        """Follow branches and tags as they are now; what was followed before is not read again.

        :param before: versions that are older, and that no ref names, do not count
        :raises DamagedStoreError: a version or a list of chunks cannot be read
        """
        if before != self._before:
            self.start(before)
        refs = Refs.read(self.objects, self.where)
        tips = {*refs.branches.values(), *refs.tags.values()}
        if "main" not in refs.branches:
            how = f"mlipstore verify {quote(self.where)} says what happened."
            raise StoreError(f"{self.where} has no branch main. {how}")
        for key in lost_refs(self.objects):
            kind, _, name = key.split("/")[1].partition(".")
            raise StoreError(
                f"{self.where}: the file of the {kind} {name!r} is lost ({key}), and what it led to would be removed. "
                f"mlipstore verify {quote(self.where)} --repair mends that; if the {kind} was removed on purpose, "
                f"mlipstore {kind} {quote(self.where)} {quote(name)} --delete says so."
            )
        waiting: list[tuple[str, bool]] = [(tip, True) for tip in tips]
        while waiting:
            id_, counts = waiting.pop()
            if id_ in self._kept or (not counts and id_ in self._seen):
                continue
            self._seen.add(id_)
            version = self._version(id_)
            files = {f"{kind}/{id_}" for kind in ("snapshots", "transactions", "seals")}
            old = before is not None and version.flushed_at / 1e6 < before and id_ not in tips
            # the first version, which is empty, always stays: all others lead to it
            if counts and (not old or version.parent is None):
                self._kept.add(id_)
                self.keep |= files
                self._manifests |= version.manifests.keys()
            elif version.parent is None:
                self.keep |= files
            else:
                self._expired.add(id_)
            if version.parent is not None:
                waiting.append((version.parent, counts and not old))
        self._read_lists()
        for name in self._manifests:
            self.keep.add(f"manifests/{name}")
            self.keep.update(self._chunks[name])

    def _read_lists(self) -> None:
        """Names of the files with the chunks of each manifest that is not known yet."""

        def read(name: str) -> list[str]:
            key = f"manifests/{name}"
            chunks = parse_manifest(key, self.objects.get(key), self.where).values()
            return [f"chunks/{c.id}" for some in chunks for c in some if c.id is not None]

        new = self._manifests - self._chunks.keys()
        with ThreadPoolExecutor(self.objects.parallel) as pool:
            self._chunks.update(zip(new, pool.map(read, new), strict=True))

    def read_since(self, since: float) -> float:
        """Time of the oldest version that was the newest of its branch at some time since then."""
        oldest_read = float("inf")
        for tip in Refs.read(self.objects, self.where).branches.values():
            at: str | None = tip
            while at is not None:
                if at not in self._line:
                    self._version(at)
                parent, time_ = self._line[at]
                if at != tip:  # branches keep their newest in any case
                    oldest_read = min(oldest_read, time_)
                at = None if time_ <= since else parent
        return oldest_read - 1e-3


def _forget(repository: Repository, objects: Objects, where: str, before: float) -> None:
    """Cut the line of versions; the oldest that stays follows upon the first one, so its file and seal change."""

    def is_whole(id_: str) -> bool:
        key = f"snapshots/{id_}"
        sealed = read_seal(objects, id_, where)
        return sealed is not None and sealed.get(key) == Digest.of(objects.get(key))

    def seal_again(id_: str) -> None:
        if objects.size(f"snapshots/{id_}") is not None and not is_whole(id_):
            seal(objects, id_, where)

    with ThreadPoolExecutor(objects.parallel) as pool:
        ids = [info.key.partition("/")[2] for info in objects.listing("snapshots/")]
        whole = [id_ for id_, yes in zip(ids, pool.map(is_whole, ids), strict=True) if yes]
        try:
            repository._repository.expire_snapshots(datetime.datetime.fromtimestamp(before, datetime.UTC))
        except icechunk.IcechunkError as error:
            raise translate(error, where, "forgetting old versions") from error
        list(pool.map(seal_again, whole))
