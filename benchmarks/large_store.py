"""A store of many segments and versions: what opening, log, show, query and one more ingest cost as history grows.

    python benchmarks/large_store.py [--segments 1000] [--no-merge] [--featurize] [--configurations 100] [--atoms 8]
        [--folder DIR] [--json FILE]

Each version adds one segment, through the ``ingest`` verb: reading a file, checks, index, commit. Now and then one
merges what has piled up, unless ``--no-merge`` is given. With ``--featurize`` rows of each are computed after it (SNAP,
60 columns), as for data that comes in little by little. At a few sizes on the way each operation is timed in a process
of its own, as a command would do it after its imports, the best of three; CPU time is given beside wall time. Of an
ingest it is the mean of the last 64, merging included. The last lines say how many times more the largest store takes
than the smallest, and what it takes after ``compact`` has merged its segments.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mlipstore.compact import compact
from mlipstore.descriptors.snap import Snap
from mlipstore.features import Feature
from mlipstore.featurize import featurize
from mlipstore.index import segments as segments_of
from mlipstore.ingest import ingest
from mlipstore.store import Repository

#: One operation each, after imports and, where it says so, after opening.
OPERATIONS = {
    "open": ("", "Repository.open(path)"),
    "log": ("r = Repository.open(path)", "r.log()"),
    "show": ("r = Repository.open(path)", "show(r)"),
    "query by group, elements": (
        "r = Repository.open(path)", """list(select(r.at(), 'group == "g1" and "Ta" in elements').segments())"""
    ),
    "query by energy": ("r = Repository.open(path)", "select(r.at(), 'energy_per_atom < -1 and max_force > 2')"),
    "query by annotation": ("r = Repository.open(path)", """len(select(r.at(), 'flagged("odd")'))"""),
    "diff with the first version": ("r = Repository.open(path)", "diff(r, 'begin')"),
    "tag and its version": ("r = Repository.open(path)", "r.at('begin')"),
    "one configuration, after another": (
        "r = Repository.open(path); s = r.at(); n = Index.load(s).segments[-1].name; read_batch(s, n, 10, 11)",
        "read_batch(s, n, 50, 51)[0]",
    ),
    "one configuration, by uid": (
        "r = Repository.open(path); s = r.at(); i = Index.load(s); u = i.uid[-1].tobytes().hex(); i.state; "
        "read_batch(s, i.segments[0].name, 10, 11)",
        """next(read_selection(select(s, f'uid == "{u}"', index=i)))[0]""",
    ),
}  # fmt: skip
_PROGRAM = """
import sys, time, os
from mlipstore.diff import diff
from mlipstore.index import Index, read_batch
from mlipstore.curation.query import read_selection, select
from mlipstore.show import show
from mlipstore.store import Repository
path = sys.argv[1]
{before}
began, cpu = time.perf_counter(), time.process_time()
{operation}
print(time.perf_counter() - began, time.process_time() - cpu)
"""


def timed(path: Path, operation: str) -> tuple[float, float]:
    """Wall and CPU seconds of one operation, the best of three processes."""
    before, what = OPERATIONS[operation]
    program = _PROGRAM.format(before=before, operation=what)
    runs = []
    for _ in range(3):
        out = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
        runs.append(tuple(map(float, out.stdout.split())))
    return min(r[0] for r in runs), min(r[1] for r in runs)


def frames(file: Path, n: int, atoms: int, seed: int) -> None:
    """An extended XYZ file of rattled cells with labels, in four groups."""
    rng = np.random.default_rng(seed)
    with open(file, "w") as handle:
        for i in range(n):
            positions, forces = rng.uniform(0, 9, (atoms, 3)), rng.normal(size=(atoms, 3))
            symbols = rng.choice(["Ta", "W"], atoms)
            handle.write(f'{atoms}\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:forces:R:3 '
                         f'config_type=g{i % 4} energy={rng.normal() * atoms!r} pbc="T T T"\n')  # fmt: skip
            for symbol, row in zip(symbols, np.hstack([positions, forces]).tolist(), strict=True):
                handle.write(f"{symbol} {' '.join(map(repr, row))}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=1000)
    parser.add_argument("--no-merge", action="store_true", help="leave small segments as they are")
    parser.add_argument("--featurize", action="store_true", help="compute rows after every ingest")
    parser.add_argument("--configurations", type=int, default=100, help="of each segment")
    parser.add_argument("--atoms", type=int, default=8, help="of each configuration")
    parser.add_argument("--folder", type=Path, help="where the store is made; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        figures = measure(Path(folder), given)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1))


def measure(folder: Path, given: argparse.Namespace) -> dict[str, object]:
    """Build the store and time each operation on the way."""
    from mlipstore.curation.annotate import annotate

    segments, configurations, atoms, merge = given.segments, given.configurations, given.atoms, not given.no_merge
    feature = Feature.of("snap", Snap(("Ta", "W"), 4.0, (6, 6), (0.5, 0.5), (1.0, 0.9)), None)

    repository = Repository.create(folder / "large.mlip")
    sizes = sorted({max(1, segments // 10), max(1, segments // 3), segments})
    ingests: list[tuple[float, float]] = []
    rows: list[tuple[float, float]] = []

    def one_more(seed: int) -> None:
        file = folder / "more.xyz"
        frames(file, configurations, atoms, seed)
        began, cpu = time.perf_counter(), time.process_time()
        ingest(repository, [file], merge_small=merge)
        ingests.append((time.perf_counter() - began, time.process_time() - cpu))
        if given.featurize:
            began, cpu = time.perf_counter(), time.process_time()
            featurize(repository, feature, None)
            rows.append((time.perf_counter() - began, time.process_time() - cpu))

    found: dict[int, dict[str, tuple[float, float]]] = {}
    for n in range(1, segments + 1):
        one_more(n)
        if n == 1:
            repository.tag("begin")
            annotate(repository, "frame < 10", ("odd",))
        if n in sizes:
            found[n] = {name: timed(repository.path, name) for name in OPERATIONS}  # type: ignore[arg-type]
            found[n]["ingest of one more segment"] = mean(ingests[-64:])
            if rows:
                found[n]["featurization of it"] = mean(rows[-64:])
            report(f"{n:,} ingests, {len(segments_of(repository.at())):,} segments", n * configurations, found[n])
    figures = {"configurations": configurations, "atoms": atoms, "sizes": {str(n): found[n] for n in sizes},
               "ingest_seconds": [round(t[0], 4) for t in ingests], "growth": growth(found)}  # fmt: skip
    began, cpu = time.perf_counter(), time.process_time()
    done = compact(repository)
    print(f"\ncompact: {done.merged:,} segments became {done.into:,}, {done.arrays:,} arrays {done.arrays_left:,}; "
          f"{time.perf_counter() - began:.1f} s ({time.process_time() - cpu:.1f} s CPU)")  # fmt: skip
    after = {name: timed(repository.path, name) for name in OPERATIONS}  # type: ignore[arg-type]
    for n in range(5):
        one_more(segments + 1 + n)
    after["ingest of one more segment"] = mean(ingests[-5:])
    report(f"{done.segments_left:,} segments", configurations * segments, after)
    return {**figures, "after compact": after}


def mean(times: list[tuple[float, float]]) -> tuple[float, float]:
    """Of wall and CPU time."""
    return float(np.mean([t[0] for t in times])), float(np.mean([t[1] for t in times]))


def report(what: str, configurations: int, times: dict[str, tuple[float, float]]) -> None:
    print(f"\n{what}, {configurations:,} configurations: wall (CPU) milliseconds")
    for name, (wall, cpu) in times.items():
        print(f"  {name:30s} {1e3 * wall:9.1f} ({1e3 * cpu:.1f})", flush=True)


def growth(found: dict[int, dict[str, tuple[float, float]]]) -> dict[str, float]:
    """How many times more CPU time the largest store takes than the smallest."""
    small, large = min(found), max(found)
    out = {name: found[large][name][1] / max(found[small][name][1], 1e-4) for name in found[large]}
    print(f"\nCPU time with {large:,} segments over that with {small:,}:")
    for name, ratio in out.items():
        print(f"  {name:30s} {ratio:9.2f}")
    return out


if __name__ == "__main__":
    main()
