"""What every solver plugin keeps: the same answer for any split of the rows, and that of dense least squares."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from scipy.linalg import lstsq

from mlipstore import registry
from mlipstore.errors import MissingDependencyError
from mlipstore.solve.factor import Factor
from mlipstore.solve.linear import Solution

#: Solvers that do plain least squares, and their settings for it.
PLAIN: dict[str, dict[str, Any]] = {"svd": {}, "qr": {}, "ridge": {"alpha": 0.0}, "omp": {"n_nonzero": 20}}
SOLVERS = registry.names("solvers")


def solve(name: str, factor: Factor, **settings: Any) -> Solution:
    try:
        solution: Solution = registry.make("solvers", name, settings).solve(factor)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    return solution


def rows(seed: int = 0, n: int = 2000, m: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, m)) * np.logspace(0, -4, m)
    return A, A @ rng.standard_normal(m) + 1e-2 * rng.standard_normal(n)


def factor_of(A: np.ndarray, b: np.ndarray, pieces: int = 1) -> Factor:
    factor = Factor(A.shape[1])
    for block in np.array_split(np.arange(len(A)), pieces):
        factor.update(A[block], b[block])
    return factor


@pytest.mark.parametrize("name", SOLVERS)
def test_is_a_frozen_dataclass_with_json_settings(name: str) -> None:
    solver = registry.make("solvers", name, {})
    assert dataclasses.is_dataclass(solver)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(solver, dataclasses.fields(solver)[0].name, 1)
    settings = registry.settings_of(solver)
    assert registry.settings_of(registry.make("solvers", name, json.loads(json.dumps(settings)))) == settings


@pytest.mark.parametrize("name", SOLVERS)
def test_any_split_gives_the_same_bits(name: str) -> None:
    A, b = rows()
    first, again = solve(name, factor_of(A, b)), solve(name, factor_of(A, b, 13))
    assert first.coefficients.tobytes() == again.coefficients.tobytes()
    assert first.residual_norm == again.residual_norm


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("seed", range(3))
def test_is_dense_least_squares(name: str, seed: int) -> None:
    A, b = rows(seed)
    order = np.random.default_rng(seed).permutation(len(A))
    solution = solve(name, factor_of(A[order], b[order], 5), **PLAIN[name])
    x, _, rank, _ = lstsq(A, b)
    np.testing.assert_allclose(solution.coefficients, x, rtol=0, atol=1e-10 * np.linalg.norm(x))
    assert solution.rank == rank


@pytest.mark.parametrize("name", SOLVERS)
def test_residual_norm_is_that_of_all_rows(name: str) -> None:
    A, b = rows(4)
    solution = solve(name, factor_of(A, b))
    assert solution.coefficients.shape == (A.shape[1],)
    residual = np.linalg.norm(A @ solution.coefficients - b)
    assert solution.residual_norm == pytest.approx(residual, rel=1e-10)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_factor_is_not_changed(name: str) -> None:
    factor = factor_of(*rows(5))
    before = factor.packed().tobytes()
    solve(name, factor)
    assert factor.packed().tobytes() == before


@pytest.mark.parametrize("name", SOLVERS)
def test_rank_deficient_rows_do_not_fail(name: str) -> None:
    A, b = rows(6)
    A = np.column_stack([A, A[:, 0], np.zeros(len(A))])
    solution = solve(name, factor_of(A, b))
    assert np.isfinite(solution.coefficients).all()
    assert solution.coefficients[-1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_no_rows_and_zero_targets_give_zero_coefficients(name: str) -> None:
    assert (solve(name, Factor(4)).coefficients == 0).all()
    A, b = rows(7)
    assert np.abs(solve(name, factor_of(A, 0 * b)).coefficients).max() == 0


@pytest.mark.parametrize("name", SOLVERS)
def test_the_noise_is_not_amplified(name: str) -> None:
    """A well-conditioned problem with little noise: every solver's defaults predict close to the targets."""
    rng = np.random.default_rng(8)
    A = rng.standard_normal((3000, 10))
    b = A[:, 3] * 2.0 + 1e-3 * rng.standard_normal(3000)
    solution = solve(name, factor_of(A, b))
    assert solution.residual_norm < 2e-3 * np.sqrt(3000)
    assert solution.coefficients[3] == pytest.approx(2.0, abs=1e-3)
