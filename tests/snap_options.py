"""Settings of SNAP, by name, of which each changes what is computed: for tests that go through all of them."""

from __future__ import annotations

from typing import Any

from mlipstore.descriptors.snap import Snap

#: Elements with their numbers, and what sets them apart in a descriptor.
ELEMENTS = {"W": 74, "Be": 4, "In": 49, "P": 15, "O": 8}
_WEIGHTS = (1.0, -0.7, 0.4, 1.3, 0.9)
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "2J0": {"twojmax": (0,)},
    "2J1": {"twojmax": (1,)},
    "no-switch": {"switchflag": False},
    "inner": {"switchinnerflag": True, "sinner": (1.9,), "dinner": (0.7,)},
    "rmin0": {"rmin0": 0.9, "rfac0": 0.8},
    "bzero": {"bzeroflag": True},
    "bnorm": {"bnormflag": True},
    "long": {"rcutfac": 7.0},
    "short": {"rcutfac": 1.7},
    "chem": {"chemflag": True},
    "chem-all": {"chemflag": True, "wselfallflag": True, "bnormflag": True, "bzeroflag": True},
    "chem-bzero": {"chemflag": True, "bzeroflag": True, "switchinnerflag": True, "sinner": (1.9,), "dinner": (0.7,)},
    "quadratic": {"quadraticflag": True, "twojmax": (3,)},
    "quadratic-all": {"quadraticflag": True, "twojmax": (3,), "bzeroflag": True, "bnormflag": True, "rmin0": 0.5},
}


def snap_with(n_elements: int, settings: dict[str, Any]) -> Snap:
    """A descriptor of the first ``n_elements`` of :data:`ELEMENTS`, of different sizes and weights."""
    return Snap(
        tuple(ELEMENTS)[:n_elements],
        radelem=tuple(0.5 + 0.06 * k for k in range(n_elements)),
        wj=_WEIGHTS[:n_elements],
        **{"twojmax": (5,), "rcutfac": 4.4, **settings},
    )
