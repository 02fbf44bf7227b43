"""Removed, restored, relabelled, masked, annotated: what counts, what stays, what is computed again."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

from mlipstore import featurize
from mlipstore.api import Store
from mlipstore.configuration import Batch
from mlipstore.curation import edit
from mlipstore.curation.annotate import annotate
from mlipstore.curation.edit import Relabel, mask, relabel, remove, restore
from mlipstore.curation.query import select, table
from mlipstore.errors import InputError, SettingsError, UnknownNameError
from mlipstore.export import sample
from mlipstore.fit import fit, prepare
from mlipstore.index import DELETED, LIVE, MOVED, REPLACED, Index, read_batch
from mlipstore.ingest import ingest
from mlipstore.kept.compute import factor
from mlipstore.kept.crossvalidation import cross_validate
from mlipstore.kept.fit import fit_from_factors
from mlipstore.runs.runfile import Fit
from mlipstore.show import show
from mlipstore.store import Repository, StoreConflictError
from mlipstore.verify import verify

from ..robustness.sources import done, run
from ..small_store import add, configurations, plugins, small_store

SETTINGS = Fit.from_dict({"default": {"train": 0.8, "test": 0.2, "energy": 10.0, "force": 1.0, "stress": 0.5}})


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with plugins():
        yield small_store(tmp_path)


def alone(folder: Path, keep: Repository, where: str | None = None) -> Repository:
    """A store with nothing but the configurations that an expression selects."""
    folder.mkdir()
    every = Store(keep).configurations
    atoms = (every if where is None else every.where(where)).to_ase()
    other = Repository.create(folder / "b.mlip")
    add(other, folder, atoms)
    return other


def numbers(result: object) -> list[tuple[object, ...]]:
    """Error table without the rounding that the order of rows makes."""
    return [(e.group, e.split, e.kind, e.weighted, e.n, float(f"{e.rmse:.8g}")) for e in result.errors]  # type: ignore[attr-defined]


def test_a_removed_configuration_counts_nowhere(repository: Repository, tmp_path: Path) -> None:
    before = repository.at().id
    result = remove(repository, 'group == "surface" or n_atoms == 5')
    assert result.changed == result.selected > 20 and "surface" in result.groups
    other = alone(tmp_path / "other", repository)
    assert numbers(fit(repository, SETTINGS)) == numbers(fit(other, SETTINGS))
    facts, expected = show(repository), show(other)
    for key in ("configurations", "atoms", "groups", "elements"):
        assert facts[key] == expected[key]
    assert facts["features"][0]["configurations_missing"] == 0
    store = Store(repository)
    assert len(store.configurations) == len(store.configurations.to_ase()) == facts["configurations"]
    assert "surface" not in {c.group for c in store.configurations}
    assert "surface" not in set(sample(repository.at(), 10).group)
    with pytest.raises(UnknownNameError):
        store.configurations.to_ase("surface")
    with pytest.raises(UnknownNameError, match="surface"):
        fit(repository, SETTINGS.with_weights(["surface.energy=3"]))
    assert show(repository, ref=before)["configurations"] == 70
    assert repository.log()[1].metadata["summary"]["where"] == 'group == "surface" or n_atoms == 5'
    assert remove(repository, 'group == "surface"').snapshot == ""  # nothing is left to remove


def test_only_the_factors_of_its_segment_are_made_again(repository: Repository, tmp_path: Path) -> None:
    factor(repository, SETTINGS)
    first = Index.load(repository.at()).segments[0].name
    assert remove(repository, f'segment == "{first}" and n_atoms == 3').changed
    again = factor(repository, SETTINGS)
    assert again.segments == 1
    assert factor(repository, SETTINGS).segments == 0
    other = alone(tmp_path / "other", repository)
    factor(other, SETTINGS)
    mine, expected = fit_from_factors(repository, SETTINGS), fit_from_factors(other, SETTINGS)
    assert numbers(mine) == numbers(expected)
    assert np.allclose(mine.coefficients, expected.coefficients, rtol=1e-8)
    ours, theirs = cross_validate(repository, SETTINGS), cross_validate(other, SETTINGS)
    assert ours.all.rows == theirs.all.rows
    assert np.allclose(list(ours.all.outside.values()), list(theirs.all.outside.values()), rtol=1e-7)


def test_a_segment_without_anything_that_counts_is_not_read(repository: Repository, tmp_path: Path) -> None:
    add(repository, tmp_path, configurations(15, 9, ("liquid",)))
    remove(repository, 'group == "liquid"')
    matrix = prepare(repository, SETTINGS).matrix
    assert len(matrix.segments) == 4 and len(matrix.index.segments) == 5
    assert "liquid" not in prepare(repository, SETTINGS).table.groups
    assert show(repository)["segments"] == 4


def test_a_removed_configuration_stays_removed(repository: Repository, tmp_path: Path) -> None:
    """An ingest of the same files does not bring it back; restore does."""
    fitted = fit(repository, SETTINGS)
    remove(repository, "n_atoms == 4")
    (file,) = tmp_path.glob("data-*.xyz")
    result = ingest(repository, [file])
    assert (result.added, result.known) == (0, 70) and result.removed == int(
        (Index.load(repository.at()).state == DELETED).sum()
    )
    assert restore(repository, "n_atoms == 4 and has_energy", dry_run=True).snapshot == ""
    restored = restore(repository, "n_atoms == 4")
    assert restored.changed == result.removed
    assert not fit(repository, SETTINGS).new and fit(repository, SETTINGS).id == fitted.id


def test_relabel_makes_other_labels_and_keeps_rows(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    before = repository.at()
    old = {row["uid"]: row for row in table(select(before), ["uid", "energy", "pressure", "group"])}
    wanted = Relabel(stress_unit="kbar", stress_was="bar", energy_shift={"Ta": -1.5, "W": 2.0}, force_scale=-1.0)
    tried = relabel(repository, 'group != "surface"', wanted, dry_run=True)
    assert repository.at().id == before.id
    result = relabel(repository, 'group != "surface"', wanted)
    assert (tried.changed, tried.changes, tried.groups) == (result.changed, result.changes, result.groups)
    assert result.changed == result.selected == 47 and result.not_carried == []
    assert set(result.changes) == {"energy", "force", "stress"}
    after = repository.at()
    assert len(select(after)) == 70 and (Index.load(after).state == REPLACED).sum() == 47
    monkeypatch.setattr(featurize, "_write_rows", lambda *_: pytest.fail("rows are computed again"))
    assert show(repository)["features"][0]["configurations_missing"] == 0
    feature, baseline = after.names("features")[0], after.names("baselines")[0]
    where = {g.tobytes(): (s.name, i) for s in Index.load(before).segments
             for i, g in enumerate(before.read(f"configurations/{s.name}/geometry"))}  # fmt: skip
    for s in Index.load(after).segments[4:]:
        batch = read_batch(after, s.name)
        assert np.array_equal(batch.uid, Batch.from_configurations(list(batch)).uid)
        assert list(batch.group) == sorted(batch.group)
        for i, c in enumerate(batch):
            name, j = where[batch.geometry[i].tobytes()]
            was = read_batch(before, name, j, j + 1)[0]
            n = [(c.numbers == z).sum() for z in (73, 74)]
            assert np.allclose(c.energy, was.energy - 1.5 * n[0] + 2.0 * n[1], equal_nan=True)
            assert (c.forces is None) == (was.forces is None)
            assert c.forces is None or was.forces is None or np.array_equal(c.forces, -was.forces)
            assert c.stress is None or was.stress is None or np.allclose(c.stress, 1000 * was.stress)
            starts = [int(x.read(f"configurations/{k}/atom_start", m, m + 1)[0])
                      for x, k, m in ((after, s.name, i), (before, name, j))]  # fmt: skip
            size = len(c)
            for path, lows, width in [
                (f"features/{feature}/{{}}/A_E", (i, j), 1), (f"features/{feature}/{{}}/A_S", (6 * i, 6 * j), 6),
                (f"features/{feature}/{{}}/A_F", (3 * starts[0], 3 * starts[1]), 3 * size),
                (f"baselines/{baseline}/{{}}/energy", (i, j), 1), (f"baselines/{baseline}/{{}}/force", starts, size),
            ]:  # fmt: skip
                a = after.read(path.format(s.name), lows[0], lows[0] + width)
                assert np.array_equal(a, before.read(path.format(name), lows[1], lows[1] + width))
    assert len(list(table(select(repository.at(before.id)), ["uid"]))) == len(old)
    assert fit(repository, SETTINGS).rows > 0


def test_a_new_group_moves_and_is_not_another_content(repository: Repository, tmp_path: Path) -> None:
    result = relabel(repository, "frame < 10", Relabel(group="first"))
    assert result.changed == 10 and result.changes == {"group": 10}
    assert verify(repository.path).sound
    index = Index.load(repository.at())
    assert index.live_groups()["first"] == 10 and (index.state == MOVED).sum() == 10
    assert sum(index.counts().values()) == 70
    (file,) = tmp_path.glob("data-*.xyz")
    assert ingest(repository, [file, file]).added == 70  # a second copy of each is new
    assert relabel(repository, 'group == "first"', Relabel(group="first")).changed == 0


def test_labels_from_a_file(repository: Repository, tmp_path: Path) -> None:
    some = Store(repository).configurations.to_ase()[:5]
    for atoms in some:
        atoms.calc.results = {"energy": -1.0}
    write(tmp_path / "new.xyz", some)
    result = relabel(repository, "true", Relabel(labels=tmp_path / "new.xyz"))
    assert result.changed == 5 and result.unmatched == 65 and result.changes == {"energy": 5}
    assert len(select(repository.at(), "energy == -1")) == 5
    (tmp_path / "new.xyz.gz").write_bytes(gzip.compress((tmp_path / "new.xyz").read_bytes()))
    again = relabel(repository, "true", Relabel(labels=tmp_path / "new.xyz.gz"))
    assert again.changed == 0 and again.unmatched == 70
    write(tmp_path / "two.xyz", some[:1])
    some[0].calc.results = {"energy": -2.0}
    write(tmp_path / "two.xyz", some[:1], append=True)
    with pytest.raises(InputError, match="same geometry and other labels"):
        relabel(repository, "true", Relabel(labels=tmp_path / "two.xyz"))


def test_labels_from_a_file_without_units(repository: Repository, tmp_path: Path) -> None:
    """The command takes what the reader asks for."""
    place = repository.path
    done("export", place, "--format", "n2p2", "--where", 'pbc == "TTT" and has_forces', "-o", tmp_path / "a.data")
    text = (tmp_path / "a.data").read_text()
    (tmp_path / "b.data").write_text(re.sub("(?m)^energy .*$", "energy -7.0", text))
    outcome = run("relabel", place, "-w", "true", "--labels", tmp_path / "b.data")
    assert outcome.code != 0 and "--length-unit" in outcome.err
    done("relabel", place, "-w", "true", "--labels", tmp_path / "b.data", "--length-unit", "A", "--energy-unit", "eV")
    assert len(select(repository.at(), "energy == -7")) == len(re.findall("(?m)^energy", text))


def test_mask_makes_labels_missing(repository: Repository) -> None:
    result = mask(repository, 'group == "bulk"', ("energy", "stress"))
    assert result.changed == 24
    assert len(select(repository.at(), 'group == "bulk" and (has_energy or has_stress)')) == 0
    again = mask(repository, 'group == "bulk"', ("energy",))
    assert (again.selected, again.changed, again.snapshot) == (24, 0, "")
    rows = {(e.group, e.kind): e.n for e in fit(repository, SETTINGS).errors}
    assert ("bulk", "energy") not in rows and rows["bulk", "force"] > 0


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Relabel(), "nothing to change"),
        (Relabel(group="*"), "cannot be called"),
        (Relabel(stress_unit="kbar"), "--stress-was"),
        (Relabel(stress_unit="kbr", stress_was="bar"), "'kbar'"),
        (Relabel(energy_scale=0.0), "finite number other"),
        (Relabel(energy_shift={"Xx": 1.0}), "no element"),
        (Relabel(energy_shift={"W": float("nan")}), "no finite"),
    ],
)
def test_what_relabel_refuses(repository: Repository, wanted: Relabel, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        relabel(repository, "true", wanted)
    with pytest.raises(SettingsError, match="--energy"):
        mask(repository, "true", ("charge",))


def test_a_change_of_others_meanwhile_is_not_lost(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody removes some of the same configurations between selection and commit."""
    real, done = edit.select, []

    def interrupted(snapshot: object, where: str, **options: object) -> object:
        selection = real(snapshot, where, **options)  # type: ignore[arg-type]
        if not done:
            done.append(True)
            remove(repository, "frame == 3")
            relabel(repository, "frame == 4", Relabel(group="other"))
        return selection

    monkeypatch.setattr(edit, "select", interrupted)
    result = remove(repository, "frame < 5")
    assert result.changed == 4
    state = Index.load(repository.at()).state
    assert [(state == s).sum() for s in (LIVE, DELETED, MOVED)] == [65, 5, 1]
    seen = Index.load(repository.at(repository.log()[-1].id))
    row = np.flatnonzero(select(seen.snapshot, "frame == 3").rows)
    with pytest.raises(StoreConflictError), repository.transaction("late", {"verb": "test"}) as tx:
        tx.at_commit(edit.MarkRows(seen, row, LIVE, np.uint8(DELETED)))


