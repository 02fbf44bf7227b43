"""``factor``: compute the kept factors that a fit needs and the store lacks, segment by segment."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import zarr

from ..blocks import DesignMatrix
from ..bulk import write_group
from ..cost import Rates, measured
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
from ..store import Address, Repository, StoreConflictError, opened
from .factors import (
    FactorSet,
    KeptFactors,
    Leaf,
    columns_of,
    factor_segment,
    find,
    rows_matrix,
)
from .room import DEFAULT_LIMIT, Size

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class NotKept:
    """A segment whose factors there is no room for: how many, of how many rows, the bytes they would take."""

    segment: str
    groups: list[str]
    keys: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class FactorPlan:
    """What keeping factors costs, from counts alone.

    :param bytes_on_disk: of all factors of the fit, ``bytes_missing`` of those still to be made
    :param bytes_rows: what the rows themselves take
    :param limit: most bytes; ``not_kept``: what is left out for it, ``seconds_not_kept``: what that costs each fit
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
    limit: int = DEFAULT_LIMIT
    not_kept: list[NotKept] = field(default_factory=list)
    seconds_not_kept: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class FactorResult:
    """What was computed; ``rows`` is zero when there was nothing to do.

    :param not_kept: segments whose factors there is no room for
    """

    set: str
    keys: int
    not_kept: int = 0
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
    :param newest: whether that is so in the newest version, too
    """

    store: Address
    snapshot: str
    settings: FactorSet
    leaf: Leaf
    metadata: dict[str, Any]
    newest: bool


def plan(problem: Problem, kept: KeptFactors) -> FactorPlan:
    """Keys, bytes and memory of the factors of a fit; reads the number of atoms of the configurations, no rows."""
    sizes, without = kept.sizes, kept.left_out
    names = {s.name: sorted(s.groups) for s in problem.matrix.segments}
    out = [NotKept(leaf.segment, names[leaf.segment], *_facts(sizes[leaf.segment])) for leaf in without]
    rates = measured(problem.matrix) if out else Rates()
    again = sum(rates.factor(x.rows, kept.n) + rates.read(x.rows, len(problem.matrix.columns)) for x in out)
    every, todo = list(sizes.values()), [sizes[leaf.segment] for leaf in kept.missing]
    return FactorPlan(
        feature=problem.feature.alias,
        set=kept.settings.id,
        columns=kept.n,
        keys=sum(s.keys for s in every),
        segments=len(kept.leaves),
        segments_missing=len(todo),
        rows_missing=sum(s.rows for s in todo),
        bytes_on_disk=sum(s.bytes for s in every),
        bytes_missing=sum(s.bytes for s in todo),
        bytes_rows=problem.plan.bytes_read,
        bytes_per_worker=_worker_bytes(kept.n, max((s.keys for s in every), default=0), problem.matrix.largest_block),
        limit=kept.limit,
        not_kept=out,
        seconds_not_kept=again,
    )


def _facts(size: Size) -> tuple[int, int, int]:
    return size.keys, size.rows, size.bytes


def _worker_bytes(n: int, keys: int, block_rows: int) -> int:
    """Training and test rows of a group at the same time, the blocks on their way, the packed keys of a segment."""
    return IMPORTED + 2 * projected_bytes(n, 0, block_rows) + 8 * n * (4 * block_rows + keys * (n + 1) // 2)


def factor(
    repository: Repository,
    settings: Fit,
    folds: int = 0,
    executor: Executor | None = None,
    progress: Progress | None = None,
    command: str = "factor",
    limit: str | None = None,
    ref: str | None = None,
) -> FactorResult:
    """Compute and store the factors that the fit of ``settings`` lacks; each segment is one atomic version.

    :param folds: deal the training configurations into this many folds, for cross-validation
    :param limit: most bytes the factors may take in the store, e.g. ``10GB``; where that is less than all of them,
        those are kept that spare the most rows
    :param ref: version of the data; the factors are stored in the newest one
    :raises SettingsError: none of them fits the limit, or the fit cannot be resolved
    """
    problem = prepare(repository, settings, ref)
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
    if limit is not None:
        kept = kept.within(parse_bytes(limit))
    planned = plan(problem, kept)
    require_room(planned)
    keys = planned.keys - sum(x.keys for x in planned.not_kept)
    result = FactorResult(kept.settings.id, keys, len(planned.not_kept))
    if not kept.missing and limit is None:
        return result
    metadata = commit_metadata("factor", command, new_run(), feature=problem.feature.alias, set=kept.settings.id)
    newest = repository.find() == problem.snapshot.id
    _enter(repository, problem.feature, kept, metadata)
    sizes = {s.name: s.n_atoms for s in problem.matrix.segments}
    # the largest first, so that the last worker is not left with a large one
    order = sorted(kept.missing, key=lambda leaf: (-sizes[leaf.segment], leaf.segment))
    store, version = repository.address, problem.snapshot.id
    tasks = [_Task(store, version, kept.settings, leaf, metadata, newest) for leaf in order]
    executor = executor if executor is not None and len(tasks) > 1 else Serial()
    for _, (rows, snapshot_id) in executor.unordered(_compute_segment, tasks):
        result.segments += 1
        result.rows += rows
        result.snapshot = snapshot_id
        if progress is not None:
            progress(result.rows, planned.rows_missing)
    result.seconds = time.perf_counter() - began
    return result


def require_room(planned: FactorPlan) -> None:
    """Refuse a limit that no factors fit into.

    :raises SettingsError: says what they consist of and what else can be done
    """
    if len(planned.not_kept) < planned.segments or not planned.segments:
        return
    least = min(x.bytes for x in planned.not_kept)
    raise SettingsError(
        f"the factors of this fit take {human(planned.bytes_on_disk)} in the store ({planned.keys:,} triangles of "
        f"{planned.columns:,} columns: {planned.segments} segments x groups x energy, force and stress rows x training "
        f"and test; the rows take {human(planned.bytes_rows)}), and there is no segment whose factors fit into "
        f"{human(planned.limit)}. Allow all with --limit {_as_option(planned.bytes_on_disk)}, some with "
        f"{_as_option(least)} or more, or fit without kept factors: that streams the rows."
    )


def _as_option(n: int) -> str:
    return human(1.05 * n).replace(" ", "")


def _enter(repository: Repository, feature: Feature, kept: KeptFactors, metadata: dict[str, Any]) -> None:
    """Make the group of a set that is new, or has another limit."""
    settings = kept.settings

    def there() -> bool:
        newest = repository.at()
        have = newest.exists(settings.path)
        return have and newest.attributes(settings.path).get("limit", DEFAULT_LIMIT) == kept.limit

    if there():
        return
    with repository.transaction(f"factors of {feature.alias}", metadata, exclusive=True) as tx:
        if there():
            return
        tx.group(f"factors/{settings.feature}", {"alias": feature.alias})
        columns = {"elements": kept.elements, "targets": settings.targets, "n_features": kept.n_features}
        tx.group(settings.path, {**asdict(settings), **columns, "limit": kept.limit})


# --------------------------------------------------------------------- worker
def _compute_segment(task: _Task) -> tuple[int, str]:
    """Factor and commit one segment; runs in a worker, which opens the store itself."""
    from threadpoolctl import threadpool_limits

    repository = opened(task.store)
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
                write_group(tx.root, here, attributes, [(FACTORS["R"], packed)])
                if task.newest:
                    tx.at_commit(lambda root: _remove_dead(root, task.settings.path, task.leaf))
            return sum(k.rows for k in keys), tx.snapshot_id
        except StoreConflictError:
            continue  # another process has stored it meanwhile: look again


@lru_cache(maxsize=1)
def _matrix(store: Address, snapshot: str, settings: FactorSet) -> DesignMatrix:
    return rows_matrix(opened(store).at(snapshot), settings)


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
    kept = find(problem.matrix, problem.table, folds)
    require_complete(problem, kept, folds)
    return kept


def require_complete(problem: Problem, kept: KeptFactors, folds: int = 0) -> None:
    """Refuse a fit whose factors are not all there (as far as there is room for them).

    :raises SettingsError: says how many are missing and what computes them
    """
    _on_the_processor(problem)
    if kept.missing:
        path = problem.snapshot.repository.path
        n = sum(int((leaf.parts >= 0).sum()) for leaf in kept.missing)
        every = sum(int((leaf.parts >= 0).sum()) for leaf in kept.leaves)
        how = f" --folds {folds}" if folds else ""
        raise SettingsError(
            f"no factors are kept for {n:,} of the {every:,} configurations of this fit. Compute them with "
            f"mlipstore factor {shlex.quote(str(path))} --config FIT.toml{how}, or fit with --keep-factors."
        )
