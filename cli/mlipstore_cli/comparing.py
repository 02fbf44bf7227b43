"""``compare-data``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .common import ExecutorName, Json, Quiet, Workers, executor
from .of_files import Format, reads_files, require_plain, words_of

if TYPE_CHECKING:
    from mlipstore.reading import ReadOptions

_SIDE = "A store, STORE@VERSION (branch, tag, id, time, main~1), or a file or folder of any format."


@reads_files()
def compare_data(
    first: Annotated[str, typer.Argument(metavar="A", help=_SIDE)],
    second: Annotated[str, typer.Argument(metavar="B", help="Likewise.")],
    *,
    where: Annotated[str | None, typer.Option(help="Only configurations for which this is true.")] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Do not look for copies with noise or in other coordinates: faster.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="A model: who of the shared ones was trained on, on each side.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="List groups without differences, too.")] = False,
    format: Format = None,
    options: ReadOptions,
    workers: Workers = 0,
    executor_name: ExecutorName = "processes",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What two data sets share, what only one has, where their labels differ, and the unit or zero that explains it.

    Exit code 0: the labels that both have are equal; 1: some differ; 2: the command was wrong. Examples:

    mlipstore compare-data a.mlip@v1.0 a.mlip

    mlipstore compare-data a.mlip train.xyz --where 'group == "surface"'
    """
    from mlipstore.comparing.compare import compare_data as verb
    from mlipstore.comparing.sides import place_and_version

    from .present import Meter, emit
    from .present_comparing import show_comparison

    if place_and_version(first) and place_and_version(second):
        require_plain(options, format)
    with Meter("compare", "configurations", quiet) as meter:
        chosen = executor(executor_name, workers)
        result = verb(first, second, where, options, format, chosen, meter, not exact, model)
    labels = words_of(
        options, format, ("group_by", "stress_unit", "stress_order", "group_stress_unit", "group_stress_order")
    )
    emit(result, json, lambda: show_comparison(result, all_, words_of(options, format), labels))
    if not result.agree:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("compare-data")(compare_data)
