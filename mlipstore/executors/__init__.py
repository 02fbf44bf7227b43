"""Executors run a function over tasks: one engine per file. What comes out equals serial, bit for bit.

The contract, which ``tests/contracts/test_executors.py`` asks of every executor that is there:

* ``map`` gives results in the order of the tasks, ``unordered`` as they come, with the number of their task; so what
  a caller makes of them can be the same whatever finished first. Tasks are taken from their iterable as they are
  needed: a bounded number is under way.
* ``reduce`` merges one result per task over the fixed tree of :mod:`mlipstore.reduction`. What is merged with what
  depends on the number of tasks alone, never on the workers; merging happens where the parts are.
* An error of a task is raised as it is, the first one that arrives, and ends the run: what has not begun does not
  begin, what runs is waited for (Dask: is left alone). The same happens when the caller stops iterating.
* A worker that dies costs its task, which is given to another one, or ends the run with one
  :class:`~mlipstore.errors.ComputeError`; it never hangs. So tasks must bear being done twice.
* Workers run BLAS on one thread: its number decides the last bits.

Functions and tasks are picklable and small. Workers open the store themselves; rows never go through an executor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from ..errors import SettingsError

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """The contract of an executor plugin."""

    @property
    def n_workers(self) -> int:
        """How many tasks run at once."""
        ...

    @property
    def warm_up(self) -> float:
        """Seconds until workers that do not run yet are there: less work than that is better done without them."""
        ...

    def within(self, most: int) -> Executor:
        """This, or the like with at most so many workers: the memory of this machine holds no more.

        :raises SettingsError: more were asked for by number
        """
        ...

    def unless_asked(self, most: int) -> Executor:
        """This, or the like with at most so many workers where nobody asked for a number of them."""
        ...

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Results of ``function(task)`` in the order of the tasks."""
        ...

    def unordered(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[int, R]]:
        """Number of the task and result, as they come. Workers start with the first tasks: give the largest first."""
        ...

    def reduce(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        merge: Callable[[R, R], R],
        done: Callable[[int], None] | None = None,
    ) -> R:
        """All results merged over the fixed binary tree, left before right; there is at least one task.

        :param merge: may change its arguments; it runs where the parts are
        :param done: is told how many tasks are done, now and then
        """
        ...

    def close(self) -> None:
        """End workers that were started; the next call starts new ones."""
        ...


def worth_workers(executor: Executor, seconds: float) -> bool:
    """Whether workers save time for work of so many seconds on one."""
    return seconds * (1.0 - 1.0 / executor.n_workers) >= executor.warm_up


def one_each(executor: Executor, devices: int | None) -> Executor:
    """The executor with one worker for each device, where nobody asked for another number; None: they need none."""
    return executor if devices is None else executor.unless_asked(devices)


def fewer(wanted: int, most: int) -> int:
    """``most``, where nobody asked for a number of workers.

    :raises SettingsError: ``wanted`` is such a number and larger
    """
    if wanted > most:
        raise SettingsError(
            f"the memory that is free here holds {max(most, 0)} of the {wanted} workers. Use --workers {max(most, 1)}."
        )
    return most
