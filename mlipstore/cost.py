"""How long a fit takes, from counts and rates, before it runs. docs/scaling.md derives it and compares it with runs.

With n = columns + targets, a leaf of r rows costs ``2 r n^2`` operations, at a share of the rate of a matrix product
that depends on n, and ``2/3 n^3`` once; merging two triangles costs ``2/3 n^3`` at a smaller share. Who merges what is
known beforehand, so the time on P workers is found by going through the reduction as it will happen.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from .reduction import SUBTREES_PER_WORKER, widths
from .solve.kernels import chunk_rows

#: Rows, in units of the columns, that go through Householder transformations at the beginning of a leaf.
_START = 3
#: So many columns, and fewer, go through Householder transformations throughout.
_NARROW = 256


@dataclass(frozen=True)
class Rates:
    """What one worker does in a second, and what connects workers.

    :param gemm: operations of a matrix product
    :param rows: bytes of rows read from the store, or made
    :param memory: bytes copied
    :param network: bytes between two workers, ``latency`` seconds before the first
    """

    gemm: float = 4e10
    rows: float = 8e8
    memory: float = 4e9
    network: float = 1e9
    latency: float = 1e-3

    def factor(self, rows: float, n: int) -> float:
        """Seconds to fold rows into a new factor of n columns and finish it."""
        if n <= _NARROW:
            return 2.0 * rows * n * n / (n / (n + 130.0) * self.gemm)
        whole = first_rows(rows, n)
        more = min(rows, _START * n) - whole
        rest = rows - whole - more
        square = 2.0 * whole**2 * (n - whole / 3.0) / (0.7 * n / (n + 100.0))
        updates = 2.0 * more * n * n / (0.75 * n / (n + 100.0))
        accumulated = 2.0 * rest * n * n / (n / (n + 200.0)) + (2.0 / 3.0 * float(n) ** 3 / 0.6 if rest else 0.0)
        return (square + updates + accumulated) / self.gemm

    def merge(self, n: int) -> float:
        """Seconds to unpack two packed triangles, merge them and pack the result."""
        return 2e-4 + 2.0 / 3.0 * float(n) ** 3 / (0.45 * n / (n + 600.0) * self.gemm) + 40.0 * n * n / self.memory

    def transfer(self, n: int) -> float:
        """Seconds for a packed triangle to get to another worker."""
        return self.latency + packed_bytes(n) / self.network

    def read(self, rows: float, n: int) -> float:
        """Seconds to read or make rows."""
        return 8.0 * rows * n / self.rows

    def errors(self, rows: float, n: int) -> float:
        """Seconds for the residuals of rows."""
        return 8.0 * rows * n / self.memory

    def solve(self, n: int, solver: str = "svd") -> float:
        """Seconds for the coefficients: singular values cost as much as 33 n^3 operations of a matrix product."""
        cheap = solver in ("qr", "ridge")
        return (0.0 if cheap else 33.0 * float(n) ** 3 / self.gemm) + 60.0 * n * n / self.memory


def first_rows(rows: float, n: int) -> float:
    """Rows that a factor of n columns keeps as they are and factors at once: whole chunks, not more than columns."""
    return rows if rows <= n else float(n // chunk_rows(n) * chunk_rows(n))


@dataclass(frozen=True)
class FitSeconds:
    """Parts of the time of a fit; ``work`` is that of all workers together in both passes."""

    factor: float
    solve: float
    errors: float
    work: float
    workers: int
    leaves: int

    @property
    def total(self) -> float:
        return self.factor + self.solve + self.errors

    @property
    def efficiency(self) -> float:
        """Share of the time of the workers in the two passes that is work."""
        return min(1.0, self.work / (self.workers * (self.factor + self.errors)))


def packed_bytes(n: int) -> int:
    """Of a packed triangle of n columns."""
    return 4 * n * (n + 1)


def fit_seconds(leaves: Sequence[float], n: int, workers: int = 1, rates: Rates | None = None,
                solver: str = "svd") -> FitSeconds:  # fmt: skip
    """Time of a fit whose leaves have so many rows each, on so many workers."""
    rates = rates or Rates()
    each = [rates.factor(r, n) + rates.read(r, n) for r in leaves]
    merge = rates.merge(n)
    first = reduction_seconds(each, merge, rates.transfer(n), workers)
    residuals = [rates.errors(r, n) + rates.read(r, n) for r in leaves]
    work = sum(each) + merge * (len(each) - 1) + sum(residuals)
    return FitSeconds(first, rates.solve(n, solver), _greedy(residuals, workers), work, workers, len(leaves))


def reduction_seconds(leaves: Sequence[float], merge: float, transfer: float, workers: int) -> float:
    """When the root of the fixed tree is there, if leaves take so long each and workers take subtrees as they are free.

    A node is merged on the worker of its left child, as soon as both children are there and that worker is free.
    """
    counts, level = widths(len(leaves)), 0
    while level + 1 < len(counts) and counts[level + 1] >= SUBTREES_PER_WORKER * workers:
        level += 1
    width = 1 << level
    free = [(0.0, w) for w in range(workers)]
    nodes: list[tuple[float, int]] = []
    for start in range(0, len(leaves), width):
        part = leaves[start : start + width]
        begun, worker = heapq.heappop(free)
        end = begun + sum(part) + merge * (len(part) - 1)
        nodes.append((end, worker))
        heapq.heappush(free, (end, worker))
    until = {worker: end for end, worker in free}
    while len(nodes) > 1:
        above = []
        for i in range(0, len(nodes) - 1, 2):
            (left, worker), (right, other) = nodes[i], nodes[i + 1]
            ready = max(left, right + (transfer if other != worker else 0.0), until[worker])
            until[worker] = ready + merge
            above.append((until[worker], worker))
        nodes = above + (nodes[-1:] if len(nodes) % 2 else [])
    return nodes[0][0]


def pass_seconds(rows: int, columns: int) -> float:
    """Both passes of a fit on one worker, roughly: to see whether workers are worth starting."""
    rates, n = Rates(), columns + 1
    return rates.factor(rows, n) + rates.errors(rows, n) + 2.0 * rates.read(rows, n)


def even_leaves(rows: int, most: int) -> list[float]:
    """Leaves of a fit whose segments are small: of ``most`` rows each but the last."""
    count = max(1, -(-rows // most))
    return [float(most)] * (count - 1) + [float(rows - most * (count - 1))]


@cache
def gemm_rate(size: int = 1024) -> float:
    """Operations per second of a matrix product on one thread of this machine, by its CPU time."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    a = np.random.default_rng(0).standard_normal((size, size))
    with threadpool_limits(1):
        a @ a
        return 2.0 * size**3 / min(_seconds(lambda: a @ a) for _ in range(4))


@cache
def memory_rate(size: int = 64 << 20) -> float:
    """Bytes copied per second on one thread of this machine."""
    import numpy as np

    a = np.ones(size // 8)
    a.copy()
    return size / min(_seconds(a.copy) for _ in range(3))


def measured(matrix: Any, **given: float | None) -> Rates:
    """Rates of this machine and of a design matrix: a product, a copy and some rows, in well below a second.

    :param given: rates that are known: they are not measured
    """
    known = {k: v for k, v in given.items() if v is not None}
    if "gemm" not in known:
        known["gemm"] = gemm_rate()
    if "memory" not in known:
        known["memory"] = memory_rate()
    if "rows" not in known:
        known["rows"] = matrix.row_rate()
    return replace(Rates(), **known)


def _seconds(action: Any) -> float:
    began = time.process_time()
    action()
    return max(time.process_time() - began, 1e-6)


def _greedy(tasks: Sequence[float], workers: int) -> float:
    """When all tasks are done that workers take in their order."""
    free = [0.0] * workers
    for seconds in tasks:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)
