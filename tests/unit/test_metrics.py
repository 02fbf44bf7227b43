"""Error tables against plain NumPy, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest

from mlipstore.metrics import KINDS, Entry, ErrorTable


@pytest.fixture
def rows() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    n = 600
    return {
        "kind": np.sort(rng.integers(0, 3, n)),
        "split": rng.integers(0, 3, n).astype(np.int8),
        "group": rng.integers(0, 3, n).astype(np.int32),
        "r": rng.normal(size=n),
        "b": 1e3 + rng.normal(size=n),
        "w": np.where(rng.random(n) < 0.2, 0.0, rng.random(n)),
    }


def table(rows: dict[str, np.ndarray], block: int) -> list[Entry]:
    out = ErrorTable(["a", "b", "c"])
    for kind in range(3):
        mine = np.flatnonzero(rows["kind"] == kind)
        for start in range(0, len(mine), block):
            i = mine[start : start + block]
            out.add(kind, rows["split"][i], rows["group"][i], rows["r"][i], rows["b"][i], rows["w"][i])
    return out.entries()


@pytest.mark.parametrize("block", [1, 7, 10_000])
def test_equal_to_numpy(rows: dict[str, np.ndarray], block: int) -> None:
    entries = table(rows, block)
    assert len(entries) == 2 * 3 * 2 * 4
    for e in entries:
        mine = (rows["split"] == ("train", "test").index(e.split)) & (rows["kind"] == KINDS.index(e.kind))
        if e.group != "*":
            mine &= rows["group"] == "abc".index(e.group)
        r, b, w = rows["r"][mine], rows["b"][mine], rows["w"][mine]
        n = len(r)
        if e.weighted:
            r, b, n = r * w, (b * w)[w != 0], int((w != 0).sum())
        assert e.n == n
        assert e.mae == pytest.approx(np.abs(r).mean(), rel=1e-12)
        assert e.rmse == pytest.approx(np.sqrt((r @ r) / n), rel=1e-12)
        assert e.max == np.abs(r).max()
        # the mean is a thousand spreads away: a naive sum of squares would lose six digits
        assert e.rsq == pytest.approx(1 - (r @ r) / ((b - b.mean()) ** 2).sum(), rel=1e-9)


def test_one_row_has_no_rsq() -> None:
    out = ErrorTable(["a"])
    one = np.ones(1)
    out.add(0, np.zeros(1, np.int8), np.zeros(1, np.int32), one, one, one)
    assert out.entries()[0].rsq == -np.inf
