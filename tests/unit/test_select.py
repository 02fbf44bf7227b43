"""Choice of new configurations: the greedy optimum by brute force, copies, near-duplicates, files, commands."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from mlipstore.api import Store
from mlipstore.configuration import Batch, Configuration
from mlipstore.errors import ComputeError, InputError, SettingsError, UnknownNameError
from mlipstore.fit import fit, prepare
from mlipstore.kept import candidates as offering
from mlipstore.kept import select as selecting
from mlipstore.kept.select import select
from mlipstore.kept.uncertainty import uncertainty
from mlipstore.model import Model
from mlipstore.runs.runfile import Fit, GroupSettings, PluginTable
from mlipstore.solve.design import Information, greedy
from mlipstore.solve.linear import Reduced
from mlipstore.split import TRAIN
from mlipstore.store import Repository
from tests.robustness.sources import done, run
from tests.small_store import configurations, small_store

pytestmark = pytest.mark.usefixtures("small_store_plugins")

WEIGHTS = GroupSettings(energy=10.0, force=1.0, stress=2.0)
FITS = {
    "two": Fit(groups={"bulk": WEIGHTS, "surface": WEIGHTS}, unlisted_groups="exclude"),
    "ridge": Fit(
        groups={"bulk": WEIGHTS}, unlisted_groups="exclude", baseline="none", constant=False,
        solver=PluginTable("ridge", settings={"alpha": 5.0}),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = small_store(tmp_path_factory.mktemp("select"), 60)
    for name, settings in FITS.items():
        fit(repository, replace(settings, name=name))
    uncertainty(repository, "two")
    return repository


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 configurations without labels, of a group that the fits do not know."""
    path = tmp_path_factory.mktemp("new") / "new.xyz"
    write(path, [bare(a) for a in configurations(25, 7)])
    return path


def bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)


def information_matrix(repository: Repository, name: str) -> np.ndarray:
    problem = prepare(repository, FITS[name])
    P: Any = 5.0 * np.eye(problem.matrix.n_columns) if name == "ridge" else 0.0
    for labels, block in problem.matrix.blocks(problem.table.split):
        split = problem.table.split(labels)
        w = problem.table.row_weights(block, problem.table.codes(labels), split, labels.n_atoms)
        A = (w[:, None] * block.A)[split[block.configuration] == TRAIN]
        P = P + A.T @ A
    return np.asarray(P)


def all_rows(model: Model, file: Path) -> list[list[np.ndarray]]:
    """Energy per atom, force and stress rows of each configuration."""
    out = []
    for i, atoms in enumerate(read(file, ":")):
        batch = Batch.from_configurations([Configuration.from_ase(atoms, frame=i)])
        made = model.descriptor.rows(batch)
        every = [made.energy / len(atoms), made.force, made.stress]
        if model.constants:
            share = np.array([[(atoms.numbers == z).mean() for z in (73, 74)]])
            every = [np.column_stack([a, share if k == 0 else np.zeros((len(a), 2))]) for k, a in enumerate(every)]
        out.append(every)
    return out


@pytest.mark.parametrize("per", ["configuration", "atom"])
@pytest.mark.parametrize("name", FITS)
def test_d_optimal_is_the_greedy_optimum(fitted: Repository, new: Path, name: str, per: str) -> None:
    model = Model.load(fitted.at(), name)
    unit = 1.0 / 0.006241509125883258
    rows = [np.concatenate([10.0 * e, f, 2.0 * unit * s]) for e, f, s in all_rows(model, new)]
    sizes = [len(a) for a in read(new, ":")]
    P = information_matrix(fitted, name)
    expected = []
    for _ in range(6):
        before = np.linalg.slogdet(P)[1]
        gains = [np.linalg.slogdet(P + A.T @ A)[1] - before for A in rows]
        gains = [g / n if per == "atom" else g for g, n in zip(gains, sizes, strict=True)]
        gains = [-1.0 if i in [p for p, _ in expected] else g for i, g in enumerate(gains)]
        i = int(np.argmax(gains))
        expected.append((i, gains[i]))
        P = P + rows[i].T @ rows[i]
    result = select(fitted, name, [new], 6, "d-optimal", per, distance=0.0)
    assert [p.candidate for p in result.picks] == [i for i, _ in expected]
    np.testing.assert_allclose([p.score for p in result.picks], [g for _, g in expected], rtol=1e-6)
    assert (result.candidates, result.copies, result.near_duplicates) == (25, 0, 0)


