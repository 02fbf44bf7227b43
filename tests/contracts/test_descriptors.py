"""What every descriptor keeps: its rows are derivatives of one another, and see the physics and nothing else."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mlipstore import registry
from mlipstore.computing import Rows
from mlipstore.configuration import Batch, Configuration
from mlipstore.errors import ComputeError, InputError, MissingDependencyError, SettingsError

from ..snap_backends import BACKENDS, use
from .structures import ELEMENTS, derivatives, moved, rotated, structures, turn, turned_tensor

STRUCTURES = structures()
#: More settings for some plugins; every plugin is tried with its own ``example`` as well.
MORE: dict[str, list[dict[str, Any]]] = {
    "snap": [
        {"elements": ELEMENTS, "rcutfac": 4.3, "twojmax": [4, 3], "radelem": [0.5, 0.42], "wj": [1.0, 0.9]},
        {"elements": ELEMENTS, "rcutfac": 4.3, "twojmax": 4, "bzeroflag": True, "rmin0": 0.3, "rfac0": 0.9},
        {"elements": ELEMENTS, "rcutfac": 4.1, "twojmax": 3, "quadraticflag": True, "bzeroflag": True},
        {"elements": ELEMENTS, "rcutfac": 4.1, "twojmax": [2, 4], "radelem": [0.5, 0.45], "quadraticflag": True},
        {"elements": ELEMENTS, "rcutfac": 4.3, "twojmax": 3, "chemflag": True, "bnormflag": True},
        {"elements": ELEMENTS, "rcutfac": 4.3, "twojmax": 2, "chemflag": True, "wselfallflag": True, "bzeroflag": True},
        {
            "elements": ELEMENTS,
            "rcutfac": 4.3,
            "twojmax": 4,
            "switchinnerflag": True,
            "sinner": [1.9, 2.3],
            "dinner": [0.6, 0.4],
        },
    ]
}


Case = tuple[str, dict[str, Any], str]


def _cases() -> list[Any]:
    cases = []
    for name in registry.names("descriptors"):
        settings = [registry.get("descriptors", name).example(ELEMENTS), *MORE.get(name, [])]
        for i, s in enumerate(settings):
            for backend in BACKENDS if name == "snap" else ("",):
                if not (backend == "native" and s.get("quadraticflag")):
                    cases.append(pytest.param((name, s, backend), id="-".join([name, str(i), backend]).rstrip("-")))
    return cases


@pytest.fixture(scope="module", params=_cases())
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    param: Case = request.param
    with pytest.MonkeyPatch.context() as patch:
        if param[2]:
            use(param[2], patch)
        yield param


@pytest.fixture(scope="module")
def descriptor(case: Case) -> Any:
    made = registry.make("descriptors", case[0], case[1])
    try:
        made.rows(batch_of("in the frame"))
    except MissingDependencyError as error:
        pytest.skip(str(error))
    return made


def batch_of(*names: str) -> Batch:
    return Batch.from_configurations([STRUCTURES[n] for n in names])


def one(descriptor: Any, c: Configuration) -> Rows:
    return descriptor.rows(Batch.from_configurations([c]))


def close(ours: Any, theirs: Any, relative: float, size: Any) -> None:
    """Within ``relative`` of the size of each column: that of its sum over atoms, or of the entries compared."""
    scale = np.maximum(np.max(np.abs(theirs), axis=0), np.max(np.abs(size), axis=0)) + 1e-12
    assert ours.shape == theirs.shape
    worst = np.max(np.abs(ours - theirs) / scale)
    assert worst < relative, f"differs by {worst:.1e} of its column"


def same_bits(a: Rows, b: Rows) -> None:
    for x, y in ((a.energy, b.energy), (a.force, b.force), (a.stress, b.stress)):
        np.testing.assert_array_equal(x, y)


def test_settings_make_the_same_descriptor(case: Case, descriptor: Any) -> None:
    plain = registry.settings_of(descriptor)
    again = registry.make("descriptors", case[0], json.loads(json.dumps(plain)))
    assert again == descriptor
    assert pickle.loads(pickle.dumps(descriptor)) == descriptor
    assert descriptor.label().isprintable() and " " not in descriptor.label()


def test_columns_name_every_feature_once(descriptor: Any) -> None:
    columns = descriptor.columns()
    assert len({c.name for c in columns}) == len(columns)
    assert {c.element for c in columns} <= set(descriptor.elements)
    rows = descriptor.rows(batch_of("skewed", "one atom"))
    m = len(columns)
    assert (rows.energy.shape, rows.force.shape, rows.stress.shape) == ((2, m), (15, m), (12, m))


@pytest.mark.parametrize("name", STRUCTURES)
def test_force_and_stress_rows_are_derivatives_of_the_energy_row(descriptor: Any, name: str) -> None:
    c = STRUCTURES[name]
    rows = one(descriptor, c)
    force, strain = derivatives(c, lambda batch: descriptor.rows(batch).energy)
    close(rows.force, force, 2e-7, rows.energy)
    if c.pbc.all():
        close(rows.stress, strain / abs(c.volume), 2e-7, rows.energy)
    else:
        assert not rows.stress.any()


@pytest.mark.parametrize("name", STRUCTURES)
def test_rotation(descriptor: Any, name: str) -> None:
    c, r = STRUCTURES[name], turn(7)
    before, after = one(descriptor, c), one(descriptor, rotated(c, r))
    close(after.energy, before.energy, 1e-9, before.energy)
    close(
        after.force,
        np.einsum("ab,nbk->nak", r, before.force.reshape(len(c), 3, -1)).reshape(3 * len(c), -1),
        1e-9,
        before.energy,
    )
    close(after.stress, turned_tensor(before.stress, r), 1e-9, before.energy)


@pytest.mark.parametrize("name", STRUCTURES)
def test_translation_and_lattice_vectors(descriptor: Any, name: str) -> None:
    c = STRUCTURES[name]
    steps = np.random.default_rng(0).integers(-3, 4, (len(c), 3)) * c.pbc
    before, after = one(descriptor, c), one(descriptor, moved(c, np.array([0.3, -7.7, 2.1]) + steps @ c.cell))
    for x, y in ((after.energy, before.energy), (after.force, before.force), (after.stress, before.stress)):
        close(x, y, 1e-9, before.energy)


def test_order_of_atoms(descriptor: Any) -> None:
    c, order = STRUCTURES["skewed"], np.array([2, 0, 3, 1])
    before = one(descriptor, c)
    after = one(descriptor, Configuration(c.numbers[order], c.positions[order], c.cell, c.pbc))
    close(after.energy, before.energy, 1e-9, before.energy)
    close(after.force, before.force.reshape(4, 3, -1)[order].reshape(12, -1), 1e-9, before.energy)
    close(after.stress, before.stress, 1e-9, before.energy)


def test_twice_the_cell_is_twice_the_energy(descriptor: Any) -> None:
    c = STRUCTURES["skewed"]
    cell = c.cell * np.array([[2], [1], [1]])
    twice = Configuration(np.tile(c.numbers, 2), np.concatenate([c.positions, c.positions + c.cell[0]]), cell, c.pbc)
    before, after = one(descriptor, c), one(descriptor, twice)
    close(after.energy, 2 * before.energy, 1e-9, before.energy)
    close(after.force, np.tile(before.force, (2, 1)), 1e-9, before.energy)
    close(after.stress, before.stress, 1e-9, before.energy)


def test_lattice_has_no_hand(descriptor: Any) -> None:
    """The same lattice with a left-handed and a right-handed cell."""
    c = STRUCTURES["left-handed"]
    before = one(descriptor, c)
    after = one(descriptor, Configuration(c.numbers, c.positions, c.cell[[1, 0, 2]], c.pbc))
    for x, y in ((after.energy, before.energy), (after.force, before.force), (after.stress, before.stress)):
        close(x, y, 1e-9, before.energy)


def test_rows_do_not_depend_on_the_batch(descriptor: Any) -> None:
    """Bit for bit: alone, together, in another order, after something else."""
    names = list(STRUCTURES)
    together = descriptor.rows(batch_of(*names))
    pieces = [one(descriptor, STRUCTURES[n]) for n in reversed(names)][::-1]
    joined = Rows(*(np.concatenate([getattr(p, k) for p in pieces]) for k in ("energy", "force", "stress")))
    same_bits(together, joined)
    same_bits(descriptor.rows(batch_of(*names).slice(2, 5)), descriptor.rows(batch_of(*names[2:5])))


def test_nothing_is_fine(descriptor: Any) -> None:
    """An empty batch, and a configuration without atoms between others."""
    m = len(descriptor.columns())
    assert descriptor.rows(Batch.from_configurations([])).energy.shape == (0, m)
    nobody = Configuration(np.zeros(0, int), np.zeros((0, 3)), np.eye(3), np.ones(3, bool))
    rows = descriptor.rows(Batch.from_configurations([STRUCTURES["skewed"], nobody, STRUCTURES["one atom"]]))
    assert not rows.energy[1].any() and not rows.stress[6:12].any()
    assert rows.force.shape == (15, m)


def test_errors_name_the_configuration(descriptor: Any) -> None:
    good = STRUCTURES["skewed"]
    bad = Configuration(np.array([74]), np.zeros((1, 3)), np.eye(3) * 3, np.ones(3, bool), source="bad.json", frame=3)
    before = one(descriptor, good)
    batch = Batch.from_configurations([good, bad])
    strange, flat, lost = batch.number.copy(), batch.cell.copy(), batch.position.copy()
    strange[-1], flat[-1, 2], lost[-1] = 79, [3, 3, 0], np.nan
    for broken in ({"number": strange}, {"cell": flat}, {"position": lost}):
        with pytest.raises((ComputeError, InputError), match=r"bad\.json, frame 3"):
            descriptor.rows(dataclasses.replace(batch, **broken))
    same_bits(one(descriptor, good), before)  # and the next one is computed as if nothing had been


def test_settings_that_cannot_be_are_refused(case: Case) -> None:
    name, settings, _ = case
    for elements in ([], ["W", "W"], ["Xq", "Be"]):
        with pytest.raises(SettingsError, match="elements"):
            registry.make("descriptors", name, settings | {"elements": elements})
