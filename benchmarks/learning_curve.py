"""Learning curves: fits to subsets that ``select`` picks against random subsets of the same size.

    python benchmarks/learning_curve.py .../ta_fitsnap/JSON --group-by directory --twojmax 6 --cutoff 4.67637 \
        --plot docs/figures/learning-curve.svg
    python benchmarks/learning_curve.py .../mlearn/Si/training.json --cutoff 4.9 --start 3 --sizes 3 6 12 24 48 \
        --per configuration --plot docs/figures/learning-curve-si.svg

For each seed the configurations are dealt into a quarter for testing, a few to start with, and a pool without labels.
The model of the start picks from the pool (``mlipstore select``, labels unseen). Fits to the start and the first k
picks are tested on the quarter, as are fits to the start and k random ones of the pool (the median of ten draws).
Weights are 100 per eV/atom and 1 per eV/Å (``--weights``) for all groups, without stresses; ``weighted`` is the root
mean square of the weighted residuals of all test rows, which is what a fit minimises: energies and forces alone can
trade one for the other, as the fit to the whole pool (``all``) shows. ``by group`` is the mean of the errors of the
groups of the data.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import write

from mlipstore.api import Store, create_store
from mlipstore.fit import prepare
from mlipstore.kept.select import select
from mlipstore.runs.runfile import Fit, GroupSettings
from mlipstore.solve.linear import svd_solve

EVERYTHING = GroupSettings(energy=1.0, force=1.0, stress=0.0)
METHODS = (
    ("i-optimal", "configuration"),
    ("i-optimal", "atom"),
    ("d-optimal", "configuration"),
    ("d-optimal", "atom"),
    ("max-variance", "configuration"),
    ("max-variance", "atom"),
)
ERRORS = ("energy", "force", "energy by group", "force by group", "weighted")
UNITS = ("meV/atom", "meV/Å", "meV/atom", "meV/Å", "")


@dataclass
class Rows:
    """Rows of one configuration: energy per atom, forces."""

    kind: str
    A: list[np.ndarray]
    b: list[np.ndarray]


def store_of(folder: Path, frames: Sequence[Any], roles: Sequence[str], descriptor: dict[str, Any]) -> Store:
    """A featurized store whose groups are the roles; ``info["kind"]`` tells the group of the data."""
    for atoms, role in zip(frames, roles, strict=True):
        atoms.info["config_type"] = role
    write(folder / "roles.xyz", list(frames))
    store = create_store(folder / "roles.mlip")
    store.ingest(folder / "roles.xyz", group_by="key:config_type")
    store.featurize(descriptor)
    return store


def rows_of(store: Store) -> dict[str, list[Rows]]:
    """Rows of all configurations by role, in the order of the store."""
    problem = prepare(store.repository, Fit(default=EVERYTHING))
    found: dict[tuple[str, int], Rows] = {}
    role: dict[tuple[str, int], str] = {}
    for batch, segment in zip(
        store.configurations.batches(), (s.name for s in problem.matrix.index.segments), strict=True
    ):
        for i, c in enumerate(batch):
            found[segment, i], role[segment, i] = Rows(str(c.info["kind"]), [], []), str(c.group)
    for _, block in problem.matrix.blocks(problem.table.split):
        if block.kind == 2:
            continue
        for i in np.unique(block.configuration):
            mine = block.configuration == i
            r = found[block.segment, int(i)]
            if block.kind == 1 and len(r.A) == 2:  # forces cut by a block border
                r.A[1], r.b[1] = np.vstack([r.A[1], block.A[mine]]), np.concatenate([r.b[1], block.b[mine]])
            else:
                r.A.append(block.A[mine])
                r.b.append(block.b[mine])
    out: dict[str, list[Rows]] = {"start": [], "pool": [], "test": []}
    for key in sorted(found):
        out[role[key]].append(found[key])
    return out


class Fits:
    """Fits to sets of configurations, from their factors."""

    def __init__(self, rows: list[Rows], weights: Sequence[float]) -> None:
        self.factors = []
        for r in rows:
            X = np.vstack([np.column_stack([w * A, w * b]) for w, A, b in zip(weights, r.A, r.b, strict=False)])
            self.factors.append(np.linalg.qr(X, mode="r") if len(X) > X.shape[1] else X)

    def fit(self, chosen: Sequence[int]) -> np.ndarray:
        R = np.linalg.qr(np.vstack([self.factors[i] for i in chosen]), mode="r")
        M = R.shape[1] - 1
        scale = np.linalg.norm(R[:, :M], axis=0)
        scale[scale == 0.0] = 1.0
        return svd_solve(R[:M, :M] / scale, R[:M, M], 1e-10)[0] / scale


def errors(x: np.ndarray, test: list[Rows], weights: Sequence[float]) -> list[float]:
    """``ERRORS`` in ``UNITS``."""
    out = []
    residuals = [[b - A @ x for A, b in zip(r.A, r.b, strict=True)] for r in test]

    def rmse(k: int, kind: str | None) -> float:
        parts = [res[k] for r, res in zip(test, residuals, strict=True) if kind in (None, r.kind)]
        return 1e3 * float(np.sqrt(np.mean(np.concatenate(parts) ** 2)))

    for k in (0, 1):
        out.append(rmse(k, None))
    for k in (0, 1):
        out.append(float(np.mean([rmse(k, kind) for kind in {r.kind for r in test}])))
    every = np.concatenate([w * res[k] for res in residuals for k, w in enumerate(weights)])
    return [*out, float(np.sqrt(np.mean(every**2)))]


def one_seed(seed: int, frames: list[Any], options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Errors of each way to choose, for each number of configurations."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(frames))
    n_test = len(frames) // 4
    roles = np.full(len(frames), "pool", object)
    roles[order[:n_test]] = "test"
    roles[order[n_test : n_test + options.start]] = "start"
    elements = sorted({s for a in frames for s in a.get_chemical_symbols()})
    descriptor = {"type": "snap", "elements": elements, "twojmax": options.twojmax, "rcutfac": options.cutoff}
    if options.quadratic:
        descriptor["quadraticflag"] = True
    with tempfile.TemporaryDirectory() as folder:
        store = store_of(Path(folder), frames, list(roles), descriptor)
        energy, force = options.weights
        given = GroupSettings(energy=energy, force=force, stress=0.0)
        store.fit(Fit(name="start", groups={"start": given}, unlisted_groups="exclude"))
        rows = rows_of(store)
        n, most = len(rows["start"]), max(options.sizes)
        fits = Fits(rows["start"] + rows["pool"], options.weights)
        start = list(range(n))
        out: dict[str, list[list[float]]] = {}
        for method, per in (m for m in METHODS if m[1] in options.per):
            picks = select(store.repository, "start", number=most, method=method, per=per, groups=["pool"]).picks
            chosen = [n + p.candidate for p in picks]
            out[f"{method} per {per}"] = [
                errors(fits.fit(start + chosen[:k]), rows["test"], options.weights) for k in options.sizes
            ]
        pool = np.arange(n, n + len(rows["pool"]))
        out["random"] = []
        for k in options.sizes:
            draws = [
                errors(fits.fit([*start, *random.permutation(pool)[:k]]), rows["test"], options.weights)
                for _ in range(10)
            ]
            out["random"].append(np.median(draws, axis=0).tolist())
        out["all"] = [errors(fits.fit([*start, *pool]), rows["test"], options.weights)] * len(options.sizes)
    return out


def picture(path: Path, results: list[dict[str, list[list[float]]]], options: argparse.Namespace) -> None:
    """Medians over the seeds, with the range of the middle half."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "mlipstore"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4), constrained_layout=True)
    styles = {"random": ("black", "o-"), "i-optimal per configuration": ("tab:green", "v-"),
              "d-optimal per configuration": ("tab:blue", "s-"),
              "max-variance per configuration": ("tab:orange", "^-"), "all": ("grey", ":")}  # fmt: skip
    for ax, k in zip(axes, (0, 1, 4), strict=True):
        for name, (colour, line) in ((n, s) for n, s in styles.items() if n in results[0]):
            values = np.array([[row[k] for row in r[name]] for r in results])
            low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
            ax.plot(options.sizes, middle, line, color=colour, label="all of the pool" if name == "all" else name)
            if name != "all":
                ax.fill_between(options.sizes, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(options.sizes, [str(s) for s in options.sizes])
        ax.minorticks_off()
        ax.set_xlabel(f"configurations added to {options.start}")
        ax.set_ylabel(f"{ERRORS[k]} RMSE of test rows" + (f" ({UNITS[k]})" if UNITS[k] else ""))
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="labelled configurations")
    parser.add_argument("--group-by", default="auto")
    parser.add_argument("--twojmax", type=int, default=6)
    parser.add_argument("--cutoff", type=float, required=True, help="rcutfac in Å")
    parser.add_argument("--quadratic", action="store_true")
    parser.add_argument("--start", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 10, 20, 40, 80])
    parser.add_argument("--per", nargs="+", default=["configuration", "atom"], choices=["configuration", "atom"])
    parser.add_argument("--weights", type=float, nargs=2, default=[100.0, 1.0], metavar=("E", "F"),
                        help="of energies per atom and of force components")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        store = create_store(Path(folder) / "all.mlip")
        store.ingest(options.source, group_by=options.group_by)
        frames = []
        for c in store.configurations:
            c.stress = None
            c.info = {"kind": c.group}
            frames.append(c.to_ase())
    results = [one_seed(seed, frames, options) for seed in range(options.seeds)]
    print(f"{options.source.name}: {len(frames)} configurations, {options.seeds} seeds; error over that of random ones")
    print("(geometric mean over the seeds; in brackets how often it is smaller)")
    print(f"{'':30s}{'added':>6s}" + "".join(f"{e:>24s}" for e in ERRORS))
    for name in results[0]:
        for k, size in enumerate(options.sizes):
            mine, theirs = (np.array([r[which][k] for r in results]) for which in (name, "random"))
            if name == "random":
                cells = [
                    f"{v:16.1f} meV{'/atom' if 'energy' in e else '/Å  '}"
                    for v, e in zip(np.median(mine, 0), ERRORS, strict=True)
                ]
            else:
                ratio = np.exp(np.mean(np.log(mine / theirs), axis=0))
                wins = (mine < theirs).sum(axis=0)
                cells = [f"{r:17.2f} ({w:2d}/{len(results):2d})" for r, w in zip(ratio, wins, strict=True)]
            print(f"{name:30s}{size:6d}" + "".join(cells))
    if options.plot is not None:
        picture(options.plot, results, options)


if __name__ == "__main__":
    main()
