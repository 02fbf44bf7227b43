"""Projections of products of two density matrices, and the components they give."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .tables import Coupling, Level, Tables


@dataclass
class Projections:
    """Projections of all atoms of a chunk, by level: conj(2 N Z), conj(N Z) in the row in the middle.

    :param by_level: ``(projections, h (j + 1), atoms)``
    :param of_atoms: the same as ``(atoms, projections, h (j + 1))``
    """

    by_level: list[Any]
    of_atoms: list[Any]

    def components(self, xp: ModuleType, made: Tables, densities: list[list[Any]]) -> Any:
        """B ``(atoms, columns)``: sums of conj(Z) U over the level of U."""
        atoms = self.by_level[0].shape[-1]
        out = xp.zeros((made.n_columns, atoms))
        for density, targets in zip(densities, made.components, strict=True):
            for v, rows, to in zip(density, self.by_level, targets, strict=True):
                if len(to.column):
                    sums = (rows[to.row] * v.reshape(-1, atoms)).sum(axis=1)
                    out[to.column] = to.factor[:, None] * sums.real
        return xp.ascontiguousarray(out.T)


def projections(xp: ModuleType, made: Tables, densities: list[list[Any]]) -> Projections:
    """All of them.

    :param densities: ``[density][level]``: v ``(h, j + 1, atoms)``
    """
    atoms = densities[0][0].shape[-1]
    full = [[_full(xp, level, v) for level, v in zip(made.levels, d, strict=True)] for d in densities]
    by_level = [xp.empty((level.n_rows, level.size, atoms), dtype=xp.complex128) for level in made.levels]
    for p in made.products:
        c = made.couplings[p.coupling]
        for place, j, z in zip(p.rows, c.levels, _project(xp, c, full[p.a][c.j1], full[p.b][c.j2]), strict=True):
            xp.multiply(made.levels[j].weight, xp.conj(z), out=by_level[j][place].reshape(z.shape))
    return Projections(by_level, [xp.ascontiguousarray(xp.moveaxis(rows, 2, 0)) for rows in by_level])


def _full(xp: ModuleType, level: Level, v: Any) -> Any:
    """All of U from half of v: ``(j + 1, j + 1, atoms)``."""
    half = level.norm * v
    return xp.concatenate([half, level.mirror * xp.conj(half[: level.j + 1 - level.h][::-1, ::-1])])


def _project(xp: ModuleType, c: Coupling, first: Any, second: Any) -> list[Any]:
    """Z ``(h, j + 1, atoms)`` on each level of a coupling."""
    shape = (c.over_b.shape[1], c.j1 + 1, c.j2 + 1, first.shape[-1])
    product = xp.empty(shape, dtype=xp.complex128)
    for b, low, high, at in c.runs:
        xp.multiply(first[b, :, None], second[low:high, None], out=product[at : at + high - low])
    pairs, atoms = shape[1] * shape[2], shape[3]
    # Coefficients are real: complex numbers count as two.
    over_b = xp.matmul(c.over_b, product.reshape(shape[0], -1).view(xp.float64)).reshape(-1, pairs, 2 * atoms)
    out, start = [], 0
    for j, over_a in zip(c.levels, c.over_a, strict=True):
        h = j // 2 + 1
        out.append(xp.matmul(over_a, over_b[start : start + h]).view(xp.complex128))
        start += h
    return out
