"""A fit of many columns against its plan: memory and time of ``fit``, and what ``fit --plan`` said.

    python benchmarks/large_fit.py --columns 12000 --rows 48000        # 5 GB of memory, some minutes
    python benchmarks/large_fit.py --columns 1000 --rows 120000 --tolerance 0.25

Rows are made up, block by block, by a descriptor that is installed for the run as other packages install theirs (entry
points), and never stored. Times are CPU times, less that of a fit of 4 columns of the same rows (opening the store and
the like); the memory is the peak of the process that fits (VmHWM). Exit code 1 if the memory is more than 10 % above
the plan (or, for 4,000 columns and more, below), or the time differs by more than ``--tolerance``. For fewer columns
the blocks count, which the plan takes as large as they may become.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "cli")]
ATOMS = 100
PLUGIN = """
from dataclasses import dataclass
import numpy as np
from mlipstore.computing import Column, empty_rows

@dataclass(frozen=True)
class MadeUp:
    elements: tuple = ("Ta",)
    n_columns: int = 100
    def label(self): return f"made-up-{self.n_columns}"
    def columns(self): return [Column(str(k), "Ta") for k in range(self.n_columns)]
    def rows(self, batch):
        out = empty_rows(batch, self.n_columns)
        for c in range(len(batch)):
            rng = np.random.default_rng(int(1e6 * abs(batch[c].positions[0, 0])))
            rng.standard_normal(out=out.force[3 * int(batch.atom_start[c]) : 3 * int(batch.atom_start[c + 1])])
            out.energy[c] = rng.standard_normal(self.n_columns)
            out.stress[6 * c : 6 * c + 6] = rng.standard_normal((6, self.n_columns))
        return out

plugin = MadeUp
"""
#: Runs the command line, then tells its CPU time without imports and the peak of its memory.
PROGRAM = """
import json, re, sys, time
import numpy, scipy.linalg, zarr, icechunk, mlipstore.fit, mlipstore.forecast
began = time.process_time()
from mlipstore_cli.app import app
app(sys.argv[1:], standalone_mode=False)
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
print("\\n" + json.dumps([time.process_time() - began, peak]))
"""


def plugin(folder: Path) -> None:
    """An installed package with the descriptor ``made-up``."""
    (folder / "made_up.py").write_text(PLUGIN)
    info = folder / "made_up-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mlipstore.descriptors]\nmade-up = made_up:plugin\n")


def store_of(rows: int, path: Path, segments: int) -> None:
    """An ingested store of about so many rows."""
    import numpy as np

    from mlipstore.configuration import Batch, Configuration
    from mlipstore.index import write_segment
    from mlipstore.provenance import commit_metadata
    from mlipstore.store import Repository

    repository, rng = Repository.create(path), np.random.default_rng(0)
    each = max(1, round(rows / segments / (3 * ATOMS + 7)))
    for number in range(segments):
        made = [
            Configuration(
                numbers=np.full(ATOMS, 73), positions=rng.uniform(0, 12, (ATOMS, 3)), cell=np.eye(3) * 12.0,
                pbc=np.ones(3, bool), energy=rng.normal(), forces=rng.normal(size=(ATOMS, 3)),
                stress=rng.normal(size=6), group="all",
            )
            for _ in range(each)
        ]  # fmt: skip
        with repository.transaction("make", commit_metadata("ingest", "benchmark", "benchmark")) as tx:
            write_segment(tx, f"segment{number:03}", Batch.from_configurations(made))


def run(folder: Path, *words: str) -> tuple[dict[str, object], float, float]:
    """JSON that a command prints, its CPU seconds and its peak memory."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join([str(folder), str(ROOT), str(ROOT / "cli")])
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True, check=True,
                          env={**os.environ, **one, "PYTHONPATH": path})  # fmt: skip
    text, _, last = done.stdout.rstrip().rpartition("\n")
    seconds, peak = json.loads(last)
    return json.loads(text) if text.strip().startswith("{") else {}, seconds, peak


def run_file(folder: Path, columns: int) -> Path:
    """Settings of a featurization and a fit of so many columns."""
    config = folder / f"run{columns}.toml"
    config.write_text(
        f'[descriptor]\ntype = "made-up"\nname = "c{columns}"\nelements = ["Ta"]\nn_columns = {columns}\n'
        f'storage = "none"\n[fit]\nname = "model{columns}"\nfeatures = "c{columns}"\nsolver = {{ type = "qr" }}\n'
    )
    return config


def fit_of(folder: Path, store: str, columns: int) -> list[str]:
    """The command that fits, after the one that featurizes."""
    config = str(run_file(folder, columns))
    run(folder, "featurize", store, "-d", config, "-q")
    return ["fit", store, "-c", config, "--executor", "serial", "--json", "-q"]


def fitted(folder: Path, store: str, columns: int) -> tuple[dict[str, object], float, float]:
    """What a fit says, its CPU seconds and its peak memory."""
    return run(folder, *fit_of(folder, store, columns))


def main() -> int:
    """Print plan and measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=12_000)
    parser.add_argument("--rows", type=int, default=48_000)
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--tolerance", type=float, default=0.25)
    parser.add_argument("--scratch", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = Path(name)
        plugin(folder)
        store = str(folder / "s.mlip")
        store_of(options.rows, Path(store), options.segments)
        _, program, _ = fitted(folder, store, 4)
        plan, _, _ = run(folder, *fit_of(folder, store, options.columns), "--plan")
        fit, seconds, peak = fitted(folder, store, options.columns)
        seconds -= program
    memory, time = float(str(plan["projected_memory"])), float(str(plan["seconds"]))
    print(f"{fit['rows']:,} rows x {options.columns:,} columns, {plan['leaves']} leaves, rank {fit['rank']}")
    print(f"memory  plan {memory / 1e9:8.3f} GB   measured {peak / 1e9:8.3f} GB   {peak / memory:.3f}")
    print(f"time    plan {time:8.1f} s    CPU      {seconds:8.1f} s    {seconds / time:.3f}   (beside {program:.1f} s "
          "of a fit of 4 columns: opening, storing)")  # fmt: skip
    print(f"rates   {plan['rates']}")
    print(f"parts   {plan['seconds_of']}")
    least = 0.9 if options.columns >= 4000 else 0.0
    return int(not least < peak / memory < 1.1 or abs(seconds / time - 1) > options.tolerance)


if __name__ == "__main__":
    sys.exit(main())
