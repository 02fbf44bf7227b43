"""``select`` and ``outliers``: what to label next, and which labels to look at again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .common import Force, Json, Quiet, Ref, Store, require_free
from .fitting import Model, Units
from .of_files import Format, reads_files

if TYPE_CHECKING:
    from mlipstore.reading import ReadOptions


@reads_files()
def select(
    store: Store,
    model: Model,
    *,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="Files or folders with candidates; labels are not needed."),
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", help="How many configurations to choose.")] = 10,
    method: Annotated[
        str,
        typer.Option(help="i-optimal (candidates are predicted best), d-optimal (most information) or max-variance."),
    ] = "i-optimal",
    per: Annotated[
        str, typer.Option(help="configuration, or atom: information per atom, largest variance of a force.")
    ] = "configuration",
    distance: Annotated[
        float,
        typer.Option(help="Pass over near-duplicates: distance in standard deviations of the descriptors; 0 = not."),
    ] = 0.01,
    group: Annotated[
        list[str] | None, typer.Option(help="Choose from this group of the store, which was not fitted (repeatable).")
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="extxyz file for the picks, best first.")] = None,
    force: Force = False,
    format: Format = None,
    options: ReadOptions,
    units: Units = None,
    ref: Ref = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose the new configurations whose labels would teach a model most."""
    from mlipstore.kept.select import select as verb
    from mlipstore.store import Repository

    from .present import Meter, emit
    from .present_choosing import show_select

    require_free(output, force)
    with Meter("rows", "configurations", quiet) as meter:
        result = verb(
            Repository.open(store), model, sources or (), number, method, per, distance, group or (), output, options,
            format, ref, meter.stage,
        )  # fmt: skip
    emit(result, json, lambda: show_select(result, store, units or "standard"))


def outliers(
    store: Store,
    model: Model,
    number: Annotated[int, typer.Option("--number", "-n", help="How many configurations to list.")] = 20,
    by: Annotated[
        str, typer.Option(help="residual (labels that do not fit) or leverage (labels that decide).")
    ] = "residual",
    units: Units = None,
    ref: Ref = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Training configurations whose labels do not fit the others, or that decide coefficients alone."""
    from mlipstore.kept.outliers import outliers as verb
    from mlipstore.store import Repository

    from .present import Meter, emit
    from .present_choosing import show_outliers

    with Meter("outliers", "rows", quiet) as meter:
        result = verb(Repository.open(store), model, number, by, ref, meter.stage)
    emit(result, json, lambda: show_outliers(result, units or "standard"))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (select, outliers):
        app.command()(command)
