"""Truncated singular value decomposition of the factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import SettingsError
from ..solve.factor import Factor
from ..solve.linear import Solution, column_norms, reduced, svd_solve


@dataclass(frozen=True)
class Svd:
    """Minimum-norm least squares; small singular values are left out, as ``scipy.linalg.lstsq`` does on all rows.

    :param rcond: singular values up to this fraction of the largest are left out
    :param scale: bring all columns to unit norm first, so that the cut does not depend on their units
    """

    matrices: ClassVar[int] = 6
    rcond: float = 1e-13
    scale: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.rcond < 1.0:
            raise SettingsError(f"solver svd: rcond = {self.rcond}, expected 0 <= rcond < 1 (default 1e-13).")

    def solve(self, factor: Factor, target: int = 0) -> Solution:
        """Coefficients of one target of a factor."""
        problem = reduced(factor, target)
        scale = column_norms(problem.R) if self.scale else np.ones(len(problem.c))
        x, rank, s = svd_solve(problem.R / scale, problem.c, self.rcond)
        x = x / scale
        condition = float(s[0] / s[rank - 1]) if rank else float("inf")
        return Solution(x, rank, s, condition, problem.residual_norm(x))


plugin = Svd
