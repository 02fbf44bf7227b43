"""The application: one command per verb. Heavy imports stay inside commands, so that ``--help`` is instant.

Results go to stdout (``--json`` for machines), progress and messages to stderr. Exit codes: 0 done, 1 the request
failed, 2 the command was wrong.
"""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Annotated, NoReturn

import typer

from . import (
    auditing,
    choosing,
    comparing,
    data,
    editing,
    factoring,
    fitting,
    keeping,
    looking,
    runs,
    sharing,
    versions,
)
from .common import close_executors
from .help import Command, Commands
from .ranks import works_for_another

#: What ``--help`` lists, by what it is for.
SECTIONS = (
    ("From data to a potential",
     ("ingest", "featurize", "fit", "export", "plot", "predict", "run", "from-fitsnap")),
    ("Looking at data, and correcting them",
     ("show", "query", "audit", "apply", "compare-data", "relabel", "mask", "remove", "restore", "annotate", "card")),
    ("Better fits, and what to label next",
     ("plan", "factor", "cross-validate", "search", "uncertainty", "select", "outliers", "replay")),
    ("Versions", ("log", "diff", "tag", "branch", "switch", "revert")),
    ("Copies, and the care of a store", ("clone", "push", "pull", "verify", "compact", "gc")),
)  # fmt: skip
FIRST = """\b
A first potential; each command says what to type next:
  mlipstore ingest a.mlip DATA...
  mlipstore featurize a.mlip -d snap --set twojmax=6 --set rcutfac=4.7
  mlipstore fit a.mlip --name first
  mlipstore export a.mlip first
"""


app = typer.Typer(
    name="mlipstore",
    cls=Commands.with_sections(SECTIONS),
    help="Training data, descriptors, fits and models of interatomic potentials in one versioned store.",
    epilog=FIRST,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    data, auditing, comparing, fitting, factoring, choosing, looking, versions, editing, sharing, keeping, runs,
):  # fmt: skip
    module.register(app)
for command in app.registered_commands:
    command.cls = Command


def _version(wanted: bool) -> None:
    if wanted:
        from mlipstore import __version__

        typer.echo(f"mlipstore {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Global options."""


def _words(words: list[str]) -> list[str]:
    """``help COMMAND`` as others write ``COMMAND --help``."""
    return [*words[1:], "--help"] if words[:1] == ["help"] else words


def _prepare_streams() -> None:
    """Output that was closed goes nowhere; what the encoding of a terminal lacks is replaced."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - stays open as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _forget_stdout() -> None:
    """Let nothing more be written where writing failed, also not at the end of the process."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Run the command line; an error that a user can act on is one line, anything else keeps its traceback."""
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        raise KeyboardInterrupt

    main_thread = threading.current_thread() is threading.main_thread()
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # by who started us, who means it
    before = signal.signal(signal.SIGINT, stop) if main_thread and not ignored else None
    _prepare_streams()
    try:
        try:
            if not works_for_another(sys.argv[1:]):
                app(_words(sys.argv[1:]), prog_name="mlipstore")
        finally:
            if not stopped:
                close_executors()
            sys.stdout.flush()  # here, where it can fail with an error of ours
    except BaseException as error:
        # interrupted imports and dead workers raise whatever they like
        code = _stopped() if stopped else _told(error)
        if code is None:
            raise
        sys.exit(code)
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _told(error: BaseException) -> int | None:
    """Say what a user can act on, and the exit code; None for anything else, which keeps its traceback."""
    from mlipstore.errors import MlipstoreError, SettingsError, UnknownNameError

    if isinstance(error, MlipstoreError):
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, (SettingsError, UnknownNameError)) else 1
    if isinstance(error, BrokenPipeError):  # the reader of our output went away, as `head` does
        _forget_stdout()
        return 0
    if isinstance(error, MemoryError):
        print("error: out of memory. Use fewer --workers, or a machine with more memory.", file=sys.stderr)
        return 1
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        _forget_stdout()
        where = error.filename or "the output"
        print(f"error: {where}: {error.strerror}. Free space and run the same command again.", file=sys.stderr)
        return 1
    return None


def _stopped() -> NoReturn:
    """End an interrupted process: what runs in the background is not waited for, and does not complain."""
    print("stopped. What was committed stays; the same command continues.", file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
