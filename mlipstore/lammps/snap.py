"""SNAP rows from LAMMPS ``compute snap``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..computing import Rows, empty_rows
from ..configuration import Batch
from ..snap_basis import kept, n_per_element
from .engine import LammpsError, Session, Setup, for_each
from .frame import Frame

if TYPE_CHECKING:
    from ..descriptors.snap import Snap


def compute_line(snap: Snap) -> str:
    """The arguments of ``compute ID`` for these settings, without the ID."""
    n = len(snap.elements)

    def numbers(values: tuple[float, ...]) -> str:
        return " ".join(repr(v) for v in values)

    words = [
        f"all snap {snap.rcutfac!r} {snap.rfac0!r} {max(snap.twojmax)} {numbers(snap.radelem)} {numbers(snap.wj)}",
        f"rmin0 {snap.rmin0!r} switchflag {snap.switchflag:d} bzeroflag {snap.bzeroflag:d}",
        f"quadraticflag {snap.quadraticflag:d} bnormflag {snap.bnormflag:d} wselfallflag {snap.wselfallflag:d}",
    ]
    if snap.chemflag:
        words.append(f"chem {n} {' '.join(str(i) for i in range(n))}")
    if snap.switchinnerflag:
        words.append(f"switchinnerflag 1 sinner {numbers(snap.sinner)} dinner {numbers(snap.dinner)}")
    return " ".join(words)


def rows(snap: Snap, batch: Batch) -> Rows:
    """Rows of a batch, see :class:`mlipstore.computing.Rows`.

    The array of the compute holds the sum of B, then minus its gradient, then minus its derivative by strain.
    """
    per_element = n_per_element(max(snap.twojmax), len(snap.elements), snap.quadraticflag, snap.chemflag)
    width = len(snap.elements) * per_element
    out = empty_rows(batch, width)
    mask = kept(snap.twojmax, snap.quadraticflag, snap.chemflag)
    volume = batch.volume
    line = compute_line(snap)
    # The pair style only supplies the neighbours; LAMMPS refuses one that is shorter than the compute.
    reach = snap.cutoff * (1 + 1e-9)
    setup = Setup(snap.elements, (f"pair_style zero {reach!r} full", "pair_coeff * *"))

    def collect(session: Session, frame: Frame, i: int) -> None:
        a, b = int(batch.atom_start[i]), int(batch.atom_start[i + 1])
        n = b - a
        session.compute("snap", line, also=("snap_press",))
        session.run(n)
        values = session.array("snap", 7 + 3 * n, width + 1)[:, :width]
        if not np.isfinite(values).all():
            raise LammpsError("the bispectrum is not finite; are two atoms at the same place?")
        out.energy[i] = values[0]
        out.force[3 * a : 3 * b] = frame.vectors_back(values[1:-6].reshape(n, 3, width)).reshape(3 * n, width)
        if np.isfinite(volume[i]):
            out.stress[6 * i : 6 * i + 6] = frame.tensors_back(values[-6:]) / -volume[i]

    for_each(batch, setup, collect)
    if mask is not None:
        for block in (out.energy, out.force, out.stress):
            block *= mask
    return out
