"""``fit``: rows stream once into a triangular factor, are solved there, and stream once more for the errors."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from functools import cached_property
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import passes, registry
from .blocks import DesignMatrix
from .bulk import write_group
from .cost import pass_seconds
from .device import open_device
from .errors import ComputeError, SettingsError
from .executors import Executor, one_each, worth_workers
from .executors.serial import Serial
from .features import Feature, StoredBaseline, free_alias, only
from .layout import METRICS, MODELS
from .memory import MATRICES, FitMemory, available_bytes, fit_memory, parse_bytes, require
from .metrics import ALL, Entry
from .passes import matrix_of
from .plans import FitPlan
from .provenance import commit_metadata, content_id, new_run, versions
from .runs.runfile import Fit
from .schema import Document, canonical, check
from .solve.factor import Factor
from .solve.linear import Solution
from .store import Repository, Snapshot
from .weights import GroupTable

Progress = passes.Progress


@dataclass
class FitResult:
    """A fitted model: its id, coefficients, error table and how it went."""

    id: str
    name: str
    columns: list[str]
    coefficients: NDArray[np.float64]
    constants: dict[str, float]
    errors: list[Entry]
    rank: int
    condition: float
    residual_norm: float
    rows: int
    #: what computed the factor, in this run, in how many workers if it is not the processor
    device: str = "cpu"
    workers: int = 1
    #: what made the rows, in this run; empty if they are stored
    rows_made_by: str = ""
    #: of a fit from kept factors: rows that were read because there was no room for theirs
    rows_not_kept: int = 0
    seconds: float = 0.0
    new: bool = True
    snapshot: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    #: names that the model has besides its first one
    also: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.id,
            "name": self.name,
            "also_called": self.also,
            "new": self.new,
            "snapshot": self.snapshot,
            "rows": self.rows,
            "rows_not_kept": self.rows_not_kept,
            "columns": len(self.columns) + len(self.constants),
            "device": self.device,
            "workers_on_device": None if self.device == "cpu" else self.workers,
            "rows_made_by": self.rows_made_by or None,
            "rank": self.rank,
            "condition": self.condition,
            "weighted_residual_norm": self.residual_norm,
            "errors": [dataclasses.asdict(e) for e in self.errors],
            "seconds": self.seconds,
        }


@dataclass
class Problem:
    """A fit with everything resolved against a version of the store."""

    snapshot: Snapshot
    settings: Fit
    feature: Feature
    baseline: StoredBaseline | None
    matrix: DesignMatrix
    table: GroupTable
    solver: Any
    plan: FitPlan
    #: of a fit from kept factors: their set, complete, and whether errors take a pass over the rows
    factors: dict[str, Any] | None = None

    @cached_property
    def rows(self) -> passes.Rows:
        """The weighted rows, for the passes over them."""
        return passes.Rows.of(self.matrix, self.settings, self.table)

    @property
    def id(self) -> str:
        key = {"fit": self.identity(), "data": data_digest(self.matrix)}
        return content_id(canonical(key if self.factors is None else {**key, "factors": self.factors}))

    def identity(self) -> dict[str, Any]:
        """The settings that make the numbers, complete with defaults."""
        settings = self.settings.to_dict()
        for key in ("name", "max_memory"):
            settings.pop(key, None)
        settings["features"], settings["baseline"] = self.feature.id, self.baseline.id if self.baseline else "none"
        settings["solver"] = {"type": self.settings.solver.type, **registry.settings_of(self.solver)}
        settings["block_rows"] = self.matrix.block_rows
        if settings["where"] is None:  # models that were fitted before there were selections keep their ids
            del settings["where"]
        if settings["device"] == "cpu":  # likewise devices
            del settings["device"]
        return settings


def data_digest(matrix: DesignMatrix) -> str:
    """Digest of the configurations that count: segment names are made of content hashes."""
    parts = [f"{s.name}:{np.packbits(matrix.selection.of(s.name)).tobytes().hex()}" for s in matrix.segments]
    return content_id("\n".join(parts))


def prepare(repository: Repository, settings: Fit, ref: str | None = None, check_memory: bool = True) -> Problem:
    """Resolve names, check groups and memory; reads no rows.

    :raises SettingsError, UnknownNameError: a name, group or setting is wrong
    :raises MemoryLimitError: the fit does not fit the allowance
    """
    snapshot = repository.at(ref)
    where = "with features = in [fit] or --features"
    name = settings.features or only(snapshot, "features", where)
    if name is None:
        how = f"mlipstore featurize {quote(str(repository.path))} -d FILE.toml"
        raise SettingsError(f"{repository.path} has no features. Run {how} first.")
    feature = Feature.load(snapshot, name)
    baseline = None
    if settings.baseline != "none":
        base = settings.baseline or only(snapshot, "baselines", 'with baseline = in [fit] ("none" for none)')
        baseline = StoredBaseline.load(snapshot, base) if base else None
    matrix = matrix_of(snapshot, feature, baseline, settings)
    if not matrix.segments:
        if settings.where is not None and matrix.index.live_groups():
            raise SettingsError(f"no configuration is selected by where = {settings.where!r}.")
        how = f"mlipstore ingest {quote(str(repository.path))} SOURCE"
        raise SettingsError(f"{repository.path} holds no configurations. Run {how} first.")
    allowance = parse_bytes(settings.max_memory) if settings.max_memory else available_bytes()
    solver = registry.make("solvers", settings.solver.type, settings.solver.settings)
    biggest, leaves = max(s.n_atoms for s in matrix.segments), len(passes.leaves(matrix))

    def needed(block_rows: int) -> FitMemory:
        rows = matrix.rows_of_a_block(block_rows)
        held = getattr(solver, "matrices", MATRICES)
        return fit_memory(matrix.n_columns, rows, biggest, held, leaves, zeros=len(matrix.elements) > 1)

    memory = needed(matrix.block_rows)
    rows = matrix.n_rows()
    width = 4 if feature.precision == "float32" else 8
    plan = FitPlan(feature.alias, rows, matrix.n_columns, rows * len(matrix.columns) * width, memory, allowance,
                   pass_seconds(rows, matrix.n_columns), settings.solver.type, _note(settings, matrix))  # fmt: skip
    if check_memory:
        given = bool(settings.max_memory)
        require(needed, matrix.n_columns, matrix.largest_block, allowance, given, matrix.least_block_rows)
    return Problem(snapshot, settings, feature, baseline, matrix, GroupTable.of(settings, matrix), solver, plan)


def _note(settings: Fit, matrix: DesignMatrix) -> str:
    least = matrix.least_block_rows
    if settings.block_rows is None or settings.block_rows >= least:
        return ""
    return f"block_rows = {settings.block_rows} saves no memory: {least:,} rows, the least there is, are read at once"


def fit(
    repository: Repository,
    settings: Fit,
    ref: str | None = None,
    progress: Progress | None = None,
    command: str = "fit",
    executor: Executor | None = None,
) -> FitResult:
    """Fit, evaluate and store a model; one that is there already (same data, same settings) is returned.

    :param executor: where the rows are gone over; the bits are the same everywhere
    """
    began = time.perf_counter()
    problem = prepare(repository, settings, ref)
    open_device(settings.device)  # here, where one that is not there is one error
    if problem.snapshot.exists(f"models/{problem.id}"):
        return known(repository, problem, settings.name, command)
    result, factor = compute(problem, progress, executor)
    store_model(repository, problem, factor, result, command)
    result.seconds = time.perf_counter() - began
    return result


def compute(
    problem: Problem, progress: Progress | None = None, executor: Executor | None = None
) -> tuple[FitResult, Factor]:
    """Two passes over the rows: the factor and its solution, then the error table. Nothing is stored."""
    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    executor = _worthwhile(problem, executor)
    with threadpool_limits(1):  # the bits depend on the number of BLAS threads
        factor = accumulate(problem, progress, executor)
        solution = problem.solver.solve(factor)
        errors = evaluate(problem, solution.coefficients, progress, executor)
    confirm(factor, solution, errors)
    result = finished(problem, factor, solution, errors)
    device = open_device(problem.settings.device)
    result.device = device.label
    if device.count is not None:
        result.workers = executor.n_workers
    if problem.matrix.computed:
        there = device.row_maker(problem.feature.descriptor()) is not None
        result.rows_made_by = device.label if there else "cpu"
    result.seconds = time.perf_counter() - began
    return result, factor


def confirm(factor: Factor, solution: Solution, errors: list[Entry], labels: float = 0.0) -> None:
    """The residual norm that the triangle gives and that of the rows themselves are the same.

    Rounding in the triangle and in ``b - A x`` changes the norm by a multiple of eps s, where ``s = sum_j |a_j| |x_j| +
    |b|``, whatever the condition (Higham 2002, Accuracy and Stability of Numerical Algorithms, th. 19.4: column by
    column). It is at most 1.3 eps s for weights over 12 decades, rows in single precision, more columns than rows.

    :param labels: what ``|b|`` is at least, where b was made in the factor out of terms larger than itself
    :raises ComputeError: they differ by more than rounding
    """
    x, M = solution.coefficients, factor.n_columns
    R = factor.R
    seen = sum(e.n * e.rmse**2 for e in errors if e.weighted and e.n and (e.group, e.split) == (ALL, "train")) ** 0.5
    size = np.linalg.norm(R[:, :M], axis=0) @ np.abs(x) + max(float(np.linalg.norm(R[:, M:])), labels)
    rounding = float(np.finfo(float).eps * size)
    if abs(seen - solution.residual_norm) > 1e-6 * solution.residual_norm + 100 * rounding:
        raise ComputeError(
            f"the triangular factor does not stand for the rows: the weighted residual norm is "
            f"{solution.residual_norm:.9g} by the factor and {seen:.9g} by the rows. Nothing was stored. This is an "
            "error of mlipstore: please report it with the run file."
        )


def finished(problem: Problem, factor: Factor, solution: Solution, errors: list[Entry]) -> FitResult:
    """What is known about a fit before it is stored."""
    m = len(problem.matrix.columns)
    x = solution.coefficients
    elements = problem.matrix.elements if problem.settings.constant else []
    return FitResult(
        id=problem.id,
        name=problem.settings.name or "",
        columns=problem.matrix.columns,
        coefficients=x[:m],
        constants=dict(zip(elements, map(float, x[m:]), strict=True)),
        errors=errors,
        rank=solution.rank,
        condition=solution.condition,
        residual_norm=solution.residual_norm,
        rows=factor.n_rows,
    )


def accumulate(problem: Problem, progress: Progress | None = None, executor: Executor | None = None) -> Factor:
    """The factor of the weighted training rows: one pass.

    :raises SettingsError: no row is left to train on
    """
    factor = passes.accumulate(problem.rows, executor or Serial(), progress)
    if factor is None:
        raise no_rows()
    return factor


def evaluate(
    problem: Problem,
    x: NDArray[np.float64],
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> list[Entry]:
    """The error table of any coefficients ``(K,)``: one pass."""
    return passes.errors(problem.rows, x, executor or Serial(), progress).entries()


def _worthwhile(problem: Problem, executor: Executor | None) -> Executor:
    """The executor, or this process where the work is less than starting workers."""
    made_now = 20.0 if problem.matrix.computed else 1.0  # rows that are computed take longer than those that are read
    if executor is not None:
        executor = one_each(executor, open_device(problem.settings.device).count)
    if executor is None or not worth_workers(executor, made_now * problem.plan.seconds):
        return Serial()
    return executor.within(problem.plan.allowance // max(1, problem.plan.memory.worker))


def no_rows() -> SettingsError:
    """The error for a fit without a training row."""
    return SettingsError(
        "no rows to train on: every group has train = 0, zero weights, or no labels. Check [fit.groups]."
    )


def known(repository: Repository, problem: Problem, name: str | None, command: str) -> FitResult:
    """The stored model that this fit is; a name that it does not have yet becomes another one of its names."""
    path = f"models/{problem.id}"
    result = load(problem.snapshot, problem.id)
    result.new = False
    if name is not None and name not in (result.name, *result.also):
        metadata = commit_metadata("fit", command, new_run(), model=result.id)
        with repository.transaction(f"fit {name}: another name of {result.name}", metadata, exclusive=True) as tx:
            newest = repository.at()
            given = free_alias(newest, "models", result.id, name)
            attributes = newest.attributes(path)
            result.also = [*(n for n in attributes.get("also", []) if n != given), given]
            tx.group(path, {**attributes, "also": result.also})
        result.snapshot = tx.snapshot_id
    return result


def store_model(repository: Repository, problem: Problem, factor: Factor, result: FitResult, command: str) -> None:
    """Commit the model with everything it came from."""
    result.provenance = {
        "data_snapshot": problem.snapshot.id,
        "data_digest": data_digest(problem.matrix),
        "feature": {"id": problem.feature.id, "alias": problem.feature.alias, "type": problem.feature.type,
                    "settings": problem.feature.settings},
        "baseline": None if problem.baseline is None else {
            "id": problem.baseline.id, "alias": problem.baseline.alias, "type": problem.baseline.type,
            "settings": problem.baseline.settings},
        "fit": problem.identity(),
        "groups": {
            name: {"train": int(n[0]), "test": int(n[1])}
            for name, n in zip(problem.table.groups, problem.table.sizes, strict=True)
        },
        "solution": {"rank": result.rank,
                     "condition": result.condition if np.isfinite(result.condition) else None,
                     "weighted_residual_norm": result.residual_norm, "rows": result.rows},
        "versions": versions(),
        "command": command,
    }  # fmt: skip
    if result.rows_made_by not in ("", "cpu"):
        result.provenance["rows_made_by"] = result.rows_made_by
    if problem.factors is not None:
        result.provenance["factors"] = problem.factors
    check(Document(result.provenance, "provenance of the model"), "model")
    summary = {f"{e.kind}_{e.split}_rmse": e.rmse for e in result.errors if e.group == "*" and not e.weighted}
    metadata = commit_metadata("fit", command, new_run(), model=result.id, **summary)
    label = result.name or f"fit-{result.id[:4]}"
    told = free_alias(repository.at(), "models", result.id, label)
    with repository.transaction(f"fit {told}", metadata, exclusive=True) as tx:
        newest = repository.at()
        if newest.exists(f"models/{result.id}"):  # another process has fitted the same meanwhile
            result.name, result.snapshot, result.new = load(newest, result.id).name, newest.id, False
            return
        result.name = free_alias(newest, "models", result.id, label)
        elements = list(result.constants) or []
        columns = {
            "coefficient": result.coefficients,
            "column": np.array(result.columns, object),
            "constant": np.array(list(result.constants.values()), float),
            "element": np.array(elements, object),
            "R": factor.packed(),
        }
        attributes = {"alias": result.name, "provenance": result.provenance}
        here = f"models/{result.id}"
        write_group(tx.root, here, attributes, [(spec, columns[name]) for name, spec in MODELS.items()])
        errors = {name: [getattr(e, name) for e in result.errors] for name in METRICS}
        table = [(s, np.array(errors[k], object if s.dtype == "str" else s.dtype)) for k, s in METRICS.items()]
        write_group(tx.root, f"{here}/metrics", {}, table)
    result.snapshot = tx.snapshot_id


def load(snapshot: Snapshot, id_: str) -> FitResult:
    """A stored fit."""
    attributes = snapshot.attributes(f"models/{id_}")
    read = snapshot.read
    here = f"models/{id_}/"
    names = [str(c) for c in read(here + "column")]
    elements = [str(e) for e in read(here + "element")]
    columns = {name: read(f"{here}metrics/{name}").tolist() for name in METRICS}
    errors = [Entry(**{name: values[i] for name, values in columns.items()}) for i in range(len(columns["group"]))]
    provenance = attributes["provenance"]
    solution = provenance["solution"]
    return FitResult(
        id=id_,
        name=attributes["alias"],
        columns=names,
        coefficients=read(here + "coefficient"),
        constants=dict(zip(elements, read(here + "constant").tolist(), strict=True)),
        errors=errors,
        rank=solution["rank"],
        condition=float("inf") if solution["condition"] is None else solution["condition"],
        residual_norm=solution["weighted_residual_norm"],
        rows=solution["rows"],
        device=provenance["fit"].get("device", "cpu"),
        snapshot=snapshot.id,
        provenance=provenance,
        also=list(attributes.get("also", [])),
    )
