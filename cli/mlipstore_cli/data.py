"""``ingest`` and ``featurize``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import ExecutorName, Json, Quiet, Scheduler, Store, Workers, command_line, executor, pairs, workers_on
from .of_files import Format, ZeroStress, reads_files

if TYPE_CHECKING:
    from mlipstore.features import Feature, StoredBaseline
    from mlipstore.reading import ReadOptions
    from mlipstore.runs.runfile import RunFile
    from mlipstore.store import Repository


@reads_files()
def ingest(
    store: Store,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files or folders to read.")],
    *,
    format: Format = None,
    include_group: Annotated[list[str] | None, typer.Option(help="Keep only this group (repeatable).")] = None,
    options: ReadOptions,
    zero_stress: ZeroStress = "missing",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out what cannot be read, and list it.")] = False,
    no_merge: Annotated[bool, typer.Option("--no-merge", help="Let small segments pile up.")] = False,
    workers: Workers = 0,
    executor_name: ExecutorName = "processes",
    scheduler: Scheduler = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read configurations of any format into the store; what it holds already is not stored twice."""
    from mlipstore.ingest import ingest as verb
    from mlipstore.pipeline import store_to_fill

    from .present import emit, show_ingest
    from .progress import Meter

    with Meter("ingest", "files", quiet) as meter, store_to_fill(store) as repository:
        result = verb(
            repository, sources, options, format, zero_stress, include_group or None, skip_bad,
            executor(executor_name, workers, scheduler), meter, command_line(), not no_merge,
        )  # fmt: skip
    emit(result, json, lambda: show_ingest(result, store))


def featurize(
    store: Store,
    descriptor: Annotated[
        str | None,
        typer.Option(
            "--descriptor",
            "-d",
            help="TOML file with [descriptor], [baseline]; or a descriptor's name; or features of the store, which is "
            "the default.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of a descriptor given by name (repeatable)."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print rows, bytes and memory, and stop.")] = False,
    workers: Workers = 0,
    executor_name: ExecutorName = "processes",
    scheduler: Scheduler = None,
    device: Annotated[str, typer.Option(help="What makes the rows: cpu, or cuda (CuPy; SNAP).")] = "cpu",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compute the rows of a descriptor, and a baseline, for every configuration that lacks them."""
    from mlipstore.errors import SettingsError
    from mlipstore.featurize import featurize as verb
    from mlipstore.plans import featurize_plan
    from mlipstore.store import Repository

    from .present import emit, show_featurize, show_featurize_plan
    from .progress import Meter

    repository = Repository.open(store)
    feature, baseline = _wanted(descriptor, settings or [], repository)
    chosen = executor(executor_name, workers, scheduler)
    if plan:
        if feature is None:
            raise SettingsError("a plan is made for a [descriptor] table; there is none.")
        planned = featurize_plan(repository.at(), feature, feature.descriptor().columns())
        counted = workers_on(device, chosen)
        emit(planned, json, lambda: show_featurize_plan(planned, feature, counted))
        return
    with Meter("featurize", "atoms", quiet) as meter:
        result = verb(repository, feature, baseline, chosen, meter, command_line(), device)
    emit(result, json, lambda: show_featurize(result, store))


def _wanted(
    given: str | None, settings: list[str], repository: Repository
) -> tuple[Feature | None, StoredBaseline | None]:
    """What a run file says, a descriptor's name and settings, or features that the store has."""
    from pathlib import Path

    from mlipstore import registry
    from mlipstore.errors import SettingsError, listed, nearest
    from mlipstore.features import Feature, StoredBaseline, aliases, only
    from mlipstore.pipeline import resolve
    from mlipstore.runs.runfile import load

    snapshot, descriptors = repository.at(), registry.names("descriptors")
    have = aliases(snapshot, "features")
    named = {*have, *have.values()}
    is_file = given is not None and Path(given).is_file()  # a folder may be called like a descriptor
    if given in descriptors and not is_file:
        return resolve(_by_name(given, settings, repository))
    if settings:
        raise SettingsError("--set goes with a descriptor given by name, such as -d snap; edit the file instead.")
    if given is None:
        feature, baseline = (only(snapshot, kind, "with --descriptor") for kind in ("features", "baselines"))
        if feature is None and baseline is None:
            raise SettingsError(
                "say which descriptor: -d FILE.toml, a file with a [descriptor] table, or a name and settings, such as "
                f"-d snap --set rcutfac=4.7. Known: {listed(descriptors)}."
            )
        return (
            None if feature is None else Feature.load(snapshot, feature),
            None if baseline is None else StoredBaseline.load(snapshot, baseline),
        )
    if given in named and not is_file:
        return Feature.load(snapshot, given), None
    if not is_file and Path(given).name == given and not given.endswith(".toml"):
        known = sorted({*descriptors, *have.values()})
        raise SettingsError(
            f"there is no file and no descriptor {given!r}. {nearest(given, known)}Known: {listed(known)}."
        )
    wanted = resolve(load(given))
    if wanted == (None, None):
        raise SettingsError(f"{given} has neither a [descriptor] nor a [baseline] table.")
    return wanted


def _by_name(given: str, settings: list[str], repository: Repository) -> RunFile:
    """A run file made of a descriptor's name and settings; elements default to those of the store."""
    import tomllib
    from dataclasses import fields

    from mlipstore import registry
    from mlipstore.errors import SettingsError
    from mlipstore.featurize import no_configurations
    from mlipstore.runs.runfile import RunFile
    from mlipstore.show import elements

    table: dict[str, Any] = {"type": given}
    for key, value in pairs(settings, "--set", "KEY=VALUE").items():
        try:
            table[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            table[key] = value  # a bare word is text
    if any(f.name == "elements" for f in fields(registry.get("descriptors", given))):
        there = elements(repository.at())
        if not there:
            raise no_configurations(repository)
        table.setdefault("elements", there)
    try:
        return RunFile.from_dict({"descriptor": table}, f"--descriptor {given}")
    except SettingsError as e:
        raise SettingsError(f"{e} Settings are given as --set KEY=VALUE.") from None


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(ingest)
    app.command()(featurize)
