"""The choice of instruction set and what the kernels say when they cannot run."""

from __future__ import annotations

import numpy as np
import pytest

from mlipstore import kernels
from mlipstore.configuration import Batch, Configuration
from mlipstore.descriptors.snap import Snap
from mlipstore.errors import ComputeError, InputError, MissingDependencyError, SettingsError
from mlipstore.kernels.snap import snap_rows


def configuration(positions: object = ((0.0, 0.0, 0.0),), **changes: object) -> Configuration:
    positions = np.array(positions, float)
    values: dict[str, object] = {
        "numbers": np.full(len(positions), 73),
        "positions": positions,
        "cell": 3.3 * np.eye(3),
        "pbc": np.ones(3, bool),
        "source": "a.xyz",
        "group": "bulk",
    }
    return Configuration(**(values | changes))  # type: ignore[arg-type]


def batch(*configurations: Configuration) -> Batch:
    return Batch.from_configurations(list(configurations))


TA = Snap(("Ta",), 4.5, (2,))


def test_widest_instruction_set_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kernels.ISA_VARIABLE, raising=False)
    assert kernels.isas()[0] == "baseline"
    assert kernels.isa() == kernels.isas()[-1]
    assert kernels.load("snap").isa == kernels.isa()


def test_instruction_set_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.ISA_VARIABLE, "baseline")
    assert kernels.load("snap").isa == "baseline"
    monkeypatch.setenv(kernels.ISA_VARIABLE, "mmx")
    with pytest.raises(SettingsError, match=r"MLIPSTORE_ISA='mmx' is not available here\. Available: baseline"):
        kernels.isa()


def test_kernel_that_is_not_built_says_how_to_build_it() -> None:
    with pytest.raises(MissingDependencyError, match=r"'nothing' \(baseline\) cannot be loaded.*pip install"):
        kernels.load("nothing", "baseline")


def test_unknown_element_names_the_configuration() -> None:
    with pytest.raises(InputError, match=r"a\.xyz, frame 0 \(group bulk\): element W is not in .*\(Ta\)"):
        snap_rows(TA, batch(configuration(), configuration(numbers=np.array([74]))))


def test_position_that_is_not_finite_names_the_configuration() -> None:
    bad = configuration(((0.0, np.nan, 0.0),), frame=3)
    with pytest.raises(InputError, match=r"frame 3 .*not a finite number"):
        snap_rows(TA, batch(configuration(), bad))


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [
        (np.zeros((3, 3)), (True, True, True)),
        (np.array([[3.0, 0, 0], [0, 3, 0], [3, 3, 0]]), (True, True, True)),
        (np.array([[3.0, 0, 0], [6, 0, 0], [0, 0, 9]]), (True, True, False)),
        (np.array([[3.0, 0, 0], [0, 0, 0], [0, 0, 9]]), (False, True, False)),
        (np.full((3, 3), np.nan), (True, True, True)),
    ],
)
def test_flat_periodic_cell_names_the_configuration(cell: np.ndarray, pbc: tuple[bool, ...]) -> None:
    with pytest.raises(InputError, match="cell vectors are missing or lie in one plane"):
        snap_rows(TA, batch(configuration(), configuration(cell=cell, pbc=np.array(pbc))))


def test_cell_far_too_small_names_the_configuration() -> None:
    tiny = configuration(cell=1e-3 * np.eye(3), frame=7)
    with pytest.raises(ComputeError, match=r"frame 7 .*the cell is too small for the cutoff"):
        snap_rows(TA, batch(configuration(), tiny))


def test_empty_batch() -> None:
    rows = snap_rows(TA, batch())
    assert rows.energy.shape == (0, 5) and rows.force.shape == (0, 5) and rows.stress.shape == (0, 5)