@pytest.mark.parametrize("per", ["configuration", "atom"])
@pytest.mark.parametrize("name", FITS)
def test_i_optimal_lowers_the_variance_of_all_candidates_most(
    fitted: Repository, new: Path, name: str, per: str
) -> None:
    unit = 1.0 / 0.006241509125883258
    every = all_rows(Model.load(fitted.at(), name), new)
    rows = [np.concatenate([10.0 * e, f, 2.0 * unit * s]) for e, f, s in every]
    sizes = [len(a) for a in read(new, ":")]
    P, C = information_matrix(fitted, name), sum(A.T @ A for A in rows)
    first = np.trace(np.linalg.solve(P, C))
    result = select(fitted, name, [new], 6, per=per, distance=0.0)
    assert result.method == "i-optimal"
    taken: list[int] = []
    for pick in result.picks:
        before = np.trace(np.linalg.solve(P, C))
        gains = [(before - np.trace(np.linalg.solve(P + A.T @ A, C))) / first for A in rows]
        gains = [g / n if per == "atom" else g for g, n in zip(gains, sizes, strict=True)]
        left = [-1.0 if i in taken else g for i, g in enumerate(gains)]
        assert pick.candidate == int(np.argmax(left))
        np.testing.assert_allclose(pick.score, max(left), rtol=1e-6)
        taken.append(pick.candidate)
        P = P + rows[pick.candidate].T @ rows[pick.candidate]


@pytest.mark.parametrize("per", ["configuration", "atom"])
def test_max_variance_takes_the_largest_variance(fitted: Repository, new: Path, per: str) -> None:
    model = Model.load(fitted.at(), "two")
    unit = 1.0 / 0.006241509125883258
    every = all_rows(model, new)
    P = information_matrix(fitted, "two")
    result = select(fitted, "two", [new], 4, "max-variance", per, distance=0.0)
    taken: list[int] = []
    for pick in result.picks:
        C = np.linalg.inv(P)
        variances = [np.einsum("ij,jk,ik->i", r[per == "atom"], C, r[per == "atom"]).max() for r in every]
        left = [-1.0 if i in taken else v for i, v in enumerate(variances)]
        assert pick.candidate == int(np.argmax(left))
        np.testing.assert_allclose(pick.score, max(left), rtol=1e-6)
        taken.append(pick.candidate)
        e, f, s = every[pick.candidate]
        A = np.concatenate([10.0 * e, f, 2.0 * unit * s])
        P = P + A.T @ A


def test_scores_and_deviations_are_told(fitted: Repository, new: Path) -> None:
    result = select(fitted, "two", [new], 5)
    scores = [p.score for p in result.picks]
    assert scores == sorted(scores, reverse=True) and scores[-1] > 0.0
    model = Model.load(fitted.at(), "two")
    for p in result.picks:
        atoms = read(new, p.candidate)
        spread = model.spread(Batch.from_configurations([Configuration.from_ase(atoms)]))
        np.testing.assert_allclose(p.energy_std, spread.energy[0] / len(atoms), rtol=1e-9)
        np.testing.assert_allclose(p.force_std, spread.force.max(), rtol=1e-9)
        assert p.leverage > 0.0 and (p.source, p.frame) == (str(new), p.candidate)
    assert select(fitted, "ridge", [new], 1).picks[0].energy_std is None


