"""Featurize: what is computed and what not, in which order and precision, and that plans tell the truth."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
from ase.io import write

from mlipstore import featurize as module
from mlipstore import ingest as ingesting
from mlipstore import registry
from mlipstore.computing import Reference, Rows
from mlipstore.configuration import Batch
from mlipstore.errors import ComputeError, DamagedStoreError, SettingsError
from mlipstore.executors.serial import Serial
from mlipstore.features import Feature, StoredBaseline, missing
from mlipstore.featurize import featurize, parts
from mlipstore.fit import fit
from mlipstore.index import read_batch, segments
from mlipstore.ingest import ingest
from mlipstore.kept.compute import factor
from mlipstore.kept.uncertainty import uncertainty
from mlipstore.layout import GROUPS
from mlipstore.plans import featurize_plan
from mlipstore.runs.runfile import Fit
from mlipstore.store import Repository, Snapshot

from ..robustness.content import content, differences
from ..small_store import Slope, Waves, configurations, plugins, small_store


@dataclass(frozen=True)
class Narrow(Waves):
    """Knows one element only."""

    elements: tuple[str, ...] = ("Ta",)


@dataclass(frozen=True)
class Broken(Waves):
    """Fails, or gives what is no number, for configurations of some size.

    :param atoms: the size; ``how``: ``raise``, ``energy``, ``force``, ``stress``
    """

    atoms: int = 4
    how: str = "raise"

    def rows(self, batch: Batch) -> Rows:
        out = super().rows(batch)
        for i in np.flatnonzero(batch.n_atoms == self.atoms):
            if self.how == "raise":
                raise ComputeError(f"{batch.place(int(i))}: cannot be computed.")
            a = int(batch.atom_start[i])
            row = {"energy": int(i), "force": 3 * a + 4, "stress": 6 * int(i) + 5}[self.how]
            getattr(out, self.how)[row, -1] = np.inf
        return out


@dataclass(frozen=True)
class BrokenSlope(Slope):
    """A baseline that gives no number for some atom."""

    def evaluate(self, batch: Batch) -> Reference:
        out = super().evaluate(batch)
        out.force[batch.number == 74] = np.nan
        return out


@pytest.fixture(autouse=True)
def _plugins() -> Iterator[None]:
    """The plugins of these tests, and segments of 20 configurations."""
    mine = {
        ("descriptors", "narrow"): Narrow,
        ("descriptors", "broken"): Broken,
        ("baselines", "broken-slope"): BrokenSlope,
    }
    with plugins(), pytest.MonkeyPatch.context() as patch:
        known = registry.get
        patch.setattr(registry, "get", lambda kind, name: mine.get((kind, name)) or known(kind, name))
        patch.setattr(ingesting, "SEGMENT_CONFIGURATIONS", 20)
        yield


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Configurations alone, in three segments."""
    write(tmp_path / "a.xyz", configurations(50, 1))
    repository = Repository.create(tmp_path / "s.mlip")
    ingest(repository, [tmp_path / "a.xyz"])
    return repository


def waves(**more: Any) -> Feature:
    return Feature.of("waves", Waves(), None, **more)


def slope() -> StoredBaseline:
    return StoredBaseline.of("slope", Slope(), None)


class Recorder(Serial):
    """Serial, and tells which segments it was given."""

    def __init__(self, tell: list[str]) -> None:
        object.__setattr__(self, "tell", tell)

    def unordered(self, function: Any, tasks: Any) -> Iterator[tuple[int, Any]]:
        for i, task in enumerate(tasks):
            self.tell.append(task.segment)  # type: ignore[attr-defined]
            yield i, function(task)


