"""Rows that are zero in many columns, as those of configurations without some of the elements are."""

from __future__ import annotations

import numpy as np
import pytest

from mlipstore.solve import factor as factor_module
from mlipstore.solve.factor import Factor, NonFiniteRowError
from mlipstore.solve.kernels import chunk_rows


def rows_of_elements(patterns: list[tuple[str, int]], per_element: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows with ``per_element`` columns for each of A, B and C, zero for the elements that a pattern does not name."""
    rng = np.random.default_rng(seed)
    A = np.zeros((sum(n for _, n in patterns), 3 * per_element))
    first = 0
    for present, n in patterns:
        for element in present:
            at = "ABC".index(element) * per_element
            A[first : first + n, at : at + per_element] = rng.standard_normal((n, per_element))
        first += n
    return A * np.logspace(0, -5, A.shape[1]), rng.standard_normal((len(A), 1))


def triangle(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    R = np.linalg.qr(np.column_stack([A, b]), mode="r")
    return np.asarray(R * np.where(np.diag(R) < 0, -1.0, 1.0)[:, None])


def check(factor: Factor, A: np.ndarray, b: np.ndarray) -> None:
    """R^T R is compared column by column: R itself is not unique where columns are zero."""
    R, Ab = factor.R, np.column_stack([A, b])
    scale = np.linalg.norm(Ab, axis=0)
    scale[scale == 0] = 1.0
    np.testing.assert_allclose((R / scale).T @ (R / scale), (Ab / scale).T @ (Ab / scale), rtol=0, atol=1e-12)
    assert (np.tril(R, -1) == 0).all() and (np.diag(R) >= 0).all()
    assert factor.n_rows == len(A)
    np.testing.assert_allclose(factor.target_squares, np.square(b).sum(axis=0), rtol=1e-14)


@pytest.mark.parametrize("per_element", [5, 37, 120])
@pytest.mark.parametrize(
    "patterns",
    [
        [("A", 5000)],
        [("C", 5000)],
        [("AC", 3000), ("B", 2500)],
        [("ABC", 2500), ("B", 3100), ("ABC", 2600)],
        [("A", 1700), ("B", 1700), ("C", 1700), ("A", 1700), ("", 900), ("AB", 40), ("ABC", 2100)],
        [("A", 60), ("ABC", 50), ("B", 800)],
    ],
    ids=lambda p: "-".join(f"{present or 'none'}{n}" for present, n in p),
)
def test_the_factor_is_that_of_all_rows(patterns: list[tuple[str, int]], per_element: int) -> None:
    A, b = rows_of_elements(patterns, per_element)
    factor = Factor(3 * per_element)
    factor.update(A, b)
    check(factor, A, b)
    if patterns[-1][0] == "ABC":
        expected = triangle(A, b)
        np.testing.assert_allclose(factor.R, expected, rtol=0, atol=1e-11 * np.linalg.norm(expected))


def test_zero_columns_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    make = factor_module.Factor.__init__

    def counted(self: Factor, n_columns: int, *arguments: object) -> None:
        widths.append(n_columns)
        make(self, n_columns, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(factor_module.Factor, "__init__", counted)
    A, b = rows_of_elements([("A", 4000), ("BC", 4000), ("ABC", 1000)], 30)
    factor = Factor(90)
    factor.update(A, b)
    assert widths == [90, 30, 60]
    check(factor, A, b)


@pytest.mark.parametrize("per_element", [12, 100], ids=str)
def test_bits_do_not_depend_on_the_cut_into_blocks(per_element: int) -> None:
    A, b = rows_of_elements([("A", 2900), ("BC", 1000), ("ABC", 1500), ("BC", 2200), ("B", 1500)], per_element)
    w = np.random.default_rng(1).uniform(0.1, 9.0, len(A))
    whole = Factor(3 * per_element)
    whole.update(w[:, None] * A, w[:, None] * b)
    rng = np.random.default_rng(2)
    pieces = Factor(3 * per_element)
    for part in np.split(np.arange(len(A)), np.sort(rng.integers(0, len(A), 9))):
        borders = np.sort(rng.integers(0, len(part) + 1, 3))
        pieces.update_runs(np.split(A[part], borders), b[part], w[part])
    assert pieces.packed().tobytes() == whole.packed().tobytes()
    check(whole, w[:, None] * A, w[:, None] * b)


def test_merged_triangles_and_later_rows() -> None:
    parts = [rows_of_elements([(present, 3000)], 20, seed) for seed, present in enumerate(["A", "A", "C", "AB", "ABC"])]
    joined = Factor(60)
    for A, b in parts[:4]:
        one = Factor(60)
        one.update(A, b)
        joined.merge(one)
    joined.update(*parts[4])
    check(joined, np.concatenate([A for A, _ in parts]), np.concatenate([b for _, b in parts]))


@pytest.mark.parametrize("columns", [40, 1100], ids=str)
def test_a_column_that_is_always_zero(columns: int) -> None:
    """Of more columns than a chunk has rows, too: the first rows are then a trapezoid."""
    rng = np.random.default_rng(3)
    A, b = rng.standard_normal((5 * columns, columns)), rng.standard_normal((5 * columns, 1))
    A[:, 5] = 0.0
    factor = Factor(columns)
    factor.update(A, b)
    check(factor, A, b)


@pytest.mark.parametrize("row, column", [(0, 3), (900, 14), (2600, 11), (2600, 15)], ids=str)
def test_a_number_that_is_not_finite_is_named(row: int, column: int) -> None:
    A, b = rows_of_elements([("C", 3000)], 5)
    (A if column < 15 else b)[row, column % 15] = np.nan
    factor = Factor(15)
    factor.update(A[:100], b[:100]) if row >= 100 else None
    first = 100 if row >= 100 else 0
    with pytest.raises(NonFiniteRowError, match=f"row {row - first} of the block") as caught:
        factor.update(A[first:], b[first:])
    assert ("target 0" if column == 15 else f"column {column}") in str(caught.value)
    assert chunk_rows(16) == 768
