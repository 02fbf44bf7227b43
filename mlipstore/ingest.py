"""``ingest``: configurations of any format into the store, checked, hashed, in segments; nothing twice."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from .bookkeeping import ZERO_STRESS, Checks, check
from .compact import compact_pile
from .configuration import Batch
from .errors import InputError, SettingsError, counted, listed, nearest
from .executors import Executor
from .index import LIVE, Index, group_order, keys, segment_name, write_segments
from .layout import SEGMENT_ATOMS, SEGMENT_CONFIGURATIONS
from .portions import plan, read_all
from .provenance import commit_metadata, new_run
from .reading import ReadOptions, ReadReport
from .seen import Seen
from .store import Repository, Snapshot, StoreConflictError

#: Commit at most this often, in seconds: what a kill can lose.
_COMMIT_EVERY = 2.0
#: Commit at least so often, in segments: they wait in memory, for the case that another process is faster.
_COMMIT_SEGMENTS = 8
#: Attempts to commit what others were faster with.
_ATTEMPTS = 5

Progress = Callable[[int, int], None]


@dataclass
class IngestResult:
    """What an ingest found, added and assumed.

    :param small_segments: of all in the store, those that are less than half as large as they may be
    :param merged: how many of them were merged into larger ones afterwards
    """

    read: int = 0
    added: int = 0
    known: int = 0
    removed: int = 0
    relabelled: int = 0
    left_out: int = 0
    atoms: int = 0
    groups: Counter[str] = field(default_factory=Counter)
    segments: list[str] = field(default_factory=list)
    small_segments: int = 0
    merged: int = 0
    checks: Checks = field(default_factory=Checks)
    report: ReadReport = field(default_factory=ReadReport)
    snapshot: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "added": self.added,
            "already_there": self.known,
            "removed_earlier": self.removed,
            "geometries_there_with_other_labels": self.relabelled,
            "left_out": self.left_out,
            "atoms_added": self.atoms,
            "groups": dict(self.groups),
            "segments": self.segments,
            "small_segments_in_store": self.small_segments,
            "small_segments_merged": self.merged,
            "checks": self.checks.to_json(),
            "reader": self.report.to_json(),
            "refused": self.report.refused,
            "snapshot": self.snapshot,
            "seconds": self.seconds,
        }


def ingest(
    repository: Repository,
    sources: Sequence[str | Path],
    options: ReadOptions | None = None,
    format: str | None = None,
    zero_stress: str = "missing",
    include_groups: Sequence[str] | None = None,
    skip_bad: bool = False,
    executor: Executor | None = None,
    progress: Progress | None = None,
    command: str = "",
    merge_small: bool = True,
) -> IngestResult:
    """Read ``sources`` (files or folders) and store the configurations the store does not hold yet.

    A configuration is known by its content hash; exact copies inside the sources stay, as published sets have them.
    Killed and repeated, it continues after the last commit. Memory does not grow with the input.

    :param zero_stress: ``missing``: a stress tensor of zeros is a missing label; ``value``: it means zero pressure
    :param include_groups: keep only these groups
    :param skip_bad: leave out files that cannot be read, and list them, instead of stopping
    :param merge_small: see :func:`mlipstore.compact.compact_pile`
    :raises InputError: a file cannot be read or a configuration makes no sense (names file, frame and remedy)
    """
    if zero_stress not in ZERO_STRESS:
        raise SettingsError(f"zero_stress is {zero_stress!r}; it is 'missing' or 'value'.")
    began = time.perf_counter()
    result = IngestResult(report=ReadReport(skip_bad=skip_bad))
    tasks, n_files = plan(sources, options or ReadOptions(), format, skip_bad, result.report)
    seen = Seen(repository.at())
    small = seen.small_segments
    command = command or f"ingest {' '.join(map(str, sources))}"
    writer = _SegmentWriter(repository, result, seen, command)
    found: Counter[str] = Counter()
    known_zeros: set[bytes] = set()
    done = 0
    try:
        for batch, report, files in read_all(tasks, executor):
            done += files
            result.report.add(report)
            if progress is not None:
                progress(done, n_files)
            if not len(batch):
                continue
            result.read += len(batch)
            found.update(batch.group.tolist())
            if include_groups is not None:
                batch = _select(batch, np.isin(batch.group.astype(str), list(include_groups)))
            zeros = set(keys(batch.uid[np.asarray((batch.stress == 0).all(axis=1))]))
            batch = check(batch, zero_stress, result.checks, result.report)
            copy = seen.count(batch)
            fresh = seen.fresh(batch, copy)
            result.known += int((~fresh).sum())
            result.removed += seen.gone(batch, fresh)
            if zeros and result.known:
                known_zeros.update(zeros.intersection(keys(batch.uid[~fresh])))
            if fresh.any():
                new = _select(batch, fresh)
                result.relabelled += seen.relabelled(new)
                if zeros and zero_stress == "missing":
                    writer.zeros.update(
                        g for g, key in zip(new.group.tolist(), keys(new.uid), strict=True) if key in zeros
                    )
                writer.add(new, copy[fresh])
        for name in include_groups or ():
            if name not in found:
                raise InputError(
                    f"no group {name!r} in the sources. {nearest(name, found)}Groups: {listed(sorted(found))}."
                )
        writer.close()
    except BaseException as error:
        writer.discard()
        if isinstance(error, InputError) and result.added:
            stored = counted(result.added, "configuration is", "configurations are")
            raise InputError(
                f"{error.message} ({stored} stored already; the same command continues after them)",
                error.path,
                error.frame,
                error.line,
            ) from error
        raise
    if include_groups is not None:
        result.left_out = sum(n for g, n in found.items() if g not in set(include_groups))
    if result.read == 0 and not result.report.refused:
        raise InputError(f"no configurations found in {listed([str(s) for s in sources])}.")
    if known_zeros:
        _report_other_rule(repository.at(), known_zeros, zero_stress, result.report)
    result.checks.finish(*seen.places())
    result.small_segments = seen.small_segments
    if merge_small and result.added:
        result.merged = compact_pile(repository, small, seen.small_segments, command)
    result.seconds = time.perf_counter() - began
    return result


def _report_other_rule(snapshot: Snapshot, uids: set[bytes], zero_stress: str, report: ReadReport) -> None:
    """Say how many configurations with a stress of zeros an earlier ingest stored by the other rule.

    Which rule it is does not make another configuration, so they stay as they are.
    """
    index = Index.load(snapshot)
    other = 0
    for number, segment in enumerate(index.segments):
        mine = np.flatnonzero((index.segment == number) & (index.state == LIVE))
        asked = [i for i, key in zip(mine, keys(index.uid[mine]), strict=True) if key in uids]
        if asked:
            stress = snapshot.read(f"configurations/{segment.name}/stress")[index.position[asked]]
            missing = np.isnan(stress).all(axis=1)
            other += int((missing if zero_stress == "value" else ~missing).sum())
    if other:
        is_, wanted = ("a missing label", "a value") if zero_stress == "value" else ("a value", "a missing label")
        report.met(
            f"configuration whose all-zero stress an earlier ingest stored as {is_}: it stays so; to have it as "
            f"{wanted}, ingest into a new store",
            n=other,
        )


def _select(batch: Batch, keep: Any) -> Batch:
    """The configurations where ``keep`` is true, in order."""
    if keep.all():
        return batch
    return batch.take(np.flatnonzero(keep))


# -------------------------------------------------------------------- writing
class _Overtaken(Exception):
    """Another process has stored configurations since we looked."""


class _GivenUp(Exception):
    """Something that has nothing to do with the store ends the ingest."""


class _Version:
    """A version in the making, whose arrays another thread writes: that is mostly waiting for files."""

    def __init__(self, repository: Repository, names: frozenset[str]) -> None:
        self._names = names  # of the segments there were when we looked
        self._under_way: deque[Future[None]] = deque()
        self._thread = ThreadPoolExecutor(1)
        self._transaction = ExitStack()
        self.tx = self._transaction.enter_context(repository.transaction("ingest", {}))
        self.tx.at_commit(self._not_overtaken)

    def _not_overtaken(self, root: zarr.Group) -> None:
        found: Any = root["index"].attrs["segments"]
        if not self._names.issuperset(s["name"] for s in found):
            raise _Overtaken

    def write(self, name: str, batch: Batch) -> None:
        """Begin to write a segment; two may wait for it."""
        while len(self._under_way) > 2:
            self._settle()
        self._under_way.append(self._thread.submit(write_segments, self.tx, {name: batch}))

    def commit(self, message: str, metadata: dict[str, Any]) -> str:
        """Id of the version, once all is written.

        :raises _Overtaken, StoreConflictError: others were faster; nothing is stored
        """
        while self._under_way:
            self._settle()
        self._thread.shutdown()
        self.tx.message, self.tx.metadata = message, metadata
        self._transaction.close()
        return self.tx.snapshot_id

    def _settle(self) -> None:
        try:
            self._under_way.popleft().result()
        except BaseException as error:
            self.discard(error)
            raise

    def discard(self, error: BaseException) -> None:
        """Give up; raises what the store makes of ``error`` if it has to do with writing."""
        self._thread.shutdown(cancel_futures=True)
        self._transaction.__exit__(type(error), error, error.__traceback__)


class _SegmentWriter:
    """Cuts the stream into segments at places that depend on the stream alone, and commits them."""

    def __init__(self, repository: Repository, result: IngestResult, seen: Seen, command: str) -> None:
        self.repository, self.result, self.seen, self.command = repository, result, seen, command
        self.run = new_run()
        self.waiting: list[Batch] = []
        self.copies: list[NDArray[np.int64]] = []
        self.ready: list[tuple[str, Batch, NDArray[np.int64]]] = []
        self.version: _Version | None = None
        self.zeros: Counter[str] = Counter()  # stresses of zeros taken as missing, by group, since the last commit
        self.last_commit = time.monotonic()

    def add(self, batch: Batch, copy: NDArray[np.int64]) -> None:
        """Take configurations, of which each is the ``copy``-th of its kind; close segments that are full."""
        start = 0
        while start < len(batch):
            room_atoms = SEGMENT_ATOMS - sum(len(b.number) for b in self.waiting)
            room = SEGMENT_CONFIGURATIONS - sum(len(b) for b in self.waiting)
            # the configuration that reaches the limit still goes in, so a segment is never empty
            atoms = batch.atom_start[start + 1 :] - batch.atom_start[start]
            take = min(int(np.searchsorted(atoms, room_atoms)) + 1, room, len(batch) - start)
            self.waiting.append(batch.slice(start, start + take))
            self.copies.append(copy[start : start + take])
            start += take
            if atoms[take - 1] >= room_atoms or take == room:
                self._cut()

    def close(self) -> None:
        if self.waiting:
            self._cut()
        self._commit()

    def discard(self) -> None:
        """Keep nothing that is not committed."""
        version, self.version = self.version, None
        if version is not None:
            version.discard(_GivenUp())

    def _cut(self) -> None:
        batch, copy = Batch.concatenate(self.waiting), np.concatenate(self.copies)
        self.waiting, self.copies = [], []
        order = group_order(batch)
        if order is not None:
            batch, copy = batch.take(order), copy[order]
        batch, copy = self._fresh(batch, copy)  # since it was judged, the store may have been looked at again
        if not len(batch):
            return
        name = self._name(batch)
        self.ready.append((name, batch, copy))
        if self.version is None:
            self.version = _Version(self.repository, frozenset(self.seen.known))
        self.version.write(name, batch)
        if time.monotonic() - self.last_commit > _COMMIT_EVERY or len(self.ready) >= _COMMIT_SEGMENTS:
            self._commit()

    def _fresh(self, batch: Batch, copy: NDArray[np.int64]) -> tuple[Batch, NDArray[np.int64]]:
        """What the store lacks of a batch."""
        fresh = self.seen.fresh(batch, copy)
        self.result.known += int((~fresh).sum())
        return _select(batch, fresh), copy[fresh]

    def _commit(self) -> None:
        if not self.ready or self.version is None:
            return
        n = sum(len(batch) for _, batch, _ in self.ready)
        message = f"ingest {counted(n, 'configuration')}"
        metadata = commit_metadata(
            "ingest", self.command, self.run, configurations=n, reader=self.result.report.to_json(),
            zero_stress=dict(self.zeros),
        )  # fmt: skip
        self.zeros.clear()
        written = {name: batch for name, batch, _ in self.ready}
        version, self.version = self.version, None
        try:
            self.result.snapshot = version.commit(message, metadata)
        except (_Overtaken, StoreConflictError):
            for attempt in range(_ATTEMPTS):  # the lock of a server runs out where a process stands still too long
                try:
                    written = self._again(message, metadata)
                    break
                except StoreConflictError:
                    if attempt == _ATTEMPTS - 1:
                        raise
        for name, batch in written.items():
            self.seen.stored_now(name, batch)
            self.result.segments.append(name)
            self.result.added += len(batch)
            self.result.atoms += len(batch.number)
            self.result.groups.update(batch.group.tolist())
        self.ready = []
        self.last_commit = time.monotonic()

    def _again(self, message: str, metadata: dict[str, Any]) -> dict[str, Batch]:
        """Under the lock from the start: what others have ingested since we looked is not stored twice."""
        written: dict[str, Batch] = {}
        with self.repository.transaction(message, metadata, exclusive=True) as tx:
            newest = self.repository.at()
            self.seen.look(newest)
            for _, batch, copy in self.ready:
                batch, _ = self._fresh(batch, copy)
                if len(batch):
                    written[self._name(batch)] = batch
            if written:
                write_segments(tx, written)
        self.result.snapshot = tx.snapshot_id or newest.id
        return written

    def _name(self, batch: Batch) -> str:
        """A name made of the content, so that a repeated run makes the same store."""
        name = segment_name(batch, self.seen.names)
        self.seen.names.add(name)
        return name
