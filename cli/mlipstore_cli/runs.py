"""``run`` and ``from-fitsnap``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from .common import ExecutorName, Force, Json, Quiet, Scheduler, Workers, command_line, executor, require_free


def run(
    file: Annotated[str, typer.Argument(metavar="RUN.toml", help="A run file.")],
    workers: Workers = 0,
    executor_name: ExecutorName = "processes",
    scheduler: Scheduler = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Do what a run file says: ingest, featurize, fit, export, plot; what the store has is skipped."""
    from mlipstore.pipeline import run as verb
    from mlipstore.runs.runfile import load

    from .present import RunObserver, after_run, emit

    settings = load(file)
    with RunObserver(settings, quiet, json) as observer:
        result = verb(
            settings, executor(executor_name, workers, scheduler), observer.tell, observer.meter, command_line()
        )
    emit(result, json, lambda: after_run(result))


def from_fitsnap(
    file: Annotated[str, typer.Argument(metavar="FILE.in", help="A FitSNAP input file.")],
    output: Annotated[str | None, typer.Option("--output", "-o", help="Run file to write; default on stdout.")] = None,
    force: Force = False,
) -> None:
    """Turn a FitSNAP input into one commented run file."""
    from mlipstore.files import written_whole
    from mlipstore.fitsnap.convert import convert

    if output is None:
        typer.echo(convert(file), nl=False)
        return
    require_free(output, force)
    text = convert(file, output)
    with written_whole(Path(output)) as part:
        part.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {output}. Read it, then: mlipstore run {shlex.quote(output)}", err=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(run)
    app.command("from-fitsnap")(from_fitsnap)
