"""Weights, groups and splits of a fit, applied while rows stream; never stored in rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .blocks import Block, DesignMatrix
from .errors import SettingsError
from .runs.runfile import Fit, GroupSettings
from .segment_labels import SegmentGroups
from .split import TEST, TRAIN, UNUSED, assign
from .units import GPA, LAMMPS_BAR_PER_EV_A3

#: One of these in eV/Å^3. ``bar`` is that of LAMMPS metal units, which FitSNAP's weights refer to.
STRESS_UNITS = {
    "GPa": GPA,
    "kbar": 1e3 / LAMMPS_BAR_PER_EV_A3,
    "bar": 1.0 / LAMMPS_BAR_PER_EV_A3,
    "eV/A^3": 1.0,
    "eV/Å^3": 1.0,
}


#: Thresholds of a group that is for training, whatever the places in it: they need not be known.
_EVERY = (1.0, 2.0)


def _whole(settings: GroupSettings) -> bool:
    """Whether every configuration of a group is for training."""
    return isinstance(settings.train, float) and settings.train == 1.0 and settings.test == 0


@dataclass
class GroupTable:
    """What each group of the store gets in a fit.

    :param groups: names, sorted; a group's code is its position
    :param weight: ``(groups, kinds)``, in units of 1/(eV/atom), 1/(eV/Å), 1/(eV/Å^3)
    """

    groups: list[str]
    settings: list[GroupSettings | None]
    weight: NDArray[np.float64]
    thresholds: dict[str, tuple[float, float]]
    seed: int
    sizes: NDArray[np.int64]
    scale_by_size: bool

    @classmethod
    def of(cls, fit: Fit, matrix: DesignMatrix) -> GroupTable:
        """Resolve the group table of a run file against the groups that the store has.

        :raises UnknownNameError: the table names a group that the store lacks
        """
        fit.check_groups(matrix.index.live_groups())
        present = sorted(matrix.selection.groups())
        settings = [fit.group(name) for name in present]
        if fit.stress_weight_unit not in STRESS_UNITS:
            raise SettingsError(f"stress_weight_unit is {fit.stress_weight_unit!r}; one of {', '.join(STRESS_UNITS)}.")
        unit = STRESS_UNITS[fit.stress_weight_unit]
        weight = np.array([[0.0] * 3 if s is None else [s.energy, s.force, s.stress / unit] for s in settings])
        if not np.isfinite(weight).all() or (weight < 0).any():
            bad = present[int(np.argmax((~np.isfinite(weight) | (weight < 0)).any(axis=1)))]
            raise SettingsError(f"group {bad!r} has a weight that is negative or not a number.")
        table = cls(present, settings, weight, {}, fit.seed, np.zeros((len(present), 2), np.int64),
                    fit.weight_scaling == "group-size")  # fmt: skip
        table._count(matrix)
        return table

    def _count(self, matrix: DesignMatrix) -> None:
        """Turn counts into thresholds and count configurations per group and split (one pass over the hashes)."""
        place: dict[str, list[NDArray[np.float64]]] = {}
        whole = {name for name, s in zip(self.groups, self.settings, strict=True) if s is not None and _whole(s)}
        for labels in matrix.members():
            names = set(labels.group.tolist())
            p = np.zeros(len(labels.group)) if names <= whole else labels.places(self.seed)
            for name in names:
                place.setdefault(str(name), []).append(p[(labels.group == name) & labels.live])
        for g, name in enumerate(self.groups):
            s = self.settings[g]
            mine = np.concatenate(place.get(name, [np.zeros(0)]))
            if s is None:
                continue
            if name in whole:
                self.sizes[g] = [len(mine), 0]
                self.thresholds[name] = _EVERY
                continue
            split = assign(mine, s.train, s.test, name)
            self.sizes[g] = [(split == TRAIN).sum(), (split == TEST).sum()]
            train, test = mine[split == TRAIN], mine[split == TEST]
            # a count of the whole store has to hold in every segment: keep the border, not the count
            self.thresholds[name] = (
                float(train.max()) if len(train) else -1.0,
                float(test.min()) if len(test) else 2.0,
            )

    def codes(self, labels: SegmentGroups) -> NDArray[np.int32]:
        """Group code of each configuration of a segment."""
        where = {name: i for i, name in enumerate(self.groups)}
        # a group that is here and not in the table has no configuration that counts
        return np.array([where.get(g, 0) for g in labels.group.tolist()], np.int32)

    def split(self, labels: SegmentGroups) -> NDArray[np.int8]:
        """TRAIN, TEST or UNUSED for each configuration of a segment."""
        out = np.full(len(labels.group), UNUSED, np.int8)
        for name in set(labels.group.tolist()):
            if str(name) not in self.thresholds:
                continue
            mine = labels.group == name
            if self.thresholds[str(name)] == _EVERY:
                out[mine] = TRAIN
                continue
            p = labels.places(self.seed)
            low, high = self.thresholds[str(name)]
            out[mine & (p >= high)] = TEST
            out[mine & (p <= low)] = TRAIN
        return out

    def row_weights(
        self, block: Block, codes: NDArray[np.int32], split: NDArray[np.int8], n_atoms: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Weight of each row of a block."""
        owner = block.configuration
        w: NDArray[np.float64] = self.weight[codes, block.kind][owner]
        if self.scale_by_size:
            w = w / np.maximum(1, self.sizes[codes[owner], np.minimum(split[owner], 1)])
            if block.kind == 1:
                w = w / (3 * n_atoms[owner])
            elif block.kind == 2:
                w = w / 6
        return w
