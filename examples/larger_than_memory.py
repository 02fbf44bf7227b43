"""A fit whose matrix fits neither in memory nor on the disk: quadratic SNAP on the W-Be set, rows made on the fly.

    python examples/larger_than_memory.py .../FitSNAP/examples/WBe_PRB2019/WBe-example.in --folder wbe

25,422 configurations, 1,772,880 rows x 3,190 columns = 45 GB in double precision; FitSNAP's memory for it is estimated
at 137 GB. Here rows are computed block by block, flow into the triangular factor (81 MB) and are forgotten; a second
pass makes them again for the error table. Any other FitSNAP input of linear SNAP works the same way.

    --float32       keep the rows in the store instead, force rows in single precision (22 GB for all of W-Be)
    --part 100      every 100th configuration file of each group only
    --householder   on a part that fits memory: compare with LAPACK's Householder QR of the whole matrix in memory
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from mlipstore.fit import FitResult, prepare
from mlipstore.fitsnap.convert import convert
from mlipstore.pipeline import run
from mlipstore.runs.runfile import RunFile, load
from mlipstore.split import TRAIN
from mlipstore.store import Repository


def gemm_rate(n: int = 2048) -> float:
    """Flops per second of CPU time of a matrix product on this machine, one thread."""
    a = np.random.default_rng(0).standard_normal((n, n))
    best = float("inf")
    with threadpool_limits(1):
        for _ in range(3):
            began = time.process_time()
            a @ a
            best = min(best, time.process_time() - began)
    return 2.0 * n**3 / best


def part_of(source: Path, folder: Path, every: int) -> Path:
    """The input with every ``every``-th JSON file of each folder (at least one), in a folder of its own."""

    def left_out(where: str, names: list[str]) -> set[str]:
        files = sorted(n for n in names if n.endswith(".json"))
        return {n for n in names if n.endswith(".mlip")} | set(files) - set(files[::every])

    here = folder / f"part-{every}"
    shutil.copytree(source.parent, here, ignore=left_out, dirs_exist_ok=True)
    return here / source.name


def quadratic(source: Path, folder: Path, float32: bool) -> RunFile:
    """The run file of a FitSNAP input, made quadratic, with rows that are never stored (or in single precision)."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "run.toml"
    file.write_text(convert(source, file), encoding="utf-8")
    settings = load(file)
    assert settings.descriptor is not None
    descriptor = replace(
        settings.descriptor,
        storage="rows" if float32 else "none",
        float32=float32,
        settings={**settings.descriptor.settings, "quadraticflag": True},
    )
    return replace(settings, descriptor=descriptor, export=None)


def householder(settings: RunFile, fit: FitResult) -> None:
    """Print how far the fit is from LAPACK's Householder QR of all its weighted rows ``[A | b]`` at once."""
    assert settings.store is not None and settings.fit is not None
    problem = prepare(Repository.open(settings.store), settings.fit)
    table, parts = problem.table, []
    for labels, block in problem.matrix.blocks(table.split):
        split = table.split(labels)
        w = table.row_weights(block, table.codes(labels), split, labels.n_atoms)
        w = np.where(split[block.configuration] == TRAIN, w, 0.0)[:, None]
        parts.append(np.hstack([w * block.A, w * block.b[:, None]])[w[:, 0] > 0])
    with threadpool_limits(1):
        R = np.linalg.qr(np.vstack(parts), mode="r")
    m = R.shape[1] - 1
    U, s, V = np.linalg.svd(R[:m, :m])
    kept = s > 1e-13 * s[0]
    x = V[kept].T @ ((U.T @ R[:m, m])[kept] / s[kept])
    ours = np.concatenate([fit.coefficients, list(fit.constants.values())])
    norm = float(np.hypot(np.linalg.norm(R[:m, :m] @ x - R[:m, m]), abs(R[m, m])))
    apart = np.linalg.norm(R[:m, :m] @ (ours - x)) / np.linalg.norm(R[:m, m])
    print(f"Householder QR in memory: rank {kept.sum()}, condition {s[0] / s[kept][-1]:.1e}, residual norm {norm:.10g}")
    print(f"relative difference of predictions {apart:.1e}, of the residual norm "
          f"{abs(fit.residual_norm - norm) / norm:.1e}, of coefficients "
          f"{np.linalg.norm(ours - x) / np.linalg.norm(x):.1e}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="FitSNAP input of a linear SNAP fit")
    parser.add_argument("--folder", type=Path, default=Path("larger-than-memory"), help="where the store goes")
    parser.add_argument("--float32", action="store_true", help="keep the rows on disk, force rows in single precision")
    parser.add_argument("--part", type=int, default=1, metavar="N", help="every N-th configuration file only")
    parser.add_argument("--householder", action="store_true", help="compare with a factorisation in memory")
    arguments = parser.parse_args()
    rate = gemm_rate()
    began = time.perf_counter()

    spent: dict[str, float] = {}

    def tell(stage: str, result: object) -> None:
        what = "begins" if result is None else "done"
        cpu = time.process_time()
        spent[stage] = cpu - spent.get(stage, 0.0)  # at the end, what the stage took
        print(f"[{time.perf_counter() - began:7.1f} s, CPU {cpu:7.1f} s] {stage} {what}", flush=True)

    source = arguments.input
    if arguments.part > 1:
        source = part_of(source, arguments.folder, arguments.part)
    settings = quadratic(source, arguments.folder, arguments.float32)
    result = run(settings, observer=tell)
    fit = result.fit
    assert fit is not None
    columns = len(fit.columns) + len(fit.constants)
    floor = 2.0 * fit.rows * columns**2 / rate
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{fit.rows:,} rows x {columns:,} columns = {8e-9 * fit.rows * columns:.1f} GB, "
          + ("force rows stored in single precision" if arguments.float32 else "never stored"))  # fmt: skip
    print(f"rank {fit.rank}, condition {fit.condition:.1e}, weighted residual norm {fit.residual_norm:.10g}")
    print(f"fit and error table {fit.seconds:.0f} s, CPU {spent['fit']:.0f} s; 2 N M^2 flops at {rate / 1e9:.0f} GF/s "
          f"(1 thread): {floor:.0f} s; ratio of CPU times {spent['fit'] / floor:.2f}")  # fmt: skip
    print(f"peak memory {peak:.0f} MB")
    for e in fit.errors:
        if e.group == "*" and not e.weighted:
            print(f"{e.kind:7s} {e.split}: MAE {e.mae:.6g}  RMSE {e.rmse:.6g}  (eV/atom, eV/Å, eV/Å^3)")
    if arguments.householder:
        householder(settings, fit)


if __name__ == "__main__":
    main()
