"""The Python face of a store: the verbs of the command line as methods, and its arrays as ``xarray``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .audit.run import AuditResult, audit
from .audit.stored import apply_waivers
from .audit.stored import store as keep_findings
from .curation.card import CardResult, load_card, set_card
from .curation.recipe import ApplyResult, Recipe, apply
from .curation.recipe import load as load_recipe
from .diff import Difference, diff
from .errors import SettingsError
from .executors import Executor
from .export import ExportResult, export
from .export_data import DataExport, export_data
from .features import Feature, StoredBaseline, aliases
from .featurize import FeaturizeResult, featurize
from .files import require_free
from .fit import FitResult, fit, prepare
from .ingest import IngestResult, ingest
from .kept.compute import FactorResult, factor
from .kept.compute import load as load_factors
from .kept.crossvalidation import CrossValidation, cross_validate
from .kept.fit import FactorProblem, fit_from_factors
from .kept.outliers import OutliersResult, outliers
from .kept.reweight import Reweighted
from .kept.select import SelectResult, select
from .kept.uncertainty import Calibration, uncertainty
from .model import Model
from .pipeline import resolve
from .plans import FitPlan
from .predict import PredictResult, predict
from .reading import ReadOptions
from .replay import ReplayResult, replay
from .revert import RevertResult, revert
from .runs.runfile import Fit, RunFile, Search
from .runs.runfile import load as load_run
from .searching.search import SearchResult, fit_of
from .searching.search import search as run_search
from .show import show
from .store import Commit, Repository, Snapshot
from .views import Configurations, Group


def open_store(path: str | os.PathLike[str], ref: str | None = None) -> Store:
    """Open a store for reading and writing; ``ref`` (branch, tag, snapshot id) is what is read.

    :raises StoreNotFoundError: there is none at ``path``
    """
    return Store(Repository.open(path), ref)


def create_store(path: str | os.PathLike[str]) -> Store:
    """Make a new, empty store.

    :raises StoreError: something is there already
    """
    return Store(Repository.create(path))


class Store:
    """Configurations, features and models of one store, at one version."""

    def __init__(self, repository: Repository, ref: str | None = None) -> None:
        self.repository, self.ref = repository, ref

    def __repr__(self) -> str:
        facts = self.show()
        return (
            f"<mlipstore.Store {facts['path']}: {facts['configurations']:,} configurations, {facts['atoms']:,} atoms, "
            f"{len(facts['groups'])} groups, features {[f['alias'] for f in facts['features']]}, "
            f"models {[m['alias'] for m in facts['models']]}>"
        )

    @property
    def snapshot(self) -> Snapshot:
        """The version that is read (the newest one of ``ref`` at each call)."""
        return self.repository.at(self.ref)

    # ---------------------------------------------------------------- reading
    @property
    def configurations(self) -> Configurations:
        """The configurations of this version."""
        return Configurations(self.snapshot)

    @property
    def features(self) -> Mapping[str, Group]:
        """Featurizations by alias."""
        return self._groups("features")

    @property
    def baselines(self) -> Mapping[str, Group]:
        """Baselines by alias."""
        return self._groups("baselines")

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return list(aliases(self.snapshot, "models").values())

    def model(self, name: str) -> Model:
        """A model by name or id: ``predict`` and ``calculator``."""
        return Model.load(self.snapshot, name)

    def open(self, path: str) -> Any:
        """Any group of the store (see docs/layout.md) as a lazy ``xarray.Dataset``."""
        return self.snapshot.to_xarray(path)

    def show(self, name: str | None = None) -> dict[str, Any]:
        """Facts about the store or about one thing in it, as plain values."""
        return show(self.repository, name, self.ref)

    def log(self) -> list[Commit]:
        """Versions, the newest first."""
        return self.repository.log(self.ref)

    def diff(self, a: str, b: str | None = None) -> Difference:
        """What leads from one version to another, see :func:`mlipstore.diff.diff`; ``b``: default this one."""
        return diff(self.repository, a, b if b is not None else self.ref)

    def at(self, ref: str) -> Store:
        """The same store at another version."""
        return Store(self.repository, ref)

    def _groups(self, kind: str) -> dict[str, Group]:
        snapshot = self.snapshot
        return {alias: Group(snapshot, f"{kind}/{i}") for i, alias in aliases(snapshot, kind).items()}

    # ------------------------------------------------------------------ verbs
    def ingest(self, *sources: str | Path, zero_stress: str = "missing", format: str | None = None,
               skip_bad: bool = False, merge_small: bool = True, **options: Any) -> IngestResult:  # fmt: skip
        """See :func:`mlipstore.ingest.ingest`; ``options`` are those of :class:`mlipstore.reading.ReadOptions`."""
        return ingest(self.repository, sources, ReadOptions(**options), format, zero_stress, skip_bad=skip_bad,
                      command="Store.ingest", merge_small=merge_small)  # fmt: skip

    def featurize(
        self,
        settings: str | Path | Mapping[str, Any],
        baseline: Mapping[str, Any] | None = None,
        executor: Executor | None = None,
        device: str = "cpu",
    ) -> FeaturizeResult:
        """See :func:`mlipstore.featurize.featurize`.

        :param settings: a TOML file with ``[descriptor]`` (and ``[baseline]``), or the keys of ``[descriptor]``
        :param executor: where it runs, e.g. ``mlipstore.executors.dask.Dask(2)``; here when None
        :param device: ``cuda`` makes the rows on a GPU, see :mod:`mlipstore.device`
        """
        feature, stored = _computed(settings, baseline)
        return featurize(self.repository, feature, stored, executor, command="Store.featurize", device=device)

    def fit(
        self,
        settings: str | Path | Mapping[str, Any] | Fit | None = None,
        factors: str = "none",
        full: bool = False,
        executor: Executor | None = None,
    ) -> FitResult:
        """See :func:`mlipstore.fit.fit` and :func:`mlipstore.kept.fit.fit_from_factors`.

        :param settings: a TOML file with ``[fit]``, the keys of that table, or None for the defaults
        :param factors: ``none``: rows stream; ``kept``: fit from kept factors, which must be there; ``keep``: compute
            those that are missing and keep them
        :param full: with factors, one pass over the rows for mean absolute and largest errors
        :param executor: where the rows are gone over; here when None
        """
        wanted = _fit_settings(settings)
        if factors == "none":
            return fit(self.repository, wanted, self.ref, command="Store.fit", executor=executor)
        if factors not in ("kept", "keep"):
            raise SettingsError(f"factors is {factors!r}; it is one of none, kept, keep.")
        return fit_from_factors(
            self.repository, wanted, self.ref, full, factors == "keep", executor, command="Store.fit"
        )

    def reweighted(self, settings: str | Path | Mapping[str, Any] | Fit | None = None) -> Reweighted:
        """A fit held ready for other weights, see :class:`mlipstore.kept.reweight.Reweighted`.

        Factors that are missing are computed and kept first.
        """
        wanted = _fit_settings(settings)
        self.factor(wanted)
        problem = prepare(self.repository, wanted, self.ref)
        return Reweighted(FactorProblem(problem, load_factors(problem)))

    def factor(
        self, settings: str | Path | Mapping[str, Any] | Fit | None = None, folds: int = 0, limit: str | None = None
    ) -> FactorResult:
        """Compute and keep the factors of a fit that are missing, see :func:`mlipstore.kept.compute.factor`."""
        wanted = _fit_settings(settings)
        return factor(self.repository, wanted, folds, command="Store.factor", limit=limit, ref=self.ref)

    def cross_validate(
        self, settings: str | Path | Mapping[str, Any] | Fit | None = None, folds: int = 0
    ) -> CrossValidation:
        """Errors on what was left out of the fit, see :func:`mlipstore.kept.crossvalidation.cross_validate`.

        Factors that are missing are computed and kept first.

        :param folds: leave out so many folds in turn instead of every group
        """
        wanted = _fit_settings(settings)
        self.factor(wanted, folds)
        return cross_validate(self.repository, wanted, folds, self.ref)

    def search(
        self,
        settings: str | Path | Mapping[str, Any] | Fit | None = None,
        search: Mapping[str, Any] | Search | None = None,
    ) -> SearchResult:
        """See :func:`mlipstore.searching.search.search`; a search that is there continues.

        :param settings: as for :meth:`fit`; a TOML file with ``[fit]`` and ``[search]`` needs no ``search``
        :param search: the keys of ``[search]``; its defaults when None
        """
        if search is None and isinstance(settings, (str, Path)):
            search = load_run(settings).search
        wanted = search if isinstance(search, Search) else _search_settings(search or {})
        return run_search(self.repository, _fit_settings(settings), wanted, command="Store.search", ref=self.ref)

    def settings_of(self, result: SearchResult, point: str | int = "balanced") -> Fit:
        """Settings of a fit at a point of a search: ``balanced``, an objective (its best), or a trial."""
        groups = sorted(self.configurations.selection.groups())
        return fit_of(result.study, result.settings, result.study.pick(str(point)), groups)

    def uncertainty(self, model: str, folds: int = 0) -> Calibration:
        """Calibrate the predicted deviations of a model, see :func:`mlipstore.kept.uncertainty.uncertainty`."""
        return uncertainty(self.repository, model, folds, self.ref, command="Store.uncertainty")

    def select(
        self, model: str, *sources: str | Path, number: int = 10, force: bool = False, **options: Any
    ) -> SelectResult:
        """Which new configurations to label, see :func:`mlipstore.kept.select.select`; it has the options, too.

        :param force: replace the file ``output`` if it is there
        :raises SettingsError: it is, and is not to be replaced
        """
        _require_free(options.get("output"), force)
        return select(self.repository, model, sources, number, ref=self.ref, **options)

    def outliers(self, model: str, number: int = 20, by: str = "residual") -> OutliersResult:
        """Training configurations to look at again, see :func:`mlipstore.kept.outliers.outliers`."""
        return outliers(self.repository, model, number, by, self.ref)

    def plan(self, settings: str | Path | Mapping[str, Any] | Fit | None = None) -> FitPlan:
        """Rows, columns and projected memory of a fit, without running it."""
        return prepare(self.repository, _fit_settings(settings), self.ref).plan

    def audit(
        self,
        where: str | None = None,
        checks: Sequence[str] | None = None,
        model: str | None = None,
        keep: bool = False,
    ) -> AuditResult:
        """See :func:`mlipstore.audit.run.audit`.

        :param keep: store the findings of all configurations of the newest version, see docs/audit.md
        """
        result = audit(self.repository, self.ref, where, checks=checks, model=model)
        apply_waivers(result, self.snapshot)
        if keep:
            if where is not None or checks or self.ref is not None:
                raise SettingsError("findings are kept of all checks of all configurations of the newest version.")
            keep_findings(self.repository, result, "Store.audit")
        return result

    def apply(self, recipe: str | Path | Recipe, dry_run: bool = False) -> ApplyResult:
        """Corrections of a recipe or its file, see :func:`mlipstore.curation.recipe.apply`."""
        made = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
        return apply(self.repository, made, dry_run, "Store.apply")

    def replay(self, model: str) -> ReplayResult:
        """Repeat a stored fit and compare bit for bit."""
        return replay(self.repository, model, self.ref)

    def predict(
        self,
        model: str,
        source: str | Path,
        output: str | Path | None = None,
        format: str | None = None,
        zero_stress: str = "missing",
        executor: Executor | None = None,
        force: bool = False,
        **options: Any,
    ) -> PredictResult:
        """See :func:`mlipstore.predict.predict`; ``options`` are those of :class:`mlipstore.reading.ReadOptions`.

        :param force: replace the file ``output`` if it is there
        :raises SettingsError: it is, and is not to be replaced
        """
        _require_free(output, force)
        return predict(self.model(model), source, output, ReadOptions(**options), format, zero_stress, executor)

    def export(self, model: str, prefix: str | Path | None = None, format: str = "lammps-snap",
               check: int = 20, force: bool = False) -> ExportResult:  # fmt: skip
        """See :func:`mlipstore.export.export`; files that are there are replaced with ``force`` only."""
        return export(self.repository, model, format, prefix, check, self.ref, force)

    def export_data(
        self, format: str, output: str | Path | None = None, where: str | None = None, force: bool = False
    ) -> DataExport:
        """Configurations in another format, see :func:`mlipstore.export_data.export_data`."""
        return export_data(self.repository, format, output, where, self.ref, force=force)

    @property
    def card(self) -> dict[str, Any]:
        """The dataset card of this version, empty if there is none."""
        return load_card(self.snapshot)

    def set_card(self, card: str | Path | Mapping[str, Any]) -> CardResult:
        """Store a dataset card, see :func:`mlipstore.curation.card.set_card`."""
        return set_card(self.repository, card, command="Store.set_card")

    def tag(self, name: str) -> str:
        """Name this version; its id."""
        return self.repository.tag(name, self.ref)

    def revert(self, version: str, back_to: bool = False) -> RevertResult:
        """Undo a version, see :func:`mlipstore.revert.revert`."""
        return revert(self.repository, version, back_to, command="Store.revert")


def _fit_settings(settings: str | Path | Mapping[str, Any] | Fit | None) -> Fit:
    if settings is None:
        return Fit()
    if isinstance(settings, Fit):
        return settings
    if isinstance(settings, Mapping):
        return Fit.from_dict(settings)
    table = load_run(settings).fit
    if table is None:
        raise SettingsError(f"{settings} has no [fit] table.")
    return table


def _search_settings(values: Mapping[str, Any]) -> Search:
    search = RunFile.from_dict({"search": values}, "settings of the search").search
    assert search is not None
    return search


def _computed(
    settings: str | Path | Mapping[str, Any], baseline: Mapping[str, Any] | None
) -> tuple[Feature | None, StoredBaseline | None]:
    if isinstance(settings, Mapping):
        tables: dict[str, Any] = {"descriptor": dict(settings)}
        if baseline is not None:
            tables["baseline"] = dict(baseline)
        return resolve(RunFile.from_dict(tables))
    return resolve(load_run(settings))


def _require_free(output: str | Path | None, force: bool) -> None:
    """Before any work is done for it."""
    if output is not None and not force:
        require_free(Path(output))
