"""Commands that cannot work: what is typed, the exit code, and words that the one error must contain.

Each is a function of a :class:`Place` that writes what it needs and returns the words of the command line.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .sources import RUN, frames, write_extxyz, write_json_tree

Words = Sequence[str | Path]


@dataclass(frozen=True)
class Place:
    """Where a case may write, a good store with features, a baseline and a model, and its run file."""

    folder: Path
    store: Path
    settings: Path

    @property
    def new(self) -> Path:
        """A store that is not there yet."""
        return self.folder / "new.mlip"

    def xyz(self, change: Callable[[str], str] = lambda text: text, n: int = 6, name: str = "bad.xyz") -> Path:
        """A small extxyz file with a change to its text."""
        path = write_extxyz(self.folder / name, frames(n, 9))
        path.write_text(change(path.read_text()))
        return path

    def json(self, change: Callable[[dict[str, Any]], Any]) -> Path:
        """A FitSNAP JSON tree whose second file has a change to its entry."""
        folder = write_json_tree(self.folder / "tree", frames(3, 9))
        path = sorted(folder.rglob("*.json"))[1]
        document = json.loads(path.read_text().partition("\n")[2])
        change(document["Dataset"]["Data"][0])
        path.write_text("# comment\n" + json.dumps(document))
        return folder

    def toml(self, text: str, name: str = "bad.toml") -> Path:
        """A settings file."""
        path = self.folder / name
        path.write_text(text)
        return path

    def changed(self, old: str, new: str) -> Path:
        """The good run file with a change."""
        assert old in RUN
        return self.toml(RUN.replace(old, new, 1))

    def file(self, name: str, data: str | bytes = "") -> Path:
        """Any file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path


@dataclass(frozen=True)
class Case:
    """A command that must fail."""

    make: Callable[[Place], Words]
    code: int
    says: tuple[str, ...]


CASES: dict[str, Case] = {}


def case(code: int, *says: str) -> Callable[[Callable[[Place], Words]], Callable[[Place], Words]]:
    """Enter a case: its exit code and words of its error."""

    def enter(make: Callable[[Place], Words]) -> Callable[[Place], Words]:
        assert make.__name__ not in CASES
        CASES[make.__name__] = Case(make, code, says)
        return make

    return enter


def line(text: str, number: int, change: Callable[[str], str]) -> str:
    """A text with one line (counted from 0) changed."""
    lines = text.split("\n")
    lines[number] = change(lines[number])
    return "\n".join(lines)


def first_atom(text: str, column: int, value: str) -> str:
    """An extxyz text with one word of its first atom line replaced."""

    def put(words: str) -> str:
        parts = words.split()
        parts[column] = value
        return " ".join(parts)

    return line(text, 2, put)


def header(text: str, old: str, new: str) -> str:
    """An extxyz text with something in its first comment line replaced."""
    assert old in text.split("\n")[1]
    return line(text, 1, lambda s: s.replace(old, new, 1))


# --------------------------------------------------------------------- extxyz
@case(1, "bad.xyz", "frame 5", "4 fields, expected 7")
def extxyz_truncated_in_an_atom_line(p: Place) -> Words:
    return ["ingest", p.store, p.xyz(lambda t: t[:-200])]


@case(1, "bad.xyz", "frame 5", "atoms")
def extxyz_truncated_after_whole_lines(p: Place) -> Words:
    return ["ingest", p.store, p.xyz(lambda t: "\n".join(t.split("\n")[:-3]) + "\n")]


@case(1, "bad.xyz", "line 5", "more atom lines than it says")
def extxyz_with_too_many_atom_lines(p: Place) -> Words:
    return [
        "ingest",
        p.new,
        p.xyz(lambda t: t.replace("\n", "\nTa 1 2 3 0 0 0\n", 2).replace("\nTa 1 2 3 0 0 0", "", 1)),
    ]


@case(1, "bad.xyz", "frame 0")
def extxyz_atom_line_lacks_a_force(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: line(t, 2, lambda s: s.rsplit(" ", 1)[0]))]


@case(1, "bad.xyz", "frame 0", "position")
def extxyz_position_is_nan(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: first_atom(t, 1, "nan"))]


