"""Options that say how files are read, of the commands that take a store or files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mlipstore.reading import ReadOptions

Format = Annotated[str | None, typer.Option(help="Format of files; found out by itself if not given.")]
GroupBy = Annotated[str, typer.Option(help="Of files: group by auto, directory, file, none or key:NAME.")]
EnergyKey = Annotated[str | None, typer.Option(help="Of files: name of the energy.")]
ForceKey = Annotated[str | None, typer.Option(help="Of files: name of the forces.")]
StressKey = Annotated[str | None, typer.Option(help="Of files: name of the stress.")]
VirialKey = Annotated[str | None, typer.Option(help="Of files: name of the virial.")]
EnergyUnit = Annotated[str | None, typer.Option(help="Of files: eV, Ha, Ry, kcal/mol, kJ/mol.")]
LengthUnit = Annotated[str | None, typer.Option(help="Of files: A, Bohr, nm.")]
ForceUnit = Annotated[str | None, typer.Option(help="Of files: eV/A, Ha/Bohr, Ry/Bohr, kcal/mol/A.")]
StressUnit = Annotated[str | None, typer.Option(help="Of files: eV/A^3, GPa, kbar, bar, Ha/Bohr^3, Ry/Bohr^3.")]
StressSign = Annotated[str | None, typer.Option(help="Of files: which sign is positive, tension or compression.")]
StressOrder = Annotated[str | None, typer.Option(help="Of files: order of six numbers, e.g. 'xx yy zz xy yz xz'.")]
TypeMap = Annotated[str | None, typer.Option(help="Of files: elements of integer types in type order.")]
Frames = Annotated[str, typer.Option(help="Of files: frames of a trajectory.")]


def read_options(type_map: str | None, **given: Any) -> ReadOptions:
    """The options as a reader takes them."""
    from mlipstore.reading import ReadOptions

    return ReadOptions(type_map=tuple((type_map or "").replace(",", " ").split()), **given)


def require_plain(options: ReadOptions, format: str | None) -> None:
    """Refuse options for files where there are none.

    :raises SettingsError: there are some
    """
    from mlipstore.errors import SettingsError
    from mlipstore.reading import ReadOptions

    if format is not None or options != ReadOptions():
        raise SettingsError("--format, units, keys and orders are for files; a store has its own. Leave them out.")
