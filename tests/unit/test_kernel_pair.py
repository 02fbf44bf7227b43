"""Compiled pair potentials by themselves: the published formula, and derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from mlipstore.configuration import Batch, Configuration
from mlipstore.errors import ComputeError, InputError, MissingDependencyError
from mlipstore.kernels import load
from mlipstore.kernels.pair import Zbl

try:
    load("pair", "baseline")
except MissingDependencyError as error:
    pytest.skip(str(error), allow_module_level=True)

MIXED = Zbl(2, ((74.0, 74.0), (74.0, 4.0), (4.0, 74.0), (4.0, 4.0)), 1.5, 4.0)


def dimer(r: float) -> Batch:
    positions = np.array([[0.0, 0.0, 0.0], [0.6 * r, 0.0, 0.8 * r]])
    return Batch.from_configurations([Configuration(np.array([74, 4]), positions, np.eye(3), np.zeros(3, bool))])


def energy(r: float) -> float:
    types = np.array([0, 1], np.int32)
    return float(MIXED.evaluate(dimer(r), types).energy[0])


def test_a_dimer_is_that_of_the_book() -> None:
    """Inside the inner radius energies differ from Z1 Z2 e^2 / r phi(r / a) by a constant."""

    def book(r: float) -> float:
        x = r * (74**0.23 + 4**0.23) / 0.46850
        phi = sum(
            c * np.exp(-d * x)
            for c, d in ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
        )
        return float(14.399645 * 74 * 4 / r * phi)

    np.testing.assert_allclose(energy(0.7) - energy(1.3), book(0.7) - book(1.3), rtol=1e-12)
    assert energy(4.0001) == 0.0 and abs(energy(3.9999)) < 1e-12
    left, right = (energy(1.5 - 1e-3) - energy(1.5)), (energy(1.5) - energy(1.5 + 1e-3))
    assert abs(left - right) < 0.01 * left  # smooth where switching begins


def test_forces_and_stress_are_derivatives() -> None:
    rng = np.random.default_rng(0)
    cell = 3.1 * (np.eye(3) + 0.2 * rng.normal(size=(3, 3)))
    positions = rng.random((3, 3)) @ cell
    types, numbers = np.array([0, 1, 1], np.int32), np.array([74, 4, 4])

    def at(strain: np.ndarray, shift: np.ndarray) -> float:
        turned = np.eye(3) + strain
        c = Configuration(numbers, (positions + shift) @ turned, cell @ turned, np.ones(3, bool))
        return float(MIXED.evaluate(Batch.from_configurations([c]), types).energy[0])

    now = MIXED.evaluate(Batch.from_configurations([Configuration(numbers, positions, cell, np.ones(3, bool))]), types)
    scale, h, zero = abs(now.force).max(), 1e-5, np.zeros((3, 3))
    for k in range(9):
        step = np.zeros(9)
        step[k] = h
        step = step.reshape(3, 3)
        slope = (at(zero, step) - at(zero, -step)) / (2 * h)
        assert abs(now.force.ravel()[k] + slope) < 1e-6 * scale
    volume = abs(np.linalg.det(cell))
    for k, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        step = np.zeros((3, 3))
        step[i, j] += h / 2
        step[j, i] += h / 2
        slope = (at(step, zero) - at(-step, zero)) / (2 * h)
        assert abs(now.stress[0, k] * volume - slope) < 1e-6 * max(scale, abs(slope))


def test_atoms_at_one_place_and_no_cell() -> None:
    with pytest.raises(ComputeError, match="two atoms at the same place"):
        energy(0.0)
    flat = Configuration(np.array([74]), np.zeros((1, 3)), np.zeros((3, 3)), np.ones(3, bool))
    with pytest.raises(InputError, match="cell vectors are missing"):
        MIXED.evaluate(Batch.from_configurations([flat]), np.zeros(1, np.int32))


def test_arrays_of_wrong_shape_are_refused() -> None:
    kernel = load("pair", "baseline").Zbl
    with pytest.raises(ValueError, match="types x types"):
        kernel(2, [1.0], [1.0], 1.0, 2.0)
    with pytest.raises(ValueError, match="inner < outer"):
        kernel(1, [1.0], [1.0], 2.0, 1.0)
