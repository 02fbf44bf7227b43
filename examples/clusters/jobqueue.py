"""A Dask cluster whose workers are jobs of SLURM (dask-jobqueue): it grows and shrinks with what is to do.

    python jobqueue.py run.toml

Run it where jobs can be submitted from (a login node, or a small job); edit the settings of ``SLURMCluster``.
"""

import sys

from dask_jobqueue import SLURMCluster

from mlipstore.executors.dask import Dask
from mlipstore.pipeline import run
from mlipstore.runs.runfile import load


def main() -> None:
    """Up to 20 jobs of 32 workers with one thread each."""
    cluster = SLURMCluster(
        cores=32, processes=32, memory="64GB", walltime="02:00:00", queue="standard",
        job_script_prologue=["export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1"],
    )  # fmt: skip
    cluster.adapt(minimum_jobs=1, maximum_jobs=20)
    cluster.wait_for_workers(32)
    executor = Dask(scheduler=cluster.scheduler_address)
    result = run(load(sys.argv[1]), executor)
    assert result.fit is not None
    print(f"model {result.fit.name}: weighted residual norm {result.fit.residual_norm:.10g}")
    executor.close()
    cluster.close()


if __name__ == "__main__":
    main()
