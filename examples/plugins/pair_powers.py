"""A descriptor in one file: powers of the distance between two atoms, with a cutoff that is smooth."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from mlipstore.computing import Column, Rows, empty_rows, type_index
from mlipstore.configuration import F8, Batch
from mlipstore.errors import ComputeError, SettingsError
from mlipstore.runs.values import element_symbols, number, whole
from mlipstore.units import VOIGT_INDEX


@dataclass(frozen=True)
class PairPowers:
    """phi_k(r) = (1 - r^2 / cutoff^2)^(k + 3), summed over all neighbours, for each pair of elements.

    :param elements: chemical symbols
    :param cutoff: distance beyond which atoms do not see each other, in Å
    :param n_powers: number of powers, k = 0, 1, ...
    """

    elements: tuple[str, ...]
    cutoff: float = 5.0
    n_powers: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", element_symbols(self.elements))  # checked, in one form
        object.__setattr__(self, "cutoff", number("cutoff", self.cutoff))
        object.__setattr__(self, "n_powers", whole("n_powers", self.n_powers))
        if self.cutoff <= 0 or self.n_powers < 1:
            raise SettingsError("descriptor 'pair-powers': cutoff and n_powers must be positive.")

    @staticmethod
    def example(elements: tuple[str, ...]) -> dict[str, Any]:
        """Small settings, for the contract tests."""
        return {"elements": elements, "cutoff": 4.2, "n_powers": 3}

    def label(self) -> str:
        return f"pair-powers-{self.n_powers}"

    def columns(self) -> list[Column]:
        pairs = [(a, b) for a in self.elements for b in self.elements]
        return [Column(f"{a}-{b} {k}", a) for a, b in pairs for k in range(self.n_powers)]

    def rows(self, batch: Batch) -> Rows:
        """Energy, force and stress rows; each configuration by itself, so that batches do not matter."""
        out = empty_rows(batch, len(self.columns()))
        types = type_index(batch.number, self.elements)
        power = np.arange(self.n_powers) + 3
        for c in range(len(batch)):
            atoms = slice(int(batch.atom_start[c]), int(batch.atom_start[c + 1]))
            kind = types[atoms]
            if not len(kind):
                continue
            i, j, d = self._neighbours(batch, c, kind)  # d (pairs, 3) points from atom i to atom j
            y = 1.0 - (d**2).sum(axis=1, keepdims=True) / self.cutoff**2
            value = y**power  # (pairs, powers)
            slope = -2.0 / self.cutoff**2 * power * y ** (power - 1)
            gradient = slope[:, None, :] * d[:, :, None]  # of value by the position of j (pairs, 3, powers)
            pair = kind[i] * len(self.elements) + kind[j]
            column = pair[:, None] * self.n_powers + np.arange(self.n_powers)
            np.add.at(out.energy[c], column, value)
            force = out.force[3 * atoms.start : 3 * atoms.stop].reshape(len(kind), 3, -1)
            xyz, across = np.arange(3)[None, :, None], column[:, None, :]
            np.add.at(force, (i[:, None, None], xyz, across), gradient)  # force = minus gradient
            np.add.at(force, (j[:, None, None], xyz, across), -gradient)
            if batch.pbc[c].all():
                for k, (a, b) in enumerate(VOIGT_INDEX):
                    np.add.at(out.stress[6 * c + k], column, gradient[:, a] * d[:, b, None] / batch.volume[c])
        return out

    def _neighbours(self, batch: Batch, c: int, kind: Any) -> tuple[Any, Any, F8]:
        """Both atoms of every pair within the cutoff, and the vector between them (all images: simple, not fast)."""
        one = batch[c]
        lattice = one.cell[one.pbc]
        if (kind < 0).any():
            raise ComputeError(f"{batch.place(c)}: an element is not in {' '.join(self.elements)}. Add it to elements.")
        if not np.isfinite(one.positions).all():
            raise ComputeError(f"{batch.place(c)}: a position is not a finite number. Repair the configuration.")
        if np.linalg.matrix_rank(lattice) < len(lattice):
            raise ComputeError(f"{batch.place(c)}: the cell vectors lie in one plane. Repair the cell.")
        inverse = np.linalg.pinv(lattice)
        reach = np.ceil(self.cutoff * np.linalg.norm(inverse, axis=0) + 0.5).astype(int)
        images = np.array(list(product(*(range(-r, r + 1) for r in reach)))) @ lattice
        found: list[tuple[Any, Any, F8]] = []
        for i, here in enumerate(one.positions):
            d = one.positions - here
            d = (d - np.rint(d @ inverse) @ lattice)[:, None] + images
            squared = (d**2).sum(axis=2)
            j, image = np.nonzero((squared < self.cutoff**2) & (squared > 0))
            found.append((np.full(len(j), i), j, d[j, image]))
        first, second, vectors = (np.concatenate(column) for column in zip(*found, strict=True))
        return first, second, vectors


plugin = PairPowers
