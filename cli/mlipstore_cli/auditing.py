"""``audit`` and ``apply``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from .common import ExecutorName, Json, Quiet, Ref, Store, Workers, command_line, executor, require_free
from .of_files import Format, reads_files, require_plain, words_of

if TYPE_CHECKING:
    from mlipstore.audit.run import AuditResult
    from mlipstore.reading import ReadOptions
    from mlipstore.store import Repository


@reads_files()
def audit(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="STORE | FILE...", help="A store, or files and folders, which are not stored."),
    ],
    *,
    where: Annotated[str | None, typer.Option(help="Only configurations for which this is true.")] = None,
    ref: Ref = None,
    check: Annotated[list[str] | None, typer.Option(help="Only this check (repeatable).")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model: labels off its fit alone, groups in conflict, leakage."),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="List what is in order and what is undecided, too.")] = False,
    plots: Annotated[str | None, typer.Option(metavar="DIR", help="Draw the findings into this folder.")] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="FILE.toml", help="Write corrections for mlipstore apply into this file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --recipe.")] = False,
    waive: Annotated[
        str | None, typer.Option(metavar="CHECK", help="Let findings of a check not count (needs --reason).")
    ] = None,
    group: Annotated[str, typer.Option(help="Group that --waive is about; all by default.")] = "*",
    reason: Annotated[str | None, typer.Option(help="Why --waive is right; kept in the store.")] = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Do not keep the findings in the store.")] = False,
    format: Format = None,
    options: ReadOptions,
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
    from mlipstore.audit.stored import apply_waivers
    from mlipstore.audit.stored import waive as waive_verb
    from mlipstore.errors import SettingsError, counted
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
    if not stored and (ref or where or model or recipe):
        raise SettingsError(f"--ref, --where, --model and --recipe are for a store; there is none at {sources[0]}.")
    if recipe is not None and (ref or where or check):
        raise SettingsError(
            "--recipe is made of all checks of the newest version. Leave out --ref, --where and --check."
        )
    require_free(recipe, force)
    if stored:
        require_plain(options, format)
    chosen = executor(executor_name, workers)
    with Meter("audit", "atoms", quiet) as meter:
        if stored:
            repository = Repository.open(sources[0])
            result = verb(repository, ref, where, chosen, meter, check, model)
            apply_waivers(result, repository.at(ref))
            if ref is None and where is None and not check and not no_store:
                _keep(repository, result)
        else:
            result = audit_files(sources, options, format, chosen, meter, check)
    if plots is not None:
        from mlipstore.audit.plots import plot

        drawn = plot(result, plots)
    written = None if recipe is None else _write_recipe(result, recipe)
    place = sources[0] if stored else shlex.join([*sources, *words_of(options, format)])
    emit(result, json, lambda: show_audit(result, place, stored, all_))
    if written is not None and not json:
        say(f"  {written}")
    if plots is not None and not json:
        say(f"  {counted(len(drawn), 'picture')} in {plots}")
    if not result.clean:
        raise typer.Exit(1)


def _keep(repository: Repository, result: AuditResult) -> None:
    """Store the findings, or say why they were not: a store may be on a web server, or of somebody else."""
    from mlipstore.audit.stored import store
    from mlipstore.errors import StoreError

    try:
        store(repository, result, command_line())
    except StoreError as error:
        result.id, result.stored, result.not_stored = "", False, str(error)


def _write_recipe(result: AuditResult, place: str) -> str:
    """Write the recipe of an audit; what was written, in words."""
    from pathlib import Path

    from mlipstore.audit.propose import propose
    from mlipstore.curation.recipe import text
    from mlipstore.errors import counted
    from mlipstore.files import written_whole

    path = Path(place)
    made, notes = propose(result.findings, "".join(c if c.isalnum() else "_" for c in path.stem)[:40])
    if made is None:
        return "nothing that a recipe could correct"
    head = ["Proposed by mlipstore audit. Read it, change it, then: mlipstore apply STORE " + path.name, *notes]
    with written_whole(path) as part:
        part.write_text(text(made, head), encoding="utf-8")
    then = shlex.join(["mlipstore", "apply", result.source, place])
    return f"{counted(len(made.steps), 'correction')} in {place}: read it, then {then}"


def apply(
    store: Store,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE.toml", help="Corrections, in order.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    json: Json = False,
) -> None:
    """Correct a data set by a recipe: each step is a version of its own, with its reason.

    The audit proposes one, if asked. Steps that a store has had are not repeated.
    """
    from mlipstore.curation.recipe import apply as verb
    from mlipstore.curation.recipe import load
    from mlipstore.store import Repository

    from .present import emit
    from .present_audit import show_applied

    made = load(recipe)
    result = verb(Repository.open(store), made, dry_run, command_line())
    emit(result, json, lambda: show_applied(result, made, store))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(audit)
    app.command()(apply)
