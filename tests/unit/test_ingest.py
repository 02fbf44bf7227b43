"""Ingest: what is stored, what is known already, where segments are cut, what is counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore import ingest as module
from mlipstore import seen
from mlipstore.errors import InputError, SettingsError, StoreError
from mlipstore.executors.processes import Processes
from mlipstore.index import Index, read_batch, segments
from mlipstore.ingest import IngestResult, ingest
from mlipstore.reading import ReadOptions
from mlipstore.store import Repository, Transaction

from ..robustness.content import content, differences
from ..robustness.sources import frames, write_extxyz, write_json_tree


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "s.mlip")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 100 atoms or 12 configurations, each a version of its own."""
    for cuts in (module, seen):
        monkeypatch.setattr(cuts, "SEGMENT_ATOMS", 100)
        monkeypatch.setattr(cuts, "SEGMENT_CONFIGURATIONS", 12)
    monkeypatch.setattr(module, "_COMMIT_EVERY", 0.0)


def stored(repository: Repository) -> Counter[bytes]:
    return Index.load(repository.at()).counts()


# ---------------------------------------------------------------------- copies
def test_copies_in_the_input_stay_and_nothing_is_added_twice(repository: Repository, tmp_path: Path) -> None:
    """A source is a multiset: the k-th copy of a configuration is new when the store holds fewer than k."""
    a, b, c = frames(3, 1)
    first = write_extxyz(tmp_path / "first.xyz", [a, a, b])
    result = ingest(repository, [first])
    assert (result.read, result.added, result.known) == (3, 3, 0)
    before = repository.at().id
    again = ingest(repository, [first])
    assert (again.read, again.added, again.known, again.segments) == (3, 0, 3, [])
    assert repository.at().id == before, "nothing to store is no version"
    second = write_extxyz(tmp_path / "second.xyz", [a, a, a, c, b, c])
    result = ingest(repository, [second])
    assert (result.added, result.known) == (3, 3)
    assert sorted(stored(repository).values()) == [1, 2, 3]


def test_the_same_file_named_twice_is_two_copies(repository: Repository, tmp_path: Path) -> None:
    source = write_extxyz(tmp_path / "a.xyz", frames(4, 1))
    assert ingest(repository, [source, source]).added == 8
    assert ingest(repository, [source, source]).added == 0


def test_other_labels_are_another_configuration(repository: Repository, tmp_path: Path) -> None:
    data = frames(2, 1)
    ingest(repository, [write_extxyz(tmp_path / "a.xyz", data)])
    data[0]["energy"] += 1e-9
    assert ingest(repository, [write_extxyz(tmp_path / "b.xyz", data)]).added == 1


def test_another_group_or_format_is_the_same_configuration(repository: Repository, tmp_path: Path) -> None:
    data = frames(6, 1)
    for f in data:
        f["stress"] = np.zeros(6)
    ingest(repository, [write_extxyz(tmp_path / "a.xyz", data)])
    for f in data:
        f["group"] = "elsewhere"
    assert ingest(repository, [write_json_tree(tmp_path / "tree", data)]).known == 6


def test_copies_are_counted(repository: Repository, tmp_path: Path) -> None:
    """By geometry, rounded to 1e-4 Å, over the whole store; also those that stand in two groups."""
    a, b, c = frames(3, 1)
    near = {**b, "positions": b["positions"] + 1e-9, "energy": 0.0}
    other = {**a, "group": "elsewhere"}
    checks = ingest(repository, [write_extxyz(tmp_path / "a.xyz", [a, a, b, near, c, other])]).checks
    assert (checks.copies, checks.copied_geometries, checks.geometries_in_several_groups) == (3, 2, 1)


# ---------------------------------------------------------------------- stress
def test_zero_stress_is_missing_or_a_value(tmp_path: Path) -> None:
    data = frames(4, 1)
    data[1]["stress"] = np.zeros(6)
    source = write_extxyz(tmp_path / "a.xyz", data)
    for rule, expected in (("missing", [True]), ("value", [False])):
        repository = Repository.create(tmp_path / f"{rule}.mlip")
        result = ingest(repository, [source], zero_stress=rule)
        snapshot = repository.at()
        stress = read_batch(snapshot, segments(snapshot)[0].name).stress
        assert np.isnan(stress).all(axis=1).tolist() == [False, *expected, False, False]
        assert result.checks.zero_stress == 1 and result.checks.with_stress == 4 - sum(expected)
        assert result.checks.zero_stress_kept == (rule == "value")
        other = "value" if rule == "missing" else "missing"
        assert ingest(repository, [source], zero_stress=other).added == 0, "how it is read makes no other one"


