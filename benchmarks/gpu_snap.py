"""SNAP rows on a GPU: are they those of the processor, and how many atoms per second.

    python benchmarks/gpu_snap.py                                 # on the card: options, then 2J = 6, 8, 10
    python benchmarks/gpu_snap.py --device numpy --atoms 540      # the same lines on the processor

Needs CuPy for the device ``cuda``. First, rows of several options are compared with the compiled kernel (largest
difference relative to the largest entry of a column; 1 is returned if one is above 1e-10). Then bcc Ta, 54 atoms per
configuration displaced by 0.1 Å, cutoff 4.676 Å: the list of pairs (always made on the processor), everything else, and
the compiled kernel on one core beside it. What to compare with at 2J = 8 and 4.8 TB/s: 2 to 4 million atoms/s if
derivatives and gradients were all that is moved (0.6 MB for each atom), 0.9 million with all intermediate results of
array code (5.4 MB, counted), 0.3 million for each process that lists the pairs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from mlipstore.computing import Rows  # noqa: E402
from mlipstore.configuration import Batch, Configuration  # noqa: E402
from mlipstore.descriptors.snap import Snap  # noqa: E402
from mlipstore.device import on_host, open_device, row_maker  # noqa: E402
from mlipstore.kernels.snap import snap_pairs, snap_rows  # noqa: E402

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "2J = 8": {"twojmax": (8,)},
    "inner switching, rmin0": {"switchinnerflag": True, "sinner": (1.9,), "dinner": (0.7,), "rmin0": 0.5},
    "no switching, bzero, bnorm": {"switchflag": False, "bzeroflag": True, "bnormflag": True},
    "chem": {"chemflag": True, "bzeroflag": True, "twojmax": (4,)},
    "quadratic": {"quadraticflag": True, "twojmax": (4,)},
    "2J by element": {"twojmax": (6, 4)},
}
EDGE = 3.316


def bcc(configurations: int, numbers: tuple[int, ...]) -> Batch:
    """Cells of 54 atoms."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    perfect = EDGE * np.concatenate([grid, grid + 0.5])
    cell, periodic = 3 * EDGE * np.eye(3), np.ones(3, bool)
    return Batch.from_configurations(
        [
            Configuration(rng.choice(numbers, 54), perfect + 0.1 * rng.normal(size=(54, 3)), cell, periodic)
            for _ in range(configurations)
        ]
    )


def difference(ours: Rows, theirs: Rows) -> float:
    """Largest one relative to the largest entry of its column."""
    worst = 0.0
    for a, b in ((ours.energy, theirs.energy), (ours.force, theirs.force), (ours.stress, theirs.stress)):
        scale = np.maximum(abs(b).max(axis=0), 1e-6 * abs(b).max() + 1e-12)
        worst = max(worst, float((abs(a - b).max(axis=0) / scale).max()))
    return worst


def main() -> int:
    """Print both tables; 1 if rows differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "numpy"], default="cuda")
    parser.add_argument("--atoms", type=int, default=54_000)
    parser.add_argument("--twojmax", type=int, nargs="+", default=[6, 8, 10], metavar="2J")
    options = parser.parse_args()
    cuda = options.device == "cuda"
    device = open_device("cuda" if cuda else "cpu")

    def maker(snap: Snap) -> Callable[[Batch], Rows]:
        make = device.row_maker(snap) if cuda else row_maker(snap, np, 64 << 20)
        if make is None:
            raise SystemExit("MLIPSTORE_SNAP_BACKEND asks for another program. Unset it.")
        return make

    def seconds(action: Callable[[], Any]) -> float:
        began = time.perf_counter() if cuda else time.process_time()
        action()
        if cuda:
            device.xp.cuda.get_current_stream().synchronize()
        return (time.perf_counter() if cuda else time.process_time()) - began

    def best(action: Callable[[], Any]) -> float:
        return min(seconds(action) for _ in range(3))

    print(f"{device.label if cuda else 'NumPy'}\n{'rows against the compiled kernel':36}largest difference")
    worst, few = 0.0, bcc(4, (74, 4))
    for name, given in OPTIONS.items():
        snap = Snap(("W", "Be"), **{"rcutfac": 4.6, "radelem": (0.5, 0.42), "wj": (1.0, 0.6)} | given)
        apart = difference(on_host(maker(snap)(few)), snap_rows(snap, few))
        worst = max(worst, apart)
        print(f"  {name:34}{apart:.1e}", flush=True)
    batch = bcc(max(1, options.atoms // 54), (73,))
    atoms = len(batch.number)
    print(f"{atoms:,} atoms   pairs, µs/atom   all, µs/atom   atoms/s   compiled kernel, one core, µs/atom   ratio")
    for top in options.twojmax:
        snap = Snap(("Ta",), 4.67637, (top,))
        make = maker(snap)
        make(batch)  # compiles kernels, fills the memory pool
        listing = 1e6 / atoms * best(lambda snap=snap: snap_pairs(snap, batch))
        whole = 1e6 / atoms * best(lambda make=make: make(batch))
        part = batch.slice(0, min(len(batch), 100))
        snap_rows(snap, part)
        here = 1e6 / len(part.number) * best(lambda snap=snap, part=part: snap_rows(snap, part))
        print(
            f"2J = {top:<5}{listing:18.2f}{whole:15.2f}{1e6 / whole:12,.0f}{here:30.1f}{here / whole:16.2f}", flush=True
        )
    return int(not worst < 1e-10)


if __name__ == "__main__":
    sys.exit(main())
