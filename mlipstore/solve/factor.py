"""The triangular factor of a stream of rows: all that a linear fit needs to know about them.

For rows A ``(N, M)`` with targets B ``(N, T)`` the factor keeps R, the triangle of the QR factorisation of ``[A | B]``:
``R^T R = [A | B]^T [A | B]``, but computed by orthogonal transformations and never by that product, which loses half of
the digits. Its size does not depend on N. With n = M + T::

    R = [ R_A  C ]      least squares:   R_A x = C,   residual norm = norm of the columns of P
        [  0   P ]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..configuration import F8
from ..errors import InputError
from .blas import leading
from .householder import Householder
from .kernels import BlasKernels, Kernels, chunk_rows, copy_rows, diagonal, kernels_for, to_host
from .preconditioned import Preconditioned
from .zeros import WIDEST, columns_of, compacted, live_columns, shared_zeros, spread

#: Rows, in units of the number of columns, that a triangle must stand for before others are divided by it.
_START = 3


class NonFiniteRowError(InputError):
    """A row has a NaN or an infinity; ``row`` counts from 0 in the block that was given."""

    def __init__(self, row: int, column: int, value: float, n_columns: int) -> None:
        what = f"column {column}" if column < n_columns else f"target {column - n_columns}"
        super().__init__(
            f"row {row} of the block has {value} in {what}; a fit needs finite rows and targets. "
            "Leave out rows without a label (their weight does not matter) and check the descriptor."
        )
        self.row, self.column, self.value, self.n_columns = row, column, value, n_columns

    def __reduce__(self) -> tuple[type, tuple[int, int, float, int]]:  # type: ignore[override]
        return type(self), (self.row, self.column, self.value, self.n_columns)


def projected_bytes(n_columns: int, n_targets: int = 1, block_rows: int = 0, zeros: bool = True) -> int:
    """Peak bytes of one :class:`Factor` while blocks of ``block_rows`` rows stream through it, one such block included.

    Independent of the number of rows: the triangle, the accumulated Gram matrix, the copy that a merge or reading ``R``
    takes, the gathered rows and the workspace of the update.

    :param zeros: whether there may be rows that are zero in many columns, which take a factor of their own
    """
    n = n_columns + n_targets
    ld, rows = leading(n), chunk_rows(n)
    width = Householder.panel_width(n)
    m = int(WIDEST * n_columns) + n_targets  # of the rows without their zero columns
    apart = 2 * m * leading(m) + 2 * chunk_rows(m) * leading(m) if zeros else 0
    return 8 * (3 * n * ld + 2 * rows * ld + apart + width * (rows + n + width + 32) + block_rows * n)


class Factor:
    """Triangular factor of rows ``[A | B]`` that arrive block by block.

    The first rows go through Householder updates; the following ones, for all but small n, are accumulated on the
    factor so far (:mod:`mlipstore.solve.preconditioned`) as long as it represents them, and go through Householder
    updates otherwise. Chunks of rows that are zero in many columns, as those of configurations without some of the
    elements are, go to a factor without these columns (:mod:`mlipstore.solve.zeros`), which is merged in when others
    come. Rows are weighted by whoever sends them.

    The bits of the result depend on the sequence of rows alone, not on how they are cut into blocks, as long as BLAS
    runs with the same number of threads (the verbs pin it to one). Rows on a GPU (CuPy arrays) are folded there.

    :param n_columns: columns M of A
    :param n_targets: columns T of B (labels, baselines, composition ...)
    :param kernels: arithmetic; that of the library of the first block when None
    """

    def __init__(self, n_columns: int, n_targets: int = 1, kernels: Kernels | None = None) -> None:
        if n_columns < 0 or n_targets < 0:
            raise ValueError(f"a factor of {n_columns} columns and {n_targets} targets does not exist")
        self.n_columns, self.n_targets = n_columns, n_targets
        self.n = n_columns + n_targets
        self.n_rows = 0
        self._kernels: Kernels = kernels or BlasKernels()
        self._chosen = kernels is not None
        self._L: Any = self._kernels.zeros(self.n, leading(self.n))
        self._squares: tuple[F8, F8] = (np.zeros(n_targets), np.zeros(n_targets))
        self._gathered: Any = None
        self._pending = 0
        self._raw = 0  # rows in L that are not a triangle yet
        self._preconditioned: Preconditioned | None = None
        self._refused = 0
        self._apart: tuple[Any, Factor] | None = None  # live columns, and the factor of rows that are zero elsewhere

    def update(self, A: ArrayLike, B: ArrayLike) -> None:
        """Fold rows A ``(rows, M)`` and their targets B ``(rows, T)`` or, for one target, ``(rows,)`` into the factor.

        Neither is changed. :class:`NonFiniteRowError` for a NaN or an infinity; the factor is then to be dropped.
        """
        self.update_runs([_array(A)], B)

    def update_runs(self, runs: Sequence[Any], B: ArrayLike, weights: Any = None) -> None:
        """:meth:`update` with rows that lie in several arrays one after another, multiplied by their weights.

        Equal to the bit to ``update(w A, w B)`` of all of them, without the copies.

        :param runs: ``(rows_i, M)`` each; B ``(rows, T)`` of all of them
        :param weights: ``(rows,)``; all one if None
        """
        b = _array(B)
        if b.ndim == 1 and self.n_targets == 1:
            b = b[:, None]
        total = sum(map(len, runs))
        if any(a.ndim != 2 or a.shape[1] != self.n_columns for a in runs) or b.shape != (total, self.n_targets):
            raise ValueError(
                f"block of shapes {', '.join(str(a.shape) for a in runs)} and {b.shape}, expected "
                f"(rows, {self.n_columns}) and (rows, {self.n_targets})"
            )
        if not self._chosen and runs:
            self._use(kernels_for(runs[0]))
        self._take(runs, b if weights is None else b * weights[:, None], weights)

    def _take(self, runs: Sequence[Any], b: Any, weights: Any) -> None:
        """Fold in rows that lie in several arrays, times their weights, and their weighted targets."""
        total, chunk, M = len(b), self._kernels.chunk_rows(self.n), self.n_columns
        start = 0
        while start < total:
            stop, refused = start + chunk - self._pending, False
            if stop <= total:
                # all that a chunk takes is there: nothing need be gathered
                parts = list(_cut(runs, weights, start, stop))
                targets = b[start:stop]
                if self._pending:
                    head = self._gathered[: self._pending]
                    parts.insert(0, (head[:, :M], None))
                    targets = self._kernels.xp.concatenate([head[:, M : self.n], targets])
                taken = self._set_apart(parts, targets, self.n_rows - self._pending + chunk, start - self._pending)
                if taken or self._accumulate(parts, targets):
                    self.n_rows += stop - start
                    self._pending = 0
                    self._add_squares(targets)
                    start = stop
                    continue
                refused = self._can_accumulate()
            if self._gathered is None:
                self._gathered = self._kernels.zeros(chunk, leading(self.n))
            stop = min(stop, total)
            rows = self._gathered[self._pending : self._pending + stop - start]
            at = 0
            for a, w in _cut(runs, weights, start, stop):
                copy_rows(self._kernels.xp, a, w, rows[at : at + len(a), :M])
                at += len(a)
            rows[:, M : self.n] = b[start:stop]
            _check_finite(rows[:, : self.n], start, M)
            self._pending += stop - start
            self.n_rows += stop - start
            if self._pending == chunk:
                self._flush(refused)
            start = stop

    def merge(self, other: Factor) -> None:
        """Fold all rows of ``other`` in (``other`` is finished by this, and otherwise unchanged)."""
        if (other.n_columns, other.n_targets) != (self.n_columns, self.n_targets):
            raise ValueError(
                f"factors of {self.n_columns} + {self.n_targets} and {other.n_columns} + {other.n_targets} columns "
                "do not go together"
            )
        other.finish()
        self.finish()
        if not self._chosen and other._chosen:
            self._use(other._kernels)
        self.n_rows += other.n_rows
        copy = self._kernels.zeros(self.n, leading(self.n))
        copy[:] = other._L if self._kernels.xp is other._kernels.xp else self._kernels.xp.asarray(to_host(other._L))
        if self.n_rows <= self.n:
            self._put(copy[:, : other.n_rows])
            self._triangulate()
        elif other.n_rows == self.n_rows:
            self._L = copy
        elif other.n_rows:
            self._merge(copy)
        self._squares = _add_pairs(self._squares, other._squares)
        self._normalise()

    def finish(self) -> None:
        """Fold in what is still gathered and release the workspace. More rows may follow."""
        if self._pending:
            self._flush()
        self._rejoin()
        self._triangulate()
        if self._preconditioned is not None:
            self._preconditioned.close()
            self._refused += self._preconditioned.refused
        self._gathered = self._preconditioned = None
        self._kernels.release()
        self._normalise()

    def move(self, kernels: Kernels) -> None:
        """Go on with other arithmetic, where it is."""
        self.finish()
        self._use(kernels)

    @property
    def refused(self) -> int:
        """Chunks of rows that the preconditioner was tried on and did not represent: they cost more time, no digits."""
        now = [self._preconditioned, None if self._apart is None else self._apart[1]]
        return self._refused + sum(part.refused for part in now if part is not None)

    @property
    def R(self) -> F8:
        """The factor ``(n, n)``: upper triangular, diagonal not negative, rows beyond the number of rows are zero."""
        self.finish()
        return np.ascontiguousarray(to_host(self._L)[:, : self.n].T)

    @property
    def target_squares(self) -> F8:
        """Sum of the squares of each target over all rows ``(T,)``, to a few units in the last place."""
        self.finish()
        return self._squares[0].copy()

    def packed(self) -> F8:
        """The upper triangle column by column ``(n (n + 1) / 2,)``, LAPACK's packed storage.

        Column j ends at element (j + 1) (j + 2) / 2, so the factor without its last columns is a beginning of it.
        """
        self.finish()
        triangle, L = np.empty(self.n * (self.n + 1) // 2), to_host(self._L)
        for j in range(self.n):
            triangle[j * (j + 1) // 2 :][: j + 1] = L[j, : j + 1]
        return triangle

    @classmethod
    def from_packed(
        cls,
        triangle: ArrayLike,
        n_columns: int,
        n_rows: int,
        n_targets: int = 1,
        target_squares: ArrayLike | None = None,
    ) -> Factor:
        """A factor from :meth:`packed`; without ``target_squares`` they are the column norms of the triangle."""
        factor = cls(n_columns, n_targets)
        triangle = np.asarray(triangle, float)
        if triangle.shape != (factor.n * (factor.n + 1) // 2,):
            raise ValueError(f"{triangle.size} numbers are not a triangle of {factor.n} columns")
        for j in range(factor.n):
            factor._L[j, : j + 1] = triangle[j * (j + 1) // 2 :][: j + 1]
        factor.n_rows = n_rows
        if target_squares is None:
            factor._squares = (_squares(factor._L[n_columns:].T), np.zeros(n_targets))
        else:
            factor._squares = (np.array(target_squares, float).reshape(n_targets), np.zeros(n_targets))
        return factor

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self.packed(), self.n_columns, self.n_rows, self.n_targets, self.target_squares)
        return Factor.from_packed, arguments

    def _use(self, kernels: Kernels) -> None:
        if kernels.xp is not self._kernels.xp:
            L, self._L = self._L, kernels.zeros(self.n, leading(self.n))
            self._L[:] = kernels.xp.asarray(to_host(L))
        self._kernels, self._chosen = kernels, True

    @property
    def _rows_here(self) -> int:
        """Rows that are neither gathered nor set apart."""
        return self.n_rows - self._pending - (0 if self._apart is None else self._apart[1].n_rows)

    def _set_apart(self, parts: list[tuple[Any, Any]], targets: Any, n_rows: int, first: int = 0) -> bool:
        """Take rows, with their weights, and weighted targets into a factor without their zero columns, if it pays.

        :param n_rows: rows so far, these included
        :param first: number of the first of them in the block that was given
        """
        M = self.n_columns
        if self._kernels.xp is not np or n_rows <= self.n or not M:
            return False
        live = live_columns(parts, int(WIDEST * M))
        if live is None:
            return False
        if self._apart is None or not np.array_equal(self._apart[0], live):
            self._rejoin()
            self._apart = live, Factor(len(live), self.n_targets, self._kernels)
        weights = None
        if any(w is not None for _, w in parts):
            weights = np.concatenate([np.ones(len(rows)) if w is None else w for rows, w in parts])
        try:
            self._apart[1]._take([columns_of(rows, live) for rows, _ in parts], targets, weights)
        except NonFiniteRowError as error:
            m = len(live)
            column = int(live[error.column]) if error.column < m else error.column - m + M
            raise NonFiniteRowError(first + error.row, column, error.value, M) from None
        return True

    def _rejoin(self) -> None:
        """Merge the rows that were set apart."""
        if self._apart is None:
            return
        live, factor = self._apart
        factor.finish()
        if self._preconditioned is not None:
            self._preconditioned.close()
        here = self._rows_here
        self._apart = None
        chosen = np.concatenate([live, np.arange(self.n_columns, self.n)])
        L = self._kernels.zeros(self.n, leading(self.n))
        spread(factor._L, chosen, L)
        self._refused += factor.refused
        if here:
            self._triangulate()
            self._merge(L)
        else:
            self._L = L

    def _merge(self, other: Any) -> None:
        """R <- R of [R; R_other]; the transposed triangle ``other`` is given up."""
        chosen = shared_zeros([self._L, other], self.n) if self._kernels.xp is np else None
        if chosen is None:
            self._kernels.merge(self._L, other, self.n)
            return
        small = compacted(self._L, chosen, self._kernels)
        self._kernels.merge(small, compacted(other, chosen, self._kernels), len(chosen))
        spread(small, chosen, self._L)

    def _can_accumulate(self) -> bool:
        """Whether there is a preconditioner, or are enough rows in the triangle to make it one."""
        enough = self._rows_here >= _START * self.n and self._kernels.preconditions(self.n)
        return self._preconditioned is not None or enough

    def _accumulate(self, parts: list[tuple[Any, Any]], targets: Any) -> bool:
        """Try to take rows, with their weights, and weighted targets in on the preconditioner."""
        if not self._can_accumulate():
            return False
        if self._preconditioned is None:
            self._preconditioned = Preconditioned(self._kernels, self._L, self.n)
        return self._preconditioned.accumulate(parts, targets)

    def _flush(self, refused: bool = False) -> None:
        """Fold the gathered rows in, by Householder transformations if the preconditioner has ``refused`` them."""
        rows, self._pending = self._pending, 0
        X = self._gathered[:rows]
        self._add_squares(X[:, self.n_columns : self.n])
        if self.n_rows <= self.n:
            self._put(X[:, : self.n].T)
            return
        self._triangulate()
        self._pending = rows
        worthwhile = rows == len(self._gathered) or (
            self._preconditioned is not None and not self._preconditioned.empty
        )
        parts, targets = [(X[:, : self.n_columns], None)], X[:, self.n_columns : self.n]
        apart = rows < len(self._gathered) and self._set_apart(parts, targets, self.n_rows)
        accepted = apart or (not refused and worthwhile and self._accumulate(parts, targets))
        self._pending = 0
        if not accepted:
            if self._preconditioned is not None:
                self._preconditioned.close()
            self._kernels.householder(self._L, X, self.n)

    def _put(self, columns: Any) -> None:
        """Keep rows, ``(n, rows)``, as they are while all rows together are not more than the columns.

        Updating a triangle that is not full yet would leave rounding errors where its rows must be zero, and making
        one of all rows each time would cost many times as much as making it once.
        """
        self._L[:, self.n_rows - columns.shape[1] : self.n_rows] = columns
        self._raw = self.n_rows

    def _triangulate(self) -> None:
        """Make a triangle of the rows that are there as they are, if some are."""
        if self._raw:
            self._kernels.triangulate(self._L, self._raw, self.n)
            self._raw = 0

    def _normalise(self) -> None:
        """Make the diagonal not negative and negative zeros positive, and round the sums of squares."""
        xp = self._kernels.xp
        self._L[:, : self.n] *= xp.where(xp.signbit(diagonal(self._L, self.n)), -1.0, 1.0)
        self._L += 0.0
        self._squares = (self._squares[0] + self._squares[1], np.zeros(self.n_targets))

    def _add_squares(self, targets: Any) -> None:
        self._squares = _add_pairs(self._squares, (_squares(to_host(targets)), np.zeros(self.n_targets)))


def _cut(runs: Sequence[Any], weights: Any, start: int, stop: int) -> Iterator[tuple[Any, Any]]:
    """Rows ``start:stop`` of arrays that lie one after another, with their weights."""
    first = 0
    for run in runs:
        low, high = max(start - first, 0), min(stop - first, len(run))
        if low < high:
            yield run[low:high], None if weights is None else weights[first + low : first + high]
        first += len(run)


def _array(values: ArrayLike) -> Any:
    return values if hasattr(values, "__array_namespace__") or hasattr(values, "get") else np.asarray(values)


def _squares(targets: Any) -> F8:
    """Sum of squares of each column; the same bits for any memory layout."""
    columns = np.array(targets.T, float, order="C")
    return np.asarray(np.einsum("ij,ij->i", columns, columns))


def _add_pairs(a: tuple[F8, F8], b: tuple[F8, F8]) -> tuple[F8, F8]:
    """Sum of two unevaluated sums high + low, with the rounding error kept (Knuth, TAOCP 2, 4.2.2)."""
    s = a[0] + b[0]
    t = s - a[0]
    return s, a[1] + b[1] + ((a[0] - (s - t)) + (b[0] - t))


def _check_finite(X: Any, first_row: int, n_columns: int) -> None:
    with np.errstate(all="ignore"):
        if np.isfinite(float(X.sum())):
            return
    host = to_host(X)
    bad = np.argwhere(~np.isfinite(host))
    if len(bad):  # otherwise finite numbers with an infinite sum
        row, column = (int(i) for i in bad[0])
        raise NonFiniteRowError(first_row + row, column, float(host[row, column]), n_columns)
