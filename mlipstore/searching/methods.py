"""How a search moves: each method works in runs, whose trials depend on the seed and their number alone.

So runs can be computed anywhere, in any order, and a study that was interrupted continues to the same trials.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..configuration import F8
from ..errors import MissingDependencyError
from .trials import Trials

#: Largest logarithm of the ratio of two relative objectives that a run of a front aims at.
_SPREAD = 1.6
#: Exponent of the norm that makes one cost of several objectives: large ones are close to the maximum.
_POWER = 4.0


@dataclass
class Recorder:
    """Evaluates points and remembers them.

    :param history: points ``(n, parameters)`` and objectives ``(n, m)`` of all runs before, where a method learns
    """

    trials: Trials
    history: tuple[F8, F8] | None = None
    points: list[F8] = field(default_factory=list)
    values: list[F8] = field(default_factory=list)

    def __call__(self, theta: F8, combine: Any = None) -> tuple[F8, float, F8]:
        theta = np.clip(theta, self.trials.low, self.trials.high)
        found = self.trials.evaluate(theta, combine)
        self.points.append(theta)
        self.values.append(found[0])
        return found


class Cost:
    """One number of several objectives: ``ln ||(share_j J_j / J_j(start))_j||_4``, smooth, scale-free.

    Unlike a weighted sum it reaches the parts of a Pareto front that are not convex, and a share tells where on the
    front: at the minimum the larger ``share_j J_j`` are about equal.
    """

    def __init__(self, base: F8, share: F8) -> None:
        self.scale = share / np.where(base > 0.0, base, 1.0)

    def __call__(self, values: F8) -> tuple[float, F8]:
        q = self.scale * values
        total = float((q**_POWER).sum())
        if not 0.0 < total < np.inf:
            return (np.inf if not total < np.inf else -np.inf), np.zeros_like(values)
        slopes = np.divide(q**_POWER, values, out=np.zeros_like(values), where=values > 0.0) / total
        return float(np.log(total)) / _POWER, slopes


def share_of(index: int, m: int, seed: int) -> F8:
    """Where on the front run ``index`` aims: first equal shares, then each objective alone, then all over."""
    if index == 0 or m == 1:
        return np.full(m, 1.0 / m)
    if index <= m:
        alone = np.full(m, 1e-3)
        alone[index - 1] = 1.0
        return np.asarray(alone / alone.sum())
    if m == 2:  # evenly spread for any number of runs
        u = (index * 0.6180339887498949 + np.random.default_rng(seed).random()) % 1.0
        logs: F8 = _SPREAD * np.array([u - 0.5, 0.5 - u])
    else:
        logs = _SPREAD * np.random.default_rng([seed, index, 1]).uniform(-0.5, 0.5, m)
    shares = np.exp(logs)
    return np.asarray(shares / shares.sum())


def gradient(record: Recorder, seed: int, index: int) -> None:
    """L-BFGS-B with exact derivatives, from the settings of ``[fit]`` and, every other run, from a random point."""
    from scipy.optimize import minimize

    t = record.trials
    start = t.start if index % 2 == 0 else np.random.default_rng([seed, index]).uniform(t.low, t.high)
    cost = Cost(t.base, share_of(index // 2, len(t.base), seed))
    minimize(
        lambda theta: record(theta, cost)[1:], start, jac=True, method="L-BFGS-B",
        bounds=list(zip(t.low, t.high, strict=True)), options={"maxfun": 300, "ftol": 1e-6},
    )  # fmt: skip


def differential_evolution(record: Recorder, seed: int, index: int) -> None:
    """A population over the whole range, one place on the front per run; needs no derivatives."""
    from scipy.optimize import differential_evolution as evolve

    t = record.trials
    cost = Cost(t.base, share_of(index, len(t.base), seed))
    bounds = [(a, b if b > a else a + 1e-12) for a, b in zip(t.low, t.high, strict=True)]
    evolve(
        lambda theta: cost(record(theta)[0])[0], bounds, maxiter=25, popsize=max(1, -(-40 // len(bounds))),
        init="sobol", polish=False, seed=np.random.default_rng([seed, index]), x0=t.start if index % 2 == 0 else None,
    )  # fmt: skip


def random(record: Recorder, seed: int, index: int) -> None:
    """128 points of a scrambled Sobol sequence."""
    from scipy.stats import qmc

    t = record.trials
    if index == 0:
        record(t.start)
    for u in qmc.Sobol(len(t.low), seed=np.random.default_rng([seed, index])).random(128):
        record(t.low + u * (t.high - t.low))


def tpe(record: Recorder, seed: int, index: int) -> None:
    """20 points of the tree-structured Parzen estimator of optuna, given all trials before."""
    try:
        import optuna
    except ImportError:
        raise MissingDependencyError("method = 'tpe' needs optuna: pip install optuna, or use 'gradient'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    t = record.trials
    m = len(t.base)
    space: dict[str, Any] = {
        p.name: optuna.distributions.FloatDistribution(float(a), float(b))
        for p, a, b in zip(t.space.parameters, t.low, t.high, strict=True)
    }
    words = np.random.SeedSequence([seed, index]).generate_state(1)
    sampler = optuna.samplers.TPESampler(seed=int(words[0]), multivariate=True)
    study = optuna.create_study(directions=["minimize"] * m, sampler=sampler)
    if record.history is not None:
        for theta, values in zip(*record.history, strict=True):
            if np.isfinite(values).all():
                point = dict(zip(space, map(float, theta), strict=True))
                study.add_trial(
                    optuna.trial.create_trial(params=point, distributions=space, values=[float(v) for v in values])
                )
    if index == 0:
        study.enqueue_trial(dict(zip(space, map(float, t.start), strict=True)))
    for _ in range(20):
        trial = study.ask(space)
        values = record(np.array([trial.params[name] for name in space]))[0]
        study.tell(trial, [float(v) for v in values])


METHODS: dict[str, Callable[[Recorder, int, int], None]] = {
    "gradient": gradient,
    "differential-evolution": differential_evolution,
    "random": random,
    "tpe": tpe,
}
#: Methods whose runs build on the trials of the runs before, so that they cannot be done at the same time.
LEARNING = ("tpe",)
