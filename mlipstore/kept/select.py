"""``select``: of new configurations, those whose labels would teach a model most."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration import F8
from ..errors import SettingsError, nearest
from ..files import written_whole
from ..memory import available_bytes
from ..model import Model
from ..reading import ReadOptions, ReadReport
from ..solve.design import Information, greedy
from ..solve.factor import Factor
from ..solve.linear import reduced
from ..store import Repository, Snapshot
from .candidates import (
    CandidateRows,
    Candidates,
    ConfigurationRows,
    Neighbours,
    gathered,
    require_some,
    weights_of,
)
from .problem import Refit, refit

METHODS = ("i-optimal", "d-optimal", "max-variance")
PER = ("configuration", "atom")
#: Share of the free memory that rows of candidates may take; the others are computed again.
_HELD = 0.25

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pick:
    """One chosen configuration.

    :param candidate: its number among all that were offered, from 0, copies not counted
    :param score: when it was chosen: the share of the predicted variance of all candidates that it takes off, or the
        gain in ln det of the information matrix (both by ``atom`` divided by its number of atoms), or the largest
        ``a P^-1 a^T`` of its rows
    :param leverage: largest leverage of its weighted rows in the fit of the model alone; above 1 is extrapolation
    :param energy_std: predicted standard deviation of its energy in eV/atom by the model alone, ``force_std`` the
        largest of a force component in eV/Å; None unless the uncertainty of the model was calibrated
    """

    candidate: int
    source: str
    frame: int
    group: str
    n_atoms: int
    score: float
    leverage: float
    energy_std: float | None
    force_std: float | None


@dataclass
class SelectResult:
    """The picks, best first, and what was left out.

    :param copies: candidates that the store, the fit or the candidates themselves held already
    :param near_duplicates: candidates that were passed over because they are too near to others
    """

    model: str
    method: str
    per: str
    candidates: int
    copies: int
    near_duplicates: int
    picks: list[Pick]
    output: Path | None = None
    seconds: float = 0.0
    report: ReadReport = field(default_factory=ReadReport)

    def to_json(self) -> dict[str, Any]:
        facts = {k: v for k, v in vars(self).items() if k not in ("picks", "report", "output")}
        return {
            **facts,
            "output": None if self.output is None else str(self.output),
            "picks": [asdict(p) for p in self.picks],
            "reader": self.report.to_json(),
        }


def select(
    repository: Repository,
    model: str,
    sources: Sequence[str | Path] = (),
    number: int = 10,
    method: str = "i-optimal",
    per: str = "configuration",
    distance: float = 0.01,
    groups: Sequence[str] = (),
    output: str | Path | None = None,
    options: ReadOptions | None = None,
    format: str | None = None,
    ref: str | None = None,
    progress: Progress | None = None,
) -> SelectResult:
    """Choose configurations one after another, each in view of the training rows and of those chosen before.

    Energy, force and stress rows count with the weights that the fit of the model gives their group (its typical
    weights, for a group it does not know). No labels are needed or looked at.

    :param sources: files or folders with candidates
    :param number: how many to choose; fewer where nothing else is left
    :param method: ``i-optimal``: what makes the predictions of all candidates surest, on average over their weighted
        rows; ``d-optimal``: the largest gain in ln det of the information matrix; ``max-variance``: the largest
        predicted variance of a row
    :param per: what is compared: ``configuration``, or ``atom``: the gain divided by the number of atoms (labels of
        large cells cost more), the largest variance of a force component instead of that of the energy per atom
    :param distance: pass over what is nearer than this to a stored or chosen configuration: root mean square over the
        columns of the difference of energy rows per atom, in standard deviations of the stored ones; 0 = only copies
    :param groups: choose from these groups of the store as well, what the model was not fitted to
    :param output: extxyz file for the picks, best first, with their scores
    :raises SettingsError: an option makes no sense
    :raises InputError: a source cannot be read, or nothing is left to choose from
    """
    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    _check(sources, groups, number, method, per, distance)
    found = refit(repository, model, ref, check_memory=False)
    snapshot = repository.at(ref)
    loaded = Model.load(snapshot, model)
    candidates = gathered(found, sources, groups, options, format)
    require_some(candidates, sources, groups)
    chooser = _Chooser(found, loaded, information(found, snapshot), candidates, method, per)
    with threadpool_limits(1):
        chosen, passed_over = _chosen(chooser, candidates, number, distance, progress)
    result = SelectResult(
        found.model.name, method, per, len(candidates), candidates.copies, passed_over,
        _picks(chosen, chooser, candidates, loaded), report=candidates.report,
    )  # fmt: skip
    if output is not None:
        result.output = Path(output)
        _write(result, candidates)
    result.seconds = time.perf_counter() - began
    return result


def information(found: Refit, snapshot: Snapshot) -> Information:
    """That of the weighted training rows of a stored model."""
    factor = Factor.from_packed(snapshot.read(f"models/{found.model.id}/R"), len(found.x), found.model.rows)
    return Information(reduced(factor), found.penalty)


def _check(sources: Sequence[Any], groups: Sequence[str], number: int, method: str, per: str, distance: float) -> None:
    if not sources and not groups:
        raise SettingsError("nothing to choose from: give files, or a group of the store with --group.")
    if number < 1:
        raise SettingsError(f"{number} configurations cannot be chosen. Give at least 1.")
    for what, value, known in (("method", method, METHODS), ("per", per, PER)):
        if value not in known:
            raise SettingsError(f"{what} is {value!r}. {nearest(value, known)}It is one of {', '.join(known)}.")
    if not 0.0 <= distance < np.inf:
        raise SettingsError(f"distance is {distance}: it is a number from 0 on.")


def _chosen(
    chooser: _Chooser, candidates: Candidates, number: int, distance: float, progress: Progress | None
) -> tuple[list[tuple[int, float]], int]:
    """Numbers and scores of the picks, and how many near-duplicates were passed over."""
    first = chooser.first_values(progress)
    near = Neighbours(chooser.found, candidates, chooser.energy, distance)
    passed_over = 0

    def take(i: int) -> bool:
        nonlocal passed_over
        if not near.add(i):
            passed_over += 1
            return False
        chooser.take(i)
        return True

    meter = None if progress is None else lambda done, total: progress("select", done, total)
    return greedy(first.tolist(), chooser.value, take, number, meter), passed_over


class _Chooser:
    """Values of candidates in view of the training rows and of what was taken before.

    :param method: one of :data:`METHODS`
    """

    def __init__(
        self, found: Refit, model: Model, information: Information, candidates: Candidates, method: str, per: str
    ) -> None:
        self.found, self.information, self.method, self.by_atom = found, information, method, per == "atom"
        self.optimal = method != "max-variance"
        self.n_atoms = candidates.batch.n_atoms
        self.rows = CandidateRows(model, candidates.batch, int(_HELD * available_bytes()))
        self.weights = weights_of(found, candidates.batch)
        #: energy rows per atom ``(n, K)``, and the largest leverage of a weighted row in the fit of the model
        self.energy: F8 = np.zeros((len(candidates), len(found.x)))
        self.leverage: F8 = np.zeros(len(candidates))

    def first_values(self, progress: Progress | None) -> F8:
        """Values before anything is taken: one pass over all candidates."""
        n = len(self.energy)
        values: F8 = np.zeros(n)
        every = Factor(len(self.found.x), 0)
        for i, rows in self.rows.all():
            self.energy[i] = rows.energy
            weighted = self.information.scaled(rows.weighted(self.weights[i]))
            self.leverage[i] = self.information.leverages(weighted).max(initial=0.0)
            form = self.rows.keep(i, self._form(i, rows))
            if self.method == "i-optimal":
                every.update(weighted, np.zeros((len(weighted), 0)))
            else:
                values[i] = self._value(i, form)
            if progress is not None:
                progress("rows", i + 1, n)
        if self.method == "i-optimal":
            self.information.aim_at(every.R)
            values[:] = [self.value(i) for i in range(n)]
        return values

    def value(self, i: int) -> float:
        """The present value of a candidate."""
        return self._value(i, self.rows.of(i, lambda rows: self._form(i, rows)))

    def take(self, i: int) -> None:
        """Count a candidate as labelled."""
        if self.optimal:
            self.information.take(self.rows.of(i, lambda rows: self._form(i, rows)))
        else:
            self.information.take(self.information.compressed(self.rows.fresh(i).weighted(self.weights[i])))

    def _form(self, i: int, rows: ConfigurationRows) -> F8:
        """What a value needs of the rows of a candidate."""
        if self.optimal:
            return self.information.compressed(rows.weighted(self.weights[i]))
        return self.information.scaled(rows.force if self.by_atom else rows.energy[None])

    def _value(self, i: int, rows: F8) -> float:
        if self.optimal:
            gain = self.information.gain if self.method == "d-optimal" else self.information.prediction_gain
            return gain(rows) / (int(self.n_atoms[i]) if self.by_atom else 1)
        return float(self.information.leverages(rows).max(initial=0.0))


def _picks(chosen: list[tuple[int, float]], chooser: _Chooser, candidates: Candidates, model: Model) -> list[Pick]:
    batch, out = candidates.batch, []
    for i, score in chosen:
        energy = force = None
        if model.calibrated:
            spread = model.spread(batch.slice(i, i + 1))
            energy, force = float(spread.energy[0]) / int(batch.n_atoms[i]), float(spread.force.max())
        out.append(
            Pick(i, str(batch.source[i]), int(batch.frame[i]), str(batch.group[i]), int(batch.n_atoms[i]), score,
                 float(chooser.leverage[i]), energy, force)
        )  # fmt: skip
    return out


def _write(result: SelectResult, candidates: Candidates) -> None:
    """The picks as extxyz, labels included where there are any."""
    from ase.io import write

    frames = []
    for rank, pick in enumerate(result.picks, 1):
        atoms = candidates.batch[pick.candidate].to_ase()
        atoms.info |= {"select_rank": rank, "select_score": pick.score, "select_leverage": pick.leverage}
        atoms.info |= {"select_source": pick.source, "select_frame": pick.frame}
        if pick.energy_std is not None:
            atoms.info |= {"select_energy_std": pick.energy_std, "select_force_std": pick.force_std}
        frames.append(atoms)
    assert result.output is not None
    with written_whole(result.output) as part:
        write(part, frames, format="extxyz")
