"""Other weights, at once: a fit is held in memory as triangular factors, so that no row is read again.

    python examples/02_reweight.py                             # copper crystals made here
    python examples/02_reweight.py WBe-example.mlip wbe.toml   # your store and run file; weights from the keyboard

With a store it reads lines such as ``surface.force=20 *.energy=1000`` (``*``: all groups) and answers with the errors
of every group before and after. An empty line ends it. docs/factors.md explains what is behind it.
"""

# %% A store: yours, or one of shaken copper crystals, labelled with ASE's EMT potential
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import mlipstore

if len(sys.argv) > 2:
    store, settings = mlipstore.open_store(sys.argv[1]), sys.argv[2]
else:
    folder = Path(tempfile.mkdtemp(prefix="mlipstore-example-"))
    random = np.random.default_rng(1)
    frames = []
    for group, shake in (("crystal", 0.01), ("warm", 0.05), ("hot", 0.25)):
        for a in np.linspace(3.4, 3.9, 12):
            atoms = bulk("Cu", "fcc", a=a, cubic=True) * (1, 1, 2)
            atoms.positions += random.normal(0.0, shake, atoms.positions.shape)
            work = atoms.copy()
            work.calc = EMT()
            atoms.calc = SinglePointCalculator(atoms, energy=work.get_potential_energy(), forces=work.get_forces())
            atoms.info["config_type"] = group
            frames.append(atoms)
    write(folder / "copper.xyz", frames)
    store = mlipstore.create_store(folder / "copper.mlip")
    store.ingest(folder / "copper.xyz")
    store.featurize({"type": "snap", "elements": ["Cu"], "rcutfac": 4.2, "twojmax": 6})
    settings = {"default": {"train": 0.7, "test": 0.3, "energy": 100, "force": 1}}

# %% Hold the fit: factors that are not kept yet are computed, and kept for the next time
held = store.reweighted(settings)
given = held.fit()
split = "test" if any(s == "test" for _, s, _ in given.rmse) else "train"
print(f"{len(held.weights)} weights, of {', '.join(held.weights)[:60]} ...")


# %% Errors of every group, before and after
def show(after: mlipstore.kept.reweight.Reweight) -> None:
    """Root mean square errors in meV/atom and meV/Å."""
    print(f"{split + ' errors':24s}{'energy':>20s}{'force':>20s}")
    for name in sorted({g for g, s, _ in given.rmse if s == split}, key=lambda g: (g == "*", g)):
        line = f"{'all' if name == '*' else name:24s}"
        for kind in ("energy", "force"):
            pair = [1000 * r.rmse[name, split, kind] for r in (given, after) if (name, split, kind) in r.rmse]
            line += f"{pair[0]:9.3f} ->{pair[1]:9.3f}" if pair else " " * 20
        print(line)


# %% From the keyboard, or three changes for the copper crystals
if len(sys.argv) > 2:
    while changes := input("GROUP.kind=weight ... > ").split():
        try:
            show(held.fit({name: float(value) for name, _, value in (c.rpartition("=") for c in changes)}))
        except (mlipstore.errors.MlipstoreError, ValueError) as error:
            print(error)
else:
    for weights in ({"*.energy": 1000.0}, {"hot.force": 0.1}, {"hot.energy": 0.0, "hot.force": 0.0}):
        print(f"\n{weights}")
        show(held.fit(weights))
    # %% Nothing is lost on the way: the streamed fit with these weights has the same coefficients
    without = {**settings, "groups": {"hot": {"train": 0.7, "test": 0.3, "energy": 0.0, "force": 0.0}}}
    difference = store.fit(without).coefficients - held.fit(weights).coefficients[:-1]
    print(f"\nlargest difference from the fit that reads all rows: {np.abs(difference).max():.1e}")
