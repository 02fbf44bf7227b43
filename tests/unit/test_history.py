"""What leads from one version to another, and back: ``diff``, ``revert``, ``show REF:PATH``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from mlipstore import ingest as ingesting
from mlipstore.curation.annotate import annotate
from mlipstore.curation.edit import Relabel, mask, relabel, remove
from mlipstore.diff import GroupChange, diff
from mlipstore.errors import SettingsError, StoreError, UnknownNameError
from mlipstore.fit import fit
from mlipstore.index import Index
from mlipstore.ingest import ingest
from mlipstore.kept.compute import factor
from mlipstore.revert import revert
from mlipstore.runs.runfile import Fit
from mlipstore.show import show
from mlipstore.snapshot import Snapshot
from mlipstore.store import Repository

from ..small_store import add, configurations, plugins, small_store

SETTINGS = Fit.from_dict({"default": {"train": 0.8, "test": 0.2, "energy": 10.0, "force": 1.0, "stress": 0.5}})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with plugins():
        small_store(folder, 40)
    return folder


@pytest.fixture
def repository(made: Path, tmp_path: Path) -> Iterator[Repository]:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    with plugins():
        yield Repository.open(tmp_path / "a.mlip")


def content(snapshot: Snapshot) -> dict[str, object]:
    """Attributes of every group, and bytes of every array."""
    out: dict[str, object] = {}
    for path, node in snapshot.root.members(max_depth=None):
        out[path] = np.asarray(node[...]).tolist() if isinstance(node, zarr.Array) else dict(node.attrs)
    return {k: repr(v) for k, v in out.items()}


# ------------------------------------------------------------------------ diff
def test_configurations_by_group(repository: Repository, tmp_path: Path) -> None:
    before = repository.at()
    n = Index.load(before).live_groups()
    remove(repository, 'group == "bulk" and n_atoms == 2')
    gone = n["bulk"] - Index.load(repository.at()).live_groups()["bulk"]
    add(repository, tmp_path, configurations(6, 9, ("liquid", "bulk")))
    relabel(repository, "frame == 1", Relabel(group="other"))
    relabel(repository, 'group == "surface"', Relabel(energy_shift={"Ta": 1.0, "W": 1.0}))
    found = diff(repository, before.id)
    energies = int(np.isfinite(Index.load(before).facts[:, 1])[Index.load(before).group_codes[1] == 2].sum())
    assert found.configurations == [40, 40 - gone + 6]
    assert found.groups.keys() == {"bulk", "liquid", "melt/2000 K", "other", "surface"}
    assert found.groups["bulk"].removed == gone > 0
    assert found.groups["liquid"].added + found.groups["bulk"].added + found.groups["other"].added == 6
    assert found.groups["other"].moved_in == 1 and found.groups["melt/2000 K"] == GroupChange(moved_out=1)
    assert found.groups["surface"] == GroupChange(relabelled=energies)
    assert found.labels == {"energy": energies}
    assert {f["alias"]: f["configurations"] for f in found.features}["waves"] == [40, 46 - gone]
    assert found.versions["only_a"] == 0 < found.versions["only_b"]
    back = diff(repository, "main", before.id)
    assert back.groups["bulk"].added == gone and back.labels == found.labels
    assert diff(repository, "main~0").equal and diff(repository, before.id, before.id).equal


def test_copies_are_counted_one_by_one(repository: Repository, tmp_path: Path) -> None:
    before = repository.at().id
    (file,) = tmp_path.glob("data-*.xyz")
    assert ingest(repository, [file, file]).added == 40
    found = diff(repository, before)
    assert sum(c.added for c in found.groups.values()) == 40
    assert not any(c.removed or c.relabelled or c.moved_in for c in found.groups.values())


def test_models_settings_and_annotations(repository: Repository) -> None:
    first = fit(repository, SETTINGS)
    before = repository.at().id
    other = Fit.from_dict({**SETTINGS.to_dict(), "solver": {"type": "ridge", "alpha": 0.1}})
    annotate(repository, "frame < 3", ("odd",), "look")
    mask(repository, "frame == 5", ("stress",))
    second = fit(repository, other)
    found = diff(repository, before)
    assert [(m["change"], m["alias"]) for m in found.models] == [("added", second.name)]
    old, new = found.newest
    assert old is not None and new is not None
    assert (old["id"], new["id"]) == (first.id, second.id)
    for model, result in ((old, first), (new, second)):
        expected = {f"{e.kind}_{e.split}": e.rmse for e in result.errors if e.group == "*" and not e.weighted}
        assert model["rmse"] == expected
    assert found.settings["fit.solver.type"][1] == "ridge" and found.settings["fit.solver.alpha"] == [None, 0.1]
    assert {(a["name"], *a["configurations"]) for a in found.annotations} == {("odd", None, 3), ("note", None, 3)}
    assert diff(repository, "main", before).models[0]["change"] == "removed"


def test_branches_that_went_apart(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.create_branch("try")
    remove(repository, "frame == 1")
    other = Repository.open(repository.path, "try")
    remove(other, "frame == 2")
    remove(other, "frame == 3")
    found = diff(repository, "main", "try")
    assert found.versions == {"only_a": 1, "only_b": 2}
    assert sum(c.removed for c in found.groups.values()) == 2 and sum(c.added for c in found.groups.values()) == 1


# ---------------------------------------------------------------------- revert
def test_back_to_any_version(repository: Repository, tmp_path: Path) -> None:
    """Everything is byte for byte as it was, whatever came after; and again."""
    annotate(repository, "frame < 3", ("odd",), values={"T": 1.0})
    fit(repository, SETTINGS)
    base = repository.at()
    annotate(repository, "frame < 9", ("odd", "even"), remove=("T",))
    remove(repository, "n_atoms == 3")
    add(repository, tmp_path, configurations(10, 9, ("liquid",)))
    relabel(repository, 'group == "bulk"', Relabel(energy_scale=2.0, group="b"))
    factor(repository, SETTINGS)
    fit(repository, SETTINGS)
    far = repository.at()
    assert content(far) != content(base)
    result = revert(repository, base.id, back_to=True)
    assert result.back_to == base.id and len(result.undone) > 5
    assert content(repository.at()) == content(base)
    assert diff(repository, base.id).equal
    assert repository.log()[0].metadata["summary"]["back_to"] == base.id
    revert(repository, far.id, back_to=True)
    assert content(repository.at()) == content(far)
    assert content(repository.at(base.id)) == content(base)
    assert fit(repository, SETTINGS).new is False


def test_one_run_of_a_command(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ingest is undone with all that was made of it; what others did before and after stays."""
    start = Index.load(repository.at()).live_groups()
    monkeypatch.setattr(ingesting, "SEGMENT_CONFIGURATIONS", 4)
    add(repository, tmp_path, configurations(10, 9, ("liquid",)), 4)
    run = next(c for c in repository.log() if c.verb == "ingest")
    add(repository, tmp_path, configurations(10, 10, ("gas",)))
    fit(repository, SETTINGS)
    result = revert(repository, run.id)
    assert {u["id"] for u in result.undone} == {
        c.id for c in repository.log() if c.metadata.get("run") == run.metadata["run"]
    }
    index = Index.load(repository.at())
    assert index.live_groups() == {**start, "gas": 10}
    assert show(repository)["features"][0]["configurations_missing"] == 0
    names = {s.name for s in index.segments}
    for path, _ in repository.at().root.members(max_depth=None):
        parts = path.split("/")
        segment = {"configurations": 1, "atoms": 1, "features": 2, "baselines": 2}.get(parts[0], 99)
        assert len(parts) <= segment or parts[segment] in names
    assert sum(index.counts().values()) == 50
    first = next(f for f in tmp_path.glob("data-*.xyz") if "liquid" in f.read_text())
    assert ingest(repository, [first]).added == 10  # it may come again
    removed = remove(repository, 'group == "gas"')
    revert(repository, removed.snapshot)
    assert Index.load(repository.at()).live_groups() == {**start, "gas": 10, "liquid": 10}
    revert(repository, "main")  # undo the undoing
    assert "gas" not in Index.load(repository.at()).live_groups()


