"""Configurations that are copies but for a little noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..audit.finding import Finding
from ..audit.material import Material
from ..audit.pairs import NEARLY
from ..errors import counted


@dataclass(frozen=True)
class NearCopies:
    """Cell and all positions equal to 0.002 Å: a copy with noise, or two steps of a trajectory."""

    version: ClassVar[int] = 1

    def run(self, data: Material) -> Iterator[Finding]:
        s, p = data.summary, data.pairs
        near = np.flatnonzero(p.nearly)
        if not len(near):
            yield Finding("ok", f"no copies within {NEARLY:g} Å", evidence={"copies": 0})
            return
        second = np.unique(p.second[near])
        off = np.abs(p.energy[near]) / s.n_atoms[p.first[near]]
        across = int((s.group[p.first[near]] != s.group[p.second[near]]).sum())
        evidence = {
            "copies": len(second),
            "pairs": len(near),
            "across_groups": across,
            "largest_difference_eV_per_atom": float(np.nanmax(off)),
        }
        yield Finding(
            "warning",
            f"{counted(len(second), 'nearly exact copy', 'nearly exact copies')} "
            f"(within {NEARLY:g} Å), {counted(across, 'pair')} across groups",
            "*",
            "near-copies",
            evidence,
            second,
        )


plugin = NearCopies
