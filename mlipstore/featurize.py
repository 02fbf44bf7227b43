"""``featurize``: rows of a descriptor, and values of a baseline, for every segment that lacks them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from .bulk import RowChunks, write_group
from .computing import Baseline, Column, Descriptor
from .configuration import Batch
from .device import Device, on_host, open_device, rows_at
from .errors import ComputeError, MlipstoreError, SettingsError, StoreError, nearest
from .executors import Executor, one_each
from .executors.serial import Serial
from .features import Feature, StoredBaseline, computed, free_alias, missing
from .index import Index, read_batch
from .layout import BASELINES, CHUNK_BYTES, FEATURES
from .leases import claim
from .provenance import commit_metadata, new_run
from .store import Address, Repository, Snapshot, StoreConflictError, Transaction, create_array, opened

#: Rows of a sub-batch in memory at once, in bytes.
PART_BYTES = 32 << 20
#: The same for rows that are stored: as much as a chunk, so that they are still in the cache when they are copied.
WRITE_BYTES = CHUNK_BYTES
#: Seconds between looks at a segment that another process computes, and until it is computed here as well.
_LOOK, _PATIENCE = 0.2, 900.0

Progress = Callable[[int, int], None]


@dataclass
class FeaturizeResult:
    """What was computed; ``atoms`` is zero when there was nothing to do."""

    feature: Feature | None
    baseline: StoredBaseline | None
    segments: int = 0
    configurations: int = 0
    atoms: int = 0
    snapshot: str = ""
    seconds: float = 0.0
    #: what made the rows that were missing, in how many workers if it is not the processor
    device: str = "cpu"
    workers: int = 1

    def to_json(self) -> dict[str, Any]:
        return {
            "feature": None if self.feature is None else {"id": self.feature.id, "alias": self.feature.alias},
            "baseline": None if self.baseline is None else {"id": self.baseline.id, "alias": self.baseline.alias},
            "segments": self.segments,
            "configurations": self.configurations,
            "atoms": self.atoms,
            "snapshot": self.snapshot,
            "seconds": self.seconds,
            "device": self.device,
            "workers_on_device": None if self.device == "cpu" else self.workers,
        }


@dataclass(frozen=True)
class _Task:
    """One segment of one feature and/or baseline for a worker; the worker opens the store itself.

    :param wait: for another process that is at it already, in case it gives up
    """

    store: Address
    segment: str
    feature: Feature | None
    baseline: StoredBaseline | None
    metadata: dict[str, Any]
    wait: bool = False
    device: str = "cpu"


def no_configurations(repository: Repository) -> SettingsError:
    """The error for a store, or a branch, with nothing in it."""
    path = str(repository.path)
    return SettingsError(f"{path} holds no configurations. Run mlipstore ingest {quote(path)} SOURCE first.")


def check_elements(snapshot: Snapshot, elements: tuple[str, ...], what: str) -> None:
    """Refuse a descriptor that does not know an element of the store."""
    from ase.data import chemical_symbols

    have = {chemical_symbols[z] for z in Index.load(snapshot).live_elements()}
    for symbol in sorted(have - set(elements)):
        raise SettingsError(
            f"the store holds {symbol}, which {what} does not list (elements = {' '.join(elements)}). "
            f"{nearest(symbol, elements)}Add it to elements."
        )


def featurize(
    repository: Repository,
    feature: Feature | None,
    baseline: StoredBaseline | None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    command: str = "featurize",
    device: str = "cpu",
) -> FeaturizeResult:
    """Compute what is missing, segment by segment; each segment is one atomic version, so a kill loses one.

    What another process stores meanwhile is not stored again.

    :param feature: the featurization, or None to compute the baseline alone
    :param device: what makes the rows, see :mod:`mlipstore.device`; a baseline is always computed on the processor
    :raises SettingsError: the store holds no configurations, or an element that the descriptor does not list, or the
        descriptor cannot be computed on the device
    :raises ComputeError: a configuration cannot be computed (it is named)
    """
    began = time.perf_counter()
    run = new_run()
    snapshot = repository.at()
    result = FeaturizeResult(feature, baseline, device=_device_for(feature, device))
    executor = one_each(executor or Serial(), open_device(device).count)
    todo: dict[str, list[bool]] = {}
    sizes = {s.name: s for s in Index.load(snapshot).live_segments()}
    if not sizes:
        raise no_configurations(repository)
    _try(snapshot, feature, baseline)
    new = [path for path in _paths(feature, baseline) if not snapshot.exists(path)]
    if feature is not None:
        columns = feature.descriptor().columns()
        result.feature = feature = _enter_feature(repository, feature, columns, command, run)
        for s in missing(snapshot, "features", feature.id) if feature.storage == "rows" else ():
            todo.setdefault(s.name, [False, False])[0] = True
    if baseline is not None:
        result.baseline = baseline = _enter_baseline(repository, baseline, command, run)
        for s in missing(snapshot, "baselines", baseline.id):
            todo.setdefault(s.name, [False, False])[1] = True
    metadata = commit_metadata(
        "featurize",
        command,
        run,
        feature=feature.alias if feature else None,
        baseline=baseline.alias if baseline else None,
        **({} if device == "cpu" else {"device": result.device}),
    )
    # the largest first, so that the last worker is not left with a large one
    order = sorted(todo, key=lambda name: (-sizes[name].n_atoms, name))
    tasks = [
        _Task(
            repository.address,
            name,
            feature if todo[name][0] else None,
            replace(baseline, content={}) if baseline is not None and todo[name][1] else None,
            metadata,
            device=device,
        )
        for name in order
    ]
    total = sum(sizes[name].n_atoms for name in order)
    if len(tasks) <= 1 and executor.warm_up:
        executor = Serial()
    if device != "cpu":
        result.workers = executor.n_workers
    merged = False
    try:
        busy: list[_Task] = []
        while tasks:
            for i, (name, snapshot_id) in executor.unordered(_compute_segment, tasks):
                if not name:  # its configurations are in another segment now
                    merged = True
                    continue
                if not snapshot_id:  # another process is at it
                    busy.append(replace(tasks[i], wait=True))
                    continue
                result.segments += 1
                result.configurations += sizes[name].n_configurations
                result.atoms += sizes[name].n_atoms
                result.snapshot = snapshot_id
                if progress is not None:
                    progress(result.atoms, total)
            tasks, busy = busy, []
    except MlipstoreError:
        with suppress(StoreError):  # the first error is the one to tell
            _forget_empty(repository, new, metadata)
        raise
    if merged:
        rest = featurize(repository, result.feature, result.baseline, executor, progress, command, device)
        result.segments, result.configurations = (
            result.segments + rest.segments,
            result.configurations + rest.configurations,
        )
        result.atoms, result.snapshot = result.atoms + rest.atoms, rest.snapshot or result.snapshot
    result.seconds = time.perf_counter() - began
    return result


def _device_for(feature: Feature | None, device: str) -> str:
    """What a device is called, once it is there and can make the rows."""
    there = open_device(device)
    if feature is not None and there.row_maker(feature.descriptor()) is None:
        raise SettingsError(
            f"the rows of descriptor {feature.alias!r} are not made on {device}: it has no code for it, or another "
            "program is asked for (MLIPSTORE_SNAP_BACKEND). Leave --device out."
        )
    return there.label


def _paths(feature: Feature | None, baseline: StoredBaseline | None) -> list[str]:
    """Groups of what is going to be computed."""
    out = []
    if feature is not None:
        out.append(f"features/{feature.id}")
    if baseline is not None:
        out.append(f"baselines/{baseline.id}")
    return out


def _try(snapshot: Snapshot, feature: Feature | None, baseline: StoredBaseline | None) -> None:
    """Check the elements and compute one configuration, so that settings that cannot work fail before a change."""
    first = Index.load(snapshot).live_segments()[0].name
    if feature is not None:
        descriptor = feature.descriptor()
        check_elements(snapshot, descriptor.elements, f"descriptor {feature.alias!r}")
        if not snapshot.exists(f"features/{feature.id}"):
            descriptor.rows(read_batch(snapshot, first, 0, 1))
    if baseline is not None:
        potential = baseline.baseline()
        check_elements(snapshot, potential.elements, f"baseline {baseline.alias!r}")
        if not snapshot.exists(f"baselines/{baseline.id}"):
            potential.evaluate(read_batch(snapshot, first, 0, 1))


def _forget_empty(repository: Repository, paths: list[str], metadata: dict[str, Any]) -> None:
    """Remove features and baselines of a failed run that no segment got into."""
    empty = [path for path in paths if repository.at().exists(path) and not computed(repository.at(), path)]
    if empty:
        with repository.transaction("featurize: nothing computed", metadata, exclusive=True) as tx:
            for path in empty:
                if not computed(repository.at(), path):
                    del tx.root[path]


def _enter_feature(repository: Repository, feature: Feature, columns: list[Column], command: str, run: str) -> Feature:
    """Make the group of a feature that is new; one that is there keeps its alias."""
    path = f"features/{feature.id}"
    snapshot = repository.at()
    if snapshot.exists(path):
        known = Feature.load(snapshot, feature.id)
        if known.storage == feature.storage:
            return known
    metadata = commit_metadata("featurize", command, run, feature=feature.alias)
    with repository.transaction(f"featurize {feature.alias}", metadata, exclusive=True) as tx:
        snapshot = repository.at()
        if snapshot.exists(path):
            feature = replace(Feature.load(snapshot, feature.id), storage=feature.storage)
        else:
            feature = replace(feature, alias=free_alias(snapshot, "features", feature.id, feature.alias))
        tx.message, tx.metadata["feature"] = f"featurize {feature.alias}", feature.alias
        tx.group(path, feature.attributes(columns))
    return feature


def _enter_baseline(repository: Repository, baseline: StoredBaseline, command: str, run: str) -> StoredBaseline:
    snapshot = repository.at()
    if snapshot.exists(f"baselines/{baseline.id}"):
        return StoredBaseline.load(snapshot, baseline.id)
    metadata = commit_metadata("featurize", command, run, baseline=baseline.alias)
    with repository.transaction(f"baseline {baseline.alias}", metadata, exclusive=True) as tx:
        snapshot = repository.at()
        if not snapshot.exists(f"baselines/{baseline.id}"):
            alias = free_alias(snapshot, "baselines", baseline.id, baseline.alias)
            baseline = replace(baseline, alias=alias)
            tx.message, tx.metadata["baseline"] = f"baseline {alias}", alias
            baseline.write_files(tx.group(f"baselines/{baseline.id}", baseline.attributes()))
    return baseline


# --------------------------------------------------------------------- worker
def _compute_segment(task: _Task) -> tuple[str, str]:
    """Compute and commit one segment; runs in a worker, which opens the store itself.

    :return: its name, empty if it was merged with others (``compact``), and the version that has it, empty if another
        process is at it
    """
    repository = opened(task.store)
    at_feature = None if task.feature is None else f"features/{task.feature.id}/{task.segment}"
    at_baseline = None if task.baseline is None else f"baselines/{task.baseline.id}/{task.segment}"
    paths = [path for path in (at_feature, at_baseline) if path is not None]
    give_up = time.monotonic() + _PATIENCE
    while True:
        with ExitStack() as claims:
            mine = [p for p in paths if claims.enter_context(claim(repository.objects, p.replace("/", "-")))]
            if time.monotonic() > give_up:  # work that is done twice does no harm
                mine = paths
            snapshot = repository.at()
            if not snapshot.exists(f"configurations/{task.segment}"):
                return "", snapshot.id
            if all(map(snapshot.exists, paths)):
                return task.segment, snapshot.id
            todo = [path for path in mine if not snapshot.exists(path)]
            with suppress(StoreConflictError):  # another process has stored (part of) it meanwhile: look again
                if todo:
                    _compute(repository, task, at_feature in todo, at_baseline in todo)
        if len(mine) < len(paths):
            if not task.wait:
                return task.segment, ""
            time.sleep(_LOOK)


def _compute(repository: Repository, task: _Task, feature: bool, baseline: bool) -> None:
    from threadpoolctl import threadpool_limits

    snapshot = repository.at()
    batch = read_batch(snapshot, task.segment)
    with threadpool_limits(1), repository.transaction(f"featurize segment {task.segment}", task.metadata) as tx:
        if task.feature is not None and feature:
            group = tx.group(f"features/{task.feature.id}/{task.segment}")
            _write_rows(group, batch, task.feature.descriptor(), task.feature.precision, open_device(task.device))
        if task.baseline is not None and baseline:
            potential = StoredBaseline.load(snapshot, task.baseline.id).baseline()
            _write_baseline(tx, f"baselines/{task.baseline.id}/{task.segment}", batch, potential)

        def still_there(root: zarr.Group) -> None:
            if f"configurations/{task.segment}" not in root:
                raise StoreConflictError(f"{repository.path}: segment {task.segment} was merged with others meanwhile.")

        tx.at_commit(still_there)


def parts(batch: Batch, n_columns: int, part_bytes: int = PART_BYTES) -> list[tuple[int, int]]:
    """Runs of configurations whose rows fit ``part_bytes`` (at least one configuration each)."""
    per_row = 8 * max(1, n_columns)
    cost = (3 * batch.n_atoms + 7) * per_row
    out, start, used = [], 0, 0
    for i, c in enumerate(cost):
        if i > start and used + c > part_bytes:
            out.append((start, i))
            start, used = i, 0
        used += int(c)
    if start < len(batch):
        out.append((start, len(batch)))
    return out


def _write_rows(group: zarr.Group, batch: Batch, descriptor: Descriptor, precision: str, device: Device) -> None:
    m = len(descriptor.columns())
    n, atoms = len(batch), len(batch.number)
    dtype = "f4" if precision == "float32" else "f8"
    writers = {
        "A_E": RowChunks(create_array(group, FEATURES["A_E"], (n, m))),
        "A_F": RowChunks(create_array(group, FEATURES["A_F"], (3 * atoms, m), 3, dtype)),
        "A_S": RowChunks(create_array(group, FEATURES["A_S"], (6 * n, m), 6)),
    }
    # a device is kept busy by many atoms at once, a processor by what is in its cache
    for start, stop in parts(batch, m, WRITE_BYTES if device.label == "cpu" else PART_BYTES):
        part = batch.slice(start, stop)
        rows = on_host(rows_at(device, descriptor, part))
        for name, data in (("A_E", rows.energy), ("A_F", rows.force), ("A_S", rows.stress)):
            _require_finite(
                part, data, 3 * part.n_atoms if name == "A_F" else np.full(len(part), len(data) // len(part))
            )
            writers[name].add(data)
    for writer in writers.values():
        writer.close()


def _require_finite(batch: Batch, data: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
    """Refuse values that are no numbers: they would be read as lost data.

    :param rows: how many rows of ``data`` each configuration has
    """
    if np.isfinite(np.vdot(data, data)):  # quick, and sure when it is
        return
    finite = np.isfinite(data).reshape(len(data), -1).all(axis=1)
    if not finite.all():
        i = int(np.repeat(np.arange(len(batch)), rows)[int(np.argmin(finite))])
        raise ComputeError(f"{batch.place(i)}: the result is not a finite number; are two atoms at the same place?")


def _write_baseline(tx: Transaction, path: str, batch: Batch, baseline: Baseline) -> None:
    reference = baseline.evaluate(batch)
    one = np.ones(len(batch), np.int64)
    for data, rows in ((reference.energy, one), (reference.force, batch.n_atoms), (reference.stress, one)):
        _require_finite(batch, data, rows)
    write_group(tx.root, path, {}, [(spec, getattr(reference, name)) for name, spec in BASELINES.items()])
