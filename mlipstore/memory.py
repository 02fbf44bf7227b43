"""Projected memory of a plan, in bytes, before it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import MemoryLimitError, SettingsError
from .solve.factor import projected_bytes

#: The interpreter with NumPy, SciPy, Zarr and Icechunk loaded, and the work space of their BLAS.
IMPORTED = 110 << 20
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


@dataclass(frozen=True)
class FitMemory:
    """Parts of the memory of a fit, in bytes."""

    imported: int
    factor: int
    blocks: int
    solve: int
    labels: int

    @property
    def worker(self) -> int:
        """Of one worker of a parallel fit."""
        return self.imported + self.blocks + self.labels + self.factor

    @property
    def total(self) -> int:
        return self.imported + self.blocks + self.labels + max(self.factor, self.solve)


def fit_memory(n_columns: int, block_rows: int, biggest_segment_atoms: int, solver_matrices: int = 8) -> FitMemory:
    """Memory of a streamed fit: O(M^2) and a few blocks, whatever the number of rows.

    :param n_columns: M, constants included
    :param block_rows: rows of the largest block
    :param solver_matrices: matrices of M^2 numbers that solving takes (``matrices`` of a solver plugin)
    """
    k = n_columns + 1
    return FitMemory(
        imported=IMPORTED,
        factor=projected_bytes(n_columns),
        # one in use and its weighted copy, one waiting, one being read and the stored rows it is made of
        blocks=5 * 8 * n_columns * block_rows,
        # by default R, its copy for LAPACK, U, V^T and work of the divide-and-conquer SVD
        solve=8 * solver_matrices * k * k,
        labels=400 * biggest_segment_atoms,
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


def require(projected: FitMemory, n_columns: int, allowance: int) -> None:
    """Refuse a fit that cannot fit.

    :raises MemoryLimitError: says what takes the memory and what would help
    """
    if projected.total <= allowance:
        return
    raise MemoryLimitError(
        f"projected memory {human(projected.total)} (M = {n_columns:,}: factor {human(projected.factor)}, solving "
        f"{human(projected.solve)}, blocks {human(projected.blocks)}) exceeds the {human(allowance)} allowed. "
        + (
            "Use a smaller block_rows."
            if projected.blocks > projected.factor and projected.total - projected.blocks < allowance
            else "Use fewer features or a machine with more memory."
        )
    )
