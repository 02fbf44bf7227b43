"""What a fit will take on some workers: memory of each, time, what travels. Of a store, or of counts alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from . import registry
from .cost import FitSeconds, Rates, even_leaves, fit_seconds, measured, packed_bytes
from .fit import Problem
from .memory import MATRICES, FitMemory, fit_memory
from .passes import leaf_rows, least_rows
from .plans import FitPlan


@dataclass(frozen=True)
class Forecast:
    """Memory in bytes of each worker and of the process that solves; seconds; bytes that travel between workers."""

    rows: int
    columns: int
    solver: str
    memory: FitMemory
    seconds: FitSeconds
    rates: Rates
    plan: FitPlan | None = None

    @property
    def traffic(self) -> int:
        """Bytes between workers, if every merge but those within a subtree needs a triangle from another worker."""
        parts = min(self.seconds.leaves, 8 * self.seconds.workers)
        return 0 if self.seconds.workers == 1 else (parts - 1) * packed_bytes(self.columns + 1)

    def to_json(self) -> dict[str, Any]:
        plan = {} if self.plan is None else self.plan.to_json()
        return {
            **plan,
            "rows": self.rows,
            "columns": self.columns,
            "solver": self.solver,
            "projected_memory": self.memory.total,
            "memory": dataclasses.asdict(self.memory),
            "workers": self.seconds.workers,
            "memory_per_worker": self.memory.worker,
            "leaves": self.seconds.leaves,
            "seconds": self.seconds.total,
            "seconds_of": {k: getattr(self.seconds, k) for k in ("factor", "solve", "errors")},
            "efficiency": self.seconds.efficiency,
            "bytes_between_workers": self.traffic,
            "rates": dataclasses.asdict(self.rates),
        }


def forecast_fit(problem: Problem, workers: int = 1, **given: float | None) -> Forecast:
    """Of a fit of a store; rates that are not given are measured here, in well below a second."""
    matrix, plan = problem.matrix, problem.plan
    rates = measured(matrix, **given)
    seconds = fit_seconds(leaf_rows(matrix), matrix.n_columns + 1, workers, rates, plan.solver)
    return Forecast(plan.rows, plan.columns, plan.solver, plan.memory, seconds, rates, plan)


def forecast(rows: int, columns: int, workers: int, rates: Rates, solver: str = "svd", block_rows: int = 1024,
             leaf_at_most: int | None = None) -> Forecast:  # fmt: skip
    """Of a fit of so many rows, in segments that are small against a leaf.

    :raises UnknownNameError: there is no such solver
    """
    plugin = registry.get("solvers", solver)
    leaves = even_leaves(rows, leaf_at_most or least_rows(columns))
    mine = -(-len(leaves) // workers)  # of which a triangle for each level of their tree waits
    memory = fit_memory(columns, block_rows, 65_536, getattr(plugin, "matrices", MATRICES), mine)
    return Forecast(rows, columns, solver, memory, fit_seconds(leaves, columns + 1, workers, rates, solver), rates)
