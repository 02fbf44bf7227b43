"""Kept factors: what is stored, what is redone, and fits from them against fits that stream the rows."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlipstore.errors import DamagedStoreError, SettingsError
from mlipstore.fit import compute, fit, prepare
from mlipstore.fit import load as load_model
from mlipstore.index import Index
from mlipstore.kept import compute as factoring
from mlipstore.kept.compute import factor, load, plan
from mlipstore.kept.crossvalidation import cross_validate
from mlipstore.kept.factors import find
from mlipstore.kept.fit import fit_from_factors
from mlipstore.kept.packing import pack, packed_size, unpack
from mlipstore.replay import replay
from mlipstore.runs.runfile import Fit, GroupSettings, PluginTable
from mlipstore.store import Repository
from tests.robustness.sources import done, run
from tests.small_store import add, configurations, small_store

pytestmark = pytest.mark.usefixtures("small_store_plugins")

SPLIT = GroupSettings(train=0.7, test=0.2, energy=10.0, force=1.0, stress=2.0)
PLAIN = Fit(default=SPLIT, groups={"bulk": replace(SPLIT, energy=50.0, force=0.3)})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A store with the factors of ``PLAIN``."""
    repository = small_store(tmp_path_factory.mktemp("factors"))
    factor(repository, PLAIN)
    return repository


@pytest.fixture
def copy(kept: Repository, tmp_path: Path) -> Repository:
    shutil.copytree(kept.path, tmp_path / "a.mlip")
    return Repository.open(tmp_path / "a.mlip")


def compare(repository: Repository, settings: Fit, other: Repository | None = None) -> None:
    """Coefficients and every number of the error table that factors have, with the fit that streams rows (of other)."""
    streamed, _ = compute(prepare(other or repository, settings))
    result = fit_from_factors(repository, settings)
    x, y = (np.append(r.coefficients, list(r.constants.values())) for r in (streamed, result))
    np.testing.assert_allclose(y, x, rtol=1e-9, atol=1e-9 * np.abs(x).max())
    assert (result.rows, result.rank) == (streamed.rows, streamed.rank)
    np.testing.assert_allclose(result.residual_norm, streamed.residual_norm, rtol=1e-10)
    lines = {(e.group, e.split, e.kind, e.weighted): e for e in streamed.errors}
    assert [(e.group, e.split, e.kind, e.weighted) for e in result.errors] == list(lines)
    for e in result.errors:
        line = lines[e.group, e.split, e.kind, e.weighted]
        assert e.n == line.n
        np.testing.assert_allclose([e.rmse, e.rsq], [line.rmse, line.rsq], rtol=1e-10)
        assert np.isnan([e.mae, e.max]).all()


@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        replace(PLAIN, constant=False),
        replace(PLAIN, baseline="none"),
        replace(PLAIN, element_shifts={"W": 3.0}, constant=False),
        replace(PLAIN, element_shifts={"Ta": -1.5}),
        PLAIN.with_weights(["*.force=0", "surface.stress=1e-6", "bulk.energy=1e5"]),
        replace(PLAIN, stress_weight_unit="bar").with_weights(["*.stress=1e-6"]),
        replace(PLAIN, solver=PluginTable("ridge", settings={"alpha": 0.1})),
        replace(PLAIN, solver=PluginTable("bayes")),
    ],
)
def test_a_fit_from_factors_is_the_streamed_fit(kept: Repository, settings: Fit) -> None:
    compare(kept, settings)


def test_rounding_of_large_energies_is_no_difference(tmp_path: Path) -> None:
    """All-electron energies, of which shifts leave what a few configurations fit to the last digit."""
    atoms = configurations(40, 3)
    for each in atoms:
        if "energy" in each.calc.results:
            each.calc.results["energy"] -= 535_000.77 * len(each)
    repository = Repository.create(tmp_path / "a.mlip")
    add(repository, tmp_path, atoms)
    shifts = {"Ta": 535_000.77, "W": 535_000.77}
    settings = Fit(default=GroupSettings(energy=100.0, force=0.0, stress=0.0, train=2), element_shifts=shifts)
    factor(repository, settings)
    assert fit_from_factors(repository, settings).residual_norm < 1e-4


