"""``plan``: memory and time of a fit of so many rows and columns, before there are data."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .common import Json


def plan(
    rows: Annotated[int, typer.Argument(metavar="ROWS", help="Rows: 1 energy, 3 forces per atom, 6 stresses.")],
    columns: Annotated[int, typer.Argument(metavar="COLUMNS", help="Columns: coefficients of the model.")],
    workers: Annotated[int, typer.Option("--workers", "-j", help="Workers, each with one BLAS thread or GPU.")] = 1,
    solver: Annotated[str, typer.Option(help="Solver; qr takes the least.")] = "qr",
    gemm: Annotated[
        float | None, typer.Option(metavar="GFLOPS", help="Matrix product of a worker in 1e9/s; default: measured.")
    ] = None,
    read: Annotated[float, typer.Option(metavar="GB/S", help="Rows read, or made, by a worker.")] = 0.8,
    network: Annotated[float, typer.Option(metavar="GB/S", help="Between two workers.")] = 1.0,
    json: Json = False,
) -> None:
    """Memory and time of a fit of so many rows and columns, before there are data."""
    from mlipstore.cost import Rates, gemm_rate, memory_rate
    from mlipstore.errors import SettingsError
    from mlipstore.forecast import forecast

    from .present import emit

    for name, value in (("ROWS", rows), ("COLUMNS", columns), ("--workers", workers), ("--gemm", gemm),
                        ("--read", read), ("--network", network)):  # fmt: skip
        if value is not None and not value > 0:
            raise SettingsError(f"{name} is {value}; it must be above 0.")
    rates = Rates(gemm_rate() if gemm is None else 1e9 * gemm, 1e9 * read, memory_rate(), 1e9 * network)
    planned = forecast(rows, columns, workers, rates, solver)
    emit(planned, json, lambda: show_forecast(planned))


def show_forecast(planned: Any) -> None:
    """Memory, time, and what they are made of."""
    from mlipstore.memory import human

    from .progress import duration
    from .tables import say

    m, t, r = planned.memory, planned.seconds, planned.rates
    if planned.plan is None:
        whole = human(8.0 * planned.rows * planned.columns)
        say(f"  {planned.rows:,} rows x {planned.columns:,} columns = {whole} that nobody holds")
    sizes = (("program", m.imported), ("factor", m.factor + m.waiting), ("blocks", m.blocks), ("solving", m.solve))
    parts = ", ".join(f"{name} {human(size)}" for name, size in sizes)
    allowed = "" if planned.plan is None else f" of {human(planned.plan.allowance)} allowed"
    say(f"  memory {human(m.total)}{allowed}: {parts}")
    if t.workers > 1:
        say(f"  {t.workers} workers: {human(m.worker)} each; {human(planned.traffic)} at most travel between them; "
            f"{100 * t.efficiency:.0f} % of their time is work")  # fmt: skip
        if t.leaves < t.workers:
            verb = "have" if t.leaves > 1 else "has"
            say(f"  only {t.leaves} of them {verb} anything to do: one takes at least 8,192 rows, and 8 per column")
    say(f"  time {duration(t.total)}: factor {duration(t.factor)}, solving {duration(t.solve)}, errors "
        f"{duration(t.errors)} (at {r.gemm / 1e9:.3g} GF/s and {human(r.rows)}/s of rows per worker)")  # fmt: skip
