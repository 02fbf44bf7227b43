"""Configurations: one (:class:`Configuration`), many as columns (:class:`Batch`), and ``ase.Atoms`` at the border.

Units are eV, Å, eV/Å, eV/Å^3 (stress positive in tension, order xx yy zz yz xz xy). A label that is not
there is NaN: an energy, all forces of a configuration, or all six stress components.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .content import content_hash, geometry_hash, hashes_of_columns
from .units import VOIGT_INDEX

if TYPE_CHECKING:
    from ase import Atoms

F8 = NDArray[np.float64]
NO_STRESS = np.full(6, np.nan)


@dataclass(slots=True)
class Configuration:
    """Atoms, cell and labels of one configuration.

    :param numbers: atomic numbers ``(n,)``
    :param positions: Cartesian ``(n, 3)`` in Å
    :param cell: rows are the lattice vectors ``(3, 3)`` in Å
    :param pbc: periodic along each lattice vector ``(3,)``
    :param energy: total energy in eV, NaN when missing
    :param forces: ``(n, 3)`` in eV/Å, or None when missing
    :param stress: ``(6,)`` in eV/Å^3, tension positive, xx yy zz yz xz xy, or None when missing
    :param spin: magnetic moment vectors ``(n, 3)`` in Bohr magnetons, optional
    :param charge: charges ``(n,)`` in e, optional
    :param info: anything else the file says about the configuration (JSON values)
    :param source: the file it came from; ``frame`` counts from 0 inside it
    """

    numbers: NDArray[Any]
    positions: F8
    cell: F8
    pbc: NDArray[np.bool_]
    energy: float = float("nan")
    forces: F8 | None = None
    stress: F8 | None = None
    group: str = ""
    source: str = ""
    frame: int = 0
    spin: F8 | None = None
    charge: F8 | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Signed volume in Å^3; negative for a left-handed cell."""
        return float(np.linalg.det(self.cell))

    @classmethod
    def from_ase(cls, atoms: Atoms, group: str = "", source: str = "", frame: int = 0) -> Configuration:
        """Take cell, positions and the results of an attached calculator (ASE units, nothing converted).

        Where it has no magnetic moments or charges, the initial ones are taken.
        """
        results: dict[str, Any] = dict(atoms.calc.results) if atoms.calc is not None else {}
        energy = results.get("energy")
        stress = results.get("stress")
        forces = results.get("forces")
        if stress is not None:
            stress = np.asarray(stress, float)
            if stress.shape == (3, 3):
                stress = voigt(stress)
        spin = results.get("magmoms", atoms.arrays.get("initial_magmoms"))
        if spin is not None:
            spin = np.asarray(spin, float)
            if spin.ndim == 1:  # collinear moments point along z
                spin = np.column_stack([np.zeros((len(spin), 2)), spin])
        charge = results.get("charges", atoms.arrays.get("initial_charges"))
        return cls(
            numbers=np.asarray(atoms.numbers),
            positions=np.asarray(atoms.positions, float),
            cell=np.asarray(atoms.cell[:], float),
            pbc=np.asarray(atoms.pbc, bool),
            energy=float("nan") if energy is None else float(energy),
            forces=None if forces is None else np.asarray(forces, float),
            stress=stress,
            group=group,
            source=source,
            frame=frame,
            spin=spin,
            charge=None if charge is None else np.asarray(charge, float),
        )

    def to_ase(self) -> Atoms:
        """``ase.Atoms`` with the labels as results of a single-point calculator and the group in ``info``."""
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms = Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)
        results: dict[str, Any] = {}
        if np.isfinite(self.energy):
            results["energy"] = self.energy
        if self.forces is not None and np.isfinite(self.forces).all():
            results["forces"] = self.forces
        if self.stress is not None and np.isfinite(self.stress).all():
            results["stress"] = self.stress
        if self.spin is not None:
            results["magmoms"] = self.spin
        if self.charge is not None:
            results["charges"] = self.charge
        atoms.calc = SinglePointCalculator(atoms, **results)  # type: ignore[no-untyped-call]
        atoms.info.update(self.info)
        if self.group:
            atoms.info["config_type"] = self.group
        return atoms

    def uid(self) -> bytes:
        """sha256 (32 bytes) of the physics: species, cell, positions, pbc, spins, charges and all labels."""
        return content_hash(
            self.numbers, self.cell, self.positions, self.pbc, self.energy, self.forces, self.stress, self.spin,
            self.charge,
        )  # fmt: skip

    def geometry(self) -> bytes:
        """16 bytes that are equal for copies: species, pbc, and cell and positions rounded to 1e-4 Å."""
        return geometry_hash(self.numbers, self.cell, self.positions, self.pbc, self.spin, self.charge)


