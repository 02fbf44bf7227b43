"""Compiled pair potentials: the Python face of ``src/pair_*.cpp``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..computing import Reference
from ..configuration import Batch
from . import load
from .calls import call


@dataclass(frozen=True)
class Zbl:
    """Screened nuclear repulsion, switched off between two radii, as LAMMPS ``pair_style zbl`` (see ``pair_zbl.hpp``).

    :param charges: of each pair of types, type-major: the two nuclear charges, (0, 0) for no interaction
    :param inner: where switching begins, in Å; ``outer``: where the energy and two derivatives are zero
    """

    n_types: int
    charges: tuple[tuple[float, float], ...]
    inner: float
    outer: float

    def evaluate(self, batch: Batch, types: NDArray[np.int32]) -> Reference:
        """Energy, force and stress of each configuration; stress is 0 unless periodic in all directions.

        :param types: type of each atom from 0 ``(N,)``
        """
        out = Reference(np.zeros(len(batch)), np.zeros((len(batch.number), 3)), np.zeros((len(batch), 6)))
        call(_kernel(self).evaluate, batch, types, out.energy, out.force, out.stress)
        return out


@lru_cache(maxsize=16)
def _kernel(zbl: Zbl) -> Any:
    zi, zj = zip(*zbl.charges, strict=True)
    return load("pair", "baseline").Zbl(zbl.n_types, list(zi), list(zj), zbl.inner, zbl.outer)
