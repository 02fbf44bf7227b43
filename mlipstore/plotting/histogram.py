"""A histogram of any numbers in one pass and fixed memory, from which linear histograms come out exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Bins per octave, and the octaves [2^e, 2^(e+1)) with -_OCTAVES/2 <= e < _OCTAVES/2 - 1.
_FINE, _OCTAVES = 128, 128
_HALF = _FINE * _OCTAVES


class Histogram:
    """Counts of signed numbers in bins that are linear inside each octave of the absolute value.

    Every bin has a width of 1/128 of its octave, so quantiles are good to 0.8 %, and all borders are multiples of a
    power of two: a linear histogram with bins of such a width is a plain sum of these counts. Values beyond
    2^-64 ... 2^63 count in the outermost bins.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(2 * _HALF, np.int64)
        self.least, self.greatest = np.inf, -np.inf

    def add(self, values: NDArray[np.float64]) -> None:
        """Count values ``(n,)``."""
        if not len(values):
            return
        self.least, self.greatest = min(self.least, float(values.min())), max(self.greatest, float(values.max()))
        self.counts += np.bincount(_bins(values), minlength=2 * _HALF)

    def __add__(self, other: Histogram) -> Histogram:
        out = Histogram()
        out.counts = self.counts + other.counts
        out.least, out.greatest = min(self.least, other.least), max(self.greatest, other.greatest)
        return out

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def quantile(self, q: float) -> float:
        """A number that at least the fraction ``q`` of the values does not exceed (the upper border of a bin).

        :raises ValueError: nothing was counted
        """
        if not self.n:
            raise ValueError("quantile of nothing")
        reached = np.cumsum(self.counts) >= max(1.0, q * self.n)
        return float(np.clip(BORDERS[int(np.argmax(reached)) + 1], self.least, self.greatest))

    @property
    def reach(self) -> float:
        """The largest absolute value."""
        return max(abs(self.least), abs(self.greatest))

    def below(self, border: float) -> int:
        """How many values lie in the bins before one of ``BORDERS``."""
        return int(self.counts[BORDERS[1:] <= border].sum())

    def above(self, border: float) -> int:
        """How many values lie in the bins after one of ``BORDERS``."""
        return int(self.counts[BORDERS[:-1] >= border].sum())

    def linear(self, width: float, half: int) -> tuple[NDArray[np.int64], int, int]:
        """Counts in ``2 half`` bins of ``width`` around 0, and how many lie below and above them.

        :param width: a power of two
        """
        place = np.floor(_CENTRES / width)
        inside = (place >= -half) & (place < half)
        counts = np.bincount((place[inside] + half).astype(np.int64), self.counts[inside], 2 * half).astype(np.int64)
        return counts, int(self.counts[place < -half].sum()), int(self.counts[place >= half].sum())


def _bins(values: NDArray[np.float64]) -> NDArray[np.int64]:
    mantissa, exponent = np.frexp(np.abs(values))  # mantissa in [0.5, 1)
    fine = ((mantissa - 0.5) * (2 * _FINE)).astype(np.int64)
    place = (exponent.astype(np.int64) - 1 + _OCTAVES // 2) * _FINE + fine
    place = np.clip(np.where(values == 0, 0, place), 0, _HALF - 1)
    return np.where(values < 0, _HALF - 1 - place, _HALF + place)


def _borders() -> NDArray[np.float64]:
    octave = np.exp2(np.arange(_OCTAVES) - _OCTAVES // 2)
    lower = (octave[:, None] * (1 + np.arange(_FINE) / _FINE)).ravel()
    lower[0] = 0.0
    positive = np.append(lower, 2 * octave[-1])
    return np.concatenate([-positive[:0:-1], positive])


#: Borders of the bins ``(bins + 1,)``, from negative to positive.
BORDERS = _borders()
_CENTRES = 0.5 * (BORDERS[1:] + BORDERS[:-1])
