"""SNAP rows in an array library: those of the compiled kernel, from arrays as strict as those of a GPU."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from mlipstore.computing import Rows
from mlipstore.configuration import Batch, Configuration
from mlipstore.descriptors.snap import Snap
from mlipstore.device import on_host, open_device, rows_at
from mlipstore.errors import ComputeError
from mlipstore.kernels.arrays.layout import padded, segments
from mlipstore.kernels.arrays.rows import _Maker
from mlipstore.kernels.arrays.rows import snap_rows as array_rows
from mlipstore.kernels.arrays.tables import clebsch_gordan, tables
from mlipstore.kernels.snap import snap_pairs, snap_rows
from tests import snap_options, strict_arrays

#: of the largest entry of the column
TOLERANCE = 1e-12
OPTIONS = snap_options.OPTIONS | {
    "2J8": {"twojmax": (8,)},
    "rmin0": {"rmin0": 1.9, "rfac0": 0.8},
    "long": {"rcutfac": 7.0, "twojmax": (3,)},
}


def structures(elements: tuple[str, ...], seed: int) -> Batch:
    """One atom in a small cell, crystals with displaced atoms, a slab, a molecule, atoms outside, nothing at all."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(-1, 3) / 2
    found = [Configuration(np.zeros(0, int), np.zeros((0, 3)), np.eye(3), np.ones(3, bool))]
    for n, pbc in ((1, "ppp"), (6, "ppp"), (8, "ppp"), (5, "pfp"), (7, "fff"), (3, "ppp")):
        cell = (2.6 if n == 1 else 4.7) * np.eye(3) + 0.5 * rng.normal(size=(3, 3))
        places = grid[:n] + 0.04 * rng.normal(size=(n, 3)) + (rng.integers(-2, 3, (n, 3)) if n == 3 else 0)
        numbers = np.array([snap_options.ELEMENTS[e] for e in rng.choice(elements, n)])
        found.append(Configuration(numbers, places @ cell, cell, np.array([p == "p" for p in pbc])))
    return Batch.from_configurations(found)


def snap_of(option: str, n_elements: int) -> Snap:
    settings = dict(OPTIONS[option])
    if n_elements == 3:
        settings["twojmax"] = (min(settings.get("twojmax", (5,))[0], 4), 2, 1)
    return snap_options.snap_with(n_elements, settings)


def strictly(snap: Snap, batch: Batch, memory: int | None = None) -> Rows:
    """Rows from arrays that are like those of a GPU."""
    made = array_rows(snap, batch, strict_arrays.xp, memory)
    return Rows(*(getattr(made, name).get() for name in ("energy", "force", "stress")))


