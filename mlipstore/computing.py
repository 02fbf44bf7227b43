"""What descriptors and baselines compute: :class:`Rows` and :class:`Reference`, and their contracts.

A descriptor is one file in ``mlipstore/descriptors/`` with a frozen dataclass called ``plugin``; its fields are its
settings and make its identity. A baseline is the same in ``mlipstore/baselines/``. Both take a :class:`Batch`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .configuration import F8, Batch
from .errors import SettingsError, listed

#: Who may compute what is compiled here; the first does unless a variable of the environment asks for the other.
BACKENDS = ("native", "lammps")


def backend(variable: str, names: tuple[str, ...] = BACKENDS, default: str = "") -> str:
    """The one of ``names`` that this variable of the environment asks for.

    :param default: what is taken when it asks for nothing; the first name if empty
    :raises SettingsError: the variable asks for something that is not there
    """
    asked = os.environ.get(variable, "") or default or names[0]
    if asked not in names:
        raise SettingsError(f"{variable}={asked!r}; it is one of {listed(names)}.")
    return asked


class Column(NamedTuple):
    """One feature: its name and the element of the central atom it belongs to."""

    name: str
    element: str


@dataclass
class Rows:
    """Unweighted rows of the linear system; a row times the coefficients is the label it belongs to.

    :param energy: ``(n, M)``: contribution to the total energy, in eV per unit coefficient
    :param force: ``(3 N, M)``: atom-major, x y z, in eV/Å; i.e. minus the gradient of the energy row
    :param stress: ``(6 n, M)``: xx yy zz yz xz xy of each configuration, in eV/Å^3, positive in tension, i.e.
        (1/V) dE/d(strain); zero where the cell is not periodic in all directions
    """

    energy: F8
    force: F8
    stress: F8


@dataclass
class Reference:
    """Energy ``(n,)``, force ``(N, 3)``, stress ``(n, 6)`` of a reference potential, internal units."""

    energy: F8
    force: F8
    stress: F8


class Descriptor(Protocol):
    """The contract of a descriptor plugin."""

    elements: tuple[str, ...]

    def columns(self) -> list[Column]:
        """The features, in stored order."""
        ...

    def label(self) -> str:
        """A short human alias, such as ``snap-2J8``."""
        ...

    def rows(self, batch: Batch) -> Rows:
        """Rows of a batch; independent of how configurations are batched, bit for bit."""
        ...


class Baseline(Protocol):
    """The contract of a baseline plugin."""

    elements: tuple[str, ...]

    def label(self) -> str: ...

    def evaluate(self, batch: Batch) -> Reference: ...


def times(rows: Rows, coefficients: F8) -> Reference:
    """Energy, force and stress that rows give with coefficients ``(M,)``."""
    return Reference(
        rows.energy @ coefficients,
        (rows.force @ coefficients).reshape(-1, 3),
        (rows.stress @ coefficients).reshape(-1, 6),
    )


def apply(descriptor: Descriptor, coefficients: F8, batch: Batch) -> Reference:
    """Energy, force and stress of a batch; a descriptor that has ``evaluate(coefficients, batch)`` needs no rows."""
    direct: Callable[[F8, Batch], Reference] | None = getattr(descriptor, "evaluate", None)
    if direct is not None:
        return direct(coefficients, batch)
    return times(descriptor.rows(batch), coefficients)


def empty_rows(batch: Batch, n_features: int) -> Rows:
    """Zero rows of the right shapes for a batch."""
    n, atoms = len(batch), len(batch.number)
    return Rows(np.zeros((n, n_features)), np.zeros((3 * atoms, n_features)), np.zeros((6 * n, n_features)))


def type_index(batch_numbers: NDArray[np.int32], elements: tuple[str, ...]) -> NDArray[np.int32]:
    """Position of each atom's element in ``elements`` ``(N,)``; -1 where the element is not listed."""
    from ase.data import atomic_numbers

    lookup = np.full(256, -1, np.int32)
    for i, symbol in enumerate(elements):
        lookup[atomic_numbers[symbol]] = i
    return lookup[batch_numbers]
