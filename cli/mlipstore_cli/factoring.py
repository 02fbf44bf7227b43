"""``factor``, ``cross-validate``, ``search``, ``uncertainty``: kept factors, what they give without reading rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from .common import (
    ExecutorName,
    Force,
    Json,
    Quiet,
    Ref,
    Scheduler,
    Store,
    Workers,
    command_line,
    executor,
    require_free,
)

if TYPE_CHECKING:
    from mlipstore.runs.runfile import Fit

Config = Annotated[str | None, typer.Option("--config", "-c", help="TOML file with a [fit] table.")]
Features = Annotated[str | None, typer.Option(help="Featurization (alias or id), if the store has several.")]
Folds = Annotated[int, typer.Option(min=0, help="Deal the training configurations into so many folds; 0 = not.")]
Units = Annotated[str | None, typer.Option(help="standard (meV/atom, meV/Å, GPa) or fitsnap (eV/atom, eV/Å, bar).")]
Limit = Annotated[
    str | None, typer.Option(help="Room for the factors in the store, e.g. 10GB; what spares most rows is kept.")
]


def factor(
    store: Store,
    config: Config = None,
    features: Features = None,
    folds: Folds = 0,
    limit: Limit = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print keys, bytes and memory, and stop.")] = False,
    workers: Workers = 0,
    executor_name: ExecutorName = "processes",
    scheduler: Scheduler = None,
    ref: Ref = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep the triangular factors of a fit's rows, so that later fits, searches and cross-validation read none."""
    from mlipstore.fit import prepare
    from mlipstore.kept.compute import complete, require_room
    from mlipstore.kept.compute import plan as plan_verb
    from mlipstore.kept.factors import find
    from mlipstore.memory import parse_bytes
    from mlipstore.store import Repository

    from .present import emit
    from .present_factors import show_factor, show_factor_plan
    from .progress import Meter

    settings, _ = fit_settings(config, features)
    repository = Repository.open(store)
    problem = prepare(repository, settings, ref)
    kept = find(problem.matrix, problem.table, folds)
    chosen = executor(executor_name, workers, scheduler)
    if plan:
        planned = plan_verb(problem, kept if limit is None else kept.within(parse_bytes(limit)))
        emit(planned, json, lambda: show_factor_plan(planned, chosen.n_workers))
        require_room(planned)
        return
    with Meter("factor", "rows", quiet) as meter:
        result = complete(repository, problem, kept, chosen, meter, command_line(), limit)
    emit(result, json, lambda: show_factor(result, store))


