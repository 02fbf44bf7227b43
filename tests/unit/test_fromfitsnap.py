"""FitSNAP inputs become run files that mean the same, or one clear error."""

from __future__ import annotations

import json
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mlipstore.errors import InputError, MlipstoreError, SettingsError
from mlipstore.fitsnap.convert import convert, translate
from mlipstore.runs.runfile import Fit, GroupSettings, RunFile, load
from tests.shared_data import DATA, needs_data

BASE = """
[BISPECTRUM]
numTypes = 2
type = W Be
twojmax = 8 6
rcutfac = 4.8
radelem = 0.5 0.4
wj = 1.0 0.9   # densities
bzeroflag = 1
[CALCULATOR]
calculator = LAMMPSSNAP
energy = 1
force = 1
stress = 1
[REFERENCE]
pair_style = hybrid/overlay zero 10.0 zbl 4.0 4.8
pair_coeff1 = * * zero
pair_coeff2 = 1 1 zbl 74 74
[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
group_types = str float float float float float
A = 1.0 0.0 100 1 1.0E-8
b-2 = 0.5 0.5 2. .5 0
"""


def changed(*changes: tuple[str, str], extra: str = "") -> str:
    text = BASE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text + extra


def run_of(tmp_path: Path, text: str) -> RunFile:
    path = tmp_path / "in.in"
    path.write_text(text, encoding="utf-8")
    target = tmp_path / "run.toml"
    target.write_text(convert(path, target), encoding="utf-8")
    return load(target)


def fit_of(tmp_path: Path, text: str) -> Fit:
    fit = run_of(tmp_path, text).fit
    assert fit is not None
    return fit


def test_sections_and_their_meaning(tmp_path: Path) -> None:
    run = run_of(tmp_path, BASE)
    assert run.store == str(tmp_path / "in.mlip")
    assert run.ingest is not None and run.descriptor is not None and run.baseline is not None and run.fit is not None
    assert run.ingest.sources == (str(tmp_path / "JSON"),)  # FitSNAP's default
    assert run.ingest.include_groups == ("A", "b-2") and run.ingest.zero_stress == "value"
    assert run.ingest.format == "fitsnap-json" and run.ingest.group_by == "directory"
    d = run.descriptor.settings
    assert d["elements"] == ["W", "Be"] and d["twojmax"] == [8, 6] and d["wj"] == [1.0, 0.9]
    assert d["rfac0"] == 0.99363 and d["bzeroflag"] is True and d["quadraticflag"] is False
    b = run.baseline.settings
    assert b["pair_style"] == "hybrid/overlay zero 10.0 zbl 4.0 4.8"
    assert b["pair_coeff"] == ["* * zero", "1 1 zbl 74 74"] and b["elements"] == ["W", "Be"]
    assert run.fit.constant is False and run.fit.unlisted_groups == "exclude"
    assert run.fit.stress_weight_unit == "bar" and run.fit.weight_scaling == "none"
    assert run.fit.solver.type == "svd" and run.fit.solver.settings["rcond"] == 1e-13
    assert run.fit.groups == {
        "A": GroupSettings(1.0, 0.0, 100.0, 1.0, 1e-8),
        "b-2": GroupSettings(0.5, 0.5, 2.0, 0.5, 0.0),
    }
    assert run.evaluate.units == "fitsnap"
    assert run.export is not None and run.export.prefix == str(tmp_path / "fitsnap_potential")


def test_defaults_of_fitsnap(tmp_path: Path) -> None:
    run = run_of(tmp_path, "[BISPECTRUM]\ntype = Ta\n[GROUPS]\nA = 1.0 1 1 1\n")
    assert run.descriptor is not None and run.fit is not None
    d = run.descriptor.settings
    assert (d["rcutfac"], d["twojmax"], d["radelem"], d["wj"]) == (4.67637, [6], [0.5], [1.0])
    assert run.baseline is None and run.fit.baseline == "none"  # the default reference is zero 10.0
    assert run.fit.constant is True
    assert run.fit.groups["A"] == GroupSettings(1.0, 0.0, 1.0, 1.0, 1.0)


