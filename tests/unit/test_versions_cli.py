"""The commands about versions and selections, as they are typed and as programs read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase.io import read

from ..robustness.sources import done, frames, run, write_extxyz


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("versions")
    write_extxyz(folder / "a.xyz", frames(6))
    done("ingest", folder / "a.mlip", folder / "a.xyz", "-j", "1", "--quiet")
    return folder / "a.mlip"


def test_versions(store: Path, tmp_path: Path) -> None:
    done("tag", store, "v1.0")
    assert "removed" in done("remove", store, "--where", "frame < 2").out
    log = done("log", store).out.splitlines()
    assert len(log) == 2 and "(main)" in log[0] and "(v1.0)" in log[1]
    full = done("log", store, "--full", "-n", "1").out
    assert "by: mlipstore remove" in full and "from " in full and "1 more" in full
    entries = json.loads(done("log", store, "--json").out)
    assert entries[0]["from"] == entries[1]["id"] and entries[1]["names"] == ["v1.0"]
    difference = done("diff", store, "v1.0").out
    assert "6 -> 4 configurations" in difference and "1 version on" in difference
    assert json.loads(done("diff", store, "v1.0", "--json").out)["versions"] == {"only_a": 0, "only_b": 1}
    assert "same" in done("diff", store, "main", "main").out or "0 versions" in done("diff", store, "main", "main").out
    assert "v1.0" in done("tag", store).out
    assert "next: mlipstore switch" in done("branch", store, "try", "--ref", "v1.0").out
    assert "on try" in done("switch", store, "try").out
    assert "* try" in done("branch", store).out
    assert json.loads(done("query", store, "--count", "--json").out)["configurations"] == 6
    assert "on main" in done("switch", store, "main").out
    shown = done("show", store, "v1.0:index/state").out
    assert "6 (configuration) uint8" in shown
    assert "segments" in done("show", store, ":index").out
    assert "would be undone" in done("revert", store, "main", "--dry-run").out
    assert "4 -> 6 configurations" in done("revert", store, "main").out
    assert "the same" in done("diff", store, "v1.0").out
    done("branch", store, "try", "--delete")
    for words, code, said in [
        (("diff", store, "v9"), 1, "no version 'v9'"),
        (("tag", store, "v1.0"), 1, "already"),
        (("tag", store, "--delete"), 2, "NAME"),
        (("switch", store, "nope"), 2, "no branch"),
        (("revert", store, "v1.0", "--to", "--ref", "x"), 2, ""),
        (("show", store, ":nothing/x"), 2, "nothing"),
    ]:
        outcome = run(*words)
        assert outcome.code == code and said in outcome.err, words


def test_export_of_configurations(store: Path, tmp_path: Path) -> None:
    out = done(
        "export", store, "--format", "extxyz", "--where", "frame > 3", "--ref", "v1.0", "-o", tmp_path / "b.xyz"
    ).out
    assert "2 configurations" in out and "next: mlipstore ingest STORE" in out
    text = done("export", store, "--format", "n2p2", "-o", tmp_path / "b.data").out
    assert "--length-unit A --energy-unit eV --group-by key:comment" in text
    for words, said in [
        (("--format", "extxyz", "-o", tmp_path / "b.xyz"), "exists"),
        (("--format", "extxzy"), "Did you mean 'extxyz'"),
        ((), "say which model"),
        (("m", "--where", "true"), "exported whole"),
        (("--format", "extxyz", "--where", "frame > 99", "-o", tmp_path / "c.xyz"), "nothing to export"),
    ]:
        outcome = run("export", store, *words)
        assert outcome.code == 2 and said in outcome.err, words
    done("export", store, "--format", "extxyz", "--force", "-o", tmp_path / "b.xyz")
    assert len(read(tmp_path / "b.xyz", ":")) == 6 and not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    facts = json.loads(done("export", store, "--format", "fitsnap", "-o", tmp_path / "J", "--json").out)
    assert facts["format"] == "fitsnap-json" and facts["configurations"] + sum(facts["left_out"].values()) == 6
