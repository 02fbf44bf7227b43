"""Train and test by content: deterministic, stable under growth, copies on one side."""

from __future__ import annotations

import numpy as np
import pytest

from mlipstore.errors import SettingsError
from mlipstore.split import TEST, TRAIN, UNUSED, assign, places


def hashes(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 16), np.uint8)


def test_places_do_not_depend_on_company_or_order() -> None:
    g = hashes(50)
    p = places(g, 7)
    assert ((p >= 0) & (p < 1)).all()
    assert (places(g[::-1], 7)[::-1] == p).all()
    assert (places(g[:10], 7) == p[:10]).all()
    assert (places(g, 8) != p).all()


def test_places_are_pinned() -> None:
    """The same on every machine and in every release: a split must never move."""
    p = places(np.arange(32, dtype=np.uint8).reshape(2, 16), 0)
    assert p.tolist() == [0.17111411566235168, 0.0024260251771387464]


def test_growth_never_moves_a_configuration() -> None:
    p = places(hashes(400), 0)
    small, large = assign(p[:200], 0.8, 0.2, "g"), assign(p, 0.8, 0.2, "g")
    assert (large[:200] == small).all()
    assert abs((large == TRAIN).mean() - 0.8) < 0.06
    assert (large != UNUSED).all()


def test_all_and_nothing() -> None:
    p = places(hashes(30), 0)
    assert (assign(p, 1.0, 0.0, "g") == TRAIN).all()
    assert (assign(p, 0.0, 1.0, "g") == TEST).all()
    assert (assign(p, 0.0, 0.0, "g") == UNUSED).all()


def test_counts_are_exact_and_disjoint() -> None:
    p = places(hashes(30), 0)
    split = assign(p, 10, 5, "g")
    assert (split == TRAIN).sum() == 10 and (split == TEST).sum() == 5
    crowded = assign(p, 28, 5, "g")
    assert (crowded == TRAIN).sum() == 28 and (crowded == TEST).sum() == 2


def test_copies_stay_together() -> None:
    g = np.repeat(hashes(20), 3, axis=0)
    split = assign(places(g, 0), 10, 0.0, "g").reshape(20, 3)
    assert (split == split[:, :1]).all()


@pytest.mark.parametrize(("train", "test"), [(1.2, 0.0), (0.8, 0.3), (-1, 0.0), (True, 0.0)])
def test_nonsense_is_refused(train: float, test: float) -> None:
    with pytest.raises(SettingsError, match="'g'"):
        assign(np.zeros(3), train, test, "g")
