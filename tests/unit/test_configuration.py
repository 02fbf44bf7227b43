"""Columns of configurations: what is gathered is what was there, and hashes are those of each configuration."""

from __future__ import annotations

import numpy as np
import pytest

from mlipstore.configuration import Batch, Configuration


def some(n: int, seed: int = 0) -> list[Configuration]:
    """Configurations of all kinds: labels there or not, zero stress, spins, charges, integer positions."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        atoms = int(rng.integers(1, 6))
        c = Configuration(
            numbers=rng.integers(1, 90, atoms),
            positions=rng.normal(size=(atoms, 3)) * 5,
            cell=np.asfortranarray(rng.normal(size=(3, 3))),
            pbc=rng.random(3) < 0.8,
            energy=[float(rng.normal()), float("nan"), float("inf")][i % 3 if i % 5 else 0],
            forces=None if i % 4 == 1 else rng.normal(size=(atoms, 3)),
            stress=[None, np.zeros(6), rng.normal(size=6), np.full(6, np.nan)][i % 4],
            group=f"g{i % 3}",
            source="a.xyz",
            frame=i,
            spin=rng.normal(size=(atoms, 3)) if i % 7 == 3 else None,
            charge=rng.normal(size=atoms) if i % 5 == 2 else None,
            info={"label": f"Å{i}", "a": [1, 2.5]} if i % 2 else {},
        )
        out.append(c)
    return out


@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_hashes_of_columns_are_those_of_configurations(n: int) -> None:
    configurations = some(n)
    batch = Batch.from_configurations(configurations)
    assert len(batch) == n and batch.uid.shape == (n, 32) and batch.geometry.shape == (n, 16)
    for i, c in enumerate(configurations):
        assert batch.uid[i].tobytes() == c.uid()
        assert batch.geometry[i].tobytes() == c.geometry()


def test_columns_hold_what_was_there() -> None:
    configurations = some(50)
    batch = Batch.from_configurations(configurations)
    assert batch.number.dtype == np.int32 and batch.position.dtype == np.float64 and batch.pbc.dtype == bool
    for c, back in zip(configurations, batch, strict=True):
        np.testing.assert_array_equal(back.numbers, c.numbers)
        np.testing.assert_array_equal(back.positions, c.positions)
        np.testing.assert_array_equal(back.cell, c.cell)
        np.testing.assert_array_equal(back.pbc, c.pbc)
        np.testing.assert_array_equal(back.energy, c.energy)
        assert (back.forces is None) == (c.forces is None)
        if c.forces is not None:
            np.testing.assert_array_equal(back.forces, c.forces)
        if c.stress is not None and np.isfinite(c.stress).all():
            np.testing.assert_array_equal(back.stress, c.stress)
        for mine, its in ((back.spin, c.spin), (back.charge, c.charge)):
            assert (mine is None) == (its is None)
            if its is not None:
                np.testing.assert_array_equal(mine, its)
        assert (back.group, back.source, back.frame, back.info) == (c.group, c.source, c.frame, c.info)


def test_the_columns_are_copies() -> None:
    configurations = some(1)
    batch = Batch.from_configurations(configurations)
    configurations[0].positions[:] = 0
    configurations[0].cell[:] = 0
    assert batch.position.any() and batch.cell.any()
