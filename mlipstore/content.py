"""Content hashes: what makes two configurations the same one, and what makes them copies of one geometry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_F8 = NDArray[np.float64]
#: Rounding of positions and cell, in Å, that makes two configurations the same geometry.
GEOMETRY_RESOLUTION = 1e-4


def content_hash(
    numbers: NDArray[Any], cell: _F8, positions: _F8, pbc: NDArray[Any], energy: float, forces: _F8 | None,
    stress: _F8 | None, spin: _F8 | None, charge: _F8 | None,
) -> bytes:  # fmt: skip
    """sha256 (32 bytes) of the physics: species, cell, positions, pbc, spins, charges and all labels."""
    h = hashlib.sha256()
    h.update(np.ascontiguousarray(numbers, "<i4").data)
    h.update(np.ascontiguousarray(cell, "<f8").data)
    h.update(np.ascontiguousarray(positions, "<f8").data)
    h.update(np.ascontiguousarray(pbc, "u1").data)
    h.update(np.float64(energy).tobytes() if np.isfinite(energy) else b"-")
    # a stress of zeros often stands for a missing one; how it is read must not make another configuration
    told = stress if stress is not None and np.any(stress) else None
    for value in (forces, told, spin, charge):
        h.update(b"-" if value is None else np.ascontiguousarray(value, "<f8").data)
    return h.digest()


def geometry_hash(
    numbers: NDArray[Any], cell: _F8, positions: _F8, pbc: NDArray[Any], spin: _F8 | None, charge: _F8 | None
) -> bytes:
    """16 bytes that are equal for copies: species, pbc, and cell and positions rounded to 1e-4 Å."""
    h = hashlib.blake2b(digest_size=16)
    h.update(np.ascontiguousarray(numbers, "<i4").data)
    h.update(np.ascontiguousarray(pbc, "u1").data)
    h.update(_bytes(_rounded(cell)))
    h.update(_bytes(_rounded(positions)))
    for value in (spin, charge):
        if value is not None:
            h.update(_bytes(_rounded(value)))
    return h.digest()


def hashes_of_columns(
    there: Mapping[str, Sequence[bool]], n_atoms: Any, number: Any, position: _F8, cell: _F8, pbc: Any, energy: _F8,
    force: _F8, stress: _F8, spin: _F8 | None, charge: _F8 | None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:  # fmt: skip
    """:func:`content_hash` and :func:`geometry_hash` of all, ``(n, 32)`` and ``(n, 16)``.

    The same bytes in the same order, cut out of the columns.
    """
    numbers, cells, positions, periodic = _bytes(number), _bytes(cell), _bytes(position), _bytes(pbc)
    energies, forces, stresses = _bytes(energy), _bytes(force), _bytes(stress)
    near_cells, near_positions = _bytes(_rounded(cell)), _bytes(_rounded(position))
    finite, zero = np.isfinite(energy).tolist(), np.logical_not(np.any(stress, axis=1)).tolist()
    columns = (("spin", spin, 24), ("charge", charge, 8))
    extra = [(k, _bytes(v), _bytes(_rounded(np.nan_to_num(v))), width) for k, v, width in columns if v is not None]
    sha256, blake2b, none = hashlib.sha256, hashlib.blake2b, b"-"
    uids, geometries = [], []
    with_force, with_stress = there["force"], there["stress"]
    start = 0
    for i, n in enumerate(n_atoms.tolist()):
        stop = start + n
        z, periods, box = numbers[4 * start : 4 * stop], periodic[3 * i : 3 * i + 3], slice(72 * i, 72 * i + 72)
        atoms = slice(24 * start, 24 * stop)
        others: dict[str, Any] = {"spin": none, "charge": none}
        near = []
        for name, values, values_near, width in extra:
            if there[name][i]:
                here = slice(width * start, width * stop)
                others[name] = values[here]
                near.append(values_near[here])
        parts = (
            *(z, cells[box], positions[atoms], periods),
            energies[8 * i : 8 * i + 8] if finite[i] else none,
            forces[atoms] if with_force[i] else none,
            none if zero[i] or not with_stress[i] else stresses[48 * i : 48 * i + 48],
            *others.values(),
        )
        uids.append(sha256(b"".join(parts)).digest())
        parts = (z, periods, near_cells[box], near_positions[atoms], *near)
        geometries.append(blake2b(b"".join(parts), digest_size=16).digest())
        start = stop
    return (
        np.frombuffer(b"".join(uids), np.uint8).reshape(-1, 32),
        np.frombuffer(b"".join(geometries), np.uint8).reshape(-1, 16),
    )


def _rounded(values: _F8) -> NDArray[np.int64]:
    """Multiples of the resolution at which geometries are compared; what is not finite is refused by whoever checks."""
    with np.errstate(invalid="ignore"):
        return np.rint(values * (1.0 / GEOMETRY_RESOLUTION)).astype("<i8", order="C")


def _bytes(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
