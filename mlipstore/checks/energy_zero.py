"""Groups whose energies have another zero: isolated atoms subtracted, another code, another functional."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..audit.finding import Finding
from ..audit.material import Material
from ..configuration import F8


@dataclass(frozen=True)
class EnergyZero:
    """Energies of all groups follow one energy per element but for some eV per atom.

    The low end of each group counts, since compressed and hot configurations have any energy above.

    :param least: eV per atom between a group and the others that is told
    :param times: and so many times the spread of the group's lower half
    """

    version: ClassVar[int] = 1
    least: float = 1.0
    times: float = 3.0

    def run(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        known = np.isfinite(s.energy)
        groups = [(g, w[known[w]]) for g, w in data.groups() if known[w].any()]
        if len(groups) < 2:
            return
        residual, constants = self._residual(data, known)
        low = {g: float(np.quantile(residual[w], 0.1)) for g, w in groups}
        spread = {g: float(np.quantile(residual[w], 0.5) - low[g]) for g, w in groups}
        evidence = {"constants_eV": constants}
        odd = False
        for group, which in groups:
            near = [low[g] for g, w in groups if g != group and _shares(s, which, w)]
            if not near:
                continue
            gap = low[group] - float(np.median(near))
            nearest = min(abs(low[group] - x) for x in near)
            if nearest > self.least and nearest > self.times * spread[group] and abs(gap) > self.least:
                odd = True
                yield Finding(
                    "warning",
                    f"energies lie {gap:+.3g} eV/atom from those of the other groups: another zero, "
                    "isolated atoms, or another calculation?",
                    group,
                    "energy-zero",
                    evidence | {"gap_eV_per_atom": gap, "nearest_eV_per_atom": nearest},
                    which,
                )
        if not odd:
            worst = max(low.values()) - min(low.values())
            yield Finding(
                "ok", f"energies of {len(groups)} groups share one zero within {worst:.2g} eV/atom", evidence=evidence
            )

    @staticmethod
    def _residual(data: Material, known: NDArray[np.bool_]) -> tuple[F8, dict[str, float]]:
        """Energy per atom minus the energies of the elements, least absolute deviations."""
        from ase.data import chemical_symbols

        s = data.summary
        elements = sorted({z for c in s.compositions for z, _ in c})
        column = {z: i for i, z in enumerate(elements)}
        fractions = np.zeros((len(s.compositions), len(elements)))
        for row, c in enumerate(s.compositions):
            for z, n in c:
                fractions[row, column[z]] = n
        fractions /= fractions.sum(axis=1, keepdims=True)
        x, y = fractions[s.composition], s.energy / np.maximum(s.n_atoms, 1)
        w = known.astype(float)
        e = np.zeros(len(elements))
        for _ in range(30):
            a = x * w[:, None]
            e = np.linalg.lstsq(a[known].T @ x[known], a[known].T @ y[known], rcond=1e-10)[0]
            w = np.where(known, 1.0 / np.maximum(np.abs(y - x @ e), 1e-3), 0.0)
        return np.where(known, y - x @ e, np.nan), {
            chemical_symbols[z]: float(v) for z, v in zip(elements, e, strict=True)
        }


def _shares(s: object, one: NDArray[np.int64], two: NDArray[np.int64]) -> bool:
    """Whether the elements of two groups overlap so that their energies compare."""
    compositions = s.compositions  # type: ignore[attr-defined]

    def elements(which: NDArray[np.int64]) -> frozenset[int]:
        return frozenset(z for c in np.unique(s.composition[which]) for z, _ in compositions[c])  # type: ignore[attr-defined]

    return elements(one) == elements(two)


plugin = EnergyZero
