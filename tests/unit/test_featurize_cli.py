"""``featurize`` on the command line: what it takes for the descriptor, and what it says of what it cannot take."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..robustness.sources import done, frames, run, write_extxyz


@pytest.fixture
def store(tmp_path: Path) -> Path:
    done("ingest", tmp_path / "a.mlip", write_extxyz(tmp_path / "a.xyz", frames(4)), "--executor", "serial")
    return tmp_path / "a.mlip"


def refused(*words: str | Path) -> str:
    outcome = run(*words)
    assert outcome.code == 2 and outcome.out == ""
    return outcome.err


def test_mistakes_are_told_with_what_to_write(store: Path) -> None:
    nothing = refused("featurize", store)
    assert "-d FILE.toml" in nothing and "-d snap --set rcutfac=4.7" in nothing
    assert "no file and no descriptor 'snp'. Did you mean 'snap'?" in refused("featurize", store, "-d", "snp")
    assert "there is no file" in refused("featurize", store, "-d", "nowhere.toml")
    without = refused("featurize", store, "-d", "snap")
    assert "needs the setting 'rcutfac'" in without and "--set KEY=VALUE" in without
    assert "'snp'" not in without
    assert "--set goes with a descriptor" in refused("featurize", store, "--set", "twojmax=2")
    assert f"featurize {store} -d FILE.toml first" in refused("fit", store)
    assert "there is none yet" in refused("export", store)


def test_what_the_store_has_is_completed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default, and by name; two featurizations have to be told apart. Folders of those names mean nothing."""
    words = ("--executor", "serial")
    for name in ("snap", "snap-2J2"):
        (store.parent / name).mkdir()
    monkeypatch.chdir(store.parent)
    done("featurize", store, "-d", "snap", "--set", "twojmax=2", "--set", "rcutfac=3.0", *words)
    more = write_extxyz(store.parent / "b.xyz", frames(3, seed=1))
    done("ingest", store, more, *words)
    assert "snap-2J2: 3 configurations" in done("featurize", store, *words).out
    assert "nothing to do: snap-2J2" in done("featurize", store, "-d", "snap-2J2", *words).out
    done("featurize", store, "-d", "snap", "--set", "twojmax=4", "--set", "rcutfac=3.0", *words)
    assert "several features (" in refused("featurize", store)
