"""The reduction tree gives one result for every order of arrival."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipstore.solve.factor import Factor
from mlipstore.solve.tree import ReductionTree, reduce_tree


def leaf(i: int) -> Factor | None:
    rng = np.random.default_rng(i)
    rows = [0, 3, 200, 40][i % 4]
    if i % 5 == 4:
        return None
    factor = Factor(6)
    factor.update(rng.standard_normal((rows, 6)), rng.standard_normal(rows))
    return factor


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 17).flatmap(lambda n: st.permutations(range(n))), st.integers(0, 17))
def test_any_order_and_any_interruption_gives_the_same_bits(order: list[int], stop: int) -> None:
    n = len(order)
    expected = reduce_tree(leaf(i) for i in range(n))
    tree = ReductionTree(n)
    for i in order[:stop]:
        tree.add(i, leaf(i))
    assert tree.complete == (stop >= n)
    stored = {node: None if f is None else pickle.loads(pickle.dumps(f)) for node, f in tree.nodes.items()}
    tree = ReductionTree(n, stored)  # a run that was stopped and continues
    for i in order[stop:]:
        assert not tree.covers(i)
        tree.add(i, leaf(i))
    result = tree.result()
    if expected is None:
        assert result is None
        return
    assert result is not None
    assert result.packed().tobytes() == expected.packed().tobytes()
    assert result.n_rows == expected.n_rows
    assert result.target_squares.tobytes() == expected.target_squares.tobytes()


def test_leaves_in_order_keep_few_factors() -> None:
    tree = ReductionTree(64)
    most = 0
    for i in range(64):
        tree.add(i, leaf(4 * i + 2))
        most = max(most, len(tree.nodes))
    assert most <= 7


def test_the_result_is_the_factor_of_all_rows() -> None:
    rng = np.random.default_rng(1)
    A, b = rng.standard_normal((900, 6)), rng.standard_normal(900)
    parts = []
    for piece in np.array_split(np.arange(900), 7):
        parts.append(Factor(6))
        parts[-1].update(A[piece], b[piece])
    total = reduce_tree(parts)
    assert total is not None and total.n_rows == 900
    whole = Factor(6)
    whole.update(A, b)
    np.testing.assert_allclose(total.R, whole.R, atol=1e-13 * np.linalg.norm(A))


def test_wrong_leaves_are_refused() -> None:
    tree = ReductionTree(3)
    tree.add(0, None)
    for wrong in (0, 3, -1):
        with pytest.raises(ValueError, match="leaf"):
            tree.add(wrong, None)
    with pytest.raises(ValueError, match="missing"):
        tree.result()
    with pytest.raises(ValueError, match="at least one"):
        ReductionTree(0)
    assert reduce_tree([]) is None
