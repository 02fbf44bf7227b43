"""Distances of one configuration: who is near whom, and numbers made of that which do not change when it is turned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..configuration import F8

#: Nearest neighbours that are looked at of each atom.
NEIGHBOURS = 32
#: Numbers in a fingerprint.
FINGERPRINT = 8
#: Periodic images of atoms that are made at most for one configuration; a flat cell would have any number of them.
_IMAGES = 400_000
_MISSING_RADIUS = 1.5
#: Of the bond proxy: steepness in 1/Å, and the first shell in units of the usual distance.
_STEEP, _SHELL = 5.0, 1.3


@cache
def radii() -> F8:
    """Covalent radii in Å by atomic number (Cordero et al. 2008, doi:10.1039/b801115j; as ASE has them)."""
    from ase.data import covalent_radii

    r = np.array(covalent_radii, float)
    r[~np.isfinite(r) | (r <= 0.2)] = _MISSING_RADIUS
    r[0] = _MISSING_RADIUS
    return r


@dataclass(frozen=True)
class Near:
    """What the neighbours of the atoms of one configuration say.

    :param ratio: shortest distance over the sum of the covalent radii, infinite where nothing is near
    :param distance: that distance in Å, ``pair`` the two atomic numbers
    :param typical: median over atoms of the same ratio of their nearest neighbour
    :param proxy: ``yz xz xy`` of the sum over bonds of f(r) r_a r_b / (r V), f = exp(-5 (r - r0)) - 1, of the first
        shell; it follows the stress of a disordered cell
    :param uneven: largest length of the sum over bonds of f(r) r / r of one atom: zero where symmetry forbids a force
    :param fingerprint: ``(8,)``, the same for turned, shifted and renumbered copies
    """

    ratio: float
    distance: float
    pair: tuple[int, int]
    typical: float
    proxy: F8
    uneven: float
    fingerprint: F8


def shortest_ratio(numbers: NDArray[Any], positions: F8, cell: F8, pbc: NDArray[np.bool_]) -> float:
    """Shortest distance over the sum of the covalent radii."""
    return near(numbers, positions, cell, pbc).ratio


def _cutoff(numbers: NDArray[Any], volume: float) -> float:
    r = radii()[numbers]
    bond = 2.0 * float(r.max())
    spread = 1.5 * (volume / len(numbers)) ** (1 / 3) if np.isfinite(volume) else 0.0
    return float(min(max(1.3 * bond, spread), 2.0 * bond))


def near(numbers: NDArray[Any], positions: F8, cell: F8, pbc: NDArray[np.bool_]) -> Near:
    """Look at the neighbours of all atoms.

    :param positions: ``(n, 3)`` in Å; ``cell`` ``(3, 3)`` rows are lattice vectors; ``pbc`` ``(3,)``
    """
    n = len(numbers)
    lattice = cell[pbc]
    whole = bool(pbc.all())
    volume = abs(float(np.linalg.det(cell))) if whole else float("nan")
    cutoff = _cutoff(numbers, volume)
    points, owner = _with_images(positions, lattice, cutoff)
    k = min(NEIGHBOURS + 1, len(points))
    tree = cKDTree(points, leafsize=16, balanced_tree=False, compact_nodes=False)
    r, j = tree.query(points[:n], k=k, distance_upper_bound=cutoff)
    r, j = r.reshape(n, k), j.reshape(n, k)
    # the atom itself is the first of all at distance zero, or some other of them that lies on it
    mine = j == np.arange(n)[:, None]
    mine[~mine.any(axis=1), 0] = True
    r, j = r[~mine].reshape(n, k - 1), j[~mine].reshape(n, k - 1)
    there = np.isfinite(r)
    if not there.any():
        return Near(np.inf, np.inf, (0, 0), np.inf, np.full(3, np.nan), 0.0, np.zeros(FINGERPRINT))
    z = numbers[owner[np.where(there, j, 0)]]
    radius = radii()
    ratio = np.where(there, r / (radius[numbers][:, None] + radius[z]), np.inf)
    at = np.unravel_index(int(np.argmin(ratio)), ratio.shape)
    nearest = ratio.min(axis=1)
    # first shell: up to 1.3 of the mean distance of the four nearest; one nearest only is too short in a hot crystal
    shortest = r[:, :4]
    shortest = shortest[np.isfinite(shortest)]
    r0 = float(shortest.mean())
    i, c = np.nonzero(r < _SHELL * r0)
    d = points[j[i, c]] - points[i]
    length = np.maximum(r[i, c], 1e-6)
    f = np.exp(np.minimum(-_STEEP * (length - r0), 20.0)) - 1.0
    bond = d * (f / length)[:, None]
    proxy = np.full(3, np.nan)
    if whole and volume > 0:
        proxy = np.array([(bond[:, a] * d[:, b]).sum() for a, b in ((1, 2), (0, 2), (0, 1))]) / (2.0 * volume)
    # of smooth functions, so that atoms at the edge do not matter
    x = np.where(there, r / cutoff, 1.0)
    smooth = (1.0 - x * x) ** 2 * (1.0 + 0.1 * np.sqrt(z))
    sums = [(smooth * np.cos(np.pi * m * x)).sum(axis=1) for m in range(4)]
    weight = 1.0 + 0.13 * np.sqrt(numbers)
    mean = [float((weight * s).sum()) / n for s in sums]
    square = [float((weight * s * s).sum()) / n for s in sums]
    # a vector per atom that symmetry has to make zero where it makes the force zero
    slope = np.where(there, x * (1.0 - x * x), 0.0) * (1.0 + 0.1 * np.sqrt(z)) / np.maximum(r, 1e-6)
    slope = np.where(there, slope, 0.0)
    vectors = points[np.where(there, j, 0)] - points[:n, None]
    force = np.einsum("nk,nkx->nx", slope, vectors)
    full = k - 1 == NEIGHBOURS and bool(there[:, -1].any())  # the last shell may be cut, and its sum means nothing
    uneven = float("nan") if full else float(np.sqrt((force**2).sum(axis=1).max()))
    return Near(
        ratio=float(ratio[at]),
        distance=float(r[at]),
        pair=(int(numbers[at[0]]), int(z[at])),
        typical=float(np.median(nearest)),
        proxy=proxy,
        uneven=uneven,
        fingerprint=np.array([*mean, *square]),
    )


def _with_images(positions: F8, lattice: F8, cutoff: float) -> tuple[F8, NDArray[np.int64]]:
    """Atoms wrapped into the cell, and then all images of them within the cutoff of it; which atom each is of."""
    n = len(positions)
    if not len(lattice):
        return positions, np.arange(n)
    inverse = np.linalg.pinv(lattice)  # (3, p)
    fractional = positions @ inverse
    wrapped = positions - np.floor(fractional) @ lattice
    fractional = fractional - np.floor(fractional)
    margin = cutoff * np.linalg.norm(inverse, axis=0)
    reach = np.ceil(margin).astype(np.int64)
    if np.prod(2.0 * reach + 1.0) * n > _IMAGES:
        reach = np.minimum(reach, 2)
    steps = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in reach), indexing="ij"), -1).reshape(-1, len(reach))
    steps = steps[(steps != 0).any(axis=1)]
    image = fractional[None] + steps[:, None]
    keep = ((image > -margin) & (image < 1.0 + margin)).all(axis=2)
    step, atom = np.nonzero(keep)
    points = wrapped[atom] + steps[step] @ lattice
    return np.concatenate([wrapped, points]), np.concatenate([np.arange(n), atom])
