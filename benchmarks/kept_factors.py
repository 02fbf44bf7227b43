"""What kept factors save: fits with other weights, leaving groups out, a search, and more data.

    mlipstore from-fitsnap WBe-example.in --output wbe.toml && mlipstore run wbe.toml
    python benchmarks/kept_factors.py WBe-example.mlip wbe.toml --trials 10000 --plots docs/figures

CPU time of this process, one BLAS thread, no workers. ``first fit`` streams all rows twice (factor, error table), as
``mlipstore fit`` does. Other weights are drawn at random, for every group and kind of row. The search divides the
configurations of each group by content into 70 % for fitting and 30 % for testing, whatever the run file says, and
looks for weights that lower the energy and force errors of the latter. For ``more data`` another store gets 99 % of the
configurations, features, factors and a fit; then the rest, and features, factors and a fit again. Factors, a study and
models are added to the store that is given.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from mlipstore.configuration import Batch
from mlipstore.executors.serial import Serial
from mlipstore.featurize import featurize
from mlipstore.fit import FitResult, compute, prepare
from mlipstore.index import read_batch, segments, write_segment
from mlipstore.kept.compute import factor, load
from mlipstore.kept.crossvalidation import cross_validate
from mlipstore.kept.fit import FactorProblem, compute_from_factors, fit_from_factors
from mlipstore.kept.reweight import Reweighted
from mlipstore.pipeline import resolve
from mlipstore.provenance import commit_metadata, new_run
from mlipstore.runs.runfile import Fit, RunFile, Search
from mlipstore.runs.runfile import load as load_run
from mlipstore.searching.search import search, sensitivities, trials_of
from mlipstore.store import Repository

T = TypeVar("T")


def timed(what: str, action: Callable[[], T], unit: str = "s") -> tuple[T, float]:
    """Do something and print its CPU time."""
    began, wall = time.process_time(), time.perf_counter()
    result = action()
    seconds = time.process_time() - began
    scale = 1e3 if unit == "ms" else 1.0
    print(f"{what:52s} {scale * seconds:10.2f} {unit} CPU {scale * (time.perf_counter() - wall):10.2f} {unit} wall",
          flush=True)  # fmt: skip
    return result, seconds


def solution(result: FitResult) -> np.ndarray:
    return np.append(result.coefficients, list(result.constants.values()))


def other_weights(settings: Fit, groups: list[str], seed: int) -> Fit:
    """Every weight times a random factor between 1/3 and 3."""
    random = np.random.default_rng(seed)
    changed = {}
    for name in groups:
        given = settings.group(name)
        if given is not None:
            e, f, s = np.exp(random.uniform(-np.log(3), np.log(3), 3)).tolist()
            changed[name] = replace(given, energy=e * given.energy, force=f * given.force, stress=s * given.stress)
    return replace(settings, groups=changed)


def refits(repository: Repository, settings: Fit, repeats: int) -> None:
    """The first fit, and fits with other weights: as a verb, its computing alone, and held in memory."""
    (streamed, _), first = timed("first fit (rows stream twice)", lambda: compute(prepare(repository, settings)))
    timed("keeping factors (0 if they are there)", lambda: factor(repository, settings))
    groups = sorted(streamed.provenance.get("groups", {})) or sorted({e.group for e in streamed.errors} - {"*"})
    verbs, computing, worst = [], [], 0.0
    for seed in range(repeats):
        wanted = other_weights(settings, groups, seed)
        began = time.process_time()
        problem = prepare(repository, wanted)
        kept = FactorProblem(problem, load(problem))
        result, _ = compute_from_factors(kept)
        verbs.append(time.process_time() - began)
        began = time.process_time()
        compute_from_factors(kept)
        computing.append(time.process_time() - began)
    print(f"  fit with other weights, version and factors opened and read {np.median(verbs):8.4f} s CPU: "
          f"{first / np.median(verbs):7.0f} x faster")  # fmt: skip
    print(f"  the same, factors in memory, one per segment                {np.median(computing):8.4f} s CPU: "
          f"{first / np.median(computing):7.0f} x faster")  # fmt: skip
    held, _ = timed("store.reweighted(): one triangle per group and kind",
                    lambda: Reweighted(FactorProblem(given := prepare(repository, settings), load(given))))  # fmt: skip
    random, again = np.random.default_rng(0), []
    for _ in range(10 * repeats):
        factors = {name: float(np.exp(random.uniform(-np.log(3), np.log(3)))) for name in held.weights}
        began = time.process_time()
        held.fit(factors=factors)
        again.append(time.process_time() - began)
    print(f"  .fit() with other weights and all errors                    {np.median(again):8.4f} s CPU: "
          f"{first / np.median(again):7.0f} x faster")  # fmt: skip
    exact, _ = compute(prepare(repository, wanted))
    lines = {(e.group, e.split, e.kind, e.weighted): e.rmse for e in exact.errors}
    for e in result.errors:
        other = lines[e.group, e.split, e.kind, e.weighted]
        if other > 1e-12:  # below are rounding errors of zero forces
            worst = max(worst, abs(e.rmse - other) / other)
    x, y = solution(exact), solution(result)
    print(f"  against streaming with the last weights: coefficients {np.linalg.norm(x - y) / np.linalg.norm(x):.1e}, "
          f"any RMSE {worst:.1e} relative")  # fmt: skip


def searched(repository: Repository, settings: Fit, trials: int, plots: Path | None) -> None:
    """A search on configurations that are held out."""
    divided = replace(
        settings,
        default=replace(settings.default, train=0.7, test=0.3),
        groups={name: replace(g, train=0.7, test=0.3) for name, g in settings.groups.items()},
    )
    timed("factors with 30 % of each group held out", lambda: factor(repository, divided))
    result, seconds = timed(f"search, {trials:,} trials", lambda: search(repository, divided, Search(trials=trials)))
    study = result.study
    print(f"  {len(study.errors):,} trials, {result.added:,} new, {1e3 * seconds / max(1, result.added):.1f} ms each; "
          f"{len(study.front())} points on the front")  # fmt: skip
    print("  root mean square errors of what was held out (eV/atom, eV/Å)")
    lowest = [("lowest " + o, study.pick(o)) for o in study.objectives]
    for name, values in (("given weights", study.base), *((n, study.errors[i]) for n, i in lowest),
                         ("balanced", study.errors[study.balanced()])):  # fmt: skip
        print(f"    {name:16s}" + "".join(f"  {o} {v:.5f} ({100 * (v / b - 1):+.1f} %)"
              for o, v, b in zip(study.objectives, values, study.base, strict=True)))  # fmt: skip
    if plots is not None:
        save(plots, study, sensitivities(trials_of(repository, study), study.values[study.balanced()]))


def save(folder: Path, study: Any, slopes: Any) -> None:
    """The Pareto front and what it depends on."""
    from mlipstore.plotting import study as pictures
    from mlipstore.plotting.style import style

    folder.mkdir(parents=True, exist_ok=True)
    with style():
        for name, figure in (("front", pictures.front(study)), ("sensitivity", pictures.sensitivity(study, slopes))):
            figure.savefig(folder / f"search-{name}.png", dpi=110, metadata={"Software": None})


def more_data(repository: Repository, run: RunFile, settings: Fit, share: float, folder: Path) -> None:
    """A store that grows by a share of its configurations."""
    feature, baseline = resolve(run)
    store = Repository.create(folder / "grown.mlip")
    late = []
    with store.transaction("most", commit_metadata("ingest", "benchmark", new_run())) as tx:
        for i, segment in enumerate(segments(repository.at())):
            batch = read_batch(repository.at(), segment.name)
            new = np.random.default_rng(i).random(len(batch)) < share
            late.append(batch.take(np.flatnonzero(new)))
            if not new.all():
                write_segment(tx, segment.name, batch.take(np.flatnonzero(~new)))
    rest = Batch.concatenate([b for b in late if len(b)])

    def through() -> FitResult:
        featurize(store, feature, baseline, Serial())
        return fit_from_factors(store, settings, keep=True)

    before, first = timed(f"features, factors and fit of {100 * (1 - share):.0f} %", through)
    _, nothing = timed("features, factors and fit again, nothing new", through)
    with store.transaction("rest", commit_metadata("ingest", "benchmark", new_run())) as tx:
        write_segment(tx, "f" * 16, rest.take(np.argsort(rest.group.astype(str), kind="stable")))
    after, second = timed(f"features, factors and fit with {len(rest)} more configurations", through)
    print(
        f"  {after.rows - before.rows:,} of {after.rows:,} rows are new: {100 * second / first:.2f} % of the first time"
        f" ({100 * nothing / first:.2f} % if nothing is)"
    )
    exact, _ = compute(prepare(store, settings))
    x, y = solution(exact), solution(after)
    difference = np.linalg.norm(x - y) / np.linalg.norm(x)
    verdict = "equal to 1e-9" if difference <= 1e-9 else "NOT EQUAL"
    print(f"  coefficients against a fit from scratch that streams all rows: {difference:.1e} relative, {verdict}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", help="a store with features")
    parser.add_argument("config", help="its run file")
    parser.add_argument("--parts", nargs="+", default=["refits", "groups", "search", "more"],
                        choices=["refits", "groups", "search", "more"])  # fmt: skip
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.01, help="of the configurations that come later")
    parser.add_argument("--folder", type=Path, help="for the store that grows; a temporary folder if not given")
    parser.add_argument("--plots", type=Path, help="folder for pictures of the search")
    options = parser.parse_args(arguments)
    run = load_run(options.config)
    settings = run.fit or Fit()
    repository = Repository.open(options.store)
    with threadpool_limits(1):
        if "refits" in options.parts:
            refits(repository, settings, options.repeats)
        if "groups" in options.parts:
            factor(repository, settings)
            result, _ = timed("leaving out every group in turn", lambda: cross_validate(repository, settings))
            print(f"  {len(result.left_out)} groups")
        if "search" in options.parts:
            searched(repository, settings, options.trials, options.plots)
        if "more" in options.parts:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                more_data(repository, run, settings, options.share, Path(folder))


if __name__ == "__main__":
    main()
