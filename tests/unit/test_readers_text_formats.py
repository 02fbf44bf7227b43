"""pymatgen JSON (mlearn), n2p2, MTP, ML_AB: what these files leave open is asked for, never guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore.configuration import Configuration
from mlipstore.errors import InputError
from mlipstore.readers.ml_ab import MlAb
from mlipstore.readers.mtp_cfg import MtpCfg
from mlipstore.readers.n2p2_data import N2p2Data
from mlipstore.readers.pymatgen_json import PymatgenJson
from mlipstore.reading import ReadOptions, ReadReport
from mlipstore.units import BOHR, HARTREE

from ..reader_samples import (
    CELL,
    STRESS,
    VOIGT,
    energy,
    forces,
    ml_ab_text,
    mtp_text,
    n2p2_text,
    positions,
    pymatgen_item,
)
from ..shared_data import DATA, needs_data


def read(
    plugin: type, folder: Path, text: str, report: ReadReport | None = None, **options: Any
) -> list[Configuration]:
    path = folder / "input.file"
    path.write_text(text)
    return list(plugin(ReadOptions(**options)).read(path, report or ReadReport(), path))


# ------------------------------------------------------------- pymatgen JSON
def test_pymatgen_stress_is_missing_until_its_order_is_said(tmp_path: Path) -> None:
    text = json.dumps([pymatgen_item(i) for i in range(3)])
    report = ReadReport()
    found = read(PymatgenJson, tmp_path, text, report)
    assert [c.group for c in found] == ["AIMD", "Elastic", "Elastic"]
    assert all(c.stress is None and c.forces is not None for c in found)
    [(what, n)] = report.observed.items()
    assert n == 3
    assert "--stress-order" in what
    order = {"AIMD": "xx yy zz xy yz xz"}
    report = ReadReport()
    found = read(PymatgenJson, tmp_path, text, report, group_stress_order=order)
    np.testing.assert_allclose(found[0].stress, VOIGT, rtol=1e-9)
    assert found[1].stress is None
    assert report.assumed == {"stress in kbar, compression positive (pymatgen JSON)": 1}
    found = read(PymatgenJson, tmp_path, text, stress_order="xx yy zz xy xz yz", group_stress_order=order)
    np.testing.assert_allclose(found[0].stress, VOIGT, rtol=1e-9)
    np.testing.assert_allclose(found[1].stress, VOIGT[[0, 1, 2, 4, 3, 5]], rtol=1e-9)
    found = read(
        PymatgenJson, tmp_path, text, stress_order="xx yy zz xy yz xz", stress_unit="GPa", stress_sign="tension"
    )
    np.testing.assert_allclose(found[0].stress, -10 * VOIGT, rtol=1e-9)


def test_pymatgen_tensor_needs_a_unit(tmp_path: Path) -> None:
    item = pymatgen_item(stress=(-STRESS * 160.2176634).tolist())
    del item["outputs"]["virial_stress"]
    report = ReadReport()
    assert read(PymatgenJson, tmp_path, json.dumps([item]), report)[0].stress is None
    assert any("--stress-unit" in what for what in report.observed)
    c = read(PymatgenJson, tmp_path, json.dumps([item]), stress_unit="GPa")[0]
    np.testing.assert_allclose(c.stress, VOIGT, rtol=1e-9)


def test_pymatgen_layouts(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(pymatgen_item(i)) for i in range(2))
    assert len(read(PymatgenJson, tmp_path, lines)) == 2
    flat = {**pymatgen_item(), **pymatgen_item()["outputs"]}
    del flat["outputs"], flat["group"], flat["tag"]
    c = read(PymatgenJson, tmp_path, json.dumps(flat))[0]
    assert (c.energy, c.group) == (-10.5, "input")
    item = pymatgen_item()
    for site, fraction in zip(item["structure"]["sites"], positions(0) @ np.linalg.inv(CELL), strict=True):
        del site["xyz"]
        site["abc"] = fraction.tolist()
        site["properties"] = {"magmom": 0.5}
    c = read(PymatgenJson, tmp_path, json.dumps([item]))[0]
    np.testing.assert_allclose(c.positions, positions(0), atol=1e-12)
    np.testing.assert_array_equal(c.spin, [[0, 0, 0.5]] * 3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda i: i["structure"].pop("sites"), "no 'structure' with 'sites'"),
        (lambda i: i.update(num_atoms=4), "'num_atoms' is 4"),
        (lambda i: i["outputs"]["forces"].pop(), "'forces' has 2 rows for 3 atoms"),
        (lambda i: i["outputs"].update(virial_stress=[1, 2]), "expected 6 numbers or 3 x 3"),
        (
            lambda i: i["structure"]["sites"][1].update(species=[{"element": "O", "occu": 0.5}]),
            "site 2 is not occupied",
        ),
        (lambda i: i["structure"]["sites"][1]["species"][0].update(element="Oo"), "'Oo'"),
        (lambda i: i["structure"]["lattice"].pop("matrix"), "'cell' has shape"),
        (lambda i: i["structure"]["sites"][1].update(xyz=[0, 1]), "rows of one length"),
        (lambda i: i.update(outputs=3), "'outputs' is not an object"),
        (lambda i: i["outputs"].update(energy="x"), "not a number"),
    ],
)
def test_pymatgen_refused(change: Any, match: str, tmp_path: Path) -> None:
    item = pymatgen_item()
    change(item)
    with pytest.raises(InputError, match=f"frame 1: .*{match}"):
        read(PymatgenJson, tmp_path, json.dumps([pymatgen_item(), item]))
    path = tmp_path / "input.file"
    path.write_text(json.dumps([pymatgen_item(), item, pymatgen_item(2)]))
    report = ReadReport(skip_bad=True)
    assert [c.frame for c in PymatgenJson().read(path, report)] == [0, 2]


@needs_data
def test_mlearn() -> None:
    assert DATA is not None
    counts = {"Si/training": 214, "Si/test": 25, "Li/training": 241, "Li/test": 29}
    for name, count in counts.items():
        path = DATA / "mlearn" / f"{name}.json"
        report = ReadReport()
        found = list(PymatgenJson().read(path, report, path))
        assert len(found) == count
        assert {c.group for c in found} == {"AIMD-NVT", "Elastic", "Surface", "Vacancy"}
        raw = json.loads(path.read_text())
        assert [c.energy for c in found] == [item["outputs"]["energy"] for item in raw]
        assert all(c.stress is None and c.forces is not None and c.pbc.all() for c in found)
        assert sum(report.observed.values()) == count
    # the order of Si Elastic that the energies confirm: xx yy zz xy yz xz
    orders = {"Elastic": "xx yy zz xy yz xz"}
    reader = PymatgenJson(ReadOptions(stress_order="xx yy zz xy xz yz", group_stress_order=orders))
    found = list(reader.read(DATA / "mlearn/Si/training.json", ReadReport()))
    raw = json.loads((DATA / "mlearn/Si/training.json").read_text())
    for c, item in zip(found, raw, strict=True):
        xx, yy, zz, xy, a, b = (-np.array(item["outputs"]["virial_stress"]) / 1602.176634).tolist()
        shear = [a, b, xy] if c.group == "Elastic" else [b, a, xy]
        np.testing.assert_allclose(c.stress, [xx, yy, zz, *shear], rtol=1e-12)


# ---------------------------------------------------------------------- n2p2
def test_n2p2_asks_for_units(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give --length-unit and --energy-unit.*suggests"):
        read(N2p2Data, tmp_path, n2p2_text())
    with pytest.raises(InputError, match=r"give --energy-unit\. "):
        read(N2p2Data, tmp_path, n2p2_text(), length_unit="Å")


def test_n2p2_units(tmp_path: Path) -> None:
    report = ReadReport()
    c = read(N2p2Data, tmp_path, n2p2_text(1), report, length_unit="Bohr", energy_unit="Ha")[0]
    np.testing.assert_allclose(c.cell, CELL * BOHR)
    np.testing.assert_allclose(c.positions, positions(0) * BOHR)
    np.testing.assert_allclose(c.forces, forces(0) * HARTREE / BOHR)
    assert c.energy == energy(0) * HARTREE
    assert report.assumed == {"lengths in Bohr, energies in Ha, forces in Ha/Bohr (n2p2)": 1}
    c = read(N2p2Data, tmp_path, n2p2_text(1), length_unit="Bohr", energy_unit="Ha", force_unit="eV/A")[0]
    np.testing.assert_allclose(c.forces, forces(0))


def test_n2p2_molecule_charges_and_marks(tmp_path: Path) -> None:
    text = (
        "  begin set=train\n# note\ncomment a b\natom 0 0 0 O -0.5 0 1 2 3\natom 0 0 1 H 0.5 0 0 0 0\n"
        "energy -1\ncharge 1\n end\n"
    )
    c = read(N2p2Data, tmp_path, text, length_unit="A", energy_unit="eV")[0]
    assert (c.pbc.any(), c.charge.tolist()) == (np.False_, [-0.5, 0.5])
    assert c.info == {"comment": "a b", "set": "train", "total_charge": 1.0}


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("end\n", "", "before the block's 'end'|truncated"),
        ("lattice 0.3", "# lattice 0.3", "2 'lattice' lines"),
        ("atom 0.1", "atom x.1", r"frame 0 \(line 6\).*'x.10000000'"),
        ("atom 0.1", "atom 7 0.1", "has 10 values"),
        (" 0.30000000\n", "\n", "has 8 values"),
        (" Si ", " Sj ", "'Sj', which is not an element. Did you mean"),
        ("energy -10.5\n", "energy low\n", "low"),
        ("energy -10.5\n", "energy 1\nenergy 2\n", "'energy' is there twice"),
        ("energy", "enrgy", "unknown keyword 'enrgy'"),
        ("begin\n", "", "outside of begin"),
        ("atom 0.10000000", "atom nan", "no length"),
    ],
)
def test_n2p2_refused(old: str, new: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=match):
        read(N2p2Data, tmp_path, n2p2_text().replace(old, new, 1), length_unit="A", energy_unit="eV")
    path = tmp_path / "input.file"
    report = ReadReport(skip_bad=True)
    found = list(N2p2Data(ReadOptions(length_unit="A", energy_unit="eV")).read(path, report))
    assert len(found) >= 1
    assert report.refused


@needs_data
@pytest.mark.parametrize(
    ("name", "count", "atoms", "suggestion"),
    [
        ("cu2s_n2p2/input.data", 1, 144, "--length-unit Å --energy-unit eV"),
        ("cu2s_n2p2/train20/input.data", 20, 2880, "--length-unit Å --energy-unit eV"),
        ("n2p2_h2o/input.data", 1, 1080, "--length-unit Bohr --energy-unit Ha"),
        ("n2p2_h2o/train20/input.data", 20, 2064, "--length-unit Bohr --energy-unit Ha"),
    ],
)
def test_n2p2_real_files(name: str, count: int, atoms: int, suggestion: str) -> None:
    assert DATA is not None
    path = DATA / name
    with pytest.raises(InputError, match=f"suggests {suggestion}"):
        list(N2p2Data().read(path, ReadReport()))
    words = suggestion.split()
    found = list(N2p2Data(ReadOptions(length_unit=words[1], energy_unit=words[3])).read(path, ReadReport()))
    assert (len(found), sum(len(c) for c in found)) == (count, atoms)
    if name == "cu2s_n2p2/input.data":
        assert found[0].energy == -573.700369
        assert found[0].numbers[0] == 16
        assert found[0].forces[0].tolist() == [-0.125331, 0.028415, 0.031193]


@needs_data
def test_n2p2_folder_takes_only_data_files() -> None:
    assert DATA is not None
    files = N2p2Data().files(DATA / "cu2s_n2p2")
    assert [str(f.relative_to(DATA)) for f in files] == ["cu2s_n2p2/input.data", "cu2s_n2p2/train20/input.data"]


# ----------------------------------------------------------------------- MTP
def test_mtp_stress_needs_a_sign_and_types_a_map(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"types 0 to 1.*--type-map"):
        read(MtpCfg, tmp_path, mtp_text())
    report = ReadReport()
    found = read(MtpCfg, tmp_path, mtp_text(), report, type_map=("Si", "O"))
    assert all(c.stress is None for c in found)
    assert any("--stress-sign" in what for what in report.observed)
    c = read(MtpCfg, tmp_path, mtp_text(), type_map=("Si", "O"), stress_sign="compression")[0]
    np.testing.assert_allclose(c.stress, -VOIGT, atol=1e-9)


def test_mtp_fewer_lattice_vectors_and_direct_positions(tmp_path: Path) -> None:
    text = mtp_text(1)
    start = text.index(" Supercell")
    slab = text[:start] + text[start:].replace("    0.00000000 0.10000000 5.30000000\n", "", 1)
    c = read(MtpCfg, tmp_path, slab, type_map=("Si", "O"))[0]
    assert c.pbc.tolist() == [True, True, False]
    direct = text.replace("cartes", "direct")
    c = read(MtpCfg, tmp_path, direct, type_map=("Si", "O"))[0]
    np.testing.assert_allclose(c.positions, positions(0) @ CELL, atol=1e-7)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("    3\n", "    4\n", "'Size' is 4 and 'AtomData' has 3 rows"),
        (" Size\n", "", "no 'Size'|rows"),
        ("END_CFG", "", "before the block's 'END_CFG'"),
        ("type  ", "tpye  ", "no column 'type'"),
        ("cartes_x", "x", "cartes_x"),
        (" Energy\n    -10.5", " Energy\n    low", "not a number"),
        (" Energy\n", " Size\n 3\n Energy\n", "'Size' is there twice"),
        ("  1 0 ", "  1 5 ", "type 5 is not in --type-map"),
        ("  1 0 ", "  1 x ", "not a table of numbers"),
        ("  1 0 ", "  1 ", "has 7 values, AtomData names 8"),
    ],
)
def test_mtp_refused(old: str, new: str, match: str, tmp_path: Path) -> None:
    text = mtp_text().replace(old, new, 1)
    with pytest.raises(InputError, match=match):
        read(MtpCfg, tmp_path, text, type_map=("Si", "O"))
    report = ReadReport(skip_bad=True)
    found = list(MtpCfg(ReadOptions(type_map=("Si", "O"))).read(tmp_path / "input.file", report))
    assert [c.frame for c in found] == [1, 2]


# --------------------------------------------------------------------- ML_AB
def test_ml_ab_truncated_and_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="says 4 configurations, 3 are there"):
        read(MlAb, tmp_path, ml_ab_text(3, told=4))
    report = ReadReport()
    c = read(MlAb, tmp_path, ml_ab_text(1), report)[0]
    np.testing.assert_allclose(c.stress, VOIGT, atol=1e-9)
    assert c.info == {"system": "sample run"}
    assert report.assumed == {"stress in kbar, compression positive (ML_AB)": 1}


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("   O    2\n", "   O    3\n", "'The number of atoms' is 3, the types have 4"),
        ("   O    2\n", "   Oq   2\n", "'Oq'"),
        ("Total energy (eV)", "Nothing", "no 'Total energy'"),
        (" 0.10000000 -0.20000000 0.30000000\n", "", "'forces' has 2 rows for 3 atoms"),
        (" -10.5\n", " -10.x5\n", "not a number"),
    ],
)
def test_ml_ab_refused(old: str, new: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=match):
        read(MlAb, tmp_path, ml_ab_text().replace(old, new, 1))
