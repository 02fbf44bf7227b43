"""Pair styles taken apart and put together with one more."""

from __future__ import annotations

import pytest

from mlipstore.errors import SettingsError
from mlipstore.lammps.hybrid import overlay_of

CASES = {
    "nothing": ("zero 10.0", ["* *"], ["snap", "* * c p W"]),
    "plain": ("zbl 4.0 4.8", ["1 1 74 74"], ["hybrid/overlay zbl 4.0 4.8 snap", "1 1 zbl 74 74", "* * snap c p W"]),
    "no arguments": (
        "eam/alloy",
        ["* * W.zero.eam W"],
        ["hybrid/overlay eam/alloy snap", "* * eam/alloy W.zero.eam W", "* * snap c p W"],
    ),
    "overlay with zero": (
        "hybrid/overlay zero 10.0 zbl 4.0 4.8",
        ["* * zero", "* * zbl 74 74"],
        ["hybrid/overlay zbl 4.0 4.8 snap", "* * zbl 74 74", "* * snap c p W"],
    ),
    "zero only": ("hybrid/overlay zero 10.0", ["* * zero"], ["snap", "* * c p W"]),
    "a style whose arguments say zero": (
        "hybrid/overlay zbl 4.0 4.8 zero 10.0 eam/alloy",
        ["* * zero", "* * zbl 74 74", "* * eam/alloy zero.eam W"],
        [
            "hybrid/overlay zbl 4.0 4.8 eam/alloy snap",
            "* * zbl 74 74",
            "* * eam/alloy zero.eam W",
            "* * snap c p W",
        ],
    ),
    "numbered": (
        "hybrid/overlay lj/cut 4.0 zero 5.0 lj/cut 3.0",
        ["* * lj/cut 1 0.1 2.2", "* * lj/cut 2 0.2 2.0", "* * zero"],
        ["hybrid/overlay lj/cut 4.0 lj/cut 3.0 snap", "* * lj/cut 1 0.1 2.2", "* * lj/cut 2 0.2 2.0", "* * snap c p W"],
    ),
    "another snap": (
        "snap",
        ["* * a b W"],
        ["hybrid/overlay snap snap", "* * snap 1 a b W", "* * snap 2 c p W"],
    ),
    "scaled": (
        "hybrid/scaled 0.5 zbl 4.0 4.8 1.0 zero 5.0 0.25 lj/cut 4.0",
        ["* * zbl 74 74", "* * zero", "* * lj/cut 0.1 2.2"],
        [
            "hybrid/scaled 0.5 zbl 4.0 4.8 0.25 lj/cut 4.0 1.0 snap",
            "* * zbl 74 74",
            "* * lj/cut 0.1 2.2",
            "* * snap c p W",
        ],
    ),
    "hybrid of disjoint pairs": (
        "hybrid zbl 4.0 4.8 lj/cut 4.0",
        ["1 1 zbl 74 74", "1 2 lj/cut 0.1 2.2"],
        ["hybrid/overlay zbl 4.0 4.8 lj/cut 4.0 snap", "1 1 zbl 74 74", "1 2 lj/cut 0.1 2.2", "* * snap c p W"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_more(name: str) -> None:
    style, coefficients, expected = CASES[name]
    lines = overlay_of(style, tuple(coefficients)).plus("snap", "c p W")
    assert lines == [f"pair_style {expected[0]}", *(f"pair_coeff {line}" for line in expected[1:])]


def test_a_pair_given_twice() -> None:
    """In plain hybrid the later line replaces the earlier one; in an overlay both would count."""
    with pytest.raises(SettingsError, match="hybrid/overlay"):
        overlay_of("hybrid zbl 4.0 4.8 lj/cut 4.0", ("* * lj/cut 0.1 2.2", "1 1 zbl 74 74"))
    with pytest.raises(SettingsError, match="hybrid/overlay"):
        overlay_of("hybrid zbl 4.0 4.8 lj/cut 4.0", ("1 2 lj/cut 0.1 2.2", "2 1 zbl 74 74"))