@case(1, "bad.xyz", "frame 0", "position")
def extxyz_position_is_infinite(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: first_atom(t, 2, "inf"))]


@case(1, "bad.xyz", "frame 0", "oops")
def extxyz_position_is_a_word(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: first_atom(t, 1, "oops"))]


@case(1, "bad.xyz", "frame 0", "Xx", "element")
def extxyz_unknown_element(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: first_atom(t, 0, "Xx"))]


@case(1, "bad.xyz", "frame 0", "volume")
def extxyz_cell_without_volume(p: Place) -> Words:
    return [
        "ingest",
        p.new,
        p.xyz(lambda t: line(t, 1, lambda s: 'Lattice="4 0 0 8 0 0 0 0 4"' + s[s.index('" ') + 1 :])),
    ]


@case(1, "bad.xyz", "frame 0", "lattice vector")
def extxyz_periodic_without_a_cell(p: Place) -> Words:
    return [
        "ingest",
        p.new,
        p.xyz(lambda t: line(t, 1, lambda s: 'Lattice="0 0 0 0 0 0 0 0 0"' + s[s.index('" ') + 1 :])),
    ]


@case(1, "bad.xyz", "frame 0", "Lattice")
def extxyz_cell_of_eight_numbers(p: Place) -> Words:
    return [
        "ingest",
        p.new,
        p.xyz(lambda t: line(t, 1, lambda s: 'Lattice="4 0 0 0 4 0 0 0"' + s[s.index('" ') + 1 :])),
    ]


@case(1, "bad.xyz", "frame 0", "not a number")
def extxyz_energy_is_a_word(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: header(t, "energy=", "energy=high"))]


@case(1, "bad.xyz", "frame 1", "0 atoms")
def extxyz_frame_without_atoms(p: Place) -> Words:
    return ["ingest", p.new, p.file("bad.xyz", _with_empty_frame(p))]


def _with_empty_frame(p: Place) -> str:
    lines = p.xyz(n=1).read_text().rstrip("\n").split("\n")
    return "\n".join([*lines, "0", lines[1], *lines, ""])


@case(1, "bad.xyz", "frame 0", "energy", "--energy-key")
def extxyz_two_energies_that_differ(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: t.replace(" energy=", " REF_energy=-1.0 dft_energy=-2.0 old="))]


@case(1, "bad.xyz", "engergy", "energy")
def extxyz_energy_key_that_is_not_there(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--energy-key", "engergy"]


@case(1, "bad.xyz", "no", "'structure'")
def extxyz_group_key_that_is_not_there(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--group-by", "key:structure"]


@case(1, "bad.xyz", "empty")
def extxyz_empty_file(p: Place) -> Words:
    return ["ingest", p.new, p.file("bad.xyz")]


@case(1, "bad.xyz", "damaged")
def file_of_random_bytes(p: Place) -> Words:
    return ["ingest", p.new, p.file("bad.xyz", np.random.default_rng(1).bytes(5000))]


@case(1, "bad.xyz", "frame 2", "number of atoms")
def extxyz_blank_line_in_the_middle(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: _blank_before_frame(t, 2))]


def _blank_before_frame(text: str, frame: int) -> str:
    lines, at = text.split("\n"), 0
    for _ in range(frame):
        at += int(lines[at]) + 2
    return "\n".join([*lines[:at], "", "rubbish", *lines[at:]])


@case(1, "bad.xyz", "frame 0", "number of atoms")
def extxyz_that_promises_a_billion_atoms(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: line(t, 0, lambda s: "1000000000"))]


@case(1, "bad.xyz", "frame 0")
def extxyz_negative_number_of_atoms(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: line(t, 0, lambda s: "-2"))]


@case(1, "bad.xyz", "frame 0", "Properties")
def extxyz_properties_that_make_no_sense(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: header(t, "pos:R:3", "pos:R:three"))]


@case(1, "bad.xyz", "frame 0", "pos")
def extxyz_without_positions(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: header(t, "pos:R:3", "place:R:3"))]


