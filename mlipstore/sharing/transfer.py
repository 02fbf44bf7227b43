"""Copying the files of versions from one place to another: only what is missing, versions last.

A version is written after everything it needs, its parent included, and a ref after its version: whatever is cut off
leaves a place that can be read, and the next copy finds what has arrived.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DamagedStoreError, StoreError
from ..icefiles.files import Chunk, Version, chunk_is_whole, damaged, parse_manifest, parse_snapshot
from ..icefiles.seals import Digest, parse_seal, read_seal
from ..places import ObjectMissing, Objects

#: ``progress(bytes done, bytes in all)``
Progress = Callable[[int, int], None]
#: More files than this are looked up by listing, on servers where every look is a request.
_LIST_FROM = 200
#: Bytes under way at once.
_IN_FLIGHT = 256 << 20
#: Bytes of small files kept in memory, and manifests read together.
_HOLD, _TOGETHER = 128 << 20, 256


@dataclass
class Transfer:
    """What was copied; ``there`` are files that were there already."""

    objects: int = 0
    bytes: int = 0
    there: list[str] = field(default_factory=list)


class _Waiting:
    """Files that are written at the end, in memory or, when they are many, in a temporary folder."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self._held: dict[str, bytes] = {}
        self._room = _HOLD
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __setitem__(self, key: str, data: bytes) -> None:
        self.sizes[key] = len(data)
        self._room -= len(data)
        if self._room > 0:
            self._held[key] = data
            return
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mlipstore-")
        try:
            Path(self._folder.name, key.replace("/", "-")).write_bytes(data)
        except OSError as error:
            raise StoreError(f"{self._folder.name}: {error.strerror}. Free space, or set TMPDIR.") from error

    def __getitem__(self, key: str) -> bytes:
        if key in self._held or self._folder is None:
            return self._held[key]
        return Path(self._folder.name, key.replace("/", "-")).read_bytes()

    def __contains__(self, key: str) -> bool:
        return key in self.sizes

    def of(self, *kinds: str) -> list[str]:
        """Names of the files of these folders, in the order in which they came."""
        return [key for kind in kinds for key in self.sizes if key.startswith(kind)]


