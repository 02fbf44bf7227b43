"""Corrections as a file: proposed by an audit, applied as versions, not twice, the same on the original data."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from mlipstore.audit.run import audit
from mlipstore.configuration import Batch
from mlipstore.curation import recipe as recipes
from mlipstore.curation.edit import Relabel
from mlipstore.curation.query import select
from mlipstore.curation.recipe import Recipe, Step
from mlipstore.errors import InputError, SettingsError
from mlipstore.index import Index, read_batch
from mlipstore.store import Repository
from mlipstore.units import GPA

from ..robustness.sources import done, run
from .clean_sets import clean
from .test_audit import written


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store: one group in kbar, two copies, one copy with another energy, one energy that its forces contradict."""
    folder = tmp_path_factory.mktemp("recipe")
    all_ = list(deepcopy(clean("CuAu")))
    hot = [c for c in all_ if c.group == "hot"]
    other = deepcopy(hot[5])
    other.energy += 1.0
    [c for c in all_ if c.group == "walk"][7].energy += 2.5
    store = folder / "a.mlip"
    done("ingest", store, written(folder / "a.xyz", [*all_, *hot[:2], other], strain=10 / GPA), "--quiet")
    assert run("audit", store, "--workers", 1, "--recipe", folder / "fix.toml").code == 1
    return store


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "a.mlip"))


@pytest.fixture
def file(original: Path) -> Path:
    return original.parent / "fix.toml"


def content(store: Path) -> list[tuple[bytes, str]]:
    index = Index.load(Repository.open(store).at())
    names, codes = index.group_codes
    return sorted((index.uid[i].tobytes(), names[codes[i]]) for i in np.flatnonzero(index.state == 0))


def labels(store: Path, where: str) -> Batch:
    snapshot = Repository.open(store).at()
    chosen = select(snapshot, where)
    parts = [read_batch(snapshot, s.name).take(np.flatnonzero(chosen.of(s.name))) for s in chosen.index.segments]
    return Batch.concatenate([p for p in parts if len(p)])


def test_a_proposed_recipe_repairs(store: Path, file: Path) -> None:
    proposed = recipes.load(file)
    assert [s.verb for s in proposed.steps] == ["remove", "mask", "mask", "mask", "relabel"]
    outcome = done("apply", store, file)
    assert "3 configurations" in outcome.out and "30 configurations" in outcome.out
    result = audit(Repository.open(store))
    assert result.clean, [f.what for f in result.findings if f.verdict == "error"]
    assert len(result.data.summary) == 98
    true = [c.stress for c in clean("CuAu") if c.group == "strain"]
    found = labels(store, "group == 'strain'").stress
    assert np.allclose(sorted(found.tolist()), sorted(x.tolist() for x in true if x is not None), atol=1e-12)
    masked = labels(store, "not has_energy")
    assert {"hot", "walk"} == set(masked.group.tolist()) and np.isfinite(masked.force).all()


def test_not_twice_and_the_same_elsewhere(store: Path, original: Path, file: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(original, tmp_path / "b.mlip"))
    for place in (store, other):
        done("apply", place, file)
    assert content(store) == content(other)
    before = content(store)
    outcome = done("apply", store, file)
    assert "5 of 5 steps were taken before" in outcome.out and content(store) == before


