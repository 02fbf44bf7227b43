"""Unit and sign of stress labels, per group, from energies: dE/dV and dE/d(strain)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..audit.finding import Finding
from ..audit.material import Material
from ..audit.regression import USUAL, Line, correlation, line, unit_of
from ..configuration import F8
from ..errors import counted
from ..units import factor

I8 = NDArray[np.int64]


@dataclass(frozen=True)
class _Said:
    """What one way of looking says: the stored stress over the true one.

    :param ratio: of a virial, -1 or 1 about; ``raw``: the ratio of the numbers themselves
    :param sure: good enough to decide alone
    """

    ratio: float
    virial: bool
    text: str
    evidence: dict[str, Any]
    raw: float
    sure: bool


@dataclass(frozen=True)
class StressUnit:
    """The mean diagonal stress is dE/dV, and V sigma : eps the energy of a strain: stored stresses have to obey.

    :param series_r: least correlation of a series of volumes
    :param agree: series of one group agree when their slopes differ by less than this fraction
    :param cosine: least agreement (cosine) of strained pairs; ``pairs``: least number of them; ``sure``: agreement
        from which they decide alone, while others go with a decided group that is near
    :param proxy_r: least correlation with the bond proxy, whose scale comes from groups that are decided
    :param stiffness: how much the ratio to the bond proxy may differ between groups
    :param right: a ratio of stored to true stress from 1 / ``right`` to ``right`` is right
    """

    version: ClassVar[int] = 1
    series_r: float = 0.99
    agree: float = 0.2
    cosine: float = 0.75
    sure: float = 0.97
    pairs: int = 8
    proxy_r: float = 0.5
    stiffness: float = 3.5
    right: float = 1.5

    def run(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        said: dict[str, list[_Said]] = {}
        labelled: dict[str, I8] = {}
        for group, which in data.groups():
            mine = which[s.has_stress[which] & ~s.zero_stress[which]]
            if len(mine):
                labelled[group] = mine
                said[group] = [x for x in (self._series(data, group), self._strained(data, group)) if x is not None]
        decided = [x.ratio for found in said.values() for x in found[:1] if x.sure and not x.virial and _agreed(found)]
        said = {g: _settled(found, decided) for g, found in said.items()}
        ratios = {g: _agreed(x) for g, x in said.items()}
        scale = self._proxy_scale(data, {g: labelled[g] for g in labelled if ratios[g]}, ratios)
        for group in labelled:
            if not said[group] and scale is not None:
                found = self._proxy(data, labelled[group], scale)
                if found is not None:
                    said[group] = [found]
                    ratios[group] = found.ratio
        units: dict[str, list[str]] = {}
        for group, mine in labelled.items():
            finding = self._verdict(data, group, mine, said[group], ratios[group])
            if finding.evidence.get("unit"):
                units.setdefault(finding.evidence["unit"], []).append(group)
            yield finding
        if len(units) > 1:
            parts = "; ".join(f"{unit} in {len(g)} ({_some(g)})" for unit, g in sorted(units.items()))
            yield Finding(
                "error",
                f"stress units differ between groups: {parts}. One factor for the set cannot be right",
                code="mixed-units",
                evidence={"units": units},
            )

    def _series(self, data: Material, group: str) -> _Said | None:
        """From series of volumes: stored mean diagonal stress against numerical dE/dV."""
        s = data.summary
        slopes, rs, rvs, n, virials = [], [], [], 0, []
        for series in data.series:
            if s.groups[series.group] != group:
                continue
            inner = np.isfinite(series.slope)
            x, y = series.slope[inner], s.stress[series.which[inner], :3].mean(axis=1)
            r = correlation(x, y)
            v = -y / series.volume[inner]
            rv = correlation(x, v)
            if max(abs(r), abs(rv)) < self.series_r:
                continue
            slopes.append(float(np.polyfit(x, y, 1)[0]))
            virials.append(float(np.polyfit(x, v, 1)[0]))
            rs.append(r)
            rvs.append(rv)
            n += int(inner.sum())
        if not slopes:
            return None
        ratio, virial = float(np.median(slopes)), float(np.median(virials))
        spread = float(np.abs(np.array(slopes) / ratio - 1.0).max())
        if np.median(np.abs(np.array(slopes) / ratio - 1.0)) > self.agree:
            return None
        is_virial = not 1 / self.right < abs(ratio) < self.right and 1 / 1.2 < abs(virial) < 1.2
        if is_virial and unit_of(ratio, data.units)[0]:  # at some volume a virial looks like a stress in some unit
            is_virial = float(np.median(np.abs(rvs))) > float(np.median(np.abs(rs)))
        evidence = {
            "series": len(slopes),
            "series_points": n,
            "series_slope": ratio,
            "series_r": float(np.median(rs)),
            "series_slopes": slopes,
            "series_spread": spread,
        }
        text = f"{len(slopes)} volume series, {counted(n, 'point')}, |r| {abs(np.median(rs)):.4f}"
        return _Said(virial if is_virial else ratio, is_virial, text, evidence, ratio, True)

    def _strained(self, data: Material, group: str) -> _Said | None:
        """From pairs of strained cells: dE + F u against V sigma : eps, in the order of shear that fits best."""
        p, s = data.pairs, data.summary
        which = data.pairs_of(group, p.strained)
        if len(which) < self.pairs:
            return None
        y = p.energy[which] - p.work[which]
        volume = 0.5 * (s.volume[p.first[which]] + s.volume[p.second[which]])
        best = max((line(self._strain_work(data, which, o), y) for o in permutations(range(3))), key=_fit)
        order = max(permutations(range(3)), key=lambda o: _fit(line(self._strain_work(data, which, o), y)))
        x = self._strain_work(data, which, order)
        as_virial = line(-x / volume, y)
        # 16 pairs or so share a configuration: they are not independent
        if abs(best.cosine) < self.cosine and not (abs(best.cosine) > 0.35 and 4.0 * best.error < 0.3):
            return None
        ratio = 1.0 / best.slope
        virial = not 1 / self.right < abs(ratio) < self.right and 1 / 1.2 < abs(1.0 / as_virial.slope) < 1.2
        if virial and unit_of(ratio, data.units)[0]:
            virial = abs(as_virial.cosine) > abs(best.cosine)
        evidence = {"pairs": best.n, "pairs_slope": ratio, "pairs_cosine": best.cosine, "pairs_r": best.r}
        text = f"{best.n} strained pairs, r {abs(best.r):.3f}"
        sure = abs(best.cosine) > self.sure
        return _Said(1.0 / as_virial.slope if virial else ratio, virial, text, evidence, ratio, sure)

    @staticmethod
    def _strain_work(data: Material, which: I8, order: tuple[int, ...]) -> F8:
        shear = data.pairs.shear[which]
        return np.asarray(data.pairs.stretch[which] + sum(shear[:, k, order[k]] for k in range(3)))

    def _proxy_scale(self, data: Material, groups: dict[str, I8], ratios: dict[str, float]) -> float | None:
        """True shear stress per unit of the bond proxy, the median of groups that are decided."""
        found = [x / ratios[g] for g, mine in groups.items() if (x := self._proxy_slope(data, mine)) is not None]
        return float(np.median(np.abs(found))) if found else None

    def _proxy_slope(self, data: Material, mine: I8) -> float | None:
        s = data.summary
        mine = mine[np.isfinite(s.proxy[mine]).all(axis=1)]
        if len(mine) < 20:
            return None
        x, y = s.proxy[mine][:, self._order(mine, data)].ravel(), s.stress[mine, 3:].ravel()
        found = line(x, y)
        return found.slope if abs(found.cosine) > self.proxy_r else None

    def _order(self, mine: I8, data: Material) -> I8:
        """Which component of the proxy each stored shear component follows best."""
        s = data.summary
        p, v = s.proxy[mine], s.stress[mine, 3:]
        r = [[abs(correlation(v[:, k], p[:, a])) for a in range(3)] for k in range(3)]
        return np.array(max(permutations(range(3)), key=lambda o: sum(r[k][o[k]] for k in range(3))))

    def _proxy(self, data: Material, mine: I8, scale: float) -> _Said | None:
        slope = self._proxy_slope(data, mine)
        if slope is None:
            return None
        ratio = -slope / scale  # the proxy is positive where bonds are short: minus a stress of tension
        # materials differ in stiffness by a small factor, units by 10 and more: what is in between tells nothing
        known = sorted(set(data.units))
        for unit in (u for u in USUAL if len(known) == 1):
            expected = factor("stress", known[0]) / factor("stress", unit)
            if expected != 1.0 and 0.05 < expected < 20.0:
                continue
            if 1 / self.stiffness < abs(ratio) / expected < self.stiffness:
                text = f"{counted(len(mine), 'configuration')} against the bond proxy of decided groups"
                evidence = {"proxy_ratio": ratio, "proxy_points": 3 * len(mine)}
                return _Said(math.copysign(expected, ratio), False, text, evidence, ratio, False)
        return None

    def _verdict(self, data: Material, group: str, mine: I8, said: list[_Said], ratio: float) -> Finding:
        evidence: dict[str, Any] = {k: v for x in said for k, v in x.evidence.items()}
        text = ", ".join(x.text for x in said)
        if not said:
            return Finding(
                "undecided",
                f"unit of {counted(len(mine), 'stress', 'stresses')}: no volume series, no strained pairs to tell",
                group,
                "unit",
                evidence,
                mine,
            )
        if not ratio:
            return Finding(
                "undecided",
                f"unit of {counted(len(mine), 'stress', 'stresses')}: the evidence disagrees ({text})",
                group,
                "unit",
                evidence | {"ratios": [x.ratio for x in said]},
                mine,
            )
        evidence["ratio"] = ratio
        if any(x.virial for x in said) and said[0].virial:
            evidence["unit"] = "virial"
            sign = "-V sigma" if ratio > 0 else "+V sigma"
            return Finding(
                "error",
                f"stress is a virial ({sign}, eV) read as a stress ({text})",
                group,
                "virial",
                evidence,
                mine,
                {"action": "relabel", "virial": "eV", **({} if ratio > 0 else {"stress_scale": -1.0})},
            )
        size = abs(ratio)
        wrong_sign = ratio < 0
        if 1 / self.right < size < self.right:
            known = sorted(set(data.units))
            evidence["unit"] = known[0] if len(known) == 1 else "as read"
            if not wrong_sign:
                name = "" if len(known) != 1 else f" ({known[0]})"
                return Finding(
                    "ok",
                    f"stress unit{name} and sign agree with energies: {ratio:.3g} ({text})",
                    group,
                    "",
                    evidence,
                    mine,
                )
            evidence["sign"] = -1
            return Finding(
                "error",
                f"stress has the wrong sign: {ratio:.3g} x dE/dV ({text})",
                group,
                "sign",
                evidence,
                mine,
                {"action": "relabel", "stress_scale": -1.0},
            )
        unit, read_as = unit_of(ratio, data.units)
        if not unit:
            return Finding(
                "undecided",
                f"stress is {ratio:.3g} times dE/dV, which fits no unit ({text})",
                group,
                "unit",
                evidence,
                mine,
            )
        evidence |= {"unit": unit, "read_as": read_as, "sign": -1 if wrong_sign else 1}
        sign = ", with the wrong sign" if wrong_sign else ""
        times = f"{size:,.0f} times too large" if size > 1 else f"{1 / size:,.0f} times too small"
        return Finding(
            "error",
            f"stress is {times}: {unit} read as {read_as}{sign} ({text})",
            group,
            "unit" if not wrong_sign else "unit-and-sign",
            evidence,
            mine,
            {
                "action": "relabel",
                "stress_unit": unit,
                "read_as": read_as,
                "stress_scale": _scale(unit, read_as, wrong_sign),
            },
        )


def _scale(unit: str, read_as: str, wrong_sign: bool) -> float:
    return (-1.0 if wrong_sign else 1.0) * factor("stress", unit) / factor("stress", read_as)


def _agreed(said: list[_Said]) -> float:
    """The ratio of the first (best) evidence, 0 where the others are not within a factor of 2 of it."""
    if not said:
        return 0.0
    first = said[0].ratio
    agree = all(x.virial == said[0].virial and 0.5 < x.ratio / first < 2.0 for x in said[1:])
    return first if agree else 0.0


def _settled(said: list[_Said], decided: list[float]) -> list[_Said]:
    """Evidence that is not sure goes with a decided group that is within a factor of 2: units are 10 apart."""
    out = []
    for x in said:
        near = [r for r in decided if 0.5 < x.raw / r < 2.0]
        if not x.sure and near:
            best = min(near, key=lambda r: abs(math.log(x.raw / r)))
            x = replace(x, ratio=best, virial=False, text=f"{x.text}, as in decided groups")
        out.append(x)
    return out


def _fit(found: Line) -> float:
    return abs(found.cosine)


def _some(groups: list[str]) -> str:
    return ", ".join(groups[:3]) + (", ..." if len(groups) > 3 else "")


plugin = StressUnit
