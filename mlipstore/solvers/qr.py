"""Back substitution in the factor, pivoted where it is singular."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..errors import SettingsError
from ..solve.factor import Factor
from ..solve.linear import Solution, qr_solve, reduced


@dataclass(frozen=True)
class Qr:
    """Least squares by QR: the cheapest solver, and the most accurate one for badly scaled columns.

    Dependent columns are found after scaling all columns to unit norm; the solution of smallest scaled norm is taken.

    :param rcond: smallest inverse condition number that counts as full rank; M times the machine precision when None
    """

    rcond: float | None = None

    #: the triangle, a copy, the scaled one and its copy for LAPACK
    matrices: ClassVar[int] = 4

    def __post_init__(self) -> None:
        if self.rcond is not None and not 0.0 <= self.rcond < 1.0:
            raise SettingsError(f"solver qr: rcond = {self.rcond}, expected 0 <= rcond < 1.")

    def solve(self, factor: Factor, target: int = 0) -> Solution:
        """Coefficients of one target of a factor."""
        problem = reduced(factor, target)
        x, rank, condition = qr_solve(problem.R, problem.c, self.rcond)
        return Solution(x, rank, None, condition, problem.residual_norm(x))


plugin = Qr