def off(ours: Rows, theirs: Rows) -> float:
    """Largest difference relative to the largest entry of its column, or to 1e-3 of all where a column vanishes."""
    worst = 0.0
    for name in ("energy", "force", "stress"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.shape == b.shape and a.flags.c_contiguous
        scale = np.maximum(abs(b).max(axis=0), 1e-3 * abs(b).max() + 1e-12)
        worst = max(worst, float((abs(a - b).max(axis=0) / scale).max()))
    return worst


@pytest.mark.parametrize("n_elements", [1, 2, 3])
@pytest.mark.parametrize("option", OPTIONS)
def test_rows_are_those_of_the_compiled_kernel(option: str, n_elements: int) -> None:
    snap = snap_of(option, n_elements)
    batch = structures(snap.elements, 10 * len(option) + n_elements)
    assert off(strictly(snap, batch), snap_rows(snap, batch)) < TOLERANCE


@pytest.mark.gpu
@pytest.mark.parametrize("option", OPTIONS)
def test_rows_of_a_cuda_device_are_those_of_the_compiled_kernel(option: str) -> None:
    pytest.importorskip("cupy", reason="needs CuPy")
    try:
        device = open_device("cuda")
    except ComputeError as error:
        pytest.skip(str(error))
    snap = snap_of(option, 2)
    batch = structures(snap.elements, 5)
    made, again = (on_host(rows_at(device, snap, batch)) for _ in range(2))
    assert off(made, snap_rows(snap, batch)) < 1e-10
    for name in ("energy", "force", "stress"):
        assert np.array_equal(getattr(made, name), getattr(again, name))


@pytest.mark.parametrize("memory", [1, 300_000, 2_000_000], ids=["one atom", "some atoms", "some configurations"])
@pytest.mark.parametrize("option", ["plain", "chem-all", "quadratic"])
def test_any_allowance_gives_the_same_rows(option: str, memory: int) -> None:
    snap = snap_of(option, 2)
    batch = structures(snap.elements, 3)
    assert off(strictly(snap, batch, memory), snap_rows(snap, batch)) < TOLERANCE


@pytest.mark.parametrize("option", ["2J8", "chem", "long"])
def test_intermediate_results_stay_within_the_allowance(option: str) -> None:
    snap = snap_of(option, 2)
    batch = Batch.concatenate([structures(snap.elements, seed) for seed in range(5)])
    array_rows(snap, batch.slice(0, 3))  # the tables
    pairs, allowance = snap_pairs(snap, batch), 8 << 20
    maker = _Maker(snap, batch, pairs, tables(snap, np), np, allowance)
    tracemalloc.start()
    try:
        chunks = list(maker.chunks())
        for first, last in chunks:
            maker.add(first, last)
        assert tracemalloc.get_traced_memory()[1] < allowance
    finally:
        tracemalloc.stop()
    assert len(chunks) > 1 and sum(last - first for first, last in chunks) == len(batch.number)


def test_highest_level() -> None:
    snap = Snap(("W",), 4.0, (20,))
    batch = structures(("W",), 2).slice(4, 5)
    assert off(strictly(snap, batch), snap_rows(snap, batch)) < 1e-10  # N of U = N v ranges over 5 digits there


def test_same_bits_again_and_in_other_batches() -> None:
    snap = snap_of("plain", 2)
    batch = structures(snap.elements, 4)
    rows, again = array_rows(snap, batch), array_rows(snap, batch)
    single = array_rows(snap, batch.slice(3, 4))
    for name, k in (("energy", 1), ("force", 3), ("stress", 6)):
        assert np.array_equal(getattr(rows, name), getattr(again, name))
        start = 3 * int(batch.atom_start[3]) if name == "force" else k * 3
        assert np.array_equal(getattr(rows, name)[start : start + len(getattr(single, name))], getattr(single, name))


def test_clebsch_gordan_coefficients_are_orthonormal() -> None:
    for j1, j2 in ((0, 0), (3, 2), (8, 8), (20, 13)):
        table = np.stack([clebsch_gordan(j1, j2, j) for j in range(j1 - j2, j1 + j2 + 1, 2)])
        # columns (m1, m2) of the unitary matrix with rows (j, m = m1 + m2): those of equal m are one block
        for m in range(j1 + j2 + 1):
            a = np.arange(max(0, m - j2), min(j1, m) + 1)
            block = table[:, a, m - a]
            block = block[abs(block).max(axis=1) > 0]
            np.testing.assert_allclose(block @ block.T, np.eye(len(block)), atol=3e-15)


def test_segments_hold_every_entry_once() -> None:
    rng = np.random.default_rng(0)
    key = rng.integers(0, 30, 1000) ** 2
    value = np.append(rng.normal(size=1000), 0.0)
    sums = np.zeros(900)
    for keys, entries in segments(key, 1000):
        assert ((entries < 1000).sum(axis=1) <= entries.shape[1]).all()
        for row in entries:
            assert (np.diff(row) >= 0).all()  # in their order
        sums[keys] += value[entries].sum(axis=1)
    np.testing.assert_allclose(sums, np.bincount(key, value[:-1], 900), atol=1e-12)
    count = np.arange(1, 5000)
    assert (padded(count) >= count).all() and (padded(count) / count).max() <= 1.25
    assert len(np.unique(padded(count))) < 50 and (padded(count[:8]) == count[:8]).all()