def test_stiff_weights_keep_the_small_rows(kept: Repository) -> None:
    """Stress rows 3e5 times heavier than energies, which alone fix the constants: no worse than all rows at once."""
    settings = replace(PLAIN, stress_weight_unit="bar")
    streamed, _ = compute(prepare(kept, settings))
    result = fit_from_factors(kept, settings)
    np.testing.assert_allclose(result.residual_norm, streamed.residual_norm, rtol=1e-13)
    np.testing.assert_allclose(list(result.constants.values()), list(streamed.constants.values()), rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        replace(PLAIN, frame="lammps"),
        replace(PLAIN, weight_scaling="group-size"),
        replace(PLAIN, seed=4),
        replace(PLAIN, default=replace(SPLIT, train=7, test=3)),
        replace(PLAIN, unlisted_groups="exclude"),
        replace(PLAIN, baseline="none", groups={}),
    ],
)
def test_other_rows_or_other_parts_are_other_factors(copy: Repository, settings: Fit) -> None:
    before = copy.at().id
    if settings.baseline != "none":
        with pytest.raises(SettingsError, match=r"no factors are kept for \d+ of the \d+ configurations"):
            fit_from_factors(copy, settings)
    assert copy.at().id == before
    factor(copy, settings)
    compare(copy, settings)
    compare(copy, PLAIN) if settings.baseline != "none" else None


