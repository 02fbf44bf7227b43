"""Reduction of factors over a fixed binary tree: the same bits for any number of workers and any order of arrival."""

from __future__ import annotations

from collections.abc import Iterable

from ..reduction import Node, Packed, Tree
from .factor import Factor


class ReductionTree(Tree[Factor | None]):
    """Merges one factor per leaf (None: it has no rows), siblings first; those that wait are packed triangles."""

    def __init__(self, n_leaves: int, nodes: dict[Node, Packed[Factor | None]] | None = None) -> None:
        super().__init__(n_leaves, join, nodes)


def reduce_tree(factors: Iterable[Factor | None]) -> Factor | None:
    """All factors merged over the fixed binary tree. They are changed: the first of each pair takes in the second."""
    leaves = list(factors)
    if not leaves:
        return None
    tree = ReductionTree(len(leaves))
    for i, factor in enumerate(leaves):
        tree.add(i, factor)
    return tree.result()


def join(left: Factor | None, right: Factor | None) -> Factor | None:
    """The factor of the rows of both, in that order; they are given up."""
    if left is None or right is None:
        return right if left is None else left
    left.merge(right)
    return left
