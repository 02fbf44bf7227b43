"""Automatic relevance determination: Bayesian least squares that finds out which coefficients are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..errors import SettingsError
from ..solve.factor import Factor
from ..solve.linear import Solution, reduced
from ..solve.sparse import relevance


@dataclass(frozen=True)
class RelevanceDetermination:
    """A prior precision per coefficient and the noise are set by maximum evidence; irrelevant coefficients become zero.

    :param threshold: prior precision, for columns and targets at unit root mean square, above which a coefficient is
        left out
    :param tol: relative change of the coefficients at which to stop
    :param max_iter: most updates
    """

    matrices: ClassVar[int] = 12
    threshold: float = 1e8
    tol: float = 1e-6
    max_iter: int = 1000

    def __post_init__(self) -> None:
        if not (self.threshold > 0.0 and self.tol > 0.0 and self.max_iter > 0):
            raise SettingsError("solver ard: threshold, tol and max_iter must be above 0.")

    def solve(self, factor: Factor, target: int = 0) -> Solution:
        """Coefficients of one target of a factor."""
        return relevance(reduced(factor, target), self.threshold, self.tol, self.max_iter)


plugin = RelevanceDetermination
