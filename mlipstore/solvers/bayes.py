"""Bayesian ridge regression: penalty and noise by maximum evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..solve.evidence import RidgePath
from ..solve.factor import Factor
from ..solve.linear import Solution, column_norms, reduced


@dataclass(frozen=True)
class BayesianRidge:
    """Ridge regression whose penalty is the most probable one for the weighted rows.

    :param scale: give every coefficient a prior in units that bring its column to unit norm
    """

    matrices: ClassVar[int] = 11
    scale: bool = True

    def solve(self, factor: Factor, target: int = 0) -> Solution:
        """Coefficients of one target of a factor; the condition number is that with the penalty."""
        problem = reduced(factor, target)
        M = len(problem.c)
        path = RidgePath(problem, 1.0 / column_norms(problem.R) if self.scale else None)
        if problem.n_rows == 0 or not (problem.c.any() or problem.rest):
            return Solution(np.zeros(M), 0, path.singular_values, float("inf"), 0.0)
        prior, noise = path.maximise_evidence()
        alpha, s = prior / noise, path.singular_values
        x = path.coefficients(alpha)
        condition = float(np.sqrt((s[0] ** 2 + alpha) / (s[-1] ** 2 + alpha))) if M else float("inf")
        return Solution(x, int(np.sum(s**2 > alpha)), s, condition, problem.residual_norm(x))


plugin = BayesianRidge
