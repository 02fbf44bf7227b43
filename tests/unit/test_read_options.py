"""The options of how files are read: the same for every command that reads some, and those that readers take."""

from __future__ import annotations

import inspect
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, get_args

import ase.io
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from mlipstore_cli.app import app
from mlipstore_cli.of_files import read_options, words_of

from mlipstore import registry
from mlipstore.errors import SettingsError
from mlipstore.readers import reader_for
from mlipstore.reading import ReadOptions, ReadReport
from mlipstore.runs.tables import Ingest, Sources

from ..reader_samples import SAMPLES
from ..robustness.sources import done, run

COMMANDS = {c.name or c.callback.__name__: c.callback for c in app.registered_commands if c.callback}
OPTIONS = inspect.signature(read_options, eval_str=True).parameters


def test_they_are_those_of_readers() -> None:
    assert set(OPTIONS) == {f.name for f in fields(ReadOptions)}
    assert read_options() == ReadOptions()
    given = read_options(type_map="Ni, Al", group_stress_unit=["a=kbar", "b=GPa"])
    assert read_options(group_stress_unit=["T=300 K=kbar"]).group_stress_unit == {"T=300 K": "kbar"}
    assert given == ReadOptions(type_map=("Ni", "Al"), group_stress_unit={"a": "kbar", "b": "GPa"})


@pytest.mark.parametrize("name", ["ingest", "audit", "compare-data", "predict", "select"])
def test_commands_have_them_with_the_same_help(name: str) -> None:
    def facts(p: inspect.Parameter) -> tuple[object, ...]:
        kind, info = get_args(p.annotation)
        return kind, info.help, info.metavar, p.default

    mine = inspect.signature(COMMANDS[name]).parameters
    assert {k: facts(mine[k]) for k in OPTIONS} == {k: facts(p) for k, p in OPTIONS.items()}
    assert "options" not in mine


def test_a_table_of_a_run_file_has_them() -> None:
    names = {f.name for f in fields(ReadOptions)} | {f.name for f in fields(Sources)}
    assert {f.name for f in fields(Ingest)} == names
    assert Ingest(("a.xyz",), type_map=("W",), index="-1").options() == ReadOptions(type_map=("W",), index="-1")


def test_what_to_type_next_has_them(tmp_path: Path) -> None:
    given = read_options(type_map="Ni Al", group_stress_unit=["a b=kbar"], index="::2", stress_sign="tension")
    words = ["--stress-sign", "tension", "--group-stress-unit", "a b=kbar", "--type-map", "Ni Al", "--index", "::2"]
    assert words_of(given, None) == words
    assert words_of(given, "extxyz", ("group_stress_unit",)) == ["--format", "extxyz", *words[:2], *words[4:]]
    assert words_of(ReadOptions(), None) == []
    file, store = tmp_path / "in put.xyz", tmp_path / "a.mlip"
    for path, x in ((file, 0.2), (tmp_path / "other.xyz", 2.5)):
        atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, x]], cell=[6, 6, 6], pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0)  # type: ignore[no-untyped-call]
        ase.io.write(path, atoms)
    done("ingest", store, tmp_path / "other.xyz")
    last = run("compare-data", store, file, "--energy-unit", "Ha").out.splitlines()[-1]
    assert last == f"next: mlipstore ingest {store} '{file}' --energy-unit Ha"
    assert f"'{file}' --energy-unit Ha" in run("audit", file, "--energy-unit", "Ha").out.splitlines()[-1]


def test_they_reach_the_reader(tmp_path: Path) -> None:
    """Energies in Ha, under a name of their own; the second frame alone."""
    frames = []
    for energy in (1.0, 2.0):
        frames.append(Atoms("W2", [[0, 0, 0], [1.5, 1.5, 1.5 + 0.1 * energy]], cell=[3, 3, 3], pbc=True))
        frames[-1].calc = SinglePointCalculator(frames[-1], forces=[[0, 0, 0.1], [0, 0, -0.1]])
        frames[-1].info["e_tot"] = energy
    ase.io.write(tmp_path / "a.xyz", frames)
    words = ("--energy-key", "e_tot", "--energy-unit", "Ha", "--index", "1", "--executor", "serial")
    done("ingest", tmp_path / "a.mlip", tmp_path / "a.xyz", *words)
    out = done("query", tmp_path / "a.mlip", "--columns", "energy").out
    assert "54.42" in out and "27.2" not in out
    refused = run("audit", tmp_path / "a.xyz", "--stress-sign", "sideways")
    assert refused.code == 2 and "'sideways': say tension or compression" in refused.err


# ----------------------------------------------------- options that mean nothing
class _Spied(ReadOptions):
    """Notes which options a reader looks at."""

    seen: ClassVar[set[str]] = set()

    def __post_init__(self) -> None:
        """Those that are looked at to check them do not count."""

    def __getattribute__(self, name: str) -> Any:
        if name in OPTIONS and "replace" not in sys._getframe(1).f_code.co_name:
            _Spied.seen.add(name)
        return super().__getattribute__(name)


#: Taken by files that no sample is: dumps without elements, integer types.
_UNUSUAL = {("ase", "type_map"), ("fitsnap-json", "type_map")}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_readers_take_what_they_look_at(name: str, tmp_path: Path) -> None:
    _Spied.seen.clear()
    for i, sample in enumerate(SAMPLES[name]):
        folder = tmp_path / str(i)
        folder.mkdir()
        path = sample.write(folder)
        options = _Spied(**{f.name: getattr(sample.options, f.name) for f in fields(ReadOptions)})
        _Spied.seen.clear()
        reader = registry.make("readers", name, {"options": options})
        for file in reader.files(path):
            assert list(reader.read(file, ReadReport(), path))
    takes = {"group_by", *registry.get("readers", name).takes}
    looked_at = _Spied.seen | {option for n, option in _UNUSUAL if n == name}
    if name == "pymatgen-json":  # where there is a general order, the one of the group was looked at before
        looked_at |= {"stress_order"}
    assert takes == looked_at


def test_an_option_that_means_nothing_is_refused(tmp_path: Path) -> None:
    json, xyz = SAMPLES["fitsnap-json"][0].write(tmp_path), SAMPLES["extxyz"][0].write(tmp_path)
    store = tmp_path / "a.mlip"
    for words in (("ingest", store, json), ("audit", json), ("compare-data", json, xyz.parent / "bulk")):
        refused = run(*words, "--energy-key", "e")
        assert refused.code == 2, words
        assert "--energy-key means nothing for fitsnap-json" in refused.err and "extxyz" in refused.err
        assert refused.err.count("\n") <= 3
    assert not store.exists()
    refused = run("ingest", store, xyz, "--type-map", "Si O")
    assert "--type-map means nothing for extxyz" in refused.err
    done("ingest", store, json, xyz, "--energy-key", "energy")  # of sources of several formats, one has a use for it
    done("audit", json, xyz, "--energy-key", "energy")
    assert run("compare-data", json, xyz, "--energy-key", "energy").code in (0, 1)
    with pytest.raises(SettingsError, match="--index means nothing for fitsnap-json"):
        reader_for(json, ReadOptions(index="-1"))


def test_an_option_for_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """The file is told, and the option does not stand in the way of the others."""
    xyz = SAMPLES["extxyz"][0].write(tmp_path)
    broken = tmp_path / "broken.cfg"
    broken.write_text("none of it is left")
    audited = run("audit", xyz, broken, "--type-map", "Si O")
    assert "means nothing" not in audited.err and "broken.cfg" in audited.out + audited.err
    assert audited.code in (0, 1)
