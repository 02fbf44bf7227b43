"""Readers in processes of their own, while writers, collections of garbage and merging of segments go on.

``MLIPSTORE_WRITERS`` and ``MLIPSTORE_COMMITS`` make it larger (``make extended``).
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from ase.io import write

from mlipstore.cleaning import gc
from mlipstore.compact import compact
from mlipstore.curation.edit import remove, restore
from mlipstore.index import segments
from mlipstore.ingest import ingest
from mlipstore.store import Repository
from mlipstore.verify import verify

from ..small_store import configurations
from . import readers, writers
from .writers import Acknowledged, check

EXTENDED = "MLIPSTORE_WRITERS" in os.environ
WRITERS, COMMITS, READERS = (4, int(os.environ["MLIPSTORE_COMMITS"]), 3) if EXTENDED else (1, 3, 1)
#: A limit for a hang, not for speed.
HANG = 600.0 + 20.0 * WRITERS * COMMITS


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.skipif(not EXTENDED, reason="make extended"))])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    where = str(tmp_path / "a.mlip") if request.param == "folder" else f"{request.getfixturevalue('bucket')}/a.mlip"
    Repository.create(where)
    return where


def test_readers_keep_their_version(place: str, tmp_path: Path) -> None:
    rng = random.Random("readers")
    logs = [tmp_path / f"{n}.log" for n in range(WRITERS)]
    reading = [readers.start(place) for _ in range(READERS)]
    writing = [writers.start(place, n, COMMITS, log) for n, log in enumerate(logs)]
    repository, merged, turns = Repository.open(place), 0, 0
    while any(w.poll() is None for w in writing) or turns < 3:
        turns += 1
        merged += compact(repository).merged
        gc(repository, grace=0.0)
        if rng.random() < 0.3 and segments(repository.at()):
            remove(repository, "n_atoms == 2")
            restore(repository, "n_atoms == 2")
        gc(repository, expire=3600.0)
    for writer in writing:
        _, error = writer.communicate(timeout=HANG)
        assert writer.returncode == 0, error.decode()
    for seed in (1, 2):  # two that are alike in any case
        write(tmp_path / f"more-{seed}.xyz", configurations(3, seed, ("more",)))
        ingest(repository, [tmp_path / f"more-{seed}.xyz"])
    merged += compact(repository).merged
    for reader in reading:
        out, err = reader.communicate("", timeout=HANG)
        assert reader.returncode == 0, err
        assert int(out) >= 1
    assert merged >= 2
    said = Acknowledged.of(logs)
    check(place, said)
    gc(place, grace=0.0)
    report = verify(place)
    assert report.sound and not report.problems and not report.orphans
