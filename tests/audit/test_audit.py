"""The verb over stores and files: exit codes, what is printed, what is kept, what it is good for afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.data import chemical_symbols

import mlipstore
from mlipstore.audit import flags
from mlipstore.audit.run import audit, audit_files
from mlipstore.configuration import Configuration
from mlipstore.curation.query import select
from mlipstore.errors import InputError, StoreError, UnknownNameError
from mlipstore.store import Repository
from mlipstore.units import GPA

from ..robustness.sources import run, write_extxyz
from .clean_sets import clean


def written(path: Path, configurations: Iterable[Configuration], **scales: float) -> Path:
    """An extended XYZ file of configurations; the stresses of groups that are named are scaled."""
    data = [
        {
            "group": c.group,
            "symbols": [chemical_symbols[z] for z in c.numbers],
            "positions": c.positions,
            "cell": c.cell,
            "energy": c.energy,
            "forces": c.forces,
            "stress": np.zeros(6) if c.stress is None else c.stress * scales.get(c.group, 1.0),
        }
        for c in configurations
    ]
    return write_extxyz(path, data)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one group in kbar and two copies."""
    all_ = list(clean("CuAu"))
    hot = [c for c in all_ if c.group == "hot"]
    return written(tmp_path_factory.mktemp("audit") / "faulty.xyz", [*all_, *hot[:2]], strain=10 / GPA)


@pytest.fixture
def store(faulty: Path, tmp_path: Path) -> Path:
    path = tmp_path / "a.mlip"
    assert run("ingest", path, faulty, "--quiet").code == 0
    return path


def test_a_store_with_errors(store: Path) -> None:
    outcome = run("audit", store, "--workers", 1)
    assert outcome.code == 1
    assert "kbar read as eV/Å^3" in outcome.out and "2 exact copies" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("next: mlipstore ")
    assert all(len(line) <= 100 for line in outcome.out.splitlines() if not line.startswith("next"))


def test_json_names_places(store: Path) -> None:
    outcome = run("audit", store, "--json", "--quiet", "--workers", 1)
    facts = json.loads(outcome.out)
    assert outcome.code == 1 and not facts["clean"] and facts["verdicts"]["error"] >= 1
    (unit,) = [f for f in facts["findings"] if f["code"] == "unit" and f["verdict"] == "error"]
    assert unit["group"] == "strain" and unit["evidence"]["unit"] == "kbar" and unit["configurations"] == 30
    assert unit["places"][0]["source"].endswith("faulty.xyz") and unit["places"][0]["frame"] == 12
    assert len(unit["places"][0]["uid"]) == 64


def test_findings_are_kept_once(store: Path) -> None:
    repository = Repository.open(store)
    with pytest.raises(StoreError, match="mlipstore audit"):
        select(repository.at(), "flagged('stress_unit')")
    run("audit", store, "--workers", 1)
    versions = len(list(repository.log()))
    run("audit", store, "--workers", 1)
    assert len(list(repository.log())) == versions
    kept = flags.load(repository.at())
    assert kept is not None and kept.counts()["errors"] >= 1
    rows = select(repository.at(), "flagged('stress_unit')").rows
    assert rows.sum() == 30
    assert select(repository.at(), "not flagged('stress_unit') and flagged('copies')").rows.sum() == 2
    assert "audit" in run("show", store).out
    shown = run("show", store, "audit")
    assert shown.code == 0 and "kbar read as" in shown.out


def test_waivers(store: Path) -> None:
    assert run("audit", store, "--waive", "stress-unit").code == 2  # no reason
    assert run("audit", store, "--waive", "stres-unit", "--reason", "x").code == 2
    assert run("audit", store, "--waive", "stress-unit", "--group", "strayn", "--reason", "x").code == 2
    assert run("audit", store, "--waive", "stress-unit", "--reason", "asked the authors").code == 0
    outcome = run("audit", store, "--workers", 1)
    assert outcome.code == 0 and "asked the authors" in outcome.out
    repository = Repository.open(store)
    assert not select(repository.at(), "flagged('stress_unit')").rows.any()


def test_nothing_is_kept_when_asked(store: Path) -> None:
    for options in (["--no-store"], ["--check", "copies"], ["--where", "group == 'hot'"]):
        run("audit", store, "--workers", 1, *options)
    assert flags.load(Repository.open(store).at()) is None


def test_a_selection(store: Path) -> None:
    outcome = run("audit", store, "--where", "group != 'strain'", "--workers", 1)
    assert outcome.code == 0 and "kbar" not in outcome.out
    result = audit(Repository.open(store), checks=["copies"])
    assert {f.check for f in result.findings} == {"copies"}
    with pytest.raises(UnknownNameError, match="Did you mean 'copies'"):
        audit(Repository.open(store), checks=["copiez"])


def test_the_library(store: Path) -> None:
    opened = mlipstore.open_store(store)
    assert not opened.audit(keep=True).clean
    assert opened.audit(where="group == 'volume'").clean


def test_files_before_they_are_stored(faulty: Path, tmp_path: Path) -> None:
    outcome = run("audit", faulty, "--workers", 1)
    assert outcome.code == 1 and "kbar read as eV/Å^3" in outcome.out
    assert f"next: mlipstore ingest NEW.mlip {faulty} --group-stress-unit strain=kbar" in outcome.out
    # and doing so makes it right
    new = tmp_path / "new.mlip"
    assert run("ingest", new, faulty, "--group-stress-unit", "strain=kbar", "--quiet").code == 0
    result = audit(Repository.open(new))
    assert result.clean, [f.what for f in result.findings]


