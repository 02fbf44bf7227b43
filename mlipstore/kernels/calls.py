"""Calls of kernels that take a batch: what is checked before, and errors that name the configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..configuration import Batch
from ..errors import ComputeError, InputError

#: A cell whose volume is below this fraction of the product of its edges is flat.
FLAT_CELL = 1e-10


def call(function: Any, batch: Batch, types: NDArray[np.int32], *arguments: Any, **options: Any) -> None:
    """Check the geometry, call the kernel, name the configuration that fails.

    :param types: element of each atom as the kernel counts them ``(N,)``
    :raises InputError: positions or cells that are none
    :raises ComputeError: a configuration that the kernel cannot compute
    """
    _check_geometry(batch)
    try:
        function(
            batch.atom_start,
            types,
            np.ascontiguousarray(batch.position, np.float64),
            np.ascontiguousarray(batch.cell, np.float64),
            np.ascontiguousarray(batch.pbc, np.uint8),
            *arguments,
            **options,
        )
    except ValueError as error:
        if len(error.args) != 2:
            raise
        message, index = error.args
        raise ComputeError(
            f"{batch.place(index)}: {message.rstrip('.')}{'' if message.endswith('?') else '.'}"
        ) from None


def unlisted(batch: Batch, types: NDArray[np.int32]) -> tuple[str, int, str] | None:
    """Place, number in its configuration and symbol of the first atom whose type is negative; None if there is none."""
    if not len(types) or types.min() >= 0:
        return None
    from ase.data import chemical_symbols

    atom = int(np.argmax(types < 0))
    i = int(np.searchsorted(batch.atom_start, atom, side="right")) - 1
    return batch.place(i), atom - int(batch.atom_start[i]), chemical_symbols[int(batch.number[atom])]


def _check_geometry(batch: Batch) -> None:
    """Positions are finite and the periodic cell vectors span something."""
    finite = np.isfinite(batch.position).all(axis=1)
    if not finite.all():
        place = batch.place(int(np.searchsorted(batch.atom_start, int(np.argmin(finite)), side="right")) - 1)
        raise InputError(f"{place}: a position is not a finite number. Correct or leave out this configuration.")
    periodic = np.where(batch.pbc[:, :, None], batch.cell, 0.0)
    gram = periodic @ periodic.transpose(0, 2, 1)
    index = np.arange(3)
    edges = gram[:, index, index].copy()
    # A direction that is not periodic, or has no length to compare with, counts as a unit vector normal to the others.
    gram[:, index, index] += np.where(batch.pbc, 0.0, 1.0)
    scale = np.where(batch.pbc, edges, 1.0).prod(axis=1)
    with np.errstate(invalid="ignore"):
        flat = ~(np.linalg.det(gram) > FLAT_CELL**2 * scale)
    if flat.any():
        place = batch.place(int(np.argmax(flat)))
        raise InputError(
            f"{place}: it is periodic, but its cell vectors are missing or lie in one plane. Give the cell, or switch "
            "pbc off in the directions that are not periodic."
        )
