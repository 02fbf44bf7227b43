"""What kept factors give without the rows, against the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import lstsq

from mlipstore.solve.algebra import Reweighting, leave_one_out, problem, residual_norms, rmse, stack
from mlipstore.solve.factor import Factor
from mlipstore.solve.linear import qr_solve

F8 = np.ndarray


@dataclass
class Key:
    A: F8
    B: F8
    S: F8


def make_keys(seed: int, n_keys: int, m: int, targets: int = 1, late: bool = False) -> list[Key]:
    """Groups of very different size, scale and number of rows; with ``late``, a column that only the last one has."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((m, m)) * np.logspace(0, -3, m)
    keys = []
    for k in range(n_keys):
        rows = [3 * m, 1, 200, m][k % 4]
        A = rng.standard_normal((rows, m)) @ mixing * 10.0 ** rng.uniform(-1, 1)
        if late and k < n_keys - 1:
            A[:, m // 2] = 0.0
        B = A @ rng.standard_normal((m, targets)) + 0.1 * rng.standard_normal((rows, targets))
        factor = Factor(m, targets)
        factor.update(A, B)
        keys.append(Key(A, B, factor.R))
    return keys


def rows_of(keys: list[Key], weights: F8) -> tuple[F8, F8]:
    A = np.concatenate([w * k.A for k, w in zip(keys, weights, strict=True)])
    return A, np.concatenate([w * k.B for k, w in zip(keys, weights, strict=True)])


def weights_for(seed: int, n: int, decades: float = 2.0) -> F8:
    return np.asarray(10.0 ** np.random.default_rng(seed + 99).uniform(-decades, decades, n))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 20), st.integers(1, 3))
def test_stacked_keys_are_the_weighted_rows(seed: int, n_keys: int, m: int, targets: int) -> None:
    keys = make_keys(seed, n_keys, m, targets)
    w = weights_for(seed, n_keys)
    w[seed % n_keys] *= seed % 3 > 0
    S = stack([k.S for k in keys], w)
    Ab = np.column_stack(rows_of(keys, w))
    assert (np.tril(S, -1) == 0).all() and (np.diag(S) >= 0).all()
    np.testing.assert_allclose(S.T @ S, Ab.T @ Ab, rtol=0, atol=1e-12 * np.linalg.norm(Ab) ** 2)


def test_a_reweighted_fit_needs_no_rows() -> None:
    keys = make_keys(1, 8, 15)
    for seed in range(4):
        w = weights_for(seed, 8)
        A, b = rows_of(keys, w)
        p = problem(stack([k.S for k in keys], w), 15, len(A))
        x, *_ = lstsq(A, b[:, 0])
        np.testing.assert_allclose(qr_solve(p.R, p.c)[0], x, rtol=0, atol=1e-10 * np.linalg.norm(x))
        assert p.residual_norm(x) == pytest.approx(np.linalg.norm(A @ x - b[:, 0]), rel=1e-12)


def test_errors_of_any_coefficients_on_any_key() -> None:
    rng = np.random.default_rng(2)
    for k in make_keys(2, 6, 12, 2):
        X = rng.standard_normal((12, 5))
        for mix in (1.0, [1.0, 0.0], [1.0, -1.0], [0.0, 2.5]):
            t = k.B @ (np.array([mix, 0.0]) if np.ndim(mix) == 0 else np.array(mix))
            expected = np.linalg.norm(k.A @ X - t[:, None], axis=0)
            np.testing.assert_allclose(residual_norms(k.S, X, mix), expected, rtol=1e-12)
            np.testing.assert_allclose(rmse(k.S, len(k.A), X, mix), expected / np.sqrt(len(k.A)), rtol=1e-12)
            assert residual_norms(k.S, X[:, 0], mix).shape == (1,)
    with pytest.raises(ValueError, match="3 coefficients for 2 targets"):
        residual_norms(k.S, X, [1.0, 2.0, 3.0])


def test_a_mixed_target_is_a_problem_of_its_own() -> None:
    keys = make_keys(3, 5, 10, 3)
    w = weights_for(3, 5)
    A, B = rows_of(keys, w)
    mix = np.array([1.0, -1.0, 0.3])
    p = problem(stack([k.S for k in keys], w), 10, len(A), mix)
    x, *_ = lstsq(A, B @ mix)
    np.testing.assert_allclose(qr_solve(p.R, p.c)[0], x, atol=1e-10 * np.linalg.norm(x))
    assert p.residual_norm(x) == pytest.approx(np.linalg.norm(A @ x - B @ mix), rel=1e-11)


@pytest.mark.parametrize("n_keys", [2, 3, 7, 8])
def test_leaving_out_each_key(n_keys: int) -> None:
    keys = make_keys(4, n_keys, 9)
    w = weights_for(4, n_keys, 1.0)
    seen = []
    for i, S in leave_one_out([k.S for k in keys], list(w)):
        others = [j for j in range(n_keys) if j != i]
        Ab = np.column_stack(rows_of([keys[j] for j in others], w[others]))
        np.testing.assert_allclose(S.T @ S, Ab.T @ Ab, atol=1e-12 * np.linalg.norm(Ab) ** 2)
        seen.append(i)
    assert seen == list(range(n_keys))
    with pytest.raises(ValueError, match="at least two"):
        next(leave_one_out([keys[0].S], [1.0]))


@pytest.mark.parametrize("late", [False, True])
def test_fast_reweighting_is_stacking(late: bool) -> None:
    keys = make_keys(5, 12, 14, late=late)
    triangles = [k.S for k in keys]
    fast = Reweighting(triangles)
    for seed in range(10):
        w = weights_for(seed, 12, 0.5 if seed < 5 else 4.0)
        w[seed] *= seed % 2
        S, exact = fast.triangle(w), stack(triangles, w)
        scale = np.linalg.norm(exact, axis=0)
        np.testing.assert_allclose(
            S.T @ S / np.outer(scale, scale), exact.T @ exact / np.outer(scale, scale), atol=1e-12
        )
        x, y = (qr_solve(T[:-1, :-1], T[:-1, -1])[0] for T in (S, exact))
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-8 * np.linalg.norm(y))
    assert fast.stacked < 10


def test_fast_reweighting_with_zero_and_dependent_columns() -> None:
    rng = np.random.default_rng(6)
    triangles = []
    for _ in range(4):
        A = rng.standard_normal((50, 8))
        A[:, 3] = 0.0
        A[:, 5] = A[:, 0] - A[:, 1]
        factor = Factor(8)
        factor.update(A, rng.standard_normal(50))
        triangles.append(factor.R)
    fast = Reweighting(triangles)
    w = [1.0, 0.3, 2.0, 1.5]
    S, exact = fast.triangle(w), stack(triangles, w)
    np.testing.assert_allclose(S.T @ S, exact.T @ exact, atol=1e-11)
    assert (S[:, 3] == 0).all()


def test_fast_reweighting_falls_back_where_a_key_vanishes() -> None:
    """One group alone spans part of the space: with a tiny weight on it the sum is ill conditioned."""
    keys = make_keys(7, 5, 8, late=True)
    triangles = [k.S for k in keys]
    fast = Reweighting(triangles)
    w = np.array([1.0, 1.0, 1.0, 1.0, 1e-7])
    np.testing.assert_array_equal(fast.triangle(w), stack(triangles, w))
    assert fast.stacked == 1


def test_nothing_to_stack() -> None:
    with pytest.raises(ValueError, match="nothing"):
        stack([], [])
