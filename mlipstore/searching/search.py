"""``search``: weights (and more) of a fit for which rows that were not fitted are predicted best, on kept factors."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from ..configuration import F8
from ..executors import Executor
from ..executors.serial import Serial
from ..fit import Problem, data_digest, prepare
from ..kept.compute import complete, load
from ..kept.factors import find
from ..kept.fit import FactorProblem
from ..metrics import KINDS
from ..provenance import commit_metadata, content_id, new_run, versions
from ..runs.runfile import Fit, GroupSettings, PluginTable
from ..schema import canonical
from ..store import Address, Repository
from .methods import LEARNING, METHODS, Recorder
from .settings import Search
from .studies import Study, append, create
from .trials import Trials

#: Trials are stored when this many seconds have passed.
_COMMIT_EVERY = 10.0
#: Seconds of work that are worth starting workers.
_START = 8.0
#: Search spaces that a worker holds.
_HELD = 2

Progress = Callable[[str, int, int], None]


@dataclass
class SearchResult:
    """A study and what this call added to it.

    :param sensitivities: derivative of the logarithm of each objective by that of each parameter at the balanced point
    """

    study: Study
    added: int
    seconds: float
    sensitivities: F8
    settings: Fit

    def to_json(self) -> dict[str, Any]:
        s = self.study
        return {
            "study": s.id,
            "name": s.name,
            "trials": len(s.errors),
            "added": self.added,
            "objectives": s.objectives,
            "given": s.base.tolist(),
            "front": [{"trial": int(i), "errors": s.errors[i].tolist()} for i in s.front()],
            "balanced": {
                "trial": s.balanced(),
                "errors": s.errors[s.balanced()].tolist(),
                "values": dict(zip(s.attributes["parameters"], s.values[s.balanced()].tolist(), strict=True)),
                "sensitivities": {
                    name: dict(zip(s.objectives, row, strict=True))
                    for name, row in zip(s.attributes["parameters"], self.sensitivities.T.tolist(), strict=True)
                },
            },
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class _Task:
    """One run of a method for a worker, which opens the store itself."""

    store: Address
    snapshot: str
    fit: Fit
    search: Search
    index: int
    history: tuple[F8, F8] | None = None


def search(
    repository: Repository,
    settings: Fit,
    wanted: Search,
    executor: Executor | None = None,
    progress: Progress | None = None,
    command: str = "search",
    ref: str | None = None,
) -> SearchResult:
    """Run trials until the study has as many as asked for; one that was interrupted continues.

    Factors that are missing are computed and kept first.

    :param ref: version of the data; the study is stored in the newest one
    :raises SettingsError: the settings do not go together, or nothing can be predicted
    """
    began = time.perf_counter()
    problem = prepare(repository, settings, ref)
    folds = wanted.folds if wanted.validation == "folds" else 0
    kept = find(problem.matrix, problem.table, folds)
    if kept.missing:
        meter = None if progress is None else lambda done, total: progress("factor", done, total)
        complete(repository, problem, kept, executor, meter, command)
    task = _Task(repository.address, problem.snapshot.id, settings, wanted, 0)
    trials = _trials(task)
    study = _study(repository, problem, wanted, trials, load(problem, folds).settings.id, command)
    metadata = commit_metadata("search", command, new_run(), study=study.name)
    added = 0
    executor = _worthwhile(trials, wanted.trials - len(study.errors), executor)
    while len(study.errors) < wanted.trials:
        more = _continue(repository, study, task, executor, progress, metadata)
        added += more
        study = Study.load(repository.at(), study.id)
    slopes = sensitivities(trials, study.values[study.balanced()])
    return SearchResult(study, added, time.perf_counter() - began, slopes, settings)


def _worthwhile(trials: Trials, n: int, executor: Executor | None) -> Executor:
    """The executor, or serial where the work is over before workers have started."""
    began = time.perf_counter()
    trials.evaluate(trials.start)
    return Serial() if executor is None or n * (time.perf_counter() - began) < _START else executor


def _study(
    repository: Repository, problem: Problem, wanted: Search, trials: Trials, set_id: str, command: str
) -> Study:
    """The stored study of these settings and data, made if it is not there."""
    settings = asdict(wanted)
    key = {k: v for k, v in settings.items() if k not in ("name", "trials")}
    digest = data_digest(problem.matrix)
    id_ = content_id(canonical({"search": key, "fit": problem.identity(), "data": digest, "factors": set_id}))
    snapshot = repository.at()
    if not snapshot.exists(f"studies/{id_}"):
        attributes = {
            "search": settings,
            "fit": problem.identity(),
            "factors": set_id,
            "data_digest": digest,
            "data_snapshot": problem.snapshot.id,
            "parameters": [p.name for p in trials.space.parameters],
            "low": [p.low for p in trials.space.parameters],
            "high": [p.high for p in trials.space.parameters],
            "start": trials.space.start,
            "objectives": trials.space.objectives,
            "base": trials.base.tolist(),
            "versions": versions(),
            "command": command,
        }
        label = wanted.name or f"study-{id_[:4]}"
        create(repository, id_, attributes, label, commit_metadata("search", command, new_run(), study=label))
    return Study.load(repository.at(), id_)


def _continue(
    repository: Repository,
    study: Study,
    task: _Task,
    executor: Executor,
    progress: Progress | None,
    metadata: dict[str, Any],
) -> int:
    """Do runs and store them, until there are enough trials or another process has stored some meanwhile."""
    n, total = len(study.errors), task.search.trials
    first = int(study.run.max()) + 1 if len(study.run) else 0
    waiting: list[tuple[F8, F8, int]] = []
    stored, told = 0, time.monotonic()
    for index, (values, errors) in zip(count(first), _runs(study, task, first, executor), strict=False):
        waiting.append((values, errors, index))
        n += len(errors)
        if progress is not None:
            progress("search", min(n, total), total)
        if n >= total or time.monotonic() - told > _COMMIT_EVERY:
            new_values, new_errors = (np.concatenate([w[i] for w in waiting]) for i in (0, 1))
            run = np.concatenate([np.full(len(w[1]), w[2]) for w in waiting])
            if not append(repository, study.id, len(study.errors) + stored, new_values, new_errors, run, metadata):
                return stored
            stored, told, waiting = stored + len(run), time.monotonic(), []
        if n >= total:
            break
    return stored


def _runs(study: Study, task: _Task, first: int, executor: Executor) -> Iterator[tuple[F8, F8]]:
    """Values and objectives of one run after another."""
    if task.search.method not in LEARNING:
        yield from executor.map(_run, (replace(task, index=i) for i in count(first)))
        return
    values, errors = study.values, study.errors
    for i in count(first):
        found = _run(replace(task, index=i, history=(values, errors)))
        values, errors = np.concatenate([values, found[0]]), np.concatenate([errors, found[1]])
        yield found


_spaces: OrderedDict[tuple[Address, str, str], Trials] = OrderedDict()


def _trials(task: _Task) -> Trials:
    """The search space of a task, held for the next one."""
    from threadpoolctl import threadpool_limits

    key = task.store, task.snapshot, canonical([task.fit.to_dict(), asdict(task.search)])
    if key not in _spaces:
        with threadpool_limits(1):
            problem = prepare(Repository.open(task.store), task.fit, task.snapshot)
            folds = task.search.folds if task.search.validation == "folds" else 0
            _spaces[key] = Trials(FactorProblem(problem, load(problem, folds)), task.search)
        while len(_spaces) > _HELD:
            _spaces.popitem(last=False)
    return _spaces[key]


def _run(task: _Task) -> tuple[F8, F8]:
    """One run: values of the parameters and objectives of its trials."""
    from threadpoolctl import threadpool_limits

    trials = _trials(task)
    history = task.history
    if history is not None:
        history = np.array([trials.inner(v) for v in history[0]]).reshape(-1, len(trials.low)), history[1]
    record = Recorder(trials, history)
    with threadpool_limits(1):  # the bits depend on the number of BLAS threads
        METHODS[task.search.method](record, task.search.seed, task.index)
    return np.array([trials.natural(p) for p in record.points]), np.array(record.values)


def sensitivities(trials: Trials, values: F8) -> F8:
    """Derivatives ``(m, parameters)`` of ln(objective) by ln(value), by the value itself for shifts."""
    theta, m = trials.inner(values), len(trials.base)

    def of(j: int) -> F8:
        def cost(v: F8) -> tuple[float, F8]:
            slopes: F8 = np.zeros(m)
            slopes[j] = 1.0 / v[j] if v[j] > 0.0 else 0.0
            return 0.0, slopes

        return trials.evaluate(theta, cost)[2]

    return np.array([of(j) for j in range(m)]) if trials.direct else np.full((m, len(theta)), np.nan)


def fit_of(study: Study, settings: Fit, trial: int, known: list[str]) -> Fit:
    """The settings of a fit at a point of a study: ``settings`` with the weights, penalty and shifts of a trial.

    :param known: groups of the store
    """
    values = dict(zip(study.attributes["parameters"], study.values[trial].tolist(), strict=True))
    wanted = search_of(study)
    groups: dict[str, GroupSettings] = {}
    for name in known:
        group = settings.group(name)
        if group is None:
            continue
        weights = {}
        for kind in KINDS:
            parameter, low, high = wanted.weight(name, kind)
            weights[kind] = getattr(group, kind) * values.get(parameter, low if low == high else 1.0)
        groups[name] = replace(group, **weights)
        if wanted.held_out(name):
            groups[name] = replace(group, train=0.0, test=1.0)
    out = replace(settings, groups=groups, name=None)
    if "ridge" in values:
        out = replace(out, solver=PluginTable("ridge", settings={"alpha": values["ridge"]}))
    shifts = {s: values[f"element_shifts.{s}"] for s in wanted.element_shifts}
    if shifts:
        both = {**settings.element_shifts, **{s: settings.element_shifts.get(s, 0.0) + v for s, v in shifts.items()}}
        out = replace(out, element_shifts=both)
    return out


def search_of(study: Study) -> Search:
    """The settings that a study was made with."""
    stored = dict(study.attributes["search"])
    for key in ("objectives", "hold_out", "energy", "force", "stress", "ridge"):
        stored[key] = None if stored[key] is None else tuple(stored[key])
    stored["element_shifts"] = {k: tuple(v) for k, v in stored["element_shifts"].items()}
    stored["groups"] = {g: {k: tuple(v) for k, v in r.items()} for g, r in stored["groups"].items()}
    return Search(**stored)


def trials_of(repository: Repository, study: Study) -> Trials:
    """The search space of a stored study.

    :raises SettingsError: its factors are no longer kept
    """
    fit = Fit.from_dict(study.attributes["fit"], f"settings of study {study.name}")
    return _trials(_Task(repository.address, study.attributes["data_snapshot"], fit, search_of(study), 0))
