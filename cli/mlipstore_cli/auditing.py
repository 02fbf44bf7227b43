"""``audit`` and ``compare-data``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .common import ExecutorName, Json, Quiet, Ref, Workers, command_line, executor

if TYPE_CHECKING:
    from mlipstore.reading import ReadOptions

Format = Annotated[str | None, typer.Option(help="Format of files; found out by itself if not given.")]
GroupBy = Annotated[str, typer.Option(help="Of files: group by auto, directory, file, none or key:NAME.")]


def audit(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="STORE | FILE...", help="A store, or files and folders, which are not stored."),
    ],
    where: Annotated[str | None, typer.Option(help="Only configurations for which this is true.")] = None,
    ref: Ref = None,
    check: Annotated[list[str] | None, typer.Option(help="Only this check (repeatable).")] = None,
    model: Annotated[str | None, typer.Option(help="A model: is any of its test set in its training set?")] = None,
    all_: Annotated[bool, typer.Option("--all", help="List what is in order and what is undecided, too.")] = False,
    plots: Annotated[str | None, typer.Option(metavar="DIR", help="Draw the findings into this folder.")] = None,
    waive: Annotated[
        str | None, typer.Option(metavar="CHECK", help="Let findings of a check not count (needs --reason).")
    ] = None,
    group: Annotated[str, typer.Option(help="Group that --waive is about; all by default.")] = "*",
    reason: Annotated[str | None, typer.Option(help="Why --waive is right; kept in the store.")] = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Do not keep the findings in the store.")] = False,
    format: Format = None,
    group_by: GroupBy = "auto",
    energy_key: Annotated[str | None, typer.Option(help="Of files: name of the energy.")] = None,
    force_key: Annotated[str | None, typer.Option(help="Of files: name of the forces.")] = None,
    stress_key: Annotated[str | None, typer.Option(help="Of files: name of the stress.")] = None,
    virial_key: Annotated[str | None, typer.Option(help="Of files: name of the virial.")] = None,
    energy_unit: Annotated[str | None, typer.Option(help="Of files: eV, Ha, Ry, kcal/mol, kJ/mol.")] = None,
    length_unit: Annotated[str | None, typer.Option(help="Of files: A, Bohr, nm.")] = None,
    force_unit: Annotated[str | None, typer.Option(help="Of files: eV/A, Ha/Bohr, Ry/Bohr, kcal/mol/A.")] = None,
    stress_unit: Annotated[
        str | None, typer.Option(help="Of files: eV/A^3, GPa, kbar, bar, Ha/Bohr^3, Ry/Bohr^3.")
    ] = None,
    stress_sign: Annotated[
        str | None, typer.Option(help="Of files: which sign is positive, tension or compression.")
    ] = None,
    stress_order: Annotated[
        str | None, typer.Option(help="Of files: order of six numbers, e.g. 'xx yy zz xy yz xz'.")
    ] = None,
    type_map: Annotated[str | None, typer.Option(help="Of files: elements of integer types in type order.")] = None,
    index: Annotated[str, typer.Option(help="Of files: frames of a trajectory.")] = ":",
    workers: Workers = 0,
    executor_name: ExecutorName = "processes",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find wrong data by physics: units, signs, orders, copies, labels that contradict each other.

    Exit code 0: no errors (there may be warnings); 1: errors that nobody has waived; 2: the command was wrong.
    """
    from mlipstore.audit.run import audit as verb
    from mlipstore.audit.run import audit_files
    from mlipstore.audit.stored import apply_waivers, store
    from mlipstore.audit.stored import waive as waive_verb
    from mlipstore.errors import SettingsError
    from mlipstore.reading import ReadOptions
    from mlipstore.store import Repository

    from .present import Meter, emit, say
    from .present_audit import show_audit

    stored = len(sources) == 1 and Repository.exists(sources[0])
    if waive is not None:
        if not stored:
            raise SettingsError("--waive is about the findings of a store. Give one store.")
        made = waive_verb(Repository.open(sources[0]), waive, group, reason or "", command_line())
        say(f"  findings of {made.check} of {'all groups' if group == '*' else group} do not count: {made.reason}")
        return
    if not stored and (ref or where or model):
        raise SettingsError(f"--ref, --where and --model are for a store; there is none at {sources[0]}.")
    options = ReadOptions(
        energy_key=energy_key, force_key=force_key, stress_key=stress_key, virial_key=virial_key,
        energy_unit=energy_unit, length_unit=length_unit, force_unit=force_unit, stress_unit=stress_unit,
        stress_sign=stress_sign, stress_order=stress_order, group_by=group_by, index=index,
        type_map=tuple((type_map or "").replace(",", " ").split()),
    )  # fmt: skip
    if stored:
        _require_plain(options, format)
    chosen = executor(executor_name, workers)
    with Meter("audit", "atoms", quiet) as meter:
        if stored:
            repository = Repository.open(sources[0])
            result = verb(repository, ref, where, chosen, meter, check, model)
            apply_waivers(result, repository.at(ref))
            if ref is None and where is None and not check and not model and not no_store:
                _keep(repository, result, store)
        else:
            result = audit_files(sources, options, format, chosen, meter, check)
    if plots is not None:
        from mlipstore.audit.plots import plot

        drawn = plot(result, plots)
    emit(result, json, lambda: show_audit(result, " ".join(sources), stored, all_))
    if plots is not None and not json:
        say(f"  {len(drawn)} pictures in {plots}")
    if not result.clean:
        raise typer.Exit(1)


def _keep(repository: object, result: object, store: object) -> None:
    """Keep the findings, where the store can be written to."""
    from mlipstore.errors import StoreError

    try:
        store(repository, result, command_line())  # type: ignore[operator]
    except StoreError:  # a store that is only read: on a web server, or of somebody else
        return


def _require_plain(options: ReadOptions, format: str | None) -> None:
    from mlipstore.errors import SettingsError
    from mlipstore.reading import ReadOptions as Plain

    if format is not None or options != Plain():
        raise SettingsError("--format, units, keys and orders are for files; a store has its own. Leave them out.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(audit)
