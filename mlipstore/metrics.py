"""Error statistics per group x split x kind, accumulated block by block.

Residuals are r = b - A x with the reference potential and element shifts already taken off b, per row: an energy in
eV/atom, a force component, a stress component. Weighted statistics use w r and w b (FitSNAP's definitions: the mean
of |w r| over all rows, the root mean square and R^2 over rows with w != 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .split import SPLITS

KINDS = ("energy", "force", "stress")
ALL = "*"
_N, _N_USED, _ABS, _SQ, _MAX, _MEAN, _M2 = range(7)


@dataclass(frozen=True)
class Entry:
    """One line of the error table, in internal units (eV/atom, eV/Å, eV/Å^3)."""

    group: str
    split: str
    kind: str
    weighted: bool
    n: int
    mae: float
    rmse: float
    max: float
    rsq: float


class ErrorTable:
    """Accumulates residuals; memory is groups x 2 x 3 x 2 x 7 numbers whatever the number of rows."""

    def __init__(self, groups: list[str]) -> None:
        self.groups = groups
        self._sums = np.zeros((len(groups), len(SPLITS), len(KINDS), 2, 7))

    def add(
        self,
        kind: int,
        split: NDArray[np.int8],
        group: NDArray[np.int32],
        r: NDArray[np.float64],
        b: NDArray[np.float64],
        w: NDArray[np.float64],
    ) -> None:
        """Fold in rows of one kind: split, group code, residual, target and weight of each."""
        for s in range(len(SPLITS)):
            chosen = np.flatnonzero(split == s)
            if not len(chosen):
                continue
            mine = group[chosen]
            # rows come ordered by group, so this is a handful of runs
            edges = np.flatnonzero(np.diff(mine)) + 1
            for run in np.split(chosen, edges):
                cell = self._sums[group[run[0]], s, kind]
                cell[0] = _merge(cell[0], _summary(r[run], b[run], None))
                cell[1] = _merge(cell[1], _summary(r[run], b[run], w[run]))

    def add_sums(
        self, kind: int, split: int, group: int, n: int, squares: float, mean: float, scatter: float, weight: float
    ) -> None:
        """Fold in ``n`` rows of one weight of which only sums are known: their absolute and largest errors are NaN.

        :param squares: sum of r^2; ``mean`` of b; ``scatter`` the sum of (b - mean)^2
        """
        nan = float("nan")
        w = weight * weight
        cell = self._sums[group, split, kind]
        cell[0] = _merge(cell[0], np.array([n, n, nan, squares, nan, mean, scatter]))
        used = [n, w * squares, weight * mean, w * scatter] if weight else [0, 0.0, 0.0, 0.0]
        cell[1] = _merge(cell[1], np.array([n, used[0], nan, used[1], nan, used[2], used[3]]))

    def merge(self, other: ErrorTable) -> None:
        """Fold in the rows of a table of the same groups, after those that are here."""
        for at in zip(*np.nonzero(other._sums[..., _N]), strict=True):
            self._sums[at] = _merge(self._sums[at], other._sums[at])

    @classmethod
    def joined(cls, tables: list[ErrorTable]) -> ErrorTable:
        """One table of the groups of several."""
        out = cls([g for t in tables for g in t.groups])
        if tables:
            out._sums = np.concatenate([t._sums for t in tables])
        return out

    def entries(self) -> list[Entry]:
        """All lines that have rows; group ``*`` is everything together and comes first."""
        out = []
        for s, split in enumerate(SPLITS):
            for k, kind in enumerate(KINDS):
                for weighted in (0, 1):
                    total = np.zeros(7)
                    lines = []
                    for g, group in enumerate(self.groups):
                        cell = self._sums[g, s, k, weighted]
                        if cell[_N]:
                            total = _merge(total, cell)
                            lines.append(_entry(group, split, kind, bool(weighted), cell))
                    if total[_N]:
                        out += [_entry(ALL, split, kind, bool(weighted), total), *lines]
        return out


def _summary(r: NDArray[Any], b: NDArray[Any], w: NDArray[Any] | None) -> NDArray[np.float64]:
    n = n_used = len(r)
    if w is not None:
        used = w != 0
        n_used = int(used.sum())
        r, b = w * r, (w * b)[used]
    mean = float(b.mean()) if len(b) else 0.0
    a = np.abs(r)
    return np.array([n, n_used, a.sum(), float(r @ r), a.max(), mean, float(((b - mean) ** 2).sum())])


def _merge(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of two sets of rows; mean and squared deviation by Chan et al., doi:10.1080/00031305.1983.10483115 (1.5)."""
    if not x[_N]:
        return y.copy()
    out = x + y
    out[_MAX] = max(x[_MAX], y[_MAX])
    n = x[_N_USED] + y[_N_USED]
    delta = y[_MEAN] - x[_MEAN]
    share = y[_N_USED] / n if n else 0.0
    out[_MEAN] = x[_MEAN] + delta * share
    out[_M2] = x[_M2] + y[_M2] + delta**2 * x[_N_USED] * share
    return out


def _entry(group: str, split: str, kind: str, weighted: bool, cell: NDArray[np.float64]) -> Entry:
    n, used = int(cell[_N]), cell[_N_USED]
    with np.errstate(divide="ignore", invalid="ignore"):
        rmse = float(np.sqrt(np.float64(cell[_SQ]) / used)) if used else float("nan")
        rsq = float(1.0 - np.float64(cell[_SQ]) / cell[_M2])
    return Entry(
        group, split, kind, weighted, int(used) if weighted else n, float(cell[_ABS] / n), rmse, float(cell[_MAX]), rsq
    )
