"""Versions by name: branches, tags, ids, times; the log; where writes go."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from mlipstore import history
from mlipstore.errors import SettingsError, StoreError, UnknownNameError
from mlipstore.store import Repository


def commit(repository: Repository, name: str) -> str:
    """A version that holds one more group."""
    with repository.transaction(f"add {name}", {"verb": "test", "versions": {"mlipstore": "1"}}) as tx:
        tx.group(f"studies/{name}", {"alias": name})
    return tx.snapshot_id


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "a.mlip")


def test_the_log_repeats_ancestors_and_equals_the_chain(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "KEPT", 4)
    ids = [commit(repository, f"s{i}") for i in range(11)]
    reads: list[str] = []
    real = history._read
    monkeypatch.setattr(history, "_read", lambda repo, id_: reads.append(id_) or real(repo, id_))
    log = repository.log()
    assert [c.id for c in log] == ids[::-1]
    assert [c.message for c in log] == [f"add s{i}" for i in range(10, -1, -1)]
    assert all(c.metadata == {"verb": "test", "versions": {"mlipstore": "1"}} for c in log)
    assert len(reads) < 6
    chain = list(repository._repository.ancestry(branch="main"))
    every = repository.log(include_all=True)
    assert [(c.id, c.time, c.parent) for c in every] == [(a.id, a.written_at, a.parent_id) for a in chain]


def test_ways_to_name_a_version(repository: Repository) -> None:
    first, second, third = (commit(repository, n) for n in "abc")
    repository.tag("v1.0", first)
    assert repository.find() == repository.find("main") == third
    assert repository.find("v1.0") == repository.find("main~2") == repository.find("~2") == first
    assert repository.find("main~") == repository.find(second[:8].lower()) == second
    moment = repository.log()[1].time
    assert repository.find(moment.isoformat()) == second
    assert repository.find((moment - datetime.timedelta(microseconds=1)).isoformat()) == first
    assert repository.find(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}") == third
    for bad, words in [("1999-01-01", "store was made at"), ("main~99", "before the store"), ("v1.1", "'v1.0'"),
                       ("2026-13-01T00:00", "no time"), ("", "has no version"), ("~x", "has no version")]:  # fmt: skip
        with pytest.raises(StoreError, match=words):
            repository.find(bad)


def test_tags_stay_and_names_are_refused(repository: Repository) -> None:
    one = commit(repository, "a")
    repository.tag("v1")
    commit(repository, "b")
    assert repository.tags() == {"v1": one}
    with pytest.raises(StoreError, match="already"):
        repository.tag("v1")
    for bad in ("", "a/b", "a:b", "a~1", "2026-11-20", "-x", "a..b", "x" * 200, "ä"):
        with pytest.raises(SettingsError, match="is no name"):
            repository.tag(bad)
    repository.delete_tag("v1")
    with pytest.raises(UnknownNameError):
        repository.delete_tag("v1")
    with pytest.raises(StoreError):
        repository.tag("v1")


def test_writes_go_to_the_branch_that_was_chosen(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    base = commit(repository, "a")
    repository.create_branch("try")
    other = repository.switch("try")
    assert repository.branch == "main"
    mine = commit(other, "b")
    assert repository.branches() == {"main": base, "try": mine}
    assert Repository.open(repository.path).branch == "try"
    assert Repository.open(repository.address).branch == "main"
    assert Repository.open(repository.path).at().names("studies") == ["a", "b"]
    assert Repository.open(repository.path).at("main").names("studies") == ["a"]
    monkeypatch.setenv("MLIPSTORE_BRANCH", "main")
    assert Repository.open(repository.path).branch == "main"
    monkeypatch.setenv("MLIPSTORE_BRANCH", "mian")
    with pytest.raises(UnknownNameError, match="'main'"):
        Repository.open(repository.path)
    with pytest.raises(UnknownNameError):
        repository.switch("nothing")
    with pytest.raises(SettingsError, match="current"):
        other.delete_branch("try")
    with pytest.raises(SettingsError, match="needed"):
        other.delete_branch("main")
    repository.switch("main")
    repository.delete_branch("try")
    assert list(repository.branches()) == ["main"]
