"""Orthogonal matching pursuit: a given number of coefficients, chosen one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..errors import SettingsError
from ..solve.factor import Factor
from ..solve.linear import Solution, reduced
from ..solve.sparse import matching_pursuit


@dataclass(frozen=True)
class MatchingPursuit:
    """Least squares on the columns that matching pursuit selects; columns compete at unit norm.

    :param n_nonzero: number of coefficients; a tenth of the columns when None
    """

    matrices: ClassVar[int] = 6
    n_nonzero: int | None = None

    def __post_init__(self) -> None:
        if self.n_nonzero is not None and self.n_nonzero < 1:
            raise SettingsError(f"solver omp: n_nonzero = {self.n_nonzero}, expected at least 1.")

    def solve(self, factor: Factor, target: int = 0) -> Solution:
        """Coefficients of one target of a factor."""
        return matching_pursuit(reduced(factor, target), self.n_nonzero or max(factor.n_columns // 10, 1))


plugin = MatchingPursuit
