"""Audit, correct, fit again: what corrected labels are worth, on configurations that no fit has seen.

Without arguments it makes a data set of copper and gold with four faults that published sets have, and shows that the
audit finds and repairs them. With arguments it does the same for a store of yours that has features:

    python examples/05_curation.py STORE FIT.toml FOLDER

The model, its settings and the split are the same before and after. Both models are judged by the corrected labels of
the same held-out configurations; the numbers are printed whatever they are.
"""

# %% Data: EMT labels; stresses in kbar, energies that are not converged, lost forces, copies
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import GPa

import mlipstore
from mlipstore.audit.propose import propose
from mlipstore.curation.recipe import text
from mlipstore.runs.runfile import Fit, load
from mlipstore.split import places

FIT = {"name": "fit", "default": {"train": 0.7, "test": 0.3, "energy": 100.0, "force": 1.0, "stress": 0.1}}


def faulty_data(folder: Path) -> Path:
    """A store with features of a data set with four faults."""
    random = np.random.default_rng(2)
    frames = []
    walk = bulk("Cu", "fcc", a=3.7, cubic=True) * (1, 1, 2)
    walk.symbols[[1, 4, 6]] = "Au"
    for group, number in (("volume", 15), ("strain", 40), ("walk", 40), ("hot", 40)):
        for i in range(number):
            atoms = bulk("Cu", "fcc", a=3.55 + 0.02 * i if group == "volume" else 3.7, cubic=True) * (1, 1, 2)
            atoms.symbols[[1, 4, 6]] = "Au"
            if group in ("strain", "hot"):
                tensor = random.uniform(-0.02, 0.02, (3, 3))
                atoms.set_cell(atoms.cell[:] @ (np.eye(3) + tensor + tensor.T), scale_atoms=True)
            if group == "hot":
                atoms.positions += random.normal(0.0, 0.1, atoms.positions.shape)
            if group == "walk":
                walk.positions += random.normal(0.0, 0.025, walk.positions.shape)
                atoms = walk.copy()
            atoms.calc = EMT()
            energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
            if group == "strain":
                stress = stress / (0.1 * GPa)  # kbar, and the file says nothing
            if group == "walk" and i % 8 == 3:
                energy += 3.0  # not converged
            if group == "hot" and i % 5 == 0:
                forces = np.zeros_like(forces)  # lost
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
            atoms.info["config_type"] = group
            frames.append(atoms)
    write(folder / "published.xyz", [*frames, *frames[-5:]])
    store = mlipstore.create_store(folder / "published.mlip")
    store.ingest(folder / "published.xyz")
    store.featurize({"type": "snap", "elements": ["Cu", "Au"], "rcutfac": 4.6, "twojmax": 4})
    return folder / "published.mlip"


def held_out_errors(model, corrected, fit) -> dict:
    """RMSE per group and kind, of a model for the held-out configurations of the corrected store."""
    test = fit.default.test
    sums: dict = defaultdict(lambda: np.zeros(6))
    for batch in corrected.configurations.batches():
        batch = batch.take(np.flatnonzero(places(batch.geometry, fit.seed) >= 1.0 - test))
        for start in range(0, len(batch), 200):
            part = batch.take(np.arange(start, min(start + 200, len(batch))))
            predicted = model.predict(part)
            owner = np.repeat(np.arange(len(part)), part.n_atoms)
            squares = np.stack([
                ((predicted.energy - part.energy) / part.n_atoms) ** 2,
                np.bincount(owner, ((predicted.force - part.force) ** 2).sum(axis=1), len(part)),
                ((predicted.stress - part.stress) ** 2).sum(axis=1) / GPa**2,
            ])  # fmt: skip
            counts = np.stack([np.ones(len(part)), 3 * part.n_atoms, np.full(len(part), 6)]) * np.isfinite(squares)
            for group in (*np.unique(part.group), "all"):
                mine = (part.group == group) | (group == "all")
                sums[group] += [*np.nansum(squares[:, mine], axis=1), *counts[:, mine].sum(axis=1)]
    return {g: np.sqrt(s[:3] / np.where(s[3:] > 0, s[3:], np.nan)) for g, s in sums.items()}


def main(published: Path, settings, folder: Path) -> None:
    """Fit, audit, correct, fit again, compare."""
    store = mlipstore.open_store(published)
    first = store.model(store.fit(settings).id)
    audit = store.audit(keep=True)
    print(f"{audit.count('error')} errors and {audit.count('warning')} warnings in {len(audit.data.summary)}")
    recipe, notes = propose(audit.findings, "corrections")
    (folder / "corrections.toml").write_text(text(recipe, notes), encoding="utf-8")

    # the same store again, corrected: the rows that were computed are kept
    shutil.copytree(published, folder / "corrected.mlip")
    corrected = mlipstore.open_store(folder / "corrected.mlip")
    for step, done in zip(recipe.steps, corrected.apply(folder / "corrections.toml").steps, strict=True):
        print(f"  {step.verb:8} {done.changed:6} configurations  {step.reason[:90]}")
    second = corrected.model(corrected.fit(settings).id)
    again = corrected.audit()
    print(f"{again.count('error')} errors and {again.count('warning')} warnings are left")

    fit = Fit.from_dict(settings) if isinstance(settings, dict) else load(settings).fit
    before, after = (held_out_errors(m, corrected, fit) for m in (first, second))
    print("held-out RMSE by corrected labels, published -> corrected")
    print(f"{'group':24}{'energy meV/atom':>22}{'force meV/Å':>22}{'stress GPa':>22}")
    for group in [*sorted(g for g in after if g != "all"), "all"]:
        both = zip(before[group], after[group], (1e3, 1e3, 1), strict=True)
        cells = [f"{a * f:9.2f} -> {b * f:9.2f}" for a, b, f in both]
        print(f"{group:24}" + "".join(f"{c if 'nan' not in c else '-':>22}" for c in cells))
    plot(before, after, folder / "curation.png")


def plot(before, after, path: Path) -> None:
    """Errors of each group before and after, one panel per kind."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    groups = sorted((g for g in after if g != "all"), reverse=True)
    figure, panels = plt.subplots(1, 3, figsize=(11, 1.6 + 0.22 * len(groups)), sharey=True, constrained_layout=True)
    for k, (axes, name) in enumerate(zip(panels, ("energy (eV/atom)", "force (eV/Å)", "stress (GPa)"), strict=True)):
        for y, group in enumerate(groups):
            axes.plot([before[group][k], after[group][k]], [y, y], "-", color="#bbbbbb", zorder=0)
        axes.plot([before[g][k] for g in groups], range(len(groups)), "o", color="#c44e52", label="published")
        axes.plot([after[g][k] for g in groups], range(len(groups)), "o", color="#4c72b0", label="corrected")
        axes.set_xscale("log")
        axes.set_xlabel(f"held-out RMSE, {name}")
        axes.set_yticks(range(len(groups)), groups)
    panels[0].legend()
    figure.savefig(path, dpi=150)


# %% Run it
if len(sys.argv) == 4:
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
else:
    place = Path(tempfile.mkdtemp(prefix="mlipstore-example-"))
    main(faulty_data(place), FIT, place)
