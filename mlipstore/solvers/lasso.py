"""Least squares with a penalty on the sum of absolute coefficients: few coefficients (scikit-learn)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..errors import SettingsError
from ..solve.factor import Factor
from ..solve.linear import Solution, reduced
from ..solve.sparse import elastic_net


@dataclass(frozen=True)
class Lasso:
    """Minimises ``||A x - b||^2 / (2 N) + alpha |x|_1`` over the N weighted rows.

    :param alpha: penalty, as in scikit-learn; 1e-4 of the smallest one that leaves no coefficient when None
    :param scale: penalise coefficients as if every column had unit root mean square
    :param tol: duality gap at which to stop, relative to the squared targets
    :param max_iter: most sweeps over the coefficients
    """

    matrices: ClassVar[int] = 11
    alpha: float | None = None
    scale: bool = True
    tol: float = 1e-8
    max_iter: int = 100_000

    def __post_init__(self) -> None:
        if self.alpha is not None and not self.alpha > 0.0:
            raise SettingsError(f"solver lasso: alpha = {self.alpha}, expected a number above 0.")
        if not self.tol > 0.0 or self.max_iter < 1:
            raise SettingsError("solver lasso: tol and max_iter must be above 0.")

    def solve(self, factor: Factor, target: int = 0) -> Solution:
        """Coefficients of one target of a factor."""
        return elastic_net(reduced(factor, target), self.alpha, 1.0, self.scale, self.tol, self.max_iter)


plugin = Lasso
