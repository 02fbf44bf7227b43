"""What is small about a segment in a fit: who is in it, and the labels as targets of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .axes import turn
from .split import places


@dataclass
class SegmentGroups:
    """Who is in a segment: geometry hash ``(n, 16)``, group name and whether it counts (and is selected)."""

    name: str
    geometry: NDArray[np.uint8]
    group: NDArray[Any]
    live: NDArray[np.bool_]
    _places: dict[int, NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)

    def places(self, seed: int) -> NDArray[np.float64]:
        """Place of each configuration in [0, 1) that splits go by, see :mod:`mlipstore.split`; hashed once."""
        if seed not in self._places:
            self._places[seed] = places(self.geometry, seed)
        return self._places[seed]


@dataclass(kw_only=True)
class SegmentLabels(SegmentGroups):
    """What is small about a segment: everything but its rows.

    :param counts: atoms of each element ``(n, elements)``
    :param turns: matrices that turn force rows ``(n, 3, 3)`` and stress rows ``(n, 6, 6)``, or None
    :param targets: energy per atom ``(n,)`` in eV, force ``(3 N,)`` in eV/Å, stress ``(6 n,)`` in eV/Å^3; baseline off,
        shifts on
    :param as_stored: the same in the frame of the data
    :param reference: values of the baseline in the same form where they are kept apart, else None
    """

    n_atoms: NDArray[np.int64]
    counts: NDArray[np.float64]
    targets: list[NDArray[np.float64]]
    as_stored: list[NDArray[np.float64]]
    turns: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    reference: list[NDArray[np.float64]] | None

    def owner(self, kind: int) -> NDArray[np.int64]:
        """Configuration that each atom (force) or tensor (stress) belongs to."""
        every = np.arange(len(self.n_atoms))
        return np.repeat(every, self.n_atoms) if kind == 1 else every

    def turned(self, kind: int, row: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the rows ``row`` ``(n,)``, given in the frame of the data, in the frame of the fit.

        Rows of a cell that is turned come as whole atoms and tensors: a missing component makes all turned ones NaN.
        """
        if self.turns is None or kind == 0 or not len(row):
            return values
        d = (3, 6)[kind - 1]
        first, last = int(row[0]) // d, int(row[-1]) // d + 1
        full = np.zeros(((last - first) * d, 1))
        full[row - first * d, 0] = values
        out: NDArray[np.float64] = turn(self.turns[kind - 1], self.owner(kind)[first:last], full)[row - first * d, 0]
        return out


def as_rows(
    values: list[NDArray[np.float64]],
    n_atoms: NDArray[np.int64],
    turns: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> list[NDArray[np.float64]]:
    """Energy ``(n,)``, force ``(N, 3)`` and stress ``(n, 6)`` as one number per row, energy per atom."""
    energy, force, stress = values
    if turns is not None:
        owner = np.repeat(np.arange(len(n_atoms)), n_atoms)
        force = turn(turns[0], owner, force.reshape(-1, 1))
        stress = turn(turns[1], np.arange(len(n_atoms)), stress.reshape(-1, 1))
    return [energy / n_atoms, force.ravel(), stress.ravel()]