@case(1, "bad.xyz", "frame 0")
def extxyz_quotation_mark_is_not_closed(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: line(t, 1, lambda s: s[: s.index('" ')] + s[s.index('" ') + 1 :]))]


@case(1, "bad.xyz.gz")
def compressed_file_truncated(p: Place) -> Words:
    import gzip

    data = gzip.compress(p.xyz(name="whole.xyz").read_bytes())
    return ["ingest", p.new, p.file("bad.xyz.gz", data[: len(data) // 2])]


# --------------------------------------------------------------- FitSNAP JSON
@case(1, ".json", "line", "JSON")
def json_truncated(p: Place) -> Words:
    folder = write_json_tree(p.folder / "tree", frames(3, 9))
    path = sorted(folder.rglob("*.json"))[1]
    path.write_text(path.read_text()[:-100])
    return ["ingest", p.store, folder]


@case(1, "g1/00001.json", "forces", "15 rows for 16 atoms")
def json_wrong_number_of_forces(p: Place) -> Words:
    return ["ingest", p.store, p.json(lambda d: d.update(Forces=d["Forces"][:-1]))]


@case(1, ".json", "Positions")
def json_position_with_two_numbers(p: Place) -> Words:
    return ["ingest", p.store, p.json(lambda d: d["Positions"][0].pop())]


@case(1, ".json", "position of atom 1", "nan")
def json_position_is_nan(p: Place) -> Words:
    return ["ingest", p.store, p.json(lambda d: d["Positions"].__setitem__(0, [float("nan")] * 3))]


@case(1, ".json", "Lattice")
def json_without_a_cell(p: Place) -> Words:
    return ["ingest", p.store, p.json(lambda d: d.pop("Lattice"))]


@case(1, ".json", "Xx", "element")
def json_unknown_element(p: Place) -> Words:
    return ["ingest", p.store, p.json(lambda d: d["AtomTypes"].__setitem__(0, "Xx"))]


@case(1, ".json", "StressStyle", "furlong")
def json_unknown_unit_style(p: Place) -> Words:
    return ["ingest", p.store, p.json(lambda d: d.update(StressStyle="furlong"))]


@case(1, ".json", "energy", "not a number")
def json_energy_is_text(p: Place) -> Words:
    return ["ingest", p.store, p.json(lambda d: d.update(Energy="low"))]


@case(1, ".json", "no atoms")
def json_without_atoms(p: Place) -> Words:
    return ["ingest", p.store, p.json(lambda d: d.update(AtomTypes=[], Positions=[], Forces=[], NumAtoms=0))]


@case(1, ".json", "Dataset")
def json_of_something_else(p: Place) -> Words:
    write_json_tree(p.folder / "tree", frames(3, 9))
    p.file("tree/g1/00001.json", '{"answer": 42}')
    return ["ingest", p.store, p.folder / "tree"]


# --------------------------------------------------------------- other formats
@case(1, "input.data", "line", "truncated")
def n2p2_truncated(p: Place) -> Words:
    return ["ingest", p.new, p.file("input.data", N2P2[: N2P2.rindex("energy")])]


@case(1, "input.data", "line 6")
def n2p2_atom_line_too_short(p: Place) -> Words:
    return ["ingest", p.new, p.file("input.data", N2P2.replace(" 0.1 0.2 0.3\n", "\n", 1))]


@case(1, "train.cfg", "truncated")
def mtp_truncated(p: Place) -> Words:
    return ["ingest", p.new, p.file("train.cfg", MTP[: MTP.index("END_CFG")]), "--type-map", "Ta W"]


@case(1, "train.cfg", "--type-map")
def mtp_without_a_type_map(p: Place) -> Words:
    return ["ingest", p.new, p.file("train.cfg", MTP)]


@case(1, "OUTCAR", "no ionic step")
def outcar_truncated(p: Place) -> Words:
    return [
        "ingest",
        p.new,
        p.file("OUTCAR", " vasp.6.3.0 18Jan22 (build) complex\n\n executed on LinuxIFC\n running on 4 total cores\n"),
    ]


@case(1, "vasprun.xml", "not a complete")
def vasprun_truncated(p: Place) -> Words:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n'
    return ["ingest", p.new, p.file("vasprun.xml", text)]


@case(1, "a.db", "not one of ASE")
def ase_database_of_something_else(p: Place) -> Words:
    path = p.folder / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (x integer)")
    return ["ingest", p.new, path]


@case(1, "a.db", "truncated")
def ase_database_truncated(p: Place) -> Words:
    import ase.db
    from ase import Atoms

    path = p.folder / "a.db"
    with ase.db.connect(path) as database:
        for _ in range(50):
            database.write(Atoms("Ta2", positions=[[0, 0, 0], [1, 1, 1]], cell=[3, 3, 3], pbc=True))
    path.write_bytes(path.read_bytes()[:5000])
    return ["ingest", p.new, path]


@case(1, "training.json", "truncated")
def pymatgen_truncated(p: Place) -> Words:
    return ["ingest", p.new, p.file("training.json", json.dumps(PYMATGEN)[:-200])]


@case(1, "training.json", "forces")
def pymatgen_wrong_number_of_forces(p: Place) -> Words:
    entry = json.loads(json.dumps(PYMATGEN))
    entry[0]["outputs"]["forces"].pop()
    return ["ingest", p.new, p.file("training.json", json.dumps(entry))]


@case(1, "ML_AB", "truncated")
def ml_ab_truncated(p: Place) -> Words:
    return ["ingest", p.new, p.file("ML_AB", ML_AB)]


@case(1, "set.000", "force.npy")
def deepmd_wrong_number_of_forces(p: Place) -> Words:
    folder = _deepmd(p)
    np.save(folder / "set.000" / "force.npy", np.zeros((3, 5)))
    return ["ingest", p.new, folder]


@case(1, "set.000", "coord.npy")
def deepmd_truncated(p: Place) -> Words:
    path = _deepmd(p) / "set.000" / "coord.npy"
    path.write_bytes(path.read_bytes()[:100])
    return ["ingest", p.new, p.folder / "system"]


@case(1, "energy.npy", "not a NumPy array of numbers")
def deepmd_with_a_pickle(p: Place) -> Words:
    folder = _deepmd(p)
    np.save(folder / "set.000" / "energy.npy", np.array([{"a": 1}] * 3, object), allow_pickle=True)
    return ["ingest", p.new, folder]


def _deepmd(p: Place) -> Path:
    folder = p.folder / "system"
    (folder / "set.000").mkdir(parents=True)
    (folder / "type.raw").write_text("0\n0\n")
    (folder / "type_map.raw").write_text("Ta\n")
    for name, columns in (("coord", 6), ("box", 9), ("energy", 1), ("force", 6)):
        np.save(folder / "set.000" / f"{name}.npy", np.arange(3.0 * columns).reshape(3, columns) % 7)
    return folder


# -------------------------------------------------------------- ingest options
@case(1, "trian.xyz", "train.xyz")
def source_that_is_not_there(p: Place) -> Words:
    p.xyz(name="train.xyz")
    return ["ingest", p.new, p.folder / "trian.xyz"]


@case(1, "empty")
def empty_source_folder(p: Place) -> Words:
    (p.folder / "empty").mkdir()
    return ["ingest", p.new, p.folder / "empty"]


@case(1, "several formats", "--format")
def folder_of_two_formats(p: Place) -> Words:
    p.json(lambda d: None)
    p.xyz(name="tree/a.xyz")
    return ["ingest", p.new, p.folder / "tree"]


@case(2, "exyz", "extxyz")
def unknown_format(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--format", "exyz"]


@case(2, "furlong", "GPa")
def unknown_unit(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--stress-unit", "furlong"]


@case(2, "stress-sign", "tension")
def unknown_stress_sign(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--stress-sign", "up"]


@case(2, "zero_stress", "missing")
def unknown_zero_stress(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--zero-stress", "perhaps"]


@case(2, "group-by", "directory")
def unknown_group_by(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--group-by", "moon"]


@case(2, "--index", "start:stop")
def bad_index(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--index", "a:b"]


@case(2, "--group-stress-unit", "GROUP=VALUE")
def bad_group_stress_unit(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--group-stress-unit", "g0"]


@case(1, "g00", "g0", "Groups")
def include_a_group_that_is_not_there(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--include-group", "g1", "--include-group", "g00"]


@case(2, "proceses", "processes")
def unknown_executor(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--executor", "proceses"]


@case(2, "workers", "-3")
def negative_workers(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "-j", "-3"]


# ---------------------------------------------------------------------- stores
@case(1, "god.mlip", "good.mlip", "ingest")
def store_that_is_not_there(p: Place) -> Words:
    return ["show", p.store.with_name("god.mlip")]


@case(1, "plain", "not a store")
def store_is_a_plain_folder(p: Place) -> Words:
    p.file("plain/readme.txt", "hello")
    return ["ingest", p.folder / "plain", p.xyz()]


@case(1, "file.mlip", "not a store")
def store_is_a_file(p: Place) -> Words:
    return ["ingest", p.file("file.mlip", "hello"), p.xyz()]


@case(1, "file.mlip", "not a store")
def read_a_store_that_is_a_file(p: Place) -> Words:
    return ["show", p.file("file.mlip", "hello")]


@case(1, "foreign", "did not make")
def store_of_another_program(p: Place) -> Words:
    _foreign(p.folder / "foreign", {})
    return ["show", p.folder / "foreign"]


@case(1, "foreign", "did not make")
def ingest_into_a_store_of_another_program(p: Place) -> Words:
    _foreign(p.folder / "foreign", {"title": "weather"})
    return ["ingest", p.folder / "foreign", p.xyz()]


@case(1, "newer", "format 99", "newer mlipstore")
def store_of_a_newer_format(p: Place) -> Words:
    _foreign(p.folder / "newer", {"mlipstore_format": 99})
    return ["fit", p.folder / "newer"]


def _foreign(path: Path, attributes: dict[str, Any]) -> None:
    import icechunk
    import zarr

    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(path)))
    session = repository.writable_session("main")
    zarr.open_group(session.store, mode="a").attrs.update({"by": "someone", **attributes})
    session.commit("made elsewhere")


@case(1, "v2", "main")
def version_that_is_not_there(p: Place) -> Words:
    return ["show", p.store, "--ref", "v2"]


@case(2, "modle", "model")
def show_a_name_that_is_not_there(p: Place) -> Words:
    return ["show", p.store, "modle"]


@case(2, "holds no configurations", "ingest")
def featurize_an_empty_store(p: Place) -> Words:
    from mlipstore.store import Repository

    Repository.create(p.folder / "empty.mlip")
    return ["featurize", p.folder / "empty.mlip", "-d", p.settings]


@case(2, "no features", "featurize")
def fit_before_featurize(p: Place) -> Words:
    return ["fit", _ingested(p), "-c", p.settings]


@case(2, "lacks 6 of", "featurize")
def fit_with_new_configurations(p: Place) -> Words:
    import shutil

    from .sources import done

    store = p.folder / "more.mlip"
    shutil.copytree(p.store, store)
    done("ingest", store, p.xyz())
    return ["fit", store, "-c", p.settings]


@case(2, "no labels", "[fit.groups]")
def fit_without_labels(p: Place) -> Words:
    from .sources import done

    path = p.xyz(_without_labels)
    store = p.folder / "bare.mlip"
    done("ingest", store, path)
    done("featurize", store, "-d", p.settings, "--executor", "serial")
    return ["fit", store, "-c", p.settings]


def _without_labels(text: str) -> str:
    lines = [" ".join(s.split()[:4]) if s[:2] in ("Ta", "W ") else s for s in text.split("\n")]
    text = "\n".join(lines).replace(":forces:R:3", "").replace(" energy=", " step=")
    return text.replace(" stress=", " note=")


def _ingested(p: Place) -> Path:
    from .sources import done

    store = p.folder / "ingested.mlip"
    done("ingest", store, p.xyz())
    return store


# -------------------------------------------------------------------- settings
@case(2, "run.tmol")
def settings_file_that_is_not_there(p: Place) -> Words:
    return ["fit", p.store, "-c", p.folder / "run.tmol"]


@case(2, "folder")
def settings_file_is_a_folder(p: Place) -> Words:
    return ["fit", p.store, "-c", p.folder]


@case(1, "bad.toml", "line 3", "TOML")
def settings_not_toml(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed('type = "snap"', "type = snap")]


@case(1, "bad.toml", "UTF-8")
def settings_of_bytes(p: Place) -> Words:
    path = p.file("bad.toml", b"\xff\xfe\x00[fit]")
    return ["fit", p.store, "-c", path]


@case(2, "line 6", "rcutfact", "rcutfac")
def settings_unknown_key(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("rcutfac", "rcutfact")]


@case(2, "fti", "fit")
def settings_unknown_table(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("[fit]", "[fti]")]


@case(2, "line 20", "fit.default", "energie", "energy")
def settings_unknown_weight(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("energy = 10.0", "energie = 10.0")]


@case(2, "line 18", "train", "expected a number")
def settings_wrong_type(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("train = 0.8", 'train = "most"')]


@case(2, "no [fit] table")
def settings_without_fit(p: Place) -> Words:
    return ["fit", p.store, "-c", p.toml(RUN[: RUN.index("[fit]")])]


@case(2, "[descriptor]", "[baseline]")
def settings_without_descriptor(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.toml(RUN[RUN.index("[fit]") :])]


@case(2, "surfce", "g0")
def settings_unknown_group(p: Place) -> Words:
    return ["fit", p.store, "-c", p.toml(RUN + "[fit.groups.surfce]\nenergy = 1.0\n")]


@case(2, "unlisted_groups", "default")
def settings_unlisted_group(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("[fit]", '[fit]\nunlisted_groups = "error"')]


@case(2, "rosw", "rows")
def settings_unknown_features(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--features", "rosw"]


@case(2, "zlb", "zbl")
def settings_unknown_baseline(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("[fit]", '[fit]\nbaseline = "zlb"')]


@case(2, "svdd", "svd")
def settings_unknown_solver(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--solver", "svdd"]


@case(2, "line 20", "Weight", "at least 0")
def settings_negative_weight(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("energy = 10.0", "energy = -1.0")]


@case(2, "weight", "zero")
def settings_all_weights_zero(p: Place) -> Words:
    text = RUN.replace("energy = 10.0", "energy = 0.0").replace("force = 1.0", "force = 0.0")
    return ["fit", p.store, "-c", p.toml(text.replace("stress = 0.1", "stress = 0.0"))]


@case(2, "train", "1.5")
def settings_train_above_one(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("train = 0.8", "train = 1.5")]


@case(2, "train", "test", "1.2")
def settings_train_and_test_above_one(p: Place) -> Words:
    return ["fit", p.store, "-c", p.changed("train = 0.8", "train = 1.0")]


@case(2, "Be", "elements")
def settings_shift_of_an_element_not_there(p: Place) -> Words:
    return ["fit", p.store, "-c", p.toml(RUN + "[fit.element_shifts]\nBe = 1.0\n")]


@case(2, "Xy", "element")
def settings_shift_of_no_element(p: Place) -> Words:
    return ["fit", p.store, "-c", p.toml(RUN + "[fit.element_shifts]\nXy = 1.0\n")]


@case(2, "rcutfac", "positive")
def descriptor_negative_cutoff(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("rcutfac = 4.6", "rcutfac = -4.6")]


@case(2, "radelem", "3 values")
def descriptor_wrong_list_length(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("rcutfac = 4.6", "rcutfac = 4.6\nradelem = [0.5, 0.5, 0.5]")]


@case(2, "twojmax", "20")
def descriptor_twojmax_too_large(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("twojmax = 2", "twojmax = 60")]


@case(2, "snapp", "snap")
def descriptor_unknown(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed('type = "snap"', 'type = "snapp"')]


@case(2, "rcutfac")
def descriptor_without_a_cutoff(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("rcutfac = 4.6\n", "")]


@case(2, "holds W", "elements")
def descriptor_lacks_an_element(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.toml(RUN[: RUN.index("[baseline]")].replace('["Ta", "W"]', '["Ta"]'))]


@case(2, "zbll")
def baseline_of_no_pair_style(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("zbl 4.0 4.8", "zbll 4.0 4.8"), "--executor", "serial"]


@case(2, "zbll")
def baseline_of_no_pair_style_in_workers(p: Place) -> Words:
    return ["featurize", p.store, "-d", p.changed("zbl 4.0 4.8", "zbll 4.0 4.8"), "-j", "2"]


@case(1, "good.xyz, frame 0", "pair coeffs are not set")
def baseline_without_coefficients(p: Place) -> Words:
    return [
        "featurize",
        p.store,
        "-d",
        p.changed('["1 1 73 73", "1 2 73 74", "2 2 74 74"]', '["1 1 73 73"]'),
        "--executor",
        "serial",
    ]


# -------------------------------------------------------------- options of fit
@case(2, "--weight", "GROUP.kind=VALUE")
def weight_without_a_value(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--weight", "g0.energy"]


@case(2, "--weight", "energy")
def weight_of_no_kind(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--weight", "g0.enrgy=1"]


@case(2, "--weight", "not a number")
def weight_is_a_word(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--weight", "g0.energy=much"]


@case(2, "no group", "g9", "g0")
def weight_of_no_group(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--weight", "g9.energy=1"]


@case(1, "memory", "exceeds")
def memory_too_small(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--memory", "1MB"]


@case(2, "much", "4GB")
def memory_is_a_word(p: Place) -> Words:
    return ["fit", p.store, "-c", p.settings, "--memory", "much"]


# ----------------------------------------------------------------- what follows
@case(2, "modell", "model")
def replay_a_model_that_is_not_there(p: Place) -> Words:
    return ["replay", p.store, "modell"]


@case(2, "lammps-snapp", "lammps-snap")
def export_in_an_unknown_format(p: Place) -> Words:
    return ["export", p.store, "model", "--format", "lammps-snapp"]


@case(1, "nowhere")
def export_into_a_file(p: Place) -> Words:
    p.file("nowhere", "a file, not a folder")
    return ["export", p.store, "model", "-o", p.folder / "nowhere" / "out"]


@case(1, "bad.xyz, frame 0", "does not know", "Ta W")
def predict_an_element_the_model_does_not_know(p: Place) -> Words:
    return ["predict", p.store, "model", p.xyz(lambda t: first_atom(t, 0, "Be"))]


@case(1, "cannot write", "file")
def predict_into_a_file_as_a_folder(p: Place) -> Words:
    return ["predict", p.store, "model", p.xyz(), "-o", p.file("file", "precious") / "out.xyz"]


@case(1, "gone.xyz")
def predict_a_file_that_is_not_there(p: Place) -> Words:
    return ["predict", p.store, "model", p.folder / "gone.xyz", "-o", p.folder / "out.xyz"]


@case(1, "bad.xyz", "frame")
def predict_a_truncated_file(p: Place) -> Words:
    return ["predict", p.store, "model", p.xyz(lambda t: t[:-200]), "-o", p.folder / "out.xyz"]


@case(2, "tiff", "png")
def plot_in_an_unknown_format(p: Place) -> Words:
    return ["plot", p.store, "model", "-o", p.folder / "plots", "--format", "tiff"]


# --------------------------------------------------------- run and from-fitsnap
@case(2, "store")
def run_without_a_store(p: Place) -> Words:
    return ["run", p.settings]


@case(1, "gone")
def run_with_a_source_that_is_not_there(p: Place) -> Words:
    return ["run", p.toml('store = "new.mlip"\n[ingest]\nsources = ["gone"]\n' + RUN)]


@case(2, "pattern", "*.abc")
def run_with_a_pattern_that_matches_nothing(p: Place) -> Words:
    return ["run", p.toml('store = "new.mlip"\n[ingest]\nsources = ["*.abc"]\n' + RUN)]


@case(2, "tabs", "plots")
def run_with_plots_of_another_kind(p: Place) -> Words:
    return [
        "run",
        p.toml(
            'store = "new.mlip"\n[ingest]\nsources = ["."]\n' + RUN + '[plot]\ndirectory = "plots"\nformat = "tabs"\n'
        ),
    ]


@case(1, "in.fitsnap")
def from_fitsnap_garbage(p: Place) -> Words:
    return ["from-fitsnap", p.file("in.fitsnap", "lorem ipsum\n= dolor")]


@case(1, "in.fitsnap", "PYTORCH")
def from_fitsnap_unsupported_solver(p: Place) -> Words:
    return ["from-fitsnap", p.file("in.fitsnap", FITSNAP.replace("SVD", "PYTORCH"))]


@case(2, "gone.in")
def from_fitsnap_file_that_is_not_there(p: Place) -> Words:
    return ["from-fitsnap", p.folder / "gone.in"]


@case(2, "exists", "--force")
def from_fitsnap_over_a_file(p: Place) -> Words:
    return ["from-fitsnap", p.file("in.fitsnap", FITSNAP), "-o", p.file("run.toml", "precious")]


@case(1, "cannot write", "--output")
def from_fitsnap_into_a_file_as_a_folder(p: Place) -> Words:
    return ["from-fitsnap", p.file("in.fitsnap", FITSNAP), "-o", p.file("file", "precious") / "run.toml"]


ML_AB = """ 1.0 Version
**************************************************
     The number of configurations
--------------------------------------------------
          1
**************************************************
     The maximum number of atom type
--------------------------------------------------
       1
**************************************************
     The atom types in the data file
--------------------------------------------------
     Ta
**************************************************
     Configuration num.      1
==================================================
     System name
--------------------------------------------------
     test
"""
N2P2 = """begin
comment a
lattice 6.0 0 0
lattice 0 6.0 0
lattice 0 0 6.0
atom 0.0 0.0 0.0 Ta 0.0 0.0 0.1 0.2 0.3
atom 3.0 3.0 3.0 Ta 0.0 0.0 -0.1 -0.2 -0.3
energy -5.0
charge 0.0
end
"""
MTP = """BEGIN_CFG
 Size
    2
 Supercell
    3.3 0.0 0.0
    0.0 3.3 0.0
    0.0 0.0 3.3
 AtomData:  id type cartes_x cartes_y cartes_z fx fy fz
    1 0 0.0 0.0 0.0 0.1 0.2 0.3
    2 1 1.6 1.6 1.6 -0.1 -0.2 -0.3
 Energy
    -22.0
 PlusStress:  xx yy zz yz xz xy
    0.1 0.1 0.1 0.0 0.0 0.0
END_CFG
"""
PYMATGEN: list[Any] = [
    {
        "structure": {
            "@module": "pymatgen.core.structure",
            "@class": "Structure",
            "lattice": {"matrix": [[3.3, 0, 0], [0, 3.3, 0], [0, 0, 3.3]]},
            "sites": [
                {"species": [{"element": "Ta", "occu": 1}], "abc": [0, 0, 0], "xyz": [0, 0, 0], "label": "Ta"},
                {"species": [{"element": "Ta", "occu": 1}], "abc": [0.5] * 3, "xyz": [1.65] * 3, "label": "Ta"},
            ],
        },
        "outputs": {"energy": -22.0, "forces": [[0.1, 0, 0], [-0.1, 0, 0]], "virial_stress": [1, 1, 1, 0, 0, 0]},
        "group": "a",
        "num_atoms": 2,
    }
]
FITSNAP = f"""[BISPECTRUM]
numTypes = 1
twojmax = 6
rcutfac = 4.67637
rfac0 = 0.99363
rmin0 = 0.0
wj = 1.0
radelem = 0.5
type = Ta
wselfallflag = 0
chemflag = 0
bzeroflag = 0
quadraticflag = 0

[CALCULATOR]
calculator = LAMMPSSNAP
energy = 1
force = 1
stress = 1

[ESHIFT]
Ta = 0.0

[SOLVER]
solver = SVD
compute_testerrs = 1
detailed_errors = 1

[SCRAPER]
scraper = JSON

[PATH]
dataPath = {os.curdir}

[OUTFILE]
metrics = Ta_metrics.md
potential = Ta_pot

[REFERENCE]
units = metal
atom_style = atomic
pair_style = zero 10.0
pair_coeff = * *

[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
group_types = str float float float float float
A = 1.0 0.0 100 1 1.0e-8
"""
