"""A written potential as its user meets it: ``include X.mod`` in a LAMMPS of its own process.

``python -m mlipstore.lammps.include JOB.npz RESULT.npz`` is what the checks of exporters start, in the folder of the
potential. The job holds the columns of a batch, the elements of the LAMMPS types and the name of the file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..computing import Reference
from ..configuration import Batch, Configuration
from ..errors import ComputeError, MissingDependencyError, MlipstoreError
from .engine import Setup, evaluate, version

_MISSING = 3


def evaluate_apart(
    mod: Path, elements: tuple[str, ...], atom_style: str, batch: Batch, after: tuple[str, ...] = ()
) -> tuple[Reference, str]:
    """Energy, force and stress of a batch with the potential file ``mod``, and the program with its version.

    :param elements: of the LAMMPS types 1, 2, ...
    :param after: commands of the user after the ``include``

    :raises ComputeError: LAMMPS fails, with its text
    :raises MissingDependencyError: there is no LAMMPS here
    """
    with tempfile.TemporaryDirectory() as folder:
        job, result = Path(folder, "job.npz"), Path(folder, "result.npz")
        columns: dict[str, Any] = {
            "mod": mod.name,
            "elements": np.array(elements),
            "atom_style": atom_style,
            "after": np.array(after, dtype=str),
            "source": np.array([batch.place(i) for i in range(len(batch))], dtype=str),
        }
        for name in ("n_atoms", "number", "position", "cell", "pbc", "spin", "charge"):
            if getattr(batch, name) is not None:
                columns[name] = getattr(batch, name)
        np.savez(job, **columns)
        # Under mpiexec the child is not one of the ranks.
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "OMPI_", "HYD", "MPI_LOCAL"))}
        package = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH", "")]))
        done = subprocess.run(
            [sys.executable, "-m", "mlipstore.lammps.include", str(job), str(result)],
            cwd=mod.resolve().parent,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1]
        if done.returncode == _MISSING:
            raise MissingDependencyError(said)
        if done.returncode:
            raise ComputeError(f"{mod}: {said}")
        with np.load(result) as z:
            return Reference(z["energy"], z["force"], z["stress"]), str(z["program"])


def _run(job: Path, result: Path) -> None:
    with np.load(job) as z:
        starts = np.cumsum(z["n_atoms"]) - z["n_atoms"]
        atoms = [slice(int(a), int(a + n)) for a, n in zip(starts, z["n_atoms"], strict=True)]
        batch = Batch.from_configurations(
            [
                Configuration(
                    numbers=z["number"][s],
                    positions=z["position"][s],
                    cell=z["cell"][i],
                    pbc=z["pbc"][i],
                    source=str(z["source"][i]),
                    spin=z["spin"][s] if "spin" in z else None,
                    charge=z["charge"][s] if "charge" in z else None,
                )
                for i, s in enumerate(atoms)
            ]
        )
        setup = Setup(
            elements=tuple(str(e) for e in z["elements"]),
            potential=(f"include {z['mod']}", *(str(line) for line in z["after"])),
            atom_style=str(z["atom_style"]),
            skin=2.0,
        )
    values = evaluate(batch, setup)
    np.savez(result, energy=values.energy, force=values.force, stress=values.stress, program=version())


if __name__ == "__main__":
    try:
        _run(Path(sys.argv[1]), Path(sys.argv[2]))
    except MissingDependencyError as error:
        print(error, file=sys.stderr)
        raise SystemExit(_MISSING) from None
    except MlipstoreError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
