"""Workers killed in the middle of featurize and fit, again and again: the store must end with the same bits.

    python benchmarks/kill_workers.py --times 20               # Dask
    python benchmarks/kill_workers.py --times 5 --mpi          # an MPI rank: the run ends, the next one continues

Each time another moment: a worker is killed (SIGKILL) when the n-th piece of work is done, in featurize and in fit.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "cli")]


def main() -> int:
    """1 if a store differs from that of an undisturbed run."""
    from mlipstore.executors.dask import Dask
    from mlipstore.executors.serial import Serial
    from tests import snap_store
    from tests.robustness import deaths
    from tests.robustness.content import content, differences
    from tests.scripts import mpiexec

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--mpi", action="store_true")
    options = parser.parse_args()
    wrong = killed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = snap_store.ingested(folder / "base.mlip", segments=13, configurations=6)
        store = shutil.copytree(base, folder / "serial.mlip")
        deaths.everything(store, Serial())
        expected = content(store)
        executor = Dask(options.workers)
        for turn in range(options.times):
            store = shutil.copytree(base, folder / f"{turn}.mlip")
            if options.mpi:
                program = ["-m", "tests.robustness.deaths", str(store)]
                ended = mpiexec(options.workers + 1, folder, *program, "kill").returncode != 0
                content(store)  # every byte can be read
                again = mpiexec(options.workers + 1, folder, *program)
                assert isinstance(again, subprocess.CompletedProcess)
                killed += ended
                wrong += again.returncode != 0 or not ended
            else:
                killed += deaths.everything(store, executor, lambda at=1 + turn % 8: deaths.of_dask(executor, at))  # type: ignore[misc]
            differ = differences(content(store), expected)
            wrong += bool(differ)
            print(f"{turn + 1:3d}: {killed} killed so far, {'the same bits' if not differ else differ[:3]}", flush=True)
            shutil.rmtree(store)
        executor.close()
    print("all of them ended with the same bits" if not wrong else f"{wrong} WENT WRONG")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