class Copier:
    """Copies versions from ``source`` to ``target``.

    :param known: versions that the target has, complete
    """

    def __init__(
        self, source: Objects, target: Objects, known: Collection[str], where: str, progress: Progress | None = None
    ) -> None:
        self.source, self.target, self.known, self.where = source, target, known, where
        self.progress = progress or (lambda done, total: None)
        self.result = Transfer()
        self._chunks: dict[str, int] = {}
        self._small = _Waiting()

    def copy(self, tips: Iterable[str]) -> Transfer:
        """Copy these versions with all that came before them.

        :raises DamagedStoreError: a file of the source is not what it was; nothing refers to what was copied
        :raises StoreError: the connection or the disk gives up; the same call continues
        """
        with ThreadPoolExecutor(min(self.source.parallel, 16)) as pool:
            try:
                self._look(pool, tips)
                self._write(pool)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return self.result

    def complete(self) -> None:
        """Under the lock of the target: write again what a collection of garbage there has removed meanwhile."""
        gone = [key for key in self.result.there if self.target.size(key) is None]
        for key in gone:
            self.target.put(key, self._small[key] if key in self._small else self._fetch(key))

    # ------------------------------------------------------------ what is needed
    def _look(self, pool: ThreadPoolExecutor, tips: Iterable[str]) -> None:
        fetched = _Waiting()
        try:
            self._follow(pool, tips, fetched)
        except DamagedStoreError:
            self._blame(fetched)
            raise

    def _blame(self, fetched: _Waiting) -> None:
        """A version that is itself hurt leads to files that never were: it is what has to be named."""
        for key in fetched.sizes:
            seal = read_seal(self.source, key.partition("/")[2], self.where)
            if seal is not None and key in seal and Digest.of(fetched[key]) != seal[key]:
                raise damaged(self.where, key, "it does not match its seal") from None

    def _follow(self, pool: ThreadPoolExecutor, tips: Iterable[str], fetched: _Waiting) -> None:
        """From versions to their parents, to manifests, to chunks."""
        wanted, versions = deque(tips), dict[str, Version]()
        old = set[str]()
        while wanted:
            id_ = wanted.popleft()
            if id_ in versions:
                continue
            key = f"snapshots/{id_}"
            if id_ in self.known and self.target.size(key) is not None:  # it may have expired there
                old |= set(parse_snapshot(key, self.target.get(key), self.where, nodes=False).manifests)
                continue
            fetched[key] = data = self._fetch(key)
            versions[id_] = version = parse_snapshot(key, data, self.where, nodes=False)
            if version.parent is not None:
                wanted.append(version.parent)
        order = _oldest_first(versions)
        seals: dict[str, Digest] = {}
        for id_, found in zip(order, pool.map(self._beside, order), strict=True):
            for key, data in found.items():
                self._small[key] = data
                if key.startswith("seals/"):
                    seals.update(parse_seal(data, id_, self.where))
        new = [f"manifests/{m}" for m in sorted({m for version in versions.values() for m in version.manifests} - old)]
        for start in range(0, len(new), _TOGETHER):
            some = new[start : start + _TOGETHER]
            for key, data in zip(some, pool.map(self._fetch, some), strict=True):
                self._small[key] = data
                for chunks in parse_manifest(key, data, self.where).values():
                    for chunk in chunks:
                        self._note(key, chunk)
        for id_ in order:
            self._small[f"snapshots/{id_}"] = fetched[f"snapshots/{id_}"]
        for key in self._small.sizes:
            if key in seals and Digest.of(self._small[key]) != seals[key]:
                raise damaged(self.where, key, "it does not match its seal")

    def _note(self, key: str, chunk: Chunk) -> None:
        if chunk.location is not None:
            raise damaged(self.where, key, "it points to files outside the store")
        if chunk.id is not None:
            self._chunks[f"chunks/{chunk.id}"] = chunk.offset + chunk.length
        elif chunk.inline is None or not chunk_is_whole(chunk.inline):
            raise damaged(self.where, key, "a chunk in it does not match its checksum")

    def _beside(self, id_: str) -> dict[str, bytes]:
        """Transaction and seal of a version, as far as there are."""
        out = {}
        for key in (f"transactions/{id_}", f"seals/{id_}"):
            try:
                out[key] = self.source.get(key)
            except ObjectMissing:
                continue
        return out

    # -------------------------------------------------------------------- copying
    def _write(self, pool: ThreadPoolExecutor) -> None:
        every = {**self._chunks, **self._small.sizes}
        have = self._present(pool, [*every])
        todo = {key: size for key, size in every.items() if have.get(key) != size}
        total = sum(todo.values())
        self.result.there = [key for key in every if key not in todo]
        self.progress(0, total)
        under_way: deque[tuple[int, Future[int]]] = deque()
        flying = 0
        for key in todo.keys() & self._chunks.keys():
            while flying > _IN_FLIGHT or len(under_way) > 4 * self.source.parallel:
                flying -= self._settle(under_way, total)
            under_way.append((todo[key], pool.submit(self._copy_chunk, key, todo[key])))
            flying += todo[key]
        while under_way:
            self._settle(under_way, total)
        for n in pool.map(self._put, [k for k in self._small.of("manifests/", "transactions/", "seals/") if k in todo]):
            self._done(n, total)
        for key in self._small.of("snapshots/"):  # one after another: each stands upon the one before
            if key in todo:
                self._done(self._put(key), total)

    def _settle(self, under_way: deque[tuple[int, Future[int]]], total: int) -> int:
        size, future = under_way.popleft()
        self._done(future.result(), total)
        return size

    def _done(self, n: int, total: int) -> None:
        self.result.bytes += n
        self.result.objects += 1
        self.progress(self.result.bytes, total)

    def _put(self, key: str) -> int:
        self.target.put(key, self._small[key])
        return self._small.sizes[key]

    def _copy_chunk(self, key: str, size: int) -> int:
        data = self._fetch(key)
        if len(data) != size or not chunk_is_whole(data):
            data = self._fetch(key)  # the way here may be to blame
        if len(data) != size or not chunk_is_whole(data):
            raise damaged(self.where, key, "it does not match its checksum")
        self.target.put(key, data)
        return size

    def _fetch(self, key: str) -> bytes:
        try:
            return self.source.get(key)
        except ObjectMissing:
            raise damaged(self.where, key, "it is missing") from None

    def _present(self, pool: ThreadPoolExecutor, keys: list[str]) -> dict[str, int]:
        """Sizes of those files that the target has."""
        if self.target.parallel > 8 and len(keys) > _LIST_FROM:
            wanted = set(keys)
            folders = sorted({key.partition("/")[0] + "/" for key in keys})
            return {f.key: f.size for folder in folders for f in self.target.listing(folder) if f.key in wanted}
        sizes = pool.map(self.target.size, keys)
        return {key: size for key, size in zip(keys, sizes, strict=True) if size is not None}


def _oldest_first(versions: dict[str, Version]) -> list[str]:
    """Each after its parent."""
    out: list[str] = []
    placed: set[str] = set()
    for start in versions:
        line = []
        at: str | None = start
        while at is not None and at in versions and at not in placed:
            placed.add(at)
            line.append(at)
            at = versions[at].parent
        out += reversed(line)
    return out
