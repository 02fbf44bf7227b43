"""FitSNAP JSON: units, groups, and everything that can be wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore.configuration import Configuration
from mlipstore.errors import InputError, SettingsError
from mlipstore.readers.fitsnap_json import FitsnapJson
from mlipstore.reading import ReadOptions, ReadReport
from mlipstore.units import LAMMPS_BAR_PER_EV_A3

from ..reader_samples import CELL, STRESS, VOIGT, fitsnap_text, forces, positions
from ..shared_data import DATA, needs_data


def read_text(folder: Path, text: str | bytes, report: ReadReport | None = None, **options: Any) -> Configuration:
    path = folder / "group" / "a.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = list(FitsnapJson(ReadOptions(**options)).read(path, report or ReadReport(), folder))
    assert len(found) == 1
    return found[0]


def test_all_quantities(tmp_path: Path) -> None:
    c = read_text(tmp_path, fitsnap_text())
    np.testing.assert_array_equal(c.cell, CELL)  # rows are the vectors
    np.testing.assert_array_equal(c.positions, positions(0))
    np.testing.assert_array_equal(c.forces, forces(0))
    np.testing.assert_allclose(c.stress, VOIGT, rtol=1e-12)  # compression positive in the file
    assert (c.energy, c.group, c.numbers.tolist(), c.info) == (-10.5, "group", [14, 8, 8], {"label": "sample"})


@pytest.mark.parametrize("first", ["", "# comment\n", "\n", "  ", "anything at all\n"])
def test_first_line(first: str, tmp_path: Path) -> None:
    text = first + fitsnap_text().split("\n", 1)[1]
    assert read_text(tmp_path, text).energy == -10.5


@pytest.mark.parametrize(
    ("style", "factor"),
    [("bar", 1.0), ("bars", 1.0), ("metal", 1.0), ("kB", 1e3), ("kb", 1e3), ("kbar", 1e3), ("atm", 1.01325),
     ("Pa", 1e-5), ("kPa", 1e-2), ("GPa", 1e4), ("atomic", 2.942102648438959e8)],
)  # fmt: skip
def test_stress_styles(style: str, factor: float, tmp_path: Path) -> None:
    c = read_text(tmp_path, fitsnap_text(StressStyle=style, Stress=STRESS.tolist()))
    np.testing.assert_allclose(c.stress, -VOIGT * factor / LAMMPS_BAR_PER_EV_A3, rtol=1e-14)


@pytest.mark.parametrize(
    ("key", "style", "factor"),
    [("Energy", "Hartree", 27.2114), ("Energy", "rydberg", 13.6056980659), ("Energy", "electronvolt", 1.0),
     ("Forces", "hartree_per_bohr", 51.422), ("Forces", "newton", 6.241509e8), ("Forces", "dyne", 6.241509e3),
     ("Lattice", "bohr", 0.52917721067121), ("Lattice", "m", 1e10), ("Lattice", "cm", 1e8)],
)  # fmt: skip
def test_other_styles(key: str, style: str, factor: float, tmp_path: Path) -> None:
    plain = read_text(tmp_path, fitsnap_text())
    changed: dict[str, Any] = {f"{key}Style": style}
    if key == "Lattice" and factor > 1:
        changed["Lattice"] = (CELL / factor).tolist()
        factor = 1.0
    c = read_text(tmp_path, fitsnap_text(**changed))
    attribute = {"Energy": "energy", "Forces": "forces", "Lattice": "cell"}[key]
    np.testing.assert_allclose(getattr(c, attribute), getattr(plain, attribute) * factor, rtol=1e-14)


def test_missing_style_is_the_default_whatever_came_before(tmp_path: Path) -> None:
    report = ReadReport()
    first = read_text(tmp_path, fitsnap_text(StressStyle="kbar"), report)
    second = read_text(tmp_path, fitsnap_text(StressStyle=None), report)
    assert report.assumed["stress in kbar, compression positive (FitSNAP JSON)"] == 1
    np.testing.assert_allclose(first.stress, 1000 * second.stress)
    assert any("default" in what for what in report.assumed)


def test_unit_overrides(tmp_path: Path) -> None:
    kbar = read_text(tmp_path, fitsnap_text(), stress_unit="kbar").stress
    np.testing.assert_allclose(kbar, 1000 * VOIGT, rtol=1e-12)
    own = read_text(tmp_path, fitsnap_text(), stress_unit="kbar", group_stress_unit={"group": "bar"}).stress
    np.testing.assert_allclose(own, VOIGT, rtol=1e-12)
    other = read_text(tmp_path, fitsnap_text(), group_stress_unit={"elsewhere": "kbar"}).stress
    np.testing.assert_allclose(other, VOIGT, rtol=1e-12)
    ev = read_text(tmp_path, fitsnap_text(Stress=STRESS.tolist()), stress_unit="eV/A^3", stress_sign="tension").stress
    np.testing.assert_array_equal(ev, VOIGT)


def test_spins_and_charges(tmp_path: Path) -> None:
    spins = [[2.0, 0, 0, 2.0], [1.5, 3.0, 4.0, 0.0], [0.0, 0, 0, 0]]
    c = read_text(tmp_path, fitsnap_text(Spins=spins, Charges=[[0.5], [-0.25], [-0.25]]))
    np.testing.assert_allclose(c.spin, [[0, 0, 2.0], [0.9, 1.2, 0], [0, 0, 0]])
    np.testing.assert_allclose(c.charge, [0.5, -0.25, -0.25])


def test_left_handed_cell_is_kept_and_told(tmp_path: Path) -> None:
    report = ReadReport()
    c = read_text(tmp_path, fitsnap_text(Lattice=CELL[[1, 0, 2]].tolist()), report)
    assert c.volume < 0
    assert any("left-handed" in what for what in report.observed)


@pytest.mark.parametrize("key", ["Energy", "Forces", "Stress"])
def test_missing_label(key: str, tmp_path: Path) -> None:
    report = ReadReport()
    c = read_text(tmp_path, fitsnap_text(**{key: None}), report)
    value = {"Energy": c.energy, "Forces": c.forces, "Stress": c.stress}[key]
    assert value is None or np.isnan(value)
    assert report.observed == {f"no {key.lower()} in the file": 1}


@pytest.mark.parametrize(("key", "value"), [("Energy", "NaN"), ("Forces", "NaN"), ("Stress", "Infinity")])
def test_label_that_is_no_number_is_missing_and_told(key: str, value: str, tmp_path: Path) -> None:
    change = {"Energy": "@", "Forces": [["@", 0, 0], [0, 0, 0], [0, 0, 0]], "Stress": [["@", 0, 0], [0] * 3, [0] * 3]}
    text = fitsnap_text(**{key: change[key]}).replace('"@"', value)
    report = ReadReport()
    c = read_text(tmp_path, text, report)
    got = {"Energy": c.energy, "Forces": c.forces, "Stress": c.stress}[key]
    assert got is None or np.isnan(got)
    assert report.observed


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (fitsnap_text(Positions=positions(0)[:2].tolist()), "'positions' has 2 rows for 3 atoms"),
        (fitsnap_text(Forces=forces(0)[:2].tolist()), "'forces' has 2 rows for 3 atoms"),
        (fitsnap_text(Forces=[[0, 0], [0, 0], [0, 0]]), "shape"),
        (fitsnap_text(Forces=[[0, 0, 0], [0, 0], [0, 0, 0]]), "rows of one length"),
        (fitsnap_text(AtomTypes=["Si", "O", "Ox"]), "atom 3 is 'Ox'.*Did you mean 'O'"),
        (fitsnap_text(AtomTypes=["Si", "O", "X"]), "'X', which is not an element"),
        (fitsnap_text(AtomTypes=[1, 2, 2]), "--type-map"),
        (fitsnap_text(AtomTypes="Si"), "not a list"),
        (fitsnap_text(NumAtoms=4), "'NumAtoms' is 4"),
        (fitsnap_text(Lattice=None), "'Lattice' is missing"),
        (fitsnap_text(Lattice=[1, 2, 3]), "'cell' has shape"),
        (fitsnap_text(Positions=[[None, 0, 0], [0, 0, 0], [0, 0, 0]]), "position|table"),
        (fitsnap_text(Stress=[1, 2]), "shape"),
        (fitsnap_text(Energy="low"), "not a number"),
        (fitsnap_text(StressStyle="kbr"), "unknown StressStyle 'kbr'. Did you mean 'kbar'"),
        (fitsnap_text(EnergyStyle="joule"), "unknown EnergyStyle.*--energy-unit"),
        (fitsnap_text().replace('"Energy":', '"Energy": 1.0, "Energy":'), "'Energy' is there twice"),
        (fitsnap_text()[:200], "truncated|not valid"),
        ("", "empty"),
        ("# only a comment", "empty|no JSON"),
        ("# comment\n[1, 2]", "'Dataset'"),
        ('{"Dataset": {"Data": []}}', "no list 'Data'"),
        ('{"Dataset": {"Data": [3]}}', "not an object"),
        ('{"Dataset": 3}', "'Dataset'"),
        (b'{"Dataset": \xff\xfe}', "JSON"),
        ("[" * 100_000, "JSON"),
        (fitsnap_text(Positions=[[1e300, 0, 0], [0, 0, 0], [0, 0, 0]]), "no length"),
    ],
)
def test_refused(text: str | bytes, match: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=match) as error:
        read_text(tmp_path, text)
    assert "a.json" in str(error.value)


def test_position_that_is_no_number(tmp_path: Path) -> None:
    text = fitsnap_text(Positions=[["@", 0, 0], [0, 0, 0], [0, 0, 0]]).replace('"@"', "NaN")
    with pytest.raises(InputError, match="position of atom 1"):
        read_text(tmp_path, text)


def test_line_of_a_syntax_error(tmp_path: Path) -> None:
    text = "# comment\n" + json.dumps({"Dataset": {"Data": [{"a": 1}]}}, indent=1).replace('"a": 1', '"a" 1')
    with pytest.raises(InputError, match="line 6"):
        read_text(tmp_path, text)


def test_several_configurations_in_one_file(tmp_path: Path) -> None:
    first, second = (json.loads(fitsnap_text(i).split("\n", 1)[1]) for i in (0, 1))
    first["Dataset"]["Data"] += second["Dataset"]["Data"]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(first))
    found = list(FitsnapJson().read(path, ReadReport(), tmp_path))
    assert [(c.frame, c.energy) for c in found] == [(0, -10.5), (1, -10.75)]


def test_files_and_groups(tmp_path: Path) -> None:
    for name in ("b/x_10.json", "b/x_2.json", "a/1.json", "a/deep/2.json", "top.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(fitsnap_text())
    (tmp_path / "a/notes.txt").write_text("not data")
    reader = FitsnapJson()
    files = reader.files(tmp_path)
    names = [str(f.relative_to(tmp_path)) for f in files]
    assert names == ["top.json", "a/1.json", "a/deep/2.json", "b/x_10.json", "b/x_2.json"]
    groups = [next(reader.read(f, ReadReport(), tmp_path)).group for f in files]
    assert groups == [tmp_path.name, "a", "a/deep", "b", "b"]
    alone = next(reader.read(files[1], ReadReport(), files[1]))
    assert alone.group == "a"


def test_type_numbers(tmp_path: Path) -> None:
    c = read_text(tmp_path, fitsnap_text(AtomTypes=[1, 2, 2]), type_map=("Si", "O"))
    assert c.numbers.tolist() == [14, 8, 8]
    with pytest.raises(InputError, match="type 3 is not in --type-map"):
        read_text(tmp_path, fitsnap_text(AtomTypes=[1, 2, 3]), type_map=("Si", "O"))


def test_options_are_checked() -> None:
    for bad in (
        {"stress_unit": "kbr"},
        {"group_stress_unit": {"a": "bra"}},
        {"stress_sign": "up"},
        {"stress_order": "xx yy zz"},
        {"group_by": "folder"},
        {"index": "1:2:0"},
        {"index": "last"},
        {"energy_unit": "joule"},
    ):
        with pytest.raises(SettingsError):
            ReadOptions(**bad)


@needs_data
def test_tantalum() -> None:
    assert DATA is not None
    root = DATA / "ta_fitsnap" / "JSON"
    reader, report = FitsnapJson(), ReadReport()
    files = reader.files(root)
    found = [c for f in files for c in reader.read(f, report, root)]
    assert len(found) == 363
    assert sum(len(c) for c in found) == 4224
    counts: dict[str, int] = {}
    for c in found:
        counts[c.group] = counts.get(c.group, 0) + 1
    assert len(counts) == 12
    assert counts["Elastic_BCC"] == 100
    assert [f.name for f in files[:3]] == ["A15_1.json", "A15_2.json", "A15_3.json"]
    reference = np.load(DATA / "ta_fitsnap" / "ta_linear_reference.npz")
    order = [f"{c.group}/{Path(c.source).name}" for c in found]
    assert order == [f"{g}/{f}" for g, f in zip(reference["config_group"], reference["config_file"], strict=True)]
    assert report.observed == {}
    assert report.assumed == {"stress in bar, compression positive (FitSNAP JSON)": 363}
    # bar in the file, FitSNAP's constant
    raw = json.loads(files[0].read_text().split("\n", 1)[1])["Dataset"]["Data"][0]
    np.testing.assert_allclose(found[0].stress[0], -raw["Stress"][0][0] / 1.6021765e6, rtol=1e-15)
