"""Reading speed: extended XYZ against ``ase.io.read``, FitSNAP JSON against FitSNAP's own scrape.

    python benchmarks/ingest_readers.py [--json TREE] [--fitsnap-python PYTHON] [--repeat 3]

Extended XYZ files are generated (8 and 64 atoms, energy, forces, stress) and read into memory by both. A tree of
FitSNAP JSON files is read if one is named; FitSNAP is timed in an interpreter that can import ``fitsnap3lib`` (this
one, or ``--fitsnap-python``), scrape only. All times are CPU time of one process, best of the repeats, warm cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mlipstore.configuration import Batch
from mlipstore.readers import reader_for
from mlipstore.reading import ReadOptions, ReadReport

FITSNAP = """
import json, os, sys, time
from fitsnap3lib.fitsnap import FitSnap
root, work = sys.argv[1:3]
elements = sys.argv[4:]
groups = {g: "1.0 0.0 1 1 1" for g in sorted(os.listdir(root)) if os.path.isdir(os.path.join(root, g))}
settings = {
    "BISPECTRUM": {"numTypes": len(elements), "twojmax": " ".join("2" for _ in elements), "rcutfac": 4.0,
                   "rfac0": 0.99363, "rmin0": 0.0, "wj": " ".join("1.0" for _ in elements),
                   "radelem": " ".join("0.5" for _ in elements), "type": " ".join(elements)},
    "ESHIFT": {e: 0.0 for e in elements},
    "CALCULATOR": {"calculator": "LAMMPSSNAP", "energy": 1, "force": 1, "stress": 1},
    "SCRAPER": {"scraper": "JSON"}, "PATH": {"dataPath": root}, "SOLVER": {"solver": "SVD"},
    "REFERENCE": {"units": "metal", "atom_style": "atomic", "pair_style": "zero 10.0", "pair_coeff": "* *"},
    "GROUPS": {"group_sections": "name training_size testing_size eweight fweight vweight",
               "group_types": "str float float float float float", "smartweights": 0, "random_sampling": 0, **groups},
}
os.chdir(work)
snap = FitSnap(settings, comm=None, arglist=["--overwrite"])
cpu, wall = [], []
for _ in range(int(sys.argv[3])):
    start, began = time.process_time(), time.perf_counter()
    snap.scraper.scrape_groups()
    snap.scraper.divvy_up_configs()
    found = snap.scraper.scrape_configs()
    cpu.append(time.process_time() - start)
    wall.append(time.perf_counter() - began)
print(json.dumps({"configurations": len(found), "seconds": min(cpu), "wall": min(wall)}))
"""


def timed(work: Callable[[], int], repeat: int) -> tuple[int, float]:
    """Count that ``work`` returns and its best CPU time in seconds."""
    times = []
    count = 0
    for _ in range(repeat):
        start = time.process_time()
        count = work()
        times.append(time.process_time() - start)
    return count, min(times)


def our_read(path: Path) -> int:
    _, reader = reader_for(path, ReadOptions())
    report = ReadReport()
    return sum(1 for file in reader.files(path) for _ in reader.read(file, report, path))


def our_batches(path: Path, size: int = 1024) -> int:
    """Read, hash and gather into columns, as ingest does."""
    _, reader = reader_for(path, ReadOptions())
    report, waiting, count = ReadReport(), [], 0
    for file in reader.files(path):
        for configuration in reader.read(file, report, path):
            waiting.append(configuration)
            if len(waiting) == size:
                count += len(Batch.from_configurations(waiting))
                waiting = []
    return count + len(Batch.from_configurations(waiting))


def extxyz(folder: Path, n_atoms: int, frames: int) -> Path:
    """A file as ASE writes it: silicon, rattled, with random labels."""
    from ase.build import bulk
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    rng = np.random.default_rng(0)
    images = []
    for _ in range(frames):
        atoms = bulk("Si", cubic=True) * ((1, 1, 1) if n_atoms == 8 else (2, 2, 2))
        atoms.rattle(0.1, rng=rng)
        labels = {"energy": float(rng.normal()), "forces": rng.normal(size=(n_atoms, 3)), "stress": rng.normal(size=6)}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        atoms.info["config_type"] = "bulk"
        images.append(atoms)
    path = folder / f"si_{n_atoms}.xyz"
    write(path, images)
    return path


def elements_of(tree: Path) -> list[str]:
    from ase.data import chemical_symbols

    _, reader = reader_for(tree, ReadOptions())
    numbers = {int(z) for f in reader.files(tree) for c in reader.read(f, ReadReport(), tree) for z in set(c.numbers)}
    return [chemical_symbols[z] for z in sorted(numbers)]


def fitsnap_scrape(python: str, tree: Path, repeat: int) -> tuple[int, float, float] | None:
    """Configurations, CPU and wall seconds of FitSNAP's scrape; None, and a message, where it does not run."""
    library = str(Path(python).parent.parent / "lib")  # of MPI
    environment = {**os.environ, "LD_LIBRARY_PATH": library, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as work:
        command = [python, "-c", FITSNAP, str(tree.resolve()), work, str(repeat), *elements_of(tree)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        print(f"FitSNAP not timed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["configurations"], found["seconds"], found["wall"]


def line(what: str, count: int, seconds: float, reference: float | None) -> None:
    ratio = "" if reference is None else f"{reference / (seconds / count):8.1f} x"
    print(f"{what:46s} {count:8,d} {1e6 * seconds / count:10.1f} us {ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="tree of FitSNAP JSON files")
    parser.add_argument("--fitsnap-python", default=sys.executable, help="interpreter that can import fitsnap3lib")
    parser.add_argument("--frames", type=int, default=2000, help="frames of 8 atoms; a quarter of it of 64 atoms")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    names = ("ase", "extxyz", "orjson", "numpy")
    print(f"Python {platform.python_version()}, " + ", ".join(f"{n} {version(n)}" for n in names))
    print(f"{'':46s} {'configs':>8s} {'per config':>13s} {'speed-up':>8s}")
    with tempfile.TemporaryDirectory() as folder:
        for n_atoms, frames in ((8, args.frames), (64, args.frames // 4)):
            from ase.io import read
            from extxyz import iread_dicts

            path = extxyz(Path(folder), n_atoms, frames)
            count, reference = timed(lambda p=path: len(read(p, ":")), args.repeat)
            line(f"extxyz, {n_atoms} atoms: ase.io.read", count, reference, None)
            for what, work in (
                ("extxyz package", lambda p=path: sum(1 for _ in iread_dicts(str(p)))),
                ("mlipstore reader", lambda p=path: our_read(p)),
                ("mlipstore reader + hashes + columns", lambda p=path: our_batches(p)),
            ):
                line(f"extxyz, {n_atoms} atoms: {what}", *timed(work, args.repeat), reference / count)
    if args.json is not None:
        scrape = fitsnap_scrape(args.fitsnap_python, args.json, args.repeat)
        if scrape is not None:
            line("FitSNAP JSON: FitSNAP scrape", *scrape[:2], None)
        reference_each = None if scrape is None else scrape[1] / scrape[0]
        line("FitSNAP JSON: mlipstore reader", *timed(lambda: our_read(args.json), args.repeat), reference_each)
        line("FitSNAP JSON: reader + hashes + columns", *timed(lambda: our_batches(args.json), 1), reference_each)


if __name__ == "__main__":
    main()