# ---------------------------------------------------------------- what is stored
def test_rows_are_those_of_the_descriptor(repository: Repository) -> None:
    feature, baseline = waves(), slope()
    result = featurize(repository, feature, baseline)
    snapshot = repository.at()
    assert (result.segments, result.configurations) == (3, 50) and result.snapshot == snapshot.id
    for s in segments(snapshot):
        batch = read_batch(snapshot, s.name)
        rows, reference = Waves().rows(batch), Slope().evaluate(batch)
        for name, expected in (("A_E", rows.energy), ("A_F", rows.force), ("A_S", rows.stress)):
            assert snapshot.read(f"features/{feature.id}/{s.name}/{name}").tobytes() == expected.tobytes()
        for name in ("energy", "force", "stress"):
            stored = snapshot.read(f"baselines/{baseline.id}/{s.name}/{name}")
            assert stored.tobytes() == getattr(reference, name).tobytes()


def test_only_what_is_missing_is_computed(repository: Repository, tmp_path: Path) -> None:
    told: list[str] = []
    featurize(repository, waves(), None, Recorder(told))
    before = repository.at()
    assert sorted(told) == sorted(s.name for s in segments(before))
    again = featurize(repository, waves(), None, Recorder(told))
    assert len(told) == 3 and (again.atoms, again.snapshot) == (0, "") and repository.at().id == before.id
    write(tmp_path / "b.xyz", configurations(10, 2))
    ingest(repository, [tmp_path / "b.xyz"])
    assert len(missing(repository.at(), "features", waves().id)) == 1
    result = featurize(repository, waves(), None, Recorder(told))
    assert len(told) == 4 and result.configurations == 10
    featurize(repository, None, slope(), Recorder(told))
    assert len(told) == 8


def test_a_baseline_can_be_added_to_rows_that_are_there(repository: Repository) -> None:
    featurize(repository, waves(), None)
    featurize(repository, waves(), slope())
    alone = repository.at()
    assert len(missing(alone, "baselines", slope().id)) == 0


def test_the_largest_segment_comes_first(repository: Repository) -> None:
    told: list[str] = []
    featurize(repository, waves(), None, Recorder(told))
    size = {s.name: s.n_atoms for s in segments(repository.at())}
    assert [size[t] for t in told] == sorted(size.values(), reverse=True)


def test_progress_counts_atoms(repository: Repository) -> None:
    seen: list[tuple[int, int]] = []
    result = featurize(repository, waves(), None, progress=lambda done, total: seen.append((done, total)))
    total = sum(s.n_atoms for s in segments(repository.at()))
    assert len(seen) == 3 and seen[-1] == (total, total) and result.atoms == total
    assert result.to_json()["feature"] == {"id": waves().id, "alias": "waves"}


def test_the_same_settings_have_one_id_and_keep_their_alias(repository: Repository) -> None:
    featurize(repository, waves(), None)
    result = featurize(repository, replace(waves(), alias="another name"), None)
    assert result.feature is not None and result.feature.alias == "waves" and result.atoms == 0
    other = Feature.of("waves", Waves(), "waves", "float32")
    result = featurize(repository, other, None)
    assert result.feature is not None and result.feature.alias == "waves-2" and other.id != waves().id
    assert "featurize waves-2" in [c.message for c in repository.log()]


def test_float32_rounds_force_rows_only(repository: Repository) -> None:
    feature = waves(precision="float32")
    featurize(repository, feature, None)
    snapshot = repository.at()
    for s in segments(snapshot):
        rows = Waves().rows(read_batch(snapshot, s.name))
        read = {k: snapshot.read(f"features/{feature.id}/{s.name}/{k}") for k in ("A_E", "A_F", "A_S")}
        assert [read[k].dtype.str for k in read] == ["<f8", "<f4", "<f8"]
        assert read["A_E"].tobytes() == rows.energy.tobytes() and read["A_S"].tobytes() == rows.stress.tobytes()
        assert read["A_F"].tobytes() == rows.force.astype("f4").tobytes()


