"""Expressions: what they select, what is refused, and that hostile ones end quickly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mlipstore.configuration import Batch, Configuration
from mlipstore.curation.expression import ExpressionError, parse
from mlipstore.curation.query import head, select, table
from mlipstore.errors import SettingsError, UnknownNameError
from mlipstore.index import DELETED, Index, write_segments
from mlipstore.store import Repository
from mlipstore.views import Configurations

NAN = float("nan")


def made(i: int) -> Configuration:
    """W or W-Be cells; every third lacks energy, every fourth forces, every fifth stress; one molecule."""
    rng = np.random.default_rng(i)
    n = 2 + i % 3
    numbers = np.array([74] * n if i % 2 else [74, *[4] * (n - 1)])
    return Configuration(
        numbers,
        rng.normal(size=(n, 3)),
        (3.0 + i) * np.eye(3),
        np.array([True, True, i != 7]),
        NAN if i % 3 == 0 else -8.0 * n + 0.1 * i,
        None if i % 4 == 0 else rng.normal(size=(n, 3)),
        None if i % 5 == 0 else np.array([-0.3, -0.3, -0.3, 0, 0, 0]) * i,
        group=("surface", "Displaced_A15", "Displaced_BCC")[i // 4],
        source=f"JSON/{i // 6}.json",
        frame=i % 6,
        info={} if i == 3 else {"temperature": 300 * (i % 4), "code": "vasp" if i < 8 else "qe", "odd key": [i]},
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Twelve configurations in three segments; the last is deleted."""
    repository = Repository.create(tmp_path_factory.mktemp("query") / "a.mlip")
    batches = [Batch.from_configurations([made(i) for i in range(s, s + 4)]) for s in (0, 4, 8)]
    with repository.transaction("fill", {"verb": "test"}) as tx:
        write_segments(tx, {f"{i:016x}": b for i, b in enumerate(batches)})
    with repository.transaction("delete", {"verb": "test"}) as tx:
        tx.root["index/state"][11] = DELETED  # type: ignore[index]
    return repository


def chosen(repository: Repository, where: str) -> list[int]:
    return np.flatnonzero(select(repository.at(), where).rows).tolist()


UID = [made(i).uid().hex() for i in range(12)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ('group == "surface"', [0, 1, 2, 3]),
        ("group != 'surface'", [4, 5, 6, 7, 8, 9, 10]),
        ("group in ('surface', 'Displaced_BCC')", [0, 1, 2, 3, 8, 9, 10]),
        ("group not in ['surface']", [4, 5, 6, 7, 8, 9, 10]),
        ('group like "Disp*"', [4, 5, 6, 7, 8, 9, 10]),
        ('group not like "*_A1?"', [0, 1, 2, 3, 8, 9, 10]),
        ('group like "[!s]*C"', [8, 9, 10]),
        ("n_atoms == 4", [2, 5, 8]),
        ("2 < n_atoms <= 3", [1, 4, 7, 10]),
        ('group == "surface" and n_atoms > 2', [1, 2]),
        ('group == "surface" or n_atoms == 3 and frame == 4', [0, 1, 2, 3, 4, 10]),
        ('(group == "surface" or n_atoms == 3) and frame == 4', [4, 10]),
        ('not (group == "surface" or frame > 1)', [6, 7]),
        ('"Be" in elements', [0, 2, 4, 6, 8, 10]),
        ('"Be" not in elements', [1, 3, 5, 7, 9]),
        ('elements == "W"', [1, 3, 5, 7, 9]),
        ('elements == "Be, W"', [0, 2, 4, 6, 8, 10]),
        ('elements <= ("W", "Be", "H")', list(range(11))),
        ('elements < "W Be"', [1, 3, 5, 7, 9]),
        ("n_elements == 2", [0, 2, 4, 6, 8, 10]),
        ("energy_per_atom < -7.9", [1, 2]),
        ("energy_per_atom > -1e9 or true", list(range(11))),
        ("energy is missing", [0, 3, 6, 9]),
        ("energy is not missing and not has_forces", [4, 8]),
        ("has_stress == false", [0, 5, 10]),
        ("energy != -1", [1, 2, 4, 5, 7, 8, 10]),  # a missing one is not different, it is missing
        ("volume_per_atom * n_atoms >= 13 * 13 * 12 and volume < 1e9", [10]),
        ("abs(pressure - 0.9) < 1e-9", [3]),
        ("-pressure / 0.3 < -8.5", [9]),
        ("max_force > 1e9", []),
        ("not periodic", [7]),
        ('pbc == "TTF"', [7]),
        ("volume is missing", [7]),
        ('source like "*/1.json" and frame >= 3', [9, 10]),
        ("info.temperature == 300", [1, 5, 9]),
        ("info.temperature is missing", [3]),
        ('info.code == "qe"', [8, 9, 10]),
        ("info.\"odd key\" == '[4]'", [4]),
        ("info.nothing == 1", []),
        (f'uid == "{UID[5][:9]}"', [5]),
        (f'uid in ("{UID[5][:8]}", "{UID[2].upper()[:12]}")', [2, 5]),
        (f'uid in ("{UID[3]}", "{UID[11]}")', [3]),
        (f'uid like "{UID[6][:6]}*"', [6]),
        ("segment == '0000000000000001'", [4, 5, 6, 7]),
        ("n_atoms in (2, 4)", [0, 2, 3, 5, 6, 8, 9]),
        ("  true  ", list(range(11))),
        ("(n_atoms > 0) == True and not False", list(range(11))),
        ("1 < 2", list(range(11))),
        ("note is missing", list(range(11))),
        ("1e300 * 1e300 * n_atoms > 5", list(range(11))),
        ("n_atoms / 0 > 5", list(range(11))),
    ],
)
def test_what_is_selected(repository: Repository, where: str, expected: list[int]) -> None:
    assert chosen(repository, where) == expected


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ('grup == "a"', "Did you mean 'group'"),
        ('group = "a"', "Write '=='"),
        ("group == surface", "no column 'surface'"),
        ('group == "a" && true', "Write 'and'"),
        ("group == 3", "compared with a number"),
        ("n_atoms == 'x'", "cannot be compared"),
        ("group < 'x'", "knows =="),
        ("n_atoms", "neither true nor false"),
        ("n_atoms and true", "neither true nor false"),
        ("group like 3", "pattern"),
        ("n_atoms like 'a'", "no pattern"),
        ("n_atoms in 3", "a list"),
        ("'Xy' in elements", "not the symbol"),
        ("uid == 'abc'", "4 to 64"),
        ("split == 'test'", "--model"),
        ("flagged('x')", "no flag 'x'"),
        ("exec('x')", "no function 'exec'"),
        ("__import__('os')", "no function"),
        ("().__class__", "means nothing|expected"),
        ("group == 'a", "not closed"),
        ("(group == 'a'", "expected '\\)'"),
        ("group ==", "found the end"),
        ("group == 'a' group", "expected and"),
        ("energy not 3", "in or like"),
        ("", "empty"),
        ("1e999 > 2", "too large"),
        ("n_atoms ** 2 > 1", "expected a column"),
        ("\x00", "means nothing"),
        ("a" * 300_000, "too many"),
    ],
)
def test_what_is_refused(repository: Repository, where: str, words: str) -> None:
    with pytest.raises((SettingsError, UnknownNameError), match=words):
        select(repository.at(), where)


