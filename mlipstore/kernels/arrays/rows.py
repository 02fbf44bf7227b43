"""SNAP rows of a batch in an array library: NumPy, or CuPy, with which everything but the list of pairs is on the GPU.

The steps are those of the compiled kernel, for all atoms of a chunk at once: sums of U over neighbours, projections and
components (:mod:`.products`), then per level one batched product of projections with the derivatives of U, and sums of
the gradients by atom and by cell. No loop runs over atoms or pairs. All sums have a fixed order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...computing import Rows, type_index
from ...configuration import F8, Batch
from ..snap import PairGradients, snap_pairs
from .density import Neighbours, recursion, tangent_columns
from .layout import I8, padded, segments
from .products import Projections, projections
from .tables import Tables, tables

if TYPE_CHECKING:
    from ...descriptors.snap import Snap

#: Memory for intermediate results in bytes, unless told otherwise. More does not help a processor.
HOST_BYTES = 64 << 20
#: The atoms of a chunk are filled up to a multiple of so many: a matrix product with whole vectors of columns gives
#: each of them the same bits wherever it is (OpenBLAS; cuBLAS does not promise it).
_LANES = 8


def snap_rows(snap: Snap, batch: Batch, xp: ModuleType = np, memory: int | None = None) -> Rows:
    """Rows of a batch as arrays of ``xp``, see :class:`mlipstore.computing.Rows`.

    :param memory: for intermediate results, in bytes; the rows themselves come on top
    """
    pairs = snap_pairs(snap, batch)
    made = _Maker(snap, batch, pairs, tables(snap, xp), xp, memory or HOST_BYTES)
    for first, last in made.chunks():
        made.add(first, last)
    return made.rows()


@dataclass
class _Group:
    """Atoms of a chunk with about the same number of neighbours.

    :param atom: ``(a,)``, in the chunk
    :param pair: ``(a, n)``, in the chunk; the number of its pairs where there is none
    :param near: what its neighbours are
    :param matrices: v of each level and neighbour: read again, they cost less than made again
    """

    atom: Any
    pair: Any
    near: Neighbours
    matrices: list[Any]


class _Maker:
    """Rows that are being made.

    :ivar energy: ``(n elements, 1, columns)``; ``force`` and ``stress`` likewise with 3 and 6 by atom and by
        configuration, products included
    """

    def __init__(
        self, snap: Snap, batch: Batch, pairs: PairGradients, made_of: Tables, xp: ModuleType, memory: int
    ) -> None:
        self.snap, self.batch, self.pairs, self.tables, self.xp, self.memory = snap, batch, pairs, made_of, xp, memory
        self.types = type_index(batch.number, snap.elements).astype(np.int64)
        self.owner: I8 = np.repeat(np.arange(len(batch)), batch.n_atoms)
        t, width = self.tables.n_elements, self.tables.width
        self.energy = xp.zeros((len(batch) * t, 1, width))
        self.force = xp.zeros((len(self.types) * t, 3, width))
        self.stress = xp.zeros((len(batch) * t, 6, width))

    # ------------------------------------------------------------ chunks
    def chunks(self) -> Iterator[tuple[int, int]]:
        """Atoms that are computed together: whole configurations, or parts of a large one."""
        starts, first = self.batch.atom_start, 0
        need = np.append(0.0, np.cumsum(self._bytes_of_atoms()))

        def too_many(end: int) -> bool:
            return bool(need[end] - need[first] > self.memory) and end - first > 1

        for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            if too_many(end) and begin > first:
                yield first, begin
                first = begin
            while too_many(end):
                last = int(np.searchsorted(need, need[first] + self.memory, side="right")) - 1
                last = max(last, first + 1)
                yield first, last
                first = last
        if first < len(self.types):
            yield first, len(self.types)

    def _bytes_of_atoms(self) -> F8:
        """Intermediate results of each atom, about."""
        made, n = self.tables, padded(np.diff(self.pairs.pair_start) + 1)
        columns, top = made.n_columns, made.levels[-1].size
        elements = sum(level.size for level in made.levels)
        densities = 16 * made.n_densities * 3 * elements + 16 * n * elements
        kept = 32 * sum(level.n_rows * level.size for level in made.levels)
        product = max(16 * (c.over_b.shape[1] + len(c.over_b)) * c.over_a[0].shape[1] for c in made.couplings)
        rows = 6 * max(level.n_rows for level in made.levels)
        near = 8 * n * (20 + max(10 * top + rows + 3 * columns, rows + 9 * columns))
        out = 8 * 3 * columns * (2.5 * n + 8)
        total: F8 = densities + kept + np.maximum(product, near) + out
        return total

    # ------------------------------------------------------------- a chunk
    def add(self, first: int, last: int) -> None:
        """Rows of the atoms ``first`` to ``last``."""
        xp, made = self.xp, self.tables
        atoms = last - first
        begin, end = int(self.pairs.pair_start[first]), int(self.pairs.pair_start[last])
        near = _Pairs.of(self, first, last, begin, end)
        types = self.types[first:last]
        densities = self._densities(near, types)
        found = projections(xp, made, densities)
        component = found.components(xp, made, densities)[:atoms] - made.isolated[xp.asarray(types)]
        # One entry for each atom itself, one for each pair, and one that is zero.
        gradient = xp.zeros((end - begin + atoms + 1, 3, made.n_columns))
        virial = xp.zeros((atoms + 1, 6, made.n_columns))
        for density, groups in enumerate(near.groups):
            for group in groups:
                self._gradients(near.vector[group.pair], group, density, found, gradient, virial)
        known = xp.concatenate([component, xp.zeros((1, made.n_columns))])
        centre = np.repeat(np.arange(atoms), np.diff(self.pairs.pair_start[first : last + 1]))
        moved = np.concatenate([np.arange(first, last), self.pairs.neighbour[begin:end]])
        centre = np.concatenate([np.arange(atoms), centre, [atoms]])
        t, own = made.n_elements, np.arange(atoms + 1)
        cell = self.owner[first:last] * t + types
        self._sum(self.energy, known[:, None], known, own, cell, 1.0, 0.5)
        self._sum(self.force, gradient, known, centre, moved * t + types[centre[:-1]], -1.0, -1.0)
        self._sum(self.stress, virial, known, own, cell, 1.0, 1.0)

    def _densities(self, near: _Pairs, types: I8) -> list[list[Any]]:
        """v of each density and level, summed over neighbours, ``(h, j + 1, atoms)``; the atom itself included."""
        types = np.append(types, np.full(-len(types) % _LANES, -1))
        xp, made, snap = self.xp, self.tables, self.snap
        out = []
        for density, groups in enumerate(near.groups):
            everywhere = not snap.chemflag or snap.wselfallflag
            own = xp.asarray(np.ones(len(types)) if everywhere else np.where(types == density, 1.0, 0.0))
            sums = [level.unit * own + 0j for level in made.levels]
            for group in groups:
                for v, total in zip(group.matrices, sums, strict=True):
                    total[:, :, group.atom] += v.sum(axis=-1)
            out.append(sums)
        return out

    def _gradients(
        self, vector: Any, group: _Group, density: int, found: Projections, gradient: Any, virial: Any
    ) -> None:
        """Gradients of the components of a group by the positions of its neighbours, and what they add up to."""
        xp, made = self.xp, self.tables
        atoms, n = group.near.fc.shape
        slope = xp.zeros((atoms, made.n_columns, 3 * n))
        for level, rows, to, v in zip(
            made.levels, found.of_atoms, made.gradients[density], group.matrices, strict=True
        ):
            if len(to.column):
                part = xp.matmul(rows[group.atom], tangent_columns(xp, level, group.near, v)).real
                slope[:, to.column] += to.factor[:, None] * part[:, to.row]
        slope = slope.reshape(atoms, made.n_columns, 3, n)
        with_one = xp.concatenate([xp.ones((atoms, n, 1)), vector], axis=2)
        of_pair = group.pair.reshape(-1) + (len(virial) - 1)
        sums = []
        for c in range(3):
            w = group.near.omega[c]
            d = sum(w[g][:, None] * slope[:, :, g] for g in range(3))
            sums.append(xp.matmul(d, with_one))  # (atoms, columns, 4): sum of d, x d, y d, z d
            gradient[of_pair, c] = xp.moveaxis(d, 2, 1).reshape(atoms * n, -1)
            gradient[group.atom, c] -= sums[c][:, :, 0]
        for k, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (2, 1), (2, 0), (1, 0))):
            virial[group.atom, k] += sums[b][:, :, 1 + a]

    def _sum(
        self, out: Any, value: Any, component: Any, centre: NDArray[Any], key: I8, scale: float, product_scale: float
    ) -> None:
        """Add entries ``(n + 1, c, columns)`` to the rows of their keys ``(n,)``, and products with B of their centre.

        B_a B_b of an atom changes by B_a dB_b + B_b dB_a.
        """
        xp, columns = self.xp, self.tables.n_columns
        upper, axes = self.tables.upper, value.shape[1]
        of_centre = xp.asarray(centre)
        for keys, entries in segments(key, len(key)):
            width = axes * columns * (entries.shape[1] if upper is None else entries.shape[1] + 4 * columns)
            step = max(1, self.memory // (32 * width))
            for i in range(0, len(keys), step):
                to, index = xp.asarray(keys[i : i + step]), xp.asarray(entries[i : i + step])
                found = value[index]
                out[to, :, :columns] += scale * found.sum(axis=1)
                if upper is None:
                    continue
                b = xp.moveaxis(component[of_centre[index]], 1, 2)
                both = xp.matmul(b, found.reshape(len(to), -1, axes * columns)).reshape(len(to), columns, axes, columns)
                (p, q), count = upper
                both = both[:, p, :, q] + both[:, q, :, p]  # (products, keys, axes)
                out[to, :, columns:] += product_scale * xp.moveaxis(both * count[:, None, None], 0, 2)

    # -------------------------------------------------------------- the end
    def rows(self) -> Rows:
        """In stored order, scaled, without what lies beyond the ``twojmax`` of its element."""
        xp, t = self.xp, self.tables.n_elements
        batch, volume = self.batch, np.abs(np.linalg.det(self.batch.cell)) if len(self.batch) else np.zeros(0)
        bulk = batch.pbc.all(axis=1)
        self.stress *= xp.asarray(np.repeat(np.where(bulk, 1.0, 0.0) / np.where(bulk, volume, 1.0), t))[:, None, None]
        out = []
        for block in (self.energy, self.force, self.stress):
            if self.tables.mask is not None:
                block = block.reshape(-1, t, *block.shape[1:]) * self.tables.mask[:, None]
            axes, width = block.shape[-2:]
            block = xp.moveaxis(block.reshape(-1, t, axes, width), 1, 2)
            out.append(xp.ascontiguousarray(block).reshape(-1, t * width))
        return Rows(*out)


@dataclass
class _Pairs:
    """Pairs of a chunk and how they are grouped.

    :param vector: ``(pairs + 1, 3)``; the last one is for what only fills up
    :param groups: of each density
    """

    vector: Any
    groups: list[list[_Group]]

    @classmethod
    def of(cls, maker: _Maker, first: int, last: int, begin: int, end: int) -> _Pairs:
        xp, made, types, pairs = maker.xp, maker.tables, maker.types, maker.pairs
        n = end - begin
        centre = np.repeat(np.arange(last - first), np.diff(pairs.pair_start[first : last + 1]))
        other = types[pairs.neighbour[begin:end]]
        vector = xp.asarray(np.concatenate([pairs.vector[begin:end], [[0.0, 0.0, 1.0]]]))
        kind = xp.asarray(np.append(types[first + centre] * made.n_elements + other, 0))
        groups = []
        for density in range(made.n_densities):
            mine = np.flatnonzero(other == density) if made.n_densities > 1 else np.arange(n)
            lookup = np.append(mine, n)
            groups.append(
                [
                    _group(xp, made, vector, kind, xp.asarray(atom), xp.asarray(lookup[entries]))
                    for atom, entries in segments(centre[mine], len(mine))
                ]
            )
        return cls(vector, groups)


def _group(xp: ModuleType, made: Tables, vectors: Any, kinds: Any, atom: Any, pair: Any) -> _Group:
    vector, kind = vectors[pair], kinds[pair]
    constants = {name: values[kind] for name, values in made.pairs.items()}
    constants["weight"] = xp.where(pair < len(kinds) - 1, constants["weight"], 0.0)
    near = Neighbours.of(xp, vector[:, :, 0], vector[:, :, 1], vector[:, :, 2], constants)
    return _Group(atom, pair, near, list(recursion(xp, made.levels, near)))
