"""``fit``, ``replay``, ``predict``, ``export`` and ``plot``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
    workers_on,
)
from .of_files import Format, ZeroStress, reads_files
from .planning import plan as plan_counts

if TYPE_CHECKING:
    from mlipstore.reading import ReadOptions

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name or id of a model.")]
Units = Annotated[str | None, typer.Option(help="standard (meV/atom, meV/Å, GPa) or fitsnap (eV/atom, eV/Å, bar).")]


def fit(
    store: Store,
    config: Annotated[str | None, typer.Option("--config", "-c", help="TOML file with a [fit] table.")] = None,
    features: Annotated[str | None, typer.Option(help="Featurization (alias or id), if the store has several.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    weight: Annotated[
        list[str] | None, typer.Option(metavar="GROUP.kind=VALUE", help="Change one weight (repeatable); * = all.")
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", "-w", help="Fit only these, e.g. 'max_force < 20'; part of the model.")
    ] = None,
    solver: Annotated[str | None, typer.Option(help="Solver; 'list' prints what there is.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory the fit may take, e.g. 4GB.")] = None,
    from_factors: Annotated[
        bool, typer.Option("--from-factors", help="Fit from kept factors: no rows are read; see factor.")
    ] = False,
    keep_factors: Annotated[
        bool, typer.Option("--keep-factors", help="As --from-factors; missing factors are computed and kept.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With factors: one pass over the rows for mean absolute and largest errors.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Print rows, bytes, memory and time, and stop.")] = False,
    workers: Workers = 0,
    executor_name: ExecutorName = "processes",
    scheduler: Scheduler = None,
    device: Annotated[
        str | None, typer.Option(help="What computes the factor, and rows that are not stored: cpu, or cuda (CuPy).")
    ] = None,
    units: Units = None,
    ref: Ref = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a linear model; rows stream, memory does not grow with them."""
    from dataclasses import replace

    from mlipstore import registry
    from mlipstore.errors import SettingsError
    from mlipstore.fit import fit as verb
    from mlipstore.fit import prepare
    from mlipstore.forecast import forecast_fit
    from mlipstore.index import Index
    from mlipstore.kept.fit import fit_from_factors
    from mlipstore.runs.runfile import Evaluate, Fit, PluginTable, load
    from mlipstore.store import Repository

    from .present import emit, show_fit, show_fit_plan
    from .progress import Meter

    if solver == "list":
        typer.echo("\n".join(registry.names("solvers")))
        return
    run = None if config is None else load(config)
    if run is not None and run.fit is None:
        raise SettingsError(f"{config} has no [fit] table.")
    settings = Fit() if run is None or run.fit is None else run.fit
    repository = Repository.open(store)
    if weight:
        groups = set(Index.load(repository.at(ref)).live_groups())
        settings = settings.with_weights(weight, groups)
    if solver is not None:
        kept = settings.solver.settings if settings.solver.type == solver else {}
        settings = replace(settings, solver=PluginTable(solver, settings=kept))
    given: dict[str, Any] = {
        "features": features, "name": name, "max_memory": memory, "where": where, "device": device
    }  # fmt: skip
    settings = replace(settings, **{k: v for k, v in given.items() if v is not None})
    chosen = units or (run.evaluate if run is not None else Evaluate()).units
    if plan:
        counted = workers_on(settings.device, executor(executor_name, workers, scheduler))
        planned = forecast_fit(prepare(repository, settings, ref), counted)
        emit(planned, json, lambda: show_fit_plan(planned))
        return
    factored = from_factors or keep_factors
    if full and not factored:
        raise SettingsError("--full goes with --from-factors or --keep-factors; a fit that streams has all errors.")
    runs_on = executor(executor_name, workers, scheduler)
    with Meter("fit", "segments" if factored else "rows", quiet) as meter:
        if factored:
            result = fit_from_factors(
                repository, settings, ref, full, keep_factors, runs_on, meter.stage, command_line()
            )
        else:
            result = verb(repository, settings, ref, meter.stage, command_line(), runs_on)
    emit(result, json, lambda: show_fit(result, store, chosen))


def replay(store: Store, model: Model, ref: Ref = None, json: Json = False, quiet: Quiet = False) -> None:
    """Repeat a stored fit from its provenance and compare bit for bit; exit code 1 if the bits differ."""
    from mlipstore.replay import replay as verb
    from mlipstore.store import Repository

    from .present import emit, show_replay
    from .progress import Meter

    with Meter("fit", "rows", quiet) as meter:
        result = verb(Repository.open(store), model, ref, meter.stage)
    emit(result, json, lambda: show_replay(result))
    if not result.equal:
        raise typer.Exit(1)


