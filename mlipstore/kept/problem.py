"""The problem that a stored model is the solution of: its data, features, baseline, groups and split, found again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..curation.columns import SplitOf
from ..errors import SettingsError, UnknownNameError
from ..features import find_model
from ..fit import FitResult, Problem, data_digest, load, prepare
from ..runs.runfile import Fit
from ..split import UNUSED
from ..store import Repository


@dataclass
class Refit:
    """A stored model and the problem it came from."""

    model: FitResult
    settings: Fit
    problem: Problem

    @property
    def x(self) -> NDArray[np.float64]:
        """The solution ``(K,)``: coefficients, then the constants, as the columns of the design matrix."""
        return np.concatenate([self.model.coefficients, list(self.model.constants.values())])

    @property
    def penalty(self) -> Any:
        """Penalty alpha of the coefficients, one number or ``(K,)``."""
        return self.problem.solver.alpha if self.settings.solver.type == "ridge" else 0.0


def refit(repository: Repository, model: str, ref: str | None = None, check_memory: bool = True) -> Refit:
    """The problem of the model ``model`` of version ``ref``, on the data it was fitted to; reads no rows.

    That is the data of ``ref`` if nothing was added or deleted since, else the version the model was made from.

    :param check_memory: refuse what a fit has no memory for; passes that hold a few blocks and no factor need not
    :raises UnknownNameError: there is no such model
    :raises StoreError: the version the model was made from is no longer kept
    """
    snapshot = repository.at(ref)
    stored = load(snapshot, find_model(snapshot, model))
    settings = Fit.from_dict(stored.provenance["fit"], f"provenance of {model}")
    try:
        problem = prepare(repository, settings, ref, check_memory)
        unchanged = data_digest(problem.matrix) == stored.provenance["data_digest"]
    except (SettingsError, UnknownNameError):  # new configurations without features, groups that came or went
        unchanged = False
    if not unchanged:
        problem = prepare(repository, settings, stored.provenance["data_snapshot"], check_memory)
    return Refit(stored, settings, problem)


def split_of(found: Refit) -> SplitOf:
    """The part that each configuration of a segment plays in a stored model."""
    matrix, table = found.problem.matrix, found.problem.table

    def parts(segment: str) -> NDArray[np.int8]:
        if segment not in matrix.index.number:  # it came later
            raise SettingsError(
                f"model {found.model.name!r} was fitted to other data: its parts are those of version "
                f"{matrix.snapshot.id}. Ask for them there, with --ref {matrix.snapshot.id[:8]}."
            )
        members = matrix.members_of(segment)
        return np.where(members.live, table.split(members), UNUSED).astype(np.int8)

    return parts


def known_parts(found: Refit) -> Callable[[str, int], NDArray[np.int8]]:
    """As :func:`split_of`, for segments of any version by name and size: what the model does not know is unused."""
    members = {m.name: m for m in found.problem.matrix.members()}

    def parts(segment: str, size: int) -> NDArray[np.int8]:
        if segment not in members:
            return np.full(size, UNUSED, np.int8)
        return np.asarray(found.problem.table.split(members[segment]), np.int8)

    return parts