def test_inner_switching_and_several_elements(tmp_path: Path) -> None:
    text = changed(
        (
            "wj = 1.0",
            "chemflag = 1\nbnormflag = yes\nwselfallflag = on\nswitchinnerflag = 1\nsinner = 1.3 1.2\nwj = 1.0",
        )
    )
    run = run_of(tmp_path, text)
    assert run.descriptor is not None
    d = run.descriptor.settings
    assert d["chemflag"] and d["bnormflag"] and d["wselfallflag"] and d["switchinnerflag"]
    assert d["sinner"] == [1.3, 1.2] and d["dinner"] == [0.1, 0.1]


SIZES = [
    ("name size eweight fweight vweight", "str float float float float", "0.75 1 1 1", 0.75, 0.25),
    ("name size eweight fweight vweight", "str int float float float", "9 1 1 1", 9, 1.0),
    ("name training_size testing_size eweight fweight vweight", "str int int float float float", "9 3 1 1 1", 9, 3),
    ("name training_size testing_size eweight fweight vweight", "str float float float float float", "0.8 0.4 1 1 1",
     0.8, 0.2),
    ("name training_size eweight fweight vweight", "str float float float float", "0.8 1 1 1", 0.8, 0.0),
    ("name vweight fweight eweight testing_size training_size", "str float float float float float", "1 1 1 0 1", 1.0,
     0.0),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "types", "row", "train", "test"), SIZES)
def test_sizes(tmp_path: Path, columns: str, types: str, row: str, train: float, test: float) -> None:
    text = f"[BISPECTRUM]\ntype = Ta\n[GROUPS]\ngroup_sections = {columns}\ngroup_types = {types}\nA = {row}\n"
    group = fit_of(tmp_path, text).groups["A"]
    assert (group.train, group.test) == (train, test)
    assert type(group.train) is type(train) and type(group.test) is type(test)
    assert (group.energy, group.force, group.stress) == (1.0, 1.0, 1.0)


