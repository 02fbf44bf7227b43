"""W-Be from kept factors: the streamed fit to rounding, new weights without rows, a search that lowers both errors."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from mlipstore.fit import load as load_model
from mlipstore.fit import prepare
from mlipstore.kept.compute import complete, load
from mlipstore.kept.crossvalidation import cross_validate
from mlipstore.kept.factors import find
from mlipstore.kept.fit import FactorProblem, compute_from_factors, fit_from_factors
from mlipstore.runs.runfile import Fit, Search
from mlipstore.searching.search import fit_of, search
from mlipstore.store import Repository
from tests.reference.fitsnap_tables import move_over
from tests.reference.test_wbe_fit import unpack
from tests.shared_data import DATA, needs_data

pytestmark = needs_data


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, str]:
    """The 5 % list, fitted by streaming: the store and the model."""
    assert DATA is not None
    numbers = np.load(DATA / "wbe_fitsnap" / "wbe_sub05_reference.npz")
    wanted = {f"{g}/{f}" for g, f in zip(numbers["config_group"], numbers["config_file"], strict=True)}
    source = unpack(tmp_path_factory.mktemp("wbe"), wanted)
    result = move_over(source, source.parent)
    assert result.fit is not None
    (store,) = source.parent.glob("*.mlip")
    return Repository.open(store), result.fit.id


def settings_of(repository: Repository, model: str) -> Fit:
    return Fit.from_dict(load_model(repository.at(), model).provenance["fit"])


def test_factors_give_the_streamed_fit(fitted: tuple[Repository, str]) -> None:
    repository, model = fitted
    streamed = load_model(repository.at(), model)
    result = fit_from_factors(repository, settings_of(repository, model), keep=True)
    x = streamed.coefficients
    assert np.linalg.norm(result.coefficients - x) <= 1e-9 * np.linalg.norm(x)
    assert (result.rows, result.rank) == (streamed.rows, streamed.rank)
    lines = {(e.group, e.split, e.kind, e.weighted): e for e in streamed.errors}
    for e in result.errors:
        other = lines.pop((e.group, e.split, e.kind, e.weighted))
        assert e.n == other.n
        # perfect crystals have force residuals of rounding errors alone
        assert abs(e.rmse - other.rmse) <= 1e-10 * other.rmse + 1e-14, e
    assert not lines


def test_new_weights_take_no_time(fitted: tuple[Repository, str]) -> None:
    repository, model = fitted
    settings = settings_of(repository, model)
    complete(repository, problem := prepare(repository, settings), find(problem.matrix, problem.table))
    groups = {g: replace(s, energy=2.0 * s.energy, force=s.force + 1.0) for g, s in settings.groups.items()}
    problem = prepare(repository, replace(settings, groups=groups))
    kept = FactorProblem(problem, load(problem))
    compute_from_factors(kept)
    began = time.process_time()
    compute_from_factors(kept)
    assert time.process_time() - began < 0.2


def test_every_group_is_left_out_in_turn(fitted: tuple[Repository, str]) -> None:
    repository, model = fitted
    settings = settings_of(repository, model)
    complete(repository, problem := prepare(repository, settings), find(problem.matrix, problem.table))
    result = cross_validate(repository, settings)
    trained = {e.group for e in load_model(repository.at(), model).errors if e.group != "*"}
    assert {line.name for line in result.left_out} == trained
    assert result.all.outside["energy"] > result.all.inside["energy"]


def test_a_search_lowers_both_errors(fitted: tuple[Repository, str]) -> None:
    """Against the shipped weights, on test configurations that no fit has seen."""
    repository, model = fitted
    shipped = settings_of(repository, model)
    split = replace(shipped, groups={g: replace(s, train=0.7, test=0.3) for g, s in shipped.groups.items()})
    study = search(repository, split, Search(trials=600)).study
    trial = study.balanced()
    assert (study.errors[trial] < study.base).all()
    best = fit_from_factors(repository, fit_of(study, split, trial, sorted(split.groups)))
    before = fit_from_factors(repository, split)
    for kind in ("energy", "force"):
        new, old = (
            next(e.rmse for e in r.errors if (e.group, e.split, e.kind, e.weighted) == ("*", "test", kind, False))
            for r in (best, before)
        )
        assert new < old
        assert new == pytest.approx(study.errors[trial, study.objectives.index(kind)], rel=1e-7)
