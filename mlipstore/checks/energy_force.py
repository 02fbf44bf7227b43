"""Energies against forces along small displacements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..audit.finding import NONE, Finding
from ..audit.material import Material
from ..audit.regression import line
from ..errors import counted

#: Slope of energy differences on the work of the forces, and what it means.
SLOPES = (
    (-1.0, "sign", "forces have the wrong sign"),
    (51.4220675, "force-unit", "forces are in Ha/Bohr, energies in eV"),
    (25.7110337, "force-unit", "forces are in Ry/Bohr, energies in eV"),
    (0.0367493, "energy-unit", "energies are in Ha, forces in eV/Å"),
    (0.0734986, "energy-unit", "energies are in Ry, forces in eV/Å"),
    (23.0605, "force-unit", "energies are in kcal/mol, forces in eV/Å"),
    (0.0433641, "force-unit", "energies are in eV, forces in kcal/mol/Å"),
    (96.4853, "energy-unit", "energies are in kJ/mol, forces in eV/Å"),
    (1.8897261, "length-unit", "energies and forces are in Ha and Ha/Bohr, positions in Å"),
    (0.5291772, "length-unit", "positions are in Bohr where forces are per Å"),
    (27.2113862, "energy-unit", "energies are in eV, forces in Ha/Å"),
    (1e3, "energy-unit", "energies are in meV, forces in eV/Å"),
    (1e-3, "force-unit", "energies are in eV, forces in meV/Å"),
)


@dataclass(frozen=True)
class EnergyForce:
    """For two configurations of the same cell E2 - E1 = -(F1 + F2)/2 . d to third order in the displacement d.

    :param pairs: least number of pairs for a verdict
    :param slope: how far from 1 it may be; ``r``: least correlation
    :param large: residual in eV that no small displacement explains; ``outlying``: in units of the usual residual
    :param share: part of the configurations from which on it takes so many to explain what contradicts that none of the
        group can be told right
    :param flat: energies that differ by less (eV, standard deviation) tell nothing
    """

    version: ClassVar[int] = 1
    pairs: int = 5
    slope: float = 0.15
    r: float = 0.95
    large: float = 1.0
    outlying: float = 30.0
    flat: float = 1e-5
    share: float = 0.1

    def run(self, data: Material) -> Iterator[Finding]:
        p, s = data.pairs, data.summary
        mask = p.displaced & p.forces
        for group, which in data.groups():
            mine = which[s.has_force[which] & ~s.zero_force[which] & np.isfinite(s.energy[which])]
            if not len(mine) or (s.n_atoms[mine] == 1).all():
                continue
            pairs = data.pairs_of(group, mask)
            x, y = p.work[pairs], p.energy[pairs]
            if len(pairs) < self.pairs:
                yield Finding(
                    "undecided",
                    f"energies against forces: {counted(len(pairs), 'pair')} of near configurations",
                    group,
                    "energy-force",
                    {"pairs": len(pairs)},
                    mine,
                )
                continue
            found = line(x, y)
            rest = np.abs(y - x)
            evidence: dict[str, Any] = {
                "pairs": len(pairs),
                "slope": found.slope,
                "r": found.r,
                "largest_residual": float(rest.max()),
                "pairs_above_1_eV": int((rest > self.large).sum()),
            }
            yield self._verdict(data, group, mine, pairs, rest, evidence)

    def _verdict(
        self, data: Material, group: str, mine: Any, pairs: Any, rest: Any, evidence: dict[str, Any]
    ) -> Finding:
        p = data.pairs
        x, y = p.work[pairs], p.energy[pairs]
        slope, r = evidence["slope"], evidence["r"]
        told = f"slope {slope:.3g}, r {r:.3f}, {counted(len(pairs), 'pair')}"
        if max(float(np.std(y)), float(np.std(x))) < self.flat:
            return Finding(
                "undecided",
                f"energies against forces: too flat to tell ({told})",
                group,
                "energy-force",
                evidence,
                mine,
            )
        if r * r > 0.9 and not abs(slope - 1) < self.slope:
            for value, code, text in SLOPES:
                if 1 / 1.15 < slope / value < 1.15:
                    remedy = {"action": "relabel", "force_scale": -1.0} if code == "sign" else {}
                    return Finding("error", f"{text} ({told})", group, code, evidence, mine, remedy)
        limit = max(0.02, self.outlying * 1.4826 * float(np.median(rest)))
        bad = rest > np.minimum(
            self.large, max(limit, 0.0) + 0.25 * np.maximum(np.abs(x), np.abs(y)) * (rest < self.large)
        )
        worst = _shared(p.first[pairs[bad]], p.second[pairs[bad]])
        # as good as it gets for displacements of up to 0.2 Å: the third order shows
        if abs(slope - 1) < self.slope and r > self.r and not (rest > self.large).any():
            if bad.any() and rest[bad].max() > 0.05:
                return Finding(
                    "warning",
                    f"energies of {len(worst)} differ from their forces by up to {rest[bad].max():.2g} eV ({told})",
                    group,
                    "energy-force",
                    evidence,
                    worst,
                )
            return Finding("ok", f"energies agree with forces ({told})", group, "", evidence, mine)
        if (rest > self.large).any():
            hit = int((rest > self.large).sum())
            many = len(worst) > self.share * len(mine)
            which = "so many that none can be told right" if many else f"{len(worst):,} of {len(mine):,} explain it"
            evidence["explained_by"] = len(worst)
            return Finding(
                "error",
                f"forces contradict energies by up to {rest.max():,.3g} eV, above {self.large:g} eV in "
                f"{counted(hit, 'pair')}; {which} ({told})",
                group,
                "energy-force",
                evidence,
                mine if many else worst,
            )
        if len(pairs) < 2 * self.pairs or abs(rest).max() < 5e-3:
            return Finding(
                "undecided", f"energies against forces are not clear ({told})", group, "energy-force", evidence, mine
            )
        if r > 0.9 and abs(slope - 1) < 0.3:
            return Finding(
                "warning",
                f"energies agree with forces in part ({told}, up to {rest.max():.2g} eV off)",
                group,
                "energy-force",
                evidence,
                worst if len(worst) else mine,
            )
        return Finding(
            "error",
            f"energies and forces do not belong together ({told}, up to {rest.max():.2g} eV off)",
            group,
            "energy-force",
            evidence,
            mine,
        )


def _shared(first: Any, second: Any) -> Any:
    """The configurations that explain bad pairs: those in most of them, until every pair has one."""
    out: list[int] = []
    first, second = first.copy(), second.copy()
    while len(first):
        names, counts = np.unique(np.concatenate([first, second]), return_counts=True)
        one = int(names[np.argmax(counts)])
        out.append(one)
        keep = (first != one) & (second != one)
        first, second = first[keep], second[keep]
    return np.array(sorted(out), np.int64) if out else NONE


plugin = EnergyForce