@pytest.mark.parametrize("part_bytes", [1, 3_000, 1 << 30])
def test_rows_do_not_depend_on_the_parts_they_come_in(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    """Nor are chunks written twice: here a chunk holds two configurations or so."""
    from mlipstore import layout

    with monkeypatch.context() as patch:
        patch.setattr(layout, "CHUNK_BYTES", 4_000)
        patch.setattr(module, "parts", lambda batch, m, most: parts(batch, m, part_bytes))
        written: list[str] = []
        real = icechunk.IcechunkStore.set

        async def noted(self: Any, key: str, value: Any) -> None:
            if key.startswith("features") and "/c/" in key:
                written.append(key)
            await real(self, key, value)

        patch.setattr(icechunk.IcechunkStore, "set", noted)
        featurize(repository, waves(), None)
    assert len(set(written)) == len(written) >= 9
    snapshot = repository.at()
    for s in segments(snapshot):
        rows = Waves().rows(read_batch(snapshot, s.name))
        assert snapshot.read(f"features/{waves().id}/{s.name}/A_F").tobytes() == rows.force.tobytes()


def test_parts_hold_whole_configurations_and_all_of_them() -> None:
    batch = Batch.from_configurations([])
    assert parts(batch, 10) == []
    n_atoms = np.array([1, 100, 1, 1, 1])
    cost = (3 * n_atoms + 7) * 8 * 10

    class Sized:
        def __init__(self) -> None:
            self.n_atoms = n_atoms

        def __len__(self) -> int:
            return 5

    assert parts(Sized(), 10, int(cost[0])) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]  # type: ignore[arg-type]
    assert parts(Sized(), 10, int(2 * cost[0])) == [(0, 1), (1, 2), (2, 4), (4, 5)]  # type: ignore[arg-type]
    assert parts(Sized(), 10, int(cost.sum())) == [(0, 5)]  # type: ignore[arg-type]


# ------------------------------------------------------------------------ plans
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_plan_is_what_happens(repository: Repository, tmp_path: Path, precision: str) -> None:
    feature = waves(precision=precision)
    columns = Waves().columns()
    before = featurize_plan(repository.at(), feature, columns)
    assert before.segments_missing == 3 and before.configurations_missing == 50
    result = featurize(repository, feature, None)
    assert before.atoms_missing == result.atoms
    snapshot = repository.at()
    stored = [
        snapshot.array(f"features/{feature.id}/{s.name}/{k}") for s in segments(snapshot) for k in ("A_E", "A_F", "A_S")
    ]
    assert before.rows == sum(a.shape[0] for a in stored) and {a.shape[1] for a in stored} == {before.columns}
    assert before.bytes_on_disk == sum(a.nbytes for a in stored)
    after = featurize_plan(snapshot, feature, columns)
    assert (after.segments_missing, after.configurations_missing, after.atoms_missing) == (0, 0, 0)
    assert after.rows == before.rows and after.to_json()["segments"] == 3


# --------------------------------------------------------------------- mistakes
def test_a_store_without_configurations(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "empty.mlip")
    with pytest.raises(SettingsError, match=r"holds no configurations\. Run mlipstore ingest"):
        featurize(repository, waves(), None)
    assert repository.log() == []


def test_an_element_that_is_not_listed(repository: Repository) -> None:
    before = content(repository.path)
    with pytest.raises(SettingsError, match="the store holds W, which descriptor 'narrow' does not list"):
        featurize(repository, Feature.of("narrow", Narrow(), "narrow"), slope())
    assert content(repository.path) == before


@pytest.mark.parametrize("how", ["raise", "energy", "force", "stress"])
def test_what_cannot_be_computed_is_named_and_leaves_nothing(repository: Repository, how: str) -> None:
    """A featurization that no segment got into goes away again."""
    before = content(repository.path)
    words = "cannot be computed" if how == "raise" else "not a finite number; are two atoms at the same place"
    with pytest.raises(ComputeError, match=rf"a.xyz, frame \d+ \(group .*\): .*{words}") as caught:
        featurize(repository, Feature.of("broken", Broken(how=how), None), slope())
    frame = int(str(caught.value).split("frame ")[1].split(" ")[0])
    assert len(configurations(50, 1)[frame]) == 4
    assert differences(content(repository.path), before) == []


