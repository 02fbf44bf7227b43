"""Training rows ranked by leverage and studentised residual: the formulas by brute force, and labels made wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mlipstore.api import Store
from mlipstore.errors import SettingsError
from mlipstore.fit import fit, prepare
from mlipstore.kept.outliers import outliers
from mlipstore.runs.runfile import Fit, GroupSettings, PluginTable
from mlipstore.split import TRAIN
from mlipstore.store import Repository
from tests.robustness.sources import done, run
from tests.small_store import add, configurations

pytestmark = pytest.mark.usefixtures("small_store_plugins")

SPLIT = GroupSettings(train=0.8, test=0.2, energy=10.0, force=1.0, stress=2.0)
FITS = {
    "plain": Fit(name="plain", default=SPLIT, element_shifts={"W": 1.5}),
    "ridge": Fit(
        name="ridge", default=SPLIT, constant=False, baseline="none", frame="lammps",
        solver=PluginTable("ridge", settings={"alpha": 5.0}),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """60 configurations; forces on one atom of one and the energy of another are wrong, and one group as a whole."""
    folder = tmp_path_factory.mktemp("outliers")
    repository = Repository.create(folder / "a.mlip")
    frames = configurations(60, 3)
    for atoms in frames:
        results = atoms.calc.results
        if atoms.info["config_type"] == "surface" and "stress" in results:
            results["stress"] = 500.0 * results["stress"]
    frames[13].calc.results["forces"] = np.zeros((len(frames[13]), 3))
    frames[13].calc.results["forces"][1, 2] = 40.0
    frames[21].calc.results["energy"] = 100.0
    for settings in FITS.values():
        assert settings.default == SPLIT
    add(repository, folder, frames)
    for settings in FITS.values():
        fit(repository, settings)
    return repository


def brute_force(repository: Repository, name: str) -> dict[tuple[str, int], tuple[float, float]]:
    """Largest studentised residual and leverage of each configuration, from the whole matrix."""
    problem = prepare(repository, FITS[name])
    x = np.concatenate([np.atleast_1d(v) for v in stored(repository, name)])
    kept = []
    for labels, block in problem.matrix.blocks(problem.table.split):
        split, codes = problem.table.split(labels), problem.table.codes(labels)
        w = problem.table.row_weights(block, codes, split, labels.n_atoms)
        for i in np.flatnonzero(split[block.configuration] == TRAIN):
            c = int(block.configuration[i])
            kept.append(((labels.name, c), int(codes[c]), block.kind, w[i] * block.A[i], block.b[i] - block.A[i] @ x))
    A = np.array([k[3] for k in kept])
    P = A.T @ A + (5.0 if name == "ridge" else 0.0) * np.eye(A.shape[1])
    h = np.einsum("ij,jk,ik->i", A, np.linalg.inv(P), A)
    r, key = np.array([k[4] for k in kept]), np.array([[k[1], k[2]] for k in kept])
    out: dict[tuple[str, int], tuple[float, float]] = {}
    for n, (where, code, kind, _, _) in enumerate(kept):
        mine = (key == (code, kind)).all(axis=1)
        groups = [np.sqrt(np.mean(r[(key == (g, kind)).all(axis=1)] ** 2)) for g in range(3)]
        usual = float(np.median(groups)) ** 2
        others = (usual + np.sum(r[mine] ** 2) - r[n] ** 2) / mine.sum()
        others = max(others, 1e-6 * (usual + np.sum(r[mine] ** 2)) / mine.sum())
        t, lever = out.get(where, (0.0, 0.0))
        out[where] = max(t, abs(r[n]) / np.sqrt(others * (1 - h[n]))), max(lever, h[n])
    return out


def stored(repository: Repository, name: str) -> tuple[np.ndarray, np.ndarray]:
    model = Store(repository).model(name)
    return model.coefficients, np.array(list(model.constants.values()))


@pytest.mark.parametrize("name", FITS)
def test_ranks_are_those_of_the_formulas(fitted: Repository, name: str) -> None:
    expected = brute_force(fitted, name)
    for by, column in (("residual", 0), ("leverage", 1)):
        result = outliers(fitted, name, 12, by)
        assert result.configurations == len(expected)
        found = [(o.segment, o.position) for o in result.outliers]
        best = sorted(expected, key=lambda k: -expected[k][column])[:12]
        np.testing.assert_allclose([expected[k][column] for k in found], [expected[k][column] for k in best], rtol=1e-6)
        for o in result.outliers:
            t, h = expected[o.segment, o.position]
            np.testing.assert_allclose([abs(o.farthest.studentised), o.strongest.leverage], [t, h], rtol=1e-6)


def test_wrong_labels_are_found_and_named(fitted: Repository) -> None:
    result = outliers(fitted, "plain", 2)
    rows = {o.frame: o for o in result.outliers}
    assert set(rows) == {13, 21}
    force, energy = rows[13].farthest, rows[21].farthest
    assert (force.kind, force.component) == ("force", "atom 1 z")
    np.testing.assert_allclose(force.label, 40.0)
    n = rows[21].n_atoms
    assert energy.kind == "energy"
    np.testing.assert_allclose(energy.label, 100.0 / n, rtol=1e-9)
    assert any("standard errors off" in reason for reason in rows[21].reasons)
    assert [(g.group, g.kind) for g in result.groups] == [("surface", "stress")]
    assert result.groups[0].rmse > 5.0 * result.groups[0].median


def test_the_command(fitted: Repository, tmp_path: Path) -> None:
    out = done("outliers", fitted.path, "plain", "-n", "3").out
    assert "one pass" in out and "surface" in out and "atom 1 z" in out
    facts = json.loads(done("outliers", fitted.path, "plain", "-n", "3", "--by", "leverage", "--json").out)
    leverages = [o["strongest"]["leverage"] for o in facts["outliers"]]
    assert leverages == sorted(leverages, reverse=True) and 0.0 < leverages[0] <= 1.0
    assert run("outliers", fitted.path, "plain", "--by", "size").code == 2
    with pytest.raises(SettingsError, match="at least 1"):
        outliers(fitted, "plain", 0)


def test_a_row_that_leaves_its_group_little_is_not_a_thousand_errors_off(tmp_path: Path) -> None:
    """Few rows of high leverage: their residuals are small, what they would be without their labels is large."""
    repository = Repository.create(tmp_path / "a.mlip")
    frames = configurations(40, 5)
    for atoms in frames:
        if atoms.info["config_type"] != "surface":
            atoms.calc.results.pop("energy", None)
    add(repository, tmp_path, frames)
    fit(repository, Fit(name="few", default=GroupSettings(energy=3000.0)))
    found = outliers(repository, "few", 3)
    energies = [o.farthest for o in found.outliers if o.farthest.kind == "energy"]
    assert all(abs(e.studentised) < 100 for e in energies)
