"""What the audit keeps of each configuration: some numbers in columns, about 0.6 kB, and no atoms."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8, Batch
from .geometry import FINGERPRINT, near, shortest_ratio

#: Rounding of cell shape and of fractional coordinates that puts configurations into one series of volumes.
_SERIES = 0.01
#: Shortest distance over the sum of covalent radii below which other readings of the coordinates are tried.
_CLOSE = 0.6
#: Å^3 below which a cell has no inside.
_NO_VOLUME = 1e-9
#: Atoms of one configuration above which other readings are not tried, and its neighbours are those of a part.
_LARGE = 20_000


@dataclass
class Summary:
    """Columns with one entry per configuration ``(n,)``; units as everywhere, NaN = missing.

    :param group: position in ``groups``; ``source`` in ``sources``; ``composition`` in ``compositions``
    :param compositions: sorted (atomic number, count) pairs
    :param order: hash of the atomic numbers in stored order; ``series`` of group of equal shape and fractional
        coordinates
    :param force_sum: largest component of the sum of all forces, eV/Å; ``force_max``: largest force on an atom
    :param zero_force: whether all forces are exactly zero; ``zero_stress``: all six components are
    :param ratio: shortest distance over the sum of covalent radii; ``distance`` in Å, ``pair`` its atomic numbers
    :param fractional: coordinates read as fractional ones make sense where as Cartesian ones they do not
    :param transposed: the cell makes sense when its rows and columns change places, and not as it is
    :param filled: not periodic, but with periodic images of the cell the atoms are as near as in a solid
    """

    group: NDArray[np.int32]
    source: NDArray[np.int32]
    frame: NDArray[np.int64]
    uid: NDArray[np.uint8]
    geometry: NDArray[np.uint8]
    n_atoms: NDArray[np.int64]
    composition: NDArray[np.int32]
    order: NDArray[np.uint64]
    series: NDArray[np.uint64]
    energy: F8
    cell: F8
    pbc: NDArray[np.bool_]
    volume: F8
    left_handed: NDArray[np.bool_]
    stress: F8
    zero_stress: NDArray[np.bool_]
    has_force: NDArray[np.bool_]
    zero_force: NDArray[np.bool_]
    force_sum: F8
    force_max: F8
    ratio: F8
    distance: F8
    pair: NDArray[np.int32]
    typical: F8
    proxy: F8
    uneven: F8
    fingerprint: F8
    fractional: NDArray[np.bool_]
    transposed: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    groups: list[str]
    sources: list[str]
    compositions: list[tuple[tuple[int, int], ...]]

    def __len__(self) -> int:
        return len(self.energy)

    @property
    def has_stress(self) -> NDArray[np.bool_]:
        return np.asarray(np.isfinite(self.stress).all(axis=1))

    def place(self, i: int) -> str:
        """Where configuration ``i`` came from."""
        return f"{self.sources[self.source[i]]}, frame {int(self.frame[i]):,}"

    def take(self, which: Any) -> Summary:
        """Some of the configurations."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        taken: dict[str, Any] = {k: v if isinstance(v, list) else v[which] for k, v in values.items()}
        return Summary(**taken)

    @classmethod
    def concatenate(cls, parts: Sequence[Summary]) -> Summary:
        """Parts one after another; names get common codes."""
        values: dict[str, Any] = {}
        for name, column in (("groups", "group"), ("sources", "source"), ("compositions", "composition")):
            code: dict[Any, int] = {}
            translated = []
            for p in parts:
                names = getattr(p, name)
                new = np.array([code.setdefault(x, len(code)) for x in names], np.int32)
                old = getattr(p, column)
                translated.append(new[old] if len(old) else old)
            values[name], values[column] = list(code), np.concatenate(translated)
        for f in fields(cls):
            if f.name not in values:
                values[f.name] = np.concatenate([getattr(p, f.name) for p in parts])
        return cls(**values)


