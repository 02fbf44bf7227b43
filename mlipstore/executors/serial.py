"""One task after another, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..reduction import Tree

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Serial:
    """The executor that all others must agree with."""

    @property
    def n_workers(self) -> int:
        return 1

    @property
    def warm_up(self) -> float:
        return 0.0

    def within(self, most: int) -> Serial:
        return self

    def unless_asked(self, most: int) -> Serial:
        return self

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        return map(function, tasks)

    def unordered(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[int, R]]:
        return enumerate(map(function, tasks))

    def reduce(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        merge: Callable[[R, R], R],
        done: Callable[[int], None] | None = None,
    ) -> R:
        tree: Tree[R] = Tree(len(tasks), merge)
        for i, task in enumerate(tasks):
            tree.add(i, function(task))
            if done is not None:
                done(i + 1)
        return tree.result()

    def close(self) -> None:
        pass


plugin = Serial
