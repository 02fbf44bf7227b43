"""``query``, ``remove``, ``restore``, ``relabel``, ``mask`` and ``annotate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Json, Ref, Store, command_line, pairs
from .of_files import reads_files

if TYPE_CHECKING:
    from mlipstore.reading import ReadOptions

Where = Annotated[
    str,
    typer.Option("--where", "-w", help="Which configurations, e.g. 'group == \"surface\" and n_atoms > 20'."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
Message = Annotated[str | None, typer.Option("--message", "-m", help="Message of the version.")]


def query(
    store: Store,
    where: Annotated[
        str | None,
        typer.Option("--where", "-w", help="Expression, e.g. '\"W\" in elements and max_force > 10'; default: all."),
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Columns between commas; 'list' prints what there is.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Most lines to print; 0 = all.")] = 20,
    count: Annotated[bool, typer.Option("--count", help="Print how many, by group.")] = False,
    model: Annotated[str | None, typer.Option(help="Model whose parts the column split tells.")] = None,
    removed: Annotated[bool, typer.Option("--removed", help="Ask for removed configurations.")] = False,
    ref: Ref = None,
    json: Json = False,
) -> None:
    """Find configurations by an expression over their columns.

    Columns are compared by == != < <= > >=, looked for by in and like (with * and ?), and joined by and, or, not;
    a comparison with a missing value is false. Examples:

    mlipstore query a.mlip -w 'group like "D*" and energy_per_atom < -3' --count

    mlipstore query a.mlip -w 'flagged("outlier") or not has_stress' --columns uid,note
    """
    from mlipstore.curation.columns import COLUMNS, Columns
    from mlipstore.curation.query import DEFAULT_COLUMNS, head, select
    from mlipstore.index import DELETED, LIVE, Index
    from mlipstore.kept.problem import refit, split_of
    from mlipstore.store import Repository

    from .present_versions import emit_count, emit_rows, show_columns

    repository = Repository.open(store)
    snapshot = repository.at(ref)
    if columns == "list":
        found = Columns(Index.load(snapshot))
        show_columns(COLUMNS, found.values, found.flags)
        return
    split = None if model is None else split_of(refit(repository, model, ref, check_memory=False))
    selection = select(snapshot, where, DELETED if removed else LIVE, split)
    if count:
        emit_count(selection, json)
        return
    names = [n.strip() for n in columns.split(",") if n.strip()] if columns else list(DEFAULT_COLUMNS)
    rows = head(selection, names, limit if limit > 0 and not json else None, split)
    emit_rows(rows, names, len(selection), json)


def remove(store: Store, where: Where, message: Message = None, dry_run: DryRun = False, json: Json = False) -> None:
    """Take configurations out of every fit, plot and export; earlier versions keep them, restore brings them back.

    An ingest of the same files does not bring them back. Example:

    mlipstore remove a.mlip --where 'max_force > 50' --dry-run
    """
    from mlipstore.curation.edit import remove as verb

    _edited(store, verb, where, message, dry_run, json)


def restore(store: Store, where: Where, message: Message = None, dry_run: DryRun = False, json: Json = False) -> None:
    """Let removed configurations count again."""
    from mlipstore.curation.edit import restore as verb

    _edited(store, verb, where, message, dry_run, json)


@reads_files(
    *("energy_key", "force_key", "stress_key", "virial_key", "energy_unit", "length_unit", "force_unit"),
    *("stress_sign", "type_map", "index"),
)
def relabel(
    store: Store,
    where: Where,
    *,
    group: Annotated[str | None, typer.Option(help="New group.")] = None,
    stress_unit: Annotated[str | None, typer.Option(help="Unit that stresses really have, e.g. kbar.")] = None,
    stress_was: Annotated[str | None, typer.Option(help="Unit that they were read in, e.g. bar.")] = None,
    stress_order: Annotated[
        str | None,
        typer.Option(metavar="'XX YY ...'", help="What the numbers stored as 'xx yy zz yz xz xy' really are."),
    ] = None,
    virial: Annotated[
        str | None,
        typer.Option(metavar="UNIT", help="They are virials in this unit of energy (eV): minus them over the volume."),
    ] = None,
    stress_scale: Annotated[float, typer.Option(help="Factor on stresses, e.g. -1 for the other sign.")] = 1.0,
    force_scale: Annotated[float, typer.Option(help="Factor on forces.")] = 1.0,
    energy_scale: Annotated[float, typer.Option(help="Factor on energies.")] = 1.0,
    energy_shift: Annotated[
        list[str] | None, typer.Option(metavar="ELEMENT=EV", help="Energy to add per atom of an element (repeatable).")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="File with the same geometries (to 1e-4 Å) and other labels.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="Format of that file.")] = None,
    options: ReadOptions,
    message: Message = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Correct labels or the group of configurations; rows that were computed stay, earlier versions too.

    Examples:

    mlipstore relabel a.mlip -w 'n_atoms > 8' --stress-was bar --stress-unit kbar

    mlipstore relabel a.mlip -w 'group == "AIMD"' --stress-order 'xx yy zz xy yz xz'

    mlipstore relabel a.mlip -w 'source like "old/*"' --energy-shift W=-1.5
    """
    from functools import partial

    from mlipstore.curation.edit import Relabel
    from mlipstore.curation.edit import relabel as verb

    shifts = {k: _number(v, "--energy-shift") for k, v in pairs(energy_shift, "--energy-shift", "ELEMENT=EV").items()}
    wanted = Relabel(
        group=group, energy_shift=shifts, energy_scale=energy_scale, force_scale=force_scale,
        stress_scale=stress_scale, stress_unit=stress_unit, stress_was=stress_was, stress_order=stress_order,
        virial=virial, labels=labels, format=format,
        options=options,
    )  # fmt: skip
    _edited(store, partial(verb, wanted=wanted), where, message, dry_run, json)


