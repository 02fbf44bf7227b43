"""``uncertainty``: standard deviations of what a model predicts, calibrated on rows that were left out of the fit.

A row a (the features of one energy, force or stress component) has the predicted standard deviation
``scale_kind sqrt(a C a^T)``. C is the covariance of the coefficients: that of independent noise, which says what the
training data do not determine, and on top what the groups pull the coefficients apart by
(:class:`mlipstore.solve.uncertainty.Posterior`), because the errors of a potential are not noise but the misfit of its
form, and that is common to a group. The scale is measured: every group is left out in turn, and the scale is the median
of its error over its root mean square ``sqrt(a C a^T)`` in the fit without it. All of it comes from kept factors.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..computing import Rows
from ..configuration import F8
from ..errors import SettingsError
from ..fit import Progress
from ..layout import UNCERTAINTY
from ..metrics import KINDS
from ..provenance import commit_metadata, new_run
from ..solve.factor import Factor
from ..solve.linear import reduced
from ..solve.uncertainty import Posterior
from ..store import Repository, Snapshot, write_array
from .compute import complete
from .crossvalidation import CrossValidation, left_out
from .factors import find
from .fit import FactorProblem
from .problem import refit

#: Groups whose rows are this much smaller than typical ones, such as forces that vanish by symmetry, tell nothing.
_NOTHING = 1e-6


@dataclass
class Calibration:
    """What ``uncertainty`` found; stored with the model.

    :param scale: factor of each kind of row on ``sqrt(a C a^T)``
    :param typical: root mean square of ``sqrt(a C a^T)`` over the training rows of each kind
    :param sigma: noise of a row of weight one, in C
    :param rank_correlation: Spearman's, of predicted deviations and errors of what was left out; None for too few
    :param lines: name, kind, predicted deviation and error of each group or fold that was left out
    """

    model: str
    name: str
    by: str
    scale: dict[str, float]
    typical: dict[str, float]
    rank_correlation: dict[str, float | None]
    lines: list[tuple[str, str, float, float]]
    sigma: float
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def uncertainty(
    repository: Repository,
    model: str,
    folds: int = 0,
    ref: str | None = None,
    progress: Progress | None = None,
    command: str = "uncertainty",
) -> Calibration:
    """Calibrate the predicted deviations of a stored model and store that with it.

    Factors that are missing are computed first; they are kept if the model is of the newest data.

    :param folds: leave out so many folds in turn instead of every group
    :raises UnknownNameError: there is no such model
    :raises SettingsError: there is but one group
    """
    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    found = refit(repository, model, ref)
    problem = found.problem
    kept = find(problem.matrix, problem.table, folds)
    if kept.missing and repository.at().id == problem.snapshot.id:
        meter = None if progress is None else lambda done, total: progress("factor", done, total)
        complete(repository, problem, kept, None, meter, command)
        kept = find(problem.matrix, problem.table, folds)
    with threadpool_limits(1):
        validation = left_out(FactorProblem(problem, kept), folds, progress)
    result = calibration(validation)
    result.model, result.name = found.model.id, found.model.name
    metadata = commit_metadata("uncertainty", command, new_run(), model=found.model.id)
    with repository.transaction(f"uncertainty of {found.model.name}", metadata, exclusive=True) as tx:
        stored = {k: v for k, v in asdict(result).items() if k not in ("model", "name", "seconds")}
        here = f"models/{found.model.id}"
        tx.group(here, {**repository.at().attributes(here), "uncertainty": stored})
        group = tx.group(f"{here}/uncertainty")
        for name, spec in UNCERTAINTY.items():
            write_array(group, spec, {"deviation": validation.deviations.T}[name])
    result.seconds = time.perf_counter() - began
    return result


def calibration(validation: CrossValidation) -> Calibration:
    """Scales of predicted deviations from a cross-validation."""
    from scipy.stats import spearmanr

    typical = {k: v for k, v in validation.all.spread_inside.items() if 0.0 < v < np.inf}
    lines: list[tuple[str, str, float, float]] = []
    scale: dict[str, float] = {}
    correlation: dict[str, float | None] = {}
    for kind in typical:
        mine = [x for x in validation.left_out if kind in x.rows]
        telling = [x for x in mine if _NOTHING * typical[kind] < x.spread[kind] < np.inf and x.outside[kind] > 0.0]
        if not telling:
            continue
        scale[kind] = float(np.median([x.outside[kind] / x.spread[kind] for x in telling]))
        lines += [(x.name, kind, scale[kind] * x.spread[kind], x.outside[kind]) for x in telling]
        many = len(telling) > 2
        ranks = spearmanr([x.spread[kind] for x in telling], [x.outside[kind] for x in telling]) if many else None
        correlation[kind] = None if ranks is None else float(ranks.statistic)
    return Calibration("", "", validation.by, scale, typical, correlation, lines, validation.sigma)


@dataclass
class Spread:
    """Predicted standard deviations of a batch, and how far they are from those of training rows.

    :param energy: of the total energy ``(n,)`` in eV; ``force`` ``(N, 3)`` in eV/Å; ``stress`` ``(n, 6)`` in eV/Å^3
    :param grade: of each configuration ``(n,)``: the largest deviation of its energy per atom or of a force over the
        root mean square deviation of training rows of that kind. 1 is typical, far above 1 is extrapolation
    :param atom_grade: the same of the forces of each atom ``(N,)``
    """

    energy: F8
    force: F8
    stress: F8
    grade: F8
    atom_grade: F8


class Uncertainty:
    """Predicted deviations of a stored model.

    :param posterior: of the coefficients, before calibration
    :param scale, typical: see :class:`Calibration`; a kind of row without a scale has deviations of NaN
    """

    def __init__(self, posterior: Posterior, scale: dict[str, float], typical: dict[str, float]) -> None:
        self.posterior, self.scale, self.typical = posterior, scale, typical

    @classmethod
    def load(cls, snapshot: Snapshot, id_: str) -> Uncertainty:
        """That of a stored model.

        :raises SettingsError: it was not calibrated
        """
        attributes = snapshot.attributes(f"models/{id_}")
        if "uncertainty" not in attributes:
            raise SettingsError(
                f"model {attributes['alias']!r} has no calibrated uncertainty. Run mlipstore uncertainty "
                f"{snapshot.repository.path} {attributes['alias']}."
            )
        here, provenance = f"models/{id_}/", attributes["provenance"]
        constants = len(snapshot.read(here + "element"))
        K = len(snapshot.read(here + "coefficient")) + constants
        factor = Factor.from_packed(snapshot.read(here + "R"), K, provenance["solution"]["rows"])
        solver = provenance["fit"]["solver"]
        stored = attributes["uncertainty"]
        alpha = solver["alpha"] if solver["type"] == "ridge" else 0.0
        posterior = Posterior(reduced(factor), alpha, stored["sigma"])
        posterior.deviations = snapshot.read(here + "uncertainty/deviation").T
        return cls(posterior, stored["scale"], stored["typical"])

    def of(self, rows: Rows, n_atoms: np.ndarray[Any, Any], counts: F8 | None) -> Spread:
        """Deviations of the predictions of rows.

        :param counts: atoms of each element ``(n, elements)``, for a model with constants
        """
        n = n_atoms[:, None]
        energy = rows.energy / n
        constants = 0 if counts is None else counts.shape[1]
        if counts is not None:
            energy = np.column_stack([energy, counts / n])
        roots = [self._root(x, constants) for x in (energy, rows.force, rows.stress)]
        e, f, s = (self.scale.get(kind, np.nan) * x for kind, x in zip(KINDS, roots, strict=True))
        relative = [x / self.typical.get(kind, np.nan) for kind, x in zip(KINDS, roots, strict=True)]
        atoms = relative[1].reshape(-1, 3).max(axis=1) if len(rows.force) else np.zeros(0)
        first = np.concatenate([[0], np.cumsum(n_atoms)])[:-1]
        largest = np.fmax.reduceat(np.append(atoms, 0.0), first) * (n_atoms > 0)
        return Spread(e * n_atoms, f.reshape(-1, 3), s.reshape(-1, 6), np.fmax(relative[0], largest), atoms)

    def _root(self, rows: F8, constants: int) -> F8:
        """``sqrt(a C a^T)`` of each row ``(k, M)``, or ``(k, M + constants)``."""
        if constants and rows.shape[1] < len(self.posterior.coefficients):
            rows = np.column_stack([rows, np.zeros((len(rows), constants))])
        return np.asarray(np.sqrt(self.posterior.variance(rows)))
