"""``[search]`` of a run file: what a search varies, and what it judges by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

#: Ranges of a group or of all groups: kind of row -> factors on the weight.
Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Search:
    """``[search]``: the weights (and more) of ``[fit]`` for which rows that were not fitted are predicted best.

    :param objectives: what is minimised: the root mean square error of ``energy``, ``force`` or ``stress`` rows, of one
        group with ``kind:GROUP``
    :param average: ``rows`` counts every row the same, ``groups`` every group
    :param validation: the rows that are predicted: ``test`` rows, the ``groups`` in ``hold_out``, each of the ``folds``
        in turn, or ``each-group`` in turn
    :param by: whether the weights of each ``group`` vary, or those of a ``kind`` in all groups together
    :param energy: least and largest factor on the energy weights of ``[fit]``; ``force`` and ``stress`` likewise
    :param groups: ranges of single groups (patterns as in file names), instead of those
    :param ridge: least and largest penalty alpha of the solver ridge
    :param element_shifts: least and largest energy per atom to add to the labels, in eV
    """

    name: str | None = None
    trials: int = 2000
    seed: int = 0
    method: str = "gradient"
    objectives: tuple[str, ...] = ("energy", "force")
    average: str = "rows"
    validation: str = "test"
    hold_out: tuple[str, ...] = ()
    folds: int = 5
    by: str = "group"
    energy: tuple[float, float] = (0.01, 100.0)
    force: tuple[float, float] = (0.01, 100.0)
    stress: tuple[float, float] = (1.0, 1.0)
    ridge: tuple[float, float] | None = None
    element_shifts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    groups: Mapping[str, Ranges] = field(default_factory=dict)

    def weight(self, group: str, kind: str) -> tuple[str, float, float]:
        """What the weight of a group and kind varies with: name of the parameter, least and largest factor.

        The last pattern in ``groups`` that fits the group counts.
        """
        low, high = getattr(self, kind)
        alone = self.by == "group"
        for pattern, ranges in self.groups.items():
            if fnmatchcase(group, pattern):
                low, high = ranges.get(kind, (low, high))
                alone = True
        return f"{group if alone else '*'}.{kind}", low, high

    def held_out(self, group: str) -> bool:
        """Whether a group is predicted and not fitted."""
        return self.validation == "groups" and any(fnmatchcase(group, p) for p in self.hold_out)

    def objective(self, i: int) -> tuple[str, str | None]:
        """Kind and group of an objective."""
        kind, colon, group = self.objectives[i].partition(":")
        return kind, group if colon else None