def mask(
    store: Store,
    where: Where,
    energy: Annotated[bool, typer.Option("--energy", help="Energies become missing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Forces become missing.")] = False,
    stress: Annotated[bool, typer.Option("--stress", help="Stresses become missing.")] = False,
    message: Message = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make labels missing, so that they are neither fitted nor tested."""
    from functools import partial

    from mlipstore.curation.edit import mask as verb

    kinds = tuple(k for k, wanted in (("energy", energy), ("force", force), ("stress", stress)) if wanted)
    _edited(store, partial(verb, kinds=kinds), where, message, dry_run, json)


def _edited(store: str, verb: Any, where: str, message: str | None, dry_run: bool, json: bool) -> None:
    from mlipstore.store import Repository

    from .present import emit
    from .present_versions import show_edit

    result = verb(Repository.open(store), where, message=message, dry_run=dry_run, command=command_line())
    emit(result, json, lambda: show_edit(result, store))


def annotate(
    store: Store,
    where: Annotated[str | None, typer.Option("--where", "-w", help="Which configurations.")] = None,
    flag: Annotated[list[str] | None, typer.Option(help="Flag to set (repeatable).")] = None,
    note: Annotated[str | None, typer.Option(help="Note, in the column note.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="COLUMN=VALUE", help="Value of a column (repeatable).")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Flag or column to take away (repeatable).")] = None,
    table: Annotated[
        str | None, typer.Option("--from", metavar="FILE.csv", help="Table with uid, or source and frame, and columns.")
    ] = None,
    message: Message = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Give configurations flags, notes and columns of your own, to be used in --where.

    Example: mlipstore annotate a.mlip -w 'max_force > 30' --flag odd --set T=300
    """
    from mlipstore.curation.annotate import annotate as verb
    from mlipstore.curation.annotations import value_of
    from mlipstore.store import Repository

    from .present import emit
    from .present_versions import show_annotate

    values = {k: value_of(v) for k, v in pairs(settings, "--set", "COLUMN=VALUE").items()}
    result = verb(
        Repository.open(store), where, tuple(flag or ()), note, values, tuple(remove or ()), table, message, dry_run,
        command_line(),
    )  # fmt: skip
    emit(result, json, lambda: show_annotate(result))


def _number(text: str, option: str) -> float:
    from mlipstore.errors import SettingsError

    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{option}: {text!r} is not a number.") from None


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (query, remove, restore, relabel, mask, annotate):
        app.command()(command)
