"""A fit on a device: the same lines on NumPy arrays in place of a device's, and clear errors without one."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mlipstore_cli.app import app
from typer.testing import CliRunner

from mlipstore import cards, device, passes
from mlipstore.computing import Descriptor, Rows
from mlipstore.configuration import Batch
from mlipstore.errors import ComputeError, MissingDependencyError, MlipstoreError, SettingsError
from mlipstore.executors.processes import Processes
from mlipstore.executors.serial import Serial
from mlipstore.features import Feature
from mlipstore.featurize import featurize
from mlipstore.fit import compute, prepare
from mlipstore.index import Index, read_batch
from mlipstore.kept.fit import fit_from_factors
from mlipstore.registry import make
from mlipstore.runs.runfile import Fit, GroupSettings
from mlipstore.solve.kernels import ArrayKernels, Kernels
from mlipstore.store import Repository
from tests import snap_store, strict_arrays
from tests.unit.test_rows_on_the_fly import store_of


class Arrays:
    """A device made of NumPy: arrays are copied there, and computed with as CuPy's are."""

    label = "NumPy arrays"
    count = 1
    part_bytes = 64 << 10
    xp: ModuleType = np

    def __init__(self) -> None:
        self.sent = self.made = 0

    def row_maker(self, descriptor: Descriptor) -> Callable[[Batch], Rows] | None:
        make = device.row_maker(descriptor, self.xp, 1 << 20)
        if make is None:
            return None

        def counted(batch: Batch) -> Rows:
            self.made += 1
            return make(batch)

        return counted

    def kernels(self) -> Kernels:
        return ArrayKernels(self.xp)

    def send(self, rows: Any) -> Any:
        self.sent += rows.nbytes
        return rows.copy()


class StrictKernels(ArrayKernels):
    """Those of a GPU without one."""

    def __init__(self) -> None:
        self.xp = strict_arrays.xp
        self._solve_triangular = strict_arrays.solve_triangular


class Strict(Arrays):
    """A device whose arrays refuse to mix with those of the host, see :mod:`tests.strict_arrays`."""

    label = "strict arrays"
    xp = strict_arrays.xp

    def kernels(self) -> Kernels:
        return StrictKernels()

    def send(self, rows: Any) -> Any:
        if isinstance(rows, strict_arrays.Array):
            return rows
        self.sent += rows.nbytes
        return self.xp.asarray(rows)


@pytest.fixture(params=[Arrays, Strict], ids=["NumPy", "strict"])
def arrays(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Arrays]:
    made: Arrays = request.param()
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
    assert (there.device, here.device) == (arrays.label, "cpu") and arrays.sent > 0
    assert factor.n_rows == expected.n_rows
    np.testing.assert_allclose(there.coefficients, here.coefficients, rtol=1e-9)
    np.testing.assert_allclose(np.abs(factor.R), np.abs(expected.R), rtol=1e-8, atol=1e-10 * np.abs(expected.R).max())


def test_rows_that_are_not_stored_are_made_there(tmp_path: Path, arrays: Arrays) -> None:
    repository = store_of(tmp_path / "s.mlip")
    descriptor = make("descriptors", "snap", {"elements": ("Cu", "Au"), "twojmax": 4, "rcutfac": 4.0})
    featurize(repository, Feature.of("snap", descriptor, None, "float64", "none"), None)
    settings = Fit(frame="lammps", default=GroupSettings(train=0.7, test=0.3), groups={"b": GroupSettings(force=0.0)})
    here = compute(prepare(repository, settings))[0]
    assert (here.rows_made_by, arrays.made) == ("cpu", 0)
    there = compute(prepare(repository, replace(settings, device="cuda")))[0]
    assert there.rows_made_by == there.device == arrays.label and arrays.made
    assert there.rows == here.rows
    np.testing.assert_allclose(there.coefficients, here.coefficients, rtol=1e-8)
    for one, other in zip(there.errors, here.errors, strict=True):
        assert one.n == other.n and one.rmse == pytest.approx(other.rmse, rel=1e-8, nan_ok=True)


def test_featurize_makes_rows_there(tmp_path: Path, arrays: Arrays) -> None:
    repository = store_of(tmp_path / "s.mlip")
    descriptor = make("descriptors", "snap", {"elements": ("Cu", "Au"), "twojmax": 4, "rcutfac": 4.0})
    feature = Feature.of("snap", descriptor, None, "float64", "rows")
    done = featurize(repository, feature, None, device="cuda")
    assert done.device == arrays.label and done.segments == 2 and arrays.made
    snapshot = repository.at()
    assert repository.log()[0].metadata["summary"]["device"] == arrays.label
    for s in Index.load(snapshot).segments:
        expected = descriptor.rows(read_batch(snapshot, s.name))
        for name, rows in (("A_E", expected.energy), ("A_F", expected.force), ("A_S", expected.stress)):
            found = snapshot.read(f"features/{feature.id}/{s.name}/{name}")
            np.testing.assert_allclose(found, rows, atol=1e-12 * abs(rows).max())
    assert featurize(repository, feature, None).segments == 0  # the same feature, wherever it was made


