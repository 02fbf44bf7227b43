"""How a configuration lies in LAMMPS: its cell turned into the lower-triangular frame, and results turned back.

LAMMPS wants ``a`` along x, ``b`` in the xy plane and a right-handed cell. Any lattice gets there by a rotation, after
negating the three vectors of a left-handed cell (the same lattice). Directions that are not periodic are
replaced by unit vectors normal to the periodic ones and a box that holds every atom with room around.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8
from ..units import VOIGT_INDEX

#: Smallest |det| of the three unit vectors of a cell; below, the cell is flat for all purposes.
_FLAT = 1e-8
#: Product of the three lengths over the volume, above which shorter vectors of the same lattice are taken:
#: the images LAMMPS needs grow with it. Cells of crystals stay far below and keep their vectors.
_SKEWED = 4.0
#: Room between the atoms and the walls of a direction that is not periodic, in Å.
_ROOM = 1.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A configuration in the frame of LAMMPS.

    :param position: ``(n, 3)`` in Å, wrapped along periodic directions only
    :param low: lower corner of the box ``(3,)``; ``high``: ``low`` plus the diagonal of the cell
    :param tilt: xy, xz, yz
    :param boundary: such as ``p p f``
    :param rotation: ``(3, 3)``; a vector of LAMMPS is ``rotation @ v``. None when nothing was turned
    """

    position: F8
    low: F8
    high: F8
    tilt: tuple[float, float, float]
    boundary: str
    rotation: F8 | None

    def vectors_back(self, values: F8) -> F8:
        """Vectors ``(n, 3, ...)`` of LAMMPS in the frame of the configuration."""
        if self.rotation is None:
            return values
        turned: F8 = np.einsum("ba,nb...->na...", self.rotation, values)
        return turned

    def tensors_back(self, values: F8) -> F8:
        """Symmetric tensors ``(6, ...)`` (xx yy zz yz xz xy) of LAMMPS in the frame of the configuration."""
        if self.rotation is None:
            return values
        full = np.empty((3, 3, *values.shape[1:]))
        for k, (i, j) in enumerate(VOIGT_INDEX):
            full[i, j] = full[j, i] = values[k]
        turned = np.einsum("ca,db,cd...->ab...", self.rotation, self.rotation, full)
        return np.stack([turned[i, j] for i, j in VOIGT_INDEX])


def frame_of(cell: F8, pbc: NDArray[np.bool_], position: F8) -> Frame:
    """The frame of one configuration.

    :param cell: rows are the lattice vectors ``(3, 3)`` in Å; rows that are not periodic are not used
    :param pbc: periodic along each lattice vector ``(3,)``
    :param position: ``(n, 3)`` in Å
    :raises ValueError: numbers that are not finite, or periodic vectors that do not span their space
    """
    if not np.isfinite(position).all():
        raise ValueError("positions are not all finite numbers")
    periodic = cell[pbc]
    if not np.isfinite(periodic).all():
        raise ValueError("the cell is not made of finite numbers")
    n_periodic = len(periodic)
    lattice = _complete(periodic)
    if np.linalg.norm(lattice, axis=1).prod() > _SKEWED * abs(np.linalg.det(lattice)):
        lattice = _complete(_reduced(periodic))
    if np.linalg.det(lattice) < 0:  # only three periodic vectors can be left-handed here
        lattice = -lattice
    rotation: F8 | None = None
    if lattice[0, 1] or lattice[0, 2] or lattice[1, 2] or (np.diag(lattice) <= 0).any():
        q, r = np.linalg.qr(lattice.T)
        sign = np.where(np.diag(r) < 0, -1.0, 1.0)
        rotation = sign[:, None] * q.T
        lattice = np.tril((sign[:, None] * r).T)
        position = position @ rotation.T
    for i in range(n_periodic, 3):  # exact, whatever the rotation left there
        lattice[i] = np.eye(3)[i]
    shift = np.floor(position @ np.linalg.inv(lattice))
    shift[:, n_periodic:] = 0.0
    if shift.any():
        position = position - shift @ lattice
    low, high = np.zeros(3), np.diag(lattice).copy()
    for i in range(n_periodic, 3):
        if len(position):
            low[i] = np.floor(position[:, i].min()) - _ROOM
            high[i] = np.ceil(position[:, i].max()) + _ROOM
    return Frame(
        position=np.ascontiguousarray(position),
        low=low,
        high=high,
        tilt=(float(lattice[1, 0]), float(lattice[2, 0]), float(lattice[2, 1])),
        boundary=" ".join("p" * n_periodic + "f" * (3 - n_periodic)),
        rotation=rotation,
    )


def _reduced(vectors: F8) -> F8:
    """Shorter vectors of the same lattice: none can be shortened by adding a multiple of another one."""
    out = vectors.copy()
    changed = True
    while changed:
        changed = False
        order = np.argsort([v @ v for v in out], kind="stable")
        for i in order[::-1]:
            for j in order:
                multiple = np.rint(out[i] @ out[j] / (out[j] @ out[j]))
                if i != j and multiple:
                    shorter = out[i] - multiple * out[j]
                    if shorter @ shorter < (1 - 1e-9) * (out[i] @ out[i]):
                        out[i], changed = shorter, True
    return out


def _complete(periodic: F8) -> F8:
    """Three independent vectors: the periodic ones, then unit vectors normal to them; a new array."""
    n = len(periodic)
    if n == 0:
        return np.eye(3)
    lengths = np.linalg.norm(periodic, axis=1)
    if (lengths == 0).any():
        raise ValueError("a periodic cell vector has length zero")
    if n == 1:
        first = periodic[0] / lengths[0]
        second = np.cross(np.eye(3)[np.argmin(np.abs(first))], first)
        second /= np.linalg.norm(second)
        lattice = np.array([periodic[0], second, np.cross(first, second)])
    elif n == 2:
        normal = np.cross(periodic[0], periodic[1])
        area = float(np.linalg.norm(normal))
        if area < _FLAT * lengths.prod():
            raise ValueError("the periodic cell vectors are parallel")
        lattice = np.array([periodic[0], periodic[1], normal / area])
    else:
        lattice = periodic.copy()
        if abs(np.linalg.det(lattice / lengths[:, None])) < _FLAT:
            raise ValueError("the periodic cell vectors lie in one plane")
    return lattice
