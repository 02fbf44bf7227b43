"""SNAP rows from the compiled kernel: the Python face of ``src/snap_*.cpp``.

The mathematics is in ``src/snap_plan.hpp`` and ``src/snap_basis.hpp``; columns, signs and options are those of LAMMPS
``compute snap`` (Thompson et al. 2015, doi:10.1016/j.jcp.2014.12.018).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..computing import Rows, type_index
from ..configuration import F8, Batch
from ..errors import InputError, SettingsError, listed
from ..snap_basis import kept, n_per_element
from . import isa, load
from .calls import call, unlisted

if TYPE_CHECKING:
    from ..descriptors.snap import Snap


@dataclass
class PairGradients:
    """Components of each atom and their gradients by the positions of its neighbours (K columns of one element).

    Pairs of atom ``i`` are ``pair_start[i]:pair_start[i + 1]``; every periodic image is a pair of its own.

    :param component: ``(N, K)``: B of each atom
    :param pair_start: ``(N + 1,)``
    :param neighbour: ``(pairs,)``: index of the neighbour among the atoms of the batch
    :param vector: ``(pairs, 3)``: from the atom to the neighbour, in Å
    :param gradient: ``(pairs, 3, K)``: dB/d(position of the neighbour), in 1/Å; the gradient by the position of the
        atom itself is minus the sum over its pairs
    """

    component: F8
    pair_start: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    vector: F8
    gradient: F8


@dataclass
class Evaluation:
    """Energy ``(n,)`` and ``(N,)`` by atom in eV, force ``(N, 3)`` in eV/Å, stress ``(n, 6)`` in eV/Å^3."""

    energy: F8
    atom_energy: F8
    force: F8
    stress: F8


def snap_rows(snap: Snap, batch: Batch, isa_name: str | None = None, out: Rows | None = None) -> Rows:
    """Rows of a batch, see :class:`mlipstore.computing.Rows`.

    :param isa_name: an instruction set of :func:`mlipstore.kernels.isas`; the widest one when None
    :param out: C-contiguous float64 arrays to write to
    """
    n, atoms, width = len(batch), len(batch.number), len(snap.elements) * _width(snap)
    if out is None:
        out = Rows(np.empty((n, width)), np.empty((3 * atoms, width)), np.empty((6 * n, width)))
    kernel = _kernel(snap, isa_name or isa())
    _call(kernel.rows, snap, batch, out.energy, out.force, out.stress, quadratic=snap.quadraticflag)
    _blank(snap, out.energy, out.force, out.stress)
    return out


def snap_energy_rows(snap: Snap, batch: Batch, isa_name: str | None = None) -> F8:
    """Energy rows only ``(n, M)``, at half the cost."""
    energy = np.empty((len(batch), len(snap.elements) * _width(snap)))
    _call(_kernel(snap, isa_name or isa()).rows, snap, batch, energy, quadratic=snap.quadraticflag)
    _blank(snap, energy)
    return energy


def snap_components(snap: Snap, batch: Batch, isa_name: str | None = None) -> F8:
    """B of each atom ``(N, K)``: the linear columns of the element it is."""
    kernel = _kernel(snap, isa_name or isa())
    component = np.empty((len(batch.number), kernel.n_columns))
    _call(kernel.atom_components, snap, batch, component)
    _blank_atoms(snap, batch, component)
    return component


def snap_pair_gradients(snap: Snap, batch: Batch, isa_name: str | None = None) -> PairGradients:
    """B of each atom and its gradient by the position of every neighbour."""
    kernel = _kernel(snap, isa_name or isa())
    atoms, columns = len(batch.number), kernel.n_columns
    start = np.empty(atoms + 1, np.int64)
    _call(kernel.count_pairs, snap, batch, start)
    pairs = int(start[-1])
    out = PairGradients(
        np.empty((atoms, columns)),
        start,
        np.empty(pairs, np.int64),
        np.empty((pairs, 3)),
        np.empty((pairs, 3, columns)),
    )
    _call(kernel.pair_gradients, snap, batch, start, out.neighbour, out.vector, out.gradient, out.component)
    _blank_atoms(snap, batch, out.component)
    _blank_atoms(snap, batch, out.gradient, np.diff(start))
    return out


def snap_pairs(snap: Snap, batch: Batch) -> PairGradients:
    """The pairs alone: those of :func:`snap_pair_gradients`, with the one column of ``twojmax`` 0."""
    return snap_pair_gradients(replace(snap, twojmax=(0,), quadraticflag=False, chemflag=False), batch)


def snap_evaluate(
    snap: Snap, coefficients: F8, batch: Batch, forces: bool = True, isa_name: str | None = None
) -> Evaluation:
    """Energy, forces and stress of given coefficients ``(M,)``: much cheaper than rows times coefficients.

    The rows of an atom are contracted with the coefficients before its neighbours are looked at (the adjoint of
    the bispectrum, Thompson et al. 2015, doi:10.1016/j.jcp.2014.12.018, sec. 2.3).

    :param forces: False leaves force and stress at zero and saves half of the time
    """
    n, atoms = len(batch), len(batch.number)
    weights = np.array(coefficients, np.float64).reshape(1, -1)
    if weights.shape[1] != len(snap.elements) * _width(snap):
        raise SettingsError(
            f"{weights.shape[1]:,} coefficients for {len(snap.elements) * _width(snap):,} columns of {snap.label()}. "
            "Give one for each column of the descriptor."
        )
    _blank(snap, weights)
    out = Evaluation(np.empty(n), np.empty(atoms), np.zeros((atoms, 3)), np.zeros((n, 6)))
    force, stress = (out.force, out.stress) if forces else (None, None)
    _call(
        _kernel(snap, isa_name or isa()).evaluate,
        snap,
        batch,
        weights.reshape(len(snap.elements), -1),
        snap.quadraticflag,
        out.energy,
        out.atom_energy,
        force,
        stress,
    )
    return out


def _width(snap: Snap) -> int:
    """Columns of one element."""
    return n_per_element(max(snap.twojmax), len(snap.elements), snap.quadraticflag, snap.chemflag)


def _blank(snap: Snap, *blocks: F8) -> None:
    """Set columns beyond the ``twojmax`` of their element to zero, in place."""
    mask = kept(snap.twojmax, snap.quadraticflag, snap.chemflag)
    if mask is not None:
        for block in blocks:
            block *= mask


def _blank_atoms(snap: Snap, batch: Batch, block: F8, repeats: NDArray[np.int64] | None = None) -> None:
    """The same for rows that belong to one atom each (or ``repeats`` of them) and have the columns of its element."""
    mask = kept(snap.twojmax, False, snap.chemflag)
    if mask is not None:
        of_atom = mask.reshape(len(snap.elements), -1)[type_index(batch.number, snap.elements)]
        if repeats is not None:
            of_atom = np.repeat(of_atom, repeats, axis=0)[:, None]
        block *= of_atom


@lru_cache(maxsize=16)
def _kernel(snap: Snap, isa_name: str) -> Any:
    return load("snap", isa_name).SnapKernel(
        twojmax=max(snap.twojmax),
        rcutfac=snap.rcutfac,
        radius=list(snap.radelem),
        weight=list(snap.wj),
        rfac0=snap.rfac0,
        rmin0=snap.rmin0,
        switching=snap.switchflag,
        sinner=list(snap.sinner),
        dinner=list(snap.dinner),
        bzero=snap.bzeroflag,
        chem=snap.chemflag,
        bnorm=snap.bnormflag,
        wselfall=snap.wselfallflag,
    )


def _call(function: Any, snap: Snap, batch: Batch, *arguments: Any, **options: Any) -> None:
    """:func:`call` after a check of the elements."""
    types = type_index(batch.number, snap.elements)
    found = unlisted(batch, types)
    if found is not None:
        place, _, symbol = found
        raise InputError(
            f"{place}: element {symbol} is not in the elements of the descriptor ({listed(snap.elements)}). Add it "
            "there, or leave these configurations out."
        )
    call(function, batch, types, *arguments, **options)
