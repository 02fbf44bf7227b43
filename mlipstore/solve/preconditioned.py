"""Accumulation of rows on a preconditioner: the speed of a matrix product with the accuracy of Householder QR.

With R0 the factor of the rows so far, new rows A are divided by it, W = A R0^-1, and G += W^T W. As long as R0
represents the new rows, W is well conditioned even where A is not, so that forming W^T W loses nothing, and the factor
of all rows is R = chol(I + G) R0. That R0 from a few times more rows than columns is enough is the preconditioned
Cholesky-QR of Garrison and Ipsen (2024, arXiv:2406.11751); here it is applied to a stream, with a guard: rows that R0
does not represent have large W and are refused, and when G has grown R0 is replaced.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .blas import leading
from .kernels import Kernels, copy_rows, diagonal, to_host
from .zeros import runs_of

#: Largest squared column norm of W that is accepted for one chunk of rows, and in G before R0 is replaced. Its root
#: bounds the condition number of what is squared, i.e. the digits that can be lost against Householder QR.
LIMIT = 100.0
_LONGEST_PAUSE = 16
_EPS = float(np.finfo(float).eps)


class Preconditioned:
    """Rows beyond those in a transposed factor ``L``, held as G; columns that are zero so far are left out.

    While it is open, the leading part of ``L`` is the factor of the live columns alone; :meth:`close` restores it.

    :param L: ``(n, ld)``, see :mod:`mlipstore.solve.kernels`
    """

    def __init__(self, kernels: Kernels, L: Any, n: int) -> None:
        self.kernels, self.L, self.n = kernels, L, n
        self.refused = 0
        self._in_a_row = self._pause = 0
        self._live: Any = np.arange(n)
        self._is_open = False
        self._divisor: Any = None
        self._empty = True
        self._W: Any = kernels.zeros(kernels.chunk_rows(n), leading(n))
        self._G: Any = kernels.zeros(n, leading(n))

    @property
    def empty(self) -> bool:
        """Whether all rows are in ``L``."""
        return self._empty

    def accumulate(self, parts: list[tuple[Any, Any]], targets: Any) -> bool:
        """Take in rows, in arrays below each other with the weights of their rows; False if they are refused.

        :param parts: rows ``(k_i, M)`` without the targets, and weights ``(k_i,)`` or None
        :param targets: of all of them, weighted ``(k, n - M)``
        """
        if self._pause:
            self._pause -= 1
            return False
        if not self._is_open:
            self._open()
        accepted = self._try(parts, targets)
        if accepted:
            self._in_a_row = 0
        else:
            self.refused += 1
            self._in_a_row += 1
            if self._in_a_row > 2:  # most likely the next ones are refused, too: do not try each of them
                self._pause = min(2 ** (self._in_a_row - 2), _LONGEST_PAUSE)
        return accepted

    def close(self) -> None:
        """Move everything into ``L``, in its full layout."""
        if not self._is_open:
            return
        m = len(self._live)
        if not self._empty:
            self.kernels.collapse(self.L, self._G, m)
            self._empty = True
        if m < self.n:
            square = self.kernels.zeros(m, m)
            square[:] = self.L[:m, :m]
            self.L[:] = 0.0
            self.L[self._live[:, None], self._live[None, :]] = square
        self._is_open = False

    def _open(self) -> None:
        """Leave out zero columns and keep R0 invertible.

        A diagonal element below the rounding error of its column (dependent columns) is set to that rounding error,
        which changes the column by no more than storing it did.
        """
        xp, n = self.kernels.xp, self.n
        norms = xp.sqrt(xp.square(self.L[:, :n]).sum(axis=1))
        self._live = xp.flatnonzero(norms)
        m = len(self._live)
        if m < n:
            rows = self.L[self._live, :n]
            square = rows[:, self._live]
            if int(xp.count_nonzero(rows)) > int(xp.count_nonzero(square)):
                # QR of fewer rows than columns has left numbers in the rows of zero columns: they count, too
                square = xp.linalg.qr(rows.T, mode="r").T
            self.L[:] = 0.0
            self.L[:m, :m] = square
        floor = _EPS * norms[self._live]
        pivots = diagonal(self.L, m)
        pivots[:] = xp.where(xp.abs(pivots) < floor, xp.copysign(floor, pivots), pivots)
        self._divisor = self.kernels.divisor(self.L, m)
        self._is_open = True

    def _try(self, parts: list[tuple[Any, Any]], targets: Any) -> bool:
        m = len(self._live)
        W = self._W[: len(targets)]
        T = targets.shape[1]
        for i, source, target in self._copies((self.n - T, T)):
            first = 0
            for rows, weights in [(targets, None)] if i else parts:
                if target is not None:
                    copy_rows(self.kernels.xp, rows[:, source], weights, W[first : first + len(rows), target])
                elif bool(rows[:, source].any()):  # a column comes alive
                    return False
                first += len(rows)
        with np.errstate(all="ignore"):
            self.kernels.divide(self._divisor, W, m)
            squares = self.kernels.xp.einsum("ij,ij->j", W[:, :m], W[:, :m])
        largest = float(squares.max()) if m else 0.0
        if not largest <= LIMIT:  # large, or not a number
            return False
        self.kernels.gram(W, m, self._G)
        self._empty = False
        if m and float(diagonal(self._G, m).max()) > LIMIT:
            self.close()
        return True

    def _copies(self, widths: tuple[int, ...]) -> list[tuple[int, slice, slice | None]]:
        """Runs of columns that are all live or all zero: part, columns there, and columns of W (None: zero)."""
        live = np.zeros(self.n, bool)
        live[to_host(self._live)] = True
        copies: list[tuple[int, slice, slice | None]] = []
        offset = position = 0
        for i, width in enumerate(widths):
            for start, stop, alive in runs_of(live[offset : offset + width]):
                target = slice(position, position + stop - start) if alive else None
                position += stop - start if target else 0
                copies.append((i, slice(start, stop), target))
            offset += width
        return copies
