"""Lines through the origin, and names of units for their slopes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..configuration import F8
from ..units import factor

#: Units that stresses come in, and the ones readers assume.
UNITS = ("eV/Å^3", "GPa", "kbar", "bar", "MPa", "Pa", "Ha/Bohr^3", "Ry/Bohr^3")
USUAL = ("eV/Å^3", "GPa", "kbar", "bar")
#: A slope has to be this near to a unit, as a factor.
NEAR_UNIT = 1.4


@dataclass(frozen=True)
class Line:
    """``y = slope x``.

    :param cosine: sum xy / sqrt(sum xx sum yy): 1 when all points lie on the line; ``r``: correlation
    """

    n: int
    slope: float
    cosine: float
    r: float

    @property
    def error(self) -> float:
        """Relative standard error of the slope, if the points were independent."""
        if self.n < 3 or self.cosine == 0:
            return math.inf
        return math.sqrt(max(0.0, 1.0 / self.cosine**2 - 1.0) / (self.n - 1))


def line(x: F8, y: F8) -> Line:
    """Least squares through the origin."""
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    if len(x) < 2 or xx == 0.0 or yy == 0.0:
        return Line(len(x), math.nan, 0.0, 0.0)
    return Line(len(x), xy / xx, xy / math.sqrt(xx * yy), correlation(x, y))


def correlation(x: F8, y: F8) -> float:
    """Pearson's r, 0 where one of them does not vary."""
    a, b = x - x.mean(), y - y.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 0 else 0.0


def median_deviation(x: F8) -> float:
    """1.4826 times the median absolute deviation: the standard deviation of normal numbers."""
    return 1.4826 * float(np.median(np.abs(x - np.median(x)))) if len(x) else math.nan


def unit_of(ratio: float, read_as: Sequence[str]) -> tuple[str, str]:
    """The unit of numbers that came out ``ratio`` times too large, and the unit they were read in.

    :param read_as: the units that were assumed; one means that it is known
    :return: empty texts when no unit fits
    """
    if not ratio or not math.isfinite(ratio):
        return "", ""
    known = sorted(set(read_as))
    best: tuple[float, str, str] = (math.log(NEAR_UNIT), "", "")
    for assumed in known if len(known) == 1 else USUAL:
        for unit in UNITS:
            # the number n of the file became n factor(assumed) and should be n factor(unit)
            off = abs(math.log(abs(ratio) * factor("stress", unit) / factor("stress", assumed)))
            if off < best[0] - 1e-9:
                best = (off, unit, assumed)
    return best[1], best[2]
