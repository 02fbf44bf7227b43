"""Checks at the door: what can be counted while configurations stream in. Reported, never silently repaired.

The physics (units and signs against dE/dV, energies against forces, ...) is the audit's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .configuration import Batch
from .errors import InputError
from .reading import ReadReport

#: Cells thinner than this (Å^3 per cell) have no volume to speak of.
_SMALLEST_VOLUME = 1e-6
#: What a stress of six zeros may be.
ZERO_STRESS = ("missing", "value")


@dataclass
class Checks:
    """Counts over everything that was read; ``examples`` names up to five places for each finding."""

    configurations: int = 0
    atoms: int = 0
    with_energy: int = 0
    with_forces: int = 0
    with_stress: int = 0
    zero_stress: int = 0
    zero_stress_kept: bool = False
    zero_forces: int = 0
    left_handed: int = 0
    partly_periodic: int = 0
    copies: int = 0
    copied_geometries: int = 0
    geometries_in_several_groups: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def note(self, what: str, batch: Batch, which: Any) -> int:
        """Keep examples of a finding and return how many there are."""
        hits = np.flatnonzero(which)
        places = self.examples.setdefault(what, []) if len(hits) else []
        places.extend(batch.place(int(i)) for i in hits[: max(0, 5 - len(places))])
        return len(hits)

    def finish(self, key: NDArray[np.uint64], group: NDArray[np.int32]) -> None:
        """Count copies over the whole store: geometries equal to 1e-4 Å.

        :param key, group: geometry and group of everything that counts, as numbers that tell them apart, ``(n,)``
        """
        order = np.argsort(key, kind="stable")  # takes long sorted runs as they are, which most of it is
        key, group = key[order], group[order]
        first = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.zeros(0, np.int64)
        counts = np.diff(np.append(first, len(key)))
        self.copies = len(key) - len(first)
        self.copied_geometries = int((counts > 1).sum())
        several = np.repeat(counts > 1, counts)  # as a rule few
        run = np.repeat(np.arange(len(first)), counts)[several]
        pairs = np.unique(np.column_stack([run, group[several]]), axis=0)
        self.geometries_in_several_groups = int((np.bincount(pairs[:, 0]) > 1).sum()) if len(pairs) else 0


def check(batch: Batch, zero_stress: str, checks: Checks, report: ReadReport) -> Batch:
    """Count findings of a batch, refuse what makes no sense, and apply the rule for all-zero stress tensors.

    :param zero_stress: ``missing`` or ``value``, see :func:`mlipstore.ingest.ingest`
    :param report: says whether what makes no sense stops the ingest or is left out and listed
    :raises InputError: no atoms, non-finite positions, cell or labels, or a periodic cell without volume
    """
    batch = _sound(batch, report)
    if not len(batch):
        return batch
    zero: NDArray[np.bool_] = np.asarray((batch.stress == 0).all(axis=1))
    checks.zero_stress += checks.note("all-zero stress", batch, zero)
    checks.zero_stress_kept = zero_stress == "value"
    if zero.any() and zero_stress == "missing":
        batch = replace(batch, stress=np.where(zero[:, None], np.nan, batch.stress))
    checks.configurations += len(batch)
    checks.atoms += len(batch.number)
    checks.with_energy += int(np.isfinite(batch.energy).sum())
    checks.with_stress += int(np.isfinite(batch.stress).all(axis=1).sum())
    has_force: NDArray[np.bool_] = np.asarray(np.isfinite(batch.force[batch.atom_start[:-1], 0]))  # all or none is
    checks.with_forces += int(has_force.sum())
    checks.zero_forces += int(((_per_configuration(batch, batch.force != 0) == 0) & has_force).sum())
    periodic = batch.pbc.all(axis=1)
    checks.left_handed += checks.note("left-handed cell", batch, (_determinant(batch.cell) < 0) & periodic)
    checks.partly_periodic += checks.note("not periodic in all directions", batch, ~periodic)
    return batch


def _sound(batch: Batch, report: ReadReport) -> Batch:
    """The configurations that can be stored; the others are refused, see :meth:`ReadReport.refuse`."""
    bad = _problems(batch)
    if not bad:
        return batch
    for i, message in sorted(bad.items()):
        report.refuse(InputError(message, str(batch.source[i]), int(batch.frame[i])))
    return batch.take(np.array([i for i in range(len(batch)) if i not in bad], np.int64))


def _problems(batch: Batch) -> dict[int, str]:
    """What is wrong with each configuration that cannot be stored."""
    out: dict[int, str] = {}

    def note(which: Any, message: str) -> None:
        for i in np.flatnonzero(which):
            out.setdefault(int(i), message)

    note(batch.n_atoms == 0, "the configuration has no atoms. Remove the frame.")
    note(
        _per_configuration(batch, ~np.isfinite(batch.position)) > 0,
        "a position is not a finite number. Repair or remove the frame.",
    )
    finite_cell: NDArray[np.bool_] = np.asarray(np.isfinite(batch.cell).all(axis=(1, 2)))
    note(~finite_cell, "the cell has a number that is not finite. Repair the frame.")
    note(batch.group == "*", "its group is called '*', which stands for all groups. Choose others with --group-by.")
    note(np.isinf(batch.energy), "the energy is infinite. Repair the frame, or write nan for a missing energy.")
    missing = _per_configuration(batch, np.isnan(batch.force))
    note(
        (missing > 0) & (missing < 3 * batch.n_atoms),
        "some forces are not numbers, others are. Repair the frame, or leave all forces of it out.",
    )
    note(_per_configuration(batch, np.isinf(batch.force)) > 0, "a force is infinite. Repair the frame.")
    broken = np.isinf(batch.stress).any(axis=1) | (
        np.isnan(batch.stress).any(axis=1) & ~np.isnan(batch.stress).all(axis=1)
    )
    note(broken, "some stress components are not finite numbers. Repair the frame, or leave the stress out.")
    cell = np.where(finite_cell[:, None, None], batch.cell, np.eye(3))
    lengths = np.linalg.norm(cell, axis=2)
    note(((lengths < 1e-8) & batch.pbc).any(axis=1), "a periodic direction has no lattice vector. Repair the cell.")
    note(
        batch.pbc.all(axis=1) & (np.abs(_determinant(cell)) < _SMALLEST_VOLUME),
        'the cell is periodic but has no volume. Give the cell, or pbc="F F F" for a molecule.',
    )
    return out


def _per_configuration(batch: Batch, which: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many components ``(N, 3)`` of each configuration are true, ``(n,)``."""
    if not which.any():
        return np.zeros(len(batch), np.int64)
    ends = 3 * batch.atom_start
    counts = np.concatenate([[0], np.cumsum(which.reshape(-1), dtype=np.int64)])
    return np.asarray(counts[ends[1:]] - counts[ends[:-1]])


def _determinant(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Determinants of ``(n, 3, 3)``; LAPACK takes far longer for small matrices."""
    return np.asarray(np.einsum("ni,ni->n", cell[:, 0], np.cross(cell[:, 1], cell[:, 2])))