# ----------------------------------------------------------------- annotations
def test_flags_notes_and_columns(repository: Repository) -> None:
    where = 'group == "bulk" and n_atoms > 3'
    n = len(select(repository.at(), where))
    result = annotate(repository, where, ("odd", "seen"), "look at it", {"temperature": 300.0, "code": "vasp"})
    assert result.configurations == n > 0
    annotate(repository, "frame < 3", ("odd",), values={"temperature": 10.0, "final": True})
    at = repository.at()
    assert len(select(at, 'flagged("seen")')) == len(select(at, 'note like "look*"')) == n
    assert len(select(at, f'flagged("odd") and not ({where})')) == len(select(at, f"frame < 3 and not ({where})"))
    assert len(select(at, "temperature == 10 and final == 1")) == 3
    row = next(table(select(at, "final is not missing"), ["flags", "note", "temperature"]))
    assert row["flags"][0] == "odd" and row["temperature"] == 10.0
    assert len(select(repository.at(repository.log()[1].id), 'flagged("odd")')) == n
    relabel(repository, 'flagged("seen")', Relabel(energy_scale=2.0))
    assert len(select(repository.at(), 'flagged("seen") and code == "vasp"')) == n
    annotate(repository, "true", remove=("seen", "code"))
    assert len(select(repository.at(), 'flagged("seen") or code is not missing')) == 0
    with pytest.raises(UnknownNameError, match="Did you mean 'seen'"):
        select(repository.at(), 'flagged("sen")')
    model = fit(repository, Fit.from_dict({**SETTINGS.to_dict(), "where": 'not flagged("odd")'}))
    assert model.rows < fit(repository, SETTINGS).rows


