"""Solving on the triangular factor."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import lstsq

from mlipstore import registry
from mlipstore.errors import SettingsError
from mlipstore.solve.factor import Factor
from mlipstore.solve.linear import penalised, reduced
from mlipstore.solvers.qr import Qr
from mlipstore.solvers.ridge import Ridge
from mlipstore.solvers.svd import Svd


def factor_of(A: np.ndarray, b: np.ndarray) -> Factor:
    factor = Factor(A.shape[1], 1 if b.ndim == 1 else b.shape[1])
    factor.update(A, b)
    return factor


def rank_deficient(rng: np.random.Generator, rows: int = 400, columns: int = 12, rank: int = 7) -> np.ndarray:
    return rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))


def test_the_plugins_are_found() -> None:
    assert {"svd", "ridge", "qr"} <= set(registry.names("solvers"))
    assert registry.make("solvers", "svd", {}).rcond == 1e-13


def test_rank_deficient_rows_have_the_minimum_norm_solution_of_lstsq() -> None:
    rng = np.random.default_rng(3)
    A, b = rank_deficient(rng), rng.standard_normal(400)
    x, _, rank, s = lstsq(A, b, cond=1e-13)
    solution = Svd().solve(factor_of(A, b))
    assert solution.rank == rank == 7
    np.testing.assert_allclose(solution.coefficients, x, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(solution.singular_values[:7], s[:7], rtol=1e-12)
    assert solution.residual_norm == pytest.approx(np.linalg.norm(A @ x - b), rel=1e-12)
    assert solution.condition == pytest.approx(s[0] / s[6], rel=1e-10)


@pytest.mark.parametrize("rcond", [1e-13, 1e-6, 1e-3, 0.5])
def test_truncation_is_that_of_lstsq(rcond: float) -> None:
    rng = np.random.default_rng(4)
    U, V = np.linalg.qr(rng.standard_normal((300, 20)))[0], np.linalg.qr(rng.standard_normal((20, 20)))[0]
    A = (U * np.logspace(0, -8, 20)) @ V.T
    b = A @ rng.standard_normal(20) + 1e-6 * rng.standard_normal(300)
    x, _, rank, _ = lstsq(A, b, cond=rcond)
    solution = Svd(rcond=rcond).solve(factor_of(A, b))
    assert solution.rank == rank
    assert np.linalg.norm(solution.coefficients - x) <= 1e-6 * np.linalg.norm(x)
    assert solution.residual_norm == pytest.approx(np.linalg.norm(A @ x - b), rel=1e-12)


@pytest.mark.parametrize("solver", [Svd(), Qr(), Svd(scale=True)])
def test_zero_and_repeated_columns(solver: Svd | Qr) -> None:
    rng = np.random.default_rng(5)
    A = rng.standard_normal((600, 6))
    A = np.column_stack([A[:, :3], np.zeros(600), A[:, 3:], A[:, 0]])
    b = rng.standard_normal(600)
    solution = solver.solve(factor_of(A, b))
    x, *_ = lstsq(A, b, cond=1e-12)
    assert solution.rank == 6
    assert solution.coefficients[3] == pytest.approx(0, abs=1e-14)
    np.testing.assert_allclose(solution.coefficients, x, atol=1e-12)
    assert solution.residual_norm == pytest.approx(np.linalg.norm(A @ x - b), rel=1e-12)


@pytest.mark.parametrize("solver", [Svd(), Qr()])
def test_fewer_rows_than_columns(solver: Svd | Qr) -> None:
    rng = np.random.default_rng(6)
    A, b = rng.standard_normal((5, 9)), rng.standard_normal(5)
    solution = solver.solve(factor_of(A, b))
    assert solution.rank == 5
    assert solution.residual_norm == pytest.approx(0, abs=1e-12)
    if isinstance(solver, Svd):
        np.testing.assert_allclose(solution.coefficients, lstsq(A, b)[0], atol=1e-12)


def test_no_rows_and_no_columns() -> None:
    for solver in (Svd(), Qr(), Ridge()):
        empty = solver.solve(Factor(4))
        assert (empty.coefficients == 0).all() and empty.residual_norm == 0 and empty.condition > 0
        nothing = solver.solve(factor_of(np.zeros((7, 0)), np.full(7, 2.0)))
        assert nothing.coefficients.shape == (0,)
        assert nothing.residual_norm == pytest.approx(2 * np.sqrt(7))


def test_scaled_columns_keep_small_units() -> None:
    rng = np.random.default_rng(7)
    A = rng.standard_normal((500, 8))
    scale = np.logspace(0, -15, 8)
    b = A @ np.ones(8) + 1e-3 * rng.standard_normal(500)
    x, *_ = lstsq(A, b)
    factor = factor_of(A * scale, b)
    for solver in (Svd(scale=True), Qr()):
        solution = solver.solve(factor)
        assert solution.rank == 8
        np.testing.assert_allclose(solution.coefficients * scale, x, rtol=1e-12)
    assert Svd().solve(factor).rank < 8


@pytest.mark.parametrize("alpha", [0.0, 1e-14, 1e-3, 10.0, 1e12])
def test_ridge_is_the_fit_with_penalty_rows(alpha: float) -> None:
    rng = np.random.default_rng(8)
    A, b = rng.standard_normal((300, 15)) * np.logspace(0, -3, 15), rng.standard_normal(300)
    x, *_ = lstsq(np.vstack([A, np.sqrt(alpha) * np.eye(15)]), np.append(b, np.zeros(15)))
    noise = 1e-14 * np.linalg.norm(b) / max(np.sqrt(alpha), 1e-3)
    solution = Ridge(alpha).solve(factor_of(A, b))
    np.testing.assert_allclose(solution.coefficients, x, rtol=1e-9, atol=noise)
    assert solution.residual_norm == pytest.approx(np.linalg.norm(A @ x - b), rel=1e-12)


def test_ridge_with_a_penalty_per_column() -> None:
    rng = np.random.default_rng(9)
    A, b = rank_deficient(rng), rng.standard_normal(400)
    alpha = np.logspace(-6, 3, 12)
    x, *_ = lstsq(np.vstack([A, np.diag(np.sqrt(alpha))]), np.append(b, np.zeros(12)))
    solution = Ridge(tuple(alpha)).solve(factor_of(A, b))
    np.testing.assert_allclose(solution.coefficients, x, rtol=1e-8)
    some = np.where(np.arange(12) < 6, 0.0, 1.0)  # unpenalised columns may stay undetermined: no failure
    assert np.isfinite(Ridge(tuple(some)).solve(factor_of(A, b)).coefficients).all()


def test_a_target_of_several() -> None:
    rng = np.random.default_rng(10)
    A, B = rng.standard_normal((200, 5)), rng.standard_normal((200, 3))
    factor = factor_of(A, B)
    for t in range(3):
        x, *_ = lstsq(A, B[:, t])
        solution = Svd().solve(factor, target=t)
        np.testing.assert_allclose(solution.coefficients, x, rtol=1e-11)
        assert solution.residual_norm == pytest.approx(np.linalg.norm(A @ x - B[:, t]), rel=1e-12)
    with pytest.raises(ValueError, match="target 3"):
        reduced(factor, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Svd(rcond=-1.0),
        lambda: Svd(rcond=2.0),
        lambda: Svd(rcond=float("nan")),
        lambda: Qr(rcond=1.5),
        lambda: Ridge(-1.0),
        lambda: Ridge(float("nan")),
        lambda: Ridge((1.0, -2.0)),
        lambda: penalised(reduced(Factor(3)), [1.0, 2.0]),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: object) -> None:
    with pytest.raises(SettingsError):
        make()  # type: ignore[operator]
