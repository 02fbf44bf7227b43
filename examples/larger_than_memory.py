"""A fit whose matrix fits neither in memory nor on the disk: quadratic SNAP on the W-Be set, rows made on the fly.

    python examples/larger_than_memory.py .../FitSNAP/examples/WBe_PRB2019/WBe-example.in --folder wbe

25,422 configurations, 1,772,880 rows x 3,190 columns = 45 GB in double precision; FitSNAP's memory for it is estimated
at 137 GB. Here rows are computed block by block, flow into the triangular factor (81 MB) and are forgotten; a second
pass makes them again for the error table. Any other FitSNAP input of linear SNAP works the same way.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from mlipstore.fromfitsnap import convert
from mlipstore.pipeline import run
from mlipstore.runfile import RunFile, load


def gemm_rate(n: int = 2048) -> float:
    """Flops per second of a matrix product on this machine, one thread."""
    a = np.random.default_rng(0).standard_normal((n, n))
    best = float("inf")
    with threadpool_limits(1):
        for _ in range(3):
            began = time.perf_counter()
            a @ a
            best = min(best, time.perf_counter() - began)
    return 2.0 * n**3 / best


def quadratic(source: Path, folder: Path) -> RunFile:
    """The run file of a FitSNAP input, made quadratic, with rows that are never stored."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "run.toml"
    file.write_text(convert(source, file), encoding="utf-8")
    settings = load(file)
    assert settings.descriptor is not None
    descriptor = replace(
        settings.descriptor,
        storage="none",
        settings={**settings.descriptor.settings, "quadraticflag": True},
    )
    return replace(settings, descriptor=descriptor, export=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="FitSNAP input of a linear SNAP fit")
    parser.add_argument("--folder", type=Path, default=Path("larger-than-memory"), help="where the store goes")
    arguments = parser.parse_args()
    rate = gemm_rate()
    began = time.perf_counter()

    def tell(stage: str, result: object) -> None:
        print(f"[{time.perf_counter() - began:7.1f} s] {stage} {'begins' if result is None else 'done'}", flush=True)

    result = run(quadratic(arguments.input, arguments.folder), observer=tell)
    fit = result.fit
    assert fit is not None
    columns = len(fit.columns) + len(fit.constants)
    floor = 2.0 * fit.rows * columns**2 / rate
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{fit.rows:,} rows x {columns:,} columns = {8e-9 * fit.rows * columns:.1f} GB, never stored")
    print(f"rank {fit.rank}, condition {fit.condition:.1e}, weighted residual norm {fit.residual_norm:.10g}")
    print(f"fit and error table {fit.seconds:.0f} s; 2 N M^2 flops at {rate / 1e9:.0f} GF/s (1 thread): {floor:.0f} s; "
          f"ratio {fit.seconds / floor:.2f}")  # fmt: skip
    print(f"peak memory {peak:.0f} MB")
    for e in fit.errors:
        if e.group == "*" and not e.weighted:
            print(f"{e.kind:7s} {e.split}: MAE {e.mae:.6g}  RMSE {e.rmse:.6g}  (eV/atom, eV/Å, eV/Å^3)")


if __name__ == "__main__":
    main()
