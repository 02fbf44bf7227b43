"""``clone``, ``push`` and ``pull``."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from .common import Json, Quiet, Store, command_line

if TYPE_CHECKING:
    from mlipstore.sharing.remote import Shared
    from mlipstore.sharing.transfer import Progress

    from .present import Meter


def clone(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The store: a folder, s3://..., https://...")],
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="The copy: a new folder or s3://...; default: same name here."),
    ] = None,
    ref: Annotated[str | None, typer.Option("--ref", help="Only what leads to this branch, tag or version.")] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="EXPR", help="Only configurations that this selects; no history.")
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option("--features", metavar="NAME", help="Only these featurizations (or none); no history. Repeatable."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Copy a store with its history, or a part of one version; a copy that was cut off continues."""
    from mlipstore.sharing.remote import clone as verb

    from .present import Meter, emit, say

    part = where is not None or bool(features)
    with Meter("clone", "configurations" if part else "kB", quiet) as meter:
        progress = meter if part else _bytes(meter)
        result = verb(source, target, ref, progress, where, features or None, command_line())
    emit(result, json, lambda: say(f"{'' if part else _moved(result) + ' '}-> {result.place}"))


def push(
    store: Store,
    remote: Annotated[
        str | None,
        typer.Argument(metavar="[REMOTE]", help="Where to: a folder or s3://...; default: where it came from."),
    ] = None,
    branch: Annotated[
        str | None, typer.Option("--branch", help="Branch to bring there; default: the current one.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring what another place lacks to it: versions of a branch, and all tags."""
    from mlipstore.sharing.remote import push as verb

    from .present import Meter, emit, say

    with Meter("push", "kB", quiet) as meter:
        result = verb(store, remote, branch, _bytes(meter))
    emit(result, json, lambda: say(f"{_moved(result)} -> {result.remote}" if result.refs else _nothing(result)))


def pull(
    store: Store,
    remote: Annotated[
        str | None, typer.Argument(metavar="[REMOTE]", help="Where from: a folder, s3://..., https://...")
    ] = None,
    rebase: Annotated[
        bool, typer.Option("--rebase", help="Put versions that are only here on top of those that are only there.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring the current branch and the tags up to date with another place."""
    from mlipstore.sharing.remote import pull as verb

    from .present import Meter, emit, say

    with Meter("pull", "kB", quiet) as meter:
        result = verb(store, remote, rebase, _bytes(meter), command_line())

    def show() -> None:
        from mlipstore.errors import counted

        say(f"{_moved(result)} <- {result.remote}" if result.refs else _nothing(result))
        if result.rebased:
            say(f"{counted(result.rebased, 'version')} of yours repeated on top  -> mlipstore push {quote(store)}")

    emit(result, json, show)


def _bytes(meter: Meter) -> Progress:
    return lambda done, total: meter(done >> 10, total >> 10)


def _moved(result: Shared) -> str:
    from mlipstore.errors import counted
    from mlipstore.memory import human

    return f"{counted(result.objects, 'object')} · {human(result.bytes)} · {', '.join(result.refs)}"


def _nothing(result: Shared) -> str:
    return f"nothing to do: {result.place} and {result.remote} hold the same"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(clone)
    app.command()(push)
    app.command()(pull)
