"""Any split, any order, any tree of merges: the least-squares solution of all rows, as accurate as LAPACK's QR."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import lstsq, solve_triangular

from mlipstore.solve.factor import Factor
from tests.unit.test_factor_preconditioned import Eager

F8 = np.ndarray


def orthogonal(rng: np.random.Generator, rows: int, columns: int) -> F8:
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]


def conditioned(rng: np.random.Generator, rows: int, columns: int, condition: float) -> F8:
    spectrum = np.logspace(0, -np.log10(condition), columns)
    return (orthogonal(rng, rows, columns) * spectrum) @ orthogonal(rng, columns, columns).T


def refined(A: F8, b: F8) -> F8:
    """Solution by QR and iterative refinement of the augmented system with extended-precision residuals."""
    scale = np.linalg.norm(A, axis=0)
    Q, R = np.linalg.qr(A / scale)
    wide, b_wide = (A / scale).astype(np.longdouble), b.astype(np.longdouble)
    x, r = np.zeros(A.shape[1], np.longdouble), b_wide.copy()
    for _ in range(10):
        f = (b_wide - r - wide @ x).astype(float)
        g = (-(r @ wide)).astype(float)
        h, d = solve_triangular(R, g, trans="T"), Q.T @ f
        step = solve_triangular(R, d - h)
        x, r = x + step, r + (f - Q @ (d - h))
        if np.linalg.norm(step) < 1e-18 * np.linalg.norm(x.astype(float)):
            break
    return (x / scale).astype(float)


def families(rng: np.random.Generator, rows: int, columns: int) -> dict[str, F8]:
    hard = {f"condition 1e{e}": conditioned(rng, rows, columns, 10.0**e) for e in (2, 5, 8, 10, 12, 14)}
    late = conditioned(rng, rows, columns, 1e8)
    late[: rows // 2, columns // 3 : columns // 2] = 0.0
    hard["late columns"] = late
    outliers = conditioned(rng, rows, columns, 1e8)
    outliers[rows // 2 : rows // 2 + 3] *= 1e5
    hard["outlier rows"] = outliers
    hard["heavy rows"] = np.where(rng.random(rows) < 0.1, 1e3, 1.0)[:, None] * conditioned(rng, rows, columns, 1e8)
    hard["weights over 1e8"] = 10.0 ** rng.uniform(-4, 4, rows)[:, None] * conditioned(rng, rows, columns, 1e4)
    steps = np.repeat([1e-4, 1.0, 1e4], -(-rows // 3))[:rows]
    hard["sorted weights over 1e8"] = steps[:, None] * conditioned(rng, rows, columns, 1e4)
    hard["sorted weights, heavy first"] = hard["sorted weights over 1e8"][::-1].copy()
    hard["graded columns"] = conditioned(rng, rows, columns, 10.0) * np.logspace(2, -14, columns)
    return hard


@pytest.mark.parametrize(("rows", "columns"), [(5000, 60), (3000, 300)])
def test_solution_error_is_that_of_householder_qr(rows: int, columns: int) -> None:
    rng = np.random.default_rng(1)
    for name, A in families(rng, rows, columns).items():
        b = A @ rng.standard_normal(columns)
        b += 1e-3 * np.linalg.norm(b) / np.sqrt(rows) * rng.standard_normal(rows)
        exact = refined(A, b)
        scale = np.linalg.norm(A, axis=0)  # errors in the units of each column

        def error(R: F8, exact: F8 = exact, scale: F8 = scale) -> float:
            x = solve_triangular(R[:-1, :-1], R[:-1, -1])
            return float(np.linalg.norm((x - exact) * scale) / np.linalg.norm(exact * scale))

        factor = Factor(columns)
        for block in np.array_split(np.arange(rows), 7):
            factor.update(A[block], b[block])
        bound = 10 * error(np.linalg.qr(np.column_stack([A, b]), mode="r")) + 1e-14
        assert error(factor.R) <= bound, name


problems = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "rows": st.integers(1, 1500),
        "columns": st.integers(1, 24),
        "rank": st.integers(1, 24),
        "exponent": st.integers(0, 6),
        "zero": st.booleans(),
        "eager": st.booleans(),  # accumulate on a preconditioner as soon as that is possible
    }
)


def draw(p: dict[str, int]) -> tuple[np.random.Generator, F8, F8]:
    rng = np.random.default_rng(p["seed"])
    columns, rank = p["columns"], min(p["rank"], p["columns"], p["rows"])
    A = (orthogonal(rng, p["rows"], rank) * np.logspace(0, -p["exponent"], rank)) @ orthogonal(rng, columns, rank).T
    if p["zero"]:
        A[:, rng.integers(columns)] = 0.0
    return rng, A, A @ rng.standard_normal(columns) + rng.standard_normal(p["rows"])


def empty(p: dict[str, int]) -> Factor:
    return Factor(p["columns"], 1, Eager() if p["eager"] else None)


def check_against_lstsq(factor: Factor, A: F8, b: F8) -> None:
    from mlipstore.solvers.svd import Svd

    x, _, rank, s = lstsq(A, b, cond=1e-10)
    solution = Svd(rcond=1e-10).solve(factor)
    assert factor.n_rows == len(A)
    assert solution.rank == rank
    condition = s[0] / s[rank - 1] if rank else 1.0
    size = np.linalg.norm(x) + np.linalg.norm(b) / (s[rank - 1] if rank else 1.0)
    assert np.linalg.norm(solution.coefficients - x) <= 1e-12 * condition * size
    rounding = 1e-13 * (np.linalg.norm(b) + s[0] * np.linalg.norm(x))
    assert abs(solution.residual_norm - np.linalg.norm(A @ x - b)) <= rounding
    assert abs(factor.target_squares[0] - b @ b) <= 1e-13 * (b @ b)


@settings(deadline=None, max_examples=60)
@given(problems, st.lists(st.integers(0, 1500), max_size=8), st.booleans())
def test_any_split_and_any_order_is_dense_lstsq(p: dict[str, int], cuts: list[int], shuffle: bool) -> None:
    rng, A, b = draw(p)
    order = rng.permutation(len(A)) if shuffle else np.arange(len(A))
    factor = empty(p)
    for block in np.split(order, sorted(min(c, len(A)) for c in cuts)):
        factor.update(A[block], b[block])
    check_against_lstsq(factor, A, b)
    one = empty(p)
    one.update(A[order], b[order])
    assert one.packed().tobytes() == factor.packed().tobytes()


@settings(deadline=None, max_examples=40)
@given(problems, st.integers(1, 9), st.randoms(use_true_random=False))
def test_any_tree_of_merges_is_dense_lstsq(p: dict[str, int], parts: int, random: object) -> None:
    _, A, b = draw(p)
    factors = []
    for block in np.array_split(np.arange(len(A)), parts):
        factors.append(empty(p))
        factors[-1].update(A[block], b[block])
    while len(factors) > 1:
        right = factors.pop(random.randrange(len(factors)))  # type: ignore[attr-defined]
        factors[random.randrange(len(factors))].merge(right)  # type: ignore[attr-defined]
    check_against_lstsq(factors[0], A, b)
    stored = Factor.from_packed(factors[0].packed(), p["columns"], len(A))
    assert stored.R.tobytes() == factors[0].R.tobytes()
