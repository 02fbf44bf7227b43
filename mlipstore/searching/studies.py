"""Studies: searches as they are stored, their trials, and the points that no other beats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..configuration import F8
from ..errors import counted, unknown_name
from ..features import find_named, free_alias
from ..layout import STUDIES
from ..store import Repository, Snapshot, append_rows, create_array
from .trials import not_dominated

#: Trials per chunk: a study grows by appending.
_CHUNK = 4096


@dataclass
class Study:
    """A stored search.

    :param attributes: settings and what they were applied to
    :param values: of the parameters of each trial ``(n, parameters)``: factors on weights, penalty, shifts in eV
    :param errors: objectives of each trial ``(n, m)``, in internal units
    :param run: number of the run that each trial belongs to
    """

    id: str
    attributes: dict[str, Any]
    values: F8
    errors: F8
    run: np.ndarray[Any, np.dtype[np.int32]]

    @property
    def name(self) -> str:
        return str(self.attributes["alias"])

    @property
    def objectives(self) -> list[str]:
        return list(self.attributes["objectives"])

    @property
    def base(self) -> F8:
        """Objectives at the settings of ``[fit]``."""
        return np.array(self.attributes["base"], float)

    def front(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Trials that no other beats in every objective, ordered by the first one."""
        return not_dominated(self.errors)

    def balanced(self) -> int:
        """The trial of smallest product of the objectives; among those that raise none of them, if there are any."""
        front = self.front()
        relative = self.errors[front] / np.where(self.base > 0.0, self.base, 1.0)
        better = (relative <= 1.0).all(axis=1)
        chosen = np.flatnonzero(better) if better.any() else np.arange(len(front))
        return int(front[chosen[np.argmin(np.prod(relative[chosen], axis=1))]])

    def pick(self, how: str) -> int:
        """A trial: ``balanced``, the best of an objective by its name, or a number.

        :raises UnknownNameError: none of these
        """
        if how == "balanced":
            return self.balanced()
        if how in self.objectives:
            return int(self.front()[np.argmin(self.errors[self.front(), self.objectives.index(how)])])
        if how.isdigit() and int(how) < len(self.errors):
            return int(how)
        raise unknown_name("point", how, ["balanced", *self.objectives, f"0 ... {len(self.errors) - 1}"])

    @classmethod
    def load(cls, snapshot: Snapshot, name: str) -> Study:
        """By alias, id or its first characters.

        :raises UnknownNameError: there is no such study
        """
        id_ = find_named(snapshot, "studies", name)
        here = f"studies/{id_}"
        read = snapshot.read
        return cls(
            id_, snapshot.attributes(here), read(f"{here}/parameter"), read(f"{here}/objective"), read(f"{here}/run")
        )


def create(repository: Repository, id_: str, attributes: dict[str, Any], wanted: str, metadata: dict[str, Any]) -> None:
    """An empty study, if it is not there."""
    with repository.transaction(f"study {wanted}", metadata, exclusive=True) as tx:
        newest = repository.at()
        if newest.exists(f"studies/{id_}"):
            return
        tx.group("studies")
        alias = free_alias(newest, "studies", id_, wanted)
        group = tx.group(f"studies/{id_}", {"alias": alias, **attributes})
        widths = {"parameter": len(attributes["parameters"]), "objective": len(attributes["objectives"])}
        for name, spec in STUDIES.items():
            shape = (0, widths[name]) if name in widths else (0,)
            create_array(group, spec, shape, chunk_rows=_CHUNK)


def append(
    repository: Repository, id_: str, before: int, values: F8, errors: F8, run: Any, metadata: dict[str, Any]
) -> bool:
    """Add trials behind the ``before`` that are known; False if another process has added some meanwhile."""
    with repository.transaction(f"{counted(len(values), 'trial')} of study {id_}", metadata, exclusive=True) as tx:
        if repository.at().array(f"studies/{id_}/run").shape[0] != before:
            return False
        group = tx.group(f"studies/{id_}")
        append_rows(group, "parameter", values)
        append_rows(group, "objective", errors)
        append_rows(group, "run", np.asarray(run, np.int32))
    return True
