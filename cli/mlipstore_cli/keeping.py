"""``verify`` and ``gc``."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import Json, Quiet, Store, command_line


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
            f"{report.files:,} files · {human(report.bytes)} · {report.versions:,} versions · "
            f"{report.configurations:,} configurations: {'whole' if report.sound else 'DAMAGED'}"
        )
        if report.orphans:
            say(
                f"{report.orphans:,} files ({human(report.orphan_bytes)}) belong to no version  -> mlipstore gc {store}"
            )

    emit(report, json, show)
    if not report.sound:
        raise typer.Exit(1)


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
        say(f"{result.files:,} files · {human(result.bytes)} {what} · {result.expired:,} versions forgotten")
        if result.young:
            say(f"{result.young:,} files are younger than {grace}, or a writer is at work: they stay")

    emit(result, json, show)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(verify)
    app.command()(gc)
