"""Ridge regression (Tikhonov regularisation) with one penalty, or one per column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import SettingsError
from ..solve.factor import Factor
from ..solve.linear import Solution, reduced, ridge_solve


@dataclass(frozen=True)
class Ridge:
    """Minimises ``||A x - b||^2 + sum_j alpha_j x_j^2`` over the weighted rows.

    The penalty enters as extra rows of an orthogonal factorisation, so small ones do not lose digits.

    :param alpha: penalty in units of squared weighted row over squared coefficient; one number, or one per column
    """

    matrices: ClassVar[int] = 7
    alpha: float | Sequence[float] = 1e-6

    def __post_init__(self) -> None:
        alpha = np.asarray(self.alpha, float)
        if alpha.ndim > 1 or not (np.isfinite(alpha) & (alpha >= 0.0)).all():
            raise SettingsError(f"solver ridge: alpha = {self.alpha}, expected a number >= 0, or one per column.")

    def solve(self, factor: Factor, target: int = 0) -> Solution:
        """Coefficients of one target of a factor."""
        problem = reduced(factor, target)
        x, rank, condition = ridge_solve(problem, self.alpha)
        return Solution(x, rank, None, condition, problem.residual_norm(x))


plugin = Ridge
