"""Reduction of factors over a fixed binary tree: the same bits for any number of workers and any order of arrival."""

from __future__ import annotations

from collections.abc import Iterable

from .factor import Factor


class ReductionTree:
    """Merges one factor per leaf, siblings first; what is merged with what depends on the number of leaves alone.

    A node is merged as soon as both its children are there, left before right, so leaves that arrive in order leave at
    most log2(leaves) factors in memory. ``nodes`` is the state between two arrivals: ``(level, index) -> factor`` with
    level 0 for leaves, None for no rows; store it to continue later, and give it back to the constructor.
    """

    def __init__(self, n_leaves: int, nodes: dict[tuple[int, int], Factor | None] | None = None) -> None:
        if n_leaves < 1:
            raise ValueError("a tree has at least one leaf")
        self.n_leaves = n_leaves
        self.nodes: dict[tuple[int, int], Factor | None] = dict(nodes or {})
        self._widths = [n_leaves]
        while self._widths[-1] > 1:
            self._widths.append(-(-self._widths[-1] // 2))

    def covers(self, leaf: int) -> bool:
        """Whether a leaf has arrived."""
        return any((level, leaf >> level) in self.nodes for level in range(len(self._widths)))

    def add(self, leaf: int, factor: Factor | None) -> None:
        """The factor of a leaf (None: it has no rows). The tree owns it from here on."""
        if not 0 <= leaf < self.n_leaves or self.covers(leaf):
            raise ValueError(f"leaf {leaf} of {self.n_leaves} does not exist or is there already")
        if factor is not None:
            factor.finish()
        level, index = 0, leaf
        while level < len(self._widths) - 1:
            sibling = index ^ 1
            if sibling < self._widths[level]:
                if (level, sibling) not in self.nodes:
                    break
                other = self.nodes.pop((level, sibling))
                factor = _join(other, factor) if sibling < index else _join(factor, other)
            level, index = level + 1, index // 2
        self.nodes[level, index] = factor

    @property
    def complete(self) -> bool:
        """Whether all leaves have arrived."""
        return (len(self._widths) - 1, 0) in self.nodes

    def result(self) -> Factor | None:
        """The factor of all leaves; None when none of them has rows."""
        if not self.complete:
            raise ValueError("leaves are missing")
        return self.nodes[len(self._widths) - 1, 0]


def reduce_tree(factors: Iterable[Factor | None]) -> Factor | None:
    """All factors merged over the fixed binary tree. They are changed: the first of each pair takes in the second."""
    leaves = list(factors)
    if not leaves:
        return None
    tree = ReductionTree(len(leaves))
    for i, factor in enumerate(leaves):
        tree.add(i, factor)
    return tree.result()


def _join(left: Factor | None, right: Factor | None) -> Factor | None:
    if left is None or right is None:
        return right if left is None else left
    left.merge(right)
    return left