@reads_files()
def predict(
    store: Store,
    model: Model,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="File or folder with configurations.")],
    *,
    output: Annotated[str | None, typer.Option("--output", "-o", help="extxyz file for the predictions.")] = None,
    force: Force = False,
    format: Format = None,
    options: ReadOptions,
    zero_stress: ZeroStress = "missing",
    units: Units = None,
    ref: Ref = None,
    workers: Workers = 0,
    executor_name: ExecutorName = "processes",
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Predict energies, forces and stresses of a file; errors are shown where it has labels."""
    from mlipstore.model import Model as Loaded
    from mlipstore.predict import predict as verb
    from mlipstore.store import Repository

    from .present import emit, show_predict

    require_free(output, force)
    loaded = Loaded.load(Repository.open(store).at(ref), model)
    result = verb(loaded, source, output, options, format, zero_stress, executor(executor_name, workers, scheduler))
    emit(result, json, lambda: show_predict(result, units or "standard"))


def export(
    store: Store,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Name or id of a model; none exports configurations.")
    ] = None,
    format: Annotated[
        str, typer.Option(help="Of a model: lammps-snap. Of configurations: extxyz, ase-db, fitsnap, n2p2.")
    ] = "lammps-snap",
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Path, of a model without suffix; default the name of the model or store."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there (never a folder).")] = False,
    where: Annotated[
        str | None, typer.Option("--where", "-w", help="Only these configurations, e.g. 'group == \"surface\"'.")
    ] = None,
    check: Annotated[int, typer.Option(help="Configurations to compare in the other program; 0 = none.")] = 20,
    ref: Ref = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a model for another program and check it there; or configurations with labels and groups.

    What a format cannot hold is said, and how the file is read back. With a model, the column split of --where is that
    of the model. Examples:

    mlipstore export a.mlip fit-3C1A --format lammps-snap -o WBe

    mlipstore export a.mlip --format extxyz --where '"W" in elements' -o tungsten.xyz
    """
    from mlipstore import registry
    from mlipstore.errors import SettingsError, listed
    from mlipstore.export import export as verb
    from mlipstore.export_data import export_data, formats, unknown_format
    from mlipstore.features import aliases
    from mlipstore.kept.problem import refit, split_of
    from mlipstore.store import Repository

    from .present import Meter, emit, show_data_export, show_export

    if format in formats():
        repository = Repository.open(store)
        split = None if model is None else split_of(refit(repository, model, ref, check_memory=False))
        with Meter("export", "configurations", quiet) as meter:
            data = export_data(repository, format, output, where, ref, split, meter, force)
        emit(data, json, lambda: show_data_export(data))
        return
    if format not in registry.names("exporters"):
        raise unknown_format(format)
    if model is None:
        models = sorted(aliases(Repository.open(store).at(ref), "models").values())
        raise SettingsError(
            f"say which model ({listed(models) or 'there is none yet'}), or a format of configurations: "
            f"--format {' or '.join(formats())}."
        )
    if where is not None:
        raise SettingsError("--where chooses configurations; a model is exported whole.")
    result = verb(Repository.open(store), model, format, output, check, ref, force)
    emit(result, json, lambda: show_export(result))


def plot(
    store: Store,
    model: Model,
    output: Annotated[str, typer.Option("--output", "-o", help="Folder for the pictures.")] = "plots",
    format: Annotated[str, typer.Option(help="png, svg or pdf.")] = "png",
    group: Annotated[list[str] | None, typer.Option(help="Draw only this group (repeatable).")] = None,
    where: Annotated[
        str | None, typer.Option("--where", "-w", help="Draw only these, e.g. 'split == \"test\" and n_atoms > 20'.")
    ] = None,
    ref: Ref = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw parity plots, errors by group and residuals of a model, or the Pareto front of a study."""
    from mlipstore.plot import plot as verb
    from mlipstore.store import Repository

    from .present import emit_paths
    from .progress import Meter

    with Meter("plot", "rows", quiet) as meter:
        paths = verb(Repository.open(store), model, output, format, ref, group or None, meter.stage, where)
    emit_paths(paths, json)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (fit, plan_counts, replay, predict, export, plot):
        app.command()(command)
