"""``map``, ``unordered`` and ``reduce`` on top of what every engine has: submit a call, wait for one that is done."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count, islice
from types import FrameType
from typing import Any, TypeVar

from ..errors import ComputeError
from ..reduction import Node, Packed, merge_of, raised, run_subtree, subtrees, widths

T = TypeVar("T")
R = TypeVar("R")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """How a call ended: with a value, or with an error."""

    number: int
    value: Any = None
    error: BaseException | None = None


class Pool(ABC):
    """Workers that are up and running, during one ``map`` or ``reduce``."""

    @abstractmethod
    def submit(self, number: int, function: Callable[[Any], Any], task: Any) -> None:
        """Let a worker call ``function(task)``; calls begin in the order they are submitted in."""

    @abstractmethod
    def wait(self) -> list[Outcome]:
        """Wait until a call is done, and tell of those that are; a worker that died is an outcome with an error."""


class Pooled(ABC):
    """What executors with workers of their own share."""

    @property
    @abstractmethod
    def n_workers(self) -> int: ...

    @abstractmethod
    def _pool(self) -> AbstractContextManager[Pool]:
        """The workers. On leaving, calls that have not begun are cancelled and those that run are waited for."""

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Results in the order of the tasks; at most twice as many are under way or waiting as there are workers."""
        waiting: dict[int, R] = {}
        turn = 0
        with self._pool() as pool:
            source = _Source(pool, function, tasks)
            source.send(2 * self.n_workers)
            while source.under_way or waiting:
                while turn not in waiting:
                    waiting.update(source.results())
                result = waiting.pop(turn)
                turn += 1
                source.send(1)
                yield result

    def unordered(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[int, R]]:
        """Numbers and results as they come; at most twice as many tasks are under way as there are workers."""
        with self._pool() as pool:
            source = _Source(pool, function, tasks)
            source.send(2 * self.n_workers)
            while source.under_way:
                for number, result in source.results():
                    source.send(1)
                    yield number, result

    def reduce(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        merge: Callable[[R, R], R],
        done: Callable[[int], None] | None = None,
    ) -> R:
        """Workers reduce subtrees of consecutive tasks, and merge what they come to; this process only hands on."""
        level, parts = subtrees(function, tasks, merge, self.n_workers)
        counts = widths(len(tasks))
        nodes: dict[Node, Packed[R]] = {}
        finished = 0

        def jobs() -> Iterator[tuple[Callable[[Any], Any], Any, Node]]:
            """What can be done, merges first; as often as it is asked."""
            while True:
                if merges:
                    above, left, right = merges.popleft()
                    yield merge_of, (merge, left, right), above
                elif waiting:
                    i = waiting.popleft()
                    yield run_subtree, parts[i], (level, i)
                else:
                    return

        merges: deque[tuple[Node, Packed[R], Packed[R]]] = deque()
        waiting = deque(range(len(parts)))
        under_way: dict[int, Node] = {}
        numbers, root = count(), (len(counts) - 1, 0)
        with self._pool() as pool:
            while root not in nodes:
                for job, task, node in islice(jobs(), 2 * self.n_workers - len(under_way)):
                    number = next(numbers)
                    under_way[number] = node
                    pool.submit(number, job, task)
                for outcome in pool.wait():
                    node = under_way.pop(outcome.number)
                    if outcome.error is not None:
                        raise outcome.error
                    if node[0] == level:
                        finished += len(parts[node[1]].tasks)
                        if done is not None:
                            done(finished)
                    node = raised(node, counts)
                    sibling = nodes.pop((node[0], node[1] ^ 1), None) if node != root else None
                    if sibling is None:
                        nodes[node] = outcome.value
                    else:
                        both = (sibling, outcome.value) if node[1] % 2 else (outcome.value, sibling)
                        merges.append(((node[0] + 1, node[1] // 2), *both))
        return nodes[root].take()

    @abstractmethod
    def close(self) -> None:
        """End the workers."""


class _Source:
    """Hands tasks to a pool as there is room, and takes results back."""

    def __init__(self, pool: Pool, function: Callable[[Any], Any], tasks: Iterable[Any]) -> None:
        self.pool, self.function = pool, function
        self.tasks, self.numbers = iter(tasks), count()
        self.under_way = 0

    def send(self, n: int) -> None:
        """Submit the next ``n`` tasks, as far as there are more."""
        for number, task in zip(_take(self.numbers, n), self.tasks, strict=False):
            self.pool.submit(number, self.function, task)
            self.under_way += 1

    def results(self) -> list[tuple[int, Any]]:
        """Wait for results; the first error is raised."""
        outcomes = self.pool.wait()
        self.under_way -= len(outcomes)
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        return [(o.number, o.value) for o in outcomes]


def _take(numbers: Iterator[int], n: int) -> Iterator[int]:
    for _ in range(n):
        yield next(numbers)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Processes started inside do not get the Ctrl-C of the terminal: this one gets it, and tells what happened.

    It is told at the end of the block (a second one at once): a child whose start is cut in half complains of it. The
    mask alone, which children inherit, does not keep it away, as any other thread of this process may take the signal.
    """
    came: list[int] = []
    handler: Any = None

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1 and callable(handler):
            handler(number, frame)

    if threading.current_thread() is threading.main_thread():
        handler = signal.signal(signal.SIGINT, note)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if came:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Children read these when they import NumPy; several workers with several threads each are slower, not faster."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def call(function: Callable[[Any], Any], task: Any, number: int = 0) -> Outcome:
    """What a worker does with a task: an error is a result like another."""
    try:
        return Outcome(number, function(task))
    except Exception as error:
        return Outcome(number, error=portable(error))


def call_pinned(function: Callable[[Any], Any], task: Any, number: int = 0) -> Outcome:
    """:func:`call` where nothing was done about BLAS threads before."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return call(function, task, number)


def portable(error: Exception) -> Exception:
    """The error, or one that says the same where it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # whatever its class does wrong
        return ComputeError("".join(traceback.format_exception(error)).rstrip())
