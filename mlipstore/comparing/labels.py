"""Labels of configurations that two data sets share, side by side.

Energies are in the index. Forces and stresses of configurations whose content differs stream by once on each side:
those of the first side go through a scratch file of 24 bytes per atom, so that any order of the second side will do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8, Batch
from ..index import FACTS, read_batch
from ..matching import Rows
from .sides import Side

#: Labels that are equal: to so much in eV/atom, eV/Å and eV/Å^3, and to this part of them (files round).
SAME = {"energy": 1e-6, "force": 1e-5, "stress": 1e-7}
ROUNDING = 2e-7
_ENERGY, _FORCE, _STRESS = (FACTS.index(name) for name in ("energy", "max_force", "pressure"))


@dataclass
class SharedLabels:
    """Columns over shared configurations ``(n,)``; ``[0]`` and ``[1]`` are the first and the second side.

    :param rows: of the index of each side; ``n_atoms``; ``volume`` in Å^3, NaN where there is none
    :param has: of each kind: which side has the label ``(2, n)``
    :param energy: ``(2, n)`` in eV
    :param composition: position in ``compositions``, of those with different content, else -1
    :param squares: of force components: sums of ``aa``, ``ab``, ``bb`` ``(n, 3)``, and ``force`` the largest
        difference of one in eV/Å
    :param stress: ``(2, n, 6)`` in eV/Å^3, of those with different content, else NaN
    :param compositions: (atomic number, count) pairs
    """

    rows: tuple[Rows, Rows]
    n_atoms: NDArray[np.int64]
    volume: F8
    has: dict[str, NDArray[np.bool_]]
    energy: F8
    composition: NDArray[np.int32]
    squares: F8
    force: F8
    stress: F8
    compositions: list[tuple[tuple[int, int], ...]]

    def __len__(self) -> int:
        return len(self.n_atoms)

    def both(self, kind: str) -> NDArray[np.bool_]:
        """Where both sides have a label."""
        return np.asarray(self.has[kind].all(axis=0))

    def difference(self, kind: str) -> F8:
        """``(n,)``: energies per atom, second minus first; largest component of forces and stresses."""
        if kind == "energy":
            return np.asarray((self.energy[1] - self.energy[0]) / self.n_atoms)
        return self.force if kind == "force" else _largest(self.stress[1] - self.stress[0])

    def square(self, kind: str) -> tuple[F8, F8]:
        """Sum of squared differences of each configuration and how many numbers that is of."""
        if kind == "energy":
            return np.asarray(self.difference(kind) ** 2), np.ones(len(self))
        if kind == "force":
            aa, ab, bb = self.squares.T
            return np.asarray(np.maximum(aa - 2.0 * ab + bb, 0.0)), np.asarray(3.0 * self.n_atoms)
        return np.asarray(((self.stress[1] - self.stress[0]) ** 2).sum(axis=1)), np.full(len(self), 6.0)

    def differs(self, kind: str) -> NDArray[np.bool_]:
        """Where both sides have a label, and not the same."""
        with np.errstate(invalid="ignore"):
            if kind == "energy":
                size = np.abs(self.energy).max(axis=0) / self.n_atoms
            elif kind == "force":
                size = np.sqrt(np.maximum(self.squares[:, 0], self.squares[:, 2]) / np.maximum(1, self.n_atoms))
            else:
                size = _largest(self.stress).max(axis=0)
            return np.asarray(
                self.both(kind) & (np.abs(self.difference(kind)) > np.maximum(SAME[kind], ROUNDING * size))
            )


def _largest(values: F8) -> F8:
    """Largest absolute value along the last axis; NaN where one is."""
    return np.asarray(np.abs(values).max(axis=-1, initial=0.0))


def shared_labels(
    one: Side, two: Side, rows: tuple[Rows, Rows], equal: NDArray[np.bool_], progress: Callable[[int], None],
    scratch: str | Path | None = None,
) -> SharedLabels:  # fmt: skip
    """Labels of shared configurations; those of ``equal`` content are not read.

    :param rows: of the index of each side, in the order of the first
    :param progress: is told how many configurations were read
    """
    facts = np.stack([s.index.facts[r] for s, r in zip((one, two), rows, strict=True)])
    n = len(rows[0])
    has = {k: np.isfinite(facts[:, :, c]) for k, c in (("energy", _ENERGY), ("force", _FORCE), ("stress", _STRESS))}
    n_atoms = facts[0, :, FACTS.index("n_atoms")].astype(np.int64)
    out = SharedLabels(
        rows, n_atoms, facts[0, :, FACTS.index("volume")], has, facts[:, :, _ENERGY], np.full(n, -1, np.int32),
        np.zeros((n, 3)), np.zeros(n), np.where(equal[None, :, None], 0.0, np.nan) * np.ones((2, n, 6)), [],
    )  # fmt: skip
    out.energy[1, equal] = out.energy[0, equal]
    changed = np.flatnonzero(~equal)
    start = np.concatenate([[0], np.cumsum(out.n_atoms[changed])])
    known: dict[Any, int] = {}
    with tempfile.TemporaryFile(dir=scratch) as file:
        for pairs, batch in _labels(one, rows[0], changed):
            for i, k in enumerate(pairs.tolist()):
                z, counts = np.unique(batch.number[_atoms(batch, i)], return_counts=True)
                key = tuple(zip(z.tolist(), counts.tolist(), strict=True))
                out.composition[changed[k]] = known.setdefault(key, len(known))
            out.stress[0, changed[pairs]] = batch.stress
            file.seek(24 * int(start[pairs[0]]))  # they follow one another, as in the index
            file.write(np.ascontiguousarray(batch.force, "<f8").tobytes())
            progress(len(pairs))
        for pairs, batch in _labels(two, rows[1], changed):
            out.stress[1, changed[pairs]] = batch.stress
            for i, k in enumerate(pairs.tolist()):
                file.seek(24 * int(start[k]))
                a = np.frombuffer(file.read(24 * int(out.n_atoms[changed[k]])), "<f8")
                b = batch.force[_atoms(batch, i)].ravel()
                out.squares[changed[k]] = a @ a, a @ b, b @ b
                out.force[changed[k]] = np.abs(b - a).max(initial=0.0)
            progress(len(pairs))
    out.compositions = list(known)
    return out


def _atoms(batch: Batch, i: int) -> slice:
    return slice(int(batch.atom_start[i]), int(batch.atom_start[i + 1]))


def _labels(side: Side, rows: Rows, changed: Rows) -> Iterator[tuple[Rows, Batch]]:
    """Configurations of a side, a segment at a time: positions in ``changed``, and the batch of them."""
    mine = rows[changed]
    order = np.argsort(mine, kind="stable")
    segment = np.searchsorted(side.index.start, mine[order], side="right") - 1
    for number in np.unique(segment).tolist():
        pairs = order[segment == number]
        first = int(side.index.start[number])
        positions = mine[pairs] - first
        begin = int(positions[0])
        batch = read_batch(side.snapshot, side.index.segments[number].name, begin, int(positions[-1]) + 1)
        yield pairs, batch.take(positions - begin)
