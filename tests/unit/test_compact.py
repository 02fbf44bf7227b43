"""Merging small segments: the same content, rows and states; others at work; copies that follow."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import write

from mlipstore import compact as compacting
from mlipstore import creating
from mlipstore.audit import flags
from mlipstore.audit.run import audit
from mlipstore.audit.stored import store as store_audit
from mlipstore.compact import compact
from mlipstore.curation.annotate import annotate
from mlipstore.curation.edit import Relabel, relabel, remove
from mlipstore.errors import StoreError
from mlipstore.featurize import featurize
from mlipstore.fit import fit
from mlipstore.index import LIVE, Index, Segment, read_batch
from mlipstore.ingest import IngestResult, ingest
from mlipstore.leases import claim
from mlipstore.revert import revert
from mlipstore.runs.tables import Fit
from mlipstore.sharing.remote import clone, pull, push
from mlipstore.store import Repository, StoreConflictError
from mlipstore.verify import verify

from ..robustness.content import content, differences
from ..sharing.writers import BASELINE, FEATURE
from ..small_store import add, configurations, plugins


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six segments of five configurations, with rows; some removed, some corrected, a note, a flag."""
    folder = tmp_path_factory.mktemp("small segments")
    repository = Repository.create(folder / "a.mlip")
    (folder / "data").mkdir()
    with plugins():
        add(repository, folder / "data", configurations(30, 1), segment=5)
    remove(repository, "max_force > 3")
    relabel(repository, 'group == "surface"', Relabel(energy_shift={"W": 0.5}))
    annotate(repository, "n_atoms == 2", ("odd",), note="look")
    return folder


@pytest.fixture
def repository(made: Path, tmp_path: Path) -> Repository:
    """A copy of it, to be changed."""
    return Repository.open(shutil.copytree(made / "a.mlip", tmp_path / "a.mlip"))


def holds(repository: Repository, ref: str | None = None) -> Counter[Any]:
    """Everything that is known of each configuration, wherever it lies."""
    snapshot = repository.at(ref)
    index = Index.load(snapshot)
    out: Counter[Any] = Counter()
    for s in index.segments:
        batch, rows = read_batch(snapshot, s.name), index.rows(s.name)
        read = snapshot.read
        here, there = f"features/{FEATURE.id}/{s.name}", f"baselines/{BASELINE.id}/{s.name}"
        covered = [snapshot.exists(p) for p in (here, there)]
        for i in range(len(batch)):
            a, b = int(batch.atom_start[i]), int(batch.atom_start[i + 1])
            values: list[Any] = [batch.uid[i], batch.position[a:b], batch.force[a:b], batch.energy[i : i + 1]]
            values += [batch.stress[i], batch.frame[i : i + 1], index.facts[rows][i], index.elements[rows][i]]
            values += [index.geometry[rows][i], index.uid[rows][i]]
            if covered[0]:
                values += [read(f"{here}/A_E")[i], read(f"{here}/A_F")[3 * a : 3 * b], read(f"{here}/A_S")[6 * i :][:6]]
            if covered[1]:
                values += [read(f"{there}/energy")[i : i + 1], read(f"{there}/force")[a:b], read(f"{there}/stress")[i]]
            texts = (str(batch.group[i]), str(batch.source[i]), str(batch.info[i]), int(index.state[rows][i]))
            out[b"".join(np.ascontiguousarray(v).tobytes() for v in values), *texts, *covered] += 1
    return out


def test_the_content_stays(made: Path, repository: Repository) -> None:
    with plugins():
        model = fit(repository, Fit(name="before"))
    before, old, whole = repository.at().id, holds(repository), content(repository.path)
    planned = compact(repository, dry_run=True)
    assert repository.at().id == before
    done = compact(repository)
    assert (done.merged, done.into, done.arrays_left) == (planned.merged, planned.into, planned.arrays_left)
    assert done.segments == done.merged > 6 and done.segments_left == done.into == 1
    assert done.arrays_left < done.arrays / 2 and planned.bytes == done.bytes > 0
    assert holds(repository) == old == holds(repository, before)
    assert differences(content(repository.path, before), whole) == []
    assert compact(repository).merged == 0
    report = verify(repository.path)
    assert report.sound and not report.problems
    (segment,) = Index.load(repository.at()).segments
    groups = read_batch(repository.at(), segment.name).group.astype(str)
    assert (np.sort(groups) == groups).all() and list(segment.groups) == sorted(segment.groups)
    with plugins():
        found = fit(repository, Fit(name="after"))
        assert not featurize(repository, FEATURE, BASELINE).atoms
    assert np.allclose(found.coefficients, model.coefficients, rtol=1e-6, atol=1e-8)
    for file in sorted((made / "data").iterdir()):
        assert ingest(repository, [file]).added == 0


