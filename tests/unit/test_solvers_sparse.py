"""Sparse and Bayesian solvers on the factor, against scikit-learn on the rows and against brute force."""

from __future__ import annotations

import builtins
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from mlipstore import registry
from mlipstore.errors import ComputeError, MissingDependencyError, SettingsError
from mlipstore.solve.factor import Factor
from mlipstore.solvers.ard import RelevanceDetermination
from mlipstore.solvers.bayes import BayesianRidge
from mlipstore.solvers.elastic_net import ElasticNet
from mlipstore.solvers.lasso import Lasso
from mlipstore.solvers.omp import MatchingPursuit

F8 = np.ndarray


def rows(seed: int = 0, n: int = 3000, m: int = 40, nonzero: int = 6) -> tuple[F8, F8, F8]:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, m)) @ (np.eye(m) + 0.2 * rng.standard_normal((m, m)) / np.sqrt(m))
    x = np.zeros(m)
    x[rng.choice(m, nonzero, replace=False)] = rng.choice([-1.0, 1.0], nonzero) * rng.uniform(1, 3, nonzero)
    return A, A @ x + 0.1 * rng.standard_normal(n), x


def factor_of(A: F8, b: F8) -> Factor:
    factor = Factor(A.shape[1])
    factor.update(A, b)
    return factor


@pytest.mark.parametrize("alpha", [1e-3, 0.03, 0.5])
def test_lasso_and_elastic_net_are_those_on_all_rows(alpha: float) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    A, b, _ = rows()
    settings = {"fit_intercept": False, "tol": 1e-12, "max_iter": 100_000}
    full = linear.Lasso(alpha=alpha, **settings).fit(A, b).coef_
    solution = Lasso(alpha, scale=False, tol=1e-12).solve(factor_of(A, b))
    np.testing.assert_allclose(solution.coefficients, full, atol=1e-9)
    assert solution.rank == np.count_nonzero(full)
    assert solution.residual_norm == pytest.approx(np.linalg.norm(A @ full - b), rel=1e-9)
    full = linear.ElasticNet(alpha=alpha, l1_ratio=0.3, **settings).fit(A, b).coef_
    solution = ElasticNet(alpha, 0.3, scale=False, tol=1e-12).solve(factor_of(A, b))
    np.testing.assert_allclose(solution.coefficients, full, atol=1e-9)


def test_scaled_lasso_does_not_depend_on_units() -> None:
    pytest.importorskip("sklearn")
    A, b, _ = rows(1)
    units = np.logspace(-4, 4, 40)
    plain, scaled = (Lasso(0.05, tol=1e-12).solve(factor_of(M, b)) for M in (A, A * units))
    np.testing.assert_allclose(scaled.coefficients * units, plain.coefficients, atol=1e-8)


def test_lasso_that_does_not_converge_says_what_to_do() -> None:
    pytest.importorskip("sklearn")
    A, b, _ = rows(2)
    with pytest.raises(ComputeError, match="larger alpha"):
        Lasso(1e-6, max_iter=1, tol=1e-15).solve(factor_of(A, b))


def test_without_scikit_learn_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match="pip install scikit-learn"):
        Lasso(1.0).solve(factor_of(*rows()[:2]))


def test_matching_pursuit_finds_the_columns() -> None:
    A, b, x = rows(3)
    solution = MatchingPursuit(6).solve(factor_of(A, b))
    used = np.flatnonzero(x)
    assert (np.flatnonzero(solution.coefficients) == used).all()
    np.testing.assert_allclose(solution.coefficients[used], np.linalg.lstsq(A[:, used], b, rcond=None)[0], rtol=1e-10)
    assert solution.residual_norm == pytest.approx(np.linalg.norm(A @ solution.coefficients - b), rel=1e-12)


def test_matching_pursuit_is_that_of_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    A, b, _ = rows(4, nonzero=20)
    norms = np.linalg.norm(A, axis=0)
    full = linear.OrthogonalMatchingPursuit(n_nonzero_coefs=9, fit_intercept=False).fit(A / norms, b).coef_ / norms
    np.testing.assert_allclose(MatchingPursuit(9).solve(factor_of(A, b)).coefficients, full, atol=1e-10)


def test_matching_pursuit_passes_over_dependent_columns() -> None:
    A, b, _ = rows(5, m=8, nonzero=4)
    A = np.column_stack([A, A[:, :3], np.zeros(len(A))])
    solution = MatchingPursuit(12).solve(factor_of(A, b))
    assert solution.rank == 8
    best = np.linalg.norm(A @ np.linalg.lstsq(A, b, rcond=None)[0] - b)
    assert solution.residual_norm == pytest.approx(best, rel=1e-10)


def test_the_first_column_of_matching_pursuit_is_the_best_single_one() -> None:
    A, b, _ = rows(6, m=10)
    factor = factor_of(A, b)
    residuals = {
        i: np.linalg.norm(A[:, i] * (A[:, i] @ b) / (A[:, i] @ A[:, i]) - b) for (i,) in combinations(range(10), 1)
    }
    chosen = int(np.flatnonzero(MatchingPursuit(1).solve(factor).coefficients)[0])
    assert chosen == min(residuals, key=lambda i: residuals[i])


def test_relevance_determination_finds_the_columns() -> None:
    A, b, x = rows(7)
    solution = RelevanceDetermination(threshold=1e4).solve(factor_of(A, b))
    used = np.flatnonzero(x)
    assert set(used) <= set(np.flatnonzero(solution.coefficients))
    assert solution.rank <= 2 * len(used)
    np.testing.assert_allclose(solution.coefficients, x, atol=0.02)
    units = np.logspace(-6, 6, 40)
    again = RelevanceDetermination(threshold=1e4).solve(factor_of(A * units, 1e5 * b))
    np.testing.assert_allclose(again.coefficients * units / 1e5, solution.coefficients, atol=1e-8)


def test_relevance_determination_is_that_of_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    A, b, _ = rows(8, n=800, m=15, nonzero=15)
    rms, size = np.linalg.norm(A, axis=0) / np.sqrt(800), np.linalg.norm(b) / np.sqrt(800)
    estimator = linear.ARDRegression(fit_intercept=False, threshold_lambda=1e6, tol=1e-10, max_iter=1000)
    full = estimator.fit(A / rms, b / size).coef_ * size / rms
    solution = RelevanceDetermination(threshold=1e6, tol=1e-10).solve(factor_of(A, b))
    np.testing.assert_allclose(solution.coefficients, full, rtol=1e-4, atol=1e-5)


def test_bayesian_ridge_is_that_of_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    A, b, _ = rows(9, n=60, m=30, nonzero=30)
    tiny = {"alpha_1": 1e-15, "alpha_2": 1e-15, "lambda_1": 1e-15, "lambda_2": 1e-15}
    full = linear.BayesianRidge(fit_intercept=False, tol=1e-12, max_iter=5000, **tiny).fit(A, b)
    solution = BayesianRidge(scale=False).solve(factor_of(A, b))
    np.testing.assert_allclose(solution.coefficients, full.coef_, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lasso", {"alpha": 0.0}),
        ("lasso", {"alpha": float("nan")}),
        ("lasso", {"tol": 0.0}),
        ("elastic-net", {"l1_ratio": 0.0}),
        ("elastic-net", {"l1_ratio": 1.5}),
        ("elastic-net", {"alpha": -1.0}),
        ("elastic-net", {"max_iter": 0}),
        ("omp", {"n_nonzero": 0}),
        ("ard", {"threshold": -1.0}),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=name):
        registry.make("solvers", name, settings)
