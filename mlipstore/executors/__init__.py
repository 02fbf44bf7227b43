"""Executors map a function over tasks: one per file. The result equals serial, bit for bit.

``map`` gives results in the order of the tasks, holds a bounded number of them, and lets the first error through.
Functions and tasks must be picklable; big data goes through the store, not through the executor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """The contract of an executor plugin."""

    @property
    def n_workers(self) -> int:
        """How many tasks run at once."""
        ...

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Results of ``function(task)`` in the order of the tasks."""
        ...
