"""What SNAP rows need that depends on the settings alone, as arrays of any library.

Angular momenta are doubled integers 0 to ``twojmax``. Half of a matrix U_j is kept, the rows ``mb = 0 .. j // 2`` with
all ``ma = 0 .. j``; the other half follows from U_j[j-mb, j-ma] = (-1)^(ma+mb) conj(U_j[mb, ma]). A "projection" is
Z_{j1 j2}^j, the product of two matrices on level j (Thompson et al. 2015, doi:10.1016/j.jcp.2014.12.018, eqs. 5-8).
B / (hi + 1) of the levels lo <= mid <= hi is symmetric in them, so the derivative of B by each of its three matrices is
a projection, too, and projections give both the components and their derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from itertools import product
from math import comb, factorial, pi, sqrt
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ...configuration import F8
from ...snap_basis import components, kept

if TYPE_CHECKING:
    from ...descriptors.snap import Snap


@dataclass(frozen=True)
class Level:
    """One level j with h = j // 2 + 1 rows that are kept.

    :param norm: ``(h, j + 1, 1)``: N of U = N v, see :mod:`.density`
    :param weight: ``(h, j + 1, 1)``: N times how often an element counts in a sum over the whole matrix
    :param mirror: ``(h', j + 1, 1)``: sign of the other half, rows ``mb = h .. j``
    :param unit: ``(h, j + 1, 1)``: the unit matrix, which is U of the atom itself
    :param raising: ``(j, 1, 1)``: factors 1 .. j of v[ma + 1]
    :param lowering: ``(j, 1, 1)``: factors j .. 1 of v[ma - 1]
    :param turning: ``(j + 1, 1, 1)``: i (j - 2 ma)
    :param n_rows: projections that live on this level
    """

    j: int
    norm: Any
    weight: Any
    mirror: Any
    unit: Any
    raising: Any
    lowering: Any
    turning: Any
    n_rows: int

    @property
    def h(self) -> int:
        return self.j // 2 + 1

    @property
    def size(self) -> int:
        """Complex numbers of the half that is kept."""
        return self.h * (self.j + 1)


@dataclass(frozen=True)
class Coupling:
    """Products of U_j1 and U_j2, j1 >= j2, on the levels that they couple to.

    Elements (b1, a1) and (b2, a2) are multiplied for the pairs (b1, b2) that half of the result needs and all (a1, a2);
    sums over the pairs are products with Clebsch-Gordan coefficients.

    :param runs: pairs (b1, b2): b1, b2 from, b2 up to, number of the first of them
    :param over_b: ``(rows mb of all levels, pairs b)``
    :param over_a: for each level ``(j + 1, (j1 + 1) (j2 + 1))``
    """

    j1: int
    j2: int
    levels: tuple[int, ...]
    runs: tuple[tuple[int, int, int, int], ...]
    over_b: Any
    over_a: tuple[Any, ...]


@dataclass(frozen=True)
class Product:
    """A coupling of the densities a and b; without explicit elements there is one density.

    :param rows: for each level of the coupling, the place among the projections of that level
    """

    coupling: int
    a: int
    b: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Targets:
    """Projections of a level that contribute to columns, each column once.

    :param row: ``(k,)``: place among the projections of the level
    :param column: ``(k,)``
    :param factor: ``(k,)``
    """

    row: Any
    column: Any
    factor: Any


@dataclass(frozen=True)
class Tables:
    """Everything; ``on`` gives it to an array library.

    :param components: ``[density][level]``: B from projections and U of the density
    :param gradients: ``[density][level]``: dB/dv from projections, for neighbours that are in the density
    :param isolated: ``(elements, columns)``: what ``bzeroflag`` takes off
    :param pairs: constants by kind of pair, centre times elements plus neighbour, ``(elements^2,)`` each
    :param mask: ``(elements, columns with products)``, or None: columns within the ``twojmax`` of their element
    :param upper: for quadratic rows, columns (a, b) with a <= b ``(2, products)`` and 1/2 for a = b ``(products,)``
    """

    n_elements: int
    n_columns: int
    n_densities: int
    levels: tuple[Level, ...]
    couplings: tuple[Coupling, ...]
    products: tuple[Product, ...]
    components: tuple[tuple[Targets, ...], ...]
    gradients: tuple[tuple[Targets, ...], ...]
    isolated: Any
    pairs: dict[str, Any]
    mask: Any
    upper: tuple[Any, Any] | None

    @property
    def width(self) -> int:
        """Columns of one element, products included."""
        return self.n_columns + (0 if self.upper is None else len(self.upper[1]))

    def on(self, xp: ModuleType) -> Tables:
        """The same with arrays of ``xp``."""
        there: Tables = _sent(self, xp)
        return there


def _sent(value: Any, xp: ModuleType) -> Any:
    if isinstance(value, np.ndarray):
        return xp.asarray(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _sent(getattr(value, f.name), xp) for f in fields(value)})
    if isinstance(value, tuple):
        return tuple(_sent(v, xp) for v in value)
    if isinstance(value, dict):
        return {k: _sent(v, xp) for k, v in value.items()}
    return value


@lru_cache(maxsize=8)
def tables(snap: Snap, xp: ModuleType) -> Tables:
    """Tables of a descriptor for an array library; made once."""
    if xp is not np:
        return tables(snap, np).on(xp)
    top, n = max(snap.twojmax), len(snap.elements)
    densities = n if snap.chemflag else 1
    couplings = [(j1, j2, _levels(j1, j2, top)) for j1 in range(top + 1) for j2 in range(j1 + 1)]
    rows: list[dict[tuple[int, int, int, int], int]] = [{} for _ in range(top + 1)]
    products = []
    for k, (j1, j2, levels) in enumerate(couplings):
        for a in range(densities):
            for b in range(a + 1 if j1 == j2 else densities):  # Z^ab = Z^ba for equal levels
                places = tuple(rows[j].setdefault((a, b, j1, j2), len(rows[j])) for j in levels)
                products.append(Product(k, a, b, places))
    found, gradients = _targets(snap, densities, rows)
    columns = len(components(top)) * densities**3
    mask = kept(snap.twojmax, snap.quadraticflag, snap.chemflag)
    upper = None
    if snap.quadraticflag:
        both = np.stack(np.triu_indices(columns))
        upper = (both, np.where(both[0] == both[1], 0.5, 1.0))
    return Tables(
        n,
        columns,
        densities,
        tuple(_level(j, len(rows[j])) for j in range(top + 1)),
        tuple(_coupling(*c) for c in couplings),
        tuple(products),
        found,
        gradients,
        _isolated(snap, densities),
        _pair_constants(snap),
        None if mask is None else mask.reshape(n, -1),
        upper,
    )


def _levels(j1: int, j2: int, top: int) -> tuple[int, ...]:
    """Levels that j1 and j2 couple to, highest first."""
    return tuple(j for j in range(j1 + j2, j1 - j2 - 1, -2) if j <= top)


def _level(j: int, n_rows: int) -> Level:
    h, ma, mb = j // 2 + 1, np.arange(j + 1), np.arange(j + 1)[:, None]
    norm = np.array(
        [
            [sqrt(factorial(a) * factorial(j - a) / (factorial(b) * factorial(j - b))) for a in range(j + 1)]
            for b in range(h)
        ]
    )
    count = np.where(2 * mb[:h] == j, 1.0, 2.0)  # the row in the middle is its own mirror image
    mirror = np.where((ma + mb)[h:] % 2, -1.0, 1.0)
    if j % 2:  # the recursion needs row h of v: the same signs
        assert mirror.shape[0] == h
    factors = np.arange(1.0, j + 1)
    return Level(
        j,
        norm[..., None],
        (count * norm)[..., None],
        mirror[..., None],
        np.where(ma == mb[:h], 1.0, 0.0)[..., None],
        factors[:, None, None],
        factors[::-1, None, None].copy(),
        (1j * (j - 2.0 * ma))[:, None, None],
        n_rows,
    )


def _coupling(j1: int, j2: int, levels: tuple[int, ...]) -> Coupling:
    shift, total = (j1 + j2 - levels[0]) // 2, j1 + j2
    every = np.array(list(product(range(j1 + 1), range(j2 + 1))))
    sums = every.sum(axis=1)
    b = every[(sums >= shift) & (2 * sums <= total)]
    runs = []
    for b1 in np.unique(b[:, 0]).tolist():
        mine = np.flatnonzero(b[:, 0] == b1)
        runs.append((b1, int(b[mine[0], 1]), int(b[mine[-1], 1]) + 1, int(mine[0])))
    over_b: list[F8] = []
    over_a: list[F8] = []
    for j in levels:
        coefficients = clebsch_gordan(j1, j2, j)
        for pairs, rows, out in ((b, j // 2 + 1, over_b), (every, j + 1, over_a)):
            m = pairs.sum(axis=1) - (total - j) // 2
            out.append(np.where(np.arange(rows)[:, None] == m, coefficients[pairs[:, 0], pairs[:, 1]], 0.0))
    return Coupling(
        j1,
        j2,
        levels,
        tuple(runs),
        np.concatenate(over_b),
        tuple(over_a),
    )


def clebsch_gordan(j1: int, j2: int, j: int) -> F8:
    """Coefficients of (j1 m1, j2 m2) -> j, ``(j1 + 1, j2 + 1)``, with m counted from 0 and m = m1 + m2 - (j1+j2-j)/2.

    Racah's formula (Varshalovich et al. 1988, doi:10.1142/0270, eq. 8.2.1(3)) in integers, rounded once.
    """
    x, y, z = (j1 + j2 - j) // 2, (j1 - j2 + j) // 2, (-j1 + j2 + j) // 2
    scale = factorial((j1 + j2 + j) // 2 + 1) * factorial(x) * factorial(y) * factorial(z)
    out = np.zeros((j1 + 1, j2 + 1))
    for m1 in range(j1 + 1):
        for m2 in range(j2 + 1):
            m = m1 + m2 - x
            if not 0 <= m <= j:
                continue
            total = sum(
                (-1) ** k * comb(x, k) * comb(y, j1 - m1 - k) * comb(z, m2 - k) for k in range(min(x, j1 - m1, m2) + 1)
            )
            square = (j + 1) * factorial(m) * factorial(j - m)
            square *= factorial(m1) * factorial(j1 - m1) * factorial(m2) * factorial(j2 - m2)
            out[m1, m2] = total * sqrt(square / scale)
    return out


def _targets(
    snap: Snap, n: int, rows: Sequence[dict[tuple[int, int, int, int], int]]
) -> tuple[tuple[tuple[Targets, ...], ...], tuple[tuple[Targets, ...], ...]]:
    """Which projections give the components and which their gradients, by density and level."""
    found: list[list[list[tuple[int, int, float]]]] = [[[] for _ in rows] for _ in range(n)]
    slopes: list[list[dict[int, tuple[int, float]]]] = [[{} for _ in rows] for _ in range(n)]

    def place(a: int, b: int, j1: int, j2: int, level: int) -> int:
        return rows[level][(max(a, b), min(a, b), j1, j2) if j1 == j2 else (a, b, j1, j2)]

    column = 0
    for e1, e2, e3 in product(range(n), repeat=3):
        for mid, lo, hi in components(max(snap.twojmax)):
            scale = 1.0 if snap.bnormflag else hi + 1.0
            top = place(e1, e2, mid, lo, hi)
            found[e3][hi].append((top, column, scale / (hi + 1.0)))
            for density, level, row in (
                (e3, hi, top),
                (e1, mid, place(e3, e2, hi, lo, mid)),
                (e2, lo, place(e3, e1, hi, mid, lo)),
            ):
                # matrices of equal level and density are the same: so are the projections they meet
                known, factor = slopes[density][level].get(column, (row, 0.0))
                assert known == row
                slopes[density][level][column] = (row, factor + scale / (level + 1.0))
            column += 1

    def made(entries: list[tuple[int, int, float]]) -> Targets:
        row, col, factor = zip(*entries, strict=True) if entries else ((), (), ())
        return Targets(np.array(row, np.int64), np.array(col, np.int64), np.array(factor, np.float64))

    return (
        tuple(tuple(made(level) for level in density) for density in found),
        tuple(tuple(made([(r, c, f) for c, (r, f) in level.items()]) for level in density) for density in slopes),
    )


def _isolated(snap: Snap, densities: int) -> F8:
    """B of an atom without neighbours, by element, where it is to be taken off."""
    n, js = len(snap.elements), components(max(snap.twojmax))
    value = np.array([1.0 if snap.bnormflag else j + 1.0 for _, _, j in js])
    out = np.zeros((n, densities**3, len(js)))
    if snap.bzeroflag:
        for t in range(n):
            for i, three in enumerate(product(range(densities), repeat=3)):
                if densities == 1 or snap.wselfallflag or three == (t, t, t):
                    out[t, i] = value
    return out.reshape(n, -1)


def _pair_constants(snap: Snap) -> dict[str, Any]:
    """Weights; rates of the angle and of the switching functions in rad/Å; their origin, or middle, in Å."""
    n = len(snap.elements)
    i, j = np.divmod(np.arange(n * n), n)
    radius, weight = np.array(snap.radelem), np.array(snap.wj)
    span = snap.rcutfac * (radius[i] + radius[j]) - snap.rmin0
    out = {
        "weight": weight[j],
        "angle_rate": snap.rfac0 * pi / span,
        "switch_rate": 0.5 * pi / span if snap.switchflag else 0.0 * span,
        "origin": np.full(n * n, snap.rmin0),
    }
    if snap.switchinnerflag:
        middle, width = np.array(snap.sinner), np.array(snap.dinner)
        out["inner_middle"] = 0.5 * (middle[i] + middle[j])
        out["inner_rate"] = 0.25 * pi / (0.5 * (width[i] + width[j]))
    return out
