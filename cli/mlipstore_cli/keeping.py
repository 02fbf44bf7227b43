"""``verify``, ``compact`` and ``gc``."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer

from .common import Json, Quiet, Store, command_line
from .editing import Message
from .tables import counted


def verify(
    store: Store,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="COPY", help="Another copy; default: where this one came from."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check every byte of the store; exit code 1 if something is lost."""
    from mlipstore.memory import human
    from mlipstore.verify import verify as verb

    from .present import Meter, emit, say

    with Meter("verify", "kB", quiet) as meter:
        report = verb(store, repair, source, lambda done, total: meter(done >> 10, total >> 10), command_line())

    def show() -> None:
        for line in report.repaired:
            say(f"mended: {line}")
        for problem in report.problems:
            of = f" [{', '.join(v[:12] for v in problem.versions)}]" if problem.versions else ""
            say(f"{problem.severity}: {problem}{of}")
        say(
            f"{counted(report.files, 'file')} · {human(report.bytes)} · {counted(report.versions, 'version')} · "
            f"{counted(report.configurations, 'configuration')}: {'whole' if report.sound else 'DAMAGED'}"
        )
        if report.orphans and report.sound:  # what cannot be read now may need them
            say(
                f"{counted(report.orphans, 'file')} ({human(report.orphan_bytes)}) that no version needs  -> "
                f"mlipstore gc {quote(store)}"
            )

    emit(report, json, show)
    if not report.sound:
        raise typer.Exit(1)


def compact(
    store: Store,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what it would write, and stop.")] = False,
    message: Message = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Merge small segments, as many small ingests leave them, into larger ones; what the store holds stays the same.

    Earlier versions stay as they are until gc forgets them. Factors of merged segments are made anew when they
    are next needed.
    """
    from mlipstore.compact import compact as verb
    from mlipstore.memory import human
    from mlipstore.store import Repository

    from .present import Meter, emit, say
    from .tables import next_step

    with Meter("compact", "configurations", quiet) as meter:
        result = verb(Repository.open(store), dry_run, message, meter, command_line())

    def show() -> None:
        if not result.merged:
            say(f"  nothing to do: {counted(result.segments, 'segment')}, no two of them small and alike")
            return
        would = "would become" if dry_run else "became"
        say(f"  {result.merged:,} of {result.segments:,} segments {would} {result.into:,}, "
            f"{result.arrays:,} arrays {result.arrays_left:,} · {human(result.bytes)} written again")  # fmt: skip
        if result.factors:
            again = "would have" if dry_run else "have"
            say(f"  kept factors of {counted(result.factors, 'segment')} {again} to be made again")
        if not dry_run:
            next_step("gc", store, or_else=" --expire AGE")

    emit(result, json, show)


def gc(
    store: Store,
    expire: Annotated[
        str | None, typer.Option("--expire", metavar="AGE", help="Forget versions older than 30d, 12h (tags stay).")
    ] = None,
    grace: Annotated[
        str, typer.Option("--grace", metavar="AGE", help="Keep files younger than this, for writers we do not know.")
    ] = "1h",
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say how much it would free, and stop.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove files that no version needs; work that is under way is left alone."""
    from mlipstore.cleaning import age
    from mlipstore.cleaning import gc as verb
    from mlipstore.memory import human

    from .present import Meter, emit, say

    with Meter("gc", "files", quiet) as meter:
        result = verb(store, None if expire is None else age(expire), age(grace), dry_run, meter)

    def show() -> None:
        what = "would be freed" if dry_run else "freed"
        forgotten = f"{counted(result.expired, 'version')} forgotten"
        say(f"{counted(result.files, 'file')} · {human(result.bytes)} {what} · {forgotten}")
        if result.young:
            say(f"{counted(result.young, 'file is', 'files are')} younger than {grace}, or a writer is at work: kept")

    emit(result, json, show)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(verify)
    app.command()(compact)
    app.command()(gc)
