"""Run files: defaults, types, places in errors, round trips, overrides."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mlipstore import registry
from mlipstore.errors import InputError, SettingsError, UnknownNameError
from mlipstore.reading import ReadOptions
from mlipstore.runs import runfile
from mlipstore.runs.runfile import Fit, GroupSettings, Ingest, PluginTable, RunFile, dump_toml, load, parse_weight
from mlipstore.schema import schema

FULL = """
store = "ta.mlip"
[ingest]
sources = ["JSON"]
format = "fitsnap-json"
group_by = "directory"
include_groups = ["A", "B"]
zero_stress = "value"
index = -1
[ingest.group_stress_unit]
A = "kbar"
[descriptor]
type = "snap"
name = "mine"
float32 = true
elements = ["Ta", "W"]
rcutfac = 4.67637
twojmax = [6, 4]
[baseline]
type = "lammps"
pair_style = "zbl 4.0 4.8"
pair_coeff = ["* * 73 73"]
[fit]
name = "first"
constant = false
stress_weight_unit = "bar"
weight_scaling = "group-size"
unlisted_groups = "exclude"
max_memory = "4GB"
[fit.element_shifts]
Ta = 1
[fit.solver]
type = "ridge"
alpha = 1e-5
[fit.default]
energy = 7
[fit.groups]
A = { train = 0.8, test = 0.2, energy = 100, force = 1, stress = 1e-8 }
B = { train = 20, test = 0 }
[evaluate]
units = "fitsnap"
[plot]
format = "svg"
"""


def read(text: str) -> RunFile:
    return RunFile.from_dict(tomllib.loads(text), "run.toml", text)


def test_values_are_typed_and_defaults_filled() -> None:
    run = read(FULL)
    assert run.ingest is not None and run.descriptor is not None and run.baseline is not None and run.fit is not None
    assert run.ingest.index == "-1" and run.ingest.include_groups == ("A", "B")
    assert run.ingest.options() == ReadOptions(
        group_by="directory", group_stress_unit={"A": "kbar"}, index="-1", type_map=()
    )
    assert run.descriptor.settings["wj"] == [1.0, 1.0] and run.descriptor.name == "mine"
    assert run.descriptor.precision == "float32"
    assert run.baseline.settings["elements"] == ["Ta", "W"]  # the descriptor's
    assert run.fit.solver == PluginTable("ridge", settings={"alpha": 1e-5})
    assert run.fit.element_shifts == {"Ta": 1.0}
    assert run.fit.default == GroupSettings(energy=7.0)
    assert run.fit.groups["A"] == GroupSettings(0.8, 0.2, 100.0, 1.0, 1e-8)
    b = run.fit.groups["B"]
    assert b == GroupSettings(20, 0, 7.0, 1.0, 0.1)
    assert isinstance(b.train, int) and isinstance(b.test, int) and isinstance(b.energy, float)
    assert isinstance(run.fit.groups["A"].energy, float)
    assert run.evaluate.units == "fitsnap" and run.plot is not None and run.plot.directory == "plots"
    assert run.export is None


def test_an_empty_file_is_a_run_file() -> None:
    run = read("")
    assert run == RunFile()
    assert read("[fit]").fit == dataclasses.replace(Fit(), solver=PluginTable("svd", settings=_defaults("svd")))


def _defaults(solver: str) -> dict[str, Any]:
    return registry.settings_of(registry.make("solvers", solver, {}))


def test_written_settings_read_back() -> None:
    run = read(FULL)
    assert RunFile.from_dict(run.to_dict()) == run
    text = dump_toml(run.to_dict(), {("fit",): "weights"})
    assert read(text) == run
    assert run.fit is not None
    again = Fit.from_dict(run.fit.to_dict())
    assert again == run.fit and isinstance(again.groups["B"].train, int)


TABLES = {
    "ingest": runfile.Ingest,
    "descriptor": runfile.DescriptorTable,
    "baseline": runfile.BaselineTable,
    "fit": runfile.Fit,
    "group": runfile.GroupSettings,
    "evaluate": runfile.Evaluate,
    "export": runfile.Export,
    "plot": runfile.Plot,
    "search": runfile.Search,
}


@pytest.mark.parametrize("table", TABLES)
def test_dataclasses_mirror_the_schema(table: str) -> None:
    rules = schema("run")["$defs"][table]["properties"]
    cls = TABLES[table]
    fields = {f.name: f for f in dataclasses.fields(cls) if f.name not in ("settings", "content")}
    assert set(fields) == set(rules)
    for name, rule in rules.items():
        f = fields[name]
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        if default is dataclasses.MISSING:
            assert name in schema("run")["$defs"][table]["required"]
        elif default is None:
            assert "default" not in rule
        elif isinstance(default, PluginTable):
            assert rule["default"] == {"type": default.type}
        elif isinstance(default, GroupSettings):
            assert rule["default"] == {} and default == GroupSettings()
        else:
            expected = list(default) if isinstance(default, tuple) else default
            assert rule["default"] == expected and type(rule["default"]) is type(expected)


def test_top_level_and_read_options_are_mirrored() -> None:
    assert {f.name for f in dataclasses.fields(RunFile)} == set(schema("run")["properties"])
    assert {f.name for f in dataclasses.fields(ReadOptions)} <= {f.name for f in dataclasses.fields(Ingest)}


BAD = [
    ("[search]\nforce = [2.0, 1.0]", "line 2, search.force: the range [2.0, 1.0] is empty"),
    ('[search]\nobjectives = ["forces"]', "search.objectives[0]: no objective 'forces'. Did you mean 'force'"),
    ('[search]\nvalidation = "groups"', "search: validation = 'groups' needs hold_out"),
    ("[search.groups.A]\nenergy = [1, 0.5]", "search.groups.A.energy: the range [1, 0.5] is empty"),
    ("[search]\nenergy = [0.0, 1.0]", "line 2, search.energy"),
    ("[search.element_shifts]\nXx = [0.0, 1.0]", "'Xx' is not the symbol of an element"),
    ('[descriptor]\ntype = "snip"', "line 2, descriptor.type: no descriptor 'snip'. Did you mean 'snap'?"),
    (
        '[descriptor]\ntype = "snap"\nelements = ["Ta"]\nrcutfak = 4.0',
        "line 4, descriptor.rcutfak: descriptor 'snap' has no setting 'rcutfak'. Did you mean 'rcutfac'?",
    ),
    ('[descriptor]\ntype = "snap"\nelements = ["Ta"]', "descriptor: descriptor 'snap' needs the setting 'rcutfac'"),
    ('[descriptor]\ntype = "snap"\nelements = ["Xx"]\nrcutfac = 4.0', "Xx"),
    ('[descriptor]\ntype = "snap"\nelements = ["Ta"]\nrcutfac = "wide"', "line 1, descriptor: "),
    ('[baseline]\ntype = "lamps"', "Did you mean 'lammps'?"),
    ('[baseline]\ntype = "lammps"\npair_styel = "zero 1"', "Did you mean 'pair_style'?"),
    ('[fit.solver]\ntype = "lsq"', "line 2, fit.solver.type: no solver 'lsq'"),
    ('[fit.solver]\ntype = "svd"\nrcnd = 1e-3', "line 3, fit.solver.rcnd: solver 'svd' has no setting 'rcnd'."),
    ('[fit.solver]\ntype = "svd"\nrcond = -1.0', "rcond"),
    ('[fit.solver]\ntype = "svd"\nname = "x"', "has no setting 'name'"),
    ("[fit.groups]\nA = { train = 1.5 }", "line 2, fit.groups.A.train: found 1.5"),
    ("[fit.groups]\nA = { train = 20.0 }", "Write 20 for a count."),
    ("[fit.groups]\nA = { train = 0.9, test = 0.2 }", "train and test add up to 1.1"),
    ("[fit.default]\ntest = 0.2", "fit.default: train and test add up to 1.2"),
    ("[fit.element_shifts]\nXx = 1.0", "'Xx' is not the symbol of an element"),
    ('[ingest]\nsources = ["a"]\nformat = "fitsnap"', "line 3, ingest.format: no reader 'fitsnap'."),
    ('[ingest]\nsources = ["a"]\nstress_unit = "kbra"', "ingest: unknown stress unit 'kbra'. Did you mean 'kbar'?"),
    ('[ingest]\nsources = ["a"]\nstress_order = "xx yy zz"', "xx yy zz yz xz xy once each"),
    ('[ingest]\nsources = ["a"]\ntype_map = ["Si", "Ox"]', "ingest.type_map[1]: 'Ox' is not"),
    ('[export]\nformats = ["lammps"]', "line 2, export.formats[0]: no exporter 'lammps'"),
]


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_mistakes_name_place_and_remedy(text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(text)
    assert str(error.value).startswith("run.toml, line ")
    assert expected in str(error.value)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "dft").mkdir()
    for name in ("b.xyz", "a.xyz"):
        (tmp_path / "dft" / name).touch()
    path = tmp_path / "run.toml"
    path.write_text(
        'store = "s3://bucket/ta.mlip"\n[ingest]\nsources = ["dft/*.xyz", "/data/x"]\n[plot]\n', encoding="utf-8"
    )
    run = load(path)
    assert run.store == "s3://bucket/ta.mlip" and run.ingest is not None and run.plot is not None
    assert run.ingest.sources == (str(tmp_path / "dft/a.xyz"), str(tmp_path / "dft/b.xyz"), "/data/x")
    assert run.plot.directory == str(tmp_path / "plots")
    path.write_text('store = "ta.mlip"', encoding="utf-8")
    assert load(path).store == str(tmp_path / "ta.mlip")
    path.write_text('[ingest]\nsources = ["*.nothing"]', encoding="utf-8")
    with pytest.raises(SettingsError, match=r"run\.toml, ingest\.sources: nothing matches"):
        load(path)
    path.write_text("[fit", encoding="utf-8")
    with pytest.raises(InputError, match="line 1"):
        load(path)


def test_settings_of_groups() -> None:
    fit = Fit(default=GroupSettings(energy=5.0), groups={"A": GroupSettings(energy=1.0)})
    first, other = fit.group("A"), fit.group("B")
    assert first is not None and first.energy == 1.0 and other is not None and other.energy == 5.0
    assert dataclasses.replace(fit, unlisted_groups="exclude").group("B") is None
    with pytest.raises(SettingsError, match="group 'a' of the store is not in"):
        dataclasses.replace(fit, unlisted_groups="error").group("a")
    with pytest.raises(UnknownNameError, match="no group 'A'"):
        fit.check_groups(["B"])
    with pytest.raises(SettingsError, match=r"\[fit.default\]"):
        Fit(groups={"*": GroupSettings()}).check_groups(["B"])


def test_weights_from_the_command_line() -> None:
    fit = Fit(groups={"A": GroupSettings(energy=1.0)}, default=GroupSettings(force=3.0))
    new = fit.with_weights(["A.energy=5", "liquid.2.stress=1e-3", "*.force=2"], ["A", "liquid.2"])
    assert new.groups["A"] == GroupSettings(energy=5.0, force=2.0)
    assert new.groups["liquid.2"] == GroupSettings(stress=1e-3, force=2.0)
    assert new.default == GroupSettings(force=2.0) and fit.groups["A"].energy == 1.0
    with pytest.raises(UnknownNameError, match=r"no group 'surfce'\. Did you mean 'surface'"):
        fit.with_weights(["surfce.energy=1"], ["surface"])
    for text, expected in {
        "A.enrgy=1": "Did you mean 'energy'",
        "A=1": "is not GROUP.kind=VALUE",
        "A.energy": "is not GROUP.kind=VALUE",
        "A.energy=much": "'much' is not a number",
        "A.energy=-1": "at least 0",
        "A.energy=nan": "at least 0",
    }.items():
        with pytest.raises(SettingsError, match=expected):
            parse_weight(text)
