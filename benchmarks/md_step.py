"""Molecular dynamics of tungsten: a step of the ASE calculator beside a step of LAMMPS ``pair_style snap``.

    python benchmarks/md_step.py [--cells 8] [--steps 20] [--twojmax 6 8] [--repeat 3]

The same SNAP coefficients, the same 1,024 displaced atoms (``2 cells^3``) with the velocities of 300 K, 1 fs, velocity
Verlet on both sides: in ASE with our calculator, in LAMMPS with ``fix nve``. Everything a step needs is counted, ASE
and neighbour lists included; one core, process CPU time, the least of the repeats, in turn. The total energy at the end
against the beginning is printed for both. The coefficients are fitted to a Morse potential of tungsten (Girifalco and
Weizer 1959, doi:10.1103/PhysRev.114.687), so that the crystal is stable.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from snap_kernel import pair_style  # noqa: E402

from mlipstore.calculator import ModelCalculator  # noqa: E402
from mlipstore.configuration import Batch, Configuration  # noqa: E402
from mlipstore.descriptors.snap import Snap  # noqa: E402
from mlipstore.kernels.snap import snap_rows  # noqa: E402
from mlipstore.lammps.engine import Session, Setup, for_each  # noqa: E402
from mlipstore.model import Model  # noqa: E402


def crystal(cells: int) -> Atoms:
    atoms = bulk("W", "bcc", a=3.1803, cubic=True) * (cells, cells, cells)
    atoms.rattle(0.05, seed=0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    Stationary(atoms)
    return atoms


def fitted(snap: Snap) -> np.ndarray:
    """Coefficients ``(M,)`` for energies and forces of displaced and strained cells in a Morse potential."""
    rng = np.random.default_rng(0)
    cells = []
    for _ in range(24):
        atoms = bulk("W", "bcc", a=3.1803 * rng.uniform(0.94, 1.06), cubic=True) * (2, 2, 2)
        atoms.rattle(0.12, rng=rng)
        atoms.calc = MorsePotential(epsilon=0.9906, r0=3.032, rho0=1.4116 * 3.032, rcut1=1.3, rcut2=1.5)
        atoms.get_forces()
        cells.append(atoms)
    rows = snap_rows(snap, Batch.from_configurations([Configuration.from_ase(a) for a in cells]))
    energy = np.array([a.get_potential_energy() for a in cells])
    A = np.vstack([rows.energy, rows.force])
    b = np.concatenate([energy, np.concatenate([a.get_forces() for a in cells]).ravel()])
    return np.asarray(np.linalg.lstsq(A, b, rcond=1e-8)[0])


def ours(atoms: Atoms, snap: Snap, coefficients: np.ndarray, steps: int) -> tuple[float, float]:
    """CPU seconds of a step, and the change of the total energy in eV per atom."""
    moving = atoms.copy()
    moving.calc = ModelCalculator(Model("0", "W", snap, None, snap.columns(), coefficients, {}))
    dynamics = VelocityVerlet(moving, 1.0 * units.fs)
    before = moving.get_total_energy()
    began = time.process_time()
    dynamics.run(steps)
    spent = (time.process_time() - began) / steps
    return spent, (moving.get_total_energy() - before) / len(atoms)


def lammps(atoms: Atoms, snap: Snap, coefficients: np.ndarray, steps: int) -> tuple[float, float]:
    """The same in LAMMPS."""
    out: list[tuple[float, float]] = []

    def measure(session: Session, frame: Any, i: int) -> None:
        for line in ("mass 1 183.84", "timestep 0.001", "fix move all nve"):
            session.command(line)
        # Å/ps; ASE counts time in sqrt(u Å^2/eV)
        session._per_atom("v", len(atoms), 3)[:] = atoms.get_velocities() * 1000.0 * units.fs
        session.command("thermo_modify lost error")
        session.command("variable total equal etotal")
        session.command("run 0 post no")
        energy = session._lmp.get_thermo
        before = float(energy("etotal"))
        began = time.process_time()
        session.command(f"run {steps} pre no post no")
        spent = (time.process_time() - began) / steps
        session.command("run 0 post no")
        out.append((spent, (float(energy("etotal")) - before) / len(atoms)))
        session.command("unfix move")
        session.command("variable total delete")

    batch = Batch.from_configurations([Configuration.from_ase(atoms)])
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(("W",), pair_style(snap, coefficients, Path(folder)), skin=0.5)
        for_each(batch, setup, measure)
    return out[0]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--twojmax", type=int, nargs="+", default=[6, 8])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)
    atoms = crystal(options.cells)
    print(f"{len(atoms):,} atoms, {options.steps} steps of 1 fs; CPU ms per step (change of energy, meV/atom)")
    for twojmax in options.twojmax:
        snap = Snap(("W",), 4.73442, (twojmax,))
        coefficients = fitted(snap)
        runs = [(lammps(atoms, snap, coefficients, options.steps), ours(atoms, snap, coefficients, options.steps))
                for _ in range(options.repeat)]  # fmt: skip
        theirs, mine = (min(r[k] for r in runs) for k in (0, 1))
        print(f"2J={twojmax}: LAMMPS {1e3 * theirs[0]:8.1f} ({1e3 * theirs[1]:+.4f})   "
              f"ASE calculator {1e3 * mine[0]:8.1f} ({1e3 * mine[1]:+.4f})   {theirs[0] / mine[0]:.1f} x",
              flush=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
