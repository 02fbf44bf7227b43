"""A whole FitSNAP project, run by FitSNAP and by mlipstore, side by side: CPU time and peak memory.

    python benchmarks/fitsnap_whole_run.py Ta-example.in --fitsnap-python /path/to/fitsnap-venv/bin/python [--repeat 3]

Each run is a fresh process and a fresh folder, one BLAS thread, one worker; the two programs take turns. CPU time is
user + system of the process and its children, peak memory the largest process (both from wait4). FitSNAP has to be
installed from its repository: the released package fails with current LAMMPS.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("--fitsnap-python", required=True)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    source = arguments.input.resolve()
    fitsnap_bin = Path(arguments.fitsnap_python).parent
    library = str(fitsnap_bin.parent / "lib")
    fitsnap_env = {**ONE_THREAD, "LD_LIBRARY_PATH": library, "PYTHONPATH": ""}
    rows: dict[str, list[tuple[float, float, float]]] = {"FitSNAP": [], "mlipstore": []}
    for _ in range(arguments.repeat):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "fitsnap")
            shutil.copytree(source.parent, folder, ignore=shutil.ignore_patterns("*.mlip", "*.npz"), symlinks=False)
            command = [arguments.fitsnap_python, "-m", "fitsnap3", source.name, "--overwrite"]
            rows["FitSNAP"].append(measure(command, folder, fitsnap_env))
            folder = Path(scratch, "mlipstore")
            shutil.copytree(source.parent, folder, ignore=shutil.ignore_patterns("*.mlip", "*.npz"), symlinks=False)
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
