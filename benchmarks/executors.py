"""The same bits on every executor, and what an executor costs: featurize and fit of one run file, once on each.

    python benchmarks/executors.py wbe.toml                                  # all that is installed
    python benchmarks/executors.py wbe.toml --on serial dask:1 mpi:2 --repeat 3
    python benchmarks/executors.py --synthetic 860 --on serial processes:2   # quadratic SNAP on made-up cells
    python benchmarks/executors.py --synthetic 860 --cells 320 --on serial processes:2   # four times the rows

``dask:2`` is a cluster of two workers, ``mpi:3`` is ``mpiexec -n 3`` (two workers and rank 0, which hands tasks out).
Every run is a fresh process that begins with a copy of the same ingested store. Printed are the digest of everything in
the store (rows, baseline, R, coefficients, errors); CPU time (user and system of all processes, from wait4) and the
share of it that was spent inside tasks; what the executor costs: CPU time per CPU time in tasks, over that of the first
line (so other load on the machine, which slows both alike, cancels); and what idle processors would need: the CPU time
of the first process (``first``, of a fit) and of its busiest worker one after the other, with the speed-up over the
first line by it. Exit code 1 if two digests differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "cli")]

EVERY = ["serial", "processes:1", "processes:2", "processes:3", "dask:1", "dask:2", "dask:4",
         "mpi:1", "mpi:2", "mpi:3", "mpi:4"]  # fmt: skip
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def spent(_: int) -> tuple[str, float]:
    """Which process answers, and its CPU seconds."""
    import socket

    time.sleep(0.05)  # so that the others answer, too
    return f"{socket.gethostname()} {os.getpid()}", time.process_time()


@dataclass(frozen=True)
class Timed:
    """A function of tasks that writes down the CPU time of each of them."""

    function: Any
    folder: str

    def __call__(self, task: Any) -> Any:
        began = time.process_time()
        try:
            return self.function(task)
        finally:
            with open(Path(self.folder, f"{os.getpid()}.tasks"), "a") as log:
                log.write(f"{time.process_time() - began}\n")


class TimedExecutor:
    """An executor whose tasks are timed."""

    def __init__(self, executor: Any, folder: str) -> None:
        self._executor, self._folder = executor, folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    def within(self, most: int) -> Any:
        return TimedExecutor(self._executor.within(most), self._folder)

    def map(self, function: Any, tasks: Any) -> Any:
        return self._executor.map(Timed(function, self._folder), tasks)

    def unordered(self, function: Any, tasks: Any) -> Any:
        return self._executor.unordered(Timed(function, self._folder), tasks)

    def reduce(self, function: Any, tasks: Any, merge: Any, done: Any = None) -> Any:
        return self._executor.reduce(Timed(function, self._folder), tasks, merge, done)


def work(store: str, config: str, name: str, count: int) -> None:
    """In a fresh process: featurize and fit; prints CPU seconds of the first process plus the busiest worker."""
    from mlipstore import registry
    from mlipstore.executors.mpi import Mpi
    from mlipstore.executors.serial import Serial
    from mlipstore.featurize import featurize
    from mlipstore.fit import compute, prepare, store_model
    from mlipstore.pipeline import resolve
    from mlipstore.runs.runfile import load
    from mlipstore.store import Repository

    executor = registry.make("executors", name, {"workers": count} if name in ("processes", "dask") else {})
    if isinstance(executor, Mpi) and executor.serve():
        return
    settings = load(config)
    feature, baseline = resolve(settings)
    folder = str(Path(store).parent)
    timed = TimedExecutor(executor if name != "serial" else Serial(), folder)
    repository = Repository.open(store)
    out: dict[str, float] = {}

    def workers() -> dict[str, float]:
        seen = dict(executor.map(spent, range(8 * executor.n_workers)))
        seen.pop(spent(0)[0], None)  # this process, where it has no workers
        return seen

    def measured(verb: str, action: Any) -> Any:
        before, mine, wall = workers(), time.process_time(), time.perf_counter()
        result = action()
        out[f"{verb} wall"] = time.perf_counter() - wall
        busiest = max((s - before.get(who, 0.0) for who, s in workers().items()), default=0.0)
        out[f"{verb} first"] = time.process_time() - mine
        out[verb] = out[f"{verb} first"] + busiest
        return result

    measured("featurize", lambda: featurize(repository, feature, baseline, timed))
    assert settings.fit is not None and feature is not None
    fit = replace(settings.fit, features=feature.id, baseline=baseline.id if baseline is not None else "none")
    problem = prepare(repository, fit)
    result, factor = measured("fit", lambda: compute(problem, None, timed))
    store_model(repository, problem, factor, result, "benchmark")
    out["columns"], out["rows"] = problem.matrix.n_columns, result.rows
    print(json.dumps(out), flush=True)
    executor.close()


def run(name: str, count: int, store: Path, config: Path) -> dict[str, Any]:
    """One run in processes of its own; its CPU time is that of all of them."""
    command = [sys.executable, str(Path(__file__).resolve()), "--work", str(store), str(config), name, str(count)]
    if name == "mpi":
        places = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
        mpiexec = shutil.which("mpiexec", path=places)
        if mpiexec is None:
            raise SystemExit("there is no mpiexec")
        command = [mpiexec, "-n", str(count), *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD})
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name}:{count} failed")
    tasks = 0.0
    for log in store.parent.glob("*.tasks"):
        tasks += sum(map(float, log.read_text().split()))
        log.unlink()
    cpu = usage.ru_utime + usage.ru_stime
    return {**json.loads(printed), "cpu": cpu, "each": cpu / tasks}


def digest(store: Path) -> str:
    """One digest of all that the newest version of a store holds, wherever it lies in its files."""
    from tests.robustness.content import content

    return hashlib.sha256(json.dumps(content(store), sort_keys=True).encode()).hexdigest()[:16]


def ingested(config: Path, base: Path, atoms: int | None) -> None:
    """The store that all runs begin with."""
    import mlipstore.ingest
    import mlipstore.seen
    from mlipstore.pipeline import run as run_file
    from mlipstore.runs.runfile import load

    settings = load(config)
    if atoms:
        for module in (mlipstore.ingest, mlipstore.seen):
            vars(module)["SEGMENT_ATOMS"] = atoms
    run_file(replace(settings, store=str(base), descriptor=None, baseline=None, fit=None, export=None, plot=None))


def synthetic(columns: int, folder: Path, cells: int) -> tuple[Path, Path]:
    """A store of displaced cells, and the run file of a quadratic SNAP fit with about so many columns.

    :param cells: configurations of each of 16 segments
    """
    from mlipstore.configuration import Batch
    from mlipstore.index import write_segment
    from mlipstore.provenance import commit_metadata
    from mlipstore.store import Repository
    from tests.snap_store import cells_of

    sizes = {14 + 14 * 15 // 2: 4, 30 + 30 * 31 // 2: 6, 40 + 40 * 41 // 2: 7, 55 + 55 * 56 // 2: 8}
    size = sizes[min(sizes, key=lambda m: abs(m - columns))]
    base = folder / "base.mlip"
    repository = Repository.create(base)
    for number in range(16):
        made = sorted(cells_of(cells, 2, number), key=lambda c: c.group)
        with repository.transaction("make", commit_metadata("ingest", "benchmark", "benchmark")) as tx:
            write_segment(tx, f"segment{number:02}", Batch.from_configurations(made))
    config = folder / "run.toml"
    config.write_text(
        f'store = "{base}"\n[descriptor]\ntype = "snap"\nelements = ["Ta"]\ntwojmax = {size}\nrcutfac = 4.7\n'
        'quadraticflag = true\n[fit]\nname = "model"\nsolver = { type = "qr" }\n'
    )
    return base, config


def main() -> int:
    """Print a line per run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", help="run file with [ingest], [descriptor] and [fit]")
    parser.add_argument("--synthetic", type=int, metavar="M", help="made-up data and about so many columns instead")
    parser.add_argument(
        "--cells", type=int, default=80, help="configurations in each of the 16 segments of --synthetic"
    )
    parser.add_argument("--store", type=Path, help="an ingested store, instead of ingesting what the run file names")
    parser.add_argument("--on", nargs="+", default=EVERY, metavar="NAME:N")
    parser.add_argument("--segment-atoms", type=int, metavar="N", help="smaller segments, for smaller data")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="folder for the copies of the store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        place = Path(folder)
        if options.synthetic:
            base, config = synthetic(options.synthetic, place, options.cells)
        elif options.config:
            base, config = options.store or place / "base.mlip", options.config
            if options.store is None:
                ingested(config, base, options.segment_atoms)
        else:
            parser.error("give a run file, or --synthetic M")
        digests: set[str] = set()
        least: dict[str, dict[str, float]] = {}
        for turn in range(options.repeat):
            for spec in options.on:
                name, _, count = spec.partition(":")
                store = place / "copy.mlip"
                shutil.copytree(base, store)
                seen = run(name, int(count or 1), store, config)
                mark = digest(store)
                shutil.rmtree(store)
                digests.add(mark)
                best = least.setdefault(spec, dict(seen))
                best.update({k: min(v, best[k]) for k, v in seen.items()})
                if turn == 0 and spec == options.on[0]:
                    print(f"{seen['rows']:,} rows x {seen['columns']:,} columns; seconds")
                    names = "CPU  in tasks  costs   featurize  speed-up    fit  (first)  speed-up   wall"
                    print(f"{'':12s}{'digest':16s}       {names}")
                first = least[options.on[0]]
                print(f"{spec:12s}{mark}{best['cpu']:10.2f}{1 / best['each']:10.3f}"
                      f"{best['each'] / first['each']:7.3f}"
                      f"{best['featurize']:12.2f}{first['featurize'] / best['featurize']:10.2f}"
                      f"{best['fit']:7.2f}{best['fit first']:9.2f}{first['fit'] / best['fit']:10.2f}"
                      f"{best['featurize wall'] + best['fit wall']:7.1f}", flush=True)  # fmt: skip
        print("the same bits everywhere" if len(digests) == 1 else "THE BITS DIFFER")
    return len(digests) != 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:5], int(sys.argv[5]))
    else:
        sys.exit(main())
