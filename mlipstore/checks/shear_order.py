"""Order of the three shear components, per group: from the bonds of disordered cells and from sheared pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..audit.finding import Finding
from ..audit.material import Material
from ..audit.regression import correlation, line
from ..errors import counted

NAMES = ("yz", "xz", "xy")


@dataclass(frozen=True)
class ShearOrder:
    """Each stored shear component has to follow the bond proxy of the same plane, and no other.

    :param least: configurations needed
    :param r: least correlation of the right component; ``clear``: how much larger it has to be than the others
    :param cosine: least agreement of sheared pairs
    """

    version: ClassVar[int] = 1
    least: int = 20
    r: float = 0.45
    clear: float = 2.5
    cosine: float = 0.9

    def run(self, data: Material) -> Iterator[Finding]:
        found: dict[str, list[str]] = {}
        for finding in self._groups(data):
            order = finding.evidence.get(
                "file_order", data.orders[0] if finding.verdict == "ok" and data.orders else ""
            )
            if order:
                found.setdefault(order, []).append(finding.group)
            yield finding
        if len(found) > 1:
            parts = "; ".join(f"{order} in {', '.join(groups[:3])}" for order, groups in sorted(found.items()))
            level = "warning" if data.open_order else "error"
            yield Finding(
                level,
                f"the order of the six stress numbers differs between groups: {parts}",
                code="mixed-orders",
                evidence={"orders": found},
            )

    def _groups(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        for group, which in data.groups():
            mine = which[s.has_stress[which] & ~s.zero_stress[which]]
            if not len(mine) or not s.stress[mine, 3:].any():
                continue
            proxy, evidence, signs = self._by_bonds(data, mine)
            pairs, more = self._by_pairs(data, group)
            evidence |= more
            order = proxy or pairs
            if not order:
                yield Finding(
                    "undecided",
                    f"shear order of {counted(len(mine), 'stress', 'stresses')}: nothing to tell it",
                    group,
                    "order",
                    evidence,
                    mine,
                )
            elif proxy and pairs and proxy != pairs:
                yield Finding(
                    "undecided", "shear order: bonds and sheared pairs disagree", group, "order", evidence, mine
                )
            elif order != (0, 1, 2):
                yield self._wrong(data, group, mine, order, evidence)
            elif proxy and signs > 0:
                yield Finding(
                    "warning",
                    "shear stresses have the sign of a pressure, by their bonds",
                    group,
                    "sign",
                    evidence,
                    mine,
                )
            else:
                how = "bonds" if proxy else "sheared pairs"
                yield Finding(
                    "ok",
                    f"shear order agrees with {how} ({counted(len(mine), 'stress', 'stresses')})",
                    group,
                    "",
                    evidence,
                    mine,
                )

    def _by_bonds(self, data: Material, mine: NDArray[np.int64]) -> tuple[tuple[int, ...], dict[str, Any], float]:
        """Which plane each stored component follows, () if it is not clear; the evidence; the common sign."""
        s = data.summary
        mine = mine[np.isfinite(s.proxy[mine]).all(axis=1)]
        if len(mine) < self.least:
            return (), {}, 0.0
        p, v = s.proxy[mine], s.stress[mine, 3:]
        r = np.array([[correlation(v[:, k], p[:, a]) for a in range(3)] for k in range(3)])
        evidence = {"r": np.round(r, 4).tolist(), "n": len(mine)}
        order = np.abs(r).argmax(axis=1)
        if sorted(order.tolist()) != [0, 1, 2]:
            return (), evidence, 0.0
        for k in range(3):
            others = np.abs(np.delete(r[k], order[k])).max()
            mine_r = abs(r[k, order[k]])
            # far above the others, or so good that half of what the next leaves over is not there
            if mine_r < self.r or (mine_r < self.clear * others and 1.0 - mine_r**2 > 0.5 * (1.0 - others**2)):
                return (), evidence, 0.0
        signs = np.sign(r[np.arange(3), order])
        return tuple(order.tolist()), evidence, float(signs.mean()) if abs(signs.sum()) == 3 else 0.0

    def _by_pairs(self, data: Material, group: str) -> tuple[tuple[int, ...], dict[str, Any]]:
        p = data.pairs
        which = data.pairs_of(group, p.strained)
        if len(which) < self.least:
            return (), {}
        y = p.energy[which] - p.work[which]
        fits = {}
        for order in permutations(range(3)):
            x = p.stretch[which] + sum(p.shear[which][:, k, order[k]] for k in range(3))
            fits[order] = abs(line(np.asarray(x), y).cosine)
        ranked = sorted(fits, key=lambda o: -fits[o])
        best, second = ranked[0], ranked[1]
        evidence = {"pairs": len(which), "cosines": {" ".join(NAMES[a] for a in o): fits[o] for o in ranked}}
        if fits[best] < self.cosine or 1.0 - fits[best] ** 2 > 0.5 * (1.0 - fits[second] ** 2):
            return (), evidence
        return best, evidence

    def _wrong(
        self, data: Material, group: str, mine: NDArray[np.int64], order: tuple[int, ...], evidence: dict[str, Any]
    ) -> Finding:
        said = ", ".join(f"{NAMES[k]} is {NAMES[a]}" for k, a in enumerate(order) if k != a)
        evidence["stored_is"] = {NAMES[k]: NAMES[a] for k, a in enumerate(order)}
        text = f"shear components change places: what is stored as {said}"
        stored = " ".join(("xx yy zz", *(NAMES[a] for a in order)))
        remedy: dict[str, Any] = {"action": "relabel", "stored_order": stored}
        if len(set(data.orders)) == 1:
            file = [evidence["stored_is"].get(name, name) for name in data.orders[0].split()]
            evidence["file_order"] = " ".join(file)
            text += f"; the file has {evidence['file_order']}"
            remedy["stress_order"] = evidence["file_order"]
        if data.open_order:
            remedy["action"] = "reingest"
            return Finding(
                "warning",
                f"six stress numbers are {evidence['file_order']}, which the file does not say",
                group,
                "order",
                evidence,
                mine,
                remedy,
            )
        return Finding("error", text, group, "order", evidence, mine, remedy)


plugin = ShearOrder
