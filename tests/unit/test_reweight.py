"""Fits with other weights from factors in memory: those of the command, to rounding, and their errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlipstore.api import Store
from mlipstore.errors import MemoryLimitError, SettingsError, UnknownNameError
from mlipstore.fit import compute, prepare
from mlipstore.runs.runfile import Fit, GroupSettings, PluginTable
from tests.small_store import small_store

pytestmark = pytest.mark.usefixtures("small_store_plugins")

SPLIT = GroupSettings(train=0.7, test=0.3, energy=10.0, force=1.0, stress=2.0)
FIT = Fit(default=SPLIT, groups={"bulk": replace(SPLIT, energy=50.0, force=0.3)})
FITS = {
    "plain": FIT,
    "ridge": replace(FIT, solver=PluginTable("ridge", settings={"alpha": 3.0})),
    "size": replace(FIT, weight_scaling="group-size"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(small_store(tmp_path_factory.mktemp("reweight"), 60))


@pytest.mark.parametrize("name", FITS)
def test_it_is_the_streamed_fit(store: Store, name: str) -> None:
    held = store.reweighted(FITS[name])
    changes = {"bulk.energy": 7.0, "surface.force": 0.0, "melt/2000 K.stress": 30.0}
    groups = {
        "bulk": replace(SPLIT, energy=7.0, force=0.3),
        "surface": replace(SPLIT, force=0.0),
        "melt/2000 K": replace(SPLIT, stress=30.0),
    }
    for weights, settings in (({}, FITS[name]), (changes, replace(FITS[name], groups=groups))):
        found = held.fit(weights)
        expected, _ = compute(prepare(store.repository, settings))
        x = np.concatenate([expected.coefficients, list(expected.constants.values())])
        np.testing.assert_allclose(found.coefficients, x, rtol=1e-8, atol=1e-10 * np.abs(x).max())
        assert found.rank == expected.rank
        lines = {(e.group, e.split, e.kind): e.rmse for e in expected.errors if not e.weighted}
        assert set(found.rmse) == set(lines)
        for at, rmse in lines.items():
            np.testing.assert_allclose(found.rmse[at], rmse, rtol=1e-8)


def test_factors_on_weights_and_all_groups(store: Store) -> None:
    held = store.reweighted(FIT)
    assert held.weights["bulk.energy"] == 50.0 and held.weights["surface.stress"] == 2.0
    a = held.fit(factors={"*.energy": 4.0})
    b = held.fit({"bulk.energy": 200.0, "surface.energy": 40.0, "melt/2000 K.energy": 40.0})
    np.testing.assert_allclose(a.coefficients, b.coefficients, rtol=1e-9)
    c = held.fit({"*.energy": 9.0, "bulk.energy": 3.0})
    d = held.fit({"bulk.energy": 3.0, "surface.energy": 9.0, "melt/2000 K.energy": 9.0})
    np.testing.assert_allclose(c.coefficients, d.coefficients, rtol=1e-9)


def test_far_away_weights_are_as_exact(store: Store) -> None:
    """Where the prepared factors no longer represent the rows they are stacked again."""
    held = store.reweighted(FIT)
    found = held.fit({"*.energy": 1e7, "*.force": 1e-5})
    settings = replace(FIT, default=replace(SPLIT, energy=1e7, force=1e-5), groups={})
    expected, _ = compute(prepare(store.repository, settings))
    x = np.concatenate([expected.coefficients, list(expected.constants.values())])
    np.testing.assert_allclose(found.coefficients, x, rtol=1e-6)


def test_bad_weights_are_told(store: Store) -> None:
    held = store.reweighted(FIT)
    with pytest.raises(UnknownNameError, match=r"bulk\.energy"):
        held.fit({"bulc.energy": 1.0})
    with pytest.raises(SettingsError, match="energy"):
        held.fit({"bulk.enrgy": 1.0})
    with pytest.raises(SettingsError, match="from 0 on"):
        held.fit({"bulk.energy": -1.0})
    with pytest.raises(SettingsError, match="all weights are 0"):
        held.fit({"*.energy": 0.0, "*.force": 0.0, "*.stress": 0.0})
    nothing = store.reweighted(replace(FIT, default=replace(SPLIT, stress=0.0)))
    with pytest.raises(SettingsError, match="no weight"):
        nothing.fit({"surface.stress": 1.0})
    with pytest.raises(MemoryLimitError, match="from-factors"):
        problem = nothing.problem
        object.__setattr__(problem.problem.plan, "allowance", 1000)
        type(nothing)(problem)
