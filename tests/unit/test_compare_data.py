"""Two data sets side by side: who is shared, which labels differ, and the unit, sign, order or zero of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

import mlipstore
from mlipstore.comparing.compare import compare_data
from mlipstore.comparing.explain import explain, unit_factor
from mlipstore.comparing.labels import SharedLabels
from mlipstore.configuration import Configuration
from mlipstore.errors import InputError, SettingsError, StoreError, UnknownNameError
from mlipstore.units import GPA, HARTREE
from tests.audit.clean_sets import clean
from tests.audit.test_audit import written
from tests.robustness.sources import done, run

N = 98  # configurations of a clean set: 12 volume, 30 strain, 16 walk, 40 hot


def of(configurations: list[Configuration], group: str) -> list[Configuration]:
    return [c for c in configurations if c.group == group]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("compare") / "a.xyz", clean("CuAu"))


@pytest.fixture(scope="module")
def store(first: Path) -> Path:
    path = first.parent / "a.mlip"
    done("ingest", path, first, "--quiet")
    return path


def other(path: Path, configurations: list[Configuration]) -> Path:
    return written(path / "b.xyz", configurations)


@pytest.fixture
def changed() -> Iterator[list[Configuration]]:
    yield list(deepcopy(clean("CuAu")))


def test_the_same_data(store: Path, first: Path) -> None:
    outcome = done("compare-data", store, first)
    assert f"{N} shared ({N} with equal labels and group)" in outcome.out and "next:" not in outcome.out
    facts = json.loads(done("compare-data", first, store, "--json").out)
    assert facts["equal"] and facts["agree"] and facts["shared"] == N and facts["only_first"] == 0
    assert facts["second"]["version"] and not facts["first"]["version"]


def test_who_is_shared(store: Path, changed: list[Configuration], tmp_path: Path) -> None:
    """Without five, with a new one, a copy, one with noise and one that was turned; four in another group."""
    hot = of(changed, "hot")
    new = deepcopy(hot[10])
    new.positions = new.positions + np.random.default_rng(1).normal(0, 0.2, new.positions.shape)
    noisy = deepcopy(hot[0])
    noisy.positions = noisy.positions + np.random.default_rng(2).normal(0, 3e-4, noisy.positions.shape)
    turned = deepcopy(hot[1])
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    turned.cell, turned.positions = turned.cell @ rotation.T, turned.positions @ rotation.T
    for c in of(changed, "walk")[:4]:
        c.group = "run"
    kept = [c for c in changed if not any(c is h for h in hot[:5])]
    path = other(tmp_path, [*kept, new, noisy, turned, deepcopy(hot[20])])
    result = compare_data(store, path)
    assert (result.shared, result.only_first, result.only_second) == (N - 5, 5, 4)
    assert result.copies == (0, 1) and result.agree and not result.equal
    assert result.similar is not None
    assert (result.similar.near, result.similar.turned) == ((1, 1), (1, 1))
    assert result.moved == [("walk", "run", 4)]
    assert (result.groups["walk"].elsewhere, result.groups["hot"].only_first, result.groups["run"].second) == (4, 5, 4)
    outcome = run("compare-data", store, path)
    assert outcome.code == 0 and "within 0.002 Å" in outcome.out and "in other coordinates" in outcome.out
    assert outcome.out.splitlines()[-1] == f"next: mlipstore ingest {store} {path}"
    # the other way round everything changes sides
    back = compare_data(path, store, look_alike=False)
    assert (back.only_first, back.only_second, back.copies, back.similar) == (4, 5, (1, 0), None)


def test_what_was_removed(first: Path, changed: list[Configuration], tmp_path: Path) -> None:
    """It is told by which version, and how it comes back; what is new as well is ingested."""
    store, walk = tmp_path / "r.mlip", "group == 'walk'"
    done("ingest", store, first, "--quiet")
    version = json.loads(done("remove", store, "--where", walk, "--json").out)["snapshot"]
    done("remove", store, "--where", "group == 'hot' and frame < 0")  # nothing
    n = len(of(changed, "walk"))
    result = compare_data(first, store, look_alike=False)
    (removal,) = result.removed[1].removals
    assert (result.only_first, result.removed[1].configurations, result.removed[0].configurations) == (n, n, 0)
    assert (removal.version, removal.where, removal.configurations) == (version, walk, n)
    lines = done("compare-data", first, store).out.splitlines()
    assert any(f"{n} configurations were removed from B: {n} by {version[:8]}" in line for line in lines)
    assert lines[-1].startswith("next: mlipstore restore") and "walk" in lines[-1]
    new = deepcopy(changed[0])
    new.positions = new.positions + 0.1 * np.random.default_rng(4).normal(size=new.positions.shape)
    more = other(tmp_path, [*changed, new])
    assert run("compare-data", store, more).out.splitlines()[-1] == f"next: mlipstore ingest {store} {more}"
    done("restore", store, "--where", walk)
    assert compare_data(first, store, look_alike=False).equal


def test_energies_of_another_zero(store: Path, changed: list[Configuration], tmp_path: Path) -> None:
    for c in changed:
        c.energy += 1.25 * len(c)
    of(changed, "walk")[3].energy += 0.5
    result = compare_data(store, other(tmp_path, changed))
    energies = result.of("energy")
    assert (energies.both, energies.differ) == (N, N) and result.of("force").differ == 0
    assert energies.explanation is not None and energies.explanation.code == "offset"
    assert energies.explanation.values["eV_per_atom"] == pytest.approx(1.25, abs=1e-6)
    assert energies.explanation.share == pytest.approx((N - 1) / N)
    worst = result.differing[0]
    assert worst.first["group"] == "walk" and worst.left * worst.first["n_atoms"] == pytest.approx(0.5, abs=1e-4)
    outcome = run("compare-data", store, tmp_path / "b.xyz")
    assert outcome.code == 1 and "another zero, +1.25 eV/atom" in outcome.out
    assert outcome.out.splitlines()[-1].startswith(f"next: mlipstore audit {store} ")


def test_units_signs_and_orders(store: Path, changed: list[Configuration], tmp_path: Path) -> None:
    for c in changed:
        assert c.stress is not None and c.forces is not None
        c.energy /= HARTREE
        c.forces = -c.forces
        if c.group == "strain":
            c.stress = c.stress * 160.21766
        elif c.group == "hot":
            c.stress = c.stress[[0, 1, 2, 5, 3, 4]]
        elif c.group == "volume":
            c.stress = -c.stress * abs(c.volume)
    result = compare_data(store, other(tmp_path, changed))
    rules = {(c.kind, c.group): c.explanation for c in result.labels if c.explanation is not None}
    assert rules["energy", "*"].what == "read as Ha in the first, as eV in the second"
    assert rules["force", "*"].code == "sign"
    assert rules["stress", "strain"].what == "read as GPa in the first, as eV/Å^3 in the second"
    assert rules["stress", "hot"].code == "order" and rules["stress", "hot"].values["order"] == "xx yy zz xy yz xz"
    assert rules["stress", "volume"].code == "virial" and rules["stress", "volume"].values["virial"] == "second"
    assert {c.group for c in result.labels if c.kind == "stress" and c.differ} == {"*", "strain", "hot", "volume"}


def test_labels_that_one_side_has(store: Path, changed: list[Configuration], tmp_path: Path) -> None:
    for c in of(changed, "hot"):
        c.stress = None
    few = tmp_path / "few.mlip"
    done("ingest", few, other(tmp_path, changed), "--quiet")
    result = compare_data(few, store)
    assert (result.of("stress").only_second, result.of("stress", "hot").only_second) == (40, 40)
    assert result.agree and result.identical == N - 40
    outcome = done("compare-data", few, store.parent / "a.xyz")
    assert outcome.out.splitlines()[-1].startswith(f"next: mlipstore relabel {few} --labels ")
    # and doing so makes them equal
    done("relabel", few, "--labels", store.parent / "a.xyz", "--where", "not has_stress")
    assert compare_data(few, store).equal


def test_versions_and_a_selection(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "c.mlip"
    done("clone", store, copy)
    done("tag", copy, "v1")
    done("relabel", copy, "--where", "group == 'strain'", "--stress-scale", "2")
    result = compare_data(f"{copy}@v1", copy)
    assert (result.shared, result.of("stress").differ) == (N, 30)
    assert result.of("stress").explanation is not None
    assert compare_data(f"{copy}@v1", copy, where="group != 'strain'").equal
    assert run("compare-data", f"{copy}@v1", copy).out.splitlines()[-1].startswith(f"next: mlipstore audit {copy}")
    with pytest.raises(StoreError, match="v2"):
        compare_data(f"{copy}@v2", copy)


def test_parts_of_a_model(store: Path, first: Path, tmp_path: Path) -> None:
    """Whom a model was trained on, of the configurations that another set has."""
    copy = tmp_path / "c.mlip"
    done("clone", store, copy)
    rows = tmp_path / "snap.toml"
    rows.write_text('[descriptor]\ntype = "snap"\nelements = ["Cu", "Au"]\nrcutfac = 4.6\ntwojmax = 2\n')
    (tmp_path / "fit.toml").write_text('[fit]\nname = "m"\n[fit.default]\ntrain = 0.7\ntest = 0.3\n')
    done("featurize", copy, "--descriptor", rows, "--workers", 1)
    done("fit", copy, "--config", tmp_path / "fit.toml")
    n = {part: len(select(copy, part)) for part in ("train", "test")}
    assert compare_data(first, copy, model="m").parts == [("", "test", n["test"]), ("", "train", n["train"])]
    outcome = done("compare-data", copy, first, "--model", "m")
    assert f"{n['train']} of the shared ones: train in A" in outcome.out
    # what was relabelled since has another content, and the model has not seen it
    done("relabel", copy, "--where", "group == 'walk'", "--energy-scale", "2")
    parts = compare_data(f"{copy}@main~1", copy, model="m").parts
    assert sum(k for a, b, k in parts if b == "unused") == 16 and all(a == b for a, b, _ in parts if b != "unused")
    with pytest.raises(UnknownNameError, match="no model"):
        compare_data(store, first, model="m")


def select(store: Path, part: str) -> list[object]:
    query = ("query", store, "--model", "m", "--where", f"split == '{part}'", "--json")
    return list(json.loads(done(*query).out))


def test_what_cannot_be_compared(store: Path, first: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        compare_data(store, tmp_path / "none.xyz")
    with pytest.raises(InputError, match="before the @"):
        compare_data(store, f"{tmp_path}/none.mlip@v1")
    with pytest.raises(SettingsError):
        compare_data(store, first, where="n_atoms >")
    assert run("compare-data", store, store, "--stress-unit", "kbar").code == 2
    assert run("compare-data", store, tmp_path / "none.xyz").code == 1


def test_an_empty_side(store: Path) -> None:
    result = compare_data(store, store, where="n_atoms > 1000")
    assert result.equal and result.shared == 0
    assert done("compare-data", store, store, "--where", "n_atoms > 1000").out


def test_the_library(store: Path, first: Path) -> None:
    assert mlipstore.compare_data(store, first).equal


def shared(n: int, seed: int) -> SharedLabels:
    """Energies and compositions of two elements; nothing else."""
    rng = np.random.default_rng(seed)
    table = [((29, i), (79, 6 - i)) for i in range(1, 6)]
    energy = rng.normal(-20, 1, n)
    code = rng.integers(0, 5, n).astype(np.int32)
    has = {k: np.ones((2, n), bool) for k in ("energy", "force", "stress")}
    rows = np.arange(n)
    return SharedLabels(
        (rows, rows), np.full(n, 6), np.full(n, 60.0), has, np.array([energy, energy]), code, np.zeros((n, 3)),
        np.zeros(n), rng.normal(size=(2, n, 6)), table,
    )  # fmt: skip


def test_another_zero_of_each_element() -> None:
    s = shared(60, 1)
    counts = np.array([[n for _, n in s.compositions[c]] for c in s.composition])
    s.energy[1] += counts @ [1.5, -0.25]
    s.energy[1, :5] += 3.0
    rule = explain(s, "energy", np.arange(60))
    assert rule is not None and rule.code == "element-offsets" and rule.share == pytest.approx(55 / 60)
    assert rule.values["eV"] == {"Cu": pytest.approx(1.5, abs=1e-6), "Au": pytest.approx(-0.25, abs=1e-6)}


def test_noise_is_not_explained() -> None:
    s = shared(60, 2)
    s.energy[1] += np.random.default_rng(3).normal(0, 1, 60)
    assert explain(s, "energy", np.arange(60)) is None
    assert explain(s, "stress", np.arange(60)) is None
    assert explain(s, "energy", np.arange(3)) is None


@pytest.mark.parametrize(
    ("kind", "k", "text"),
    [
        ("stress", 1000.0, "read as bar in the first, as kbar in the second"),
        ("stress", -10.0, "read as kbar in the first, as GPa in the second, and the other sign"),
        ("energy", HARTREE, "read as eV in the first, as Ha in the second"),
        ("stress", GPA, "read as eV/Å^3 in the first, as GPa in the second"),
        ("force", 1.7, "1.7 times"),
        ("force", -1.0, "the other sign"),
    ],
    ids=["kbar", "sign", "hartree", "gpa", "number", "minus"],
)
def test_factors_have_names(kind: str, k: float, text: str) -> None:
    assert unit_factor(kind, k) == text
