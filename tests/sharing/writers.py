"""Writers for tests of concurrency, each a process: ``python -m tests.sharing.writers STORE NUMBER COMMITS LOG``.

A writer ingests, featurizes (also what others have ingested) and fits, until it has made so many commits. It appends to
``LOG`` what was acknowledged: ``commit ID`` when a commit has returned, ``data FILE``, ``model ID``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlipstore.features import Feature, StoredBaseline, computed
from mlipstore.featurize import featurize
from mlipstore.fit import fit, load
from mlipstore.index import LIVE, Index, keys, read_batch, segments
from mlipstore.ingest import ingest
from mlipstore.readers import reader_for
from mlipstore.reading import ReadOptions, ReadReport
from mlipstore.runs.tables import Fit, GroupSettings
from mlipstore.store import Repository, Transaction
from mlipstore.verify import verify

from ..small_store import Slope, Waves, configurations, plugins

#: Configurations of one ingest.
SIZE = 4
FEATURE, BASELINE = Feature.of("waves", Waves(), None), StoredBaseline.of("slope", Slope(), None)


def write(place: str, number: int, commits: int, log: Path) -> None:
    """Work until ``commits`` were acknowledged to this process."""
    from ase.io import write as write_file

    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(*words: object) -> None:
        os.write(handle, (" ".join(map(str, words)) + "\n").encode())

    acknowledged = 0
    real = Repository._commit

    def commit(self: Repository, tx: Transaction, message: str, metadata: dict[str, object]) -> None:
        nonlocal acknowledged
        real(self, tx, message, metadata)
        if tx.snapshot_id:
            acknowledged += 1
            tell("commit", tx.snapshot_id)

    Repository._commit = commit  # type: ignore[method-assign]
    first = sum(line.startswith("data") for line in log.read_text().splitlines())
    repository, group = Repository.open(place), f"w{number}"
    with plugins():
        for step in range(first, first + commits):
            seed = 1_000 * number + step
            file = log.with_name(f"{group}-{seed}.xyz")
            write_file(file, configurations(SIZE, seed, (group,)))
            ingest(repository, [file], ReadOptions())
            tell("data", file.name)
            if acknowledged >= commits:
                break
            if step % 2:
                continue
            featurize(repository, FEATURE, BASELINE)
            if acknowledged >= commits:
                break
            settings = Fit(
                name=f"{group}-{step}", where=f"group == '{group}'", default=GroupSettings(energy=1.0 + step)
            )
            tell("model", fit(repository, settings).id)
            if acknowledged >= commits:
                break


def start(place: str, number: int, commits: int, log: Path) -> subprocess.Popen[bytes]:
    log.touch()
    words = [sys.executable, "-m", "tests.sharing.writers", place, str(number), str(commits), str(log)]
    return subprocess.Popen(words, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@dataclass
class Acknowledged:
    """What the logs of writers say."""

    commits: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, logs: list[Path]) -> Acknowledged:
        self = cls()
        for log in logs:
            for line in log.read_text().splitlines():
                kind, value = line.split()
                if kind == "data":
                    self.files.append(log.with_name(value))
                else:
                    {"commit": self.commits, "model": self.models}[kind].append(value)
        return self


def check(place: str, said: Acknowledged, whole: bool = True) -> None:
    """All that was acknowledged is there, once, and right, in versions that can be read.

    :param whole: also look at every byte of every version
    """
    repository = Repository.open(place)
    log = [c.id for c in repository.log()]
    lost = set(said.commits) - set(log)
    assert not lost, f"{len(lost)} of {len(said.commits)} acknowledged commits are gone: {sorted(lost)[:5]}"
    snapshot = repository.at()
    index = Index.load(snapshot)
    have = keys(index.uid[index.state == LIVE])
    assert len(have) == len(set(have)), "something was stored twice"
    for file in said.files:
        _, reader = reader_for(file, ReadOptions())
        mine = {c.uid() for c in reader.read(file, ReadReport())}
        assert len(mine) == SIZE and mine <= set(have), f"{file.name} is gone"
    if not whole:
        return
    for id_ in said.models:
        assert np.isfinite(load(snapshot, id_).coefficients).all()
    waves, slope = Waves(), Slope()
    done = {kind: computed(snapshot, kind) if snapshot.exists(kind) else [] for kind in _KINDS}
    for s in segments(snapshot):
        batch = read_batch(snapshot, s.name)
        if s.name in done[_KINDS[0]]:
            rows = waves.rows(batch)
            for name, data in (("A_E", rows.energy), ("A_F", rows.force), ("A_S", rows.stress)):
                assert np.array_equal(snapshot.read(f"{_KINDS[0]}/{s.name}/{name}"), data)
        if s.name in done[_KINDS[1]]:
            assert np.array_equal(snapshot.read(f"{_KINDS[1]}/{s.name}/energy"), slope.evaluate(batch).energy)
    report = verify(place)
    assert report.sound and not report.problems, [str(p) for p in report.problems]


_KINDS = (f"features/{FEATURE.id}", f"baselines/{BASELINE.id}")

if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
