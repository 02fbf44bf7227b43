"""``log``, ``diff``, ``tag``, ``branch``, ``switch`` and ``revert``."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import Json, Ref, Store, command_line
from .editing import DryRun, Message

Delete = Annotated[bool, typer.Option("--delete", help="Remove the name; versions stay.")]


def log(
    store: Store,
    full: Annotated[bool, typer.Option("--full", help="Every version: from which one, by which command.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Most entries to print; 0 = all.")] = 0,
    ref: Ref = None,
    json: Json = False,
) -> None:
    """Show the versions of the store, the newest first; the versions that one run of a command made are one line."""
    from mlipstore.store import Repository

    from .present_versions import emit_log

    repository = Repository.open(store)
    emit_log(repository.log(ref), repository.names(), limit, full, json)


def diff(
    store: Store,
    a: Annotated[str, typer.Argument(metavar="A", help="A version: branch, tag, snapshot id, time or main~1.")],
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="Another; default: the newest.")] = None,
    json: Json = False,
) -> None:
    """Show what leads from one version to another: configurations, labels, features, models, settings, annotations."""
    from mlipstore.diff import diff as verb
    from mlipstore.store import Repository

    from .present import emit
    from .present_versions import show_difference

    repository = Repository.open(store)
    result = verb(repository, a, b)
    emit(result, json, lambda: show_difference(result, repository.names()))


def tag(
    store: Store,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the version; none lists tags.")] = None,
    ref: Ref = None,
    delete: Delete = False,
    json: Json = False,
) -> None:
    """Name a version for ever, or list the names. The name of a tag that was removed cannot be used again."""
    _names("tag", store, name, ref, delete, json)


def branch(
    store: Store,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Name of a new branch; none lists branches.")
    ] = None,
    ref: Ref = None,
    delete: Delete = False,
    json: Json = False,
) -> None:
    """Begin a line of versions of its own, at the newest version or --ref, or list the branches."""
    _names("branch", store, name, ref, delete, json)


def _names(kind: str, store: str, name: str | None, ref: str | None, delete: bool, json: bool) -> None:
    """Make, remove or list tags or branches."""
    from mlipstore.errors import SettingsError
    from mlipstore.store import Repository

    from .present_versions import emit_names, said
    from .tables import next_step

    repository = Repository.open(store)
    make, remove, known = {
        "tag": (repository.tag, repository.delete_tag, repository.tags),
        "branch": (repository.create_branch, repository.delete_branch, repository.branches),
    }[kind]
    if name is None:
        if ref is not None or delete:
            raise SettingsError("say the NAME that --ref and --delete are about.")
        emit_names(known(), repository, json)
    elif delete:
        remove(name)
        said(f"{kind} {name} removed", {"removed": name}, json)
    else:
        id_ = make(name, ref)
        text = f"branch {name} begins at {id_[:8]}" if kind == "branch" else f"{id_[:8]} is {name}"
        said(text, {kind: name, "version": id_}, json)
        if kind == "branch" and not json:
            next_step("switch", store, name)


def switch(
    store: Store,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The branch.")],
    create: Annotated[bool, typer.Option("--create", "-c", help="Make it first, at the newest version.")] = False,
    json: Json = False,
) -> None:
    """Read and write another branch from now on: all who use this folder. For one process there is MLIPSTORE_BRANCH."""
    from mlipstore.store import Repository

    from .present_versions import said

    repository = Repository.open(store)
    if create:
        repository.create_branch(name)
    id_ = repository.switch(name).find()
    said(f"on {name}, at {id_[:8]}", {"branch": name, "version": id_}, json)


def revert(
    store: Store,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Id, tag or other name of the version.")],
    to: Annotated[bool, typer.Option("--to", help="Back to how it was in VERSION: undo all that came after.")] = False,
    message: Message = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Undo what one run of a command changed, or go back to an earlier version, as a new version; the history stays.

    Examples:

    mlipstore revert a.mlip 7F2K

    mlipstore revert a.mlip v1.0 --to
    """
    from mlipstore.diff import diff
    from mlipstore.revert import revert as verb
    from mlipstore.store import Repository

    from .present import emit
    from .present_versions import show_difference, show_revert

    repository = Repository.open(store)
    result = verb(repository, version, to, message, dry_run, command_line())

    def show() -> None:
        show_revert(result)
        if result.snapshot:
            show_difference(diff(repository, result.before, result.snapshot), repository.names())

    emit(result, json, show)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (log, diff, tag, branch, switch, revert):
        app.command()(command)
