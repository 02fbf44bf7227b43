"""What a fit says about labels: a wrong one is the first of the ranking, a wrong group is named, clean data pass."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlipstore.audit.finding import Finding
from mlipstore.audit.run import AuditResult, audit
from mlipstore.configuration import Batch, Configuration
from mlipstore.curation.edit import Relabel, relabel
from mlipstore.curation.query import select
from mlipstore.errors import StoreError
from mlipstore.features import Feature
from mlipstore.featurize import featurize
from mlipstore.fit import fit
from mlipstore.ingest import ingest
from mlipstore.kept.compute import factor
from mlipstore.kept.crossvalidation import cross_validate
from mlipstore.kept.problem import refit
from mlipstore.kept.standing import groups_left_out
from mlipstore.registry import make
from mlipstore.runs.runfile import Fit, GroupSettings
from mlipstore.split import TEST, TRAIN, places
from mlipstore.store import Repository
from mlipstore.units import GPA

from ..robustness.sources import done, run
from .clean_sets import NAMES, clean
from .test_audit import written

ELEMENTS = {"Cu": ("Cu",), "CuAu": ("Cu", "Au"), "Mg": ("Mg",), "AlNi": ("Al", "Ni")}
#: Weights by the usual size of the errors.
FIT = Fit(name="m", default=GroupSettings(train=1.0, energy=100.0, force=1.0, stress=50.0))
CHECKS = ("suspect-label", "group-conflict")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each clean set with SNAP rows, not fitted yet."""
    out = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        repository = Repository.create(folder / "a.mlip")
        ingest(repository, [written(folder / "a.xyz", clean(name))])
        settings = {"elements": ELEMENTS[name], "twojmax": 4, "rcutfac": 4.6}
        featurize(repository, Feature.of("snap", make("descriptors", "snap", settings), None), None)
        out[name] = folder / "a.mlip"
    return out


def fitted(original: Path, folder: Path, changed: list[Configuration], settings: Fit = FIT) -> Repository:
    """A copy with the labels of these configurations, fitted with its factors kept."""
    repository = Repository.open(shutil.copytree(original, folder / "a.mlip"))
    if changed:
        labels = written(folder / "b.xyz", changed)
        result = relabel(repository, "n_atoms > 0", Relabel(labels=labels))
        assert result.changed == len(changed)
    factor(repository, settings)
    fit(repository, settings)
    return repository


def looked_at(repository: Repository) -> AuditResult:
    return audit(repository, model="m", checks=CHECKS)


def ranked(found: list[Finding]) -> list[tuple[str, str, int]]:
    """Suspect labels, the most suspect first: group, kind and frame."""
    labels = [(e, f.group) for f in found for e in f.evidence.get("labels", ())]
    labels.sort(key=lambda x: -x[0]["times"])
    return [(group, e["kind"], int(e["place"].rpartition("frame ")[2])) for e, group in labels]


@pytest.mark.parametrize("name", NAMES)
def test_clean_labels_pass(name: str, stores: dict[str, Path], tmp_path: Path) -> None:
    result = looked_at(fitted(stores[name], tmp_path, []))
    told = [f for f in result.findings if f.verdict in ("warning", "error")]
    assert sum(len(f.configurations) for f in told) < 0.01 * len(result.data.summary), [f.what for f in told]
    assert {f.check for f in result.findings} == set(CHECKS)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_labels_lead_the_ranking(name: str, stores: dict[str, Path], tmp_path: Path) -> None:
    """One energy, one component of one force, and one stress are wrong, each in another configuration."""
    all_ = deepcopy(clean(name))
    hot = [i for i, c in enumerate(all_) if c.group == "hot"]
    strain = [i for i, c in enumerate(all_) if c.group == "strain"]
    energy, force, stress = all_[hot[7]], all_[hot[19]], all_[strain[11]]
    assert force.forces is not None and stress.stress is not None
    energy.energy += 0.1 * len(energy)
    force.forces[3, 1] += 6.0
    stress.stress = stress.stress + np.array([0, 0, 0, 0, 15.0, 0]) * GPA
    result = looked_at(fitted(stores[name], tmp_path, [energy, force, stress]))
    order = ranked(result.of("suspect-label", "warning"))
    assert set(order[:3]) == {("hot", "energy", hot[7]), ("hot", "force", hot[19]), ("strain", "stress", strain[11])}
    (hot_finding,) = (f for f in result.of("suspect-label") if f.group == "hot")
    component = [e["component"] for e in hot_finding.evidence["labels"] if e["kind"] == "force"]
    assert component[0] == "atom 3 y"


