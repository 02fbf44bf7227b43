"""Projections of products of two density matrices, and the components they give."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .tables import Coupling, Tables


@dataclass
class Projections:
    """Projections of all atoms of a chunk, by level.

    :param by_level: ``(projections, 2 h (j + 1), atoms)``: 2 N Z, N Z in the row in the middle; real parts, then
        imaginary ones
    :param of_atoms: the same as ``(atoms, projections, 2 h (j + 1))``
    :param densities: ``[density][level]``: v ``(2 h (j + 1), atoms)``
    """

    by_level: list[Any]
    of_atoms: list[Any]
    densities: list[list[Any]]

    def components(self, xp: ModuleType, made: Tables) -> Any:
        """B ``(atoms, columns)``: sums of conj(U) Z over the level of U."""
        atoms = self.by_level[0].shape[-1]
        out = xp.zeros((made.n_columns, atoms))
        for density, targets in zip(self.densities, made.components, strict=True):
            for v, rows, to in zip(density, self.by_level, targets, strict=True):
                if len(to.column):
                    out[to.column] = to.factor[:, None] * (rows[to.row] * v).sum(axis=1)
        return xp.ascontiguousarray(out.T)


def projections(xp: ModuleType, made: Tables, densities: list[list[Any]]) -> Projections:
    """All of them.

    :param densities: ``[density][level]``: v ``(h, j + 1, atoms)``
    """
    atoms = densities[0][0].shape[-1]
    full = [[_full(xp, level, v) for level, v in zip(made.levels, d, strict=True)] for d in densities]
    by_level = [xp.empty((level.n_rows, level.size, atoms)) for level in made.levels]
    for p in made.products:
        c = made.couplings[p.coupling]
        for place, j, z in zip(p.rows, c.levels, _project(xp, c, full[p.a][c.j1], full[p.b][c.j2]), strict=True):
            level = made.levels[j]
            by_level[j][place] = _halves(xp, level.weight * z)
    of_atoms = [xp.ascontiguousarray(xp.moveaxis(rows, 2, 0)) for rows in by_level]
    return Projections(by_level, of_atoms, [[_halves(xp, v) for v in d] for d in densities])


def _full(xp: ModuleType, level: Any, v: Any) -> Any:
    """All of U from half of v: ``((j + 1)^2, atoms)``."""
    half = level.norm * v
    rest = level.mirror * xp.conj(half[: level.j + 1 - level.h][::-1, ::-1])
    return xp.concatenate([half, rest]).reshape((level.j + 1) ** 2, -1)


def _project(xp: ModuleType, c: Coupling, first: Any, second: Any) -> list[Any]:
    """Z ``(h, j + 1, atoms)`` on each level of a coupling."""
    product = first[c.first] * second[c.second]
    b, a, atoms = product.shape
    # Coefficients are real: complex numbers count as two.
    over_b = xp.matmul(c.over_b, product.reshape(b, a * atoms).view(xp.float64)).reshape(-1, a, 2 * atoms)
    out, start = [], 0
    for j, over_a in zip(c.levels, c.over_a, strict=True):
        h = j // 2 + 1
        z = xp.matmul(over_a, over_b[start : start + h])
        out.append(z.view(xp.complex128))
        start += h
    return out


def _halves(xp: ModuleType, z: Any) -> Any:
    """Real parts, then imaginary ones, of ``(h, j + 1, atoms)``: ``(2 h (j + 1), atoms)``."""
    flat = z.reshape(-1, z.shape[-1])
    return xp.concatenate([flat.real, flat.imag])
