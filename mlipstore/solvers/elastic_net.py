"""Least squares with a penalty on absolute and on squared coefficients (scikit-learn)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..errors import SettingsError
from ..solve.factor import Factor
from ..solve.linear import Solution, reduced
from ..solve.sparse import elastic_net


@dataclass(frozen=True)
class ElasticNet:
    """Minimises ``||A x - b||^2 / (2 N) + alpha (l1_ratio |x|_1 + (1 - l1_ratio) / 2 ||x||^2)`` over N weighted rows.

    :param alpha: penalty, as in scikit-learn; 1e-4 of the smallest one that leaves no coefficient when None
    :param l1_ratio: share of the absolute values, above 0 and at most 1
    :param scale: penalise coefficients as if every column had unit root mean square
    :param tol: duality gap at which to stop, relative to the squared targets
    :param max_iter: most sweeps over the coefficients
    """

    matrices: ClassVar[int] = 11
    alpha: float | None = None
    l1_ratio: float = 0.5
    scale: bool = True
    tol: float = 1e-8
    max_iter: int = 100_000

    def __post_init__(self) -> None:
        if self.alpha is not None and not self.alpha > 0.0:
            raise SettingsError(f"solver elastic-net: alpha = {self.alpha}, expected a number above 0.")
        if not 0.0 < self.l1_ratio <= 1.0:
            raise SettingsError(f"solver elastic-net: l1_ratio = {self.l1_ratio}, expected 0 < l1_ratio <= 1.")
        if not self.tol > 0.0 or self.max_iter < 1:
            raise SettingsError("solver elastic-net: tol and max_iter must be above 0.")

    def solve(self, factor: Factor, target: int = 0) -> Solution:
        """Coefficients of one target of a factor."""
        return elastic_net(reduced(factor, target), self.alpha, self.l1_ratio, self.scale, self.tol, self.max_iter)


plugin = ElasticNet
