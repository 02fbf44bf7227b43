"""Energies per atom far from those of the same composition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..audit.finding import NONE, Finding
from ..audit.material import Material
from ..audit.regression import median_deviation
from ..errors import counted


@dataclass(frozen=True)
class EnergyOutlier:
    """Counted per composition; strong compression is real, so this is never more than a warning.

    Isolated atoms, and atoms too far apart to interact, are no outliers.

    :param deviations: in units of 1.4826 times the median absolute deviation
    :param energy: eV per atom from the median, which it takes besides to be told about
    """

    version: ClassVar[int] = 2
    deviations: float = 10.0
    energy: float = 5.0

    def run(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        known = np.flatnonzero(np.isfinite(s.energy) & ~data.beyond)
        if not len(known):
            return
        per_atom = s.energy / np.maximum(s.n_atoms, 1)
        formula = _formulas(s.compositions)[s.composition]
        order = known[np.argsort(formula[known], kind="stable")]
        spread, above, positive, odd = [NONE], [NONE], [NONE], [NONE]
        for part in np.split(order, np.flatnonzero(np.diff(formula[order])) + 1):
            e = per_atom[part]
            middle, width = float(np.median(e)), median_deviation(e)
            far = np.abs(e - middle) > self.deviations * width
            spread.append(part[far & (width > 0)])
            above.append(part[e > middle + self.energy])
            positive.append(part[e > 0])
            odd.append(part[far & (np.abs(e - middle) > self.energy)])
        zero = known[s.energy[known] == 0.0]
        flagged = np.unique(np.concatenate([*odd, zero]))
        evidence = {
            "beyond_deviations": sum(map(len, spread)),
            "above_median": sum(map(len, above)),
            "positive": sum(map(len, positive)),
            "zero": len(zero),
            "highest_eV_per_atom": float(per_atom[known].max()),
            "lowest_eV_per_atom": float(per_atom[known].min()),
        }
        if not len(flagged):
            yield Finding("ok", f"no energy is more than {self.energy:g} eV/atom from its median", evidence=evidence)
            return
        for group, which in data.groups():
            mine = np.intersect1d(which, flagged)
            if len(mine):
                e = per_atom[mine]
                where = f"{e.min():.4g} to {e.max():.4g}" if len(mine) > 1 else f"{e[0]:.4g}"
                yield Finding(
                    "warning",
                    f"{counted(len(mine), 'energy', 'energies')} far from the others of their composition, "
                    f"{where} eV/atom",
                    group,
                    "energy-outlier",
                    evidence | {"n": len(mine)},
                    mine,
                )


def _formulas(compositions: list[tuple[tuple[int, int], ...]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The same number for compositions that are multiples of each other."""
    code: dict[tuple[tuple[int, int], ...], int] = {}
    out = []
    for composition in compositions:
        divisor = int(np.gcd.reduce([n for _, n in composition]))
        key = tuple((z, n // divisor) for z, n in composition)
        out.append(code.setdefault(key, len(code)))
    return np.array(out, np.int64)


plugin = EnergyOutlier