@np.errstate(all="ignore")
def summarise(batch: Batch) -> Summary:
    """The summary of a batch of configurations."""
    n = len(batch)
    starts = batch.atom_start
    volume = batch.volume
    zeros = np.zeros(n, bool)
    groups, group = _coded([str(g) for g in batch.group])
    sources, source = _coded([str(s) for s in batch.source])
    out = Summary(
        group=group, source=source, frame=batch.frame.astype(np.int64), uid=batch.uid, geometry=batch.geometry,
        n_atoms=batch.n_atoms, composition=np.zeros(n, np.int32), order=np.zeros(n, np.uint64),
        series=np.zeros(n, np.uint64), energy=batch.energy, cell=batch.cell, pbc=batch.pbc, volume=volume,
        left_handed=(np.linalg.det(batch.cell) < 0) & batch.pbc.all(axis=1) if n else zeros,
        stress=batch.stress, zero_stress=np.asarray((batch.stress == 0).all(axis=1)),
        has_force=np.asarray(np.isfinite(batch.force[starts[:-1], 0])) if n else zeros,
        zero_force=zeros.copy(), force_sum=np.full(n, np.nan), force_max=np.full(n, np.nan),
        ratio=np.full(n, np.inf), distance=np.full(n, np.inf), pair=np.zeros((n, 2), np.int32),
        typical=np.full(n, np.inf), proxy=np.full((n, 3), np.nan), uneven=np.full(n, np.nan),
        fingerprint=np.zeros((n, FINGERPRINT)), fractional=zeros.copy(), transposed=zeros.copy(),
        filled=zeros.copy(), groups=groups, sources=sources, compositions=[],
    )  # fmt: skip
    compositions: dict[tuple[tuple[int, int], ...], int] = {}
    known: dict[bytes, tuple[int, int]] = {}  # of the species of a configuration: its hash, its composition
    for i in range(n):
        atoms = slice(int(starts[i]), int(starts[i + 1]))
        z, x, cell, pbc = batch.number[atoms], batch.position[atoms], batch.cell[i], batch.pbc[i]
        species = z.tobytes()
        if species not in known:
            kinds, counts = np.unique(z, return_counts=True)
            key = tuple(zip(kinds.tolist(), counts.tolist(), strict=True))
            known[species] = _hash(species), compositions.setdefault(key, len(compositions))
        out.order[i], out.composition[i] = known[species]
        if out.has_force[i]:
            f = batch.force[atoms]
            out.force_sum[i] = np.abs(f.sum(axis=0)).max()
            out.force_max[i] = np.sqrt((f**2).sum(axis=1).max())
            out.zero_force[i] = out.force_max[i] == 0.0
        _look(out, i, z, x, cell, pbc)
        if pbc.all() and volume[i] > _NO_VOLUME:
            out.series[i] = _series(species, x, cell, volume[i])
    out.compositions = list(compositions)
    return out


def _look(out: Summary, i: int, z: NDArray[Any], x: F8, cell: F8, pbc: NDArray[np.bool_]) -> None:
    """Enter what distances say about configuration ``i``."""
    if len(z) > _LARGE:
        return
    try:
        found = near(z, x, cell, pbc)
    except (np.linalg.LinAlgError, ValueError, MemoryError):  # a cell that is no cell: said by its volume
        return
    out.ratio[i], out.distance[i], out.pair[i] = found.ratio, found.distance, found.pair
    out.typical[i], out.proxy[i], out.uneven[i] = found.typical, found.proxy, found.uneven
    out.fingerprint[i] = found.fingerprint
    if len(z) > 1 and found.ratio < _CLOSE:
        lengths = np.linalg.norm(cell, axis=1)
        if x.min() > -1.001 and x.max() < 1.001 and np.ptp(x, axis=0).max() <= 1.001 and lengths.min() > 1.8:
            out.fractional[i] = shortest_ratio(z, x @ cell, cell, pbc) > max(0.5, 1.5 * found.ratio)
        if pbc.all() and not np.allclose(cell, cell.T, atol=1e-3):
            out.transposed[i] = shortest_ratio(z, x, cell.T.copy(), pbc) > max(_CLOSE, 1.3 * found.ratio)
    if not pbc.any() and abs(np.linalg.det(cell)) > 1e-3:
        ratio = near(z, x, cell, np.ones(3, bool))
        per_atom = abs(np.linalg.det(cell)) / len(z)
        out.filled[i] = 0.65 < ratio.ratio < 1.6 and per_atom < 60.0 and _spread_out(x, cell)


def _spread_out(x: F8, cell: F8) -> bool:
    """Whether atoms reach from face to face of the cell: no gap of more than 4 Å along any vector, images included."""
    inverse = np.linalg.inv(cell)
    fractional = x @ inverse
    heights = 1.0 / np.linalg.norm(inverse, axis=0)
    for a in range(3):
        s = np.sort(fractional[:, a] - np.floor(fractional[:, a]))
        gap = max(float(np.diff(s).max()) if len(s) > 1 else 0.0, float(1.0 - s[-1] + s[0]))
        if gap * heights[a] > 4.0:
            return False
    return True


def _series(species: bytes, x: F8, cell: F8, volume: float) -> int:
    """Hash of the shape of the cell and of where the atoms are in it, whatever its size."""
    metric = cell @ cell.T / max(volume, 1e-9) ** (2 / 3)
    fractional = (x - x[0]) @ np.linalg.inv(cell)
    # the offset keeps simple fractions away from the edges of rounding
    fractional = np.floor((fractional - np.floor(fractional + 1e-4)) / _SERIES + 0.3137).astype(np.int32)
    return _hash(species + np.floor(metric / _SERIES + 0.3137).astype(np.int64).tobytes() + fractional.tobytes())


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _coded(names: list[str]) -> tuple[list[str], NDArray[np.int32]]:
    code: dict[str, int] = {}
    codes = np.array([code.setdefault(name, len(code)) for name in names], np.int32)
    return list(code), codes
