"""Labelled training data of copper, gold and their alloys, made with ASE's EMT potential.

EMT (effective medium theory, Jacobsen et al. 1996, doi:10.1016/0039-6028(96)00816-3) stands in for the electronic
structure code you would use: it gives an energy, forces and a stress for any arrangement of the atoms, in
milliseconds. Fourteen groups of configurations cover what a potential of an alloy has to know.

    python make_data.py copper-gold.xyz

writes one extended XYZ file; ``config_type`` of a configuration names its group. Same seed, same file. Names of
groups that follow the file are left out.
"""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator

import numpy as np
from ase import Atoms, units
from ase.build import add_adsorbate, bulk, fcc100, fcc110, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cluster import Octahedron
from ase.io import write
from ase.md.langevin import Langevin
from ase.optimize import BFGS

SEED = 2024
#: Lattice constants of the fcc-like phases in EMT, Å.
PHASES = {"Cu": 3.59, "Cu3Au": 3.72, "CuAu": 3.85, "CuAu3": 3.96, "Au": 4.06}
#: The four sites of the cubic cell: corner and face centres.
SITES = {
    "Cu": ["Cu"] * 4,
    "Cu3Au": ["Au", "Cu", "Cu", "Cu"],
    "CuAu": ["Cu", "Cu", "Au", "Au"],
    "CuAu3": ["Cu", "Au", "Au", "Au"],
    "Au": ["Au"] * 4,
}

Random = np.random.Generator


def cubic(phase: str, scale: float = 1.0) -> Atoms:
    """The cubic cell of four atoms of a phase, its edge times ``scale``."""
    atoms = bulk("Cu", "fcc", a=PHASES[phase] * scale, cubic=True)
    atoms.symbols = SITES[phase]
    return atoms


def block(phase: str, n: int = 2, scale: float = 1.0) -> Atoms:
    """``n x n x n`` cubic cells."""
    return cubic(phase, scale) * (n, n, n)


def shaken(atoms: Atoms, random: Random, size: float) -> Atoms:
    """A copy with every coordinate moved by a normal deviate of ``size`` Å."""
    out = atoms.copy()
    out.positions += random.normal(0.0, size, out.positions.shape)
    return out


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    """A copy with cell and positions deformed by the ``(3, 3)`` strain."""
    out = atoms.copy()
    out.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    return out


# ---------------------------------------------------------- groups, each a generator with random numbers of its own
def equation_of_state(random: Random) -> Iterator[Atoms]:
    for element, a in (("Cu", PHASES["Cu"]), ("Au", PHASES["Au"])):
        volume = a**3 / 4
        for structure, per_cell in (("fcc", 4), ("bcc", 2), ("hcp", 2), ("sc", 1)):
            for compression in np.linspace(0.93, 1.10, 9):
                if structure == "hcp":
                    edge = (volume * 2 / (np.sqrt(3) / 2 * np.sqrt(8 / 3))) ** (1 / 3)
                    yield bulk(element, "hcp", a=edge * compression, c=edge * compression * np.sqrt(8 / 3))
                else:
                    edge = (volume * per_cell) ** (1 / 3) * (1.1 ** (1 / 3) if structure == "sc" else 1.0)
                    yield bulk(element, structure, a=edge * compression)


def ordered_alloys(random: Random) -> Iterator[Atoms]:
    for phase in ("Cu3Au", "CuAu", "CuAu3"):
        for compression in np.linspace(0.93, 1.10, 10):
            yield cubic(phase, compression)


def strain(random: Random) -> Iterator[Atoms]:
    for phase in PHASES:
        for _ in range(8):
            yield shaken(strained(cubic(phase), np.diag(random.uniform(-0.06, 0.06, 3))), random, 0.02)


def shear(random: Random) -> Iterator[Atoms]:
    for phase in PHASES:
        for _ in range(8):
            e = np.zeros((3, 3))
            e[np.triu_indices(3, 1)] = random.uniform(-0.08, 0.08, 3)
            yield shaken(strained(cubic(phase), e + e.T), random, 0.02)


def rattled(random: Random) -> Iterator[Atoms]:
    for phase in PHASES:
        for size in np.linspace(0.03, 0.16, 8):
            yield shaken(block(phase, scale=random.uniform(0.97, 1.04)), random, size)


def random_alloys(random: Random) -> Iterator[Atoms]:
    for share in np.linspace(0.05, 0.95, 20):
        atoms = block("Cu")
        atoms.symbols = np.where(random.permutation(len(atoms)) < share * len(atoms), "Au", "Cu")
        edge = PHASES["Cu"] + share * (PHASES["Au"] - PHASES["Cu"])
        atoms.set_cell(np.eye(3) * 2 * edge * random.uniform(0.98, 1.03), scale_atoms=True)
        yield shaken(atoms, random, 0.10)


def antisites(random: Random) -> Iterator[Atoms]:
    for phase in ("Cu3Au", "CuAu", "CuAu3"):
        for _ in range(5):
            atoms = block(phase)
            gold = [random.choice([a.index for a in atoms if a.symbol == s]) for s in ("Cu", "Au")]
            atoms.numbers[gold] = atoms.numbers[gold[::-1]]
            yield shaken(atoms, random, 0.06)


def vacancies(random: Random) -> Iterator[Atoms]:
    for phase in PHASES:
        for missing in (1, 1, 1, 2):
            atoms = block(phase)
            del atoms[random.choice(len(atoms), missing, replace=False)]
            yield shaken(atoms, random, 0.08)


