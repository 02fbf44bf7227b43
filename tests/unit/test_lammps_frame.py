"""The frame of LAMMPS: the same crystal, turned."""

from __future__ import annotations

import numpy as np
import pytest

from mlipstore.configuration import Configuration
from mlipstore.lammps.frame import Frame, frame_of

from ..contracts.structures import structures, turn

STRUCTURES = structures()


def lattice_of(frame: Frame) -> np.ndarray:
    cell = np.diag(frame.high - frame.low)
    cell[1, 0], cell[2, 0], cell[2, 1] = frame.tilt
    return cell


def of(c: Configuration) -> Frame:
    return frame_of(c.cell, c.pbc, c.positions)


@pytest.mark.parametrize("name", STRUCTURES)
def test_same_crystal(name: str) -> None:
    """Each lattice vector is a whole combination of the new ones, and atoms differ by lattice vectors."""
    c = STRUCTURES[name]
    frame = of(c)
    rotation = np.eye(3) if frame.rotation is None else frame.rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    lattice, k = lattice_of(frame), int(c.pbc.sum())
    assert frame.boundary == " ".join("p" * k + "f" * (3 - k))
    whole = (c.cell[c.pbc] @ rotation.T) @ np.linalg.inv(lattice)
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)
    if k == 3:
        assert abs(np.linalg.det(whole)) == pytest.approx(1.0)
        assert np.linalg.det(lattice) == pytest.approx(abs(c.volume))
    shift = (c.positions @ rotation.T - frame.position) @ np.linalg.inv(lattice)
    np.testing.assert_allclose(shift, np.rint(shift), atol=1e-9)
    np.testing.assert_allclose(shift[:, k:], 0, atol=1e-9)
    inside = (frame.position - frame.low) @ np.linalg.inv(lattice)
    assert (inside > -1e-12).all() and (inside < 1 + 1e-12).all()


def test_nothing_is_touched_where_nothing_is_needed() -> None:
    c = STRUCTURES["in the frame"]
    frame = of(c)
    assert frame.rotation is None
    np.testing.assert_array_equal(lattice_of(frame), c.cell)
    np.testing.assert_array_equal(frame.position, c.positions)


def test_very_skewed_cells_become_compact() -> None:
    lattice = lattice_of(of(STRUCTURES["very skewed"]))
    assert np.linalg.norm(lattice, axis=1).prod() < 2 * abs(np.linalg.det(lattice))


def test_results_come_back() -> None:
    """A dyad of two vectors turns like its vectors."""
    r = turn(4)
    frame = Frame(np.zeros((1, 3)), np.zeros(3), np.ones(3), (0.0, 0.0, 0.0), "p p p", r)
    u = np.random.default_rng(0).normal(size=3)
    order = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
    np.testing.assert_allclose(frame.vectors_back((r @ u)[None]), u[None], atol=1e-14)
    np.testing.assert_allclose(frame.tensors_back(np.outer(r @ u, r @ u)[order]), np.outer(u, u)[order], atol=1e-14)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (np.zeros((3, 3)), "length zero"),
        (np.array([[3.0, 0, 0], [0, 3, 0], [3, 3, 0]]), "one plane"),
        (np.full((3, 3), np.nan), "finite"),
    ],
)
def test_cells_that_cannot_be(cell: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        frame_of(cell, np.ones(3, bool), np.zeros((1, 3)))
    frame_of(cell, np.zeros(3, bool), np.zeros((1, 3)))  # not used where nothing is periodic


def test_parallel_vectors_of_a_plate() -> None:
    cell = np.array([[3.0, 0, 0], [6, 0, 0], [0, 0, 3]])
    with pytest.raises(ValueError, match="parallel"):
        frame_of(cell, np.array([True, True, False]), np.zeros((1, 3)))
    frame_of(cell, np.array([True, False, True]), np.zeros((1, 3)))
