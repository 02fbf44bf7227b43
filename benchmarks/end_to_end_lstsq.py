"""Least squares from a store against dask and SciPy: times and peak memory, each in a fresh process.

    python benchmarks/end_to_end_lstsq.py       # 250,000 and 1,000,000 rows x 500 columns, 5 GB of disk
    python benchmarks/end_to_end_lstsq.py --rows 40000 --columns 100

A store of made-up configurations with random rows is written once for N/4 and once for N rows. Then, one BLAS thread
each, CPU and wall time from opening the store to the coefficients:

* ``mlipstore``: rows stream into the factor, which is solved by SVD (``mlipstore fit`` before its error table);
* ``dask tsqr``: ``dask.array.linalg.tsqr`` of ``[A | b]`` from the same arrays, one worker thread, then SVD of its R;
* ``gelsd``: the rows read into memory and ``scipy.linalg.lstsq`` (LAPACK gelsd).

``idle`` is what an idle machine of two processors takes: ``mlipstore`` reads and checks the next rows in a second
thread while it computes, so that is the CPU time of its computing thread (the other one's is less); the others do one
thing after another, so it is all of theirs. Peak memory is VmHWM (Linux). All coefficients are compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from mlipstore import registry
from mlipstore.computing import Column, Rows, empty_rows
from mlipstore.configuration import Batch, Configuration
from mlipstore.features import Feature
from mlipstore.featurize import featurize
from mlipstore.fit import accumulate, prepare
from mlipstore.index import segments, write_segment
from mlipstore.provenance import commit_metadata, new_run
from mlipstore.runs.runfile import Fit, GroupSettings
from mlipstore.store import Repository

ATOMS = 512
METHODS = ("mlipstore", "dask tsqr", "gelsd")


@dataclass(frozen=True)
class Noise:
    """Descriptor of random numbers that depend on the positions alone."""

    elements: tuple[str, ...] = ("H",)
    width: int = 500

    def columns(self) -> list[Column]:
        return [Column(f"x{i}", "H") for i in range(self.width)]

    def label(self) -> str:
        return "noise"

    def rows(self, batch: Batch) -> Rows:
        out = empty_rows(batch, self.width)
        for i in range(len(batch)):
            random = np.random.default_rng(int(batch.frame[i]))
            a, b = 3 * int(batch.atom_start[i]), 3 * int(batch.atom_start[i + 1])
            out.energy[i] = ATOMS * random.standard_normal(self.width)
            out.force[a:b] = random.standard_normal((b - a, self.width))
        return out


@contextmanager
def known() -> Iterator[None]:
    """The descriptor is a plugin inside."""
    real = registry.get
    with mock.patch.object(registry, "get", lambda kind, name: Noise if name == "noise" else real(kind, name)):
        yield


def make(path: Path, rows: int, columns: int) -> None:
    """A store with at least that many rows of energies and forces."""
    random = np.random.default_rng(0)
    truth = random.standard_normal(columns)
    descriptor = Noise(width=columns)
    repository = Repository.create(path)
    count, per_segment = -(-rows // (3 * ATOMS + 1)), 16
    for start in range(0, count, per_segment):
        batch = Batch.from_configurations([
            Configuration(
                np.ones(ATOMS, int), random.uniform(0, 20, (ATOMS, 3)), 20.0 * np.eye(3), np.ones(3, bool),
                energy=0.0, forces=np.zeros((ATOMS, 3)), group="noise", source="made up", frame=frame,
            )
            for frame in range(start, min(count, start + per_segment))
        ])  # fmt: skip
        made = descriptor.rows(batch)
        batch.energy = made.energy @ truth + ATOMS * random.standard_normal(len(batch))
        batch.force = (made.force @ truth + random.standard_normal(len(made.force))).reshape(-1, 3)
        with repository.transaction("rows", commit_metadata("ingest", "benchmark", new_run())) as tx:
            write_segment(tx, f"{start:016x}", batch)
    featurize(repository, Feature.of("noise", descriptor, None), None)


def arrays(repository: Repository) -> Iterator[tuple[Any, np.ndarray, bool]]:
    """Stored rows as Zarr arrays, their labels, and whether they are of energies."""
    snapshot = repository.at()
    (feature,) = snapshot.names("features")
    for s in segments(snapshot):
        read, here = snapshot.read, f"features/{feature}/{s.name}/"
        yield snapshot.array(here + "A_E"), read(f"configurations/{s.name}/energy"), True
        yield snapshot.array(here + "A_F"), read(f"atoms/{s.name}/force").ravel(), False


def solve(method: str, path: Path) -> tuple[np.ndarray, int]:
    """Coefficients and the number of rows."""
    repository = Repository.open(path)
    if method == "mlipstore":
        weights = GroupSettings(energy=1.0, force=1.0, stress=0.0)
        problem = prepare(repository, Fit(constant=False, default=weights))
        factor = accumulate(problem)
        return problem.solver.solve(factor).coefficients, factor.n_rows
    if method == "gelsd":
        from scipy.linalg import lstsq

        parts = [(A[:] / (ATOMS if e else 1), b / (ATOMS if e else 1)) for A, b, e in arrays(repository)]
        A = np.empty((sum(len(b) for _, b in parts), parts[0][0].shape[1]), order="F")
        b = np.concatenate([b for _, b in parts])
        done = 0
        while parts:  # no second copy of everything
            rows, _ = parts.pop(0)
            A[done : done + len(rows)] = rows
            done += len(rows)
        return lstsq(A, b, lapack_driver="gelsd", overwrite_a=True, overwrite_b=True, check_finite=False)[0], len(b)
    import dask
    import dask.array as da

    blocks, n = [], 0
    for A, b, e in arrays(repository):
        scale = 1.0 / (ATOMS if e else 1)
        rows = max(A.chunks[0], 8192 // A.chunks[0] * A.chunks[0])
        X = da.from_array(A, chunks=(min(rows, len(b)), A.shape[1])) * scale
        blocks.append(da.concatenate([X, da.from_array(b[:, None] * scale, chunks=(X.chunks[0], 1))], axis=1))
        n += len(b)
    stacked = da.concatenate(blocks, axis=0).rechunk({0: 8192, 1: -1})
    with dask.config.set(scheduler="single-threaded"):
        R = np.asarray(da.linalg.tsqr(stacked)[1].compute())
    return np.linalg.lstsq(R[:, :-1], R[:, -1], rcond=None)[0], n


def child(method: str, path: Path, output: Path) -> None:
    """Measure one method in this process."""
    with known():
        cpu, wall, own = time.process_time(), time.perf_counter(), time.thread_time()
        x, n = solve(method, path)
        cpu, wall, own = time.process_time() - cpu, time.perf_counter() - wall, time.thread_time() - own
    idle = max(own, cpu - own) if method == "mlipstore" else cpu
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    np.save(output, x)
    print(json.dumps({"rows": n, "cpu": cpu, "idle": idle, "wall": wall, "peak_mb": peak / 1024}))


def measured(method: str, store: Path) -> dict[str, Any]:
    """The same in a fresh process with one BLAS thread."""
    import os

    output = store.with_suffix(".npy")
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    done = subprocess.run(
        [sys.executable, __file__, "--child", method, str(store), str(output)],
        env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return {**json.loads(done.stdout.splitlines()[-1]), "x": np.load(output)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="N; the smaller store has a quarter")
    parser.add_argument("--columns", type=int, default=500)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--folder", type=Path, help="where the stores go; a temporary folder if not given")
    parser.add_argument("--in-memory-rows", type=int, default=400_000, help="largest N that gelsd is asked for")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        child(options.child[0], Path(options.child[1]), Path(options.child[2]))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, known():
        print("      rows  method       CPU s   idle s   wall s  peak MB   CPU / mlipstore  idle  difference of x")
        for rows in (options.rows // 4, options.rows):
            store = Path(folder) / f"{rows}.mlip"
            make(store, rows, options.columns)
            first: dict[str, Any] | None = None
            for method in options.methods:
                if method == "gelsd" and rows > options.in_memory_rows:
                    continue
                line = measured(method, store)
                first = first or line
                difference = np.linalg.norm(line["x"] - first["x"]) / np.linalg.norm(first["x"])
                print(
                    f"{line['rows']:10,}  {method:10s} {line['cpu']:7.2f} {line['idle']:8.2f} {line['wall']:8.2f}"
                    f" {line['peak_mb']:8.0f} {line['cpu'] / first['cpu']:17.2f}"
                    f" {line['idle'] / first['idle']:5.2f} {difference:16.1e}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
