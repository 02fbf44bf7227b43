"""The compiled SNAP kernel against itself: finite differences, symmetries, and every output from the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlipstore import kernels
from mlipstore.configuration import Batch, Configuration
from mlipstore.descriptors.snap import Snap
from mlipstore.errors import SettingsError
from mlipstore.kernels.snap import (
    snap_components,
    snap_energy_rows,
    snap_evaluate,
    snap_pair_gradients,
    snap_rows,
)

WBE = ("W", "Be")
SETTINGS: dict[str, Snap] = {
    "plain": Snap(WBE, 4.2, (5,), (0.5, 0.45), (1.0, 0.7)),
    "inner": Snap(WBE, 4.2, (4,), switchinnerflag=True, sinner=(2.3, 2.0), dinner=(0.8, 0.6), rmin0=0.4),
    "no-switch-bzero": Snap(WBE, 2.9, (3,), switchflag=False, bzeroflag=True, bnormflag=True),
    "chem": Snap(WBE, 4.2, (3,), (0.5, 0.45), (1.0, 0.7), chemflag=True, bzeroflag=True),
    "quadratic": Snap(WBE, 4.2, (3,), (0.5, 0.45), (1.0, 0.7), quadraticflag=True, bzeroflag=True),
    "mixed-2J": Snap(WBE, 4.2, (4, 2), (0.5, 0.45), (1.0, 0.7)),
    "mixed-2J-quadratic": Snap(WBE, 4.2, (3, 2), (0.5, 0.45), (1.0, 0.7), quadraticflag=True),
    "zero": Snap(WBE, 4.2, (0,)),
}
ALL = pytest.mark.parametrize("snap", SETTINGS.values(), ids=SETTINGS)


def crystal(n: int = 6, seed: int = 0, edge: float = 4.4, pbc: tuple[bool, ...] = (True, True, True)) -> Configuration:
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(-1, 3)[:n] / 2
    cell = edge * np.eye(3) + 0.4 * rng.normal(size=(3, 3))
    positions = (grid + 0.04 * rng.normal(size=grid.shape)) @ cell
    numbers = np.array([74, 4])[rng.integers(0, 2, n)]
    return Configuration(numbers, positions, cell, np.array(pbc))


def batch(*configurations: Configuration) -> Batch:
    return Batch.from_configurations(list(configurations))


def moved(c: Configuration, positions: NDArray[Any] | None = None, cell: NDArray[Any] | None = None) -> Configuration:
    return Configuration(
        c.numbers, c.positions if positions is None else positions, c.cell if cell is None else cell, c.pbc
    )


@ALL
def test_force_and_stress_rows_are_derivatives_of_energy_rows(snap: Snap) -> None:
    c, h = crystal(), 1e-4
    rows = snap_rows(snap, batch(c))
    shifted = []
    for atom in range(len(c)):
        for axis in range(3):
            for step in (h, -h):
                p = c.positions.copy()
                p[atom, axis] += step
                shifted.append(moved(c, p))
    # One shear for each component; (a, b) of the strain moves x_a by x_b, in the order xx yy zz yz xz xy.
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        for step in (h, -h):
            f = np.eye(3)
            f[a, b] += step
            shifted.append(moved(c, c.positions @ f.T, c.cell @ f.T))
    energy = snap_energy_rows(snap, batch(*shifted))
    derivative = (energy[0::2] - energy[1::2]) / (2 * h)
    scale = abs(rows.force).max() + 1e-9
    np.testing.assert_allclose(rows.force, -derivative[: 3 * len(c)], atol=2e-6 * scale)
    volume = abs(np.linalg.det(c.cell))
    np.testing.assert_allclose(rows.stress, derivative[3 * len(c) :] / volume, atol=2e-6 * scale * 5 / volume)


@ALL
@pytest.mark.parametrize("isa", kernels.isas())
def test_evaluation_is_rows_times_coefficients(snap: Snap, isa: str) -> None:
    some = batch(crystal(6, 1), crystal(1, 2, 2.6), crystal(8, 3), crystal(5, 4, 5.0, (True, False, True)))
    coefficients = np.random.default_rng(0).normal(size=len(snap.columns()))
    rows = snap_rows(snap, some)
    got = snap_evaluate(snap, coefficients, some, isa_name=isa)
    for ours, block in ((got.energy, rows.energy), (got.force.ravel(), rows.force), (got.stress.ravel(), rows.stress)):
        expected = block @ coefficients
        np.testing.assert_allclose(ours, expected, atol=1e-12 * (abs(block) @ abs(coefficients)).max())
    start = some.atom_start
    total = [got.atom_energy[start[i] : start[i + 1]].sum() for i in range(len(some))]
    np.testing.assert_allclose(total, got.energy, atol=1e-12 * abs(got.energy).max())
    assert (got.stress[3] == 0).all()
    without = snap_evaluate(snap, coefficients, some, forces=False, isa_name=isa)
    np.testing.assert_allclose(without.energy, got.energy, atol=1e-12 * (abs(rows.energy) @ abs(coefficients)).max())
    assert (without.force == 0).all()


@ALL
def test_components_and_pairs_add_up_to_rows(snap: Snap) -> None:
    if snap.quadraticflag:
        return
    some = batch(crystal(6, 1), crystal(1, 2, 2.6))
    rows = snap_rows(snap, some)
    pairs = snap_pair_gradients(snap, some)
    component = snap_components(snap, some)
    np.testing.assert_allclose(pairs.component, component, rtol=1e-13, atol=1e-13 * abs(component).max())
    k = component.shape[1]
    energy, force = np.zeros_like(rows.energy), np.zeros_like(rows.force)
    stress = np.zeros_like(rows.stress)
    volume = some.volume
    for i in range(len(some)):
        for atom in range(some.atom_start[i], some.atom_start[i + 1]):
            columns = slice(0, k) if some.number[atom] == 74 else slice(k, 2 * k)
            energy[i, columns] += component[atom]
            for p in range(pairs.pair_start[atom], pairs.pair_start[atom + 1]):
                other, d, g = pairs.neighbour[p], pairs.vector[p], pairs.gradient[p]
                force[3 * atom : 3 * atom + 3, columns] += g
                force[3 * other : 3 * other + 3, columns] -= g
                for v, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
                    stress[6 * i + v, columns] += d[a] * g[b] / volume[i]
    np.testing.assert_allclose(energy, rows.energy, atol=1e-12 * abs(rows.energy).max())
    np.testing.assert_allclose(force, rows.force, atol=1e-12 * abs(rows.force).max())
    np.testing.assert_allclose(stress, rows.stress, atol=1e-12 * abs(rows.stress).max())


@ALL
@pytest.mark.parametrize("isa", kernels.isas())
def test_batching_does_not_change_a_bit(snap: Snap, isa: str) -> None:
    some = [crystal(n % 8 + 1, n, 3.0 + n % 3) for n in range(45)]
    together = snap_rows(snap, batch(*some), isa)
    one_by_one = [snap_rows(snap, batch(c), isa) for c in some]
    for name in ("energy", "force", "stress"):
        assert (getattr(together, name) == np.concatenate([getattr(r, name) for r in one_by_one])).all()


@ALL
def test_rotation_translation_permutation_and_choice_of_cell(snap: Snap) -> None:
    c, rng = crystal(6, 5), np.random.default_rng(9)
    rows = snap_rows(snap, batch(c))
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.linalg.det(q))
    order = rng.permutation(len(c))
    moved_cell = np.array([[1, 0, 0], [2, 1, 0], [-1, 1, 1]]) @ c.cell
    changed = Configuration(
        c.numbers[order],
        (c.positions[order] + rng.integers(-3, 4, (len(c), 3)) @ c.cell + [0.3, -7.0, 11.0]) @ q.T,
        moved_cell @ q.T,
        c.pbc,
    )
    got = snap_rows(snap, batch(changed))
    np.testing.assert_allclose(got.energy, rows.energy, atol=1e-12 * abs(rows.energy).max())
    width = rows.force.shape[1]
    expected = np.einsum("ab,ibm->iam", q, rows.force.reshape(-1, 3, width)[order])
    scale = abs(rows.force).max() + 1e-6
    np.testing.assert_allclose(got.force.reshape(-1, 3, width), expected, atol=1e-11 * scale)


def test_supercell_has_the_components_of_its_cell_and_uses_bins() -> None:
    snap = SETTINGS["plain"]
    c, n = crystal(6, 7), 6
    shifts = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 1, 3) @ c.cell
    large = Configuration(np.tile(c.numbers, n**3), (shifts + c.positions).reshape(-1, 3), n * c.cell, c.pbc)
    expected = np.tile(snap_components(snap, batch(c)), (n**3, 1))
    np.testing.assert_allclose(snap_components(snap, batch(large)), expected, rtol=1e-10)


def test_atoms_far_apart_without_periodicity() -> None:
    snap = Snap(("W",), 4.0, (4,))
    rng = np.random.default_rng(0)
    positions = np.concatenate([rng.uniform(-1e5, 1e5, (50, 3)), [[0, 0, 0], [2.0, 0, 0]]])
    c = Configuration(np.full(52, 74), positions, np.zeros((3, 3)), np.zeros(3, bool))
    component = snap_components(snap, batch(c))
    single = Configuration(c.numbers[:1], positions[:1], c.cell, c.pbc)
    alone = snap_components(snap, batch(single))[0]
    np.testing.assert_allclose(component[:50], np.tile(alone, (50, 1)), rtol=1e-13)
    np.testing.assert_allclose(component[50], component[51], rtol=1e-12)
    assert abs(component[50] - alone).max() > 1e-3


def test_bare_configurations() -> None:
    """No atoms, one atom alone, and two atoms at the same place (which LAMMPS ignores too)."""
    snap = Snap(("W",), 4.0, (2,))
    none = np.zeros(3, bool)
    empty = Configuration(np.zeros(0, int), np.zeros((0, 3)), np.eye(3), np.ones(3, bool))
    alone = Configuration(np.array([74]), np.zeros((1, 3)), np.zeros((3, 3)), none)
    twice = Configuration(np.array([74, 74]), np.zeros((2, 3)), np.zeros((3, 3)), none)
    rows = snap_rows(snap, batch(empty, alone, twice))
    np.testing.assert_allclose(rows.energy[1], [1, 2, 3, 3, 3], rtol=1e-14)
    assert (rows.energy[0] == 0).all() and (rows.energy[2] == 2 * rows.energy[1]).all()
    assert (rows.force == 0).all() and (rows.stress == 0).all()


def test_rows_go_where_they_are_wanted() -> None:
    snap, some = SETTINGS["plain"], batch(crystal())
    rows = snap_rows(snap, some)
    for name in ("energy", "force", "stress"):
        getattr(rows, name)[:] = np.nan
    assert snap_rows(snap, some, out=rows) is rows
    assert np.isfinite(rows.force).all()


def test_wrong_number_of_coefficients() -> None:
    with pytest.raises(SettingsError, match=r"3 coefficients for 2 columns of snap-2J0\. Give one for each column"):
        snap_evaluate(SETTINGS["zero"], np.ones(3), batch(crystal()))


def test_kernel_refuses_arrays_of_wrong_shape() -> None:
    kernel = kernels.load("snap").SnapKernel(2, 4.0, [0.5], [1.0], 0.99, 0.0, True, [], [], False, False, False, False)
    start, types = np.array([0, 1]), np.zeros(1, np.int32)
    geometry = np.zeros((1, 3)), np.eye(3)[None], np.ones((1, 3), np.uint8)
    with pytest.raises(ValueError, match="energy must be"):
        kernel.rows(start, types, *geometry, np.zeros((1, 4)))
    with pytest.raises(ValueError, match="element index is out of range"):
        kernel.rows(start, types + 1, *geometry, np.zeros((1, 5)))
    with pytest.raises(ValueError, match="atom_start must run from 0"):
        kernel.rows(start + 1, types, *geometry, np.zeros((1, 5)))
    with pytest.raises(ValueError, match="both force and stress"):
        kernel.rows(start, types, *geometry, np.zeros((1, 5)), np.zeros((3, 5)))
    with pytest.raises(ValueError, match="twojmax must be 0 to 20"):
        kernels.load("snap").SnapKernel(21, 4.0, [0.5], [1.0], 0.99, 0.0, True, [], [], False, False, False, False)
