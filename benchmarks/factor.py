"""Speed of the triangular factor as a fraction of the matrix-product rate of the same machine.

    python benchmarks/factor.py                      # the table, one thread, some minutes
    python benchmarks/factor.py --columns 200 512    # other sizes
    python benchmarks/factor.py --workers 2          # two threads with a factor each, against one

Rates count 2 B M^2 operations for a block of B rows and M columns (and one target), whatever is really done, and are
divided by a dgemm (1536 cubed) timed right before and after. CPU time, best of a few. Blocks have 4 M rows, but at
least 2048. ``default`` is what a fit uses; ``Householder`` is the path that blocks take which the guard refuses;
``numpy qr`` is ``np.linalg.qr`` of the triangle stacked on the block, for comparison.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from mlipstore.solve import blas
from mlipstore.solve.factor import Factor
from mlipstore.solve.kernels import BlasKernels

COLUMNS = (56, 200, 512, 1024, 2048, 4096)
FLOOR = {
    56: (0.25, 0.25),
    200: (0.35, 0.30),
    512: (0.50, 0.35),
    1024: (0.65, 0.45),
    2048: (0.75, 0.50),
    4096: (0.80, 0.60),
}


class HouseholderOnly(BlasKernels):
    """The fallback path for all rows."""

    def preconditions(self, n: int) -> bool:
        return False


def best(action: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.process_time) -> float:
    """Smallest time of an action in seconds, of so many runs or of what half a second holds."""
    times: list[float] = []
    while len(times) < repeats or (sum(times) < 0.5 and len(times) < 50):
        start = clock()
        action()
        times.append(clock() - start)
    return min(times)


def product_rate(size: int = 1536) -> float:
    """Operations per second of dgemm."""
    a = blas.aligned(size, size)
    a[:] = np.random.default_rng(0).standard_normal((size, size))
    c = blas.aligned(size, size)

    def product() -> None:
        blas.gemm("NN", size, size, size, 1.0, a.ctypes.data, size, a.ctypes.data, size, 0.0, c.ctypes.data, size)

    return 2.0 * size**3 / best(product, 4)


def measure(columns: int, repeats: int, comparison: bool) -> dict[str, Any]:
    """One line of the table."""
    rng = np.random.default_rng(columns)
    rows = max(4 * columns, 2048)
    A, b = rng.standard_normal((rows, columns)), rng.standard_normal((rows, 1))
    operations = 2.0 * rows * columns**2
    calls = max(1, int(2e8 / operations))
    before = product_rate()
    seconds: dict[str, float] = {}
    refused = 0
    for name, kernels in (("default", BlasKernels()), ("householder", HouseholderOnly())):
        factor = Factor(columns, 1, kernels)
        factor.update(A, b)  # the rows of the first triangle

        def update(factor: Factor = factor) -> None:
            for _ in range(calls):
                factor.update(A, b)

        update()
        seconds[name] = best(update, repeats) / calls
        if name == "default":
            refused = factor.refused
            seconds["finish"] = best(factor.finish, 1)
    if comparison:
        R = factor.R

        def stack() -> None:
            np.linalg.qr(np.vstack([R, np.column_stack([A, b])]), mode="r")

        seconds["numpy"] = best(stack, 1)
    rate = max(before, product_rate())
    fractions = {name: operations / s / rate for name, s in seconds.items() if name != "finish"}
    return {
        "columns": columns,
        "rows": rows,
        "dgemm_gflops": rate / 1e9,
        **fractions,
        "finish_seconds": seconds["finish"],
        "refused": refused,
    }


def scaling(columns: int, workers: int, repeats: int) -> float:
    """Rows per second of several workers over those of one (wall time; needs as many idle cores)."""
    rng = np.random.default_rng(columns)
    rows = max(4 * columns, 2048)
    A, b = rng.standard_normal((rows, columns)), rng.standard_normal((rows, 1))
    calls = max(2, int(1e11 / (2.0 * rows * columns**2)))
    factors = [Factor(columns) for _ in range(workers)]
    for factor in factors:
        factor.update(A, b)
        factor.update(A, b)

    def work(factor: Factor) -> None:
        for _ in range(calls):
            factor.update(A, b)

    def together() -> None:
        threads = [threading.Thread(target=work, args=(factor,)) for factor in factors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    one = best(lambda: work(factors[0]), repeats, time.perf_counter)
    return workers * one / best(together, repeats, time.perf_counter)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 if a line is below its floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, nargs="+", default=list(COLUMNS), metavar="M")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="also measure this many threads against one")
    parser.add_argument("--no-comparison", action="store_true", help="leave out numpy's qr")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    options = parser.parse_args(arguments)
    failed = False
    with threadpool_limits(limits=1):
        blas_libraries = "; ".join(
            f"{i['internal_api']} {i['version']} ({i.get('architecture', '?')}, {i['num_threads']} thread)"
            for i in threadpool_info()
            if i["user_api"] == "blas"
        )
        if not options.json:
            print(f"Python {platform.python_version()}, numpy {np.__version__}, {blas_libraries}")
            print("     M   rows  dgemm GF/s   default (floor)   Householder (floor)   numpy qr   finish s  refused")
        for columns in options.columns:
            line = measure(columns, options.repeats, not options.no_comparison)
            if options.workers > 1:
                line["speedup"] = scaling(columns, options.workers, options.repeats)
            floors = FLOOR.get(columns, (0.0, 0.0))
            line["floors"] = floors
            below = line["default"] < floors[0] or line["householder"] < floors[1]
            failed |= below
            if options.json:
                print(json.dumps(line), flush=True)
                continue
            print(
                f"{columns:6d} {line['rows']:6d} {line['dgemm_gflops']:11.1f} {line['default']:9.2f} ({floors[0]:.2f})"
                f" {line['householder']:13.2f} ({floors[1]:.2f}) {line.get('numpy', float('nan')):13.2f}"
                f" {line['finish_seconds']:10.3f} {line['refused']:8d}"
                + (f"   {options.workers} workers: {line['speedup']:.2f}x" if options.workers > 1 else "")
                + ("   BELOW THE FLOOR" if below else ""),
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