def test_rows_that_memory_does_not_hold_are_computed_again(
    fitted: Repository, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = select(fitted, "two", [new], 6)
    monkeypatch.setattr(selecting, "_HELD", 0.0)
    again = select(fitted, "two", [new], 6)
    assert [(p.candidate, p.score) for p in again.picks] == [(p.candidate, p.score) for p in before.picks]
    kept = offering.CandidateRows(Model.load(fitted.at(), "two"), Batch.from_configurations([]), 100)
    for i in range(5):
        kept.keep(i, np.zeros(6))
    assert list(kept._kept) == [3, 4] and kept._used == 96


def test_copies_and_near_duplicates_are_not_chosen(fitted: Repository, new: Path, tmp_path: Path) -> None:
    frames = [bare(a) for a in read(new, ":")]
    turned = frames[3].copy()
    turned.positions[:] = turned.positions[::-1]  # the atoms in another order: another geometry, the same rows
    turned.numbers[:] = turned.numbers[::-1]
    stored = [bare(a) for a in configurations(60, 1)][5:7]
    shaken = stored[0].copy()
    shaken.positions += 1e-3
    file = tmp_path / "more.xyz"
    write(file, [*frames, frames[0], turned, *stored, shaken])
    result = select(fitted, "two", [file], 27)
    assert (result.candidates, result.copies) == (27, 3)
    assert result.near_duplicates == 2 and len(result.picks) == 25
    assert len({3, 25} & {p.candidate for p in result.picks}) == 1  # one of the turned pair
    assert len(select(fitted, "two", [file], 27, distance=0.0).picks) == 27
    with pytest.raises(InputError, match="all 2 are in the store"):
        write(file, stored)
        select(fitted, "two", [file])


def test_packed_candidates(fitted: Repository, new: Path, tmp_path: Path) -> None:
    packed = tmp_path / "new.xyz.gz"
    packed.write_bytes(gzip.compress(new.read_bytes()))
    plain, found = (select(fitted, "two", [file], 2) for file in (new, packed))
    assert [p.candidate for p in found.picks] == [p.candidate for p in plain.picks]


def test_groups_of_the_store(fitted: Repository, new: Path) -> None:
    result = select(fitted, "two", groups=["melt/2000 K"], number=30)
    assert result.candidates == len(result.picks) == 20
    assert {p.group for p in result.picks} == {"melt/2000 K"}
    both = select(fitted, "two", [new], groups=["melt/2000 K"], number=3)
    assert both.candidates == 45
    with pytest.raises(InputError, match="all 20 are in the store or in the fit"):
        select(fitted, "two", groups=["bulk"])
    with pytest.raises(UnknownNameError, match="bulk"):
        select(fitted, "two", groups=["bulc"])


def test_bad_requests_are_told(fitted: Repository, new: Path, tmp_path: Path) -> None:
    for options, text in (
        ({"number": 0}, "at least 1"),
        ({"method": "d-optimum"}, "d-optimal"),
        ({"per": "atoms"}, "atom"),
        ({"distance": float("nan")}, "distance"),
        ({"sources": []}, "--group"),
    ):
        with pytest.raises(SettingsError, match=text):
            select(fitted, "two", **{"sources": [new], **options})  # type: ignore[arg-type]
    write(tmp_path / "gold.xyz", Atoms("Au", cell=3 * np.eye(3), pbc=True))
    with pytest.raises(ComputeError, match="does not know"):
        select(fitted, "two", [tmp_path / "gold.xyz"])


def test_the_command_and_its_file(fitted: Repository, new: Path, tmp_path: Path) -> None:
    out = done("select", fitted.path, "two", new, "-n", "4", "-o", tmp_path / "picks.xyz").out
    assert "4 of 25 candidates" in out and "energy std" in out
    frames = read(tmp_path / "picks.xyz", ":")
    facts = json.loads(done("select", fitted.path, "two", new, "-n", "4", "--json").out)
    assert len(facts["picks"]) == len(frames) == 4
    for rank, (pick, atoms) in enumerate(zip(facts["picks"], frames, strict=True), 1):
        assert atoms.info["select_rank"] == rank
        assert atoms.info["select_score"] == pytest.approx(pick["score"])
        np.testing.assert_allclose(atoms.positions, read(new, pick["candidate"]).positions)
    assert run("select", fitted.path, "two").code == 2
    assert run("select", fitted.path, "too", new).code == 2
    picks = Store(fitted).select("two", new, number=4, method="max-variance").picks
    assert len(picks) == 4
    with pytest.raises(SettingsError, match=r"picks\.xyz exists"):
        Store(fitted).select("two", new, output=tmp_path / "picks.xyz")


def test_undetermined_directions_come_first() -> None:
    """Rows along what the fit has not seen add most, and what they add is finite."""
    R = np.diag([1.0, 2.0, 0.0])
    info = Information(Reduced(R, np.zeros(3), 1.0, 10))
    seen, unseen = info.compressed(np.array([[5.0, 0.0, 0.0]])), info.compressed(np.array([[0.0, 0.0, 0.1]]))
    assert info.gain(unseen) > 10.0 > info.gain(seen) > 0.0
    before = info.gain(seen) + info.gain(unseen)
    info.take(seen)
    np.testing.assert_allclose(info.gain(unseen), before - np.log(1 + 25.0), rtol=1e-9)
    empty = Information(Reduced(np.zeros((0, 0)), np.zeros(0), 1.0, 3))
    assert empty.gain(np.zeros((2, 0))) == empty.prediction_gain(np.zeros((2, 0))) == 0.0


def test_what_is_to_be_predicted_decides() -> None:
    """An extreme row along what nothing needs adds to the determinant, and nothing to the predictions."""
    info = Information(Reduced(np.diag([1.0, 1.0, 0.0]), np.zeros(3), 1.0, 10))
    needed, extreme = info.compressed(np.array([[2.0, 0.0, 0.0]])), info.compressed(np.array([[0.0, 90.0, 0.0]]))
    info.aim_at(info.scaled(np.array([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])))
    assert info.gain(extreme) > info.gain(needed)
    np.testing.assert_allclose(info.prediction_gain(needed), 0.8, rtol=1e-9)
    assert info.prediction_gain(extreme) < 1e-12
    info.take(needed)
    np.testing.assert_allclose(info.prediction_gain(needed), 1 / 5 - 1 / 9, rtol=1e-9)
    unseen = info.compressed(np.array([[0.0, 0.0, 3.0]]))
    info.aim_at(info.scaled(np.array([[1.0, 1.0, 1.0]])))
    np.testing.assert_allclose(info.prediction_gain(unseen), 1.0, rtol=1e-9)


def test_greedy_looks_again_only_where_it_must() -> None:
    values = {i: float(10 - i) for i in range(10)}
    asked: list[int] = []

    def value(i: int) -> float:
        asked.append(i)
        return values[i] - 0.25 * len(taken)

    taken: list[int] = []

    def take(i: int) -> bool:
        if i == 2:
            return False
        taken.append(i)
        return True

    chosen = greedy([values[i] for i in range(10)], value, take, 4)
    assert [i for i, _ in chosen] == [0, 1, 3, 4]
    assert max(asked) <= 4
    assert greedy([], value, take, 3) == []