def interstitials(random: Random) -> Iterator[Atoms]:
    """An extra atom in a gap of the lattice, at three moments of its relaxation."""
    for phase in PHASES:
        atoms = block(phase, scale=1.02)
        atoms.append(str(random.choice(["Cu", "Au"])))
        atoms.positions[-1] = np.diag(atoms.cell) / 4  # the octahedral gap in the middle of a cubic cell
        atoms = shaken(atoms, random, 0.05)
        atoms.calc = EMT()
        relaxation = BFGS(atoms, maxstep=0.1, logfile=None)
        for steps in (2, 3, 6):
            relaxation.run(fmax=0.01, steps=steps)
            yield atoms.copy()


def _slabs(random: Random) -> Iterator[Atoms]:
    """Slabs periodic in three directions, as plane-wave codes have them, with 7 Å of vacuum on each side."""
    for phase in PHASES:
        a = PHASES[phase]
        for make, size in ((fcc100, (2, 2, 5)), (fcc110, (2, 2, 6)), (fcc111, (2, 2, 4))):
            atoms = make("Cu", size, a=a, vacuum=7.0, periodic=True)
            share = SITES[phase].count("Au") / 4
            atoms.symbols = np.where(random.permutation(len(atoms)) < share * len(atoms), "Au", "Cu")
            yield atoms


def surfaces(random: Random) -> Iterator[Atoms]:
    for slab in _slabs(random):
        yield shaken(slab, random, 0.03)
        yield shaken(slab, random, 0.12)


def adatoms(random: Random) -> Iterator[Atoms]:
    for slab in _slabs(random):
        place = random.uniform(0.0, 1.0, 2) @ slab.cell[:2, :2]
        add_adsorbate(slab, random.choice(["Cu", "Au"]), random.uniform(2.0, 2.8), tuple(place))
        yield shaken(slab, random, 0.05)


def clusters(random: Random) -> Iterator[Atoms]:
    """Particles without any periodic direction; they have no stress."""
    for size, edge in ((3, 1), (4, 1), (3, 0)):
        for share in (0.0, 0.3, 0.7, 1.0):
            a = PHASES["Cu"] + share * (PHASES["Au"] - PHASES["Cu"])
            atoms = Octahedron("Cu", size, cutoff=edge, latticeconstant=a)
            atoms.symbols = np.where(random.permutation(len(atoms)) < share * len(atoms), "Au", "Cu")
            atoms.pbc = False
            for shake in (0.05, 0.15):
                yield shaken(atoms, random, shake)


def _dynamics(random: Random, phase: str, temperature: float, scale: float, frames: int) -> Iterator[Atoms]:
    atoms = block(phase, scale=scale)
    # twice the temperature, because half of the kinetic energy becomes potential energy
    speed = np.sqrt(2 * units.kB * temperature / atoms.get_masses())[:, None]
    atoms.set_velocities(speed * random.standard_normal((len(atoms), 3)))
    atoms.calc = EMT()
    dynamics = Langevin(
        atoms, 4 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=random
    )
    dynamics.run(60)
    for _ in range(frames):
        dynamics.run(15)
        yield atoms.copy()


def hot_crystal(random: Random) -> Iterator[Atoms]:
    for phase in PHASES:
        for temperature, scale in ((400, 1.005), (900, 1.015)):
            yield from _dynamics(random, phase, temperature, scale, 5)


def liquid(random: Random) -> Iterator[Atoms]:
    for phase in PHASES:
        yield from _dynamics(random, phase, 3000, 1.05, 10)


GROUPS = {
    f.__name__: f
    for f in (
        equation_of_state, ordered_alloys, strain, shear, rattled, random_alloys, antisites, vacancies, interstitials,
        surfaces, adatoms, clusters, hot_crystal, liquid,
    )
}  # fmt: skip


def label(atoms: Atoms, group: str) -> Atoms:
    """A copy with energy (eV), forces (eV/Å) and, if periodic, stress (eV/Å^3, ASE's sign) of EMT attached."""
    out = atoms.copy()
    for leftover in ("tags", "momenta"):
        out.arrays.pop(leftover, None)
    out.info = {"config_type": group}
    out.constraints = []
    work = out.copy()
    work.calc = EMT()
    results = {"energy": work.get_potential_energy(), "forces": work.get_forces()}
    if out.pbc.all():
        results["stress"] = work.get_stress()
    out.calc = SinglePointCalculator(out, **results)
    return out


def configurations(leave_out: Collection[str] = (), seed: int = SEED) -> Iterator[Atoms]:
    """All configurations with labels. Groups have random numbers of their own, so they do not depend on each other."""
    for i, (name, make) in enumerate(GROUPS.items()):
        if name not in leave_out:
            for atoms in make(np.random.default_rng([seed, i])):
                yield label(atoms, name)


def main(path: str, *leave_out: str) -> None:
    frames = list(configurations(leave_out))
    write(path, frames, format="extxyz")
    groups = Counter(atoms.info["config_type"] for atoms in frames)
    print(f"{path}: {len(frames)} configurations, {sum(map(len, frames)):,} atoms, {len(groups)} groups")
    print(textwrap.fill(", ".join(f"{n} {name}" for name, n in groups.items()), 100, initial_indent="  ",
                        subsequent_indent="  "))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
