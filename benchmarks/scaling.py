"""Weak and strong scaling of the reduction of a fit, simulated to 1,024 workers from block times measured here.

    python benchmarks/scaling.py                             # measure, print the tables
    python benchmarks/scaling.py --plot docs/scaling.png     # and draw them
    python benchmarks/scaling.py --gemm 50                   # the rates of docs/scaling.md, nothing is measured

Measured are the rates of ``mlipstore.cost`` (a matrix product, a copy) and, to see how well the model does, the time
of a leaf and of a merge for some numbers of columns. The network is a stated model: a transfer takes 20 us and 10 GB/s
(one node's share of a common interconnect), merges go over the fixed tree as ``mlipstore.reduction`` lays it out.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "cli")]

from mlipstore.cost import Rates, even_leaves, gemm_rate, memory_rate, packed_bytes, reduction_seconds  # noqa: E402
from mlipstore.errors import counted  # noqa: E402
from mlipstore.passes import least_rows  # noqa: E402
from mlipstore.reduction import Packed, merge_packed  # noqa: E402
from mlipstore.solve.factor import Factor  # noqa: E402
from mlipstore.solve.tree import join  # noqa: E402

WORKERS = [2**k for k in range(11)]
#: Klawohn, Kermode, Bartok, arXiv:2207.03803: rows, then nodes of 72 cores and seconds, row building included.
GAP_FIT = {
    "HEA": (396_178, {1: 13_245.0, 64: 1_171.0}),
    "SiC": (2_482_085, {1: 20_220.0, 64: 903.0}),
}


def factored(rates: Rates, rows: int, n: int, workers: int, leaf: int | None = None) -> float:
    """Seconds until the factor of the rows is there; the rows are made or read at the same time."""
    leaves = even_leaves(rows, leaf or least_rows(n - 1))
    return reduction_seconds([rates.factor(r, n) for r in leaves], rates.merge(n), rates.transfer(n), workers)


def check(rates: Rates, columns: int) -> tuple[float, float, float, float]:
    """Seconds of a leaf and of a merge: measured (CPU time) and modelled."""
    rng, rows = np.random.default_rng(0), least_rows(columns)
    block = rng.standard_normal((2048, columns))
    targets = rng.standard_normal(2048)

    def leaf() -> Factor:
        factor = Factor(columns)
        for start in range(0, rows, 2048):
            count = min(2048, rows - start)
            factor.update(block[:count] * (1.0 + 1e-3 * start / rows), targets[:count])
        factor.finish()
        return factor

    spent = []
    for _ in range(2):
        began = time.process_time()
        factor = leaf()
        spent.append(time.process_time() - began)
    merges = []
    for _ in range(2):
        left, right = Packed(factor), Packed(factor)
        began = time.process_time()
        merge_packed(join, left, right)
        merges.append(time.process_time() - began)
    return min(spent), rates.factor(rows, columns + 1), min(merges), rates.merge(columns + 1)


def strong(rates: Rates, rows: int, n: int) -> list[tuple[int, float, float]]:
    """Workers, seconds, efficiency for a fixed number of rows."""
    alone = factored(rates, rows, n, 1)
    return [(w, t := factored(rates, rows, n, w), alone / (w * t)) for w in WORKERS]


def weak(rates: Rates, leaves: int, n: int) -> list[tuple[int, float, float]]:
    """The same for a fixed number of leaves per worker."""
    alone = factored(rates, leaves * least_rows(n - 1), n, 1)
    each = [(w, factored(rates, w * leaves * least_rows(n - 1), n, w)) for w in WORKERS]
    return [(w, t, alone / t) for w, t in each]


def plot(path: Path, curves: dict[str, dict[str, list[tuple[int, float, float]]]], gpu: Any) -> None:
    """Efficiency over workers, and seconds over nodes or GPUs for the published problems."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for axis, (title, lines) in zip(axes, curves.items(), strict=False):
        for label, points in lines.items():
            axis.plot([w for w, _, _ in points], [e for _, _, e in points], ".-", label=label)
        axis.set(title=title, xlabel="workers", ylabel="efficiency", xscale="log", ylim=(0, 1.05))
        axis.legend(fontsize=7)
    last = axes[2]
    for name, (_, published) in GAP_FIT.items():
        line = last.plot(list(published), list(published.values()), "s--", label=f"gap_fit, {name}, nodes")[0]
        last.plot(
            *zip(*gpu[name], strict=True), ".-", color=line.get_color(), label=f"modelled, {name}, 36 TF/s workers"
        )
    last.set(title="published problems", xlabel="nodes, or workers", ylabel="seconds", xscale="log", yscale="log")
    last.legend(fontsize=6)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gemm", type=float, metavar="GFLOPS", help="take this rate, and 8 GB/s, instead of measuring")
    parser.add_argument("--columns", type=int, nargs="+", default=[110, 500, 1000], help="leaves and merges to measure")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    gemm = gemm_rate() if options.gemm is None else 1e9 * options.gemm
    rates = Rates(gemm, memory=memory_rate() if options.gemm is None else 8e9, network=1e10, latency=2e-5)
    print(f"a worker: {rates.gemm / 1e9:.1f} GF/s, {rates.memory / 1e9:.1f} GB/s; network 20 us, 10 GB/s")
    if options.gemm is None:
        print("   M   leaf: measured, model, ratio      merge: measured, model, ratio   (CPU s)")
        for columns in options.columns:
            a, b, c, d = check(rates, columns)
            print(f"{columns:5d}{a:16.3f}{b:8.3f}{a / b:7.2f}{c:18.4f}{d:8.4f}{c / d:7.2f}", flush=True)
    strongs = {f"M = {m:,}, {rows:.0e} rows": strong(rates, rows, m + 1)
               for m, rows in ((110, 10**9), (1_000, 10**8), (4_000, 10**8))}  # fmt: skip
    weaks = {
        f"M = {m:,}, {counted(k, 'leaf', 'leaves')} each": weak(rates, k, m + 1)
        for m, k in ((110, 8), (1_000, 8), (20_300, 1))
    }
    for title, lines in (("strong", strongs), ("weak", weaks)):
        print(f"\n{title} scaling: efficiency (seconds) on workers")
        print(" " * 28 + "".join(f"{w:>17,}" for w in WORKERS[::2]))
        for label, points in lines.items():
            print(f"{label:28s}" + "".join(f"{e:8.2f} {t:8.3g}" for _, t, e in points[::2]))
    fast = Rates(36e12, memory=1.5e12, network=2.5e10, latency=2e-5)
    print("\nthe published problems, M = 20,300: seconds for the factor; packed triangle "
          f"{packed_bytes(20_301) / 1e9:.2f} GB")  # fmt: skip
    gpu = {}
    for name, (rows, published) in GAP_FIT.items():
        cores = [(w, factored(rates, rows, 20_301, w)) for w in (1, 2, 4, 8, 16)]
        gpu[name] = [(w, factored(fast, rows, 20_301, w)) for w in (1, 2, 4, 8, 16)]
        print(f"{name}: {rows:,} rows, {len(even_leaves(rows, least_rows(20_300)))} leaves")
        print("  cores              " + "  ".join(f"{w}: {t:,.0f}" for w, t in cores))
        print("  36 TF/s workers    " + "  ".join(f"{w}: {t:,.1f}" for w, t in gpu[name]))
        print("  gap_fit, nodes     " + "  ".join(f"{w}: {t:,.0f}" for w, t in published.items())
              + f"   efficiency on 64: {published[1] / (64 * published[64]):.2f}")  # fmt: skip
    if options.plot:
        plot(options.plot, {"strong scaling": strongs, "weak scaling": weaks}, gpu)


if __name__ == "__main__":
    main()
