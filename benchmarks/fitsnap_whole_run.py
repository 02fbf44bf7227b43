"""A whole FitSNAP project, run by FitSNAP and by mlipstore, side by side: CPU time and peak memory.

    python benchmarks/fitsnap_whole_run.py Ta-example.in --fitsnap-python /path/to/fitsnap-venv/bin/python [--repeat 3]
    python benchmarks/fitsnap_whole_run.py WBe-example.in --fitsnap-python PYTHON --fitsnap-part 20 --repeat 1

Each run is a fresh process and a fresh folder, one BLAS thread, one worker; the two programs take turns. CPU time is
user + system of the process and its children, peak memory the largest process (both from wait4). FitSNAP has to be
installed from its repository: the released package fails with current LAMMPS.

With ``--fitsnap-part 20`` FitSNAP runs on every 20th and on every 100th configuration file only, and what it takes for
all is extrapolated from the two (start-up, and CPU and wall time per file; no memory is stated). mlipstore takes all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def measure(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak memory in MB of a command."""
    import time

    with open(folder / "output.txt", "wb") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{(folder / 'output.txt').read_text()[-3000:]}")
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024


def copied(source: Path, folder: Path, every: int = 1) -> int:
    """The folder of an input, with every ``every``-th JSON file of each folder (at least one); how many there are."""
    count = 0

    def left_out(where: str, names: list[str]) -> set[str]:
        nonlocal count
        files = sorted(n for n in names if n.endswith(".json"))
        chosen = files[::every] if every > 1 else files
        count += len(chosen)
        return {n for n in names if n.endswith((".mlip", ".npz"))} | set(files) - set(chosen)

    shutil.copytree(source.parent, folder, ignore=left_out, symlinks=False)
    return count


def fitsnap(arguments: argparse.Namespace, scratch: str, every: int) -> tuple[int, tuple[float, float, float]]:
    """Number of configuration files, and what FitSNAP took for them."""
    source = arguments.input.resolve()
    library = str(Path(arguments.fitsnap_python).parent.parent / "lib")
    environment = {**ONE_THREAD, "LD_LIBRARY_PATH": library, "PYTHONPATH": ""}
    folder = Path(scratch, f"fitsnap-{every}")
    n = copied(source, folder, every)
    command = [arguments.fitsnap_python, "-m", "fitsnap3", source.name, "--overwrite"]
    return n, measure(command, folder, environment)


def extrapolated(arguments: argparse.Namespace, scratch: str) -> tuple[float, float, float]:
    """CPU and wall time of FitSNAP for all files, from two parts of them."""
    n_all = sum(1 for _, _, names in os.walk(arguments.input.resolve().parent, followlinks=True)
                for name in names if name.endswith(".json"))  # fmt: skip
    (few, small), (many, large) = (
        fitsnap(arguments, scratch, every) for every in (5 * arguments.fitsnap_part, arguments.fitsnap_part)
    )
    print(f"FitSNAP took {small[0]:.1f} s of CPU time for {few:,} files, {large[0]:.1f} s for {many:,} of {n_all:,}")
    full = [a + (b - a) / (many - few) * (n_all - few) for a, b in zip(small[:2], large[:2], strict=True)]
    return full[0], full[1], float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("--fitsnap-python", required=True)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--fitsnap-part", type=int, default=1, metavar="N", help="FitSNAP on every N-th file only")
    arguments = parser.parse_args()
    source = arguments.input.resolve()
    rows: dict[str, list[tuple[float, float, float]]] = {"FitSNAP": [], "mlipstore": []}
    for _ in range(arguments.repeat):
        with tempfile.TemporaryDirectory() as scratch:
            whole = arguments.fitsnap_part == 1
            rows["FitSNAP"].append(fitsnap(arguments, scratch, 1)[1] if whole else extrapolated(arguments, scratch))
            folder = Path(scratch, "mlipstore")
            copied(source, folder)
            program = [sys.executable, "-m", "mlipstore_cli"]
            subprocess.run([*program, "from-fitsnap", source.name, "-o", "run.toml"], cwd=folder, check=True,
                           env={**os.environ, **ONE_THREAD}, stderr=subprocess.DEVNULL)  # fmt: skip
            rows["mlipstore"].append(measure([*program, "run", "run.toml", "--executor", "serial"], folder, ONE_THREAD))
    median = {name: [statistics.median(r[i] for r in runs) for i in range(3)] for name, runs in rows.items()}
    print(f"{source.name}, {arguments.repeat} runs each in turn, medians; 1 BLAS thread, 1 worker")
    print(f"{'':12s}{'CPU s':>10s}{'wall s':>10s}{'peak MB':>10s}")
    for name, (cpu, wall, peak) in median.items():
        print(f"{name:12s}{cpu:10.2f}{wall:10.2f}{peak:10.0f}")
    ratio = [median["mlipstore"][i] / median["FitSNAP"][i] for i in range(3)]
    print(f"{'ratio':12s}{ratio[0]:10.3f}{ratio[1]:10.3f}{ratio[2]:10.3f}")


if __name__ == "__main__":
    main()