def test_what_was_computed_before_an_error_stays(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real = module._compute_segment

    def compute(task: Any) -> Any:
        if len(done) == 2:
            raise ComputeError("the third cannot be computed")
        done.append(task.segment)
        return real(task)

    with monkeypatch.context() as patch, pytest.raises(ComputeError):
        patch.setattr(module, "_compute_segment", compute)
        featurize(repository, waves(), None)
    assert repository.at().names(f"features/{waves().id}") == sorted(done)
    assert featurize(repository, waves(), None).segments == 1


def test_a_baseline_that_is_no_number(repository: Repository) -> None:
    before = content(repository.path)
    with pytest.raises(ComputeError, match="not a finite number"):
        featurize(repository, None, StoredBaseline.of("broken-slope", BrokenSlope(), None))
    assert differences(content(repository.path), before) == []


def test_precision_and_names() -> None:
    with pytest.raises(SettingsError, match="precision is 'float16'"):
        waves(precision="float16")


def test_settings_that_do_not_belong_to_their_id(repository: Repository) -> None:
    featurize(repository, waves(), None)
    with repository.transaction("harm", {"verb": "test"}) as tx:
        tx.group(f"features/{waves().id}", {**repository.at().attributes(f"features/{waves().id}"), "type": "narrow"})
    with pytest.raises(DamagedStoreError, match="are not those it was made with"):
        Feature.load(repository.at(), "waves")


# ------------------------------------------------------------------- meanwhile
def test_what_another_process_stores_meanwhile_is_kept(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """It commits the same segment, which it could not claim, while ours is computed: ours is discarded, the part it
    lacks computed anew."""
    real, met = Waves.rows, []

    def rows(self: Waves, batch: Batch) -> Rows:
        if len(batch) > 1 and not met:
            met.append(True)
            with monkeypatch.context() as patch:
                patch.setattr(module, "claim", lambda objects, name: nullcontext(True))
                featurize(Repository.open(repository.path), waves(), None)
        return real(self, batch)

    monkeypatch.setattr(Waves, "rows", rows)
    featurize(repository, waves(), slope())
    snapshot = repository.at()
    names = sorted(s.name for s in segments(snapshot))
    assert snapshot.names(f"features/{waves().id}") == snapshot.names(f"baselines/{slope().id}") == names


def test_the_order_of_runs_does_not_matter(repository: Repository, tmp_path: Path) -> None:
    other = Repository.open(shutil.copytree(repository.path, tmp_path / "other.mlip"))
    featurize(repository, waves(), slope())
    featurize(other, None, slope())
    featurize(other, waves(), None)
    assert differences(content(repository.path), content(other.path)) == []


# ----------------------------------------------------------------------- xarray
def first(snapshot: Snapshot, pattern: str) -> str | None:
    """The first group that a pattern of the layout such as ``features/<feature-id>/<segment>`` stands for."""
    here = ""
    for part in pattern.split("/"):
        if part.startswith("<"):
            names = snapshot.names(here)
            if not names:
                return None
            part = names[0]
        here = f"{here}/{part}".lstrip("/")
    return here


def test_every_group_opens_with_xarray(tmp_path: Path) -> None:
    """With the named dimensions, units and long names of the layout, and the numbers that we read."""
    (tmp_path / "data").mkdir()
    repository = small_store(tmp_path / "data", 60)
    fit(repository, Fit(name="m"))
    factor(repository, Fit(name="m"))
    uncertainty(repository, "m", folds=2)
    snapshot = repository.at()
    opened = set()
    for pattern, specs in GROUPS.items():
        path = first(snapshot, pattern) if snapshot.exists(pattern.split("/")[0]) else None
        if path is None:
            continue
        opened.add(pattern.split("/")[0])
        data = snapshot.to_xarray(path)
        for key, spec in specs.items():
            if spec.optional and key not in data:
                continue
            assert data[key].dims == spec.dims, (path, key)
            assert data[key].attrs["units"] == spec.units and data[key].attrs["long_name"] == spec.long_name
            expected = snapshot.read(f"{path}/{key}")
            if spec.dtype == "str":
                assert data[key].values.tolist() == expected.tolist()
            else:
                np.testing.assert_array_equal(data[key].values, expected)
    assert opened >= {"configurations", "atoms", "baselines", "features", "factors", "models", "index"}
