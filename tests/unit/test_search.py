"""Searches: trials against fits, exact derivatives, reproducible and resumable studies, the front, the commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore.errors import MemoryLimitError, SettingsError, UnknownNameError
from mlipstore.fit import compute, prepare
from mlipstore.index import Index
from mlipstore.kept.compute import factor, load
from mlipstore.kept.crossvalidation import cross_validate
from mlipstore.kept.fit import FactorProblem, fit_from_factors
from mlipstore.runs.runfile import Fit, GroupSettings, PluginTable, Search
from mlipstore.searching import search as searching
from mlipstore.searching.search import fit_of, search
from mlipstore.searching.studies import Study
from mlipstore.searching.trials import Trials, not_dominated
from mlipstore.store import Repository
from tests.robustness.sources import done, run
from tests.small_store import small_store

pytestmark = pytest.mark.usefixtures("small_store_plugins")

SPLIT = GroupSettings(train=0.7, test=0.3, energy=10.0, force=1.0, stress=2.0)
FIT = Fit(default=SPLIT, groups={"bulk": replace(SPLIT, energy=50.0, force=0.3)})
GROUPS = ["bulk", "melt/2000 K", "surface"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A store with the factors of ``FIT``, in folds."""
    repository = small_store(tmp_path_factory.mktemp("search"), 60)
    factor(repository, FIT, folds=3)
    return repository


@pytest.fixture
def copy(kept: Repository, tmp_path: Path) -> Repository:
    shutil.copytree(kept.path, tmp_path / "a.mlip")
    return Repository.open(tmp_path / "a.mlip")


def space(repository: Repository, wanted: Search, settings: Fit = FIT) -> Trials:
    problem = prepare(repository, settings)
    return Trials(FactorProblem(problem, load(problem, 3 if wanted.validation == "folds" else 0)), wanted)


def point(trials: Trials, seed: int = 0) -> Any:
    """Somewhere in the range."""
    u = np.random.default_rng(seed).uniform(0.2, 0.8, len(trials.low))
    return trials.low + u * (trials.high - trials.low)


# ------------------------------------------------------------------------ trials
def test_a_trial_is_a_fit(kept: Repository) -> None:
    wanted = Search(objectives=("energy", "force", "stress", "force:surface"), stress=(0.01, 100.0))
    trials = space(kept, wanted)
    assert len(trials.space.parameters) == 9
    for seed in range(3):
        theta = point(trials, seed)
        study = _study_of(trials, wanted, theta)
        streamed, _ = compute(prepare(kept, fit_of(study, FIT, 0, GROUPS)))
        errors = {(e.group, e.kind): e.rmse for e in streamed.errors if e.split == "test" and not e.weighted}
        expected = [errors["*", "energy"], errors["*", "force"], errors["*", "stress"], errors["surface", "force"]]
        np.testing.assert_allclose(trials.evaluate(theta)[0], expected, rtol=1e-8)


def _study_of(trials: Trials, wanted: Search, theta: Any) -> Study:
    attributes = {"parameters": [p.name for p in trials.space.parameters], "search": asdict(wanted)}
    return Study("x", attributes, trials.natural(theta)[None], np.zeros((1, 1)), np.zeros(1, np.int32))


def test_the_mean_of_groups_counts_every_group_the_same(kept: Repository) -> None:
    trials = space(kept, Search(average="groups"))
    streamed, _ = compute(prepare(kept, FIT))
    for j, kind in enumerate(("energy", "force")):
        of_groups = [
            e.rmse for e in streamed.errors
            if (e.kind, e.split, e.weighted) == (kind, "test", False) and e.group != "*"
        ]  # fmt: skip
        np.testing.assert_allclose(trials.base[j], np.sqrt(np.mean(np.square(of_groups))), rtol=1e-9)


def test_held_out_groups_are_predicted_and_not_fitted(kept: Repository) -> None:
    wanted = Search(validation="groups", hold_out=("sur*",))
    trials = space(kept, wanted)
    assert not [p.name for p in trials.space.parameters if p.name.startswith("surface")]
    chosen = fit_of(_study_of(trials, wanted, trials.start), FIT, 0, GROUPS)
    assert (chosen.groups["surface"].train, chosen.groups["surface"].test) == (0.0, 1.0)
    streamed, _ = compute(prepare(kept, chosen))
    errors = {(e.group, e.split, e.kind): e.rmse for e in streamed.errors if not e.weighted}
    np.testing.assert_allclose(trials.base, [errors["surface", "test", k] for k in ("energy", "force")], rtol=1e-8)


