"""A fit on a device: the same lines on NumPy arrays in place of a device's, and clear errors without one."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlipstore_cli.app import app
from typer.testing import CliRunner

from mlipstore import device, passes
from mlipstore.errors import ComputeError, MissingDependencyError, MlipstoreError, SettingsError
from mlipstore.executors.processes import Processes
from mlipstore.executors.serial import Serial
from mlipstore.fit import compute, prepare
from mlipstore.kept.fit import fit_from_factors
from mlipstore.runs.runfile import Fit
from mlipstore.solve.kernels import ArrayKernels, Kernels
from mlipstore.store import Repository
from tests import snap_store


class Arrays:
    """A device made of NumPy: arrays are copied there, and computed with as CuPy's are."""

    label = "NumPy arrays"

    def __init__(self) -> None:
        self.sent = 0

    def kernels(self) -> Kernels:
        return ArrayKernels(np)

    def send(self, rows: Any) -> Any:
        self.sent += rows.nbytes
        return rows.copy()


@pytest.fixture
def arrays(monkeypatch: pytest.MonkeyPatch) -> Iterator[Arrays]:
    made = Arrays()
    monkeypatch.setitem(device.DEVICES, "cuda", lambda: made)
    monkeypatch.setattr(passes, "LEAF_ROWS", 300)
    monkeypatch.setattr(passes, "LEAF_ROWS_PER_COLUMN", 1)
    device.open_device.cache_clear()
    yield made
    device.open_device.cache_clear()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snap_store.make(tmp_path_factory.mktemp("store") / "a.mlip", segments=5, configurations=8)


def test_agrees_with_the_processor_and_says_so(store: Path, arrays: Arrays) -> None:
    repository = Repository.open(store)
    there, factor = compute(prepare(repository, Fit(device="cuda")))
    here, expected = compute(prepare(repository, Fit()))
    assert (there.device, here.device) == ("NumPy arrays", "cpu") and arrays.sent > 0
    assert factor.n_rows == expected.n_rows
    np.testing.assert_allclose(there.coefficients, here.coefficients, rtol=1e-9)
    np.testing.assert_allclose(np.abs(factor.R), np.abs(expected.R), rtol=1e-8, atol=1e-10 * np.abs(expected.R).max())


def test_the_device_is_part_of_a_model_only_where_it_matters(store: Path, arrays: Arrays) -> None:
    repository = Repository.open(store)
    assert "device" not in prepare(repository, Fit()).identity()
    assert prepare(repository, Fit(device="cuda")).identity()["device"] == "cuda"
    assert prepare(repository, Fit(device="cuda")).id != prepare(repository, Fit()).id


def test_devices_that_are_not_there(store: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no device 'cuba'. Did you mean 'cuda'"):
        device.open_device("cuba")
    try:
        device.open_device("cuda")
    except (MissingDependencyError, ComputeError) as error:
        assert "--device cpu" in str(error)
        done = CliRunner().invoke(app, ["fit", str(store), "--device", "cuda", "-q"])
        assert done.exit_code != 0 and isinstance(done.exception, MlipstoreError)
    else:
        pytest.skip("there is a CUDA device")


@pytest.mark.gpu
@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="needs CuPy")
def test_on_a_cuda_device(store: Path) -> None:
    try:
        device.open_device("cuda")
    except ComputeError as error:
        pytest.skip(str(error))
    repository = Repository.open(store)
    there = compute(prepare(repository, Fit(device="cuda")), executor=Serial())[0]
    here = compute(prepare(repository, Fit()))[0]
    np.testing.assert_allclose(there.coefficients, here.coefficients, rtol=1e-9)
    assert there.device != "cpu"


def test_kept_factors_are_those_of_the_processor(store: Path) -> None:
    with pytest.raises(SettingsError, match="computed on the processor"):
        fit_from_factors(Repository.open(store), Fit(device="cuda"), keep=True)


def test_workers_open_the_device_themselves(store: Path) -> None:
    executor = Processes(2)
    try:
        assert list(executor.map(_label, ["cpu", "cpu"])) == ["cpu", "cpu"]
    finally:
        executor.close()


def _label(name: str) -> str:
    return device.open_device(name).label