def test_group_file_replaces_the_rows(tmp_path: Path) -> None:
    (tmp_path / "list.in").write_text("# name ...\nX 1.0 0.0 3 2 1\nY 0.5 0.5 1 1 1 # half\n", encoding="utf-8")
    fit = fit_of(tmp_path, changed(extra="[PATH]\ngroupFile = list.in\n"))
    assert set(fit.groups) == {"X", "Y"} and fit.groups["X"].energy == 3.0
    (tmp_path / "list.in").write_text("\nX 1.0 0.0 3 2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"list\.in, line 2: group 'X' has 4 values, expected 5"):
        fit_of(tmp_path, changed(extra="[PATH]\ngroupFile = list.in\n"))


def test_solvers_shifts_and_switches(tmp_path: Path) -> None:
    fit = fit_of(
        tmp_path,
        changed(
            ("stress = 1", "stress = 0"),
            ("[GROUPS]", "[GROUPS]\nsmartweights = 1\nrandom_sampling = 1\nrandom_seed = 7"),
            extra="[SOLVER]\nsolver = RIDGE\n[RIDGE]\nalpha = 1.E-5\n[ESHIFT]\nW = -1.5\nH = 2\n",
        ),
    )
    assert fit.solver == fit.solver.__class__("ridge", settings={"alpha": 1e-5})
    assert fit.element_shifts == {"W": -1.5}
    assert fit.weight_scaling == "group-size" and fit.seed == 7
    assert {g.stress for g in fit.groups.values()} == {0.0}
    assert fit_of(tmp_path, changed(extra="[SOLVER]\nsolver = anl\nnsam = 5\n")).solver.type == "svd"


def test_paths_are_relative_to_the_run_file(tmp_path: Path) -> None:
    (tmp_path / "fitsnap").mkdir()
    (tmp_path / "runs").mkdir()
    source = tmp_path / "fitsnap" / "Ta.in"
    source.write_text(changed(extra="[PATH]\ndataPath = ../data  # here\n"), encoding="utf-8")
    values = tomllib.loads(convert(source, tmp_path / "runs" / "run.toml"))
    assert values["ingest"]["sources"] == ["../data"] and values["store"] == "Ta.mlip"
    source.write_text(changed(extra="[PATH]\ndataPath = /elsewhere/JSON\n"), encoding="utf-8")
    assert tomllib.loads(convert(source))["ingest"]["sources"] == ["/elsewhere/JSON"]


def test_xyz_files_hold_pressures_in_bar(tmp_path: Path) -> None:
    (tmp_path / "XYZ").mkdir()
    (tmp_path / "XYZ" / "A.extxyz").touch()
    run = run_of(tmp_path, changed(extra="[SCRAPER]\nscraper = xyz\n[PATH]\ndataPath = XYZ\n"))
    assert run.ingest is not None
    assert run.ingest.sources == (str(tmp_path / "XYZ/A.extxyz"), str(tmp_path / "XYZ/b-2.xyz"))
    options = run.ingest.options()
    assert (options.group_by, options.stress_unit, options.stress_sign) == ("file", "lammps-bar", "compression")


def test_case_of_file_names_is_kept_and_order_of_coefficients(tmp_path: Path) -> None:
    text = changed(
        ("pair_style = hybrid/overlay zero 10.0 zbl 4.0 4.8", "pair_style = table linear 500"),
        ("pair_coeff1 = * * zero", "pair_coeffB = * * W.Table ENTRY"),
    )
    run = run_of(tmp_path, text)
    assert run.baseline is not None
    assert run.baseline.settings["pair_coeff"] == ["* * W.Table ENTRY", "1 1 zbl 74 74"]


@pytest.mark.parametrize("style", ["zero 10.0", "hybrid/overlay zero 5.8", "zero 5.0 full"])
def test_zero_is_no_baseline(tmp_path: Path, style: str) -> None:
    run = run_of(tmp_path, changed(("hybrid/overlay zero 10.0 zbl 4.0 4.8", style)))
    assert run.baseline is None and run.fit is not None and run.fit.baseline == "none"


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.in"
    path.write_text(
        changed(
            ("8 6", "8 10"),
            ("energy = 1", "energy = 0"),
            extra="[SOLVER]\nnormweight = -12\n[MEMORY]\noverride = 0\n[PYTORCH]\nnum_epochs = 3\n[MINE]\nx = 1\n"
            "[EXTRAS]\ndump_truth = 1\nsomething = 2\n[ESHIFT]\nTa = 1\n",
        ),
        encoding="utf-8",
    )
    notes = "\n".join(translate(path).notes)
    for words in (
        "[SOLVER] normweight: not converted; FitSNAP reads it and does not use it",
        "[MEMORY] override: not converted",
        "[PYTORCH]: not converted; settings of another method",
        "[MINE]: not converted",
        "[EXTRAS] dump_truth: not converted",
        "[EXTRAS] something: not converted; not known here",
        "[ESHIFT] Ta: not among the elements",
        "Train and test sets: here a hash",
        "[CALCULATOR] energy = 0",
        "twojmax: FitSNAP compares mixed values as text",
        "dataPath: there is no folder",
    ):
        assert words in notes
    head = [line for line in convert(path).splitlines() if line.startswith("#")]
    assert all(len(line) < 120 for line in head)


REFUSED: list[tuple[list[tuple[str, str]], str, str]] = [
    ([("LAMMPSSNAP", "LAMMPSPACE")], "", "line 11: [CALCULATOR] calculator: LAMMPSPACE means ACE"),
    ([("energy = 1", "energy = 1\nnonlinear = 1")], "", "[CALCULATOR] nonlinear: this is a non-linear fit"),
    ([("bzeroflag = 1", "bikflag = 1")], "", "[BISPECTRUM] bikflag: per-atom rows"),
    ([], "[SOLVER]\nsolver = PYTORCH\n", "[SOLVER] solver: PYTORCH is not converted"),
    ([], "[SOLVER]\nsolver = ScaLAPACK\n", "write 'solver = SVD'"),
    ([], "[SOLVER]\nsolver = LASSO\n", 'type = "lasso"'),
    ([], "[SOLVER]\nsolver = RIGDE\n", "Did you mean 'RIDGE'?"),
    ([], "[SOLVER]\nslover = RIDGE\n", "[SOLVER] slover: FitSNAP has no such key. Did you mean 'solver'?"),
    ([], "[OUTFILE]\noutput_style = PACE\n", "[OUTFILE] output_style: PACE"),
    ([], "[EXTRAS]\nonly_test = 1\n", "tests a potential without a fit"),
    ([], "[SCRAPER]\nscraper = VASP\n", "VASP output is ingested directly"),
    ([], "[SCRAPER]\nscraper = JSN\n", "Did you mean 'JSON'?"),
    ([], "[MODEL]\nsolver = SVD\n", "from FitSNAP before version 3"),
    ([], "[RIDGE]\nalhpa = 1\n", "Did you mean 'alpha'?"),
    ([], "[PATH]\ngroupFile = nowhere.in\n", "[PATH] groupFile: there is no file"),
    ([], "[REFRENCE]\nunits = metal\n[BISPECTRUM]\n", "twice"),
    ([], "[ESHFIT]\nW = 1\n", "[ESHFIT]: FitSNAP has no such section. Did you mean 'ESHIFT'?"),
    ([], "[ESHIFT]\nW = one\n", "found 'one', expected a number"),
    ([("rcutfac", "rcutfak")], "", "line 6: [BISPECTRUM] rcutfak: FitSNAP has no such key. Did you mean 'rcutfac'?"),
    ([("calculator =", "chemflag = 1\ncalculator =")], "", "It belongs in [BISPECTRUM]"),
    ([("rcutfac = 4.8", "rcutfac = wide")], "", "line 6: [BISPECTRUM] rcutfac: found 'wide', expected a number."),
    ([("rcutfac = 4.8", "rcutfac = nan")], "", "expected a finite number"),
    ([("numTypes = 2", "numTypes = 3")], "", "found 3, but 'type' names 2: W, Be"),
    ([("0.5 0.4", "0.5 0.4 0.3")], "", "radelem: found 3 values, expected 2"),
    ([("8 6", "8 6.5")], "", "twojmax: found '8 6.5', expected integers"),
    ([("W Be", "W Bee")], "", "'Bee' is not a chemical symbol"),
    ([("bzeroflag = 1", "bzeroflag = maybe")], "", "bzeroflag: found 'maybe', expected 1 or 0"),
    ([("bzeroflag = 1", "chemflag = 1\nquadraticflag = 1")], "", "quadraticflag and chemflag exclude each other"),
    ([("pair_style =", "units = real\npair_style =")], "", "[REFERENCE] units: found 'real'"),
    ([("A = 1.0 0.0 100 1 1.0E-8", "A = 1.0 0.0 100 1")], "", "group 'A' has 4 values, expected 5"),
    ([("A = 1.0 0.0 100", "A = 1.0 0.0 heavy")], "", "group 'A' has eweight = 'heavy', expected a number"),
    ([("A = 1.0 0.0 100", "A = 1.0 0.0 -1")], "", "expected a finite number of at least 0"),
    ([("A = 1.0", "A = 20")], "", "make the type int for counts"),
    ([("str float", "str int")], "", "has training_size = '1.0', expected an integer"),
    ([("str float ", "str ")], "", "has 5 entries, but group_sections has 6"),
    ([(" vweight", ""), ("float float\n", "float\n")], "", "there is no column 'vweight'"),
    ([("training_size testing_size", "a b")], "", "there is no column 'training_size'"),
    ([("A = 1.0 0.0 100 1 1.0E-8\nb-2 = 0.5 0.5 2. .5 0\n", "")], "", "there is no group"),
    ([("b-2 =", "A =")], "", "the key 'A' of [GROUPS] is there twice"),
    ([("b-2 =", "b-2")], "", "expected 'key = value'"),
    ([("W Be", "%(x)s")], "", "refers to another key"),
    ([("[BISPECTRUM]", "")], "", "before any [SECTION]"),
    ([("[BISPECTRUM]", "[ACE]")], "", "there is no section [BISPECTRUM]"),
]


@pytest.mark.parametrize(("changes", "extra", "expected"), REFUSED)
def test_refused_with_place_and_remedy(tmp_path: Path, changes: Any, extra: str, expected: str) -> None:
    path = tmp_path / "bad.in"
    path.write_text(changed(*changes, extra=extra), encoding="utf-8")
    with pytest.raises(MlipstoreError) as error:
        convert(path)
    assert str(error.value).startswith(str(tmp_path)) and expected in str(error.value)


def test_files_that_are_no_input(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no file"):
        convert(tmp_path / "none.in")
    with pytest.raises(SettingsError, match="is a folder"):
        convert(tmp_path)
    for data, expected in ((b"\x00\x01", "not a text file"), (b"", "no [SECTION]"), (b"a\xe9 = 1", "before any")):
        (tmp_path / "x.in").write_bytes(data)
        with pytest.raises(InputError) as error:
            convert(tmp_path / "x.in")
        assert expected in str(error.value)


def test_numbered_keys_of_older_inputs(tmp_path: Path) -> None:
    text = changed(
        ("type = W Be", "type1 = W\ntype2 = Be"), ("wj = 1.0 0.9", "wj1 = 1.0\nwj2 = 0.9"), ("0.5 0.4", "0.5")
    )
    run = run_of(tmp_path, text)
    assert run.descriptor is not None
    d = run.descriptor.settings
    assert d["elements"] == ["W", "Be"] and d["wj"] == [1.0, 0.9] and d["radelem"] == [0.5, 0.5]


@needs_data
@pytest.mark.parametrize("name", ["Ta_linear", "Ta_quadratic"])
def test_published_tantalum_inputs(name: str, tmp_path: Path) -> None:
    assert DATA is not None
    source = DATA / "ta_fitsnap" / f"{name}.in"
    target = tmp_path / "run.toml"
    target.write_text(convert(source, target), encoding="utf-8")
    run = load(target)
    assert run.ingest is not None and run.descriptor is not None and run.fit is not None and run.export is not None
    quadratic = name == "Ta_quadratic"
    assert run.descriptor.settings["quadraticflag"] is quadratic and run.fit.constant is not quadratic
    assert run.descriptor.settings["rcutfac"] == (5.594 if quadratic else 4.67637)
    assert len(run.fit.groups) == 12 and run.fit.element_shifts == {"Ta": 0.0}
    liquid = run.fit.groups["Liquid"]
    assert liquid.energy == (100.0 if quadratic else 467.0) and liquid.stress == (1e-12 if quadratic else 1e-8)
    assert run.export.prefix == str(tmp_path / "Ta_pot")
    if not quadratic:
        assert run.ingest.sources == (str(DATA / "ta_fitsnap" / "JSON"),)


@needs_data
def test_published_tungsten_beryllium_input(tmp_path: Path) -> None:
    assert DATA is not None
    folder = DATA / "wbe_fitsnap"
    source, target = tmp_path / "WBe-example.in", tmp_path / "run.toml"
    with tarfile.open(folder / "WBe_PRB2019.tar.xz") as archive:
        member = archive.extractfile(next(m for m in archive if m.name.endswith("WBe-example.in")))
        assert member is not None
        source.write_bytes(member.read())
    target.write_text(convert(source, target), encoding="utf-8")
    run = load(target)
    assert run.descriptor is not None and run.fit is not None and run.baseline is not None
    assert run.descriptor.settings["elements"] == ["W", "Be"] and run.descriptor.settings["wj"] == [1.0, 0.9590493408]
    assert len(run.baseline.settings["pair_coeff"]) == 4 and run.fit.constant is False
    groups = json.loads((folder / "groups.json").read_text())
    assert run.fit.groups == {
        g["group"]: GroupSettings(1.0, 0.0, g["eweight"], g["fweight"], g["vweight"]) for g in groups
    }
    assert len(groups) == 44
