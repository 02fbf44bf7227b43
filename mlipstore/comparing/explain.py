"""What makes the labels of two data sets differ: another zero of energy, a unit, a sign, an order, a virial.

Medians decide, so that a few configurations with other labels neither spoil an explanation nor hide behind one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8
from ..units import ENERGY, FORCE, STRESS, VOIGT
from .labels import ROUNDING, SAME, SharedLabels

#: What an explanation leaves over of a label, as a part of the difference, where it holds.
LEFT_OVER = 1e-3
#: Configurations that are needed, and the part of them for which it has to hold.
LEAST, SHARE = 4, 0.5
#: Share at which simpler explanations are preferred to others.
_GOOD = 0.9
#: Relative width of a unit: files round, and constants differ.
_UNIT = 1e-4
_NAMED = {
    "energy": ("eV", "Ha", "Ry", "kcal/mol", "kJ/mol", "meV"),
    "force": ("eV/Å", "Ha/Bohr", "Ry/Bohr", "kcal/mol/Å", "meV/Å"),
    "stress": ("eV/Å^3", "GPa", "kbar", "bar", "Ha/Bohr^3", "MPa"),
}
_FACTORS = {"energy": ENERGY, "force": FORCE, "stress": STRESS}


@dataclass
class Explanation:
    """One rule that takes labels of the first side to those of the second.

    :param code: ``offset``, ``element-offsets``, ``factor``, ``sign``, ``order``, ``virial`` or ``zero``
    :param what: in words
    :param holds: for which of the differing configurations ``(n,)``
    :param values: numbers of it
    :param left: ``(n,)`` what it leaves over: eV/atom, or the length of what is left of forces and stresses
    """

    code: str
    what: str
    holds: NDArray[np.bool_] = field(repr=False)
    values: dict[str, Any]
    left: F8 = field(repr=False)

    @property
    def share(self) -> float:
        """Of the differing configurations, the part it holds for."""
        return float(np.mean(self.holds))

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "what": self.what, "share": self.share, "values": self.values}


def explain(s: SharedLabels, kind: str, which: NDArray[np.int64]) -> Explanation | None:
    """The simplest rule that holds for most of some configurations, all of which differ; None if there is none."""
    if len(which) < LEAST:
        return None
    with np.errstate(all="ignore"):
        found = {"energy": _energies, "force": _forces, "stress": _stresses}[kind](s, which)
    good = [e for e in found if e.share >= _GOOD]
    best = good[0] if good else max(found, key=lambda e: e.share, default=None)
    return best if best is not None and best.share >= SHARE else None


def unit_factor(kind: str, k: float) -> str:
    """What a factor from the first side to the second means: names of two units and a sign, or the number.

    >>> unit_factor("stress", -1000.0)
    'read as bar in the first, as kbar in the second, and the other sign'
    """
    sign = ", and the other sign" if k < 0 else ""
    if abs(abs(k) - 1.0) < _UNIT:
        return "the other sign" if k < 0 else "equal"
    table = _FACTORS[kind]
    pairs = [(a, b) for a in _NAMED[kind] for b in _NAMED[kind] if a != b]
    # units that people use most first, both of them
    pairs.sort(key=lambda p: _NAMED[kind].index(p[0]) + _NAMED[kind].index(p[1]))
    for a, b in pairs:
        if abs(abs(k) * table[a] / table[b] - 1.0) < _UNIT:
            return f"read as {a} in the first, as {b} in the second{sign}"
    return f"{k:.6g} times"


def _holds(left: F8, difference: F8, same: F8) -> NDArray[np.bool_]:
    return np.asarray(left <= np.maximum(same, LEFT_OVER * difference))


def _energies(s: SharedLabels, which: NDArray[np.int64]) -> list[Explanation]:
    from ase.data import chemical_symbols

    n = s.n_atoms[which]
    a, b = s.energy[:, which] / n
    d = b - a
    same = np.maximum(SAME["energy"], ROUNDING * np.maximum(np.abs(a), np.abs(b)))
    size = np.abs(d)
    out = []
    c = float(np.median(d))
    left = np.abs(d - c)
    out.append(Explanation("offset", f"{c:+.6g} eV/atom", _holds(left, size, same), {"eV_per_atom": c}, left))
    if np.ptp(a) > 10.0 * SAME["energy"]:
        k = float(np.median(b / a))
        left = np.abs(b - k * a)
        code = "sign" if abs(k + 1.0) < _UNIT else "factor"
        out.append(Explanation(code, unit_factor("energy", k), _holds(left, size, same), {"factor": k}, left))
    elements, x = _fractions(s, which)
    rank = int(np.linalg.matrix_rank(x))
    if len(elements) > 1 and rank == len(elements) and len(which) >= 2 * rank + 2:
        w, e = np.ones(len(d)), np.zeros(len(elements))
        for _ in range(50):  # least absolute deviations
            e = np.linalg.lstsq(x * w[:, None], d * w, rcond=None)[0]
            w = 1.0 / np.sqrt(np.maximum(np.abs(d - x @ e), 1e-9))
        left = np.abs(d - x @ e)
        offsets = {chemical_symbols[z]: float(v) for z, v in zip(elements, e, strict=True)}
        text = ", ".join(f"{symbol} {value:+.6g} eV" for symbol, value in offsets.items())
        out.append(Explanation("element-offsets", text, _holds(left, size, same), {"eV": offsets}, left))
    return out


def _fractions(s: SharedLabels, which: NDArray[np.int64]) -> tuple[list[int], F8]:
    """Elements, and the share of each in each configuration."""
    codes, inverse = np.unique(s.composition[which], return_inverse=True)
    compositions = [s.compositions[c] for c in codes]
    elements = sorted({z for c in compositions for z, _ in c})
    table = np.zeros((len(codes), len(elements)))
    for row, composition in enumerate(compositions):
        for z, count in composition:
            table[row, elements.index(z)] = count
    return elements, (table / table.sum(axis=1, keepdims=True))[inverse]


def _forces(s: SharedLabels, which: NDArray[np.int64]) -> list[Explanation]:
    aa, ab, bb = s.squares[which].T
    difference = np.sqrt(np.maximum(aa - 2.0 * ab + bb, 0.0))
    rounding = np.sqrt(3.0 * s.n_atoms[which]) * SAME["force"]
    # squares of numbers of 16 digits leave differences of 8
    same = np.maximum(rounding, 1e-7 * np.sqrt(np.maximum(aa, bb)))
    out = []
    for side, of, other in (("first", aa, bb), ("second", bb, aa)):
        zero = (of == 0.0) & (other > 0.0)
        if zero.any():
            left = np.where(zero, 0.0, difference)
            out.append(Explanation("zero", f"all zero in the {side}", zero, {"side": side}, left))
    live = aa > 0.0
    if live.sum() >= LEAST:
        k = float(np.median(ab[live] / aa[live]))
        left = np.sqrt(np.maximum(bb - 2.0 * k * ab + k * k * aa, 0.0))
        code = "sign" if abs(k + 1.0) < _UNIT else "factor"
        out.append(Explanation(code, unit_factor("force", k), _holds(left, difference, same), {"factor": k}, left))
    return out


def _stresses(s: SharedLabels, which: NDArray[np.int64]) -> list[Explanation]:
    a, b, volume = s.stress[0, which], s.stress[1, which], s.volume[which]
    difference = np.linalg.norm(b - a, axis=1)
    same = np.maximum(np.sqrt(6.0) * SAME["stress"], ROUNDING * np.linalg.norm(b, axis=1))
    out = []
    zero = (a == 0.0).all(axis=1)
    if zero.any():
        left = np.where(zero, 0.0, difference)
        out.append(Explanation("zero", "all zero in the first", zero, {"side": "first"}, left))
    zero = (b == 0.0).all(axis=1)
    if zero.any():
        left = np.where(zero, 0.0, difference)
        out.append(Explanation("zero", "all zero in the second", zero, {"side": "second"}, left))
    for power, order in [(p, o) for p in (0, 1, -1) for o in permutations(range(3))]:
        x = a[:, [0, 1, 2, *(3 + i for i in order)]] * (volume**power)[:, None]
        xx = (x**2).sum(axis=1)
        live = (xx > 0.0) & np.isfinite(xx)
        if live.sum() < LEAST:
            continue
        k = float(np.median(((x * b).sum(axis=1) / xx)[live]))
        left = np.nan_to_num(np.linalg.norm(b - k * x, axis=1), nan=np.inf)
        out.append(_stress_rule(power, order, k, _holds(left, difference, same), left))
    return out


def _stress_rule(power: int, order: tuple[int, ...], k: float, holds: NDArray[np.bool_], left: F8) -> Explanation:
    code, parts = "factor", []
    names = [VOIGT[3 + i] for i in order]
    values: dict[str, Any] = {"factor": k}
    if order != (0, 1, 2):
        code = "order"
        values["order"] = " ".join([*VOIGT[:3], *names])
        parts.append(f"yz xz xy of the second are {' '.join(names)} of the first")
    if power:
        code, values["virial"] = "virial", "second" if power > 0 else "first"
        parts.append(f"a virial in the {values['virial']}: {k:.6g} times {'V' if power > 0 else '1/V'}")
    elif abs(k - 1.0) >= _UNIT:
        parts.append(unit_factor("stress", k))
        if code == "factor" and abs(k + 1.0) < _UNIT:
            code = "sign"
    return Explanation(code, "; ".join(parts) or "equal", holds, values, left)