@pytest.mark.parametrize(
    "where",
    [
        "(" * 90_000,
        "(" * 5_000 + "1" + ")" * 5_000 + "== 1",
        "not " * 20_000 + "true",
        "-" * 100_000 + "1 > 0",
        "1" + "+1" * 90_000 + " > 0",
        "[" * 1000,
        "9" * 190_000 + " > 1",
        "group like '" + "*a" * 50_000 + "b'",
        "info" + ".a" * 90_000 + " == 1",
        "flagged(" * 1000,
    ],
)
def test_hostile_text_is_refused_with_one_message(repository: Repository, where: str) -> None:
    with pytest.raises((SettingsError, UnknownNameError)) as told:
        select(repository.at(), where)
    assert len(str(told.value)) < 2_000 and "\n" not in str(told.value)


def test_long_but_flat_is_accepted(repository: Repository) -> None:
    assert chosen(repository, " or ".join(f"n_atoms == {i}" for i in range(5, 5_000)) + " or frame == 2") == [2, 8]
    names = ", ".join(f"'{i}'" for i in range(10_000))
    assert chosen(repository, f"group in ({names}, 'surface')") == [0, 1, 2, 3]
    with pytest.raises(ExpressionError, match="terms"):
        parse("1" + "+1" * 300 + " > 0")


def test_only_what_is_needed_is_read(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlipstore import index
    from mlipstore.snapshot import Snapshot

    read: list[str] = []
    real, rows = Snapshot.read, index.read_rows
    monkeypatch.setattr(Snapshot, "read", lambda self, path, *a: read.append(path) or real(self, path, *a))
    monkeypatch.setattr(
        index, "read_rows", lambda s, at, names, *a: read.extend(f"{at}/{n}" for n in names) or rows(s, at, names, *a)
    )
    select(repository.at(), 'group == "surface" and n_atoms > 2')
    assert sorted(read) == ["index/facts", "index/state"]
    read.clear()
    select(repository.at(), "frame == 2")
    assert sorted(read) == [*(f"configurations/{i:016x}/frame" for i in range(3)), "index/state"]


def test_deleted_ones_and_tables(repository: Repository) -> None:
    snapshot = repository.at()
    selection = select(snapshot, "n_atoms > 0", state=DELETED)
    assert np.flatnonzero(selection.rows).tolist() == [11]
    names = ["uid", "group", "n_atoms", "elements", "energy", "info.code"]
    rows = list(table(select(snapshot, "frame == 2"), names))
    assert rows == [
        {"uid": UID[2], "group": "surface", "n_atoms": 4, "elements": ["Be", "W"], "energy": -31.8,
         "info.code": "vasp"},
        {"uid": UID[8], "group": "Displaced_BCC", "n_atoms": 4, "elements": ["Be", "W"], "energy": -31.2,
         "info.code": "qe"},
    ]  # fmt: skip
    assert len(head(select(snapshot), ["uid"], 5)) == 5
    assert json.dumps(rows)
    with pytest.raises(UnknownNameError):
        list(table(selection, ["colour"]))


def test_an_expression_that_nothing_fulfils_selects_nothing(repository: Repository) -> None:
    none = Configurations(repository.at()).where("n_atoms > 100")
    assert len(none) == 0 and list(none) == none.table() == none.to_ase() == []
    assert len(none.where("n_atoms > 0")) == 0


def test_facts_are_those_of_the_segments(repository: Repository, tmp_path: Path) -> None:
    """A store that was made without them gives the same answers."""
    index = Index.load(repository.at())
    old = Repository.create(tmp_path / "old.mlip")
    with old.transaction("as before", {"verb": "test"}) as tx:
        del tx.root["index/facts"], tx.root["index/elements"]
    with old.transaction("fill", {"verb": "test"}) as tx:
        write_segments(tx, {"0" * 16: Batch.from_configurations([made(i) for i in range(12)])})
    other = Index.load(old.at())
    assert not old.at().exists("index/facts")
    assert np.array_equal(index.facts, other.facts, equal_nan=True) and np.array_equal(index.elements, other.elements)
