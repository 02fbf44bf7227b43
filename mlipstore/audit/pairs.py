"""Pairs of configurations that differ little: what their energies, forces and stresses have to say about each other.

For two configurations of the same atoms in the same order, with cells h1, h2 and M = h1^-1 h2, to third order

    E2 - E1 = V sigma : eps - F . u,    eps = sym(M) - 1,

with sigma, F and V the mean of both ends and u what atoms move beyond what the cell takes along (ASE signs).
With equal cells that is the test of energies against forces, with u = 0 of energies against stress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..configuration import F8, Batch
from .summary import Summary

I8 = NDArray[np.int64]
#: Configurations of one group, species order (and cell) that are taken as the first of a pair.
CENTRES = 400
#: Following configurations of the same cell that each is paired with; nearest cells that each is paired with.
FOLLOWING, NEAREST = 6, 8
#: Groups with up to so many different cells have each with each.
ALL_CELLS = 64
#: Å: displacements of pairs, and of what is not displaced.
LEAST, MOST = 1e-3, 0.2
MOST_STRAINED = 0.3
#: Å: of cell and positions, below which configurations are nearly the same; how many are looked at of each.
NEARLY, NEARLY_EACH = 2e-3, 3
#: Components of the strain.
LEAST_STRAIN, MOST_STRAIN = 1e-4, 0.08
#: Å: cells that are the same.
SAME_CELL = 1e-3
#: Atoms that are held at most while pairs are computed (48 bytes each).
HELD = 4_000_000
_DIAGONAL = ((0, 0), (1, 1), (2, 2))
_SHEAR = ((1, 2), (0, 2), (0, 1))


@dataclass
class Pairs:
    """Columns ``(p,)`` over pairs.

    :param first, second: the two configurations; ``group``: their group
    :param energy: E2 - E1 in eV
    :param work: ``-F . u`` in eV; ``stretch``: V times the three diagonal products sigma_aa eps_aa, summed
    :param shear: ``(p, 3, 3)``: V sigma_k 2 eps_ab for stored components k = yz xz xy, strains ab = yz xz xy
    :param moved: largest displacement in Å, ``strain``: largest component of M - 1
    :param one_group: whether the pair is one of the sample of a group; ``cells``: largest difference of the cells in Å
    :param copies: whether they are exact copies
    :param forces: whether both have forces that are not all zero, ``stress``: whether both have a stress
    """

    first: I8
    second: I8
    group: NDArray[np.int32]
    energy: F8
    work: F8
    stretch: F8
    shear: F8
    moved: F8
    strain: F8
    forces: NDArray[np.bool_]
    zero_forces: NDArray[np.bool_]
    stress: NDArray[np.bool_]
    one_group: NDArray[np.bool_]
    cells: F8
    copies: NDArray[np.bool_]
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.first)

    @property
    def displaced(self) -> NDArray[np.bool_]:
        """Same group and cell, and atoms moved a little."""
        return np.asarray(self.one_group & (self.strain <= LEAST_STRAIN) & (self.moved > LEAST) & (self.moved < MOST))

    @property
    def strained(self) -> NDArray[np.bool_]:
        """Cells that differ a little, both with a stress, and atoms that do not move much in them."""
        return np.asarray(
            self.one_group & (self.strain > LEAST_STRAIN) & (self.strain < MOST_STRAIN) & (self.moved < MOST_STRAINED)
            & self.stress & (self.forces | (self.moved < 3e-3))
        )  # fmt: skip

    @property
    def nearly(self) -> NDArray[np.bool_]:
        """Nearly the same configuration, but not a copy."""
        return np.asarray((self.cells < NEARLY) & (self.moved < NEARLY) & ~self.copies)


def candidates(s: Summary) -> tuple[I8, I8, NDArray[np.bool_]]:
    """Which pairs are worth a look, by cells alone: first and second of each, and whether they sample a group.

    Up to ``CENTRES`` of each group and kind with the ``FOLLOWING`` next ones of the same cell and the ``NEAREST``
    ones whose cells differ least; and configurations anywhere that look alike.
    """
    ready = np.isfinite(s.energy) & s.pbc.any(axis=1)
    cell = np.rint(s.cell.reshape(len(s), 9) / SAME_CELL).astype(np.int64)
    first: list[I8] = []
    second: list[I8] = []
    for bucket in buckets(np.flatnonzero(ready & s.has_force & (s.n_atoms > 1)), s.group, s.order, *cell.T):
        centres = np.arange(min(len(bucket), CENTRES))
        for step in range(1, FOLLOWING + 1):
            at = centres[centres + step < len(bucket)]
            first.append(bucket[at])
            second.append(bucket[at + step])
    for bucket in buckets(np.flatnonzero(ready & s.has_stress & ~s.zero_stress), s.group, s.order):
        cells = s.cell[bucket].reshape(-1, 9)
        chosen = np.unique(np.linspace(0, len(bucket) - 1, min(len(bucket), CENTRES)).astype(np.int64))
        # cells that are equal say nothing about stress: each of them once
        _, once = np.unique(np.rint(cells / SAME_CELL), axis=0, return_index=True)
        if len(once) < 2:
            continue
        k = len(once) if len(once) <= ALL_CELLS else NEAREST + 1
        _, j = cKDTree(cells[once]).query(cells[chosen], k=k)
        a = np.repeat(bucket[chosen], k)
        b = bucket[once][j.reshape(-1)]
        first.append(np.minimum(a, b)[a != b])
        second.append(np.maximum(a, b)[a != b])
    a, b = _alike(s)
    sampled = sum(map(len, first))
    keys = np.concatenate([*first, a]) * len(s) + np.concatenate([*second, b])
    unique, at = np.unique(keys, return_index=True)  # the first of equal ones, so a sampled one if there is one
    return unique // max(len(s), 1), unique % max(len(s), 1), at < sampled


def _alike(s: Summary) -> tuple[I8, I8]:
    """Configurations whose fingerprints and cells are nearly equal, copies aside."""
    _, once = np.unique(s.geometry.view("V16").ravel(), return_index=True)
    scale = np.maximum(np.abs(s.fingerprint).max(axis=0, initial=0.0), 1e-9)
    found: list[I8] = [np.zeros((0, 2), np.int64)]
    for bucket in buckets(np.sort(once)[s.fingerprint[np.sort(once)].any(axis=1)], s.order):
        points = np.column_stack([s.fingerprint[bucket] / scale, s.cell[bucket].reshape(-1, 9) / 10.0])
        k = min(NEARLY_EACH + 1, len(bucket))
        r, j = cKDTree(points).query(points, k=k, distance_upper_bound=1e-3)
        i, c = np.nonzero(np.isfinite(r))
        pairs = np.column_stack([bucket[i], bucket[j[i, c]]])
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    both = np.concatenate(found)
    return both[:, 0], both[:, 1]


def buckets(which: I8, *keys: NDArray[np.generic]) -> Iterable[I8]:
    """Configurations with equal keys, in order; those of two or more."""
    if not len(which):
        return
    order = which[np.lexsort([k[which] for k in keys[::-1]])]
    same = np.ones(len(order) - 1, bool)
    for k in keys:
        same &= k[order[1:]] == k[order[:-1]]
    for part in np.split(order, np.flatnonzero(~same) + 1):
        if len(part) > 1:
            yield np.sort(part)


@np.errstate(all="ignore")
def evaluate(
    s: Summary,
    batches: Iterable[tuple[I8, Callable[[], Batch]]],
    progress: Callable[[int], None] | None = None,
    chosen: tuple[I8, I8] | None = None,
) -> Pairs:
    """Compute the candidates while configurations stream by once more.

    :param batches: which configurations of the summary each batch holds (-1: none of it), and how to read it
    :param chosen: these pairs, the first before the second, instead of the candidates
    """
    first, second, sampled = candidates(s) if chosen is None else (*chosen, np.zeros(len(chosen[0]), bool))
    n = len(first)
    out = Pairs(
        first, second, s.group[first], s.energy[second] - s.energy[first], np.full(n, np.nan), np.full(n, np.nan),
        np.full((n, 3, 3), np.nan), np.full(n, np.inf), np.full(n, np.inf), np.zeros(n, bool), np.zeros(n, bool),
        s.has_stress[first] & s.has_stress[second], sampled & (s.group[first] == s.group[second]),
        np.abs(s.cell[first] - s.cell[second]).max(axis=(1, 2), initial=0.0),
        (s.geometry[first] == s.geometry[second]).all(axis=1),
    )  # fmt: skip
    inverse = _inverses(s)
    last_use = np.full(len(s), -1, np.int64)
    np.maximum.at(last_use, first, second)
    np.maximum.at(last_use, second, second)
    start = np.searchsorted(second[np.argsort(second, kind="stable")], np.arange(len(s) + 1))
    by_second = np.argsort(second, kind="stable")
    held: dict[int, tuple[F8, F8]] = {}
    atoms = 0
    seen = 0
    for where, read in batches:
        wanted = where[where >= 0]
        if len(wanted) and (last_use[wanted] >= 0).any():
            batch = read()
            for position, i in enumerate(where.tolist()):
                if i < 0 or last_use[i] < 0:
                    continue
                a, b = batch.atom_start[position], batch.atom_start[position + 1]
                here = batch.position[a:b].copy(), batch.force[a:b].copy()
                for p in by_second[start[i] : start[i + 1]].tolist():
                    other = held.get(int(first[p]))
                    if other is None:
                        out.dropped += 1
                    else:
                        _compute(out, p, s, inverse, other, here)
                if last_use[i] > i:
                    held[i] = here
                    atoms += len(here[0])
            done = [i for i in held if last_use[i] <= int(wanted.max())]
            for i in done:
                atoms -= len(held.pop(i)[0])
            while atoms > HELD:
                atoms -= len(held.pop(next(iter(held)))[0])
        seen += len(wanted)
        if progress is not None:
            progress(seen)
    return _select(out, np.isfinite(out.work) & np.isfinite(out.energy))


def _select(pairs: Pairs, keep: NDArray[np.bool_]) -> Pairs:
    values: dict[str, Any] = {f.name: getattr(pairs, f.name) for f in fields(Pairs)}
    taken: dict[str, Any] = {k: v if isinstance(v, int) else v[keep] for k, v in values.items()}
    return Pairs(**taken)


def _inverses(s: Summary) -> F8:
    """Inverse of each cell ``(n, 3, 3)``: the pseudo-inverse of its periodic vectors, NaN where there is none."""
    lattice = np.where(s.pbc[:, :, None], s.cell, 0.0)
    out: F8 = np.full((len(s), 3, 3), np.nan)
    whole = s.pbc.all(axis=1) & (np.abs(np.linalg.det(lattice)) > 1e-9)
    out[whole] = np.linalg.inv(lattice[whole])
    partly = s.pbc.any(axis=1) & ~s.pbc.all(axis=1)
    out[partly] = np.linalg.pinv(lattice[partly])
    return out


def _compute(out: Pairs, p: int, s: Summary, inverse: F8, one: tuple[F8, F8], two: tuple[F8, F8]) -> None:
    """Fill in pair ``p``.

    :param inverse: see :func:`_inverses`
    """
    i, j = int(out.first[p]), int(out.second[p])
    (x1, f1), (x2, f2) = one, two
    u, strain, change = x2 - x1, 0.0, None
    if s.pbc[i].any():
        h1, h2 = s.cell[i], s.cell[j]
        if out.cells[p] <= SAME_CELL:
            shift = np.rint(u @ inverse[i])
            if shift.any():
                u = u - shift @ h1
        elif s.pbc[i].all() and s.pbc[j].all():
            d = x2 @ inverse[j] - x1 @ inverse[i]
            u = (d - np.rint(d)) @ (0.5 * (h1 + h2))
            change = inverse[i] @ h2 - np.eye(3)
            strain = float(np.abs(change).max())
        else:
            return
        if not np.isfinite(u[0, 0]):
            return
    out.moved[p], out.strain[p] = float(np.abs(u).max()), strain
    out.zero_forces[p] = bool(s.zero_force[i] or s.zero_force[j])
    with_forces = bool(s.has_force[i] and s.has_force[j])
    out.forces[p] = with_forces and not out.zero_forces[p]
    out.work[p] = -0.5 * float(((f1 + f2) * u).sum()) if with_forces else 0.0
    if change is None or not out.stress[p]:
        return
    eps = 0.5 * (change + change.T)
    volume = 0.5 * (s.volume[i] + s.volume[j])
    sigma = 0.5 * (s.stress[i] + s.stress[j])
    out.stretch[p] = volume * sum(sigma[k] * eps[a, a] for k, (a, _) in enumerate(_DIAGONAL))
    shear = np.array([2.0 * eps[a, b] for a, b in _SHEAR])
    out.shear[p] = volume * sigma[3:, None] * shear[None]
