"""Every known corruption of clean data is found and called by its name; clean data pass."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
from ase.units import Bohr, Hartree

from mlipstore import registry
from mlipstore.audit.finding import Finding
from mlipstore.audit.run import look_at, run_checks
from mlipstore.configuration import Configuration
from mlipstore.split import TEST, TRAIN
from mlipstore.units import GPA

from .clean_sets import NAMES, batch, clean

Set = list[Configuration]
Mutation = Callable[[Set], Set]
KBAR, BAR = GPA / 10, GPA / 1e4


def of(configurations: Set, *groups: str) -> Set:
    return [c for c in configurations if c.group in groups]


def stress(scale: float) -> Mutation:
    def change(all_: Set) -> Set:
        for c in all_:
            assert c.stress is not None
            c.stress = c.stress * scale
        return all_

    return change


def virial(all_: Set) -> Set:
    for c in all_:
        assert c.stress is not None
        c.stress = -c.stress * abs(c.volume)
    return all_


def one_group_in_kbar(all_: Set) -> Set:
    stress(1 / KBAR)(of(all_, "strain"))
    return all_


def shear(order: list[int]) -> Mutation:
    def change(all_: Set) -> Set:
        for c in all_:
            assert c.stress is not None
            c.stress = c.stress[[0, 1, 2, *order]]
        return all_

    return change


def forces(scale: float) -> Mutation:
    def change(all_: Set) -> Set:
        for c in all_:
            assert c.forces is not None
            c.forces = c.forces * scale
        return all_

    return change


def energies(scale: float) -> Mutation:
    def change(all_: Set) -> Set:
        for c in all_:
            c.energy *= scale
        return all_

    return change


def of_another_frame(all_: Set) -> Set:
    walk = of(all_, "walk")
    hot = [c.forces for c in of(all_, "hot")]
    for c, f in zip(walk, hot, strict=False):
        c.forces = f
    return all_


def one_energy(all_: Set) -> Set:
    of(all_, "walk")[7].energy += 2.5
    return all_


def zeroed(all_: Set) -> Set:
    for c in of(all_, "hot")[::2]:
        c.forces = np.zeros((len(c), 3))
    return all_


def net_force(all_: Set) -> Set:
    for c in of(all_, "walk"):
        assert c.forces is not None
        c.forces = c.forces + np.array([0.03, 0.0, 0.0])
    return all_


def copied(all_: Set) -> Set:
    return all_ + deepcopy(of(all_, "hot")[:5])


def copied_across(all_: Set) -> Set:
    more = deepcopy(of(all_, "hot")[:5])
    for c in more:
        c.group = "walk"
    return all_ + more


def copied_with_noise(all_: Set) -> Set:
    more = deepcopy(of(all_, "hot")[:5])
    for i, c in enumerate(more):
        c.positions = c.positions + np.random.default_rng(i).normal(0, 3e-4, c.positions.shape)
    return all_ + more


def copied_with_other_energy(all_: Set) -> Set:
    more = deepcopy(of(all_, "hot")[:5])
    for c in more:
        c.energy += 0.05 * len(c)
    return all_ + more


def turned(all_: Set) -> Set:
    more = deepcopy(of(all_, "hot")[:5])
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    for c in more:
        order = np.random.default_rng(4).permutation(len(c))
        c.cell, c.positions = c.cell @ rotation.T, (c.positions @ rotation.T + [0.3, 0.1, 0.2])[order]
        c.numbers, c.forces, c.stress = c.numbers[order], None, None
    return all_ + more


def shifted(all_: Set) -> Set:
    for c in of(all_, "hot"):
        c.energy += 3.4 * len(c)
    return all_


def fractional(all_: Set) -> Set:
    for c in of(all_, "hot"):
        f = np.linalg.solve(c.cell.T, c.positions.T).T
        c.positions = f - np.floor(f)
    return all_


def transposed(all_: Set) -> Set:
    for c in all_:
        c.cell = c.cell.T.copy()
    return all_


def not_periodic(all_: Set) -> Set:
    for c in of(all_, "hot"):
        c.pbc = np.zeros(3, bool)
    return all_


def left_handed(all_: Set) -> Set:
    for c in of(all_, "strain"):
        c.cell = c.cell[[1, 0, 2]].copy()
    return all_


def in_bohr(all_: Set) -> Set:
    for c in all_:
        c.cell, c.positions = c.cell / Bohr, c.positions / Bohr
    return all_


def overlapping(all_: Set) -> Set:
    c = of(all_, "hot")[3]
    c.positions = c.positions.copy()
    c.positions[1] = c.positions[0] + [0.25, 0.2, 0.1]
    return all_


def no_stress(all_: Set) -> Set:
    for c in of(all_, "hot")[::2]:
        c.stress = np.zeros(6)
    return all_


def some_without_energy(all_: Set) -> Set:
    for c in of(all_, "hot")[::4]:
        c.energy = float("nan")
    return all_


def far_off(all_: Set) -> Set:
    c = of(all_, "strain")[2]
    c.energy += 20.0 * len(c)
    return all_


def huge_force(all_: Set) -> Set:
    c = of(all_, "hot")[2]
    assert c.forces is not None
    c.forces = c.forces.copy()
    c.forces[0, 0] += 90.0
    c.forces[1, 0] -= 90.0
    return all_


MUTATIONS: dict[str, tuple[Mutation, str, str]] = {
    "stress in kbar": (stress(1 / KBAR), "stress-unit", "unit"),
    "stress in GPa": (stress(1 / GPA), "stress-unit", "unit"),
    "stress in bar, compression positive": (stress(-1 / BAR), "stress-unit", "unit-and-sign"),
    "stress of the wrong sign": (stress(-1.0), "stress-unit", "sign"),
    "virial": (virial, "stress-unit", "virial"),
    "one group in kbar": (one_group_in_kbar, "stress-unit", "mixed-units"),
    "shear in the order of VASP": (shear([5, 3, 4]), "shear-order", "order"),
    "shear in the order of LAMMPS": (shear([5, 4, 3]), "shear-order", "order"),
    "forces negated": (forces(-1.0), "energy-force", "sign"),
    "forces in Ha/Bohr": (forces(Bohr / Hartree), "energy-force", "force-unit"),
    "energies in Ha": (energies(1 / Hartree), "energy-force", "energy-unit"),
    "forces of another frame": (of_another_frame, "energy-force", "energy-force"),
    "one energy is off": (one_energy, "energy-force", "energy-force"),
    "forces zeroed": (zeroed, "zero-forces", "lost-forces"),
    "net force": (net_force, "force-sum", "force-sum"),
    "copies": (copied, "copies", "copies"),
    "copies in another group": (copied_across, "copies", "copies"),
    "copies with noise": (copied_with_noise, "near-copies", "near-copies"),
    "copies with other energies": (copied_with_other_energy, "label-conflict", "conflict"),
    "copies turned and renumbered": (turned, "symmetry-copies", "symmetry-copies"),
    "energies of a group shifted": (shifted, "energy-zero", "energy-zero"),
    "positions fractional": (fractional, "distances", "fractional"),
    "cells transposed": (transposed, "distances", "transposed"),
    "periodicity dropped": (not_periodic, "cell", "pbc"),
    "left-handed cells": (left_handed, "cell", "left-handed"),
    "lengths in Bohr": (in_bohr, "length-unit", "length-unit"),
    "atoms overlapping": (overlapping, "distances", "distance"),
    "zero stress for a missing one": (no_stress, "missing-labels", "zero-stress"),
    "energies missing": (some_without_energy, "missing-labels", "no-energy"),
    "one energy per atom far off": (far_off, "energy-outlier", "energy-outlier"),
    "a huge force": (huge_force, "large-force", "large-force"),
}


def findings(configurations: Set) -> list[Finding]:
    data = look_at([batch(configurations)])
    data.units = ["eV/Å^3"]
    return run_checks(data, registry.names("checks"))


@pytest.mark.parametrize("name", NAMES)
def test_clean_data_pass(name: str) -> None:
    configurations = list(deepcopy(clean(name)))
    found = findings(configurations)
    assert [f for f in found if f.verdict == "error"] == []
    warned = {int(i) for f in found if f.verdict == "warning" for i in f.configurations}
    assert len(warned) < 0.01 * len(configurations), [f.what for f in found if f.verdict == "warning"]
    # and what can be decided is
    sure = {(f.check, f.group) for f in found if f.verdict == "ok"}
    assert {
        ("stress-unit", "volume"),
        ("stress-unit", "strain"),
        ("energy-force", "walk"),
        ("shear-order", "hot"),
    } <= sure


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", MUTATIONS)
def test_corruption_is_found(what: str, name: str) -> None:
    mutate, check, code = MUTATIONS[what]
    found = findings(mutate(list(deepcopy(clean(name)))))
    hits = [f for f in found if f.check == check and f.code == code and f.verdict in ("warning", "error")]
    assert hits, [(f.check, f.code, f.group, f.what) for f in found if f.verdict in ("warning", "error")]


@pytest.mark.parametrize(("factor", "unit"), [(1 / KBAR, "kbar"), (1 / GPA, "GPa"), (1 / BAR, "bar")])
def test_the_unit_is_named(factor: float, unit: str) -> None:
    found = findings(stress(factor)(list(deepcopy(clean("CuAu")))))
    named = {f.evidence.get("unit") for f in found if f.check == "stress-unit" and f.verdict == "error"}
    assert named == {unit}


def test_copies_across_a_split_are_leakage() -> None:
    configurations = copied(list(deepcopy(clean("Cu"))))
    data = look_at([batch(configurations)])
    data.split = np.where(np.arange(len(configurations)) % 2, TRAIN, TEST).astype(np.int8)
    (copies,) = [f for f in run_checks(data, ["copies"])]
    pair = next(c for c in data.copies)
    data.split[pair] = [TRAIN, TEST]
    (leak,) = run_checks(data, ["leakage"])
    assert leak.verdict == "error" and leak.evidence["exact"] >= 1 and copies.evidence["copies"] == 5
    data.split[:] = TRAIN
    assert run_checks(data, ["leakage"]) == []


@pytest.mark.parametrize("name", registry.names("checks"))
def test_contract(name: str) -> None:
    """A check runs on any data, is of a version, and says things that can be written as JSON."""
    import json

    from mlipstore.audit.finding import VERDICTS, described

    plugin = registry.make("checks", name, {})
    assert isinstance(plugin.version, int) and plugin.version > 0 and type(plugin).__doc__
    poor = [
        Configuration(np.array([29]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool)),
        Configuration(np.array([29, 29]), np.zeros((2, 3)), np.eye(3), np.ones(3, bool), -1.0, np.zeros((2, 3))),
        Configuration(np.array([1]), np.zeros((1, 3)), np.diag([1.0, 1.0, 1e-9]), np.ones(3, bool), stress=np.ones(6)),
    ]
    for configurations in ([], poor, poor * 3, list(clean("Mg"))[:1]):
        data = look_at([batch(configurations)])
        data.refused = ["x.xyz, frame 3: broken"]
        for f in plugin.run(data) if len(configurations) or name == "unreadable" else ():
            assert f.verdict in VERDICTS and f.what and "nan" not in f.what
            assert f.configurations.dtype == np.int64 and (f.configurations < len(configurations)).all()
            json.dumps(described(f), default=float)
