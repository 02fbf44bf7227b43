"""What every baseline keeps: forces and stresses are derivatives of its energy, and nothing but physics matters."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from mlipstore import registry
from mlipstore.computing import Reference
from mlipstore.configuration import Batch, Configuration
from mlipstore.errors import ComputeError, MissingDependencyError, SettingsError

from .structures import ELEMENTS, derivatives, moved, rotated, structures, turn, turned_tensor

STRUCTURES = structures()
#: More settings for some plugins; every plugin is tried with its own ``example`` as well.
MORE: dict[str, list[dict[str, Any]]] = {
    "lammps": [
        {
            "elements": ELEMENTS,
            "pair_style": "hybrid/overlay zero 10.0 zbl 3.0 4.8",
            "pair_coeff": ["* * zero", "1 1 zbl 74 74", "1 2 zbl 74 4", "2 2 zbl 4 4"],
        },
        {"elements": ELEMENTS, "pair_style": "zero 5.0", "pair_coeff": ["* *"]},
    ]
}


def _cases() -> list[Any]:
    cases = []
    for name in registry.names("baselines"):
        settings = [registry.get("baselines", name).example(ELEMENTS), *MORE.get(name, [])]
        cases += [pytest.param((name, s), id=f"{name}-{i}") for i, s in enumerate(settings)]
    return cases


@pytest.fixture(scope="module", params=_cases())
def name_and_settings(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    param: tuple[str, dict[str, Any]] = request.param
    return param


@pytest.fixture(scope="module")
def baseline(name_and_settings: tuple[str, dict[str, Any]]) -> Any:
    made = registry.make("baselines", *name_and_settings)
    try:
        one(made, STRUCTURES["in the frame"])
    except MissingDependencyError as error:
        pytest.skip(str(error))
    return made


def one(baseline: Any, c: Configuration) -> Reference:
    result: Reference = baseline.evaluate(Batch.from_configurations([c]))
    return result


def close(ours: Any, theirs: Any, relative: float, energy: Any) -> None:
    """Within ``relative`` of the largest number there is."""
    scale = max(float(np.max(np.abs(theirs))), float(np.max(np.abs(energy))), 1e-3)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=relative * scale)


def test_settings_make_the_same_baseline(name_and_settings: Any, baseline: Any) -> None:
    plain = registry.settings_of(baseline)
    again = registry.make("baselines", name_and_settings[0], json.loads(json.dumps(plain)))
    assert again == baseline
    assert pickle.loads(pickle.dumps(baseline)) == baseline
    assert baseline.label().isprintable() and " " not in baseline.label()


@pytest.mark.parametrize("name", STRUCTURES)
def test_force_and_stress_are_derivatives_of_the_energy(baseline: Any, name: str) -> None:
    c = STRUCTURES[name]
    now = one(baseline, c)
    force, strain = derivatives(c, lambda batch: baseline.evaluate(batch).energy)
    close(now.force.ravel(), force, 2e-7, now.energy)
    if c.pbc.all():
        close(now.stress[0], strain / abs(c.volume), 2e-7, now.energy)
    else:
        assert not now.stress.any()


@pytest.mark.parametrize("name", STRUCTURES)
def test_rotation_and_translation(baseline: Any, name: str) -> None:
    c, r = STRUCTURES[name], turn(7)
    steps = np.random.default_rng(0).integers(-3, 4, (len(c), 3)) * c.pbc
    before, after = one(baseline, c), one(baseline, rotated(moved(c, steps @ c.cell + [0.3, -7.7, 2.1]), r))
    close(after.energy, before.energy, 1e-9, before.energy)
    close(after.force, before.force @ r.T, 1e-9, before.energy)
    close(after.stress[0], turned_tensor(before.stress[0], r), 1e-9, before.energy)


def test_values_do_not_depend_on_the_batch(baseline: Any) -> None:
    """Bit for bit: alone, together, in another order, with nothing in between."""
    nobody = Configuration(np.zeros(0, int), np.zeros((0, 3)), np.eye(3), np.ones(3, bool))
    everything = [*STRUCTURES.values(), nobody]
    together = baseline.evaluate(Batch.from_configurations(everything))
    pieces = [one(baseline, c) for c in reversed(everything)][::-1]
    for name in ("energy", "force", "stress"):
        np.testing.assert_array_equal(getattr(together, name), np.concatenate([getattr(p, name) for p in pieces]))


def test_errors_name_the_configuration(baseline: Any) -> None:
    good = STRUCTURES["skewed"]
    gold = Configuration(np.array([79]), np.zeros((1, 3)), np.eye(3) * 3, np.ones(3, bool), source="bad.json", frame=3)
    before = one(baseline, good)
    with pytest.raises(ComputeError, match=r"bad\.json, frame 3.*Au"):
        baseline.evaluate(Batch.from_configurations([good, gold]))
    np.testing.assert_array_equal(one(baseline, good).force, before.force)


def test_settings_that_cannot_be_are_refused(name_and_settings: Any) -> None:
    name, settings = name_and_settings
    for elements in ([], ["W", "W"], ["Xq", "Be"]):
        with pytest.raises(SettingsError, match="elements"):
            registry.make("baselines", name, settings | {"elements": elements})
