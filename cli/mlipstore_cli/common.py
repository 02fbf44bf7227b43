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
Workers = Annotated[int, typer.Option("--workers", "-j", help="Worker processes; 0 = one per processor.")]
ExecutorName = Annotated[str, typer.Option("--executor", help="Where work runs: serial or processes.")]


def command_line() -> str:
    """The command as it was typed, for the log of the store."""
    return shlex.join(["mlipstore", *sys.argv[1:]])


def executor(name: str, workers: int) -> Executor:
    """The executor plugin of that name."""
    from mlipstore import registry

    settings: dict[str, Any] = {"workers": workers} if name == "processes" else {}
    made: Executor = registry.make("executors", name, settings)
    return made