@pytest.mark.parametrize(("validation", "folds"), [("each-group", 0), ("folds", 3)])
def test_cross_validation_is_that_of_the_command(kept: Repository, validation: str, folds: int) -> None:
    trials = space(kept, Search(validation=validation, folds=3))
    result = cross_validate(kept, FIT, folds)
    np.testing.assert_allclose(trials.base, [result.all.outside[k] for k in ("energy", "force")], rtol=1e-8)


@pytest.mark.parametrize(
    ("wanted", "settings"),
    [
        (Search(), FIT),
        (Search(average="groups", objectives=("energy", "force:bulk", "stress")), FIT),
        (Search(by="kind", groups={"s*": {"energy": (0.1, 10.0)}}), FIT),
        (Search(ridge=(1e-3, 1e3)), FIT),
        (Search(), replace(FIT, solver=PluginTable("ridge", settings={"alpha": 0.5}))),
        (Search(validation="folds", folds=3), FIT),
        (Search(validation="each-group", stress=(0.1, 10.0)), FIT),
        (
            Search(element_shifts={"W": (-20.0, 20.0), "Ta": (-20.0, 20.0)}, ridge=(0.1, 10.0)),
            replace(FIT, constant=False),
        ),
    ],
)
def test_derivatives_are_exact(kept: Repository, wanted: Search, settings: Fit) -> None:
    trials = space(kept, wanted, settings)

    def cost(values: Any) -> tuple[float, Any]:
        return float(np.sum(np.log(values) * np.arange(1, len(values) + 1))), np.arange(1, len(values) + 1) / values

    theta = point(trials)
    slopes = trials.evaluate(theta, cost)[2]
    for i in range(len(theta)):
        step = np.zeros(len(theta))
        step[i] = 1e-4
        ahead, behind = (trials.evaluate(theta + s * step, cost)[1] for s in (1, -1))
        np.testing.assert_allclose(slopes[i], (ahead - behind) / 2e-4, rtol=1e-5, atol=1e-8)


def test_directions_without_rows_do_no_harm(kept: Repository) -> None:
    """Energies of one group alone determine fewer coefficients than there are."""
    settings = Fit(default=replace(SPLIT, energy=1.0, force=0.0, stress=0.0), constant=True)
    trials = space(kept, Search(objectives=("energy",), hold_out=("bulk", "m*"), validation="groups"), settings)
    values, _, slopes = trials.evaluate(trials.start, lambda v: (float(v[0]), np.ones(1)))
    assert np.isfinite(values).all() and np.isfinite(slopes).all()


def test_sparse_solvers_are_searched_without_derivatives(kept: Repository) -> None:
    settings = replace(FIT, solver=PluginTable("omp", settings={"n_nonzero": 8}))
    with pytest.raises(SettingsError, match="gradient"):
        space(kept, Search(), settings)
    trials = space(kept, Search(method="random"), settings)
    streamed, _ = compute(prepare(kept, settings))
    test = [e.rmse for e in streamed.errors if e.split == "test" and e.group == "*" and not e.weighted]
    np.testing.assert_allclose(trials.base, test[:2], rtol=1e-8)


def test_the_front_is_what_nothing_beats() -> None:
    values = np.random.default_rng(0).random((200, 3)).round(1)
    values[5] = np.nan
    front = set(not_dominated(values).tolist())
    for i, v in enumerate(values):
        beaten = ((values <= v).all(axis=1) & (values < v).any(axis=1)).any()
        assert (i in front) <= (not beaten and np.isfinite(v).all())
        if np.isfinite(v).all() and not beaten:
            assert any((values[k] == v).all() for k in front)
    assert not_dominated(np.array([[3.0], [1.0], [2.0]])).tolist() == [1]


# ----------------------------------------------------------------------- studies
SEARCH = Search(name="first", trials=150)


def test_a_search_finds_better_weights_and_they_hold(copy: Repository) -> None:
    result = search(copy, FIT, SEARCH)
    study = result.study
    assert len(study.errors) >= 150 and result.added == len(study.errors)
    assert (study.errors[0] == study.base).all()  # the given settings are a trial
    trial = study.balanced()
    assert (study.errors[trial] <= study.base).all() and (study.errors[trial] < 0.999 * study.base).any()
    model = fit_from_factors(copy, fit_of(study, FIT, trial, GROUPS))
    errors = [e.rmse for e in model.errors if e.split == "test" and e.group == "*" and not e.weighted]
    np.testing.assert_allclose(study.errors[trial], errors[:2], rtol=1e-8)
    assert (np.abs(result.sensitivities) > 1e-12).any()


