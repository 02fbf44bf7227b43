"""Forces that are all exactly zero: by symmetry, or lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..audit.finding import Finding
from ..audit.material import Material
from ..errors import counted


@dataclass(frozen=True)
class ZeroForces:
    """Where symmetry makes a force zero it makes every sum of central functions over the neighbours zero.

    Atoms that are out of reach of each other have none either, see ``Material.beyond``.

    :param uneven: least length of such a sum that shows that no symmetry forbids a force
    :param energy: eV; a displaced neighbour in configuration space whose energy differs by more proves a force
    """

    version: ClassVar[int] = 2
    uneven: float = 0.02
    energy: float = 0.01

    def run(self, data: Material) -> Iterator[Finding]:
        s, p = data.summary, data.pairs
        zero = s.zero_force & (s.n_atoms > 1) & ~data.beyond
        pairs = p.displaced & p.zero_forces & (np.abs(p.energy) > self.energy)
        moved = np.zeros(len(s), bool)
        hit = np.flatnonzero(pairs)
        moved[p.first[hit]] = moved[p.second[hit]] = True
        for group, which in data.groups():
            mine = which[zero[which]]
            if not len(mine):
                continue
            lost = mine[(s.uneven[mine] > self.uneven) | moved[mine]]
            unknown = mine[np.isnan(s.uneven[mine]) & ~moved[mine]]
            others = int((s.has_force[which] & ~s.zero_force[which]).sum())
            evidence = {
                "zero": len(mine),
                "not_by_symmetry": len(lost),
                "not_zero": others,
                "not_decided": len(unknown),
                "displaced_with_other_energy": int(moved[mine].sum()),
            }
            if len(lost):
                # one relaxed structure may have forces that print as zero; many of them have not
                level = "error" if len(lost) > 1 or moved[lost].any() else "warning"
                yield Finding(
                    level,
                    f"all forces are zero in {counted(len(lost), 'configuration')} where no symmetry makes them so: "
                    "lost",
                    group,
                    "lost-forces",
                    evidence,
                    lost,
                    {"action": "mask", "force": True},
                )
            else:
                yield Finding(
                    "ok",
                    f"all forces of {counted(len(mine), 'configuration')} are zero by symmetry",
                    group,
                    "",
                    evidence,
                    mine,
                )


plugin = ZeroForces
