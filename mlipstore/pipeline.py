"""``run``: ingest, featurize, fit, evaluate, export and plot as one run file says, skipping what the store has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .device import open_device
from .errors import SettingsError
from .executors import Executor
from .export import ExportResult, export
from .features import Feature, StoredBaseline
from .featurize import FeaturizeResult, featurize
from .fit import FitResult, fit
from .ingest import IngestResult, ingest
from .runs.runfile import RunFile
from .store import Repository

#: ``observer(stage, result)`` is told when a stage begins (result None) and when it ends.
Observer = Callable[[str, Any], None]
Progress = Callable[[str, int, int], None]


@dataclass
class RunResult:
    """Results of the stages that the run file has."""

    store: str = ""
    ingest: IngestResult | None = None
    featurize: FeaturizeResult | None = None
    fit: FitResult | None = None
    exports: list[ExportResult] = field(default_factory=list)
    plots: list[Path] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "ingest": None if self.ingest is None else self.ingest.to_json(),
            "featurize": None if self.featurize is None else self.featurize.to_json(),
            "fit": None if self.fit is None else self.fit.to_json(),
            "export": [e.to_json() for e in self.exports],
            "plots": [str(p) for p in self.plots],
        }


def resolve(run: RunFile) -> tuple[Feature | None, StoredBaseline | None]:
    """The featurization and the baseline that the tables of a run file stand for."""
    feature = baseline = None
    elements: tuple[str, ...] = ()
    if run.descriptor is not None:
        descriptor = run.descriptor.make()
        elements = descriptor.elements
        feature = Feature.of(run.descriptor.type, descriptor, run.descriptor.name, run.descriptor.precision,
                             run.descriptor.storage)  # fmt: skip
    if run.baseline is not None:
        made = run.baseline.make(**({"elements": elements} if elements else {}))
        baseline = StoredBaseline.of(run.baseline.type, made, run.baseline.name)
    return feature, baseline


def run(
    settings: RunFile,
    executor: Executor | None = None,
    observer: Observer | None = None,
    progress: Progress | None = None,
    command: str = "run",
) -> RunResult:
    """Do what a run file says, in order; every stage finds by content what is there already.

    :raises SettingsError: the run file has no store
    """
    if settings.store is None:
        raise SettingsError('the run file has no store. Add store = "NAME.mlip" at its top.')
    tell = observer or (lambda stage, result: None)

    def meter(stage: str) -> Callable[[int, int], None] | None:
        if progress is None:
            return None
        return lambda done, total: progress(stage, done, total)

    if settings.fit is not None:
        open_device(settings.fit.device)  # before anything is done, where it is not there
    result = RunResult(settings.store)
    feature, baseline = resolve(settings)
    if settings.ingest is None:
        repository = Repository.open(settings.store)
    else:
        tell("ingest", None)
        with store_to_fill(settings.store) as repository:
            result.ingest = ingest_table(repository, settings, executor, meter("ingest"), command)
        tell("ingest", result.ingest)
    if feature is not None or baseline is not None:
        tell("featurize", None)
        device = settings.fit.device if settings.fit is not None else "cpu"
        if feature is None or open_device(device).row_maker(feature.descriptor()) is None:
            device = "cpu"  # the result says so
        result.featurize = featurize(repository, feature, baseline, executor, meter("featurize"), command, device)
        tell("featurize", result.featurize)
    if settings.fit is not None:
        tell("fit", None)
        fit_settings = settings.fit
        if fit_settings.features is None and feature is not None:
            fit_settings = replace(fit_settings, features=feature.id)
        if fit_settings.baseline is None:
            # a run file without a baseline table means a fit without one
            wanted = baseline.id if baseline is not None else "none" if feature is not None else None
            fit_settings = replace(fit_settings, baseline=wanted)
        result.fit = fit(repository, fit_settings, progress=progress, command=command, executor=executor)
        tell("fit", result.fit)
    model = result.fit.id if result.fit is not None else None
    if model is not None and settings.export is not None:
        tell("export", None)
        for format in settings.export.formats:
            result.exports.append(export(repository, model, format, settings.export.prefix, settings.export.check))
        tell("export", result.exports)
    if model is not None and settings.plot is not None:
        from .plot import plot

        tell("plot", None)
        result.plots = plot(repository, model, settings.plot.directory, settings.plot.format)
        tell("plot", result.plots)
    return result


def open_or_create(path: str | Path) -> Repository:
    """The store at ``path``, made if there is nothing."""
    if Repository.exists(path):
        return Repository.open(path)
    return Repository.create(path)


@contextmanager
def store_to_fill(path: str | Path) -> Iterator[Repository]:
    """:func:`open_or_create`; a store that was made here goes away again when nothing got into it."""
    new = not Repository.exists(path)
    repository = open_or_create(path)
    try:
        yield repository
    except BaseException:
        if new:
            repository.remove_if_empty()
        raise


def ingest_table(
    repository: Repository,
    settings: RunFile,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    command: str = "ingest",
) -> IngestResult:
    """Ingest what the ``[ingest]`` table says."""
    table = settings.ingest
    if table is None:
        raise SettingsError("the run file has no [ingest] table.")
    return ingest(
        repository,
        table.sources,
        table.options(),
        None if table.format == "auto" else table.format,
        table.zero_stress,
        table.include_groups or None,
        executor=executor,
        progress=progress,
        command=command,
    )
