"""Regularisation and uncertainty from the factor, against formulas on the rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from mlipstore.solve.evidence import RidgePath, maximise_noise_evidence, noise_evidence
from mlipstore.solve.factor import Factor
from mlipstore.solve.linear import Reduced, reduced, ridge_solve
from mlipstore.solve.uncertainty import Posterior

F8 = np.ndarray


def rows(seed: int = 0, n: int = 200, m: int = 12, noise: float = 0.3) -> tuple[F8, F8]:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, m)) * np.logspace(0, -2, m)
    return A, A @ rng.standard_normal(m) + noise * rng.standard_normal(n)


def reduced_of(A: F8, b: F8) -> Reduced:
    factor = Factor(A.shape[1])
    factor.update(A, b)
    return reduced(factor)


ALPHAS = [0.0, 1e-10, 1e-3, 0.1, 3.0, 1e4]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_ridge_path_is_ridge(alpha: float) -> None:
    A, b = rows()
    p = reduced_of(A, b)
    path = RidgePath(p)
    x = np.linalg.solve(A.T @ A + alpha * np.eye(12), A.T @ b)
    np.testing.assert_allclose(path.coefficients(alpha), x, rtol=1e-9)
    np.testing.assert_allclose(path.coefficients(alpha), ridge_solve(p, alpha)[0], rtol=1e-9)
    assert path.residual_norm(alpha) == pytest.approx(np.linalg.norm(A @ x - b), rel=1e-12)
    assert path.penalty(alpha) == pytest.approx(x @ x, rel=1e-9)
    hat = A @ np.linalg.solve(A.T @ A + alpha * np.eye(12), A.T)
    assert path.degrees_of_freedom(alpha) == pytest.approx(np.trace(hat), rel=1e-10)
    gcv = len(b) * np.sum((b - hat @ b) ** 2) / (len(b) - np.trace(hat)) ** 2
    assert path.gcv(alpha) == pytest.approx(gcv, rel=1e-10)


def test_ridge_path_with_a_scale_per_coefficient() -> None:
    A, b = rows(1)
    scale = np.logspace(-2, 2, 12)
    x = np.linalg.solve(A.T @ A + 0.7 * np.diag(scale**-2), A.T @ b)
    np.testing.assert_allclose(RidgePath(reduced_of(A, b), scale).coefficients(0.7), x, rtol=1e-9)


def test_evidence_is_the_density_of_the_targets() -> None:
    A, b = rows(2, n=60)
    scale = np.logspace(-1, 1, 12)
    path = RidgePath(reduced_of(A, b), scale)
    for prior, noise in ((1.0, 1.0), (1e-3, 10.0), (50.0, 0.2)):
        covariance = np.eye(60) / noise + (A * scale**2) @ A.T / prior
        expected = multivariate_normal(np.zeros(60), covariance).logpdf(b)
        assert path.log_evidence(prior, noise) == pytest.approx(expected, rel=1e-11)
        factor = Factor(12)
        factor.update(A, b)
        assert noise_evidence([factor.R], [60], prior, [noise], scale)[0] == pytest.approx(expected, rel=1e-11)


def test_the_best_penalties_are_minima() -> None:
    A, b = rows(3, n=40, noise=1.0)
    path = RidgePath(reduced_of(A, b))
    best = path.minimise_gcv()
    assert all(path.gcv(best) <= path.gcv(best * f) * (1 + 1e-12) for f in (1e-6, 0.1, 0.9, 1.1, 10.0, 1e6))
    prior, noise = path.maximise_evidence()
    top = path.log_evidence(prior, noise)
    for f in (0.5, 0.99, 1.01, 2.0):
        assert path.log_evidence(prior * f, noise) <= top + 1e-9
        assert path.log_evidence(prior, noise * f) <= top + 1e-9
    assert 0.5 < noise < 2.0  # the noise that was put in


def test_noise_of_each_kind_is_found() -> None:
    rng = np.random.default_rng(4)
    true = rng.standard_normal(10)
    triangles, counts, blocks = [], [], []
    for n, sigma in ((100, 0.01), (200, 1.0), (100, 30.0)):
        A = rng.standard_normal((n, 10)) * np.logspace(0, -1, 10)
        b = A @ true + sigma * rng.standard_normal(n)
        factor = Factor(10)
        factor.update(A, b)
        triangles.append(factor.R)
        counts.append(n)
        blocks.append((A, b))
    value, gradient, mean = noise_evidence(triangles, counts, 0.5, [1.0, 2.0, 0.1])
    everything = np.concatenate([A for A, _ in blocks])
    covariance = everything @ everything.T / 0.5 + np.diag(np.repeat([1.0, 0.5, 10.0], counts))
    targets = np.concatenate([b for _, b in blocks])
    assert value == pytest.approx(multivariate_normal(np.zeros(400), covariance).logpdf(targets), rel=1e-10)
    numeric = approx_fprime(
        np.log([0.5, 1.0, 2.0, 0.1]),
        lambda v: noise_evidence(triangles, counts, float(np.exp(v[0])), np.exp(v[1:]))[0],
        1e-6,
    )
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-2)
    weights = np.repeat([1.0, 2.0, 0.1], counts)
    expected = np.linalg.solve(
        0.5 * np.eye(10) + (everything.T * weights) @ everything, everything.T @ (weights * targets)
    )
    np.testing.assert_allclose(mean, expected, rtol=1e-9)
    best = maximise_noise_evidence(triangles, counts)
    np.testing.assert_allclose(best.noise**-0.5, [0.01, 1.0, 30.0], rtol=0.25)
    np.testing.assert_allclose(best.coefficients, true, atol=0.02)
    assert best.log_evidence > value
    again = maximise_noise_evidence(triangles, counts, start=[1.0, 1.0, 1.0])
    assert again.log_evidence == pytest.approx(best.log_evidence, abs=1e-4)


def test_leverage_variance_and_left_out_residuals() -> None:
    A, b = rows(5)
    posterior = Posterior(reduced_of(A, b))
    x, *_ = np.linalg.lstsq(A, b, rcond=None)
    r = b - A @ x
    inverse = np.linalg.inv(A.T @ A)
    hat = np.einsum("ij,jk,ik->i", A, inverse, A)
    np.testing.assert_allclose(posterior.coefficients, x, rtol=1e-10)
    np.testing.assert_allclose(posterior.leverage(A), hat, rtol=1e-10)
    assert posterior.sigma == pytest.approx(np.sqrt(r @ r / (200 - 12)), rel=1e-11)
    np.testing.assert_allclose(posterior.covariance(), posterior.sigma**2 * inverse, rtol=1e-8)
    for i in (0, 17):
        without = np.delete(np.arange(200), i)
        y, *_ = np.linalg.lstsq(A[without], b[without], rcond=None)
        assert posterior.left_out(A[i : i + 1], r[i : i + 1])[0] == pytest.approx(b[i] - A[i] @ y, rel=1e-9)
    members = posterior.committee(4000, seed=1)
    spread = np.std(A[:5] @ members, axis=1)
    np.testing.assert_allclose(spread, np.sqrt(posterior.variance(A[:5])), rtol=0.1)
    assert (members == posterior.committee(4000, seed=1)).all()


def test_posterior_with_a_prior() -> None:
    A, b = rows(6)
    alpha = np.logspace(-3, 1, 12)
    posterior = Posterior(reduced_of(A, b), alpha, sigma=0.25)
    inverse = np.linalg.inv(A.T @ A + np.diag(alpha))
    np.testing.assert_allclose(posterior.coefficients, inverse @ A.T @ b, rtol=1e-9)
    np.testing.assert_allclose(posterior.covariance(), 0.0625 * inverse, rtol=1e-8, atol=1e-15)
    free = Posterior(reduced_of(A, b), alpha)
    used = np.trace(A @ inverse @ A.T)
    r = b - A @ inverse @ A.T @ b
    assert free.sigma == pytest.approx(np.sqrt(r @ r / (200 - used)), rel=1e-10)


def test_what_the_rows_do_not_determine_has_infinite_variance() -> None:
    A, b = rows(7)
    A[:, 4] = 0.0
    A[:, 6] = A[:, 5]
    posterior = Posterior(reduced_of(A, b))
    assert posterior.rank == 10
    assert np.isfinite(posterior.leverage(A)).all()
    unseen = np.zeros((2, 12))
    unseen[0, 4] = 1.0
    unseen[1, 5] = 1.0
    assert np.isinf(posterior.leverage(unseen)).all()
    assert np.sum(posterior.leverage(A)) == pytest.approx(10, rel=1e-9)


def test_no_rows_and_no_columns() -> None:
    nothing = Posterior(reduced(Factor(3)))
    assert nothing.rank == 0 and np.isinf(nothing.sigma)
    assert np.isinf(nothing.leverage(np.ones((1, 3)))).all()
    path = RidgePath(reduced_of(np.zeros((5, 0)), np.ones(5)))
    assert path.coefficients(1.0).shape == (0,) and path.residual_norm(1.0) == pytest.approx(np.sqrt(5))
