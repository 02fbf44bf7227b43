"""Four small data sets that are clean: three potentials that ASE has, five elements, four groups each."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from mlipstore.configuration import Batch, Configuration

NAMES = ("Cu", "CuAu", "Mg", "AlNi")


def _structure(name: str) -> tuple[Atoms, Callable[[], Any]]:
    """A cell of few atoms near its minimum, with vectors that are no symmetric matrix, and its potential."""
    if name == "Cu":
        return make_supercell(bulk("Cu", "fcc", a=3.6), [[2, 0, 0], [1, 2, 0], [0, 0, 2]]), EMT
    if name == "CuAu":
        cell = Atoms("CuAu", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[2.79, 2.79, 3.75], pbc=True)
        return make_supercell(cell, [[2, 0, 0], [1, 2, 0], [0, 0, 1]]), EMT
    if name == "Mg":
        cell = bulk("Mg", "hcp", a=3.19, c=5.2)
        return make_supercell(cell, [[2, 0, 0], [0, 2, 0], [0, 0, 1]]), lambda: LennardJones(
            sigma=2.86, epsilon=0.4, rc=6.5, smooth=True
        )
    cell = Atoms("AlNi", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[2.95] * 3, pbc=True)
    return make_supercell(cell, [[2, 0, 0], [1, 2, 0], [0, 0, 1]]), EMT


@cache
def clean(name: str) -> tuple[Configuration, ...]:
    """Groups ``volume`` (a series), ``strain``, ``walk`` (small steps in one cell) and ``hot`` (cells shaken)."""
    atoms, make = _structure(name)
    rng = np.random.default_rng(sum(map(ord, name)))
    calculator = make()
    out: list[Configuration] = []

    def add(group: str, a: Atoms) -> None:
        a.calc = calculator
        a.get_potential_energy()
        a.get_forces()
        a.get_stress()
        out.append(deepcopy(Configuration.from_ase(a, group, f"{name}.xyz", len(out))))

    for x in np.linspace(-0.02, 0.025, 12):
        a = atoms.copy()
        a.set_cell(a.cell[:] * (1 + x), scale_atoms=True)
        add("volume", a)
    for _ in range(30):
        strain = rng.uniform(-0.02, 0.02, (3, 3))
        a = atoms.copy()
        a.set_cell(a.cell[:] @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        add("strain", a)
    walking = atoms.copy()
    walking.rattle(0.05, seed=1)
    for _ in range(16):
        walking.positions += rng.normal(0, 0.02, walking.positions.shape)
        add("walk", walking.copy())
    for _ in range(40):
        strain = rng.uniform(-0.015, 0.015, (3, 3))
        a = atoms.copy()
        a.set_cell(a.cell[:] @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        a.positions += rng.normal(0, 0.06, a.positions.shape)
        add("hot", a)
    return tuple(out)


def batch(configurations: list[Configuration]) -> Batch:
    """One batch of them, by group as in a store."""
    return Batch.from_configurations(sorted(configurations, key=lambda c: c.group))
