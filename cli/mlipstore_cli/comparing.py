"""``compare-data``."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import ExecutorName, Json, Quiet, Workers, executor
from .of_files import (
    EnergyKey,
    EnergyUnit,
    ForceKey,
    ForceUnit,
    Format,
    Frames,
    GroupBy,
    LengthUnit,
    StressKey,
    StressOrder,
    StressSign,
    StressUnit,
    TypeMap,
    VirialKey,
    read_options,
    require_plain,
)

_SIDE = "A store, STORE@VERSION (branch, tag, id, time, main~1), or a file or folder of any format."


def compare_data(
    first: Annotated[str, typer.Argument(metavar="A", help=_SIDE)],
    second: Annotated[str, typer.Argument(metavar="B", help="Likewise.")],
    where: Annotated[str | None, typer.Option(help="Only configurations for which this is true.")] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Do not look for copies with noise or in other coordinates: faster.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="A model: who of the shared ones was trained on, on each side.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="List groups without differences, too.")] = False,
    format: Format = None,
    group_by: GroupBy = "auto",
    energy_key: EnergyKey = None,
    force_key: ForceKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
    energy_unit: EnergyUnit = None,
    length_unit: LengthUnit = None,
    force_unit: ForceUnit = None,
    stress_unit: StressUnit = None,
    stress_sign: StressSign = None,
    stress_order: StressOrder = None,
    type_map: TypeMap = None,
    index: Frames = ":",
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

    options = read_options(
        type_map, energy_key=energy_key, force_key=force_key, stress_key=stress_key, virial_key=virial_key,
        energy_unit=energy_unit, length_unit=length_unit, force_unit=force_unit, stress_unit=stress_unit,
        stress_sign=stress_sign, stress_order=stress_order, group_by=group_by, index=index,
    )  # fmt: skip
    if place_and_version(first) and place_and_version(second):
        require_plain(options, format)
    with Meter("compare", "configurations", quiet) as meter:
        chosen = executor(executor_name, workers)
        result = verb(first, second, where, options, format, chosen, meter, not exact, model)
    emit(result, json, lambda: show_comparison(result, all_))
    if not result.agree:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("compare-data")(compare_data)
