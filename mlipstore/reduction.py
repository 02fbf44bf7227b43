"""The fixed binary tree over tasks: which results are merged with which, whatever the number of workers.

Leaves are numbered 0 .. n - 1. Node ``(level, index)`` covers the leaves from ``index * 2**level`` up to
``(index + 1) * 2**level``, as far as there are so many; its children are ``(level - 1, 2 * index)`` and, if it exists,
``(level - 1, 2 * index + 1)``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Node = tuple[int, int]
#: So many subtrees per worker at least (if there are as many leaves), to even out their sizes.
SUBTREES_PER_WORKER = 4


class Packed(Generic[R]):
    """A result that waits or travels, in its smallest form (a factor: the packed triangle)."""

    def __init__(self, result: R) -> None:
        self._data: bytes | bytearray | None = pickle.dumps(result, pickle.HIGHEST_PROTOCOL)

    @classmethod
    def of_bytes(cls, data: bytes | bytearray) -> Packed[R]:
        packed: Packed[R] = cls.__new__(cls)
        packed._data = data
        return packed

    @property
    def data(self) -> bytes | bytearray:
        assert self._data is not None, "it was taken"
        return self._data

    def take(self) -> R:
        """The result; what was packed is given up."""
        data, self._data = self.data, None
        result: R = pickle.loads(data)
        return result

    def copy(self) -> Packed[R]:
        """The same, to be taken instead of this."""
        return Packed.of_bytes(self.data)

    def value(self) -> R:
        """The result, which stays here as well."""
        result: R = pickle.loads(self.data)
        return result


class Tree(Generic[R]):
    """Merges what arrives in any order; a node is merged as soon as both its children are there, left before right.

    Leaves that arrive in order leave at most log2(n) results waiting. ``nodes`` is the state between two arrivals: keep
    it to continue later, and give it back to the constructor.

    :param merge: may change and give back its arguments
    """

    def __init__(self, n_leaves: int, merge: Callable[[R, R], R], nodes: dict[Node, Packed[R]] | None = None) -> None:
        if n_leaves < 1:
            raise ValueError("a tree has at least one leaf")
        self.n_leaves, self.merge = n_leaves, merge
        self.nodes: dict[Node, Packed[R]] = dict(nodes or {})
        self.widths = widths(n_leaves)

    def covers(self, leaf: int) -> bool:
        """Whether a leaf has arrived."""
        return any((level, leaf >> level) in self.nodes for level in range(len(self.widths)))

    def add(self, index: int, result: R, level: int = 0) -> None:
        """The result of a leaf, or of a whole node. The tree owns it from here on."""
        if not (0 <= level < len(self.widths) and 0 <= index < self.widths[level]) or self.covers(index << level):
            raise ValueError(f"leaf {index << level} of {self.n_leaves} does not exist or is there already")
        while level < len(self.widths) - 1:
            sibling = index ^ 1
            if sibling < self.widths[level]:
                if (level, sibling) not in self.nodes:
                    break
                other = self.nodes.pop((level, sibling)).take()
                result = self.merge(other, result) if sibling < index else self.merge(result, other)
                del other
            level, index = level + 1, index // 2
        self.nodes[level, index] = Packed(result)

    @property
    def complete(self) -> bool:
        """Whether all leaves have arrived."""
        return (len(self.widths) - 1, 0) in self.nodes

    def result(self) -> R:
        """What all leaves were merged to."""
        if not self.complete:
            raise ValueError("leaves are missing")
        return self.nodes[len(self.widths) - 1, 0].value()


def widths(n_leaves: int) -> list[int]:
    """Nodes of each level, from the leaves to the root."""
    out = [n_leaves]
    while out[-1] > 1:
        out.append(-(-out[-1] // 2))
    return out


@dataclass(frozen=True)
class Subtree(Generic[R]):
    """A node of the tree with the tasks of its leaves: the unit that a worker reduces on its own."""

    function: Callable[[Any], R]
    merge: Callable[[R, R], R]
    tasks: tuple[Any, ...]

    def reduced(self) -> Packed[R]:
        """What the leaves are merged to."""
        tree = Tree(len(self.tasks), self.merge)
        for i, task in enumerate(self.tasks):
            tree.add(i, self.function(task))
        return tree.nodes[len(tree.widths) - 1, 0]


def run_subtree(subtree: Subtree[R]) -> Packed[R]:
    """:meth:`Subtree.reduced`, as a worker is sent it."""
    return subtree.reduced()


def raised(node: Node, counts: Sequence[int]) -> Node:
    """The highest node that covers the same leaves: one without a sibling is its parent as well.

    :param counts: :func:`widths`
    """
    level, index = node
    while level < len(counts) - 1 and index % 2 == 0 and index + 1 == counts[level]:
        level, index = level + 1, index // 2
    return level, index


def merge_of(task: tuple[Callable[[R, R], R], Packed[R], Packed[R]]) -> Packed[R]:
    """:func:`merge_packed`, as a worker is sent it."""
    return merge_packed(*task)


def merge_packed(merge: Callable[[R, R], R], left: Packed[R], right: Packed[R]) -> Packed[R]:
    """Two nodes, which are given up, merged."""
    return Packed(merge(left.take(), right.take()))


def subtrees(
    function: Callable[[T], R], tasks: Sequence[T], merge: Callable[[R, R], R], n_workers: int
) -> tuple[int, list[Subtree[R]]]:
    """The level to cut the tree at, so that there are some subtrees per worker, and those subtrees.

    Nothing depends on the level but where merging happens.
    """
    level = 0
    counts = widths(len(tasks))
    while level + 1 < len(counts) and counts[level + 1] >= SUBTREES_PER_WORKER * n_workers:
        level += 1
    width = 1 << level
    return level, [
        Subtree(function, merge, tuple(tasks[start : start + width])) for start in range(0, len(tasks), width)
    ]
