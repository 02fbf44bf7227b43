"""Small configurations that are awkward on purpose, and moves that physics does or does not notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from ase.data import atomic_numbers

from mlipstore.configuration import F8, Batch, Configuration
from mlipstore.units import VOIGT_INDEX

ELEMENTS = ("W", "Be")


def turn(seed: int) -> F8:
    """A random rotation ``(3, 3)``, determinant +1."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def _make(cell: F8, fractional: F8, symbols: str, pbc: tuple[bool, bool, bool], name: str) -> Configuration:
    numbers = np.array([atomic_numbers[s] for s in symbols.split()])
    return Configuration(numbers, fractional @ cell, cell, np.array(pbc), group="awkward", source=name)


def structures() -> dict[str, Configuration]:
    """By name; W and Be, 1 to 4 atoms, all kinds of cells."""
    skewed = np.array([[3.1, 0.2, -0.3], [1.4, 3.3, 0.4], [-1.2, 1.1, 3.6]]) @ turn(1).T
    four = np.array([[0.02, 0.05, 0.01], [0.51, 0.46, 0.03], [0.48, 0.05, 0.52], [0.02, 0.55, 0.47]])
    yes = (True, True, True)
    lattice = np.array([[2.9, 0.0, 0.0], [0.7, 3.1, 0.0], [0.4, -0.9, 3.4]])
    plate = np.array([[3.9, 0.3, 0.1], [0.8, 0.2, 4.1], [1.0, 9.0, 2.0]])
    molecule = np.array([[0.0, 0.1, 100.0], [2.1, 0.2, 100.3], [0.3, 2.4, 99.9], [-1.9, 0.3, 101.2]])
    return {
        "skewed": _make(skewed * 1.3, four, "W Be W Be", yes, "skewed"),
        "left-handed": _make(skewed[[1, 0, 2]] * 1.3, four, "W W Be W", yes, "left-handed"),
        "one atom": _make(
            np.array([[2.6, 0.3, 0.1], [0.2, 2.9, 0.5], [-0.3, 0.4, 3.1]]), np.zeros((1, 3)), "Be", yes, "one"
        ),
        "in the frame": _make(lattice, four[:2], "W Be", yes, "in the frame"),
        "far outside": _make(lattice, four[:2] + np.array([[3, -2, 5], [0, 1, -7]]), "W Be", yes, "far outside"),
        "very skewed": _make(
            np.array([[3, 0, 0], [31, 3.2, 0], [-20, 25, 3.5]]) @ turn(2).T, four[:2], "W Be", yes, "very"
        ),
        "plate": _make(plate, four[:3] * [1, 0.4, 1], "W Be W", (True, False, True), "plate"),
        "wire": _make(lattice @ turn(3).T * 1.2, four[:3], "W Be Be", (False, False, True), "wire"),
        "molecule": moved(_make(np.zeros((3, 3)), four, "W Be W Be", (False, False, False), "molecule"), molecule),
    }


def rotated(c: Configuration, rotation: F8) -> Configuration:
    """Cell and atoms turned together."""
    return replace(c, positions=c.positions @ rotation.T, cell=c.cell @ rotation.T)


def strained(c: Configuration, strain: F8) -> Configuration:
    """Cell and atoms under x -> (1 + strain) x."""
    return rotated(c, np.eye(3) + strain)


def moved(c: Configuration, by: F8) -> Configuration:
    """Atoms moved by ``(n, 3)`` or ``(3,)`` Å, not wrapped."""
    return replace(c, positions=c.positions + by)


def turned_tensor(voigt: F8, rotation: F8) -> F8:
    """Tensors ``(6, ...)`` turned with the configuration."""
    full = np.zeros((3, 3, *voigt.shape[1:]))
    for k, (i, j) in enumerate(VOIGT_INDEX):
        full[i, j] = full[j, i] = voigt[k]
    full = np.einsum("ac,bd,cd...->ab...", rotation, rotation, full)
    return np.stack([full[i, j] for i, j in VOIGT_INDEX])


def derivatives(c: Configuration, energies: Callable[[Batch], F8], step: float = 1e-4) -> tuple[F8, F8]:
    """Central differences of fourth order: -dE/dr ``(3 n, ...)`` and dE/d(strain) ``(6, ...)``.

    The step is small because the second derivative of a cutoff function jumps: a neighbour that crosses it
    within the step would show.

    :param energies: ``batch -> (len(batch), ...)``
    """
    weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    directions: list[Callable[[float], Configuration]] = []
    for atom in range(len(c)):
        for axis in range(3):
            unit = np.zeros((len(c), 3))
            unit[atom, axis] = 1.0
            directions.append(lambda h, unit=unit: moved(c, h * unit))
    for i, j in VOIGT_INDEX:
        shape = np.zeros((3, 3))
        shape[i, j] += 0.5
        shape[j, i] += 0.5
        directions.append(lambda h, shape=shape: strained(c, h * shape))
    batch = Batch.from_configurations([d(k * step) for d in directions for k in weights])
    values = energies(batch)
    values = values.reshape(len(directions), len(weights), *values.shape[1:])
    slopes = np.einsum("k,dk...->d...", np.array(list(weights.values())), values) / step
    n = 3 * len(c)
    return -slopes[:n], slopes[n:]
