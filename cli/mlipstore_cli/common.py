"""Options that several commands share, and the executor they choose."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mlipstore.executors import Executor

Store = Annotated[
    str,
    typer.Argument(metavar="STORE", help="The store: a folder, s3://bucket/prefix, or (to read) https://host/path."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no messages.")]
Ref = Annotated[
    str | None, typer.Option("--ref", help="Version to read: branch, tag, snapshot id or time, e.g. 2026-11-20T10:00.")
]
Workers = Annotated[
    int, typer.Option("--workers", "-j", help="Worker processes; 0 = one per processor, or per GPU that is used.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
ExecutorName = Annotated[str, typer.Option("--executor", help="Where work runs: serial, processes, dask or mpi.")]
Scheduler = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler to use, instead of starting workers here.")
]


def pairs(values: list[str] | None, option: str, form: str = "GROUP=VALUE") -> dict[str, str]:
    """Repeated ``GROUP=VALUE`` options as a dictionary; groups may have ``=`` in their names, other keys have none."""
    from mlipstore.errors import SettingsError

    out = {}
    for text in values or []:
        key, equals, value = text.rpartition("=") if form.startswith("GROUP") else text.partition("=")
        if not equals or not key or not value:
            raise SettingsError(f"{option} {text!r} is not {form}.")
        out[key] = value
    return out


def require_free(output: str | None, force: bool) -> None:
    """Refuse to write over a file, before any work is done for it.

    :raises SettingsError: it exists, and is not to be replaced
    """
    from pathlib import Path

    from mlipstore.files import require_free as check

    if output is not None and not force:
        check(Path(output))


def command_line() -> str:
    """The command as it was typed, for the log of the store."""
    return shlex.join(["mlipstore", *sys.argv[1:]])


def executor(name: str, workers: int, scheduler: str | None = None) -> Executor:
    """The executor plugin of that name; :func:`close_executors` closes it when the command ends.

    :raises SettingsError: it has no such setting
    """
    from dataclasses import fields

    from mlipstore import registry
    from mlipstore.errors import SettingsError

    if scheduler is not None and name == "processes":  # the default
        name = "dask"
    known = {f.name for f in fields(registry.get("executors", name)) if f.init}
    given: dict[str, Any] = {"workers": workers or None, "scheduler": scheduler}
    settings = {k: v for k, v in given.items() if v is not None and not (k == "workers" and name == "serial")}
    for key in settings:
        if key not in known:
            raise SettingsError(f"the executor {name} has no --{key}. {_INSTEAD.get(name, 'Leave it out.')}")
    made: Executor = registry.make("executors", name, settings)
    _in_use.append(made)
    return made


def workers_on(device: str, chosen: Executor) -> int:
    """How many workers there will be for a plan; one for a device that is not here, where jobs may be sent from."""
    from mlipstore.device import open_device
    from mlipstore.errors import ComputeError, MissingDependencyError
    from mlipstore.executors import one_each

    try:
        count = open_device(device).count
    except (ComputeError, MissingDependencyError):
        count = 1
    return one_each(chosen, count).n_workers


_in_use: list[Executor] = []


def close_executors() -> None:
    """End what :func:`executor` has started."""
    while _in_use:
        _in_use.pop().close()


_INSTEAD = {"mpi": "Its workers are the ranks: mpiexec -n P mlipstore ... --executor mpi."}
