"""The axes that force and stress components refer to while rows stream.

A fit does not care how a cell is turned where weights are equal, but sums of absolute components do, and six stress
components are not a rotation-invariant norm. FitSNAP turns every cell into the frame of LAMMPS first and reports
errors there; ``frame = "lammps"`` does the same, so that its tables come out to the last digit.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .configuration import F8
from .units import VOIGT_INDEX

FRAMES = ("input", "lammps")


def lammps_rotations(cell: F8) -> F8:
    """Rotations ``(n, 3, 3)`` that turn vectors into the frame where ``a`` is along x and ``b`` in the xy plane.

    With C the matrix whose columns are the lattice vectors and C = QR, the rotation is S Q^T, S = diag(sign(diag R)).
    A left-handed cell is negated first, which is the same lattice.

    :param cell: ``(n, 3, 3)``, rows are the lattice vectors
    """
    hand = np.where(np.linalg.det(cell) < 0, -1.0, 1.0)
    q, r = np.linalg.qr(np.swapaxes(cell * hand[:, None, None], 1, 2))
    sign = np.where(np.diagonal(r, axis1=1, axis2=2) < 0, -1.0, 1.0)
    out: F8 = sign[:, :, None] * np.swapaxes(q, 1, 2)
    return out


def stress_rotations(rotation: F8) -> F8:
    """Matrices ``(n, 6, 6)`` that turn symmetric tensors xx yy zz yz xz xy: T = R s R^T, component by component."""
    out = np.empty((len(rotation), 6, 6))
    for k, (a, b) in enumerate(VOIGT_INDEX):
        for m, (i, j) in enumerate(VOIGT_INDEX):
            out[:, k, m] = rotation[:, a, i] * rotation[:, b, j]
            if i != j:
                out[:, k, m] += rotation[:, a, j] * rotation[:, b, i]
    return out


def turn(matrices: F8, owner: NDArray[np.int64], rows: Any, xp: ModuleType = np) -> Any:
    """Rows ``(k * d, M)`` in groups of ``d`` turned by ``matrices[owner]`` ``(k, d, d)``; identities are left alone.

    :param owner: which matrix each group of ``d`` rows takes ``(k,)``
    :param xp: the library of ``rows``
    """
    d = matrices.shape[1]
    todo = np.flatnonzero((matrices != np.eye(d)).any(axis=(1, 2))[owner])
    if not len(todo):
        return rows
    groups = rows.reshape(len(owner), d, -1).copy()
    there = xp.asarray(todo)
    groups[there] = xp.matmul(xp.asarray(matrices[owner[todo]]), groups[there])
    return groups.reshape(rows.shape)