@pytest.mark.parametrize("name", ["Cu", "AlNi"])
def test_a_wrong_group_is_named(name: str, stores: dict[str, Path], tmp_path: Path) -> None:
    walk = [deepcopy(c) for c in clean(name) if c.group == "walk"]
    for i, c in enumerate(walk):
        c.energy += (0.3 + 0.05 * (-1) ** i) * len(c)
    result = looked_at(fitted(stores[name], tmp_path, walk))
    (found,) = result.of("group-conflict", "warning")
    assert found.group == "walk" and found.evidence["kind"] == "energy" and len(found.configurations) == 16


def test_kept_and_used(stores: dict[str, Path], tmp_path: Path) -> None:
    all_ = deepcopy(clean("Cu"))
    wrong = next(c for c in all_ if c.group == "hot")
    wrong.energy += 0.2 * len(wrong)
    repository = fitted(stores["Cu"], tmp_path, [wrong])
    store = tmp_path / "a.mlip"
    outcome = run("audit", store, "--model", "m", "--workers", 1, "--plots", tmp_path / "p")
    assert "suspect-label" in outcome.out and "off the fit alone: energy of " in outcome.out
    assert (tmp_path / "p" / "suspect-label.png").exists()
    assert select(repository.at(), "flagged('suspect_label')").groups() == {"hot": 1}
    done("audit", store, "--waive", "suspect-label", "--group", "hot", "--reason", "it is real")
    assert not select(repository.at(), "flagged('suspect_label')").rows.any()
    # an audit without a model says nothing about it, and does not pretend to
    run("audit", store, "--workers", 1)
    with pytest.raises(StoreError, match="--model"):
        select(repository.at(), "flagged('suspect_label')")
    facts = json.loads(run("audit", store, "--model", "m", "--json", "--quiet", "--workers", 1).out)
    assert any(f["check"] == "suspect-label" and f["waived"] for f in facts["findings"])


def test_without_factors(stores: dict[str, Path], tmp_path: Path) -> None:
    repository = Repository.open(shutil.copytree(stores["Cu"], tmp_path / "a.mlip"))
    fit(repository, FIT)
    (found,) = looked_at(repository).of("group-conflict")
    assert found.verdict == "undecided" and "mlipstore factor" in found.what


def test_pairs_that_are_left_out(stores: dict[str, Path], tmp_path: Path) -> None:
    """The errors without two groups are those of a fit that leaves both out."""
    repository = fitted(stores["AlNi"], tmp_path, [])
    left = groups_left_out(refit(repository, "m"))
    assert left.groups == ["hot", "strain", "volume", "walk"] and left.without is not None
    for other in ("strain", "volume"):
        without = Fit(
            name="w",
            default=FIT.default,
            groups={other: GroupSettings(train=0.0, energy=100.0, force=1.0, stress=50.0)},
        )
        factor(repository, without)
        lines = {x.name: x for x in cross_validate(repository, without).left_out}
        i, j = left.groups.index(other), left.groups.index("hot")
        expected = [lines["hot"].outside[k] for k in ("energy", "force", "stress")]
        np.testing.assert_allclose(left.without[i, j], expected, rtol=1e-5)


def test_labels_of_the_test_set_are_looked_at_too(stores: dict[str, Path], tmp_path: Path) -> None:
    """A wrong energy is found in either part; the expected error of one that was not fitted is larger, not smaller."""
    all_ = deepcopy(clean("Mg"))
    hot = [c for c in all_ if c.group == "hot"]
    place = places(Batch.from_configurations(hot).geometry, FIT.seed)
    wrong = [hot[int(np.argmin(place))], hot[int(np.argmax(place))]]
    for c in wrong:
        c.energy += 0.15 * len(c)
    settings = replace(FIT, default=replace(FIT.default, train=0.5, test=0.5))
    repository = fitted(stores["Mg"], tmp_path, wrong, settings)
    result = looked_at(repository)
    (found,) = result.of("suspect-label", "warning")
    frames = result.data.summary.frame[found.configurations]
    assert set(frames.tolist()) >= {next(i for i, a in enumerate(all_) if a is c) for c in wrong}
    assert result.data.fit is not None and result.data.split is not None
    assert set(result.data.split[found.configurations].tolist()) == {TRAIN, TEST}
    judged = np.isfinite(result.data.fit.standing.studentised[:, 0])
    assert judged[result.data.split == TEST].all() and judged[result.data.split == TRAIN].all()
