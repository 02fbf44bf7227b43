"""The whole ``ingest`` into a store on disk, against reading alone: ``ase.io.read`` and FitSNAP's scrape.

    python benchmarks/ingest.py [--json TREE --fitsnap-python PYTHON] [--megabytes 60] [--repeat 3]

Ours reads, checks, hashes, cuts into segments, writes all columns and commits, into a fresh store each time; theirs
reads into memory. Extended XYZ files are generated (8, 54 and 200 atoms, energy, forces, stress, as ASE writes them,
and once with all digits); a tree of FitSNAP JSON files is read if one is named. Imports are done before on both sides.
CPU time (of all processes) and wall time, the best of the repeats, taken in turn; a ratio above 1 is in our favour.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ingest_readers import fitsnap_scrape

from mlipstore.executors.processes import Processes
from mlipstore.ingest import ingest
from mlipstore.store import Repository

Times = tuple[float, float]


def timed(work: Callable[[], int]) -> tuple[int, Times]:
    """Count that ``work`` returns, its CPU time (children included) and wall time in seconds."""
    before, began = os.times(), time.perf_counter()
    count = work()
    after = os.times()
    return count, (sum(after[:4]) - sum(before[:4]), time.perf_counter() - began)


def best(runs: list[Times]) -> Times:
    return min(r[0] for r in runs), min(r[1] for r in runs)


def ours(source: Path, folder: Path, workers: int) -> int:
    """Ingest into a fresh store; none is removed before the end, because ext4 makes files slowly after that."""
    repository = Repository.create(Path(tempfile.mkdtemp(dir=folder), "bench.mlip"))
    return ingest(repository, [source], executor=Processes(workers) if workers > 1 else None).added


def by_ase(source: Path) -> int:
    from ase.io import read

    return len(read(source, ":"))


def extxyz(folder: Path, n_atoms: int, megabytes: float, digits: bool) -> Path:
    """A file as ASE writes it (``digits``: with 17 digits): a rattled crystal with random labels."""
    from ase.build import bulk
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io.extxyz import write_xyz

    rng = np.random.default_rng(0)
    crystals = {
        8: bulk("Si", cubic=True),
        54: bulk("W", cubic=True) * (3, 3, 3),
        200: bulk("Fe", cubic=True) * (5, 5, 4),
    }
    path = folder / f"{n_atoms}{'d' if digits else ''}.xyz"
    with open(path, "w") as file:
        while file.tell() < 1e6 * megabytes:
            atoms = crystals[n_atoms].copy()
            atoms.rattle(0.1, rng=rng)
            force = rng.normal(size=(n_atoms, 3))
            labels = {"energy": float(rng.normal()), "forces": force, "stress": rng.normal(size=6)}
            if digits:
                cell = " ".join(map(repr, atoms.cell[:].ravel().tolist()))
                stress = " ".join(map(repr, labels["stress"][[0, 5, 4, 5, 1, 3, 4, 3, 2]].tolist()))
                file.write(f'{n_atoms}\nLattice="{cell}" Properties=species:S:1:pos:R:3:forces:R:3 config_type=bulk '
                           f'energy={labels["energy"]!r} stress="{stress}" pbc="T T T"\n')  # fmt: skip
                for symbol, row in zip(atoms.symbols, np.hstack([atoms.positions, force]).tolist(), strict=True):
                    file.write(f"{symbol} {' '.join(map(repr, row))}\n")
            else:
                atoms.calc = SinglePointCalculator(atoms, **labels)
                atoms.info["config_type"] = "bulk"
                write_xyz(file, [atoms])
    return path


def line(what: str, count: int, times: Times, reference: Times | None) -> None:
    each = [1e6 * t / count for t in times]
    ratio = "" if reference is None else "".join(f"{r / e:9.1f} x" for r, e in zip(reference, each, strict=True))
    print(f"{what:44s}{count:8,d}{each[0]:11.1f} us{each[1]:11.1f} us{ratio}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="tree of FitSNAP JSON files")
    parser.add_argument("--fitsnap-python", help="interpreter that can import fitsnap3lib")
    parser.add_argument("--megabytes", type=float, default=60.0, help="size of each generated file")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    print(f"Python {platform.python_version()}, " + ", ".join(f"{n} {version(n)}" for n in ("ase", "icechunk", "zarr")))
    print(f"{'per configuration':44s}{'configs':>8s}{'CPU':>14s}{'wall':>14s}{'CPU ratio':>11s}{'wall ratio':>11s}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ours(extxyz(folder, 8, 0.01, False), folder, 1)  # imports
        for n_atoms, digits in ((8, False), (54, False), (200, False), (54, True)):
            path = extxyz(folder, n_atoms, args.megabytes, digits)
            runs: dict[str, list[Times]] = {"ase": [], "1": [], "2": []}
            for _ in range(args.repeat):
                for name, work in (
                    ("ase", lambda p=path: by_ase(p)),
                    ("1", lambda p=path: ours(p, folder, 1)),
                    ("2", lambda p=path: ours(p, folder, 2)),
                ):
                    count, times = timed(work)
                    runs[name].append(times)
            reference = [1e6 * t / count for t in best(runs["ase"])]
            label = f"extxyz, {n_atoms} atoms{', 17 digits' if digits else ''}"
            line(f"{label}: ase.io.read", count, best(runs["ase"]), None)
            line(f"{label}: ingest, 1 process", count, best(runs["1"]), (reference[0], reference[1]))
            line(f"{label}: ingest, 2 processes", count, best(runs["2"]), (reference[0], reference[1]))
        if args.json is not None:
            scrape = (
                None if args.fitsnap_python is None else fitsnap_scrape(args.fitsnap_python, args.json, args.repeat)
            )
            each: Times | None = None
            if scrape is not None:
                n, cpu, wall = scrape
                each = (1e6 * cpu / n, 1e6 * wall / n)
                line("FitSNAP JSON: FitSNAP scrape", n, (cpu, wall), None)
            for workers in (1, 2):
                runs_json = [timed(lambda w=workers: ours(args.json, folder, w)) for _ in range(args.repeat)]
                what = f"FitSNAP JSON: ingest, {workers} process{'es' if workers > 1 else ''}"
                line(what, runs_json[0][0], best([r[1] for r in runs_json]), each)


if __name__ == "__main__":
    main()
