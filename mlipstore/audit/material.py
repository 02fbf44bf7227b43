"""What checks are given: the summary, the pairs, and what is known about how the data were read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8
from .finding import Finding
from .pairs import Pairs
from .summary import Summary

if TYPE_CHECKING:
    from ..kept.standing import LeftOut, Standing

I8 = NDArray[np.int64]
#: A series of volumes: distinct ones, and their span as a fraction of the smallest.
LEAST_VOLUMES, LEAST_SPAN = 8, 0.02
#: Shortest distance over the sum of covalent radii above which atoms may be out of each other's reach.
_APART = 1.1
#: eV within which energies count as the same.
_SAME_ENERGY = 1e-6
#: Å; over such a range of distances no energy is constant that is not so for want of interaction.
_SPAN = 0.05


class Check(Protocol):
    """One file of ``mlipstore/checks/``: a frozen dataclass whose fields are its thresholds, called ``plugin``.

    ``version`` (a class attribute) changes when the same data would get another verdict. One that looks at a model has
    another, ``needs_model = True``, and yields nothing where no model was given.
    """

    version: int

    def run(self, data: Material) -> Iterator[Finding]:
        """Findings about the data, good ones included; the audit enters the name and the version of the check."""
        ...


@dataclass
class Series:
    """Configurations of equal shape at several volumes, sorted by volume.

    :param which: ``(n,)`` positions in the summary; ``volume`` Å^3, ``energy`` eV
    :param slope: numerical dE/dV ``(n,)`` in eV/Å^3, NaN at both ends
    """

    group: int
    which: I8
    volume: F8
    energy: F8
    slope: F8


@dataclass
class ByFit:
    """What a stored model says about the labels it was fitted to.

    :param standing: how those of each configuration stand to it, over the configurations
    :param left_out: errors of groups in fits without them; None says ``why_not``
    """

    model: str
    standing: Standing
    left_out: LeftOut | None
    why_not: str = ""


@dataclass
class Material:
    """Everything about the data that a check may look at.

    :param units: units of stress that readers assumed, as far as is known; ``orders``: of six numbers
    :param open_order: the files do not say the order, ``orders`` is a trial
    :param zeros: all-zero stress tensors of each group that were taken as missing when they were read
    :param refused: messages about what could not be read
    :param split: of each configuration: 0 train, 1 test, 2 unused, where a split was given
    :param fit: what a model says, where one was given
    """

    summary: Summary
    pairs: Pairs
    units: list[str] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    open_order: bool = False
    zeros: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    split: NDArray[np.int8] | None = None
    fit: ByFit | None = None

    def groups(self) -> Iterator[tuple[str, I8]]:
        """Name of each group, sorted, and its configurations."""
        code = self.summary.group
        order = np.argsort(code, kind="stable")
        bounds = np.searchsorted(code[order], np.arange(len(self.summary.groups) + 1))
        for g in sorted(range(len(self.summary.groups)), key=lambda i: self.summary.groups[i]):
            which = order[bounds[g] : bounds[g + 1]]
            if len(which):
                yield self.summary.groups[g], which

    def pairs_of(self, group: str, mask: NDArray[np.bool_]) -> I8:
        """Pairs of a group that ``mask`` is true for."""
        return np.flatnonzero(mask & (self.pairs.group == self.summary.groups.index(group)))

    @cached_property
    def copies(self) -> list[I8]:
        """Sets of two or more configurations of equal geometry (to 1e-4 Å)."""
        keys = np.ascontiguousarray(self.summary.geometry).view("V16").ravel()
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        several = np.flatnonzero(counts[inverse] > 1)
        several = several[np.argsort(inverse[several], kind="stable")]
        if not len(several):
            return []
        return np.split(several, np.flatnonzero(np.diff(inverse[several])) + 1)

    @cached_property
    def beyond(self) -> NDArray[np.bool_]:
        """Configurations whose atoms are too far apart to interact: energy exactly constant, and no force.

        The evidence is in the data: of one composition, all that are further apart than every one that interacts have
        the same energy. An isolated atom is one, too.
        """
        s = self.summary
        apart = s.ratio > _APART
        out: NDArray[np.bool_] = np.asarray(apart & (s.n_atoms == 1))
        ready = np.flatnonzero(np.isfinite(s.energy) & (s.n_atoms > 1))
        order = ready[np.lexsort((s.distance[ready], s.composition[ready]))]
        for part in np.split(order, np.flatnonzero(np.diff(s.composition[order])) + 1):
            if not len(part) or not apart[part[-1]]:
                continue
            far = s.energy[part[-1]]
            still = (np.abs(s.energy[part] - far) < _SAME_ENERGY) & (s.zero_force[part] | ~s.has_force[part])
            alone = part[still & apart[part]]
            if still.all():
                continue
            alone = alone[s.distance[alone] > s.distance[part[~still]].max()]
            # strained crystals that symmetry makes equal have one energy, too, but one shortest distance
            if len(alone) and (far == 0.0 or np.ptp(s.distance[alone]) > _SPAN):
                out[alone] = True
        return out

    @cached_property
    def series(self) -> list[Series]:
        """Isotropic series of volumes, of at least ``LEAST_VOLUMES`` over ``LEAST_SPAN``."""
        s = self.summary
        ready = np.flatnonzero(np.isfinite(s.energy) & np.isfinite(s.volume) & s.has_stress & ~s.zero_stress)
        order = ready[np.lexsort((s.volume[ready], s.series[ready], s.group[ready]))]
        if not len(order):
            return []
        cuts = (np.diff(s.group[order]) != 0) | (s.series[order][1:] != s.series[order][:-1])
        out = []
        for part in np.split(order, np.flatnonzero(cuts) + 1):
            v = s.volume[part]
            part = part[np.concatenate([[True], np.diff(v) > 1e-5 * v[:-1]])]
            v, e = s.volume[part], s.energy[part]
            if len(part) < LEAST_VOLUMES or v[-1] < (1 + LEAST_SPAN) * v[0]:
                continue
            slope = np.gradient(e, v)
            slope[[0, -1]] = np.nan
            out.append(Series(int(s.group[part[0]]), part, v, e, slope))
        return out
