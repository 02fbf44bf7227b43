"""A solver in one file: least squares whose coefficients are not negative."""

from dataclasses import dataclass

from mlipstore.solve.factor import Factor
from mlipstore.solve.linear import Solution, reduced


@dataclass(frozen=True)
class Nonnegative:
    """Minimises ``||A x - b||^2`` with x >= 0 (Lawson and Hanson, doi:10.1137/1.9781611971217, chapter 23).

    :param max_iter: most steps; three times the number of columns when None
    """

    max_iter: int | None = None

    def solve(self, factor: Factor, target: int = 0) -> Solution:
        """All rows are in the triangle: ``||A x - b||^2 = ||R x - c||^2 + rest^2``."""
        from scipy.optimize import nnls

        problem = reduced(factor, target)
        x, _ = nnls(problem.R, problem.c, maxiter=self.max_iter)
        return Solution(x, int((x > 0).sum()), None, float("nan"), problem.residual_norm(x))


plugin = Nonnegative
