"""Projected memory of a plan, in bytes, before it runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .allocation import KEPT
from .errors import MemoryLimitError, SettingsError
from .solve.factor import projected_bytes

#: The interpreter with NumPy, SciPy, Zarr and Icechunk loaded, the work space of their BLAS, freed memory that is kept.
IMPORTED = (110 << 20) + KEPT
#: Arrays of (M, M) that a solver holds if it does not say so (``matrices``).
MATRICES = 12
#: Fewer rows per block than this cost more time than they save memory.
_SMALLEST_BLOCK = 256
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


@dataclass(frozen=True)
class FitMemory:
    """Parts of the memory of a fit, in bytes.

    :param imported: the program, and what its allocator keeps for the next chunk
    :param blocks: rows on their way; ``labels``: those of one segment
    :param factor: the triangle that takes rows in, one block included
    :param waiting: packed triangles of rows that were gone over, to be merged
    :param solve: arrays of the solver, the factor included
    """

    imported: int
    factor: int
    blocks: int
    solve: int
    labels: int
    waiting: int = 0

    @property
    def worker(self) -> int:
        """Of one worker of a parallel fit."""
        return self.imported + self.blocks + self.labels + self.factor + self.waiting

    @property
    def total(self) -> int:
        return self.imported + self.blocks + self.labels + max(self.factor + self.waiting, self.solve)

    def parts(self) -> str:
        """What makes :attr:`total`."""
        most = max((self.factor + self.waiting, "factor"), (self.solve, "solving"))
        parts = [(self.imported, "program"), most, (self.blocks, "blocks"), (self.labels, "labels")]
        return ", ".join(f"{name} {human(size)}" for size, name in parts)


def fit_memory(
    n_columns: int,
    block_rows: int,
    biggest_segment_atoms: int,
    solver_matrices: int = MATRICES,
    n_leaves: int = 1,
    zeros: bool = True,
) -> FitMemory:
    """Memory of a streamed fit: O(M^2) and a few blocks, whatever the number of rows (up to its logarithm).

    :param n_columns: M, constants included
    :param block_rows: rows of the largest block
    :param solver_matrices: arrays of ``(M, M)`` that solving takes, the factor included (``matrices`` of a solver)
    :param n_leaves: runs of rows that are factored one by one and merged over a binary tree
    :param zeros: whether rows may be zero in many columns, as those without one of several elements are
    """
    k = n_columns + 1
    return FitMemory(
        imported=IMPORTED,
        factor=projected_bytes(n_columns, zeros=zeros),
        # one in use and its weighted copy, one waiting, one being read and the stored rows it is made of
        blocks=5 * 8 * n_columns * block_rows,
        solve=8 * solver_matrices * k * k,
        labels=400 * biggest_segment_atoms,
        waiting=(n_leaves - 1).bit_length() * 4 * k * (k + 1),
    )


def parse_bytes(text: str) -> int:
    """Bytes in ``4GB``, ``512MiB``, ``2e9`` ...

    >>> parse_bytes("4GB")
    4000000000
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?i?)b?\s*", text.lower())
    if not match or match[2] not in _UNITS:
        raise SettingsError(f"{text!r} is not an amount of memory. Write 4GB, 512MiB or a number of bytes.")
    return int(float(match[1]) * _UNITS[match[2]])


def available_bytes() -> int:
    """Memory this process may still take: the machine's, or its control group's if that is less."""
    free = 1 << 62
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
        if found:
            free = int(found[1]) * 1024
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and (text := limit.read_text().strip()).isdigit():
        free = min(free, int(text) - int(used.read_text()))
    return free


def human(n: float) -> str:
    """Bytes for people.

    >>> human(1_234_567)
    '1.2 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" or n >= 100 else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def require(
    plan: Callable[[int], FitMemory], n_columns: int, block_rows: int, allowance: int, given: bool, least: int = 1
) -> None:
    """Refuse a fit that cannot fit.

    :param plan: the memory of a fit with so many rows per block
    :param given: whether the allowance is a setting, or what this machine has free
    :param least: fewer rows per block change nothing
    :raises MemoryLimitError: says what takes the memory and what would help
    """
    projected = plan(block_rows)
    if projected.total <= allowance:
        return
    limit = f"the {human(allowance)} allowed" if given else f"the {human(allowance)} that are free here"
    least = max(least, _SMALLEST_BLOCK)
    smaller = max(1 << max(block_rows - 1, 1).bit_length() - 1, least)
    while smaller > least and plan(smaller).total > allowance:
        smaller = max(smaller // 2, least)
    if plan(smaller).total <= allowance:
        advice = f"block_rows = {smaller} in [fit] needs {human(plan(smaller).total)}."
    else:
        lowest = plan(min(block_rows, least)).total
        advice = (
            (f"With block_rows = {least} in [fit], the least, it is {human(lowest)}. " * (lowest < projected.total))
            + ("Allow more with --memory or max_memory" if given else "Take a machine with more memory")
            + ", or use fewer columns (of SNAP: a smaller twojmax, no quadraticflag)."
        )
    raise MemoryLimitError(
        f"projected memory {human(projected.total)} for {n_columns:,} columns ({projected.parts()}) exceeds {limit}. "
        f"{advice}"
    )