def cross_validate(
    store: Store,
    config: Config = None,
    features: Features = None,
    folds: Annotated[int, typer.Option(min=0, help="Leave out so many folds in turn; 0 = every group in turn.")] = 0,
    units: Units = None,
    ref: Ref = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Errors on rows that were left out of the fit, group by group or fold by fold, from kept factors.

    Factors that are missing are computed and kept first.
    """
    from mlipstore.kept.compute import factor as factor_verb
    from mlipstore.kept.crossvalidation import cross_validate as verb
    from mlipstore.store import Repository

    from .present import emit
    from .present_factors import show_cross_validation
    from .progress import Meter

    settings, unit = fit_settings(config, features)
    repository = Repository.open(store)
    with Meter("factor", "rows", quiet) as meter:
        factor_verb(repository, settings, folds, None, meter, command_line(), ref=ref)
    with Meter("cross-validation", "fits", quiet) as meter:
        result = verb(repository, settings, folds, ref, meter.stage)
    emit(result, json, lambda: show_cross_validation(result, units or unit))


def search(
    store: Store,
    config: Annotated[str, typer.Option("--config", "-c", help="TOML file with a table [fit]; [search] if wanted.")],
    features: Features = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Fits to try, instead of trials in the file.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the search, instead of seed in the file.")] = None,
    pick: Annotated[
        str, typer.Option(help="Point for --output and --name: balanced, an objective (its best), or a trial.")
    ] = "balanced",
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="TOML file for the [fit] table of the picked point.")
    ] = None,
    force: Force = False,
    name: Annotated[str | None, typer.Option(help="Fit the picked point and store the model by this name.")] = None,
    units: Units = None,
    workers: Workers = 0,
    executor_name: ExecutorName = "processes",
    scheduler: Scheduler = None,
    ref: Ref = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find weights for which rows that were not fitted are predicted best: thousands of fits, no rows read."""
    from pathlib import Path

    from mlipstore.files import written_whole
    from mlipstore.index import Index
    from mlipstore.kept.fit import fit_from_factors
    from mlipstore.runs.runfile import RunFile, dump_toml, load
    from mlipstore.searching.search import fit_of
    from mlipstore.searching.search import search as verb
    from mlipstore.searching.settings import Search
    from mlipstore.store import Repository

    from .present import emit, show_fit
    from .present_factors import show_search
    from .progress import Meter
    from .tables import next_step, say

    require_free(output, force)
    settings, unit = fit_settings(config, features)
    run = load(config)
    found = run.search or Search()  # which varies all energy and force weights
    wanted = replace(found, trials=trials or found.trials, seed=found.seed if seed is None else seed)
    repository = Repository.open(store)
    chosen = executor(executor_name, workers, scheduler)
    with Meter("search", "trials", quiet) as meter:
        result = verb(repository, settings, wanted, chosen, meter.stage, command_line(), ref)
    trial = result.study.pick(pick)
    emit(result, json, lambda: show_search(result, trial, units or unit))
    if output is None and name is None:
        if not json:
            options = ("--output", "FIT.toml", "--name", "MODEL")
            next_step("search", store, "--config", config, *options, or_else="   [--pick POINT]")
        return
    best = fit_of(result.study, settings, trial, sorted(Index.load(repository.at(ref)).live_groups()))
    if output is not None:
        with written_whole(Path(output)) as part:
            part.write_text(dump_toml(RunFile(fit=best, evaluate=run.evaluate).to_dict()), encoding="utf-8")
        if not json:
            say(f"  wrote {output}: the [fit] table of trial {trial}")
    if name is not None:
        with Meter("fit", "segments", quiet) as meter:
            model = fit_from_factors(
                repository, replace(best, name=name), ref, keep=True, executor=chosen, progress=meter.stage,
                command=command_line(),
            )  # fmt: skip
        if not json:
            show_fit(model, store, units or unit)


def uncertainty(
    store: Store,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name or id of a model.")],
    folds: Annotated[int, typer.Option(min=0, help="Leave out so many folds in turn; 0 = every group in turn.")] = 0,
    units: Units = None,
    ref: Ref = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Calibrate the predicted standard deviations of a model on groups that are left out, and keep them with it."""
    from mlipstore.kept.uncertainty import uncertainty as verb
    from mlipstore.store import Repository

    from .present import emit
    from .present_factors import show_calibration
    from .progress import Meter

    with Meter("cross-validation", "fits", quiet) as meter:
        result = verb(Repository.open(store), model, folds, ref, meter.stage, command_line())
    emit(result, json, lambda: show_calibration(result, units or "standard"))


def fit_settings(config: str | None, features: str | None) -> tuple[Fit, str]:
    """The [fit] table of a run file (or the defaults) and the units of its error tables."""
    from mlipstore.errors import SettingsError
    from mlipstore.runs.runfile import Evaluate, Fit, load

    run = None if config is None else load(config)
    if run is not None and run.fit is None:
        raise SettingsError(f"{config} has no [fit] table.")
    settings = Fit() if run is None or run.fit is None else run.fit
    if features is not None:
        settings = replace(settings, features=features)
    return settings, (Evaluate() if run is None else run.evaluate).units


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(factor)
    app.command("cross-validate")(cross_validate)
    app.command()(search)
    app.command()(uncertainty)