def test_it_can_be_taken_back(repository: Repository) -> None:
    before = repository.at().id
    done = compact(repository)
    revert(repository, done.snapshot)
    assert differences(content(repository.path), content(repository.path, before)) == []
    assert verify(repository.path).sound


def test_only_alike_and_small_ones_are_merged(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments without rows stay apart from those with, and large ones stay."""
    monkeypatch.setattr(compacting, "SEGMENT_CONFIGURATIONS", 16)
    (tmp_path / "more").mkdir()
    for seed in (5, 6, 7):
        write(tmp_path / "more" / f"{seed}.xyz", configurations(4, seed))
        ingest(repository, [tmp_path / "more" / f"{seed}.xyz"])
    old = holds(repository)
    compact(repository)
    assert holds(repository) == old
    index = Index.load(repository.at())
    bare = [s.n_configurations for s in index.segments if not repository.at().exists(f"features/{FEATURE.id}/{s.name}")]
    assert bare == [12] and max(s.n_configurations for s in index.segments) <= 16
    assert compact(repository).merged == 0


def test_kept_factors_of_merged_segments_go(repository: Repository) -> None:
    from mlipstore.kept.compute import factor

    with plugins():
        kept = factor(repository, Fit())
        done = compact(repository)
        assert done.factors == kept.segments > 0
        snapshot = repository.at()
        (feature,) = snapshot.names("factors")
        (set_,) = snapshot.names(f"factors/{feature}")
        assert snapshot.names(f"factors/{feature}/{set_}") == []
        assert factor(repository, Fit()).segments == 1


def _meanwhile(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object], times: int = 1) -> list[int]:
    """Do something between the writing of merged segments and their commit; how often it was done."""
    real, done = compacting._Work.write, []

    def write(self: Any, tx: Any, merges: Any) -> None:
        real(self, tx, merges)
        if len(done) < times:
            done.append(1)
            action()

    monkeypatch.setattr(compacting._Work, "write", write)
    return done


def test_what_others_commit_meanwhile_stays(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "more.xyz", configurations(5, 9))

    def others() -> None:
        other = Repository.open(repository.path)
        remove(other, 'group == "bulk"')
        ingest(other, [tmp_path / "more.xyz"])

    _meanwhile(monkeypatch, others)
    result = compact(repository)
    assert result.merged
    index = Index.load(repository.at())
    assert not index.live_groups().get("bulk", 0) - 2  # those of the file that came meanwhile
    assert len(index.segments) == 2 and verify(repository.path).sound


def test_it_gives_way_to_others(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A correction of the same configurations makes it begin anew; one that never ends makes it give up."""

    def others() -> None:
        with plugins():
            relabel(Repository.open(repository.path), "n_atoms > 2", Relabel(energy_scale=1.01))

    _meanwhile(monkeypatch, others)
    before = Index.load(repository.at()).live_groups()
    result = compact(repository)
    assert Index.load(repository.at()).live_groups() == before and result.segments_left == 2
    assert verify(repository.path).sound

    def featurized() -> None:
        other = Repository.open(repository.path)
        index = Index.load(other.at())
        n = len(other.log())
        with other.transaction("new features", {"verb": "test"}) as tx:
            tx.group(f"features/{n:012x}", {"alias": f"f{n}", "columns": []})
            tx.group(f"features/{n:012x}/{index.segments[n % 3].name}")

    with plugins():
        revert(repository, result.snapshot)
    _meanwhile(monkeypatch, featurized, times=1_000)
    monkeypatch.setattr(compacting, "_ATTEMPTS", 3)
    tip = repository.at().id
    with pytest.raises(StoreConflictError, match="others change the same segments"):
        compact(repository)
    assert [c.verb for c in repository.log()][:3] == ["test"] * 3
    assert repository.find("main~3") == tip


def test_a_featurization_that_is_overtaken(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a segment that was merged meanwhile are made for the one that it is in now."""
    from mlipstore import featurize as featurizing

    for seed in (5, 6):
        write(tmp_path / f"{seed}.xyz", configurations(4, seed))
        ingest(repository, [tmp_path / f"{seed}.xyz"])
    real, calls = featurizing._write_rows, []

    def slow(*words: Any) -> None:
        real(*words)
        if not calls:
            calls.append(1)
            compact(Repository.open(repository.path))

    monkeypatch.setattr(featurizing, "_write_rows", slow)
    with plugins():
        done = featurize(repository, FEATURE, BASELINE)
    snapshot = repository.at()
    names = [s.name for s in Index.load(snapshot).segments]
    assert sorted(names) == snapshot.names(f"features/{FEATURE.id}") and len(names) == 2
    assert done.configurations == 8 and verify(repository.path).sound


def test_audits_mean_the_same_copies(tmp_path: Path) -> None:
    """Copies in two groups change their order when segments are merged."""
    repository = Repository.create(tmp_path / "a.mlip")
    atoms = configurations(6, 1, ("z",))
    for group in ("z", "a"):
        for one in atoms:
            one.info["config_type"] = group
        write(tmp_path / f"{group}.xyz", atoms)
    file = tmp_path / "both.xyz"  # the copies in it are those that there are more than the store holds
    file.write_bytes(b"".join((tmp_path / f"{g}.xyz").read_bytes() for g in ("z", "a")))
    for source in (tmp_path / "z.xyz", file):
        ingest(repository, [source])
    store_audit(repository, audit(repository))

    def told() -> Counter[tuple[bytes, str]]:
        index = Index.load(repository.at())
        names, codes = index.group_codes
        live = index.state == LIVE
        flagged = flags.flagged(repository.at(), index.uid[live])
        return Counter((index.uid[live][i].tobytes(), names[codes[live][i]]) for i in np.flatnonzero(flagged))

    before = told()
    assert before and compact(repository).merged
    assert told() == before


def test_two_lines_of_which_one_was_compacted(repository: Repository, tmp_path: Path) -> None:
    """What one person adds and removes stays when another has merged the segments that it was done in."""
    for name in ("a", "b"):
        clone(repository.path, tmp_path / f"copy-{name}.mlip")
    a, b = (Repository.open(tmp_path / f"copy-{n}.mlip") for n in ("a", "b"))
    (tmp_path / "b").mkdir()
    with plugins():
        compact(a)
        push(a.path)
        remove(b, 'group == "bulk"')
        add(b, tmp_path / "b", configurations(5, 9, ("new",)))
    mine = Index.load(b.at()).live_groups()
    pull(b.path, rebase=True)
    assert Index.load(b.at()).live_groups() == mine and "bulk" not in mine
    index = Index.load(b.at())
    assert len(index.segments) == 2 and sorted(s.name for s in index.segments) == b.at().names(f"features/{FEATURE.id}")
    assert verify(b.path).sound
    push(b.path)
    (tmp_path / "a").mkdir()
    for seed in (11, 12):  # merged before they are put on top: nobody else has them
        write(tmp_path / "a" / f"{seed}.xyz", configurations(4, seed, ("mine",)))
        ingest(a, [tmp_path / "a" / f"{seed}.xyz"])
    assert compact(a).merged == 2
    pull(a.path, rebase=True)
    assert Index.load(a.at()).live_groups() == {**mine, "mine": 8}
    assert verify(a.path).sound


def test_merging_what_both_have_is_left_out_of_a_rebase(repository: Repository, tmp_path: Path) -> None:
    """All else that was done since is put on top, wherever the configurations lie."""
    clone(repository.path, tmp_path / "copy.mlip")
    mine = Repository.open(tmp_path / "copy.mlip")
    for name, seed in (("theirs", 11), ("before", 12), ("after", 13)):
        write(tmp_path / f"{name}.xyz", configurations(4, seed, (name,)))
    ingest(repository, [tmp_path / "theirs.xyz"])
    ingest(mine, [tmp_path / "before.xyz"])
    compact(mine)
    remove(mine, 'group == "bulk" or group == "before" and n_atoms == 2')
    ingest(mine, [tmp_path / "after.xyz"])
    wanted = {**Index.load(mine.at()).live_groups(), "theirs": 4}
    pull(mine.path, rebase=True)
    assert Index.load(mine.at()).live_groups() == wanted and "bulk" not in wanted
    assert {s.name for s in Index.load(repository.at()).segments} < {s.name for s in Index.load(mine.at()).segments}
    assert [c.verb for c in mine.log()[:3]] == ["ingest", "remove", "ingest"]
    assert verify(mine.path).sound


def test_merging_again_what_both_have_and_was_taken_back(repository: Repository, tmp_path: Path) -> None:
    clone(repository.path, tmp_path / "copy.mlip")
    mine = Repository.open(tmp_path / "copy.mlip")
    write(tmp_path / "more.xyz", configurations(4, 11, ("theirs",)))
    ingest(repository, [tmp_path / "more.xyz"])
    revert(mine, compact(mine).snapshot)
    done = compact(mine)
    with pytest.raises(StoreError, match=f"revert .* {done.snapshot[:8]}"):
        pull(mine.path, rebase=True)
    revert(mine, done.snapshot)
    pull(mine.path, rebase=True)
    assert Index.load(mine.at()).live_groups() == Index.load(repository.at()).live_groups()
    assert verify(mine.path).sound


@pytest.fixture
def piled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four small segments are a pile."""
    monkeypatch.setattr(compacting, "PILE", 4)
    monkeypatch.setattr(compacting, "_LOOK", 1)
    monkeypatch.setattr(compacting, "_ALIKE", 4)


def _names(repository: Repository) -> set[str]:
    return {s.name for s in Index.load(repository.at()).segments}


def _ingests(repository: Repository, folder: Path, seeds: range) -> list[IngestResult]:
    out = []
    for seed in seeds:
        write(folder / f"{seed}.xyz", configurations(3, seed, (f"g{seed}",)))
        out.append(ingest(repository, [folder / f"{seed}.xyz"]))
    return out


def test_ingests_merge_what_piles_up(piled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of about the same size: what was merged waits for others like it, and is written again seldom."""
    monkeypatch.setattr(creating, "_INDEX_CHUNK_ROWS", 5)  # which segments of 3 configurations begin within
    repository = Repository.create(tmp_path / "a.mlip")
    done = _ingests(repository, tmp_path, range(20, 34))
    assert repository.at().array("index/uid").chunks[0] == 5
    assert [d.merged for d in done[:4]] == [0, 0, 0, 4] and done[-1].merged
    index = Index.load(repository.at())
    assert all(index.live_groups()[f"g{seed}"] == 3 for seed in range(20, 34))
    assert [c.verb for c in repository.log()[:2]] == ["compact", "ingest"]
    assert ingest(repository, [tmp_path / "20.xyz"]).added == 0
    assert verify(repository.path).sound


def test_what_was_merged_is_larger_than_its_parts() -> None:
    """So many of a magnitude are of the next one, so that nothing is merged more often than there are magnitudes."""
    sizes = [Segment("", 1, n, {}, []) for n in range(1, 5000)]
    whole = [Segment("", 1, compacting._ALIKE * s.n_atoms, {}, []) for s in sizes]
    assert all(compacting._magnitude(b) > compacting._magnitude(a) for a, b in zip(sizes, whole, strict=True))


def test_rows_are_merged_as_well(
    piled: None, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for large ones; those with kept factors, which belong to the segment as it is, stay with them."""
    from mlipstore.kept.compute import factor

    before, old = _names(repository), holds(repository)
    with monkeypatch.context() as patch:
        patch.setattr(compacting, "_PILED_BYTES", 0)
        assert not any(d.merged for d in _ingests(repository, tmp_path, range(20, 21)))
    with plugins():
        featurize(repository, FEATURE, BASELINE)
    whole = holds(repository)
    assert old <= whole
    (last,) = _ingests(repository, tmp_path, range(21, 22))
    assert last.merged == len(before) + 1 and len(_names(repository)) == 2
    assert whole <= holds(repository)
    with plugins():
        assert featurize(repository, FEATURE, BASELINE).segments == 1
        factor(repository, Fit())
    kept = _names(repository)
    assert not any(d.merged for d in _ingests(repository, tmp_path, range(22, 25)))
    (last,) = _ingests(repository, tmp_path, range(25, 26))
    assert last.merged == 4 and kept < _names(repository)
    assert verify(repository.path).sound


def test_nothing_is_merged_while_others_are_at_work(piled: None, repository: Repository, tmp_path: Path) -> None:
    """Their rows belong to the segments that are there now."""
    before = _names(repository)
    with claim(repository.objects, "rows"):
        assert not any(d.merged for d in _ingests(repository, tmp_path, range(20, 25)))
    (last,) = _ingests(repository, tmp_path, range(25, 26))
    assert last.merged == 6 + len(before)


def test_an_ingest_that_was_merged_is_taken_back(piled: None, repository: Repository, tmp_path: Path) -> None:
    """It counts as if it had never been; the same files may come again, and the taking back be taken back."""
    done = _ingests(repository, tmp_path, range(20, 24))
    assert done[-1].merged
    full = Index.load(repository.at()).live_groups()
    remove(repository, 'group == "g21"')
    taken = repository.log()[0].id
    compact(repository)
    with pytest.raises(StoreError, match="later versions have removed"):
        revert(repository, done[1].snapshot)
    undone = revert(repository, done[0].snapshot)
    index = Index.load(repository.at())
    assert index.live_groups() == {k: n for k, n in full.items() if k not in ("g20", "g21")}
    assert verify(repository.path).sound
    revert(repository, taken)
    assert Index.load(repository.at()).live_groups() == {k: n for k, n in full.items() if k != "g20"}
    revert(repository, undone.snapshot)
    assert Index.load(repository.at()).live_groups() == full
    revert(repository, done[0].snapshot)
    assert ingest(repository, [tmp_path / "20.xyz"]).added == 3
    assert Index.load(repository.at()).live_groups() == full
