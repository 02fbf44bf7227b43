"""Featurize and fit while a worker is killed in the middle, and what the store then holds.

    mpiexec -n 3 python -m tests.robustness.deaths STORE [kill]      # on MPI ranks; kill: one, after the first segment

Workers are killed from the progress that the first process is told of: that is in the middle on every machine.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlipstore import passes
from mlipstore.executors import Executor
from mlipstore.executors.dask import Dask
from mlipstore.executors.mpi import Mpi
from mlipstore.featurize import featurize
from mlipstore.fit import compute, prepare, store_model
from mlipstore.runs.runfile import Fit
from mlipstore.store import Repository
from tests import snap_store


@dataclass
class Killer:
    """Kills a worker when progress is told for the ``at``-th time."""

    workers: Callable[[], list[int]]
    at: int = 1
    told: int = 0
    killed: list[int] = field(default_factory=list)

    def __call__(self, *_: object) -> None:
        self.told += 1
        if self.told == self.at:
            pid = self.workers()[0]
            os.kill(pid, signal.SIGKILL)
            self.killed.append(pid)


@contextmanager
def small_leaves() -> Iterator[None]:
    """Fits of a few rows are many leaves, and workers are worth it."""
    before = passes.LEAF_ROWS, passes.LEAF_ROWS_PER_COLUMN
    passes.LEAF_ROWS, passes.LEAF_ROWS_PER_COLUMN = 300, 1
    try:
        yield
    finally:
        passes.LEAF_ROWS, passes.LEAF_ROWS_PER_COLUMN = before


def everything(store: Path, executor: Executor, kill: Callable[[], Killer] | None = None) -> int:
    """Featurize and fit; the number of workers that were killed."""
    repository = Repository.open(store)
    killers = [kill(), kill()] if kill is not None else []
    featurize(repository, snap_store.feature(), None, executor, *killers[:1])
    with small_leaves():
        problem = prepare(repository, Fit(name="model"))
        problem.plan = replace(problem.plan, seconds=1e6)  # worth workers
        result, factor = compute(problem, *(killers[1:] or [None]), executor)
        store_model(repository, problem, factor, result, "deaths")
    return sum(len(k.killed) for k in killers)


def of_dask(executor: Dask, at: int) -> Killer:
    """Of a cluster started here."""
    return Killer(lambda: list(executor.client().run(os.getpid, on_error="ignore").values()), at)


def main(store: str, kill: bool) -> None:
    """On MPI ranks."""
    executor = Mpi()
    if executor.serve():
        return
    pids = sorted({*executor.map(_pid, range(executor.n_workers))})
    everything(Path(store), executor, (lambda: Killer(lambda: pids)) if kill else None)
    executor.close()
    print("done", flush=True)


def _pid(_: int) -> int:
    return os.getpid()


if __name__ == "__main__":
    main(sys.argv[1], "kill" in sys.argv)
