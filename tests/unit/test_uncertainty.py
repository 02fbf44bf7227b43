"""Predicted standard deviations: their formula, calibrated on left-out groups, in the calculator, in pictures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlipstore.configuration import Batch, Configuration
from mlipstore.errors import SettingsError
from mlipstore.fit import fit, prepare
from mlipstore.kept.compute import factor
from mlipstore.kept.fit import fit_from_factors
from mlipstore.kept.uncertainty import uncertainty
from mlipstore.model import Model
from mlipstore.plot import plot
from mlipstore.runs.runfile import Fit, GroupSettings, PluginTable
from mlipstore.split import TRAIN
from mlipstore.store import Repository
from tests.robustness.sources import done, run
from tests.small_store import configurations, small_store

pytestmark = pytest.mark.usefixtures("small_store_plugins")

SPLIT = GroupSettings(train=0.8, test=0.2, energy=10.0, force=1.0, stress=2.0)
FITS = {
    "plain": Fit(default=SPLIT),
    "bare": Fit(default=SPLIT, constant=False, baseline="none"),
    "ridge": Fit(default=SPLIT, solver=PluginTable("ridge", settings={"alpha": 50.0})),
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A store with the models of ``FITS``, calibrated, and ``other``, which is not."""
    repository = small_store(tmp_path_factory.mktemp("uncertainty"), 60)
    for name, settings in FITS.items():
        fit(repository, replace(settings, name=name))
        uncertainty(repository, name)
    fit_from_factors(repository, Fit(name="other", default=SPLIT, seed=2), keep=True)
    return repository


def batch() -> Batch:
    atoms = configurations(6, 99)
    return Batch.from_configurations([Configuration.from_ase(a) for a in atoms])