def test_an_unknown_rule_is_refused(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'missing' or 'value'"):
        ingest(repository, [tmp_path], zero_stress="perhaps")


# ---------------------------------------------------------------------- groups
def test_only_some_groups(repository: Repository, tmp_path: Path) -> None:
    source = write_extxyz(tmp_path / "a.xyz", frames(8, 1))
    result = ingest(repository, [source], include_groups=["g1", "g3"])
    assert (result.read, result.added, result.left_out) == (8, 4, 4)
    assert result.groups == {"g1": 2, "g3": 2}
    assert ingest(repository, [source]).added == 4, "the others can follow"


def test_a_group_that_is_not_there_is_refused_before_anything_is_stored(repository: Repository, tmp_path: Path) -> None:
    source = write_extxyz(tmp_path / "a.xyz", frames(8, 1))
    with pytest.raises(InputError, match=r"no group 'g11'.*Did you mean 'g1'\?"):
        ingest(repository, [source], include_groups=["g0", "g11"])
    assert repository.log() == []


# -------------------------------------------------------------------- segments
def test_segments_are_ordered_by_group(repository: Repository, tmp_path: Path) -> None:
    data = frames(20, 1)
    data = [data[i] for i in np.random.default_rng(1).permutation(20)]
    ingest(repository, [write_extxyz(tmp_path / "a.xyz", data)])
    snapshot = repository.at()
    (segment,) = segments(snapshot)
    batch = read_batch(snapshot, segment.name)
    assert segment.groups == {"g0": 5, "g1": 5, "g2": 5, "g3": 5} and segment.elements == [73, 74]
    assert batch.group.tolist() == sorted(batch.group)
    for group, (start, stop) in segment.group_ranges().items():
        part = read_batch(snapshot, segment.name, start, stop)
        assert set(part.group) == {group}
        assert part.position.tobytes() == batch.slice(start, stop).position.tobytes()
        assert all(np.diff(part.frame) != 0)


@pytest.mark.usefixtures("small")
def test_segments_are_closed_when_full(repository: Repository, tmp_path: Path) -> None:
    """The configuration that reaches the limit of atoms still goes in; one that is larger alone is a segment."""
    data = [*frames(30, 1), *frames(1, 2, 6), *frames(30, 3, 1)]
    result = ingest(repository, [write_extxyz(tmp_path / "a.xyz", data)])
    every = segments(repository.at())
    assert sum(s.n_configurations for s in every) == 61 == result.added
    assert sum(s.n_atoms for s in every) == sum(len(f["symbols"]) for f in data) == result.atoms
    assert all(s.n_configurations == 12 or s.n_atoms >= 100 for s in every[:-1])
    assert all(s.n_atoms < 116 or s.n_atoms >= 432 for s in every)
    assert [s.name for s in every] == result.segments and len(repository.log()) == len(every)


@pytest.mark.usefixtures("small")
def test_segments_that_are_copies_of_others_have_names_of_their_own(repository: Repository, tmp_path: Path) -> None:
    data = frames(12, 1, 1)
    ingest(repository, [write_extxyz(tmp_path / "a.xyz", [*data, *data, *data])])
    assert len({s.name for s in segments(repository.at())}) == 3
    assert set(stored(repository).values()) == {3}


@pytest.mark.usefixtures("small")
def test_the_store_is_the_same_whatever_the_pieces_it_was_read_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cuts depend on the stream of new configurations alone, not on how they travel."""
    data = frames(60, 1)
    source = write_extxyz(tmp_path / "a.xyz", [*data, *data[5:9]])
    stores = []
    add = module._SegmentWriter.add
    for size in (1, 7, 1000):

        def in_pieces(self: Any, batch: Any, copy: Any, size: int = size) -> None:
            for start in range(0, len(batch), size):
                stop = min(start + size, len(batch))
                add(self, batch.slice(start, stop), copy[start:stop])

        monkeypatch.setattr(module._SegmentWriter, "add", in_pieces)
        ingest(Repository.create(tmp_path / f"{size}.mlip"), [source])
        stores.append(content(tmp_path / f"{size}.mlip"))
    assert stores[0] == stores[1] == stores[2]


# ------------------------------------------------------------------ resumption
class Stop(Exception):
    """The run ends here."""


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("commits", [0, 1, 3])
@pytest.mark.parametrize("before", [0, 15])
def test_a_run_that_was_stopped_continues_to_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int, before: int
) -> None:
    """Copies within the source, and configurations that the store had before, change nothing in that."""
    data = frames(50, 1)
    source = write_extxyz(tmp_path / "a.xyz", [*data, *data[:20], *data[3:6]])
    whole, stopped = Repository.create(tmp_path / "whole.mlip"), Repository.create(tmp_path / "stopped.mlip")
    if before:
        earlier = write_extxyz(tmp_path / "b.xyz", [*data[10 : 10 + before], *data[12:14]])
        for repository in (whole, stopped):
            ingest(repository, [earlier])
    ingest(whole, [source])
    made = []
    real = Repository._commit

    def commit(self: Repository, tx: Transaction, message: str, metadata: dict[str, Any]) -> None:
        if len(made) == commits:
            raise Stop
        real(self, tx, message, metadata)
        made.append(message)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Repository, "_commit", commit)
        ingest(stopped, [source])
    result = ingest(stopped, [source])
    assert result.known >= before and differences(content(whole.path), content(stopped.path)) == []


@pytest.mark.usefixtures("small")
def test_what_another_process_stored_meanwhile_is_not_stored_again(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked again under the lock of the commit."""
    data = frames(40, 1)
    source = write_extxyz(tmp_path / "a.xyz", [*data, data[0], data[0]])
    part = write_extxyz(tmp_path / "b.xyz", [*data[20:30], data[0], *frames(2, 9)])
    real, others = module._SegmentWriter._commit, []

    def commit(self: Any) -> None:
        if not others:
            others.append(True)
            ingest(Repository.open(repository.path), [part])
        real(self)

    monkeypatch.setattr(module._SegmentWriter, "_commit", commit)
    result = ingest(repository, [source])
    assert (result.added, result.known) == (31, 11)
    assert sorted(stored(repository).values()) == [1] * 41 + [3]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("n", [12, 40])
@pytest.mark.parametrize("moment", ["__init__", "write", "commit"])
def test_the_same_segments_by_another_process_are_not_stored_again(
    moment: str, n: int, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments of equal content have equal names, in whichever process; at whatever moment the other one is faster."""
    source = write_extxyz(tmp_path / "a.xyz", frames(n, 1, 1))
    real, others = getattr(module._Version, moment), []

    def faster(self: Any, *words: Any) -> Any:
        if not others:
            others.append(True)
            ingest(Repository.open(repository.path), [source])
        return real(self, *words)

    monkeypatch.setattr(module._Version, moment, faster)
    result = ingest(repository, [source])
    assert (result.added, result.known) == (0, n)
    names = [s.name for s in segments(repository.at())]
    assert sorted(names) == sorted(set(names))
    assert set(stored(repository).values()) == {1}


# ---------------------------------------------------------------------- errors
@pytest.mark.usefixtures("small")
def test_an_error_in_the_middle_says_what_is_stored(repository: Repository, tmp_path: Path) -> None:
    good = [write_extxyz(tmp_path / f"{i}.xyz", frames(30, i)) for i in (1, 2)]
    bad = write_extxyz(tmp_path / "3.xyz", frames(30, 3))
    bad.write_text(bad.read_text()[:-50])
    with pytest.raises(InputError, match=r"3.xyz, frame 29 .* configurations are stored already; the same command"):
        ingest(repository, [*good, bad])
    assert 0 < sum(stored(repository).values()) < 90
    write_extxyz(bad, frames(30, 3))
    ingest(repository, [*good, bad])
    assert sum(stored(repository).values()) == 90


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: f.update(cell=np.diag([3.0, 3.0, 0.0])), "no lattice vector"),
        (lambda f: f.update(cell=np.array([[3.0, 0, 0], [6, 0, 0], [0, 0, 3]])), "no volume"),
        (lambda f: f.update(group="*"), "called '\\*'"),
    ],
)
def test_what_makes_no_sense_is_refused_or_left_out(
    repository: Repository, tmp_path: Path, harm: Callable[[dict[str, Any]], None], message: str
) -> None:
    data = frames(6, 1)
    harm(data[4])
    source = write_extxyz(tmp_path / "a.xyz", data)
    with pytest.raises(InputError, match=f"frame 4: .*{message}"):
        ingest(repository, [source])
    assert repository.log() == []
    result = ingest(repository, [source], skip_bad=True)
    assert result.added == 5 and len(result.report.refused) == 1
    assert result.to_json()["refused"] == result.report.refused


def test_sources_that_are_not_there_or_hold_nothing(repository: Repository, tmp_path: Path) -> None:
    write_extxyz(tmp_path / "train.xyz", frames(2, 1))
    with pytest.raises(InputError, match=r"trian.xyz: there is no such file or folder. Did you mean 'train.xyz'\?"):
        ingest(repository, [tmp_path / "train.xyz", tmp_path / "trian.xyz"])
    with pytest.raises(InputError, match="no configurations found"):
        ingest(repository, [tmp_path / "train.xyz"], ReadOptions(index="5:"))
    assert repository.log() == []


def test_a_store_that_cannot_be_written_keeps_what_it_has(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(repository, [write_extxyz(tmp_path / "a.xyz", frames(5, 1))])
    before = content(repository.path)

    def full(*words: Any) -> None:
        raise OSError("No space left on device (os error 28)")

    with monkeypatch.context() as patch, pytest.raises(StoreError, match="no space left"):
        patch.setattr(module, "write_segments", full)
        ingest(repository, [write_extxyz(tmp_path / "b.xyz", frames(5, 2))])
    assert content(repository.path) == before


# ------------------------------------------------------------------- the rest
def test_labels_and_oddities_are_counted(repository: Repository, tmp_path: Path) -> None:
    data = frames(6, 1)
    data[1]["cell"] = data[1]["cell"][[1, 0, 2]]
    data[2]["forces"] = np.zeros_like(data[2]["forces"])
    source = write_extxyz(tmp_path / "a.xyz", data)
    source.write_text(source.read_text().replace('pbc="T T T"', 'pbc="T T F"', 1))
    checks = ingest(repository, [source]).checks
    assert (checks.configurations, checks.with_energy, checks.with_forces, checks.with_stress) == (6, 6, 6, 6)
    assert (checks.left_handed, checks.zero_forces, checks.partly_periodic) == (1, 1, 1)
    assert "frame 1" in checks.examples["left-handed cell"][0]


def test_where_each_came_from_is_stored_without_the_place_on_this_machine(
    repository: Repository, tmp_path: Path
) -> None:
    tree = write_json_tree(tmp_path / "JSON", frames(4, 1))
    ingest(repository, [tree])
    snapshot = repository.at()
    sources = [s for g in segments(snapshot) for s in read_batch(snapshot, g.name).source]
    assert sorted(sources) == [f"JSON/g{i}/{i:05d}.json" for i in range(4)]


def test_workers_read_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many files, read in this process and by two others."""
    from mlipstore import portions

    monkeypatch.setattr(portions, "_WORTH_WORKERS", 0)
    monkeypatch.setattr(portions, "_TASK_FILES", 10)
    tree = write_json_tree(tmp_path / "tree", frames(35, 1))
    results = []
    for name, executor in (("alone", None), ("two", Processes(2))):
        results.append(ingest(Repository.create(tmp_path / name), [tree], executor=executor).to_json())
        for key in ("snapshot", "seconds"):
            del results[-1][key]
    assert results[0] == results[1]
    assert differences(content(tmp_path / "alone"), content(tmp_path / "two")) == []


def test_progress_and_result_are_plain(repository: Repository, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    tree = write_json_tree(tmp_path / "tree", frames(5, 1))
    result = ingest(repository, [tree], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (5, 5)
    assert json.loads(json.dumps(result.to_json()))["added"] == 5
    assert isinstance(result, IngestResult) and result.snapshot == repository.at().id


def test_zero_stress_by_the_other_rule_is_told(tmp_path: Path) -> None:
    """The same data again with the other rule for zeros adds nothing, and says what the store holds."""
    text = (
        '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 energy=-1 stress="0 0 0 0 0 0 0 0 0"\nCu 0 0 0\n'
    )
    (tmp_path / "a.xyz").write_text(text)
    repository = Repository.create(tmp_path / "s.mlip")
    ingest(repository, [tmp_path / "a.xyz"], zero_stress="missing")
    again = ingest(repository, [tmp_path / "a.xyz"], zero_stress="value")
    assert (again.added, again.known) == (0, 1)
    (told,) = [what for what in again.report.observed if "earlier ingest" in what]
    assert "as a missing label" in told and "new store" in told
    assert not any("earlier" in w for w in ingest(repository, [tmp_path / "a.xyz"]).report.observed)


def test_stored_geometries_with_other_labels_are_told(repository: Repository, tmp_path: Path) -> None:
    """The same file read with another unit of stress: stored a second time, and said."""
    source = write_extxyz(tmp_path / "a.xyz", frames(6, 1))
    first = ingest(repository, [source], ReadOptions(stress_unit="eV/A^3", stress_sign="tension"))
    assert (first.added, first.relabelled) == (6, 0)
    assert ingest(repository, [source], ReadOptions(stress_unit="eV/A^3", stress_sign="tension")).relabelled == 0
    other = ingest(repository, [source, source], ReadOptions(stress_unit="kbar", stress_sign="tension"))
    with_stress = int(np.isfinite(read_batch(repository.at(), segments(repository.at())[0].name).stress[:, 0]).sum())
    assert with_stress and (other.added, other.relabelled) == (6 + with_stress, 2 * with_stress)
    assert other.to_json()["geometries_there_with_other_labels"] == 2 * with_stress
