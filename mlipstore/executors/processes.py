"""Worker processes on this machine, one BLAS thread each.

Never started by fork: a forked child hangs once Icechunk's threads exist in the parent.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from ..errors import ComputeError, SettingsError

T = TypeVar("T")
R = TypeVar("R")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Processes:
    """:param workers: number of processes; 0 = one per processor this process may use"""

    workers: int = 0

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise SettingsError(f"workers is {self.workers}; give a positive number, or 0 for one per processor.")

    @property
    def n_workers(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Results in the order of the tasks; at most twice as many are under way as there are workers."""
        queue = iter(tasks)
        waiting: deque[Future[R]] = deque()
        with _one_thread_each():
            pool = ProcessPoolExecutor(
                self.n_workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
            )
            try:
                with _uninterrupted():
                    waiting.extend(pool.submit(function, task) for task in islice(queue, 2 * self.n_workers))
                while waiting:
                    try:
                        result = waiting.popleft().result()
                    except BrokenProcessPool:
                        raise ComputeError(
                            "a worker process died (killed, or out of memory). What was committed stays; run the "
                            "same command again to continue, with fewer --workers if memory was short. (In a script "
                            'of your own: the call must stand below if __name__ == "__main__".)'
                        ) from None
                    with _uninterrupted():
                        waiting.extend(pool.submit(function, task) for task in islice(queue, 1))
                    yield result
            except KeyboardInterrupt:
                for process in list((pool._processes or {}).values()):
                    process.kill()  # what it commits is whole or not there, so nothing is lost but time
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started inside do not get the Ctrl-C of the terminal: this one gets it, and tells what happened."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Let a worker end when its parent was killed, instead of waiting for tasks for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Children read these when they import NumPy; several workers with several threads each are slower, not faster."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


plugin = Processes