def test_what_later_versions_build_on_is_not_undone(repository: Repository, tmp_path: Path) -> None:
    annotated = annotate(repository, "frame < 3", ("odd",)).snapshot
    annotate(repository, "frame < 5", ("odd",))
    removed = remove(repository, "frame < 2").snapshot
    relabel(repository, "frame == 7", Relabel(group="x"))
    ingested = repository.log()[-1].id
    for id_, words in ((annotated, "annotations/flag-odd"), (ingested, "removed, corrected, moved or merged")):
        with pytest.raises(StoreError, match=words) as caught:
            revert(repository, id_)
        assert "--to" in str(caught.value)
    tip = repository.at().id
    assert [u["id"] for u in revert(repository, removed, dry_run=True).undone] == [removed]
    assert repository.at().id == tip
    revert(repository, removed)
    assert len(Index.load(repository.at()).state) == 41 and Index.load(repository.at()).live_groups()["x"] == 1
    with pytest.raises(SettingsError, match="empty store"):
        revert(repository, f"{ingested}~1")
    with pytest.raises(SettingsError, match="newest"):
        revert(repository, "main", back_to=True)
    repository.create_branch("try", removed)
    other = Repository.open(repository.path, "try")
    remove(other, "frame == 3")
    with pytest.raises(StoreError, match="Switch"):
        revert(repository, "try")


# ------------------------------------------------------------------ show, log
def test_any_group_and_array_of_any_version(repository: Repository) -> None:
    before = repository.at().id
    segment = Index.load(repository.at()).segments[0].name
    remove(repository, "frame < 4")
    group = show(repository, f"{before}:configurations/{segment}")
    assert group["arrays"]["energy"]["units"] == "eV" and group["attributes"]["n_configurations"] == 20
    assert "configurations" in show(repository, ":")["groups"]
    array = show(repository, f"{before}:index/state")
    assert (array["shape"], array["first"]) == ([40], [0] * 5)
    assert len(show(repository, ":index/uid")["first"][0]) == 64
    assert show(repository, "2999-12-31T23:59:00Z:index/state")["snapshot"] == repository.at().id
    assert 1 in repository.at().read("index/state")
    assert show(repository, "main:waves")["kind"] == "feature"
    for name, words in (
        ("main:index/stat", "'state'"),
        ("main:index/state/x", "no group"),
        (":wave/x", "in the store"),
    ):
        with pytest.raises(UnknownNameError, match=words):
            show(repository, name)
    with pytest.raises(SettingsError, match="two versions"):
        show(repository, "main:index", ref=before)
    with pytest.raises(StoreError, match="no version"):
        show(repository, "nonsense:index")