def brute_force(repository: Repository, settings: Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Covariance of the coefficients from the whole matrix; unweighted rows, their kind and their group."""
    problem = prepare(repository, settings)
    A, b, w, kinds, groups = [], [], [], [], []
    for labels, block in problem.matrix.blocks(problem.table.split):
        split, codes = problem.table.split(labels), problem.table.codes(labels)
        mine = split[block.configuration] == TRAIN
        A.append(block.A[mine])
        b.append(block.b[mine])
        w.append(problem.table.row_weights(block, codes, split, labels.n_atoms)[mine])
        kinds.append(np.full(mine.sum(), block.kind))
        groups.append(codes[block.configuration][mine])
    rows, target, weight = np.concatenate(A), np.concatenate(b), np.concatenate(w)
    kind, group = np.concatenate(kinds), np.concatenate(groups)
    alpha = settings.solver.settings.get("alpha", 0.0)
    W = weight[:, None] * rows
    C = np.linalg.inv(W.T @ W + alpha * np.eye(rows.shape[1]))
    x = C @ W.T @ (weight * target)
    r = weight * target - W @ x
    used = np.trace(C @ W.T @ W)
    pulls = [C @ W[group == g].T @ r[group == g] for g in np.unique(group)]
    shared = sum(np.outer(d, d) for d in pulls) * len(pulls) / (len(pulls) - 1)
    return r @ r / (len(r) - used) * C + shared, rows, kind, group


@pytest.mark.parametrize("name", FITS)
def test_deviations_are_those_of_the_formula(fitted: Repository, name: str) -> None:
    C, rows, kind, _ = brute_force(fitted, FITS[name])
    model = Model.load(fitted.at(), name)
    stored = fitted.at().attributes(f"models/{model.id}")["uncertainty"]
    data = batch()
    spread = model.spread(data)
    made = model.descriptor.rows(data)

    def root(a: np.ndarray) -> np.ndarray:
        full = np.zeros((len(a), rows.shape[1]))
        full[:, : a.shape[1]] = a
        return np.sqrt(np.einsum("ij,jk,ik->i", full, C, full))

    energy = made.energy
    if name != "bare":
        types = np.stack([(data.number == z) for z in (73, 74)], 1).astype(float)
        energy = np.column_stack([energy, np.add.reduceat(types, data.atom_start[:-1])])
    np.testing.assert_allclose(spread.energy, stored["scale"]["energy"] * root(energy), rtol=1e-8)
    np.testing.assert_allclose(spread.force.ravel(), stored["scale"]["force"] * root(made.force), rtol=1e-8)
    np.testing.assert_allclose(spread.stress.ravel(), stored["scale"]["stress"] * root(made.stress), rtol=1e-8)
    for k, key in enumerate(("energy", "force", "stress")):
        mean = np.mean(root(rows[kind == k]) ** 2)
        np.testing.assert_allclose(stored["typical"][key], np.sqrt(mean), rtol=1e-6)
    relative = spread.force / stored["scale"]["force"] / stored["typical"]["force"]
    np.testing.assert_allclose(spread.atom_grade, relative.max(axis=1))
    assert (spread.grade >= np.maximum.reduceat(spread.atom_grade, data.atom_start[:-1]) - 1e-12).all()
    covariance = model.uncertainty.posterior.covariance()
    np.testing.assert_allclose(covariance, C, rtol=1e-6, atol=1e-9 * np.abs(C).max())


def test_a_group_that_is_left_out_is_predicted_without_it(fitted: Repository) -> None:
    """The predicted deviation of a group is that of a fit that never saw it."""
    model = Model.load(fitted.at(), "plain")
    stored = fitted.at().attributes(f"models/{model.id}")["uncertainty"]
    _, rows, kind, group = brute_force(fitted, FITS["plain"])
    C, *_ = brute_force(fitted, replace(FITS["plain"], groups={"surface": replace(SPLIT, train=0.0, test=0.0)}))
    for k, key in enumerate(("energy", "force", "stress")):
        a = rows[(kind == k) & (group == 2)]
        expected = stored["scale"][key] * np.sqrt(np.mean(np.einsum("ij,jk,ik->i", a, C, a)))
        (found,) = [v for name, of, v, _ in stored["lines"] if (name, of) == ("surface", key)]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_scale_is_the_median_of_groups(fitted: Repository) -> None:
    model = Model.load(fitted.at(), "plain")
    stored = fitted.at().attributes(f"models/{model.id}")["uncertainty"]
    for kind in ("energy", "force", "stress"):
        ratios = [error / predicted for _, k, predicted, error in stored["lines"] if k == kind]
        assert len(ratios) == 3
        np.testing.assert_allclose(np.median(ratios), 1.0)
        assert -1.0 <= stored["rank_correlation"][kind] <= 1.0


def test_far_away_is_told(fitted: Repository) -> None:
    """Rows ten times as large as those of training."""
    model = Model.load(fitted.at(), "plain")
    rows, near = model.descriptor.rows(data := batch()), model.spread(data)
    rows.energy, rows.force, rows.stress = 10 * rows.energy, 10 * rows.force, 10 * rows.stress
    counts = np.zeros((len(data), 2))
    far = model.uncertainty.of(rows, data.n_atoms, counts)
    np.testing.assert_allclose(far.force, 10 * near.force)
    assert (far.grade > 5).all() and np.median(near.grade) < 3


def test_the_calculator_returns_them(fitted: Repository) -> None:
    atoms = configurations(1, 98)[0]
    model = Model.load(fitted.at(), "plain")
    plain, calc = model.calculator(), model.calculator(uncertainty=True)
    assert "energy_std" not in plain.implemented_properties
    atoms.calc = calc
    atoms.get_potential_energy()
    assert set(calc.results) >= {"energy", "forces", "energy_std", "forces_std", "stress_std", "grade", "grades"}
    assert calc.get_property("forces_std", atoms).shape == (len(atoms), 3)
    atoms.calc = plain
    assert np.allclose(atoms.get_forces(), calc.results["forces"])
    with pytest.raises(SettingsError, match="mlipstore uncertainty"):
        Model.load(fitted.at(), "other").calculator(uncertainty=True)


def test_commands_and_pictures(fitted: Repository, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    repository = Repository.open(shutil.copytree(fitted.path, tmp_path / "a.mlip"))
    out = done("uncertainty", repository.path, "other").out
    assert "rank correlation" in out and "surface" in out
    facts = json.loads(done("uncertainty", repository.path, "other", "--folds", "3", "--json").out)
    assert facts["by"] == "fold" and len(facts["lines"]) == 9
    names = [p.name for p in plot(repository, "other", tmp_path / "pictures")]
    assert "other-uncertainty.png" in names
    assert "equal bits" in done("replay", repository.path, "other").out
    assert run("uncertainty", repository.path, "othr").code == 2


def test_one_group_cannot_be_calibrated(fitted: Repository, tmp_path: Path) -> None:
    repository = Repository.open(shutil.copytree(fitted.path, tmp_path / "a.mlip"))
    alone = Fit(name="alone", unlisted_groups="exclude", groups={"bulk": SPLIT})
    fit(repository, alone)
    with pytest.raises(SettingsError, match="at least two groups"):
        uncertainty(repository, "alone")
    factor(repository, alone, folds=2)
    assert uncertainty(repository, "alone", folds=2).by == "fold"
