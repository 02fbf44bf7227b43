"""The spectral neighbour analysis potential: bispectrum components of the density around each atom."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

from .. import computing
from ..computing import Column, Reference, Rows, backend, times
from ..configuration import F8, Batch
from ..errors import SettingsError
from ..runs.values import element_symbols, flag, number, per_element, whole
from ..snap_basis import column_names

#: LAMMPS and the native kernels lose digits above; nobody fits there.
MAX_TWOJMAX = 20
#: Å; neighbours within more do not fit any memory, and mean nothing.
LONGEST = 100.0
BACKEND_VARIABLE = "MLIPSTORE_SNAP_BACKEND"
#: ``array`` is the one for a GPU; on the processor, where NumPy runs it, it is there to be compared with.
BACKENDS = (*computing.BACKENDS, "array")


@dataclass(frozen=True)
class Snap:
    """Bispectrum components B of each atom, summed per element of the central atom, as LAMMPS ``compute snap``.

    Thompson et al. 2015, doi:10.1016/j.jcp.2014.12.018, eqs. 5-10. The cutoff of a pair is
    ``rcutfac * (radelem_i + radelem_j)``. Settings per element take one value for all or a list in the order
    of ``elements``.

    :param elements: chemical symbols
    :param rcutfac: scale of the cutoff radii, in Å if ``radelem`` is a pure number
    :param twojmax: twice the highest angular momentum; per element: columns beyond the own value are zero
    :param radelem: radius of each element
    :param wj: weight of each element in the density of its neighbours
    :param rfac0: part of the 3-sphere that is used, 0 to 1
    :param rmin0: distance that maps to the pole of the 3-sphere, in Å
    :param switchflag: fade neighbours out towards the cutoff
    :param switchinnerflag: fade neighbours out at short distance as well
    :param sinner: middle of the inner fade, in Å; the value of a pair is the mean of its elements
    :param dinner: half-width of the inner fade, in Å
    :param bzeroflag: subtract the value of an isolated atom
    :param quadraticflag: add all products of two components, doi:10.1063/1.5017641
    :param chemflag: components for all triples of elements, doi:10.1021/acs.jpca.0c02450
    :param bnormflag: divide each component (j1, j2, j) by 2j+1
    :param wselfallflag: with ``chemflag``, the atom itself counts in all densities
    """

    elements: tuple[str, ...]
    rcutfac: float
    twojmax: tuple[int, ...] = (6,)
    radelem: tuple[float, ...] = (0.5,)
    wj: tuple[float, ...] = (1.0,)
    rfac0: float = 0.99363
    rmin0: float = 0.0
    switchflag: bool = True
    switchinnerflag: bool = False
    sinner: tuple[float, ...] = ()
    dinner: tuple[float, ...] = ()
    bzeroflag: bool = False
    quadraticflag: bool = False
    chemflag: bool = False
    bnormflag: bool = False
    wselfallflag: bool = False

    def __post_init__(self) -> None:
        # One canonical form, so that equal settings have one identity.
        put = functools.partial(object.__setattr__, self)
        put("elements", element_symbols(self.elements))
        n = len(self.elements)
        put("twojmax", per_element("twojmax", self.twojmax, n, whole))
        for name in ("radelem", "wj"):
            put(name, per_element(name, getattr(self, name), n, number))
        for name in ("rcutfac", "rfac0", "rmin0"):
            put(name, number(name, getattr(self, name)))
        for name in (f.name for f in fields(self) if f.name.endswith("flag")):
            put(name, flag(name, getattr(self, name)))
        for name in ("sinner", "dinner"):  # without the flag they mean nothing
            value = per_element(name, getattr(self, name), n, number) if self.switchinnerflag else ()
            put(name, value)
        self._check()

    def _check(self) -> None:
        def need(condition: bool, text: str) -> None:
            if not condition:
                raise SettingsError(f"descriptor 'snap': {text}.")

        need(all(0 <= t <= MAX_TWOJMAX for t in self.twojmax), f"twojmax must be 0 to {MAX_TWOJMAX}: {self.twojmax}")
        need(self.rcutfac > 0, f"rcutfac must be positive, not {self.rcutfac}")
        need(all(r > 0 for r in self.radelem), f"radelem must be positive: {self.radelem}")
        need(
            self.cutoff <= LONGEST,
            f"the longest cutoff, 2 rcutfac radelem, is {self.cutoff:g} Å; at most {LONGEST:g} Å make sense",
        )
        need(0 < self.rfac0 <= 1, f"rfac0 must be above 0 and at most 1, not {self.rfac0}")
        shortest = 2 * self.rcutfac * min(self.radelem)
        need(0 <= self.rmin0 < shortest, f"rmin0 must be between 0 and the shortest cutoff {shortest:g} Å")
        need(all(d > 0 for d in self.dinner), f"dinner must be positive: {self.dinner}")
        need(not (self.quadraticflag and self.chemflag), "quadraticflag and chemflag exclude each other")

    @property
    def cutoff(self) -> float:
        """The longest cutoff of a pair, in Å."""
        return 2.0 * self.rcutfac * max(self.radelem)

    @staticmethod
    def example(elements: tuple[str, ...]) -> dict[str, Any]:
        """Small settings to try it with."""
        return {"elements": elements, "rcutfac": 4.5, "twojmax": 4}

    def columns(self) -> list[Column]:
        """The features: type-major, then as :func:`mlipstore.snap_basis.components`."""
        return column_names(self.elements, max(self.twojmax), self.quadraticflag, self.chemflag)

    def label(self) -> str:
        """Such as ``snap-2J8``, ``qsnap-2J6``, ``snap-chem-2J6``, ``snap-2J8-6``."""
        top = self.twojmax if len(set(self.twojmax)) > 1 else self.twojmax[:1]
        kind = "qsnap" if self.quadraticflag else "snap-chem" if self.chemflag else "snap"
        return f"{kind}-2J{'-'.join(str(t) for t in top)}"

    def rows(self, batch: Batch) -> Rows:
        """Rows of a batch from the best backend there is, see :func:`choose_backend`."""
        return choose_backend()(self, batch)

    def rows_on(self, xp: ModuleType, memory: int) -> Callable[[Batch], Rows] | None:
        """What makes rows with the arrays of a device; None if another backend is asked for.

        :param memory: for intermediate results, in bytes
        """
        if backend(BACKEND_VARIABLE, BACKENDS, "array") != "array":
            return None
        from ..kernels.arrays.rows import snap_rows

        return functools.partial(snap_rows, self, xp=xp, memory=memory)

    def evaluate(self, coefficients: F8, batch: Batch) -> Reference:
        """Energy, force and stress of given coefficients ``(M,)``: by the kernel's adjoint route, without rows."""
        if backend(BACKEND_VARIABLE, BACKENDS) != "native":
            return times(self.rows(batch), coefficients)
        from ..kernels.snap import snap_evaluate

        made = snap_evaluate(self, coefficients, batch)
        return Reference(made.energy, made.force, made.stress)


def choose_backend() -> Callable[[Snap, Batch], Rows]:
    """What computes the rows on the processor: the one of ``BACKENDS`` that ``MLIPSTORE_SNAP_BACKEND`` asks for.

    Not part of the identity of the features: all agree to rounding (tests/reference/test_kernel_lammps.py,
    tests/unit/test_kernel_arrays.py).
    """
    chosen = backend(BACKEND_VARIABLE, BACKENDS)
    if chosen == "lammps":
        from ..lammps.snap import rows

        return rows
    if chosen == "array":
        from ..kernels.arrays.rows import snap_rows as array_rows

        return array_rows
    from ..kernels.snap import snap_rows

    return snap_rows


plugin = Snap
