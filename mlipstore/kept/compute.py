"""``factor``: compute the kept factors that a fit needs and the store lacks, segment by segment."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import zarr

from ..blocks import DesignMatrix
from ..errors import SettingsError
from ..executors import Executor
from ..executors.serial import Serial
from ..features import Feature
from ..fit import Problem, prepare
from ..layout import FACTORS
from ..memory import IMPORTED, human, parse_bytes
from ..provenance import commit_metadata, new_run
from ..runs.runfile import Fit
from ..solve.factor import projected_bytes
from ..store import Address, Repository, StoreConflictError, write_array
from .factors import (
    FactorSet,
    KeptFactors,
    Leaf,
    columns_of,
    factor_segment,
    find,
    packed_size,
    rows_matrix,
)

#: Most bytes that factors may take in the store, unless a limit is given.
DEFAULT_LIMIT = 4 << 30

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FactorPlan:
    """What keeping factors costs, from counts alone.

    :param bytes_on_disk: of all factors of the fit, ``bytes_missing`` of those still to be made
    :param bytes_rows: what the rows themselves take
    """

    feature: str
    set: str
    columns: int
    keys: int
    segments: int
    segments_missing: int
    rows_missing: int
    bytes_on_disk: int
    bytes_missing: int
    bytes_rows: int
    bytes_per_worker: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class FactorResult:
    """What was computed; ``rows`` is zero when there was nothing to do."""

    set: str
    keys: int
    segments: int = 0
    rows: int = 0
    snapshot: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Task:
    """One segment for a worker, which opens the store itself.

    :param snapshot: version that says who is in the fit
    """

    store: Address
    snapshot: str
    settings: FactorSet
    leaf: Leaf
    metadata: dict[str, Any]


def plan(problem: Problem, kept: KeptFactors) -> FactorPlan:
    """Keys, bytes and memory of the factors of a fit; reads the number of atoms of the configurations, no rows."""
    n, m = kept.n, len(problem.matrix.columns)
    keys = total = missing = rows_missing = most = 0
    for leaf in kept.leaves:
        counts = _row_counts(problem, kept.settings, leaf)
        size = 8 * sum(packed_size(c, n) for c in counts)
        keys, total = keys + len(counts), total + size
        most = max(most, len(counts))
        if not leaf.present:
            missing += size
            rows_missing += sum(counts)
    width = 4 if problem.feature.precision == "float32" else 8
    return FactorPlan(
        feature=problem.feature.alias,
        set=kept.settings.id,
        columns=n,
        keys=keys,
        segments=len(kept.leaves),
        segments_missing=len(kept.missing),
        rows_missing=rows_missing,
        bytes_on_disk=total,
        bytes_missing=missing,
        bytes_rows=problem.plan.rows * m * width,
        bytes_per_worker=_worker_bytes(n, most, problem.matrix.block_rows),
    )


def _worker_bytes(n: int, keys: int, block_rows: int) -> int:
    """Training and test rows of a group at the same time, the blocks on their way, the packed keys of a segment."""
    return IMPORTED + 2 * projected_bytes(n, 0, block_rows) + 8 * n * (4 * block_rows + keys * (n + 1) // 2)


def _row_counts(problem: Problem, settings: FactorSet, leaf: Leaf) -> list[int]:
    """Rows of each key of a segment, as if every label was there."""
    read, here = problem.snapshot.read, f"configurations/{leaf.segment}/"
    used = leaf.parts >= 0
    n_atoms = read(here + "n_atoms")[used]
    group = np.unique(read(here + "group").astype(object)[used].astype(str), return_inverse=True)[1].ravel()
    out: list[int] = []
    for kind, rows in enumerate((np.ones_like(n_atoms), 3 * n_atoms, np.full_like(n_atoms, 6))):
        size = n_atoms if settings.by_size and kind == 1 else np.zeros_like(n_atoms)
        key = np.unique(np.column_stack([group, leaf.parts[used], size]), axis=0, return_inverse=True)[1].ravel()
        out += np.bincount(key, weights=rows).astype(int).tolist()
    return out


def factor(
    repository: Repository,
    settings: Fit,
    folds: int = 0,
    executor: Executor | None = None,
    progress: Progress | None = None,
    command: str = "factor",
    limit: str | None = None,
) -> FactorResult:
    """Compute and store the factors that the fit of ``settings`` lacks; each segment is one atomic version.

    :param folds: deal the training configurations into this many folds, for cross-validation
    :param limit: most bytes the factors may take in the store, e.g. ``10GB``
    :raises SettingsError: they would take more, or the fit cannot be resolved
    """
    problem = prepare(repository, settings)
    return complete(repository, problem, find(problem.matrix, problem.table, folds), executor, progress, command, limit)


def complete(
    repository: Repository,
    problem: Problem,
    kept: KeptFactors,
    executor: Executor | None = None,
    progress: Progress | None = None,
    command: str = "factor",
    limit: str | None = None,
) -> FactorResult:
    """:func:`factor` of a fit that is resolved already."""
    began = time.perf_counter()
    _on_the_processor(problem)
    planned = plan(problem, kept)
    result = FactorResult(kept.settings.id, planned.keys)
    if not kept.missing:
        return result
    require(planned, limit)
    metadata = commit_metadata("factor", command, new_run(), feature=problem.feature.alias, set=kept.settings.id)
    _enter(repository, problem.feature, kept, metadata)
    sizes = {s.name: s.n_atoms for s in problem.matrix.segments}
    # the largest first, so that the last worker is not left with a large one
    order = sorted(kept.missing, key=lambda leaf: (-sizes[leaf.segment], leaf.segment))
    store = repository.address
    tasks = [_Task(store, problem.snapshot.id, kept.settings, leaf, metadata) for leaf in order]
    executor = executor if executor is not None and len(tasks) > 1 else Serial()
    for _, (rows, snapshot_id) in executor.unordered(_compute_segment, tasks):
        result.segments += 1
        result.rows += rows
        result.snapshot = snapshot_id
        if progress is not None:
            progress(result.rows, planned.rows_missing)
    result.seconds = time.perf_counter() - began
    return result


def require(planned: FactorPlan, limit: str | None) -> None:
    """Refuse factors that take too much room.

    :raises SettingsError: says what they consist of and what else can be done
    """
    allowed = DEFAULT_LIMIT if limit is None else parse_bytes(limit)
    if planned.bytes_on_disk <= allowed:
        return
    raise SettingsError(
        f"the factors of this fit take {human(planned.bytes_on_disk)} in the store ({planned.keys:,} triangles of "
        f"{planned.columns:,} columns: {planned.segments} segments x groups x energy, force and stress rows x training "
        f"and test; the rows take {human(planned.bytes_rows)}), which exceeds {human(allowed)}. Allow it with --limit "
        f"{human(1.05 * planned.bytes_on_disk).replace(' ', '')}, or fit without kept factors: that streams the rows."
    )


def _enter(repository: Repository, feature: Feature, kept: KeptFactors, metadata: dict[str, Any]) -> None:
    """Make the group of a set that is new."""
    settings = kept.settings
    if repository.at().exists(settings.path):
        return
    with repository.transaction(f"factors of {feature.alias}", metadata, exclusive=True) as tx:
        if repository.at().exists(settings.path):
            return
        tx.group(f"factors/{settings.feature}", {"alias": feature.alias})
        columns = {"elements": kept.elements, "targets": settings.targets, "n_features": kept.n_features}
        tx.group(settings.path, {**asdict(settings), **columns})


# --------------------------------------------------------------------- worker
def _compute_segment(task: _Task) -> tuple[int, str]:
    """Factor and commit one segment; runs in a worker, which opens the store itself."""
    from threadpoolctl import threadpool_limits

    repository = Repository.open(task.store)
    here = f"{task.settings.path}/{task.leaf.name}"
    while True:
        newest = repository.at()
        if newest.exists(here):
            return sum(newest.attributes(here)["keys"]["rows"]), newest.id
        with threadpool_limits(1):  # the bits depend on the number of BLAS threads
            matrix = _matrix(task.store, task.snapshot, task.settings)
            keys, packed = factor_segment(matrix, task.settings, task.leaf.segment, task.leaf.parts)
        try:
            with repository.transaction(f"factor segment {task.leaf.segment}", task.metadata) as tx:
                attributes = {"segment": task.leaf.segment, "live": task.leaf.live, "keys": columns_of(keys)}
                group = tx.group(here, attributes)
                write_array(group, FACTORS["R"], packed)
                tx.at_commit(lambda root: _remove_dead(root, task.settings.path, task.leaf))
            return sum(k.rows for k in keys), tx.snapshot_id
        except StoreConflictError:
            continue  # another process has stored it meanwhile: look again


@lru_cache(maxsize=1)
def _matrix(store: Address, snapshot: str, settings: FactorSet) -> DesignMatrix:
    return rows_matrix(Repository.open(store).at(snapshot), settings)


def _remove_dead(root: zarr.Group, path: str, leaf: Leaf) -> None:
    """Remove factors of the same segment that count configurations which are deleted now."""
    group = root[path]
    assert isinstance(group, zarr.Group)
    for name, other in list(group.groups()):
        if name.startswith(leaf.segment + "-") and other.attrs["live"] != leaf.live:
            del group[name]


def _on_the_processor(problem: Problem) -> None:
    """Refuse a fit that asks for a device: it would not be used."""
    if problem.settings.device != "cpu":
        raise SettingsError(
            f"kept factors are computed on the processor, not on {problem.settings.device}. Leave device out, or fit "
            "without factors."
        )


def load(problem: Problem, folds: int = 0) -> KeptFactors:
    """The factors of a fit, all of them there.

    :raises SettingsError: some are missing; says how many and what computes them
    """
    _on_the_processor(problem)
    kept = find(problem.matrix, problem.table, folds)
    if kept.missing:
        path = problem.snapshot.repository.path
        n = sum(int((leaf.parts >= 0).sum()) for leaf in kept.missing)
        every = sum(int((leaf.parts >= 0).sum()) for leaf in kept.leaves)
        how = f" --folds {folds}" if folds else ""
        raise SettingsError(
            f"no factors are kept for {n:,} of the {every:,} configurations of this fit. Compute them with "
            f"mlipstore factor {shlex.quote(str(path))} --config FIT.toml{how}, or fit with --keep-factors."
        )
    return kept