def test_store_and_files_agree(store: Path, faulty: Path) -> None:
    def told(result: mlipstore.audit.run.AuditResult) -> list[tuple[str, str, str, int]]:
        return [(f.check, f.group, f.verdict, len(f.configurations)) for f in result.findings]

    assert told(audit(Repository.open(store))) == told(audit_files([faulty]))


def test_frames_that_cannot_be_read_are_findings(faulty: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.xyz"
    text = faulty.read_text().splitlines()
    n = int(text[0])
    text[n + 2 + 1] = text[n + 2 + 1].replace("energy=", "energy=abc")
    broken.write_text("\n".join(text) + "\n")
    (tmp_path / "junk.json").write_text('{"Dataset": {"Data": [{')
    outcome = run("audit", broken, tmp_path / "junk.json", "--json", "--quiet", "--workers", 1)
    facts = json.loads(outcome.out)
    refused = [f["what"] for f in facts["findings"] if f["check"] == "unreadable"]
    assert outcome.code == 1 and facts["configurations"] == len(clean("CuAu")) + 2 - 1
    assert any("broken.xyz, frame 1" in x for x in refused) and any("junk.json" in x for x in refused)


def test_no_such_files(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        audit_files([tmp_path / "none.xyz"])
    outcome = run("audit", tmp_path / "none.xyz")
    assert outcome.code == 1 and outcome.err.startswith("error:") and "none.xyz" in outcome.err
    assert run("audit", tmp_path / "none.xyz", "--where", "x").code == 2


def test_same_findings_with_workers(store: Path) -> None:
    one, two = (json.loads(run("audit", store, "--json", "--quiet", "--workers", w).out) for w in (1, 2))
    for facts in (one, two):
        del facts["seconds"], facts["id"], facts["snapshot"]
    assert one == two


def test_an_empty_store(tmp_path: Path) -> None:
    path = Repository.create(tmp_path / "e.mlip").path
    outcome = run("audit", path)
    assert outcome.code == 0, outcome.err


def test_labels_of_copies(tmp_path: Path) -> None:
    """What differs and where is in the evidence."""
    all_ = list(deepcopy(clean("Cu")))
    twin = deepcopy(next(c for c in all_ if c.group == "hot"))
    twin.energy += 0.5
    twin.group = "walk"
    result = audit_files([written(tmp_path / "a.xyz", [*all_, twin])], checks=["label-conflict"])
    (found,) = result.findings
    assert found.evidence["largest_eV"] == pytest.approx(0.5, abs=1e-9)
    assert sorted(found.evidence["conflicts"][0]["groups"]) == ["hot", "walk"]


def test_pictures(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    outcome = run("audit", store, "--workers", 1, "--no-store", "--plots", tmp_path / "p")
    assert "2 pictures" in outcome.out
    assert {p.name for p in (tmp_path / "p").iterdir()} == {"stress-unit-strain.png", "copies.png"}
    assert run("audit", store, "--workers", 1, "--plots", tmp_path / "p", "--check", "copies").code == 0


def _dimers(**labels: float) -> list[dict[str, object]]:
    """Copper pairs with Lennard-Jones labels that end at 3.25 Å, and an atom; ``labels`` replaces those of some."""
    made: list[dict[str, object]] = []
    for k, r in enumerate(np.linspace(2.2, 4.4, 23)):
        atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, r]], cell=[15] * 3, pbc=True)
        atoms.calc = LennardJones(sigma=2.2, epsilon=0.4, rc=3.25)
        energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        if labels and k % 5 == 1:
            energy, forces = labels.get("energy", energy), np.zeros((2, 3))
        made.append({"group": "dimer", "symbols": ["Cu"] * 2, "positions": atoms.positions, "cell": atoms.cell.array,
                     "energy": energy, "forces": forces, "stress": np.zeros(6)})  # fmt: skip
    made.append({"group": "atom", "symbols": ["Cu"], "positions": np.zeros((1, 3)), "cell": 15 * np.eye(3),
                 "energy": 0.0, "forces": np.zeros((1, 3)), "stress": np.zeros(6)})  # fmt: skip
    return made


def test_atoms_out_of_reach_have_no_forces(tmp_path: Path) -> None:
    """Zero energy and zero forces are right there; nearer by they are lost."""
    clear = audit_files([write_extxyz(tmp_path / "a.xyz", _dimers())])
    told = [f for f in clear.findings if f.counts and f.check != "missing-labels"]
    assert not told, told
    for labels in ({"energy": 0.0}, {"force": 0.0}):
        found = audit_files([write_extxyz(tmp_path / "b.xyz", _dimers(**labels))])
        (lost,) = [f for f in found.findings if f.check == "zero-forces"]
        frames = found.data.summary.frame[lost.configurations]
        assert lost.verdict == "error" and set(frames.tolist()) == {1, 6}


def test_a_store_that_cannot_be_written(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit is there all the same, and says that its findings were not stored, and why."""

    def refuse(*words: object, **settings: object) -> None:
        raise StoreError("the file system is read-only")

    monkeypatch.setattr(Repository, "transaction", refuse)
    outcome = run("audit", store, "--workers", 1)
    assert outcome.code == 1 and "kbar read as" in outcome.out and "kept as" not in outcome.out
    assert "the findings were not stored: the file system is read-only" in outcome.out
    assert outcome.out.splitlines()[-1] == f"next: mlipstore clone {store} COPY.mlip"
    facts = json.loads(run("audit", store, "--workers", 1, "--json", "--quiet").out)
    assert not facts["stored"] and facts["not_stored"].endswith("read-only") and not facts["id"]
