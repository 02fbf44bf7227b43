"""``replay``: repeat a stored fit from its provenance and compare bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .fit import FitResult, Progress, compute
from .kept.fit import repeat
from .kept.problem import refit
from .provenance import versions
from .store import Repository


@dataclass
class ReplayResult:
    """Whether the repeated fit has the stored bits, and what differs in software if not."""

    stored: FitResult
    repeated: FitResult
    equal: bool
    largest_difference: float
    changed_versions: dict[str, tuple[str, str]]

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.stored.id,
            "equal_bits": self.equal,
            "largest_relative_difference": self.largest_difference,
            "changed_versions": self.changed_versions,
            "seconds": self.repeated.seconds,
        }


def replay(
    repository: Repository, model: str, ref: str | None = None, progress: Progress | None = None
) -> ReplayResult:
    """Fit again with the stored settings on the data the model was fitted to; nothing is written."""
    found = refit(repository, model, ref)
    stored = found.model
    factors = stored.provenance.get("factors")
    repeated = compute(found.problem, progress)[0] if factors is None else repeat(found.problem, factors, progress)
    x, y = _numbers(stored), _numbers(repeated)
    scale = float(np.linalg.norm(x)) or 1.0
    then, now = stored.provenance["versions"], versions()
    return ReplayResult(
        stored=stored,
        repeated=repeated,
        equal=x.tobytes() == y.tobytes(),
        largest_difference=float(np.linalg.norm(x - y)) / scale,
        changed_versions={
            k: (then.get(k, "-"), now.get(k, "-")) for k in sorted({*then, *now}) if then.get(k) != now.get(k)
        },
    )


def _numbers(result: FitResult) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.concatenate([result.coefficients, list(result.constants.values())])
