"""Options that say how files are read, of every command that reads some."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import pairs

if TYPE_CHECKING:
    from mlipstore.reading import ReadOptions

Format = Annotated[str | None, typer.Option(help="Format of the files; found out by itself if not given.")]
ZeroStress = Annotated[str, typer.Option(help="A stress of six zeros is 'missing', or a 'value' (zero pressure).")]


def read_options(
    *,
    group_by: Annotated[
        str, typer.Option(help="Group of a configuration in the files: auto, directory, file, none or key:NAME.")
    ] = "auto",
    energy_key: Annotated[str | None, typer.Option(help="Name of the energy in the files.")] = None,
    force_key: Annotated[str | None, typer.Option(help="Name of the forces in the files.")] = None,
    stress_key: Annotated[str | None, typer.Option(help="Name of the stress in the files.")] = None,
    virial_key: Annotated[str | None, typer.Option(help="Name of the virial in the files.")] = None,
    energy_unit: Annotated[
        str | None, typer.Option(help="Unit of energies in the files: eV, Ha, Ry, kcal/mol, kJ/mol.")
    ] = None,
    length_unit: Annotated[str | None, typer.Option(help="Unit of lengths in the files: A, Bohr, nm.")] = None,
    force_unit: Annotated[
        str | None, typer.Option(help="Unit of forces in the files: eV/A, Ha/Bohr, Ry/Bohr, kcal/mol/A.")
    ] = None,
    stress_unit: Annotated[
        str | None, typer.Option(help="Unit of stresses in the files: eV/A^3, GPa, kbar, bar, Ha/Bohr^3, Ry/Bohr^3.")
    ] = None,
    stress_sign: Annotated[
        str | None, typer.Option(help="Which sign of a stress is positive in the files: tension or compression.")
    ] = None,
    stress_order: Annotated[
        str | None, typer.Option(help="Order of six stresses in the files, e.g. 'xx yy zz xy yz xz'.")
    ] = None,
    group_stress_unit: Annotated[
        list[str] | None, typer.Option(metavar="GROUP=UNIT", help="Stress unit of one group (repeatable).")
    ] = None,
    group_stress_order: Annotated[
        list[str] | None, typer.Option(metavar="GROUP=ORDER", help="Stress order of one group (repeatable).")
    ] = None,
    type_map: Annotated[
        str | None, typer.Option(help="Elements of integer types in the files, in type order: 'Ni Al'.")
    ] = None,
    index: Annotated[
        str, typer.Option(help="Frames of a trajectory: ':' all, '-1' the last, '::10' every tenth.")
    ] = ":",
) -> Any:
    """The options as a reader takes them: :class:`mlipstore.reading.ReadOptions`, which takes long to import."""
    given = dict(locals())
    from mlipstore.reading import ReadOptions

    given["type_map"] = tuple((type_map or "").replace(",", " ").split())
    given["group_stress_unit"] = pairs(group_stress_unit, "--group-stress-unit")
    given["group_stress_order"] = pairs(group_stress_order, "--group-stress-order")
    return ReadOptions(**given)


def reads_files(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Put the options of :func:`read_options`, or those named, in the place of the parameter ``options`` of a command,
    which is given the :class:`ReadOptions` that they make."""
    accepted = inspect.signature(read_options, eval_str=True).parameters
    read = [accepted[name] for name in names or accepted]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        del command.__annotations__["options"]  # of a type that is not imported
        signature = inspect.signature(command, eval_str=True)
        parameters = list(signature.parameters.values())
        place = list(signature.parameters).index("options")
        parameters[place : place + 1] = read

        @functools.wraps(command)
        def reading(**given: Any) -> None:
            options = read_options(**{p.name: given.pop(p.name) for p in read})
            command(options=options, **given)

        reading.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        reading.__annotations__ = {p.name: p.annotation for p in parameters}
        return reading

    return decorate


def words_of(options: ReadOptions, format: str | None, but: Collection[str] = ()) -> list[str]:
    """The same options for another command.

    :param but: names of those that it does not have
    """
    from dataclasses import fields

    out = [] if format is None else ["--format", format]
    for f in fields(options):
        value, option = getattr(options, f.name), f"--{f.name.replace('_', '-')}"
        if f.name in but or value == getattr(type(options)(), f.name):
            continue
        if isinstance(value, Mapping):
            out += [word for group, unit in value.items() for word in (option, f"{group}={unit}")]
        else:
            out += [option, value if isinstance(value, str) else " ".join(value)]
    return out


def require_plain(options: ReadOptions, format: str | None) -> None:
    """Refuse options for files where there are none.

    :raises SettingsError: there are some
    """
    from mlipstore.errors import SettingsError
    from mlipstore.reading import ReadOptions

    if format is not None or options != ReadOptions():
        raise SettingsError("--format, units, keys and orders are for files; a store has its own. Leave them out.")
