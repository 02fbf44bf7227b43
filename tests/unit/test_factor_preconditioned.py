"""Accumulation on a preconditioner: when it is used, when it refuses, and the kernels below it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_triangular

from mlipstore.solve import blas
from mlipstore.solve.factor import Factor, NonFiniteRowError
from mlipstore.solve.kernels import ArrayKernels, BlasKernels, Kernels, diagonal, kernels_for


class Eager(BlasKernels):
    """The preconditioner for any number of columns, with small chunks."""

    def chunk_rows(self, n: int) -> int:
        return 4 * n

    def preconditions(self, n: int) -> bool:
        return True


class EagerArrays(ArrayKernels):
    def chunk_rows(self, n: int) -> int:
        return 4 * n


KERNELS = [Eager, lambda: EagerArrays(np)]


def rows(n: int, m: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, m)) * np.logspace(0, -6, m), rng.standard_normal((n, 1))


def reference(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    R = np.linalg.qr(np.column_stack([A, b]), mode="r")
    return np.asarray(R * np.where(np.diag(R) < 0, -1.0, 1.0)[:, None])


def check(factor: Factor, A: np.ndarray, b: np.ndarray) -> None:
    expected = reference(A, b)
    np.testing.assert_allclose(factor.R, expected, rtol=0, atol=1e-11 * np.linalg.norm(expected, axis=0).max())
    assert factor.n_rows == len(A)


@pytest.mark.parametrize("make", KERNELS)
@pytest.mark.parametrize("m", [1, 2, 30, 100])
def test_steady_rows_are_accepted(make: type[Kernels], m: int) -> None:
    A, b = rows(40 * m + 7, m)
    factor = Factor(m, 1, make())
    factor.update(A, b)
    assert factor.refused == 0
    check(factor, A, b)


def test_many_rows_renew_the_preconditioner() -> None:
    A, b = rows(20_000, 5)
    factor = Factor(5, 1, Eager())
    factor.update(A, b)
    check(factor, A, b)
    assert factor.refused == 0


@pytest.mark.parametrize("make", KERNELS)
def test_rows_of_another_kind_are_refused_and_still_counted(make: type[Kernels]) -> None:
    A, b = rows(2000, 20)
    A[1000:1002] *= 1e6
    factor = Factor(20, 1, make())
    factor.update(A, b)
    assert 1 <= factor.refused <= 3
    check(factor, A, b)


def test_ever_stranger_rows_pause_the_attempts() -> None:
    A, b = rows(8000, 20)
    growth = 10.0 ** np.repeat(np.arange(100), 84)[:8000, None]
    factor = Factor(20, 1, Eager())
    factor.update(A * growth, b * growth)
    assert factor.refused < 30
    R, expected = factor.R, reference(A * growth, b * growth)
    scale = np.linalg.norm(expected, axis=0)
    np.testing.assert_allclose(R / scale, expected / scale, atol=1e-10)


@pytest.mark.parametrize("make", KERNELS)
def test_zero_columns_do_not_slow_the_rest(make: type[Kernels]) -> None:
    A, b = rows(3000, 20)
    A[:, [0, 7, 8, 19]] = 0.0
    factor = Factor(20, 1, make())
    factor.update(A, b)
    assert factor.refused == 0
    R = factor.R
    assert (R[:, [0, 7, 8, 19]] == 0).all() and (R[[0, 7, 8, 19]] == 0).all()
    live = np.setdiff1d(np.arange(21), [0, 7, 8, 19])
    expected = reference(A[:, live[:-1]], b)
    np.testing.assert_allclose(R[np.ix_(live, live)], expected, atol=1e-11 * np.linalg.norm(expected))


@pytest.mark.parametrize("make", KERNELS)
def test_columns_that_come_alive_late(make: type[Kernels]) -> None:
    A, b = rows(3000, 20)
    A[:1500, 3:6] = 0.0
    A[:2000, 19] = 0.0
    b[:400] = 0.0
    factor = Factor(20, 1, make())
    factor.update(A, b)
    assert 2 <= factor.refused <= 8
    check(factor, A, b)


@pytest.mark.parametrize("make", KERNELS)
def test_dependent_columns_do_not_slow_the_rest(make: type[Kernels]) -> None:
    rng = np.random.default_rng(5)
    A, b = rows(6000, 20)
    A = np.column_stack([A, A[:, :4], A @ rng.standard_normal((20, 6))])
    b[:] = A @ rng.standard_normal((30, 1))  # and the target is in their span
    factor = Factor(30, 1, make())
    factor.update(A, b)
    assert factor.refused <= 10
    Ab = np.column_stack([A, b])
    R = factor.R
    np.testing.assert_allclose(R.T @ R, Ab.T @ Ab, atol=1e-12 * np.linalg.norm(Ab) ** 2)
    s = np.linalg.svd(R, compute_uv=False)
    assert s[20] < 1e-13 * s[0] < s[19]


def test_a_not_finite_row_is_found_on_the_fast_path() -> None:
    for value in (np.nan, np.inf):
        for column in (0, 20):
            A, b = rows(3000, 20)
            (A if column < 20 else b)[2345, column % 20] = value
            factor = Factor(20, 1, Eager())
            with pytest.raises(NonFiniteRowError) as caught:
                factor.update(A, b)
            assert (caught.value.row, caught.value.column) == (2345, column)


def test_bits_do_not_depend_on_the_cut_into_blocks() -> None:
    A, b = rows(5000, 20)
    A[3000:3010] *= 1e5
    A[:1000, 4] = 0.0
    whole, pieces = Factor(20, 1, Eager()), Factor(20, 1, Eager())
    whole.update(A, b)
    for block in np.split(np.arange(5000), [1, 90, 700, 3005, 4999]):
        pieces.update(A[block], b[block])
    assert whole.packed().tobytes() == pieces.packed().tobytes()
    assert whole.target_squares.tobytes() == pieces.target_squares.tobytes()


def test_bits_do_not_depend_on_where_memory_is() -> None:
    A, b = rows(3000, 300)
    results = set()
    for shift in range(3):
        moved = np.zeros(A.size + 8)[shift : shift + A.size].reshape(A.shape)
        moved[:] = A
        factor = Factor(300)
        factor.update(moved, b)
        results.add(factor.packed().tobytes())
    assert len(results) == 1


def test_a_stored_factor_takes_more_rows_and_merges() -> None:
    A, b = rows(4000, 20)
    first = Factor(20, 1, Eager())
    first.update(A[:1500], b[:1500])
    stored = Factor.from_packed(first.packed(), 20, 1500)
    stored.update(A[1500:2500], b[1500:2500])
    rest = Factor(20, 1, Eager())
    rest.update(A[2500:], b[2500:])
    stored.merge(rest)
    check(stored, A, b)


def test_wide_factors_take_the_same_way() -> None:
    A, b = rows(6000, 320)
    A[:3000, 7] = 0.0
    A[5000] *= 1e7
    factor = Factor(320)
    for block in np.array_split(np.arange(6000), 4):
        factor.update(A[block], b[block])
    assert 1 <= factor.refused <= 3
    x = solve_triangular(factor.R[:320, :320], factor.R[:320, 320])
    expected = np.linalg.lstsq(A * np.logspace(0, 6, 320), b[:, 0], rcond=None)[0] * np.logspace(0, 6, 320)
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-8 * np.linalg.norm(expected))


def test_triangular_division_and_collapse() -> None:
    n, ld = 150, blas.leading(150)
    rng = np.random.default_rng(0)
    R = np.triu(rng.standard_normal((n, n))) + 20 * np.eye(n)
    A = rng.standard_normal((400, n))
    G = rng.standard_normal((n, n))
    G = G @ G.T
    for kernels in (BlasKernels(), ArrayKernels(np)):
        L, W, H = kernels.zeros(n, ld), kernels.zeros(400, ld), kernels.zeros(n, ld)
        L[:, :n], W[:, :n], H[:, :n] = R.T, A, G
        kernels.divide(kernels.divisor(L, n), W, n)
        np.testing.assert_allclose(W[:, :n] @ R, A, atol=1e-12)
        kernels.gram(W, n, H)
        np.testing.assert_allclose(np.tril(H[:, :n]), np.tril(G + W[:, :n].T @ W[:, :n]), atol=1e-11)
        kernels.collapse(L, H, n)
        new = L[:, :n].T
        np.testing.assert_allclose(new.T @ new, R.T @ (np.eye(n) + G) @ R + A.T @ A, rtol=1e-11)
        assert (H == 0).all() and (np.tril(new, -1) == 0).all()
        assert (diagonal(L, n) == np.diag(new)).all()


@pytest.mark.parametrize("n", [64, 100, 333], ids=str)
def test_division_by_ill_conditioned_blocks_is_a_substitution(n: int) -> None:
    """Inverses stand in for blocks that bear it; the residual of rows is that of dtrsm either way."""
    rng = np.random.default_rng(n)
    kernels, ld = BlasKernels(), blas.leading(n)
    columns = rng.standard_normal((4 * n, n))
    columns[:, 1::3] = columns[:, ::3][:, : len(columns[0, 1::3])] + 1e-7 * columns[:, 1::3]
    for X, some in ((rng.standard_normal((4 * n, n)), True), (columns, False)):
        R = np.linalg.qr(X * np.logspace(-6, 6, n), mode="r")
        L = kernels.zeros(n, ld)
        L[:, :n] = R.T
        divisor = kernels.divisor(L, n)
        assert bool(divisor.inverses) is some
        A = rng.standard_normal((50, n)) @ R
        W = kernels.zeros(50, ld)
        W[:, :n] = A
        kernels.divide(divisor, W, n)
        W = W[:, :n]
        assert (np.abs(W @ R - A) <= 20 * n * np.finfo(float).eps * (np.abs(W) @ np.abs(R))).all()


@pytest.mark.parametrize("n", [7, 260], ids=str)
@pytest.mark.parametrize("seed", range(3), ids=str)
def test_runs_with_weights_are_the_weighted_rows_to_the_bit(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = 9000
    A, b, w = rng.standard_normal((rows, n)), rng.standard_normal((rows, 2)), rng.uniform(0.1, 9.0, rows)
    A[:, 3] = np.where(np.arange(rows) > 6000, A[:, 3], 0.0)  # comes alive late
    once, pieces = Factor(n, 2), Factor(n, 2)
    once.update(w[:, None] * A, w[:, None] * b)
    calls = np.sort(rng.integers(0, rows, 4))
    for part in np.split(np.arange(rows), calls):
        borders = np.sort(rng.integers(0, len(part) + 1, 5))
        pieces.update_runs(np.split(A[part], borders), b[part], w[part])
    assert pieces.packed().tobytes() == once.packed().tobytes()
    assert pieces.target_squares.tobytes() == once.target_squares.tobytes() and pieces.n_rows == rows
    if n > 256:
        assert pieces.refused >= 1
    with pytest.raises(ValueError, match=r"block of shapes \(3, 7\), \(2, 6\)"):
        Factor(7).update_runs([np.zeros((3, 7)), np.zeros((2, 6))], np.zeros(5))


def test_kernels_follow_the_library_of_the_rows() -> None:
    assert isinstance(kernels_for(np.zeros(3)), BlasKernels)
    assert isinstance(kernels_for([1.0]), BlasKernels)
