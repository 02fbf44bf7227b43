"""The factor on a GPU: its rate against a matrix product of the same card, and a whole large problem.

    python benchmarks/gpu_fit.py                                  # M = 1,024, 4,096, 20,300: fraction of dgemm
    python benchmarks/gpu_fit.py --whole                          # 2,482,085 x 20,300, rows generated on the device
    python benchmarks/gpu_fit.py --device numpy --columns 64 300 --whole --rows 20000 --whole-columns 200

Needs CuPy for the device ``cuda``; ``numpy`` runs the same lines on the processor. FP64 throughout. Rates count 2 N M^2
operations for N rows and M columns (and one target), whatever is really done. ``update`` is the rate once the first
rows are in, ``whole`` counts everything. Before it is timed, a small problem is solved there and by the processor's
own path, and compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from mlipstore.solve.factor import Factor  # noqa: E402
from mlipstore.solve.kernels import ArrayKernels, to_host  # noqa: E402
from mlipstore.solve.linear import qr_solve, reduced  # noqa: E402


class Arrays:
    """An array library with a clock."""

    def __init__(self, device: str) -> None:
        if device == "cuda":
            from mlipstore.device import open_device

            self.label = open_device("cuda").label
            import cupy

            self.xp: Any = cupy
        else:
            self.label, self.xp = "NumPy", np
        self.cuda = device == "cuda"

    def done(self) -> None:
        """Wait for what was begun."""
        if self.cuda:
            self.xp.cuda.get_current_stream().synchronize()

    def seconds(self, action: Callable[[], Any]) -> float:
        self.done()
        began = time.perf_counter()
        action()
        self.done()
        return time.perf_counter() - began

    def memory(self) -> float:
        """GB held on the device."""
        return float(self.xp.get_default_memory_pool().total_bytes()) / 1e9 if self.cuda else float("nan")


def product_rate(arrays: Arrays, size: int) -> float:
    """Operations per second of dgemm."""
    a = arrays.xp.ones((size, size))
    a @ a
    return 2.0 * size**3 / min(arrays.seconds(lambda: a @ a) for _ in range(3))


def compare(arrays: Arrays) -> float:
    """Largest relative difference of coefficients to the processor's own path; condition 1e6."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((6000, 300)) * np.logspace(0, -6, 300)
    b = A @ rng.standard_normal(300) + 1e-3 * rng.standard_normal(6000)
    there, here = Factor(300, 1, ArrayKernels(arrays.xp)), Factor(300)
    for start in range(0, 6000, 1500):
        rows = slice(start, start + 1500)
        there.update(arrays.xp.asarray(A[rows]), arrays.xp.asarray(b[rows]))
        here.update(A[rows], b[rows])
    x, y = (qr_solve(reduced(f).R, reduced(f).c)[0] for f in (there, here))
    return float(np.linalg.norm((x - y) / np.linalg.norm(y)))


def stream(arrays: Arrays, columns: int, rows: int, block: int) -> tuple[Factor, float, float]:
    """A factor of rows that are generated on the device, seconds, and seconds of the blocks in the second half."""
    xp = arrays.xp
    random = xp.random.RandomState(0)
    x = random.standard_normal(columns)
    factor = Factor(columns, 1, ArrayKernels(xp))
    late = done = 0.0
    began = time.perf_counter()
    for start in range(0, rows, block):
        count = min(block, rows - start)
        A = random.standard_normal((count, columns))
        b = A @ x + 1e-3 * random.standard_normal(count)
        arrays.done()
        moment = time.perf_counter()
        factor.update(A, b)
        arrays.done()
        if start >= rows // 2:
            late += time.perf_counter() - moment
            done += count
        del A, b
    factor.finish()
    arrays.done()
    return factor, time.perf_counter() - began, late / max(done, 1.0)


def main() -> int:
    """Print the table; 1 if the results disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "numpy"], default="cuda")
    parser.add_argument("--columns", type=int, nargs="+", default=[1024, 4096, 20300], metavar="M")
    parser.add_argument("--whole", action="store_true", help="a whole problem, from the first row to coefficients")
    parser.add_argument("--rows", type=int, default=2_482_085)
    parser.add_argument("--whole-columns", type=int, default=20_300)
    options = parser.parse_args()
    arrays = Arrays(options.device)
    apart = compare(arrays)
    print(f"{arrays.label}: coefficients of a small problem differ from the processor's by {apart:.1e} (relative)")
    rate = product_rate(arrays, 8192 if arrays.cuda else 512)
    print(f"dgemm {rate / 1e9:,.0f} GF/s\n      M      rows   update, of dgemm   whole, of dgemm   seconds   refused")
    for columns in options.columns:
        block = ArrayKernels(arrays.xp).chunk_rows(columns + 1)
        rows = max(8 * block, 16 * columns)
        factor, seconds, per_row = stream(arrays, columns, rows, block)
        operations = 2.0 * columns**2
        print(f"{columns:7d}{rows:10,}{operations / per_row / rate:19.2f}{operations * rows / seconds / rate:18.2f}"
              f"{seconds:10.2f}{factor.refused:10d}", flush=True)  # fmt: skip
    if options.whole:
        columns, rows = options.whole_columns, options.rows
        block = ArrayKernels(arrays.xp).chunk_rows(columns + 1)
        factor, seconds, _ = stream(arrays, columns, rows, block)
        began = time.perf_counter()
        problem = reduced(factor)
        found = qr_solve(problem.R, problem.c)[0]
        solving = time.perf_counter() - began
        x = to_host(arrays.xp.random.RandomState(0).standard_normal(columns))
        error = float(np.linalg.norm(found - x) / np.linalg.norm(x))
        apart = max(apart, error - 1e-3)
        share = 2.0 * rows * columns**2 / seconds / rate
        print(f"{rows:,} x {columns:,} = {8e-9 * rows * columns:,.1f} GB, never held: factor {seconds:.1f} s "
              f"({share:.2f} of dgemm, rows generated), coefficients {solving:.1f} s; "
              f"error {error:.1e}; device memory {arrays.memory():.1f} GB")  # fmt: skip
    return int(not apart < 1e-8)


if __name__ == "__main__":
    sys.exit(main())
