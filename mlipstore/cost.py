"""How long a fit takes: a model of its time from counts and rates, before it runs."""

from __future__ import annotations

#: Rates of a present-day core: matrix products in operations per second, and reading rows in bytes per second.
GEMM_RATE, READ_RATE = 4e10, 8e8


def pass_seconds(rows: int, columns: int) -> float:
    """Both passes of a fit on one worker, roughly: to see whether workers are worth starting."""
    n = columns + 1
    return 2.0 * rows * n * n / (_efficiency(n) * GEMM_RATE) + 2 * 8.0 * rows * n / READ_RATE


def _efficiency(n: int) -> float:
    """Share of the matrix-product rate at which rows are folded into a factor of n columns (benchmarks/factor.py)."""
    return n / (n + 150.0)
