"""Configurations of one data set that the other has in other coordinates, or with a little noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..audit.pairs import buckets, evaluate
from ..audit.summary import Summary, summarise
from ..configuration import F8, Batch
from ..index import read_batch
from ..matching import Rows
from .sides import Side

#: Largest relative difference of the fingerprints of a turned copy, and of volumes per atom; and of what may be near.
TURNED, NEAR = 1e-4, 1e-3


@dataclass
class Similar:
    """How many configurations that only one side has are, in some form, also in the other.

    :param near: within 0.002 Å of one of the other side; ``turned``: with the same distances between atoms, in other
        coordinates; each ``(2,)``, of the first and of the second side
    """

    near: tuple[int, int]
    turned: tuple[int, int]


def similar(sides: tuple[Side, Side], rows: tuple[Rows, Rows], progress: Callable[[int], None]) -> Similar:
    """Look at the configurations that have no copy: summaries of 0.6 kB each, and the atoms of those that are near.

    :param rows: of the index of each side
    """
    if not all(map(len, rows)):
        return Similar((0, 0), (0, 0))
    parts = [summarise(Batch.from_configurations([]))]
    for read in _readers(sides, rows):
        batch = read()
        parts.append(summarise(batch))
        progress(len(batch))
    s = Summary.concatenate(parts)
    n = len(rows[0])
    scale = np.maximum(np.abs(s.fingerprint).max(axis=0, initial=0.0), 1e-9)
    points = np.column_stack([s.fingerprint / scale, np.nan_to_num(np.log(np.maximum(s.volume, 1e-9) / s.n_atoms))])
    first, second = _close(points, s.order, n, NEAR)
    at = np.cumsum([0, *(len(p) for p in parts[1:])])
    where = [np.arange(i, j) for i, j in pairwise(at)]
    pairs = evaluate(s, zip(where, _readers(sides, rows), strict=True), chosen=(first, second))
    near = pairs.nearly | pairs.copies
    is_near = np.zeros(len(s), bool)
    is_near[pairs.first[near]] = is_near[pairs.second[near]] = True
    first, second = _close(points, s.composition, n, TURNED)
    turned = np.zeros(len(s), bool)
    turned[first] = turned[second] = True
    turned &= ~is_near
    return Similar((int(is_near[:n].sum()), int(is_near[n:].sum())), (int(turned[:n].sum()), int(turned[n:].sum())))


def _readers(sides: tuple[Side, Side], rows: tuple[Rows, Rows]) -> Iterator[Callable[[], Batch]]:
    """What reads the configurations, a segment at a time, those of the first side first."""
    for side, mine in zip(sides, rows, strict=True):
        segment = np.searchsorted(side.index.start, mine, side="right") - 1
        for number in np.unique(segment).tolist():
            yield partial(_read, side, number, mine[segment == number] - int(side.index.start[number]))


def _read(side: Side, number: int, positions: NDArray[np.int64]) -> Batch:
    first = int(positions[0])
    batch = read_batch(side.snapshot, side.index.segments[number].name, first, int(positions[-1]) + 1)
    return batch.take(positions - first)


def _close(points: F8, key: NDArray[Any], n: int, distance: float) -> tuple[Rows, Rows]:
    """Pairs of one of the first ``n`` and one of the others, of equal keys, that are the nearest to each other."""
    first: list[Rows] = [np.zeros(0, np.int64)]
    second: list[Rows] = [np.zeros(0, np.int64)]
    known = np.flatnonzero(points[:, :-1].any(axis=1))
    for bucket in buckets(known, key):
        a, b = bucket[bucket < n], bucket[bucket >= n]
        for here, there, swap in ((a, b, False), (b, a, True)) if len(a) and len(b) else ():
            r, j = cKDTree(points[there]).query(points[here], distance_upper_bound=distance, p=np.inf)
            i = np.flatnonzero(np.isfinite(r))
            pair = here[i], there[j[i]]
            first.append(pair[1] if swap else pair[0])
            second.append(pair[0] if swap else pair[1])
    both = np.unique(np.column_stack([np.concatenate(first), np.concatenate(second)]), axis=0)
    return both[:, 0], both[:, 1]
