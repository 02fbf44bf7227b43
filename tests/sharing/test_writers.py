"""Several writers at once, also killed: every acknowledged commit is there, and everything is right.

``MLIPSTORE_WRITERS`` and ``MLIPSTORE_COMMITS`` make it larger (8 and 50 in ``make extended``).
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from mlipstore.cleaning import gc
from mlipstore.leases import CLAIMS, LEASES
from mlipstore.places import objects_at, place_of
from mlipstore.store import Repository
from mlipstore.verify import verify

from .writers import Acknowledged, check, start

WRITERS = int(os.environ.get("MLIPSTORE_WRITERS", "2"))
COMMITS = int(os.environ.get("MLIPSTORE_COMMITS", "4"))
EXTENDED = "MLIPSTORE_WRITERS" in os.environ
ROUNDS = 8 if EXTENDED else 1
#: Acknowledged commits between two times of killing, at most; as many as without killing, all in all.
MOST = 2 * WRITERS * COMMITS // ROUNDS if EXTENDED else WRITERS * COMMITS // 2
#: A limit for a hang, not for speed.
HANG = 600.0 + 10.0 * WRITERS * COMMITS


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new store in a folder, and in a bucket."""
    where = str(tmp_path / "a.mlip") if request.param == "folder" else f"{request.getfixturevalue('bucket')}/a.mlip"
    Repository.create(where)
    return where


def test_writers_at_once(place: str, tmp_path: Path) -> None:
    """Ingests, featurizations of the same segments, and fits."""
    logs = [tmp_path / f"{n}.log" for n in range(WRITERS)]
    for writer in [start(place, n, COMMITS, log) for n, log in enumerate(logs)]:
        _, error = writer.communicate(timeout=HANG)
        assert writer.returncode == 0, error.decode()
    said = Acknowledged.of(logs)
    assert len(said.commits) == len(set(said.commits)) >= WRITERS * COMMITS
    assert {c.id for c in Repository.open(place).log()} == set(said.commits)  # those that merge small segments, too
    check(place, said)
    objects = objects_at(place_of(place))
    assert not [*objects.listing(LEASES), *objects.listing(CLAIMS)]


def test_writers_that_are_killed(place: str, tmp_path: Path) -> None:
    """All at once, after another acknowledged commit or some more, as in a power cut; others take their place."""
    if "://" in place and not EXTENDED:
        pytest.skip("killing writers on S3 takes minutes: make extended")
    rng = random.Random("kill")
    logs = [tmp_path / f"{n}.log" for n in range(WRITERS)]
    kills = 0
    for _ in range(ROUNDS):
        writers = [start(place, n, COMMITS, log) for n, log in enumerate(logs)]
        enough = len(Acknowledged.of(logs).commits) + rng.randrange(1, MOST)
        while len(Acknowledged.of(logs).commits) < enough and any(w.poll() is None for w in writers):
            time.sleep(0.005)  # not to wait for a state that takes so long: leave the processor to others
        for writer in writers:
            kills += writer.poll() is None
            writer.kill()
        for writer in writers:
            _, error = writer.communicate(timeout=HANG)
            assert writer.returncode in (0, -signal.SIGKILL), error.decode()
        check(place, Acknowledged.of(logs), whole=False)
    for writer in [start(place, n, 1, log) for n, log in enumerate(logs)]:
        _, error = writer.communicate(timeout=HANG)
        assert writer.returncode == 0, error.decode()
    assert kills
    said = Acknowledged.of(logs)
    gc(place, grace=0.0)
    objects = objects_at(place_of(place))
    assert not [*objects.listing(LEASES), *objects.listing(CLAIMS)]
    report = verify(place)
    assert report.sound and not report.problems and not report.orphans
    check(place, said)
