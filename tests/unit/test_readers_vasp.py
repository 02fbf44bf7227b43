"""OUTCAR and vasprun.xml: against ASE, and what ASE does not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore.configuration import Configuration
from mlipstore.errors import InputError
from mlipstore.readers.vasp_outcar import VaspOutcar
from mlipstore.readers.vasp_xml import VaspXml
from mlipstore.reading import ReadOptions, ReadReport

from ..reader_samples import VOIGT, energy, forces, outcar_text, vasprun_text


def read(
    plugin: type, folder: Path, text: str, report: ReadReport | None = None, **options: Any
) -> list[Configuration]:
    path = folder / ("OUTCAR" if plugin is VaspOutcar else "vasprun.xml")
    path.write_text(text)
    return list(plugin(ReadOptions(**options)).read(path, report or ReadReport(), path))


@pytest.mark.parametrize(("plugin", "text"), [(VaspOutcar, outcar_text()), (VaspXml, vasprun_text())])
def test_as_ase_reads_it(plugin: type, text: str, tmp_path: Path) -> None:
    import ase.io

    report = ReadReport()
    found = read(plugin, tmp_path, text, report)
    path = tmp_path / ("OUTCAR" if plugin is VaspOutcar else "vasprun.xml")
    reference = ase.io.read(path, ":")
    assert len(found) == len(reference) == 3
    for i, (c, atoms) in enumerate(zip(found, reference, strict=True)):
        results = atoms.calc.results
        np.testing.assert_allclose(c.cell, atoms.cell[:], atol=1e-9)
        np.testing.assert_allclose(c.positions, atoms.positions, atol=1e-9)
        np.testing.assert_allclose(c.forces, results["forces"], atol=1e-12)
        np.testing.assert_allclose(c.stress, results["stress"], rtol=1e-6)
        assert c.energy == pytest.approx(results["energy"]) == pytest.approx(energy(i))
        assert c.info == {"free_energy": pytest.approx(results["free_energy"])}
        assert c.group == tmp_path.name
    assert any("free energy" in what for what in report.assumed)
    assert any("kbar" in what for what in report.assumed)


def test_outcar_learned_steps_are_no_data(tmp_path: Path) -> None:
    text = outcar_text(2)
    start, stop = text.index("  in kB"), text.index("----", text.index("sigma->0"))
    learned = text[start:stop].replace("(eV/Angst)", "(eV/Angst) (ML)").replace("  FREE ENERGIE", "  ML FREE ENERGIE")
    report = ReadReport()
    found = read(
        VaspOutcar, tmp_path, text.replace("--- Iteration      2(   1)", learned + "--- Iteration      2(   1)"), report
    )
    assert [c.energy for c in found] == [energy(0), energy(1)]
    assert report.observed == {"step of a machine-learned force field: left out": 1}


def test_outcar_steps_without_positions(tmp_path: Path) -> None:
    text = outcar_text(2)
    start = text.index(" POSITION")
    cut = text[:start] + text[text.index("  FREE ENERGIE") :]
    report = ReadReport()
    found = read(VaspOutcar, tmp_path, cut, report)
    assert [c.energy for c in found] == [energy(1)]
    assert any("NWRITE" in what for what in report.observed)


def test_outcar_numbers_without_blanks_between_and_stars(tmp_path: Path) -> None:
    c = read(VaspOutcar, tmp_path, outcar_text(1, kbar="-10000.12345-20000.12345 1.00000 2.00000 3.00000 4.00000"))[0]
    np.testing.assert_allclose(c.stress[:3] * 1602.176634, [10000.12345, 20000.12345, -1])
    np.testing.assert_allclose(c.stress[3:] * 1602.176634, [-3, -4, -2])  # the file says xy yz zx
    report = ReadReport()
    assert read(VaspOutcar, tmp_path, outcar_text(1, kbar="************ 1.0 2.0 3.0 4.0 5.0"), report)[0].stress is None
    assert any("not six numbers" in what for what in report.observed)


def test_outcar_cut_run(tmp_path: Path) -> None:
    text = outcar_text(3, footer=False)
    report = ReadReport()
    assert len(read(VaspOutcar, tmp_path, text, report)) == 3
    assert any("no end-of-run mark" in what for what in report.observed)
    going = (
        text + outcar_text(4)[outcar_text(4).index("---------------------------------------", len(text) - 50) :][:200]
    )
    with pytest.raises(InputError, match="ends inside an ionic step, after 3 complete"):
        read(VaspOutcar, tmp_path, going)
    with pytest.raises(InputError, match="after 2 complete steps"):
        read(VaspOutcar, tmp_path, text[: text.rindex("total drift") - 100])


def test_outcar_unconverged_steps_are_marked(tmp_path: Path) -> None:
    report = ReadReport()
    found = read(VaspOutcar, tmp_path, outcar_text(2).replace("1(   2)", "1(  60)"), report)
    assert [c.info.get("unconverged", False) for c in found] == [True, False]
    assert any("unconverged" in what for what in report.observed)


def test_outcar_elements(tmp_path: Path) -> None:
    text = outcar_text(1)
    no_potcar = "\n".join(x for x in text.split("\n") if "VRHFIN" not in x)
    assert read(VaspOutcar, tmp_path, no_potcar)[0].numbers.tolist() == [14, 8, 8]
    neither = "\n".join(x for x in no_potcar.split("\n") if "TITEL" not in x)
    assert read(VaspOutcar, tmp_path, neither)[0].numbers.tolist() == [14, 8, 8]
    wrapped = text.replace("=               1   2\n", "=               1\n   2\n")
    assert read(VaspOutcar, tmp_path, wrapped)[0].numbers.tolist() == [14, 8, 8]
    with pytest.raises(InputError, match="3 types of ions"):
        read(VaspOutcar, tmp_path, text.replace("=               1   2\n", "=      1   1    1\n"))
    with pytest.raises(InputError, match="ions per type"):
        read(VaspOutcar, tmp_path, text.replace("ions per type", "ions"))


def test_outcar_moments(tmp_path: Path) -> None:
    table = (
        " magnetization (x)\n\n# of ion       s       p       d       tot\n------------------------------------------\n"
        "    1        0.000   0.000   1.500   1.500\n    2        0.000   0.000  -0.500  -0.500\n"
        "    3        0.000   0.000   0.250   0.250\n--------------------------------------------------\n"
    )
    text = outcar_text(1).replace("  FORCE on cell", table + "  FORCE on cell")
    c = read(VaspOutcar, tmp_path, text)[0]
    np.testing.assert_array_equal(c.spin, [[0, 0, 1.5], [0, 0, -0.5], [0, 0, 0.25]])


def test_xml_stale_energy_and_missing_parts(tmp_path: Path) -> None:
    text = vasprun_text(1)
    head, tail = text.rsplit('<i name="e_0_energy">', 1)
    stale = head + '<i name="e_0_energy">0.0</i>' + tail.split("</i>", 1)[1]
    assert read(VaspXml, tmp_path, stale)[0].energy == pytest.approx(energy(0))
    report = ReadReport()
    start, stop = text.index('<varray name="forces">'), text.index('<varray name="stress">')
    c = read(VaspXml, tmp_path, text[:start] + text[stop:], report)[0]
    assert c.forces is None
    assert report.observed == {"no forces in the step": 1}
    start, stop = text.index('<varray name="stress">'), text.index("<energy>", text.index('<varray name="stress">'))
    report = ReadReport()
    c = read(VaspXml, tmp_path, text[:start] + text[stop:], report)[0]
    assert c.stress is None
    np.testing.assert_allclose(c.forces, forces(0))
    assert report.observed == {"no stress in the step": 1}


def test_xml_unconverged_and_wrong_shapes(tmp_path: Path) -> None:
    text = vasprun_text(1).replace(">60</i>", ">1</i>")
    assert read(VaspXml, tmp_path, text)[0].info["unconverged"]
    for old, new, match in (
        ("<rc><c>Si </c><c> 1</c></rc>", "", "rows for 2 atoms"),
        ("<c>Si </c>", "<c>Sx </c>", "'Sx'"),
        ("<modeling>", "<modelling>", "mismatched tag|breaks|complete"),
    ):
        with pytest.raises(InputError, match=match):
            read(VaspXml, tmp_path, vasprun_text(1).replace(old, new, 1))


def test_xml_truncated_keeps_the_good_steps_when_asked(tmp_path: Path) -> None:
    text = vasprun_text(3)
    path = tmp_path / "vasprun.xml"
    path.write_text(text[: text.rindex("<scstep>") + 20])
    report = ReadReport()
    stream = VaspXml().read(path, report)
    assert [next(stream).energy for _ in range(2)] == pytest.approx([energy(0), energy(1)])
    with pytest.raises(InputError, match="after 2 complete ionic steps"):
        next(stream)
    assert len(list(VaspXml().read(path, ReadReport(skip_bad=True)))) == 2


def test_stress_unit_is_overridden(tmp_path: Path) -> None:
    c = read(VaspXml, tmp_path, vasprun_text(1), stress_unit="GPa")[0]
    np.testing.assert_allclose(c.stress, 10 * VOIGT, rtol=1e-6)
