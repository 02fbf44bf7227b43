"""Settings and columns of SNAP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlipstore import registry
from mlipstore.configuration import Batch
from mlipstore.descriptors.snap import Snap
from mlipstore.errors import SettingsError
from mlipstore.snap_basis import components, equal_columns, kept, n_per_element

from ..contracts.structures import structures
from ..snap_backends import BACKENDS, use


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use(request.param, monkeypatch)
    return str(request.param)


@pytest.mark.parametrize(("twojmax", "n"), [(2, 5), (4, 14), (6, 30), (8, 55), (10, 91), (12, 140), (14, 204)])
def test_number_of_components(twojmax: int, n: int) -> None:
    assert len(components(twojmax)) == n


def test_columns() -> None:
    two = {"elements": ["W", "Be"], "rcutfac": 4.8}
    assert [c.name for c in Snap(**two, twojmax=1).columns()] == [
        "W B[0,0,0]",
        "W B[1,0,1]",
        "Be B[0,0,0]",
        "Be B[1,0,1]",
    ]
    assert [c.name for c in Snap("Ta", 4.7, 1, quadraticflag=True).columns()] == [
        "Ta B[0,0,0]",
        "Ta B[1,0,1]",
        "Ta B[0,0,0]^2/2",
        "Ta B[0,0,0]*B[1,0,1]",
        "Ta B[1,0,1]^2/2",
    ]
    chem = Snap(**two, twojmax=6, chemflag=True).columns()
    assert len(chem) == 480
    assert (chem[30].name, chem[240].name) == ("W B(W,W,Be)[0,0,0]", "Be B(W,W,W)[0,0,0]")
    assert len(Snap("Ta", 5.594, 8, quadraticflag=True).columns()) == n_per_element(8, 1, True, False) == 1595


def test_labels() -> None:
    two = {"elements": ["W", "Be"], "rcutfac": 4.8}
    assert Snap(**two, twojmax=8).label() == "snap-2J8"
    assert Snap(**two, twojmax=[8, 6]).label() == "snap-2J8-6"
    assert Snap(**two, twojmax=6, quadraticflag=True).label() == "qsnap-2J6"
    assert Snap(**two, twojmax=6, chemflag=True).label() == "snap-chem-2J6"


def test_equal_settings_have_one_form() -> None:
    """Lists, whole numbers, 0 and 1, one value for all: what a run file or another program may say."""
    a = Snap(elements=["W", "Be"], rcutfac=5, twojmax=8.0, radelem=[0.5, 0.5], wj=1, switchflag=1, bzeroflag=0)
    b = Snap(elements=("W", "Be"), rcutfac=5.0, twojmax=(8, 8), radelem=0.5, wj=(1.0, 1.0))
    assert a == b and hash(a) == hash(b)
    assert registry.settings_of(a) == registry.settings_of(b)
    assert Snap("W", 5.0, sinner=[1.0], dinner=[0.1]) == Snap("W", 5.0)  # no meaning without the flag


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"twojmax": [6, 6, 6]}, "3 values; expected 1 or 2"),
        ({"twojmax": 6.5}, "whole number"),
        ({"twojmax": -1}, "0 to 20"),
        ({"twojmax": "8"}, "number"),
        ({"rcutfac": 0}, "positive"),
        ({"rcutfac": float("nan")}, "number"),
        ({"rcutfac": 480}, "480 Å; at most 100 Å"),
        ({"radelem": [0.5, -0.5]}, "positive"),
        ({"rfac0": 1.5}, "rfac0"),
        ({"rmin0": 4.8}, "rmin0"),
        ({"bzeroflag": "yes"}, "true or false"),
        ({"switchinnerflag": True}, "sinner has 0 values"),
        ({"switchinnerflag": True, "sinner": 1.0, "dinner": 0.0}, "dinner must be positive"),
        ({"quadraticflag": True, "chemflag": True}, "exclude each other"),
        ({"elements": ["W", "be"]}, "Did you mean 'Be'"),
    ],
)
def test_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        registry.make("descriptors", "snap", {"elements": ["W", "Be"], "rcutfac": 4.8} | settings)


def test_columns_beyond_the_own_twojmax_are_zero(backend: str) -> None:
    """The maximum of 8 and 10 is 10, whatever their text says."""
    batch = Batch.from_configurations([structures()["skewed"]])
    mixed, full = Snap(("W", "Be"), 4.3, (8, 10)), Snap(("W", "Be"), 4.3, 10)
    mask = kept(mixed.twojmax, False, False)
    assert mask is not None and mask.sum() == 55 + 91 and kept(full.twojmax, False, False) is None
    np.testing.assert_array_equal(mixed.rows(batch).force, full.rows(batch).force * mask)
    for name, on in zip((c.name for c in mixed.columns()), mask, strict=True):
        assert bool(on) == (name.startswith("Be") or int(name.rstrip("]").split(",")[-1]) <= 8)


def test_quadratic_columns_are_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the components of one atom; there is one here."""
    use("lammps", monkeypatch)
    batch = Batch.from_configurations([structures()["one atom"]])
    linear = Snap(("Be",), 4.3, 3).rows(batch).energy[0]
    quadratic = Snap(("Be",), 4.3, 3, quadraticflag=True).rows(batch).energy[0]
    i, j = np.triu_indices(len(linear))
    products = linear[i] * linear[j] * np.where(i == j, 0.5, 1.0)
    np.testing.assert_allclose(quadratic, np.concatenate([linear, products]), rtol=1e-12)


@pytest.mark.parametrize("wselfallflag", [False, True])
def test_equal_columns_are_equal_and_no_others(wselfallflag: bool, backend: str) -> None:
    batch = Batch.from_configurations([structures()[n] for n in ("skewed", "left-handed", "plate", "molecule")])
    rows = Snap(("W", "Be"), 4.3, 4, wj=(1.0, 0.7), chemflag=True, wselfallflag=wselfallflag).rows(batch)
    first = equal_columns(4, 2)
    for block in np.split(np.concatenate([rows.energy, rows.force, rows.stress]), 2, axis=1):
        scale = np.abs(block).max()
        np.testing.assert_allclose(block, block[:, first], rtol=0, atol=1e-12 * scale)
        unique = block[:, np.unique(first)]
        distance = np.abs(unique[:, :, None] - unique[:, None, :]).max(axis=0) + np.eye(unique.shape[1]) * scale
        assert distance.min() > 1e-6 * scale


def test_isolated_atom(backend: str) -> None:
    """bzeroflag subtracts exactly the value of an atom alone; without it, bnormflag divides by 2j+1."""
    alone = structures()["one atom"]
    alone.pbc[:] = False
    batch = Batch.from_configurations([alone])
    plain = Snap(("Be",), 4.3, 4).rows(batch).energy[0]
    assert np.abs(Snap(("Be",), 4.3, 4, bzeroflag=True).rows(batch).energy).max() < 1e-12
    norm = Snap(("Be",), 4.3, 4, bnormflag=True).rows(batch).energy[0]
    np.testing.assert_allclose(plain / norm, [j + 1 for _, _, j in components(4)], rtol=1e-12)
