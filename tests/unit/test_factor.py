"""The triangular factor: what is in it, how it is stored, what it refuses."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mlipstore.solve.factor import Factor, NonFiniteRowError, projected_bytes
from mlipstore.solve.kernels import chunk_rows


def problem(rows: int, columns: int, targets: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, columns)), rng.standard_normal((rows, targets))


def reference(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    R = np.linalg.qr(np.column_stack([A, B]), mode="r")
    return R * np.where(np.diag(R) < 0, -1.0, 1.0)[:, None]


@pytest.mark.parametrize(("rows", "columns", "targets"), [(3000, 17, 1), (700, 64, 3), (2500, 300, 1), (900, 256, 2)])
def test_triangle_is_that_of_lapack(rows: int, columns: int, targets: int) -> None:
    A, B = problem(rows, columns, targets)
    factor = Factor(columns, targets)
    factor.update(A, B)
    R = factor.R
    assert R.shape == (columns + targets,) * 2
    assert (np.diag(R) >= 0).all() and (np.tril(R, -1) == 0).all()
    np.testing.assert_allclose(R, reference(A, B), rtol=0, atol=1e-12 * np.linalg.norm(A))
    assert factor.n_rows == rows
    np.testing.assert_allclose(factor.target_squares, (B**2).sum(axis=0), rtol=1e-14)


def test_bits_do_not_depend_on_the_cut_into_blocks() -> None:
    A, B = problem(5000, 40)
    whole = Factor(40)
    whole.update(A, B)
    pieces = Factor(40)
    start = 0
    for size in [1, 7, 600, 0, 3000, 2, 1390]:
        pieces.update(A[start : start + size], B[start : start + size])
        start += size
    assert start == 5000
    assert whole.packed().tobytes() == pieces.packed().tobytes()
    assert whole.target_squares.tobytes() == pieces.target_squares.tobytes()


def test_blocks_are_not_changed_and_may_have_any_layout() -> None:
    A, B = problem(1500, 12)
    before = A.copy(), B.copy()
    plain, odd = Factor(12), Factor(12)
    plain.update(A, B)
    odd.update(np.asfortranarray(A), B[:, 0])
    np.testing.assert_array_equal(A, before[0])
    np.testing.assert_array_equal(B, before[1])
    assert plain.packed().tobytes() == odd.packed().tobytes()


@pytest.mark.parametrize("rows", [1050, 1101, 1500])
def test_rows_up_to_the_number_of_columns_are_factored_at_once(rows: int) -> None:
    """More columns than a chunk has rows: whatever the cut, the bits are equal; a finish in between changes no more
    than rounding."""
    A, B = problem(rows, 1100)
    whole, pieces, finished = Factor(1100), Factor(1100), Factor(1100)
    whole.update(A, B)
    for part in np.split(np.arange(rows), [700, 1040]):
        pieces.update(A[part], B[part])
        finished.update(A[part], B[part])
        finished.finish()
    assert whole.packed().tobytes() == pieces.packed().tobytes()
    R = whole.R
    assert (R[rows:] == 0).all() and (np.tril(R, -1) == 0).all()
    least = min(rows, 1101)
    np.testing.assert_allclose(R[:least], reference(A, B), rtol=0, atol=1e-9)
    np.testing.assert_allclose(finished.R, R, rtol=0, atol=1e-9)


@pytest.mark.parametrize("rows", [0, 1, 5, 11, 12])
def test_fewer_rows_than_columns_gives_zero_rows(rows: int) -> None:
    A, B = problem(rows, 12)
    factor = Factor(12)
    factor.update(A, B)
    R = factor.R
    assert (R[rows:] == 0).all()
    Ab = np.column_stack([A, B])
    np.testing.assert_allclose(R.T @ R, Ab.T @ Ab, atol=1e-12)


def test_merge_is_the_factor_of_all_rows() -> None:
    A, B = problem(2000, 30, 2)
    parts = []
    for piece in np.array_split(np.arange(2000), [3, 20, 900]):
        part = Factor(30, 2)
        part.update(A[piece], B[piece])
        parts.append(part)
    total = Factor(30, 2)
    for part in parts:
        total.merge(part)
    np.testing.assert_allclose(total.R, reference(A, B), atol=1e-12)
    assert total.n_rows == 2000
    np.testing.assert_allclose(total.target_squares, (B**2).sum(axis=0), rtol=1e-14)
    with pytest.raises(ValueError, match="do not go together"):
        total.merge(Factor(30, 1))


def test_rows_may_follow_a_merge_and_a_finish() -> None:
    A, B = problem(1800, 10)
    factor, other = Factor(10), Factor(10)
    factor.update(A[:700], B[:700])
    other.update(A[700:1000], B[700:1000])
    factor.merge(other)
    factor.update(A[1000:1300], B[1000:1300])
    factor.finish()
    factor.update(A[1300:], B[1300:])
    np.testing.assert_allclose(factor.R, reference(A, B), atol=1e-12)


def test_packed_round_trip_and_leading_triangle() -> None:
    A, B = problem(900, 25, 2)
    factor = Factor(25, 2)
    factor.update(A, B)
    packed = factor.packed()
    assert packed.shape == (27 * 28 // 2,)
    again = Factor.from_packed(packed, 25, factor.n_rows, 2, factor.target_squares)
    assert again.R.tobytes() == factor.R.tobytes()
    assert again.packed().tobytes() == packed.tobytes()
    assert (again.target_squares == factor.target_squares).all()
    sent = pickle.loads(pickle.dumps(factor))
    assert sent.packed().tobytes() == packed.tobytes()
    assert (sent.n_rows, sent.target_squares.tobytes()) == (900, factor.target_squares.tobytes())
    first = Factor.from_packed(packed[: 26 * 27 // 2], 25, 900, 1)
    np.testing.assert_array_equal(first.R, factor.R[:26, :26])
    np.testing.assert_allclose(first.target_squares, factor.target_squares[:1], rtol=1e-14)
    with pytest.raises(ValueError, match="not a triangle"):
        Factor.from_packed(packed[:-1], 25, 900, 2)


def test_threads_do_not_disturb_each_other() -> None:
    problems = [problem(4000, 280, seed=i) for i in range(4)]

    def work(rows: tuple[np.ndarray, np.ndarray]) -> bytes:
        factor = Factor(280)
        factor.update(*rows)
        return factor.packed().tobytes()

    alone = [work(rows) for rows in problems]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, problems)) == alone


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (1499, 3), (700, 5)])
def test_numbers_that_are_not_finite_are_refused_by_row(value: float, row: int, column: int) -> None:
    A, B = problem(1500, 5)
    (A[row] if column < 5 else B[row])[column % 5] = value
    factor = Factor(5)
    with pytest.raises(NonFiniteRowError, match=f"row {row} of the block") as caught:
        factor.update(A, B)
    assert caught.value.row == row
    assert ("target 0" if column == 5 else f"column {column}") in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_huge_finite_numbers_are_not_refused() -> None:
    A, B = problem(600, 4)
    factor = Factor(4)
    factor.update(A * 1e300, B)
    np.testing.assert_allclose(factor.R[:4, :4], reference(A * 1e300, B)[:4, :4], rtol=1e-10)


def test_wrong_shapes_are_named() -> None:
    factor = Factor(5)
    with pytest.raises(ValueError, match=r"expected \(rows, 5\)"):
        factor.update(np.zeros((3, 4)), np.zeros(3))
    with pytest.raises(ValueError, match="expected"):
        factor.update(np.zeros((3, 5)), np.zeros(2))


def test_projected_bytes_bounds_what_is_held() -> None:
    factor = Factor(300)
    factor.update(*problem(2 * chunk_rows(301), 300))
    import tracemalloc

    tracemalloc.start()
    probe = Factor(300)
    A, B = problem(4000, 300)
    probe.update(A, B)
    probe.merge(factor)
    _ = probe.R
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= projected_bytes(300, 1, 4000) * 1.05


@pytest.mark.parametrize("columns", [40, 300, 700])
def test_columns_that_are_zero_in_some_rows(columns: int) -> None:
    """As the rows of alloys are: those of configurations of one element have zeros in the columns of the others."""
    chunk, third = chunk_rows(columns + 1), columns // 3
    A, B = problem(2 * chunk, columns)  # once: a sign that is flipped twice is right again
    A[:chunk, 2 * third :] = 0.0
    A[chunk:, :third] = 0.0
    factor = Factor(columns)
    factor.update(A, B)
    np.testing.assert_allclose(factor.R, reference(A, B), rtol=0, atol=1e-12 * np.linalg.norm(A))