def test_a_run_says_what_was_computed_there(tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    store_of(tmp_path / "s.mlip")
    table = 'store = "s.mlip"\n[descriptor]\ntype = "snap"\nelements = ["Cu", "Au"]\nrcutfac = 4.0\ntwojmax = 2\n'
    (tmp_path / "run.toml").write_text(table + '[fit]\ndevice = "cuda"\n')
    done = CliRunner().invoke(app, ["run", str(tmp_path / "run.toml"), "--executor", "serial"])
    assert done.exit_code == 0 and f" on {arrays.label} (1 worker) · " in done.output
    assert f"· on {arrays.label} (1 worker)\n" in done.output
    made = arrays.made
    (tmp_path / "run.toml").write_text(table.replace("= 2", "= 3") + 'storage = "none"\n[fit]\ndevice = "cuda"\n')
    done = CliRunner().invoke(app, ["run", str(tmp_path / "run.toml"), "--executor", "serial"])
    assert (
        done.exit_code == 0 and f"· on {arrays.label} (1 worker) with its rows\n" in done.output and arrays.made > made
    )
    monkeypatch.setenv("MLIPSTORE_SNAP_BACKEND", "native")
    words = [
        "fit",
        str(tmp_path / "s.mlip"),
        "--features",
        "snap-2J3",
        "--device",
        "cuda",
        "--name",
        "other",
        "--weight",
    ]
    done = CliRunner().invoke(app, [*words, "a.energy=7", "--executor", "serial"])
    assert f"· on {arrays.label} (1 worker), rows made on the processor\n" in done.output


def test_descriptors_without_code_for_a_device(tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = store_of(tmp_path / "s.mlip")
    descriptor = make("descriptors", "snap", {"elements": ("Cu", "Au"), "twojmax": 4, "rcutfac": 4.0})
    feature = Feature.of("snap", descriptor, None, "float64", "none")
    monkeypatch.setenv("MLIPSTORE_SNAP_BACKEND", "native")
    with pytest.raises(SettingsError, match=r"are not made on cuda.*MLIPSTORE_SNAP_BACKEND\). Leave --device out"):
        featurize(repository, feature, None, device="cuda")
    featurize(repository, feature, None)
    there = compute(prepare(repository, Fit(device="cuda")))[0]
    assert (there.device, there.rows_made_by, arrays.made) == (arrays.label, "cpu", 0)


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
        words = ["featurize", str(store), "-d", "snap", "--set", 'elements=["Ta"]', "--set", "rcutfac=4.0"]
        done = CliRunner().invoke(app, [*words, "--device", "cuda", "-q"])
        assert done.exit_code != 0 and "--device cpu" in str(done.exception)
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


@pytest.mark.parametrize("count", [1, 2])
def test_one_worker_for_each_card_unless_asked(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """More are not started by themselves: they would share a card. Here they are counted, and work in this process."""
    monkeypatch.setattr(Arrays, "count", count)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setattr(Processes, "unordered", lambda self, function, tasks: Serial().unordered(function, tasks))
    monkeypatch.setattr(Processes, "reduce", lambda self, *words: Serial().reduce(*words))
    monkeypatch.setattr(Processes, "map", lambda self, function, tasks: Serial().map(function, tasks))
    monkeypatch.setattr(Processes, "warm_up", 0.0)
    repository = store_of(tmp_path / "s.mlip")
    descriptor = make("descriptors", "snap", {"elements": ("Cu", "Au"), "twojmax": 2, "rcutfac": 4.0})
    feature = Feature.of("snap", descriptor, None, "float64", "rows")
    assert featurize(repository, feature, None, Processes(), device="cuda").workers == count
    problem = prepare(repository, Fit(device="cuda"))
    assert compute(problem, executor=Processes())[0].workers == count
    assert compute(problem, executor=Processes(5))[0].to_json()["workers_on_device"] == 5
    assert compute(prepare(repository, Fit()), executor=Processes())[0].to_json()["workers_on_device"] is None
    for words, workers in (((), count), (("-j", "3"), 3)):
        done = CliRunner().invoke(
            app, ["fit", str(tmp_path / "s.mlip"), "--device", "cuda", "--plan", "--json", *words]
        )
        assert json.loads(done.output)["workers"] == workers


def test_a_worker_takes_the_card_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "MLIPSTORE_CARDS", "MLIPSTORE_WORKER"):
        monkeypatch.setenv(name, "")  # for the end of the test
        monkeypatch.delenv(name)
    cards.take()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ  # nothing was offered, and this is no worker
    cards.offer(3)
    assert os.environ["MLIPSTORE_CARDS"] == "0,1,2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-1a2b,-1,7")
    cards.offer(2)
    executor = Processes(3)
    try:
        taken = set(executor.map(_taken, range(12)))
        assert taken <= {("0", "5"), ("1", "GPU-1a2b"), ("2", "5")}
    finally:
        executor.close()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,GPU-1a2b,-1,7" and "MLIPSTORE_WORKER" not in os.environ


def _taken(_: int) -> tuple[str, str]:
    cards.take()
    return os.environ["MLIPSTORE_WORKER"], os.environ["CUDA_VISIBLE_DEVICES"]


def test_workers_open_the_device_themselves(store: Path) -> None:
    executor = Processes(2)
    try:
        assert list(executor.map(_label, ["cpu", "cpu"])) == ["cpu", "cpu"]
    finally:
        executor.close()


def _label(name: str) -> str:
    return device.open_device(name).label
