"""Worker processes on this machine, one BLAS thread each.

Never started by fork: a forked child hangs once Icechunk's threads exist in the parent.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.queues import SimpleQueue
from typing import Any

from ..cards import number_worker
from ..errors import ComputeError, SettingsError
from . import Executor, fewer
from ._pool import Outcome, Pool, Pooled, call, one_thread_each, uninterrupted
from .serial import Serial


@dataclass(frozen=True)
class Processes(Pooled):
    """:param workers: number of processes; 0 = one per processor this process may use"""

    workers: int = 0
    #: the processes, kept from one call to the next
    _running: list[ProcessPoolExecutor] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise SettingsError(f"workers is {self.workers}; give a positive number, or 0 for one per processor.")

    @property
    def n_workers(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def warm_up(self) -> float:
        return 0.0 if self._running else 1.0

    def within(self, most: int) -> Executor:
        if self.n_workers <= most:
            return self
        return Processes(most) if fewer(self.workers, most) > 1 else Serial()

    def unless_asked(self, most: int) -> Executor:
        return self if self.workers else self.within(most)

    @contextmanager
    def _pool(self) -> Iterator[Pool]:
        if not self._running:
            spawn = multiprocessing.get_context("spawn")
            numbers = spawn.SimpleQueue()
            for number in range(self.n_workers):
                numbers.put(number)
            with uninterrupted():
                self._running.append(ProcessPoolExecutor(self.n_workers, spawn, _begin, (numbers,)))
        processes = self._running[0]
        pool = _Calls(processes)
        try:
            yield pool
            pool.cancel()
        except KeyboardInterrupt:
            for process in list((processes._processes or {}).values()):
                process.kill()  # what it commits is whole or not there, so nothing is lost but time
            self.close()
            raise
        except BaseException:
            pool.cancel()
            if pool.broken:
                self.close()
            raise

    def close(self) -> None:
        while self._running:
            self._running.pop().shutdown(wait=True, cancel_futures=True)


class _Calls(Pool):
    """Calls that one ``map`` has sent to the processes."""

    def __init__(self, processes: ProcessPoolExecutor) -> None:
        self.processes = processes
        self.under_way: dict[Future[Outcome], int] = {}
        self.broken = False

    def submit(self, number: int, function: Callable[[Any], Any], task: Any) -> None:
        with one_thread_each(), uninterrupted():
            try:
                self.under_way[self.processes.submit(call, function, task, number)] = number
            except BrokenProcessPool:
                raise self._died() from None

    def wait(self) -> list[Outcome]:
        done = wait(self.under_way, return_when=FIRST_COMPLETED).done
        outcomes = []
        for future in sorted(done, key=self.under_way.__getitem__):
            number, error = self.under_way.pop(future), future.exception()
            if isinstance(error, BrokenProcessPool):
                error = self._died()
            outcomes.append(Outcome(number, error=error) if error is not None else future.result())
        return outcomes

    def cancel(self) -> None:
        """Nothing more begins; wait for what runs."""
        wait([future for future in self.under_way if not future.cancel()])

    def _died(self) -> ComputeError:
        self.broken = True
        return ComputeError(
            "a worker process died (killed, or out of memory). What was committed stays; run the same command again "
            "to continue, with fewer --workers if memory was short. (In a script of your own: the call must stand "
            'below if __name__ == "__main__".)'
        )


def _begin(numbers: SimpleQueue[int]) -> None:
    """Take a number, and end when the parent was killed, instead of waiting for tasks for ever."""
    number_worker(numbers.get())
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


plugin = Processes
