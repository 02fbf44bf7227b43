"""Copies whose labels differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..audit.finding import Finding
from ..audit.material import Material
from ..audit.pairs import NEARLY
from ..errors import counted

#: Differences of energy in eV and of the largest force in eV/Å of copies, and which they are.
_Copies = tuple[float, float, NDArray[np.int64]]


@dataclass(frozen=True)
class LabelConflict:
    """Of equal geometries with different energies at most one is right.

    :param energy: smallest difference in eV per cell that is told; ``error``: in eV per atom, from which it is an error
    :param force: difference of the largest force in eV/Å that is told
    :param near: difference in eV per atom that a change of 0.002 Å cannot make
    """

    version: ClassVar[int] = 2
    energy: float = 1e-3
    error: float = 1e-3
    force: float = 0.05
    near: float = 0.005

    def run(self, data: Material) -> Iterator[Finding]:
        yield from self._nearly(data)
        s = data.summary
        found = []
        for c in data.copies:
            e = s.energy[c]
            spread = float(np.nanmax(e) - np.nanmin(e)) if np.isfinite(e).any() else 0.0
            f = s.force_max[c]
            forces = float(np.nanmax(f) - np.nanmin(f)) if np.isfinite(f).any() else 0.0
            if spread > self.energy or forces > self.force:
                found.append((spread, forces, c))
        if not found and data.copies:
            yield Finding("ok", f"labels of {len(data.copies):,} copied geometries agree")
        by_energy = sorted((x for x in found if x[0] > self.energy), key=lambda x: -x[0])
        by_force = sorted((x for x in found if x[0] <= self.energy), key=lambda x: -x[1])
        if by_energy:
            yield self._conflict(data, by_energy, len(by_force))
        if by_force:
            yield self._conflict(data, by_force, len(by_force))

    def _conflict(self, data: Material, found: list[_Copies], forces_only: int) -> Finding:
        """The finding about copies that contradict each other, the worst first."""
        s = data.summary
        energy, force = found[0][:2]
        other_energy = energy > self.energy
        strong = any(x[0] > self.error * s.n_atoms[x[2][0]] for x in found)
        apart = (
            f"energies up to {energy:,.3g} eV"
            if other_energy
            else f"the same energy and forces up to {force:,.3g} eV/Å"
        )
        listed = [
            {
                "difference_eV": spread,
                "n_atoms": int(s.n_atoms[c[0]]),
                "energies_eV": s.energy[c].tolist(),
                "places": [s.place(int(i)) for i in c],
                "groups": [s.groups[s.group[i]] for i in c],
            }
            for spread, _, c in found[:50]
        ]
        evidence = {
            "geometries": len(found) if other_energy else 0,
            "largest_eV": energy,
            "forces_only": forces_only,
            "conflicts": listed,
        }
        return Finding(
            "error" if strong else "warning",
            f"{counted(len(found), 'copied geometry', 'copied geometries')} with other labels, {apart} apart",
            "*",
            "conflict" if other_energy else "force-conflict",
            evidence,
            np.sort(np.concatenate([c for *_, c in found])),
            {"action": "remove"} if other_energy else {"action": "mask", "force": True},
        )

    def _nearly(self, data: Material) -> Iterator[Finding]:
        """Configurations that are copies but for some noise, and whose energies differ by more than it explains."""
        s, p = data.summary, data.pairs
        near = np.flatnonzero(p.nearly)
        off = np.abs(p.energy[near]) / s.n_atoms[p.first[near]]
        conflict = near[off > self.near]
        if len(conflict):
            yield Finding(
                "error",
                f"{counted(len(conflict), 'pair')} within {NEARLY:g} Å of each other differ by up to "
                f"{off.max():.2g} eV/atom",
                "*",
                "near-conflict",
                {"pairs": len(conflict), "largest_eV_per_atom": float(off.max())},
                np.unique(np.concatenate([p.first[conflict], p.second[conflict]])),
            )


plugin = LabelConflict
