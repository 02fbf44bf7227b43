"""Atoms too near each other, fractional coordinates taken for Cartesian ones, cells with rows for columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..audit.finding import Finding
from ..audit.material import Material


@dataclass(frozen=True)
class Distances:
    """Shortest distances by pair of elements, as parts of the sum of covalent radii.

    :param error, warning: of the sum of the covalent radii
    """

    version: ClassVar[int] = 2
    error: float = 0.25
    warning: float = 0.5

    def run(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        by_pair = self._by_pair(data)
        fine = True
        for group, which in data.groups():
            fractional, transposed = which[s.fractional[which]], which[s.transposed[which] & ~s.fractional[which]]
            n = len(which)
            for mine, code, text in (
                (fractional, "fractional", "positions are fractional coordinates, taken as Å"),
                (transposed, "transposed", "lattice vectors are the columns of the cell, taken as rows"),
            ):
                if len(mine):
                    fine = False
                    evidence: dict[str, Any] = {"n": len(mine), "of": n, "shortest": float(s.distance[mine].min())}
                    yield Finding(
                        "error",
                        f"{len(mine):,} of {n:,}: {text} (distances down to {evidence['shortest']:.2g} Å)",
                        group,
                        code,
                        evidence,
                        mine,
                    )
            sound = ~s.fractional[which] & ~s.transposed[which]
            for level, code, low, high in (
                ("error", "distance", 0.0, self.error),
                ("warning", "short-distance", self.error, self.warning),
            ):
                near = which[(s.ratio[which] >= low) & (s.ratio[which] < high) & sound]
                if not len(near):
                    continue
                fine = False
                worst = near[np.argmin(s.ratio[near])]
                evidence = {
                    "n": len(near),
                    "shortest": float(s.distance[worst]),
                    "ratio": float(s.ratio[worst]),
                    "pair": _names(s.pair[worst]),
                }
                yield Finding(
                    level,
                    f"{len(near):,} with atoms too near, {evidence['pair']} {s.distance[worst]:.3g} Å "
                    f"({s.ratio[worst]:.2f} of the covalent radii)",
                    group,
                    code,
                    evidence,
                    near,
                )
        if fine:
            short = ", ".join(f"{k} {v:.2f} Å" for k, v in list(by_pair.items())[:4])
            yield Finding("ok", f"shortest distances {short}", evidence={"shortest": by_pair})

    @staticmethod
    def _by_pair(data: Material) -> dict[str, float]:
        s = data.summary
        out: dict[str, float] = {}
        for pair, d in zip(np.sort(s.pair, axis=1), s.distance, strict=True):
            if np.isfinite(d):
                name = _names(pair)
                out[name] = min(out.get(name, np.inf), float(d))
        return dict(sorted(out.items(), key=lambda x: x[1]))


def _names(pair: np.ndarray[tuple[int], np.dtype[np.int32]]) -> str:
    from ase.data import chemical_symbols

    return "-".join(chemical_symbols[int(z)] for z in sorted(pair))


plugin = Distances
