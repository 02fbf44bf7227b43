"""The command line under ``mpiexec``: rank 0 runs the command, the others work for it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

#: How launchers tell a process how many there are, and which one it is: MPICH and SLURM's PMI, Open MPI, MVAPICH, PALS.
_LAUNCHERS = (
    ("PMI_SIZE", "PMI_RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("PALS_SIZE", "PALS_RANKID"),
)


def works_for_another(arguments: Sequence[str]) -> bool:
    """Whether this process was a rank that worked for rank 0 and is done.

    :raises SettingsError: there are several ranks, and the command was not told to use them: each would run all of it
    """
    if _chosen(arguments):
        from mlipstore.errors import MissingDependencyError
        from mlipstore.executors.mpi import Mpi

        try:
            return Mpi().serve()
        except MissingDependencyError:  # the command will tell
            return launched()[0] > 0
    rank, size = launched()
    if size > 1 and rank == 0:
        from mlipstore.errors import SettingsError

        raise SettingsError(
            f"started as {size} MPI ranks, each of which would run the whole command. Add --executor mpi, or start it "
            "without mpiexec."
        )
    return size > 1


def _chosen(arguments: Sequence[str]) -> bool:
    """Whether the executor is mpi."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(a == "--executor=mpi" or (a, b) == ("--executor", "mpi") for a, b in pairs)


def launched(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Rank and number of ranks as a launcher tells them; (0, 1) without one."""
    for size, rank in _LAUNCHERS:
        if size in environment and rank in environment:
            try:
                return int(environment[rank]), int(environment[size])
            except ValueError:
                continue
    return 0, 1