def test_continues_where_it_was_cut_off(
    store: Path, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = Path(shutil.copytree(store, tmp_path / "b.mlip"))
    done("apply", whole, file)

    def stop(*words: object, **settings: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recipes, "relabel", stop)
        with pytest.raises(KeyboardInterrupt):
            recipes.apply(Repository.open(store), recipes.load(file))
    recipes.apply(Repository.open(store), recipes.load(file))
    assert content(store) == content(whole)


def test_reasons_are_kept(store: Path, file: Path) -> None:
    done("apply", store, file)
    log = json.loads(done("log", store, "--json").out)
    assert any("kbar read as" in commit["message"] for commit in log)


def test_dry_run(store: Path, file: Path) -> None:
    before = Repository.open(store).at().id
    facts = json.loads(done("apply", store, file, "--dry-run", "--json").out)
    assert (facts["steps"][0]["changed"], facts["steps"][-1]["changed"]) == (3, 30)
    assert Repository.open(store).at().id == before


def test_a_recipe_is_not_overwritten(store: Path, file: Path) -> None:
    text = file.read_text()
    outcome = run("audit", store, "--workers", 1, "--recipe", file)
    assert outcome.code == 2 and "--force" in outcome.err and file.read_text() == text


def test_text_and_back(tmp_path: Path) -> None:
    steps = (
        Step("mask", "group == 'a\"b\\\\c'", 'because "it" is\nwrong', ("stress", "force")),
        Step("relabel", "n_atoms > 2", "shifted", (), {"energy_shift": {"W": -1.5, "Be": 0.25}, "group": "x"}),
    )
    path = tmp_path / "r.toml"
    path.write_text(recipes.text(Recipe("r", steps, "all of it"), ["a note", "two\nlines"]))
    again = recipes.load(path)
    assert again.steps == steps and again.id == Recipe("r", steps).id and again.about == "all of it"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "step"),
        ("[[step]]\nverb = 'remove'\nwhere = 'n_atoms > 1'", "reason"),
        ("[[step]]\nverb = 'removed'\nwhere = 'n_atoms > 1'\nreason = 'x'", "verb"),
        (
            "[[step]]\nverb = 'remove'\nwhere = 'n_atoms > 1'\nreason = 'x'\nkinds = ['stress']",
            "kinds is not for remove",
        ),
        ("[[step]]\nverb = 'mask'\nwhere = 'n_atoms > 1'\nreason = 'x'", "mask needs kinds"),
        ("[[step]]\nverb = 'relabel'\nwhere = 'n_atoms > 1'\nreason = 'x'", "relabel needs"),
        ("[[step]]\nverb = 'relabel'\nwhere = 'n_atoms > 1'\nreason = 'x'\nstress_units = 'bar'", "stress_unit"),
    ],
    ids=["empty", "reason", "verb", "kinds", "mask", "relabel", "key"],
)
def test_a_file_that_is_no_recipe(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises((SettingsError, InputError), match=says):
        recipes.load(path)


def test_a_bad_step_stops_all_before_the_first(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    good = "[[step]]\nverb = 'remove'\nwhere = 'n_atoms > 1'\nreason = 'x'\n"
    before = Repository.open(store).at().id
    unit = "stress_unit = 'kbr'\nstress_was = 'bar'"
    for bad in ("where = 'n_atom > 1'\nstress_scale = 2.0", f"where = 'n_atoms > 1'\n{unit}"):
        path.write_text(good + f"[[step]]\nverb = 'relabel'\nreason = 'x'\n{bad}\n")
        outcome = run("apply", store, path)
        assert outcome.code == 2 and outcome.err.startswith("error:")
        assert Repository.open(store).at().id == before


def test_orders_and_virials_are_repaired(tmp_path: Path) -> None:
    """Shear components in the order of VASP, virials of either sign read as stresses: found and corrected."""
    all_ = list(deepcopy(clean("CuAu")))
    for c in all_:
        assert c.stress is not None
        if c.group == "hot":
            c.stress = c.stress[[0, 1, 2, 5, 3, 4]]
        elif c.group == "strain":
            c.stress = -c.stress * abs(c.volume)
        elif c.group == "volume":
            c.stress = c.stress * abs(c.volume)
    store, file = tmp_path / "a.mlip", tmp_path / "fix.toml"
    done("ingest", store, written(tmp_path / "a.xyz", all_), "--quiet")
    outcome = run("audit", store, "--workers", 1, "--recipe", file)
    assert outcome.out.splitlines()[-2].startswith(f"next: mlipstore relabel {store} --virial eV ")
    steps = {s.where: dict(s.settings) for s in recipes.load(file).steps}
    assert steps["group == 'hot'"] == {"stress_order": "xx yy zz xy yz xz"}
    assert steps["group == 'strain'"] == {"virial": "eV"}
    assert steps["group == 'volume'"] == {"virial": "eV", "stress_scale": -1.0}
    order = run("audit", store, "--workers", 1, "--where", "group == 'hot'").out.splitlines()[-1]
    assert (
        order
        == f"next: mlipstore relabel {store} --stress-order 'xx yy zz xy yz xz' --where 'group == '\"'\"'hot'\"'\"''"
    )
    done("apply", store, file)
    assert audit(Repository.open(store)).clean
    for group in ("hot", "strain", "volume"):
        true = sorted(c.stress.tolist() for c in clean("CuAu") if c.group == group and c.stress is not None)
        assert np.allclose(sorted(labels(store, f"group == '{group}'").stress.tolist()), true, atol=1e-9)


def test_relabel_refuses_what_makes_no_stress(store: Path) -> None:
    before = Repository.open(store).at().id
    everything = ("--where", "n_atoms > 0")
    for options, said in (
        (("--stress-order", "xx yy zz yz xz xz"), "once each"),
        (("--stress-order", "xx yy zz yz xz xy"), "nothing to change"),
        (("--virial", "GPa"), "unknown energy unit"),
        (("--virial", "eV", "--stress-unit", "kbar"), "leave out --stress-unit"),
    ):
        outcome = run("relabel", store, *everything, *options)
        assert outcome.code == 2 and said in outcome.err, outcome.err
    assert Repository.open(store).at().id == before


def test_a_virial_needs_a_volume(tmp_path: Path) -> None:
    c = deepcopy(clean("Cu")[0])
    c.pbc = np.array([True, True, False])
    batch = Batch.from_configurations([c])
    with pytest.raises(SettingsError, match="and periodic"):
        Relabel(virial="eV").change()(batch)


def test_corrections_leave_what_only_shares_a_check(tmp_path: Path) -> None:
    """A stress of a configuration without energy stays, a short distance that is none of an overlap, equal energies."""
    everything = list(deepcopy(clean("CuAu")))
    walk = [c for c in everything if c.group == "walk"]
    assert all(c.stress is not None for c in walk[:6])
    walk[0].stress = np.zeros(6)
    for c in walk[1:3]:
        c.energy = float("nan")
    for c, distance in ((walk[3], 0.2), (walk[4], 1.2)):
        c.positions[1] = c.positions[0] + [0.0, 0.0, distance]
    twin = deepcopy(walk[5])
    assert twin.forces is not None
    twin.forces = 3.0 * twin.forces
    place, recipe = tmp_path / "a.mlip", tmp_path / "fix.toml"
    done("ingest", place, written(tmp_path / "a.xyz", [*everything, twin]), "--zero-stress", "value")
    outcome = run("audit", place, "--workers", 1, "--recipe", recipe)
    assert "the same energy and forces up to" in " ".join(outcome.out.split())
    steps = {(s.verb, s.kinds): s.where for s in recipes.load(recipe).steps}
    snapshot = Repository.open(place).at()
    selected = {key: select(snapshot, where).groups() for key, where in steps.items()}
    assert selected["mask", ("stress",)] == {"walk": 1}
    assert selected["mask", ("force",)] == {"walk": 2}
    assert ("mask", ("energy",)) not in steps or "conflict" not in steps["mask", ("energy",)]
    removed = [s.where for s in recipes.load(recipe).steps if s.verb == "remove"]
    assert [select(snapshot, w).groups() for w in removed if "distances" in w] == [{"walk": 1}]
    assert select(snapshot, "flagged('distances')").groups() == {"walk": 2}
    assert select(snapshot, "flagged('missing_labels:zero-stress')").groups() == {"walk": 1}
    assert select(snapshot, "flagged('missing_labels:no_energy')").groups() == {"walk": 2}
