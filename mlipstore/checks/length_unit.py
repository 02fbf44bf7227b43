"""Lengths in Bohr or nm, by the distances between neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..audit.finding import Finding
from ..audit.material import Material

_NOBLE = {2, 10, 18, 36, 54, 86}


@dataclass(frozen=True)
class LengthUnit:
    """The nearest neighbour is at 0.8 to 1.4 of the sum of the covalent radii in solids, liquids and molecules.

    :param high, low: of the median over configurations of the median over atoms
    :param least: configurations with neighbours that are needed
    """

    version: ClassVar[int] = 1
    high: float = 1.62
    low: float = 0.62
    least: int = 3

    def run(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        noble = np.array([all(z in _NOBLE for z, _ in c) for c in s.compositions], bool)[s.composition]
        for group, which in data.groups():
            # too far for the neighbours that are looked at: the density tells
            mine = which[(s.n_atoms[which] > 1) & ~noble[which] & ~s.fractional[which] & ~s.transposed[which]]
            near = mine[np.isfinite(s.typical[mine])]
            if len(mine) < self.least:
                continue
            middle = float(np.median(np.where(np.isfinite(s.typical[mine]), s.typical[mine], 9.0)))
            evidence = {"n": len(near), "median_ratio": middle if len(near) else None}
            if self.low <= middle <= self.high:
                yield Finding("ok", f"nearest neighbours at {middle:.2f} of the covalent radii", group, "", evidence)
            elif middle == 9.0 and not s.pbc[mine].all():
                continue  # isolated atoms
            elif middle > self.high:
                yield Finding(
                    "warning",
                    f"nearest neighbours at {_times(middle)} the covalent radii: lengths in Bohr taken as Å?",
                    group,
                    "length-unit",
                    evidence,
                    mine,
                    {"action": "reingest", "length_unit": "Bohr"},
                )
            else:
                yield Finding(
                    "warning",
                    f"nearest neighbours at {middle:.2f} times the covalent radii: lengths in nm, or Å taken as Bohr?",
                    group,
                    "length-unit",
                    evidence,
                    mine,
                )


def _times(ratio: float) -> str:
    return "more than 2 times" if ratio > 8 else f"{ratio:.2f} times"


plugin = LengthUnit