def test_annotations_of_a_table(repository: Repository, tmp_path: Path) -> None:
    rows = list(table(select(repository.at()), ["uid", "source", "frame"]))
    file = tmp_path / "notes.csv"
    file.write_text(f'uid,flag,note,weight\n{rows[0]["uid"]},odd twice,"a, b",2.5\n{rows[1]["uid"][:10]},,,3\n')
    assert annotate(repository, table=file).configurations == 2
    assert len(select(repository.at(), 'flagged("odd") and note == "a, b" and weight == 2.5')) == 1
    file.write_text(f"source,frame,checked\n{rows[2]['source']},{rows[2]['frame']},true\n")
    assert annotate(repository, table=file).values == ["checked"]
    for text, words in [
        ("a,b\n1,2\n", "neither"), ("uid,x\nffff0000,1\n", "line 2.*no configuration"), ("uid,x\n1\n", "fields"),
        ("uid,energy\n1,2\n", "every store has"), ("uid,a b\n1,2\n", "is no name"), ("", "neither"),
    ]:  # fmt: skip
        file.write_text(text)
        with pytest.raises((InputError, SettingsError), match=words):
            annotate(repository, table=file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        annotate(repository, table=file)


def test_what_annotate_refuses(repository: Repository) -> None:
    for given, words in [
        ({}, "nothing to say"), ({"flags": ("a b",)}, "no name"), ({"values": {"energy": 1.0}}, "every store"),
        ({"values": {"x": float("nan")}}, "cannot be kept"), ({"note": "x" * 20_000}, "too long"),
    ]:  # fmt: skip
        with pytest.raises(SettingsError, match=words):
            annotate(repository, "true", **given)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="--where"):
        annotate(repository, flags=("x",))
    with pytest.raises(UnknownNameError, match="flag or annotated"):
        annotate(repository, "true", remove=("x",))