def voigt(tensor: F8) -> F8:
    """Six components xx yy zz yz xz xy of the symmetric part of ``(3, 3)``."""
    sym = 0.5 * (tensor + tensor.T)
    return np.array([sym[i, j] for i, j in VOIGT_INDEX])


@dataclass
class Batch:
    """Configurations as columns, in the shape they are stored and computed in.

    Axes: ``n`` configurations, ``N`` atoms of all of them one after another.

    :param n_atoms: ``(n,)``; atoms of configuration ``i`` are ``atom_start[i]:atom_start[i + 1]``
    :param number: atomic numbers ``(N,)``
    :param position: ``(N, 3)``; ``cell`` ``(n, 3, 3)``; ``pbc`` ``(n, 3)``
    :param energy: ``(n,)``; ``force`` ``(N, 3)``; ``stress`` ``(n, 6)``: labels, NaN when missing
    :param group: ``(n,)`` names; ``source``, ``frame``, ``info`` (JSON text): where each came from
    :param spin: ``(N, 3)`` and ``charge`` ``(N,)``, NaN for configurations without; None when none has any
    :param uid: ``(n, 32)`` and ``geometry`` ``(n, 16)``: content hashes, see :class:`Configuration`
    """

    n_atoms: NDArray[np.int64]
    number: NDArray[np.int32]
    position: F8
    cell: F8
    pbc: NDArray[np.bool_]
    energy: F8
    force: F8
    stress: F8
    group: NDArray[Any]
    source: NDArray[Any]
    frame: NDArray[np.int64]
    info: NDArray[Any]
    uid: NDArray[np.uint8]
    geometry: NDArray[np.uint8]
    spin: F8 | None = None
    charge: F8 | None = None
    atom_start: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.atom_start = np.zeros(len(self.n_atoms) + 1, np.int64)
        np.cumsum(self.n_atoms, out=self.atom_start[1:])

    def __len__(self) -> int:
        return len(self.n_atoms)

    @property
    def volume(self) -> F8:
        """Unsigned volume of each cell ``(n,)`` in Å^3, NaN unless periodic in all three directions."""
        v = np.abs(np.linalg.det(self.cell)) if len(self) else np.zeros(0)
        return np.where(self.pbc.all(axis=1), v, np.nan)

    @classmethod
    def from_configurations(cls, configurations: Sequence[Configuration]) -> Batch:
        """Gather configurations into columns (copies)."""
        cs = configurations
        if not cs:
            return cls._empty()
        n_atoms = np.array([len(c.numbers) for c in cs], np.int64)
        number = np.concatenate([c.numbers for c in cs]).astype("<i4", copy=False)
        position = np.concatenate([c.positions for c in cs]).astype("<f8", copy=False)
        cell = np.concatenate([c.cell for c in cs]).astype("<f8", copy=False).reshape(-1, 3, 3)
        pbc = np.concatenate([c.pbc for c in cs]).astype(bool, copy=False).reshape(-1, 3)
        energy = np.array([c.energy for c in cs], "<f8")
        force = _gathered([c.forces for c in cs], n_atoms, np.nan)
        stress = np.array([NO_STRESS if c.stress is None else c.stress for c in cs], "<f8")
        spin = _gathered([c.spin for c in cs], n_atoms, np.nan) if any(c.spin is not None for c in cs) else None
        charge = None
        if any(c.charge is not None for c in cs):
            charge = _gathered([c.charge for c in cs], n_atoms, np.nan, ())
        return cls.from_columns(
            n_atoms=n_atoms,
            number=number,
            position=position,
            cell=cell,
            pbc=pbc,
            energy=energy,
            force=force,
            stress=stress,
            group=np.array([c.group for c in cs], dtype=object),
            source=np.array([c.source for c in cs], dtype=object),
            frame=np.array([c.frame for c in cs], np.int64),
            info=np.array([info_text(c.info) for c in cs], dtype=object),
            spin=spin,
            charge=charge,
            there={
                "force": [c.forces is not None for c in cs],
                "stress": [c.stress is not None for c in cs],
                "spin": [c.spin is not None for c in cs],
                "charge": [c.charge is not None for c in cs],
            },
        )

    @classmethod
    def from_columns(cls, there: Mapping[str, Sequence[bool]], **columns: Any) -> Batch:
        """Columns that are complete but for the content hashes, which are computed.

        :param there: which configurations have a ``force``, a ``stress``, a ``spin`` and a ``charge``
        """
        names = ("n_atoms", "number", "position", "cell", "pbc", "energy", "force", "stress", "spin", "charge")
        hashed: Any = [columns.get(name) for name in names]
        uid, geometry = hashes_of_columns(there, *hashed)
        return cls(**columns, uid=uid, geometry=geometry)

    @classmethod
    def _empty(cls) -> Batch:
        """No configurations."""
        none = np.zeros(0, np.int64)
        text = np.zeros(0, object)
        return cls(
            n_atoms=none, number=np.zeros(0, np.int32), position=np.zeros((0, 3)), cell=np.zeros((0, 3, 3)),
            pbc=np.zeros((0, 3), bool), energy=np.zeros(0), force=np.zeros((0, 3)), stress=np.zeros((0, 6)),
            group=text, source=text, frame=none, info=text,
            uid=np.zeros((0, 32), np.uint8), geometry=np.zeros((0, 16), np.uint8),
        )  # fmt: skip

    def __getitem__(self, i: int) -> Configuration:
        if i < 0:
            i += len(self)
        a, b = int(self.atom_start[i]), int(self.atom_start[i + 1])
        force, stress = self.force[a:b], self.stress[i]
        spin = None if self.spin is None else self.spin[a:b]
        charge = None if self.charge is None else self.charge[a:b]
        return Configuration(
            numbers=self.number[a:b],
            positions=self.position[a:b],
            cell=self.cell[i],
            pbc=self.pbc[i],
            energy=float(self.energy[i]),
            forces=None if np.isnan(force).all() else force,
            stress=None if np.isnan(stress).all() else stress,
            group=str(self.group[i]),
            source=str(self.source[i]),
            frame=int(self.frame[i]),
            spin=None if spin is None or np.isnan(spin).all() else spin,
            charge=None if charge is None or np.isnan(charge).all() else charge,
            info=json.loads(self.info[i]) if self.info[i] else {},
        )

    def __iter__(self) -> Iterator[Configuration]:
        return (self[i] for i in range(len(self)))

    def slice(self, start: int, stop: int) -> Batch:
        """Configurations ``start`` to ``stop`` (views, no copy)."""
        atoms = slice(self.atom_start[start], self.atom_start[stop])
        mine = slice(start, stop)
        return self._with(lambda name, value: value[atoms if name in ATOM_COLUMNS else mine])

    def take(self, order: NDArray[np.int64]) -> Batch:
        """Configurations in the given order (copies)."""
        starts, counts = self.atom_start[:-1][order], self.n_atoms[order]
        total = int(counts.sum())
        # positions of all atoms: each configuration's run of consecutive numbers
        shift = np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) if total else 0
        atoms = np.arange(total) + shift
        return self._with(lambda name, value: value[atoms if name in ATOM_COLUMNS else order])

    @classmethod
    def concatenate(cls, batches: Sequence[Batch]) -> Batch:
        """Batches one after another."""
        if len(batches) == 1:
            return batches[0]
        values: dict[str, Any] = {}
        for f in fields(cls):
            if not f.init:
                continue
            columns = [getattr(b, f.name) for b in batches]
            if all(c is None for c in columns):
                values[f.name] = None
                continue
            # an optional column (spin, charge) that some batches lack is missing there
            filled = [
                np.full((len(b.number), 3) if f.name == "spin" else len(b.number), np.nan) if c is None else c
                for b, c in zip(batches, columns, strict=True)
            ]
            values[f.name] = np.concatenate(filled)
        return cls(**values)

    def _with(self, change: Callable[[str, Any], Any]) -> Batch:
        """A batch with ``change(name, column)`` of every column that is there."""
        values: dict[str, Any] = {}
        for f in fields(self):
            if f.init:
                value = getattr(self, f.name)
                values[f.name] = None if value is None else change(f.name, value)
        return Batch(**values)

    def place(self, i: int) -> str:
        """Where configuration ``i`` came from, for messages."""
        return f"{self.source[i]}, frame {int(self.frame[i]):,} (group {self.group[i]})"


_json = json.JSONEncoder(sort_keys=True).encode


def info_text(info: dict[str, Any]) -> str:
    """What else a file says about a configuration, as it is stored."""
    return _json(info) if info else ""


def _gathered(values: list[Any], n_atoms: NDArray[np.int64], missing: float, width: tuple[int, ...] = (3,)) -> F8:
    """Arrays of one row per atom one after another, ``(N, *width)``; None is filled with ``missing``."""
    if any(v is None for v in values):
        values = [np.full((n, *width), missing) if v is None else v for v, n in zip(values, n_atoms, strict=True)]
    return np.concatenate(values).astype("<f8", copy=False)


#: Columns with one row per atom; the others have one per configuration.
ATOM_COLUMNS = ("number", "position", "force", "spin", "charge")