def test_no_row_is_read(kept: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlipstore.store import Snapshot

    real = Snapshot.read

    def read(self: Snapshot, path: str, start: int = 0, stop: int | None = None) -> object:
        assert not path.startswith(("features/", "atoms/", "baselines/")), path
        return real(self, path, start, stop)

    monkeypatch.setattr(Snapshot, "read", read)
    fit_from_factors(kept, replace(PLAIN, default=replace(SPLIT, energy=3.3)))


def test_full_adds_what_needs_residuals(kept: Repository) -> None:
    result = fit_from_factors(kept, PLAIN, full=True)
    streamed, _ = compute(prepare(kept, PLAIN))
    for e, other in zip(result.errors, streamed.errors, strict=True):
        np.testing.assert_allclose([e.mae, e.rmse, e.max], [other.mae, other.rmse, other.max], rtol=1e-9)
    assert result.id != fit_from_factors(kept, PLAIN).id


def test_a_model_tells_its_factors_and_repeats_to_the_bit(copy: Repository) -> None:
    settings = PLAIN.with_weights(["bulk.energy=7"])
    first = fit_from_factors(copy, replace(settings, name="quick"))
    assert first.new and not fit_from_factors(copy, settings).new
    stored = load_model(copy.at(), first.id)
    assert stored.provenance["factors"]["id"] in copy.at().names(f"factors/{stored.provenance['feature']['id']}")
    assert replay(copy, "quick").equal
    assert fit(copy, settings).id != first.id  # the streamed fit has other bits
    with copy.transaction("factors are gone", {"verb": "test"}, exclusive=True) as tx:
        del tx.root[f"factors/{stored.provenance['feature']['id']}"]
    assert replay(copy, "quick").equal  # computed again, to the same bits


def test_new_data_factors_new_segments_only(copy: Repository, tmp_path: Path) -> None:
    old = set(copy.at().names(find_path(copy)))
    (tmp_path / "more").mkdir()
    add(copy, tmp_path / "more", configurations(25, 7, ("bulk", "new")))
    result = factor(copy, PLAIN)
    assert result.segments == 2 and old < set(copy.at().names(find_path(copy)))
    assert factor(copy, PLAIN).segments == 0
    compare(copy, PLAIN)


def test_a_fit_after_more_data_is_the_fit_from_scratch(tmp_path: Path) -> None:
    """Whatever the segments: their factors, some old and some new, make up the rows."""
    first, more = configurations(60, 1), configurations(3, 7)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    grown, whole = Repository.create(tmp_path / "a.mlip"), Repository.create(tmp_path / "b.mlip")
    add(grown, tmp_path / "a", first)
    fit_from_factors(grown, PLAIN, keep=True)
    add(grown, tmp_path / "a", more)
    add(whole, tmp_path / "b", more + first, segment=35)
    assert factor(grown, PLAIN).segments == 1
    compare(grown, PLAIN, whole)


def find_path(repository: Repository) -> str:
    problem = prepare(repository, PLAIN)
    return find(problem.matrix, problem.table).settings.path


def test_deleted_configurations_redo_their_segment_only(copy: Repository) -> None:
    index = Index.load(copy.at())
    second = index.segments[1].name
    old = set(copy.at().names(find_path(copy)))
    with copy.transaction("delete two", {"verb": "test"}, exclusive=True) as tx:
        state = index.state.copy()
        state[np.flatnonzero(index.segment == 1)[3:5]] = 1
        tx.root["index/state"][:] = state
    result = factor(copy, PLAIN)
    assert result.segments == 1
    new = set(copy.at().names(find_path(copy)))
    assert {n.split("-")[0] for n in old ^ new} == {second}
    assert len(new) == len(old)  # what counts the deleted ones is gone
    compare(copy, PLAIN)


def test_bits_do_not_depend_on_order_or_interruption(copy: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(PLAIN, seed=9)

    class Backwards:
        n_workers = 1

        def unordered(self, function, tasks):  # type: ignore[no-untyped-def]
            for i, task in enumerate(reversed(list(tasks))):
                if i == 2:
                    raise KeyboardInterrupt
                yield len(tasks) - 1 - i, function(task)

    with pytest.raises(KeyboardInterrupt):
        factor(copy, settings, executor=Backwards())
    assert factor(copy, settings).segments == 2
    stored = {name: copy.at().read(f"{path}/{name}/R") for path, name in _names(copy, settings)}
    with copy.transaction("again", {"verb": "test"}, exclusive=True) as tx:
        del tx.root["factors"][prepare(copy, settings).feature.id]
    factor(copy, settings)
    again = {name: copy.at().read(f"{path}/{name}/R") for path, name in _names(copy, settings)}
    assert stored.keys() == again.keys()
    assert all(stored[k].tobytes() == again[k].tobytes() for k in stored)


def _names(repository: Repository, settings: Fit) -> list[tuple[str, str]]:
    problem = prepare(repository, settings)
    found = find(problem.matrix, problem.table)
    return [(found.settings.path, leaf.name) for leaf in found.leaves]


def test_folds_are_keys_and_serve_plain_fits(copy: Repository) -> None:
    factor(copy, replace(PLAIN, seed=3), folds=4)
    problem = prepare(copy, replace(PLAIN, seed=3))
    found = load(problem, folds=4)
    keys = [key for leaf in found.leaves for key, _ in found.trapezoids(leaf)]
    assert {k.fold for k in keys if k.split == 0} == {0, 1, 2, 3}
    assert {k.fold for k in keys if k.split == 1} == {-1}
    compare(copy, replace(PLAIN, seed=3))


def test_the_plan_is_what_is_stored(kept: Repository) -> None:
    problem = prepare(kept, PLAIN)
    found = load(problem)
    planned = plan(problem, found)
    stored = sum(len(kept.at().read(f"{found.settings.path}/{leaf.name}/R")) for leaf in found.leaves)
    assert planned.segments_missing == planned.bytes_missing == 0
    assert stored * 8 <= planned.bytes_on_disk <= 1.3 * 8 * stored  # some labels are missing


def test_too_large_is_refused_before_anything_is_done(copy: Repository) -> None:
    before = copy.at().id
    with pytest.raises(SettingsError, match=r"triangles of 15 columns.*--limit .*kB"):
        factor(copy, replace(PLAIN, seed=5), limit="100")
    assert copy.at().id == before


def test_what_there_is_no_room_for_is_factored_when_it_is_needed(copy: Repository) -> None:
    settings = replace(PLAIN, seed=5)
    problem = prepare(copy, settings)
    wanted = find(problem.matrix, problem.table)
    limit = int(0.6 * sum(size.bytes for size in wanted.sizes.values()))
    planned = plan(problem, wanted.within(limit))
    without = {x.segment for x in planned.not_kept}
    assert 0 < len(without) < planned.segments and planned.seconds_not_kept > 0
    assert planned.bytes_on_disk - sum(x.bytes for x in planned.not_kept) == planned.bytes_missing <= limit
    assert all(x.groups and x.keys and x.rows for x in planned.not_kept)
    sparing = {name: size.bytes_rows / size.bytes for name, size in wanted.sizes.items()}
    made = factor(copy, settings, limit=str(limit))
    assert (made.segments, made.not_kept) == (planned.segments - len(without), len(without))
    assert max(sparing, key=sparing.__getitem__) not in without
    assert factor(copy, settings).segments == 0  # the limit is that of the set from here on
    compare(copy, settings)
    model = fit_from_factors(copy, replace(settings, seed=5, default=replace(SPLIT, energy=2.5)))
    assert model.rows_not_kept == sum(x.rows for x in planned.not_kept)
    assert replay(copy, model.id).equal
    assert cross_validate(copy, settings).left_out
    assert factor(copy, settings, limit="1GB").segments == len(without)
    assert fit_from_factors(copy, replace(settings, default=replace(SPLIT, energy=3.5))).rows_not_kept == 0
    assert factor(copy, settings, limit=str(limit)).not_kept == 0  # what is there stays


def test_factors_of_an_older_version_are_kept_in_the_newest(copy: Repository, tmp_path: Path) -> None:
    old, settings = copy.at().id, replace(PLAIN, seed=6)
    index = Index.load(copy.at())
    with copy.transaction("delete two", {"verb": "test"}, exclusive=True) as tx:
        state = index.state.copy()
        state[np.flatnonzero(index.segment == 1)[3:5]] = 1
        tx.root["index/state"][:] = state
    assert factor(copy, settings).segments == factor(copy, settings, ref=old).segments + 3 == 4
    assert factor(copy, settings).segments == 0  # those of the newest version are still there
    result = fit_from_factors(copy, settings, ref=old)
    streamed, _ = compute(prepare(copy, settings, old))
    np.testing.assert_allclose(result.coefficients, streamed.coefficients, rtol=1e-9)
    assert result.rows == streamed.rows > fit_from_factors(copy, settings).rows
    assert (
        cross_validate(copy, settings, ref=old).all.rows["energy"] > cross_validate(copy, settings).all.rows["energy"]
    )
    kept_too = fit_from_factors(copy, replace(settings, seed=7), ref=old, keep=True)
    assert kept_too.rows > fit_from_factors(copy, replace(settings, seed=7), keep=True).rows


def test_a_damaged_factor_is_not_used(copy: Repository) -> None:
    path, name = _names(copy, PLAIN)[0]
    with copy.transaction("damage", {"verb": "test"}, exclusive=True) as tx:
        tx.root[f"{path}/{name}/R"][3] = np.nan
    with pytest.raises(DamagedStoreError, match="lost data"):
        fit_from_factors(copy, replace(PLAIN, default=replace(SPLIT, energy=1.5)))


def test_two_at_once_store_nothing_twice(copy: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process stores the segment while this one computes it."""
    settings = replace(PLAIN, seed=11)
    real, calls = factoring.factor_segment, []

    def compute_twice(*arguments):  # type: ignore[no-untyped-def]
        out = real(*arguments)
        if not calls:
            calls.append(1)
            factor(copy, settings)
        return out

    monkeypatch.setattr(factoring, "factor_segment", compute_twice)
    factor(copy, settings)
    compare(copy, settings)


@pytest.mark.parametrize("rows", [1, 3, 6, 7, 50])
def test_packing(rows: int) -> None:
    n = 7
    R = np.triu(np.random.default_rng(rows).standard_normal((min(rows, n), n)))
    packed = pack(R, rows)
    assert len(packed) == packed_size(rows, n)
    assert (unpack(packed, rows, n) == R).all()
    fewer = packed_size(rows, n - 2)
    assert (unpack(packed[:fewer], rows, n - 2) == R[: min(rows, n - 2), : n - 2]).all()


# ------------------------------------------------------------- cross-validation
def test_leaving_out_a_group_is_the_fit_without_it(kept: Repository) -> None:
    result = cross_validate(kept, PLAIN)
    assert [line.name for line in result.left_out] == ["bulk", "melt/2000 K", "surface"]
    for line in result.left_out:
        without = PLAIN.with_weights([f"{line.name}.{kind}=0" for kind in ("energy", "force", "stress")])
        for e in compute(prepare(kept, without))[0].errors:
            if (e.group, e.split, e.weighted) == (line.name, "train", False):
                assert line.rows[e.kind] == e.n
                np.testing.assert_allclose(line.outside[e.kind], e.rmse, rtol=1e-8)
    inside = {(line.name, kind): v for line in [*result.left_out, result.all] for kind, v in line.inside.items()}
    errors = [e for e in compute(prepare(kept, PLAIN))[0].errors if e.split == "train" and not e.weighted]
    whole = {(e.group, e.kind): e.rmse for e in errors}
    assert inside.keys() == whole.keys()
    np.testing.assert_allclose([inside[k] for k in whole], list(whole.values()), rtol=1e-9)


def test_folds_predict_what_they_have_not_seen(copy: Repository) -> None:
    with pytest.raises(SettingsError, match="--folds 4"):
        cross_validate(copy, PLAIN, folds=4)
    factor(copy, PLAIN, folds=4)
    result = cross_validate(copy, PLAIN, folds=4)
    assert [line.name for line in result.left_out] == ["fold 1", "fold 2", "fold 3", "fold 4"]
    groups = cross_validate(copy, PLAIN)
    assert result.all.rows == groups.all.rows
    np.testing.assert_allclose(list(result.all.inside.values()), list(groups.all.inside.values()), rtol=1e-9)
    assert all(result.all.outside[k] > result.all.inside[k] for k in ("energy", "force"))


def test_one_group_cannot_be_left_out(copy: Repository) -> None:
    alone = replace(PLAIN, unlisted_groups="exclude")
    factor(copy, alone)
    with pytest.raises(SettingsError, match="at least two groups"):
        cross_validate(copy, alone)


# ------------------------------------------------------------------ command line
def test_commands(copy: Repository, tmp_path: Path) -> None:
    settings = tmp_path / "fit.toml"
    settings.write_text('[fit]\n[fit.default]\ntrain = 0.8\ntest = 0.2\n[evaluate]\nunits = "fitsnap"\n')
    store = copy.path
    before = run("fit", store, "-c", settings, "--from-factors")
    assert before.code == 2 and "--keep-factors" in before.err
    assert run("fit", store, "--full").code == 2
    assert "triangles of 15 columns" in done("factor", store, "-c", settings, "--plan").out
    made = json.loads(done("factor", store, "-c", settings, "--executor", "serial", "--json").out)
    assert made["segments"] == 4 and made["rows"] > 0
    assert "nothing to do" in done("factor", store, "-c", settings).out
    out = done("fit", store, "-c", settings, "--from-factors", "--name", "quick").out
    assert "no rows read" in out and "MAE" not in out and "energy eV/atom" in out and "RMSE" in out
    out = done("fit", store, "-c", settings, "--keep-factors", "--full").out
    assert "MAE" in out
    facts = json.loads(done("fit", store, "-c", settings, "--from-factors", "--json").out)
    assert facts["errors"][0]["mae"] is None and facts["errors"][0]["rmse"] > 0
    assert "equal bits" in done("replay", store, "quick").out
    assert "left out" in done("cross-validate", store, "-c", settings).out
    assert "fold 2" in done("cross-validate", store, "-c", settings, "--folds", 2).out  # these are made now
    assert "quick" in done("show", store).out
