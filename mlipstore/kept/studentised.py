"""Residuals of rows in standard errors, and leverages: one pass over the rows of a stored model.

For a weighted training row a with residual r, ``h = a (A^T A + alpha)^-1 a^T`` is its leverage, between 0 and 1: the
share of its own label in its fitted value. Its studentised residual is ``r / (s sqrt(1 - h))``, with s the root mean
square residual of the rows of its group and kind without it (Cook and Weisberg 1982, sec. 2.2.1; one row of the error
that is usual for the kind is added to those of the group, so that groups of a few rows have a scale). For a test row,
which the fit has not seen, h has no bound and it is ``r / (s sqrt(1 + h))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..blocks import Block
from ..configuration import F8
from ..metrics import ALL, KINDS
from ..segment_labels import SegmentLabels
from ..solve.factor import Factor
from ..solve.linear import reduced
from ..solve.uncertainty import Posterior
from ..split import TEST, TRAIN
from ..store import Snapshot
from .problem import Refit

Progress = Callable[[str, int, int], None]


@dataclass
class Rows:
    """Rows of one block that have a weight.

    :param residual: label minus fitted ``(n,)`` in internal units; ``studentised``, ``leverage`` likewise
    :param outside: residual in the fit without the row
    """

    labels: SegmentLabels
    block: Block
    residual: F8
    outside: F8
    studentised: F8
    leverage: F8


class Studentised:
    """The rows of a model's training set, block by block, with what they are judged by.

    :param snapshot: holds the model
    :param test: of the test set, too
    """

    def __init__(self, found: Refit, snapshot: Snapshot, test: bool = False) -> None:
        self.problem, self._last = found.problem, TEST if test else TRAIN
        self.problem.matrix.separate = True  # labels as they are, the baseline beside them
        packed = snapshot.read(f"models/{found.model.id}/R")
        factor = Factor.from_packed(packed, len(found.x), found.model.rows)
        self._posterior, self._x = Posterior(reduced(factor), found.penalty, 1.0), found.x
        self._squares, self._counts = self._scales(found)

    def _scales(self, found: Refit) -> tuple[F8, F8]:
        """Sums of squared residuals of each group and kind, with one row of the usual error of the kind; counts."""
        groups = {g: i for i, g in enumerate(self.problem.table.groups)}
        squares, counts = np.zeros((len(groups), len(KINDS))), np.zeros((len(groups), len(KINDS)))
        for k, kind in enumerate(KINDS):
            lines = [e for e in found.model.errors if (e.kind, e.split, e.weighted) == (kind, "train", False)]
            mine = [e for e in lines if e.group in groups and e.group != ALL]
            usual = float(np.median([e.rmse for e in mine])) if mine else 0.0
            squares[:, k], counts[:, k] = usual**2, 1.0
            for e in mine:
                squares[groups[e.group], k] += e.n * e.rmse**2
                counts[groups[e.group], k] += e.n
        return squares, counts

    def rows(self, name: str, progress: Progress | None = None) -> Iterator[Rows]:
        """The rows; segments come one after another, and blocks without such rows are left out."""
        table = self.problem.table
        done, total = 0, self.problem.plan.rows
        segment, codes, split = "", np.zeros(0, np.int32), np.zeros(0, np.int8)
        for labels, block in self.problem.matrix.blocks(table.split):
            if labels.name != segment:
                segment, codes, split = labels.name, table.codes(labels), table.split(labels)
            found = self._judged(labels, block, codes, split)
            if found is not None:
                yield found
            done += len(block.b)
            if progress is not None:
                progress(name, done, total)

    def _judged(
        self, labels: SegmentLabels, block: Block, codes: NDArray[np.int32], split: NDArray[np.int8]
    ) -> Rows | None:
        w = self.problem.table.row_weights(block, codes, split, labels.n_atoms)
        used = (split[block.configuration] <= self._last) & (w > 0.0)
        if not used.any():
            return None
        block = Block(
            block.kind, block.segment, [block.A[used]], block.b[used], block.configuration[used], block.row[used]
        )
        r = block.b - block.A @ self._x
        if labels.reference is not None:
            r -= labels.reference[block.kind][block.row]
        h = w[used] ** 2 * self._posterior.leverage(block.A)
        seen = split[block.configuration] == TRAIN
        h[seen] = np.minimum(h[seen], 1.0)
        t = self._studentised(r, h, seen, codes[block.configuration], block.kind)
        return Rows(labels, block, r, np.where(seen, r / np.maximum(1.0 - h, 1e-3), r), t, h)

    def _studentised(self, r: F8, h: F8, seen: NDArray[np.bool_], code: NDArray[np.int32], kind: int) -> F8:
        squares, counts = self._squares[code, kind], self._counts[code, kind]
        free = np.where(seen, np.maximum(1.0 - h, 1e-12), 1.0 + h)
        # not less r^2 / (1 - h), as in the whole fit: of one group that may leave nothing, and any row stands out then
        others = np.maximum(squares - r**2, 1e-6 * squares) / np.maximum(counts - 1.0, 1.0)
        others = np.where(seen, others, squares / counts)
        return np.asarray(np.divide(r, np.sqrt(others * free), out=np.zeros_like(r), where=others > 0.0))


def component(kind: str, row: int, first_atom: int) -> str:
    """What a row of a configuration is of: ``atom 12 y``, ``yz``, or nothing for an energy.

    :param row: among the rows of its kind of the segment
    :param first_atom: of the configuration, among those of the segment
    """
    if kind == "force":
        return f"atom {row // 3 - first_atom} {'xyz'[row % 3]}"
    return ("xx", "yy", "zz", "yz", "xz", "xy")[row % 6] if kind == "stress" else ""
