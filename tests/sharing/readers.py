"""Readers for tests of concurrency, each a process: ``python -m tests.sharing.readers STORE``.

A reader opens the newest version again and again, until its standard input ends. Each time it checks that the version
agrees with itself, and that a version it read before still says the same, byte for byte. It prints how many versions
it read.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from mlipstore.features import computed
from mlipstore.fit import load
from mlipstore.index import LIVE, Index, keys, read_batch
from mlipstore.snapshot import Snapshot
from mlipstore.store import Repository

from ..small_store import Slope, Waves, plugins
from .writers import BASELINE, FEATURE

#: Versions that a reader holds on to.
HELD = 4


def digest(snapshot: Snapshot) -> str:
    """What a version says, after checks that it agrees with itself."""
    h, index = hashlib.sha256(), Index(snapshot)
    names = [s.name for s in index.segments]
    assert sorted(names) == snapshot.names("configurations") == snapshot.names("atoms")
    have = keys(index.uid[index.state == LIVE])
    assert len(have) == len(set(have)), "something is there twice"
    there = {p: computed(snapshot, p) if snapshot.exists(p) else [] for p in _PATHS}
    for s in index.segments:
        batch, rows = read_batch(snapshot, s.name), index.rows(s.name)
        assert np.array_equal(batch.uid, index.uid[rows]) and len(batch) == s.n_configurations
        for data in (batch.uid, batch.position, batch.force, batch.energy):
            h.update(data.tobytes())
        if s.name in there[_PATHS[0]]:
            rows_now = snapshot.read(f"{_PATHS[0]}/{s.name}/A_E")
            assert np.array_equal(rows_now, Waves().rows(batch).energy), "rows of other configurations"
            h.update(rows_now.tobytes())
        if s.name in there[_PATHS[1]]:
            assert np.array_equal(snapshot.read(f"{_PATHS[1]}/{s.name}/energy"), Slope().evaluate(batch).energy)
    for id_ in snapshot.names("models"):
        h.update(np.asarray(load(snapshot, id_).coefficients).tobytes())
    return h.hexdigest()


_PATHS = (f"features/{FEATURE.id}", f"baselines/{BASELINE.id}")


def read(place: str) -> int:
    """Read until standard input ends; how many versions."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    held: list[tuple[Snapshot, str]] = []
    n = 0
    while True:
        last = ended.is_set()
        snapshot = Repository.open(place).at()
        held.append((snapshot, digest(snapshot)))
        n += 1
        old, said = held[n % len(held)]
        again = Repository.open(place).at(old.id)
        assert digest(Snapshot(old.repository, old.session)) == said == digest(again), f"version {old.id} has changed"
        held = held[-HELD:]
        if last:
            return n


def start(place: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tests.sharing.readers", place]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=Path(__file__).parents[2], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


if __name__ == "__main__":
    with plugins():
        print(read(sys.argv[1]))