def test_same_seed_same_trials_however_they_are_computed(copy: Repository, tmp_path: Path) -> None:
    """All at once, interrupted, in portions, by an executor that works ahead."""
    once = search(copy, FIT, SEARCH).study
    other = Repository.open(shutil.copytree(copy.path, tmp_path / "b.mlip"))
    with other.transaction("remove", {"verb": "test"}, exclusive=True) as tx:
        del tx.root[f"studies/{once.id}"]

    class Ahead:
        n_workers = 2

        def map(self, function: Any, tasks: Any) -> Any:
            waiting = []
            for task in tasks:
                waiting.append(function(task))
                if len(waiting) > 2:
                    yield waiting.pop(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_START", 0.0)
        patch.setattr(searching, "_COMMIT_EVERY", 0.0)
        search(other, FIT, replace(SEARCH, trials=20), Ahead())
        search(other, FIT, replace(SEARCH, trials=60))

        def stop(stage: str, n: int, total: int) -> None:
            if n >= 100:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            search(other, FIT, SEARCH, progress=stop)
        assert 60 <= len(Study.load(other.at(), "first").errors) < 150
        study = search(other, FIT, SEARCH, Ahead()).study
    assert study.id == once.id
    assert study.values.tobytes() == once.values.tobytes() and study.errors.tobytes() == once.errors.tobytes()
    assert search(other, FIT, SEARCH).added == 0
    assert search(other, FIT, replace(SEARCH, seed=1)).study.id != once.id


#: A search that is killed (signal 9) when the first trials are stored.
KILLED = """
import os, signal, sys
import mlipstore.searching.search as searching
from mlipstore.store import Repository
from tests.small_store import plugins
from tests.unit.test_search import FIT, SEARCH
store = searching.append
def store_and_die(*arguments):
    store(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
searching.append, searching._COMMIT_EVERY = store_and_die, 0.0
with plugins():
    searching.search(Repository.open(sys.argv[1]), FIT, SEARCH)
"""


def test_a_killed_search_continues_to_the_same_result(copy: Repository, tmp_path: Path) -> None:
    other = Repository.open(shutil.copytree(copy.path, tmp_path / "b.mlip"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(other.path)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    stored = len(Study.load(other.at(), "first").errors)
    assert 0 < stored < SEARCH.trials
    once, study = search(copy, FIT, SEARCH).study, search(other, FIT, SEARCH).study
    assert len(study.errors) > stored
    assert study.values.tobytes() == once.values.tobytes() and study.errors.tobytes() == once.errors.tobytes()


def test_two_searches_at_once_do_not_mix(copy: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = searching._run, []

    def run_twice(task: Any) -> Any:
        calls.append(task.index)
        if len(calls) == 2:
            search(copy, FIT, replace(SEARCH, trials=60))
        return real(task)

    monkeypatch.setattr(searching, "_run", run_twice)
    study = search(copy, FIT, SEARCH).study
    assert (np.diff(study.run) >= 0).all() and set(study.run) == set(range(study.run.max() + 1))


@pytest.mark.parametrize("method", ["random", "differential-evolution", "tpe"])
def test_methods_without_derivatives(copy: Repository, method: str) -> None:
    if method == "tpe":
        pytest.importorskip("optuna", reason="optuna is not installed")
    wanted = Search(method=method, by="kind", trials=60, seed=3)
    study = search(copy, FIT, wanted).study
    assert (study.values >= 0.01).all() and (study.values <= 100.0).all()
    assert (study.errors[study.balanced()] <= study.base * (1 + 1e-12)).all()
    assert np.unique(study.values, axis=0).shape[0] > 30


def test_missing_optuna_is_told(copy: Repository) -> None:
    try:
        import optuna  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="pip install optuna"):
            search(copy, FIT, Search(method="tpe", trials=5))
    else:
        pytest.skip("optuna is installed")


def test_missing_factors_are_computed_first(copy: Repository) -> None:
    assert len(search(copy, replace(FIT, seed=5), replace(SEARCH, trials=10)).study.errors) >= 10


def test_a_search_of_an_older_version_is_of_its_data(copy: Repository) -> None:
    old, wanted = copy.at().id, replace(SEARCH, trials=10)
    index = Index.load(copy.at())
    with copy.transaction("delete some", {"verb": "test"}, exclusive=True) as tx:
        state = index.state.copy()
        state[:9] = 1
        tx.root["index/state"][:] = state
    newest, before = search(copy, FIT, wanted).study, search(copy, FIT, wanted, ref=old).study
    assert newest.id != before.id and (newest.base != before.base).all()
    assert before.attributes["data_snapshot"] == old
    assert search(copy, FIT, wanted, ref=old).added == 0
    errors = [e.rmse for e in fit_from_factors(copy, FIT, ref=old).errors if (e.group, e.split) == ("*", "test")]
    np.testing.assert_allclose(before.base, errors[:4:2], rtol=1e-9)


def test_ridge_and_shifts_end_in_the_fit(copy: Repository) -> None:
    settings = replace(FIT, constant=False, element_shifts={"W": 1.0})
    wanted = Search(trials=40, ridge=(1e-4, 1e4), element_shifts={"W": (0.0, 20.0), "Ta": (0.0, 20.0)})
    study = search(copy, settings, wanted).study
    trial = study.balanced()
    chosen = fit_of(study, settings, trial, GROUPS)
    assert chosen.solver.type == "ridge" and set(chosen.element_shifts) == {"W", "Ta"}
    model = fit_from_factors(copy, chosen)
    errors = [e.rmse for e in model.errors if e.split == "test" and e.group == "*" and not e.weighted]
    np.testing.assert_allclose(study.errors[trial], errors[:2], rtol=1e-7)
    assert (study.errors[trial] < 0.9 * study.base).any()  # energies of -12 eV per atom that nothing had taken off


# ------------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    ("wanted", "settings", "error", "text"),
    [
        (Search(), replace(FIT, default=replace(SPLIT, test=0.0), groups={}), SettingsError, "test = .. in"),
        (Search(energy=(1.0, 1.0), force=(1.0, 1.0)), FIT, SettingsError, "nothing varies"),
        (Search(hold_out=("*",), validation="groups"), FIT, SettingsError, "no rows to train on"),
        (Search(hold_out=("surfce",), validation="groups"), FIT, UnknownNameError, "Did you mean 'surface'"),
        (Search(groups={"surfce": {}}), FIT, UnknownNameError, "Did you mean 'surface'"),
        (Search(objectives=("energy:surfce",)), FIT, UnknownNameError, "Did you mean 'surface'"),
        (Search(element_shifts={"W": (-1.0, 1.0)}), FIT, SettingsError, "constant = true"),
        (Search(element_shifts={"Be": (-1.0, 1.0)}), replace(FIT, constant=False), UnknownNameError, "element 'Be'"),
        (Search(ridge=(1e-3, 1.0), method="random"), replace(FIT, solver=PluginTable("bayes")), SettingsError, "bayes"),
        (Search(), replace(FIT, max_memory="160MB"), MemoryLimitError, "max_memory"),
    ],
)
def test_what_cannot_be_searched_is_told(
    copy: Repository, wanted: Search, settings: Fit, error: type[Exception], text: str
) -> None:
    if isinstance(settings.max_memory, str):
        problem = prepare(copy, replace(settings, max_memory=None))
        problem.plan = replace(problem.plan, allowance=10_000)
        with pytest.raises(error, match=text):
            Trials(FactorProblem(problem, load(problem)), wanted)
        return
    with pytest.raises(error, match=text):
        search(copy, settings, wanted)


TABLE = """
[fit]
[fit.default]
train = 0.7
test = 0.3
[search]
name = "weights"
trials = 40
[search.groups."m*"]
energy = [0.5, 2.0]
"""


def test_commands(copy: Repository, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    file, best = tmp_path / "search.toml", tmp_path / "best.toml"
    file.write_text(TABLE)
    out = done("search", copy.path, "-c", file, "--executor", "serial", "-o", best, "--name", "tuned").out
    assert "balanced" in out and "best energy" in out and "best.toml" in out and 'model "tuned"' in out
    assert "melt/2000 K" in best.read_text()
    assert "nothing to do" in done("fit", copy.path, "-c", best, "--from-factors").out
    facts = json.loads(done("search", copy.path, "-c", file, "--executor", "serial", "--json").out)
    assert facts["added"] == 0 and facts["trials"] >= 40 and facts["balanced"]["values"]["melt/2000 K.energy"] <= 2.0
    assert "melt/2000 K.energy" in done("show", copy.path, "weights").out
    assert "weights" in done("show", copy.path).out
    pictures = done("plot", copy.path, "weights", "-o", tmp_path / "pictures").out
    assert pictures.count(".png") == 2
    again = json.loads(done("search", copy.path, "-c", best, "--trials", "20", "--executor", "serial", "--json").out)
    assert again["trials"] >= 20  # a file without [search] varies all weights
    bad = run("search", copy.path, "-c", file, "--pick", "forces")
    assert bad.code == 2 and "Did you mean 'force'" in bad.err
