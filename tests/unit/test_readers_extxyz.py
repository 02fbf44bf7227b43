"""Extended XYZ: the traps of the format, of the two parsers behind the reader, and of key names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore import registry
from mlipstore.configuration import Batch, Configuration
from mlipstore.curation.query import select
from mlipstore.errors import InputError
from mlipstore.export_data import export_data
from mlipstore.ingest import ingest
from mlipstore.parts import Part
from mlipstore.readers import _xyz, recognise
from mlipstore.readers.extxyz import ExtXyz
from mlipstore.reading import ReadOptions, ReadReport
from mlipstore.store import Repository

from ..reader_samples import CELL, STRESS, VOIGT, _row, extxyz_text, forces, positions
from ..shared_data import DATA, needs_data

VOLUME = float(np.linalg.det(CELL))


def read(folder: Path, text: str, report: ReadReport | None = None, **options: Any) -> list[Configuration]:
    path = folder / "train.xyz"
    path.write_text(text)
    return list(ExtXyz(ReadOptions(**options)).read(path, report or ReadReport(), path))


def one(folder: Path, comment: str, columns: str = "species:S:1:pos:R:3:forces:R:3", **options: Any) -> Configuration:
    return read(folder, extxyz_text(1, comment, columns), **options)[0]


def refused(folder: Path, text: str, match: str, **options: Any) -> None:
    with pytest.raises(InputError, match=match) as error:
        read(folder, text, **options)
    assert "train.xyz" in str(error.value)


# ------------------------------------------------------------------ geometry
def test_cell_rows_are_the_vectors_as_written(tmp_path: Path) -> None:
    text = '2\nLattice="4 0 0 1 4 0 0 0 4" Properties=species:S:1:pos:R:3 energy=-1\nSi 0 0 0\nSi 2 2 2\n'
    c = read(tmp_path, text)[0]
    np.testing.assert_array_equal(c.cell, [[4, 0, 0], [1, 4, 0], [0, 0, 4]])


@pytest.mark.parametrize(
    ("header", "pbc", "volume"),
    [
        ('Lattice="4 0 0 0 4 0 0 0 4"', [1, 1, 1], 64),
        ('Lattice="4 0 0 0 4 0 0 0 4" pbc="T T F"', [1, 1, 0], 64),
        ('Lattice="4 0 0 0 4 0 0 0 4" PBC="1 0 1"', [1, 0, 1], 64),
        ('lattice="4 0 0 0 4 0 0 0 4"', [1, 1, 1], 64),
        ('Lattice="4 4 4"', [1, 1, 1], 64),
        ("Lattice=[[4,0,0],[0,4,0],[0,0,4]]", [1, 1, 1], 64),
        ("", [0, 0, 0], 0),
        ('pbc="F F F"', [0, 0, 0], 0),
    ],
)
def test_cell_and_pbc(header: str, pbc: list[int], volume: float, tmp_path: Path) -> None:
    text = f"1\n{header} Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.0\nSi 0 0 0 0 0 0\n"
    c = read(tmp_path, text)[0]
    assert c.pbc.tolist() == [bool(x) for x in pbc]
    assert c.volume == pytest.approx(volume)


def test_column_types_in_lower_case(tmp_path: Path) -> None:
    c = one(tmp_path, f'energy=-1.5 stress="{_row(VOIGT)}"', "species:s:1:pos:r:3:forces:r:3")
    np.testing.assert_allclose(c.positions, positions(0))
    np.testing.assert_allclose(c.forces, forces(0))
    np.testing.assert_allclose(c.stress, VOIGT, atol=1e-8)


def test_atomic_numbers_instead_of_symbols(tmp_path: Path) -> None:
    text = "2\nProperties=Z:I:1:pos:R:3:force:R:3 energy=-1.0\n14 0 0 0 0 0 0\n8 1 1 1 0 0 0\n"
    assert read(tmp_path, text)[0].numbers.tolist() == [14, 8]


def test_plain_xyz(tmp_path: Path) -> None:
    report = ReadReport()
    c = read(tmp_path, "2\nwater, more or less\nO 0 0 0\nH 0 0 1\n", report)[0]
    assert (c.numbers.tolist(), c.group, c.info) == ([8, 1], "train", {"comment": "water, more or less"})
    assert report.observed["no forces in the frame"] == 1
    refused(tmp_path, "2\nforces follow\nO 0 0 0 1 1 1\nH 0 0 1 2 2 2\n", "has 7 fields, expected 4")


# ------------------------------------------------------------------ energies
@pytest.mark.parametrize(
    "key", ["energy", "Energy", "REF_energy", "dft_energy", "free_energy", "nomad_total_energy", "total_energy",
            "TotEnergy", "DFT_energy", "corrected_total_energy"]
)  # fmt: skip
def test_energy_keys(key: str, tmp_path: Path) -> None:
    assert one(tmp_path, f"{key}=-3.25").energy == -3.25
    assert one(tmp_path, f"{key}=-3").energy == -3.0


def test_energy_before_free_energy_which_is_kept(tmp_path: Path) -> None:
    c = one(tmp_path, "energy=-1.5 free_energy=-2.5")
    assert (c.energy, c.info["free_energy"]) == (-1.5, -2.5)
    assert one(tmp_path, "energy=-1.5 free_energy=-2.5", energy_key="free_energy").energy == -2.5


def test_two_candidates_are_asked_about(tmp_path: Path) -> None:
    refused(tmp_path, extxyz_text(1, "energy=-1 REF_energy=-2"), "--energy-key energy")
    assert one(tmp_path, "energy=-1 REF_energy=-2", energy_key="REF_energy").energy == -2
    columns = "species:S:1:pos:R:3:forces:R:3:force:R:3"
    text = f"1\nProperties={columns} energy=1.0\nSi 0 0 0 1 1 1 2 2 2\n"
    refused(tmp_path, text, "--force-key forces")
    assert read(tmp_path, text, force_key="force")[0].forces.tolist() == [[2, 2, 2]]


def test_one_file_has_one_meaning(tmp_path: Path) -> None:
    text = extxyz_text(1, "free_energy=-2.5") + extxyz_text(1, "energy=-1.5 free_energy=-2.5")
    refused(tmp_path, text, "frame 1 .line 6.: the energy is 'energy' here and 'free_energy' in frames before")
    assert [c.energy for c in read(tmp_path, text, energy_key="free_energy")] == [-2.5, -2.5]


@pytest.mark.parametrize("value", ["None", "nan", "NaN", '""', "inf", "-nan"])
def test_energy_that_is_no_number_is_missing_and_told(value: str, tmp_path: Path) -> None:
    report = ReadReport()
    c = read(tmp_path, extxyz_text(1, f"energy={value}"), report)[0]
    assert np.isnan(c.energy)
    assert report.observed == {"energy is not a finite number: missing": 1}
    assert c.forces is not None


def test_energy_of_text_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, extxyz_text(1, "energy=low"), "energy is 'low', which is not a number")


def test_integers_do_not_wrap_around(tmp_path: Path) -> None:
    c = one(tmp_path, "energy=-3000000000 id=12345678901")
    assert (c.energy, c.info["id"]) == (-3e9, 12345678901)


def test_wrong_energy_key(tmp_path: Path) -> None:
    refused(
        tmp_path, extxyz_text(1, "dft_energy=-1"), "no 'dft_enrgy'.*Did you mean 'dft_energy'", energy_key="dft_enrgy"
    )


def test_unknown_energy_is_told(tmp_path: Path) -> None:
    report = ReadReport()
    read(tmp_path, extxyz_text(1, "mace_mp_energy=-1"), report)
    assert any("--energy-key mace_mp_energy" in what for what in report.observed)


def test_key_given_twice(tmp_path: Path) -> None:
    refused(tmp_path, extxyz_text(1, "energy=-1 energy=-2"), "'energy' is there twice")
    assert one(tmp_path, "energy=-1 energy=-1 note=a=b").energy == -1


# -------------------------------------------------------------------- forces
@pytest.mark.parametrize("name", ["forces", "force", "Forces", "REF_forces", "dft_force", "dft_forces", "DFT_forces"])
def test_force_keys(name: str, tmp_path: Path) -> None:
    c = one(tmp_path, "energy=-1.0", f"species:S:1:pos:R:3:{name}:R:3")
    np.testing.assert_allclose(c.forces, forces(0))


def test_forces_are_never_lost(tmp_path: Path) -> None:
    text = extxyz_text(1, "energy=-1.0", "species:S:1:pos:R:3:mace_forces:R:3")
    refused(tmp_path, text, "--force-key mace_forces")
    assert read(tmp_path, text, force_key="mace_forces")[0].forces is not None
    refused(tmp_path, extxyz_text(1, "energy=-1.0", "species:S:1:pos:R:3"), "has 7 fields, expected 4")
    twice = extxyz_text(1, "energy=-1.0", "species:S:1:pos:R:3:pos:R:3")
    refused(tmp_path, twice, "names the column 'pos' twice")


def test_other_columns_are_told_and_masks_kept(tmp_path: Path) -> None:
    report = ReadReport()
    columns = "species:S:1:pos:R:3:forces:R:3:force_mask:L:1:momenta:R:3"
    text = f"1\nProperties={columns} energy=1.0\nSi 0 0 0 1 1 1 T 9 9 9\n"
    c = read(tmp_path, text, report)[0]
    assert c.info == {"force_mask": [True]}
    assert report.observed == {"per-atom column 'momenta' is not stored": 1}


def test_nan_forces_are_missing_and_told(tmp_path: Path) -> None:
    report = ReadReport()
    text = extxyz_text(1, "energy=-1.0").replace(_row(forces(0)[1]), "nan 0 0")
    c = read(tmp_path, text, report)[0]
    assert c.forces is None
    assert report.observed == {"forces are not finite numbers: missing": 1}


def test_moments_and_charges(tmp_path: Path) -> None:
    text = "1\nProperties=species:S:1:pos:R:3:magmoms:R:1:initial_charges:R:1 energy=1\nFe 0 0 0 2.5 0.25\n"
    c = read(tmp_path, text)[0]
    assert (c.spin.tolist(), c.charge.tolist()) == ([[0, 0, 2.5]], [0.25])


# -------------------------------------------------------------------- stress
def test_stress_of_nine_and_six_numbers(tmp_path: Path) -> None:
    for numbers in (STRESS, VOIGT):
        np.testing.assert_allclose(one(tmp_path, f'energy=-1.0 stress="{_row(numbers)}"').stress, VOIGT, atol=1e-9)
    lammps = _row(VOIGT[[0, 1, 2, 5, 4, 3]])
    c = one(tmp_path, f'energy=-1.0 stress="{lammps}"', stress_order="xx yy zz xy xz yz")
    np.testing.assert_allclose(c.stress, VOIGT, atol=1e-9)


def test_stress_unit_and_sign(tmp_path: Path) -> None:
    kbar = f'energy=-1.0 config_type=a stress="{_row(-STRESS * 1602.1766339)}"'
    c = one(tmp_path, kbar, stress_unit="kbar", stress_sign="compression")
    np.testing.assert_allclose(c.stress, VOIGT, rtol=1e-6)
    c = one(tmp_path, kbar, group_stress_unit={"a": "kbar"}, stress_sign="compression")
    np.testing.assert_allclose(c.stress, VOIGT, rtol=1e-6)


@pytest.mark.parametrize("key", ["virial", "virials", "REF_virials", "dft_virial"])
def test_virial_becomes_a_stress(key: str, tmp_path: Path) -> None:
    c = one(tmp_path, f'energy=-1.0 {key}="{_row(-STRESS * VOLUME)}"')
    np.testing.assert_allclose(c.stress, VOIGT, atol=1e-9)


def test_virial_needs_a_volume(tmp_path: Path) -> None:
    text = '1\nProperties=species:S:1:pos:R:3 energy=-1.0 virial="1 0 0 0 1 0 0 0 1" {}\nSi 0 0 0\n'
    refused(tmp_path, text.format('Lattice="1 0 0 0 1 0 0 0 0"'), "no volume")
    report = ReadReport()
    assert read(tmp_path, text.format(""), report)[0].stress is None
    assert any("not periodic" in what for what in report.observed)


def test_stress_and_virial(tmp_path: Path) -> None:
    good = f'energy=-1.0 stress="{_row(STRESS)}" virial="{_row(-STRESS * VOLUME)}"'
    np.testing.assert_allclose(one(tmp_path, good).stress, VOIGT, atol=1e-9)
    bad = f'energy=-1.0 stress="{_row(1602 * STRESS)}" virial="{_row(-STRESS * VOLUME)}"'
    refused(tmp_path, extxyz_text(1, bad), "do not agree")
    np.testing.assert_allclose(one(tmp_path, bad, virial_key="virial").stress, VOIGT, atol=1e-9)
    np.testing.assert_allclose(one(tmp_path, bad, stress_key="stress").stress, 1602 * VOIGT, atol=1e-6)


def test_scrambled_tensor_is_not_stored(tmp_path: Path) -> None:
    v1, v2, v3, v4, v5, v6 = VOIGT
    report = ReadReport()
    text = extxyz_text(1, f'energy=-1.0 stress="{_row([v1, v2, v3, v4, v5, v6, v2, v3, v5])}"')
    assert read(tmp_path, text, report)[0].stress is None
    assert any("far from symmetric" in what for what in report.observed)
    slightly = STRESS.copy()
    slightly[0, 1] *= 1.001
    report = ReadReport()
    c = read(tmp_path, extxyz_text(1, f'energy=-1.0 stress="{_row(slightly)}"'), report)[0]
    np.testing.assert_allclose(c.stress[5], 1.0005 * VOIGT[5], rtol=1e-5)
    assert any("symmetric part" in what for what in report.observed)


def test_stress_none(tmp_path: Path) -> None:
    report = ReadReport()
    assert read(tmp_path, extxyz_text(1, "energy=-1.0 stress=None"), report)[0].stress is None
    assert report.observed == {"'stress' is 'None': missing": 1}
    refused(tmp_path, extxyz_text(1, 'energy=-1.0 stress="1 2 3"'), "not 6 or 9 numbers")


@pytest.mark.parametrize(
    "text",
    ["nan " * 9, "NaN " * 6, "0.1 0 0 0 nan 0 0 0 0.2", "_JSON", "inf " * 6],
    ids=["nine", "six", "one", "json", "inf"],
)
def test_a_stress_that_is_no_number_is_missing(text: str, tmp_path: Path) -> None:
    text += " [[NaN, NaN, NaN], [NaN, NaN, NaN], [NaN, NaN, NaN]]" * (text == "_JSON")
    report = ReadReport()
    found = read(tmp_path, extxyz_text(1, f'energy=-1.0 stress="{text.strip()}"'), report)[0]
    assert found.stress is None
    assert found.forces is not None
    assert sum("not finite" in what for what in report.observed) == 1


@pytest.mark.parametrize("before", ["\n \n", "\ufeff"], ids=["blank", "mark"])
def test_what_comes_before_the_first_frame(before: str, tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(before + extxyz_text(2, "energy=-1.0"), encoding="utf-8")
    assert recognise(path) == "extxyz"
    assert len(list(ExtXyz().read(path, ReadReport()))) == 2


# --------------------------------------------------------------------- units
def test_atomic_units(tmp_path: Path) -> None:
    from mlipstore.units import BOHR, HARTREE

    report = ReadReport()
    text = extxyz_text(1, "energy=-1.0")
    c = read(tmp_path, text, report, energy_unit="Ha", length_unit="Bohr")[0]
    np.testing.assert_allclose(c.cell, CELL * BOHR)
    np.testing.assert_allclose(c.positions, positions(0) * BOHR)
    np.testing.assert_allclose(c.forces, forces(0) * HARTREE / BOHR)
    assert c.energy == pytest.approx(-HARTREE)
    assert any("energy unit per given length unit" in what for what in report.assumed)


# -------------------------------------------------------------------- groups
@pytest.mark.parametrize(
    ("keys", "group"),
    [("config_type=slab", "slab"), ('config_type="liquid 3000 K"', "liquid 3000 K"), ("group=7", "7"),
     ("config_name=x", "x"), ("config_type=a group=b", "a"), ("", "train")],
)  # fmt: skip
def test_group(keys: str, group: str, tmp_path: Path) -> None:
    assert one(tmp_path, f"energy=-1.0 {keys}").group == group


def test_group_by_key(tmp_path: Path) -> None:
    c = one(tmp_path, "energy=-1.0 phase=bcc config_type=a", group_by="key:phase")
    assert (c.group, c.info["phase"]) == ("bcc", "bcc")
    assert one(tmp_path, "energy=-1.0 config_type=a", group_by="file").info == {"config_type": "a"}
    refused(tmp_path, extxyz_text(1, "energy=-1.0 phase=bcc"), "no 'phas'. Did you mean 'phase'", group_by="key:phas")


def test_isolated_atom_is_kept(tmp_path: Path) -> None:
    text = "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-1 config_type=isolated_atom\nSi 0 0 0 0 0 0\n"
    c = read(tmp_path, text)[0]
    assert (len(c), c.group, c.pbc.any()) == (1, "isolated_atom", np.False_)


def test_other_keys_are_kept(tmp_path: Path) -> None:
    c = one(tmp_path, 'energy=-1.0 dihedrals="_JSON [[1, 2], {\\"a\\": null}]" T=300.5 ok=T tags=[1,2] config_weight=2')
    assert c.info == {"dihedrals": [[1, 2], {"a": None}], "T": 300.5, "ok": True, "tags": [1, 2], "config_weight": 2}


# ----------------------------------------------------------- broken files
def test_places_of_errors(tmp_path: Path) -> None:
    text = extxyz_text(3)
    lines = text.splitlines(keepends=True)
    short = "".join(lines[:7] + lines[8:])  # frame 1 has two atoms for three
    refused(tmp_path, short, r"frame 1 \(line 10\): atom line 3 of 3 has 1 fields, expected 7")
    bad = lines.copy()
    bad[8] = bad[8].replace("O ", "Q ")
    refused(tmp_path, "".join(bad), r"frame 1 \(line 6\): atom 2 is 'Q'")
    bad = lines.copy()
    bad[7] = "O 1 2 x 0 0 0\n"
    refused(tmp_path, "".join(bad), r"frame 1 \(line 8\): 'x' in column 'pos' is not a number")
    bad[7] = "O 1 2 ******* 0 0 0\n"
    refused(tmp_path, "".join(bad), "did not fit its column")
    bad[7] = "O 1 2 nan 0 0 0\n"
    refused(tmp_path, "".join(bad), r"frame 1 \(line 6\): the position of atom 1 is no length")
    refused(tmp_path, text[:-30], r"frame 2 \(line 15\)")
    refused(tmp_path, "".join(lines[:-1]), r"frame 2 \(line 15\): the file ends after 2 of 3|frame 2.*truncated")
    refused(tmp_path, text + "junk\n", r"frame 3 \(line 16\): expected the number of atoms of a frame, found 'junk'")
    refused(tmp_path, text.replace("3\n", "2\n", 1), r"frame 1 \(line 5\): expected the number of atoms")
    for count in ("-1", "0", "2.0", "0x2", "3 3", "99999999999"):
        refused(tmp_path, text.replace("3\n", f"{count}\n", 1), "frame 0")
    refused(tmp_path, text.replace("pos:R:3", "pos:Q:3"), "R, I, S or L")
    refused(tmp_path, text.replace("pos:R:3", "pos:R"), "name:type:columns|expected R, I")
    refused(tmp_path, text.replace("pos:R:3", "place:R:3"), "no column 'pos'")
    refused(tmp_path, text.replace("species:S:1", "what:S:1"), "no column 'species'")
    refused(tmp_path, text.replace('pbc="T T T"', "pbc=maybe"), "not three of T or F")
    refused(tmp_path, text.replace(_row(CELL), "1 2 3 4"), "not nine numbers")
    refused(tmp_path, "\n \n", "empty")


def test_blank_lines_between_frames(tmp_path: Path) -> None:
    one_frame = extxyz_text(1)
    assert len(read(tmp_path, f"{one_frame}\n\n{one_frame}  \n{one_frame}\n\n")) == 3
    crlf = extxyz_text(2).replace("\n", "\r\n")
    (tmp_path / "train.xyz").write_bytes(crlf.encode())
    assert len(list(ExtXyz().read(tmp_path / "train.xyz", ReadReport()))) == 2


def test_skip_bad_leaves_out_single_frames(tmp_path: Path) -> None:
    lines = extxyz_text(5).splitlines(keepends=True)
    del lines[7]  # frame 1 has too few atoms
    lines[15] = "Si 0 0 x 0 0 0\n"
    path = tmp_path / "train.xyz"
    path.write_text("".join(lines))
    report = ReadReport(skip_bad=True)
    found = list(ExtXyz().read(path, report))
    assert [c.frame for c in found] == [0, 2, 4]
    assert len(report.refused) == 2
    assert "frame 1" in report.refused[0]
    assert "frame 3" in report.refused[1]


# --------------------------------------------------------------------- names
NAMES = ("007", "00", "1e5", "1d3", "T", "F", "true", ".true.", "1", "+1", "-0", "1.", "1_0", "nan", "NaN", "inf",
         "12345678901", "1e400", "None", "0x1", "a,b", "[1,2]", "[1]", "é", "bulk")  # fmt: skip
QUOTED = {"1 2": '"1 2"', "T F": '"T F"', " 007": '" 007"', "a  b ": '"a  b "', "1 2.5 x": '"1 2.5 x"', "1,2": '"1,2"',
          'a"b': r'"a\"b"', "a\\nb": r'"a\\nb"', "007 008": "'007 008'", "3 4": "{3 4}", "_JSON": '"_JSON"',
          "5": '"_JSON 5"', "[5, 6]": '"_JSON [5, 6]"'}  # fmt: skip
WRITTEN = [*zip(NAMES, NAMES, strict=True), *((n, f'"{n}"') for n in NAMES if n[0] != "["), *QUOTED.items(),
           ("007", "'007'"), *((n, rf'"_JSON \"{n}\""') for n in ("007", "T", "1e5"))]  # fmt: skip


@pytest.mark.parametrize("by_key", [False, True], ids=["config_type", "key"])
@pytest.mark.parametrize("c_parser", [True, False], ids=["c-parser", "own-parser"])
@pytest.mark.parametrize("blocks", [False, True], ids=["frames", "blocks"])
def test_names_are_as_they_are_written(
    blocks: bool, c_parser: bool, by_key: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``007`` is no number, in a first frame and in those that follow and look like it."""
    if not c_parser:
        monkeypatch.setattr(_xyz, "_c_parser", lambda: None)
    options = ReadOptions(group_by="key:batch" if by_key else "auto")
    path = tmp_path / "train.xyz"
    for name, text in WRITTEN:
        key = "batch" if by_key else "config_type"
        path.write_text("".join(extxyz_text(1, f"energy=-{i}.5 {key}={text}") for i in range(3)))
        reader = ExtXyz(options)
        pieces = list(reader.read_blocks(path, Part(), ReadReport(), path) if blocks else
                      reader.read(path, ReadReport(), path))  # fmt: skip
        groups = [g for p in pieces for g in (p.group.tolist() if isinstance(p, Batch) else [p.group])]
        assert groups == [name] * 3, text


def test_what_is_no_number_in_the_format_stays_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Identifiers with leading zeros; by both parsers, and in blocks."""
    comment = "energy=-1.5 id=007 batch=0123e4 n=7 x=7.5 y=1d2 word=1_0 on=T off=.true. list='1 02' pad=\" a\""
    expected = {"id": "007", "batch": "0123e4", "n": 7, "x": 7.5, "y": 100.0, "word": "1_0", "on": True}
    expected |= {"off": ".true.", "list": "1 02", "pad": " a"}
    text = extxyz_text(3, comment)
    assert [c.info for c in read(tmp_path, text)] == [expected] * 3
    path = tmp_path / "train.xyz"
    batch = Batch.from_configurations([])
    for piece in ExtXyz().read_blocks(path, Part(), ReadReport(), path):
        new = piece if isinstance(piece, Batch) else Batch.from_configurations([piece])
        batch = Batch.concatenate([batch, new])
    assert [c.info for c in batch] == [expected] * 3
    monkeypatch.setattr(_xyz, "_c_parser", lambda: None)
    assert [c.info for c in read(tmp_path, text)] == [expected] * 3


@pytest.mark.parametrize("format", ["extxyz", "ase-db", "fitsnap"])
def test_names_survive_export_and_ingest(format: str, tmp_path: Path) -> None:
    names = [n for n in NAMES if n != "é"]
    path = tmp_path / "train.xyz"
    path.write_text("".join(extxyz_text(1, f"energy=-{i}.5 config_type={n}") for i, n in enumerate(names)))
    found = []
    options, source, reader = ReadOptions(), path, "extxyz"
    for step in range(2):
        repository = Repository.create(tmp_path / f"{step}.mlip")
        ingest(repository, [source], options, reader)
        found.append(select(repository.at()).groups())
        if step == 0:
            made = export_data(repository, format, tmp_path / f"out{registry.get('writers', format).suffix}")
            options, source, reader = ReadOptions(**made.options), Path(made.path), made.format
    assert found[0] == found[1] == dict.fromkeys(names, 1)


# ------------------------------------------------------------- two parsers
def parsers_agree(path: Path) -> int:
    import mmap

    fast = list(_xyz.frames(path, ReadReport()))
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        lines, at = _xyz.Lines(path, data), 0
        for i, frame in enumerate(fast):
            at = lines.skip_blank(at)
            own, at = _xyz.parse_frame(i, at, lines)
            assert (frame.n, list(frame.info), list(frame.arrays)) == (own.n, list(own.info), list(own.arrays))
            for a, b in ((frame.info, own.info), (frame.arrays, own.arrays)):
                for key in a:
                    np.testing.assert_array_equal(a[key], b[key])
        assert lines.skip_blank(at) == len(data)
    return len(fast)


def test_own_parser_gives_what_the_c_parser_gives(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    comment = (
        'energy=-1 e=1.5e-3 name="a b" q=\'x y\' flag=T off=F list="1 2 3" nine="1 2 3 4 5 6 7 8 9" mixed="1 a" '
        'bools="T F" braces={1 2} i=-7 bare esc="a\\"b" empty=""'
    )
    path.write_text(extxyz_text(2, comment))
    assert parsers_agree(path) == 2


def test_without_the_c_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = extxyz_text(4)
    fast = read(tmp_path, text)
    monkeypatch.setattr(_xyz, "_c_parser", lambda: None)
    assert [c.uid() for c in read(tmp_path, text)] == [c.uid() for c in fast]


@needs_data
@pytest.mark.parametrize("name", ["hfo2/hfo2_train_76.xyz", "si_gap/Si_full.xyz", "ta_ace/ta_configs.xyz"])
def test_real_files_as_ase_reads_them(name: str) -> None:
    import ase.io

    assert DATA is not None
    path = DATA / name
    found = list(ExtXyz().read(path, ReadReport()))
    reference = ase.io.read(path, ":")
    assert len(found) == len(reference) == parsers_agree(path)
    for c, atoms in zip(found, reference, strict=True):
        np.testing.assert_array_equal(c.cell, atoms.cell[:])
        np.testing.assert_array_equal(c.positions, atoms.positions)
        np.testing.assert_array_equal(c.numbers, atoms.numbers)
        np.testing.assert_array_equal(c.pbc, atoms.pbc)
        results = atoms.calc.results if atoms.calc else {}
        forces_ = results.get("forces", atoms.arrays.get("dft_force", atoms.arrays.get("dft_forces")))
        np.testing.assert_array_equal(c.forces, forces_)
        assert c.energy == results.get("energy", atoms.info.get("dft_energy"))
        if "stress" in results:
            np.testing.assert_allclose(c.stress, atoms.get_stress(), rtol=1e-12)
        if "dft_virial" in atoms.info:
            np.testing.assert_allclose(
                c.stress[0], -np.ravel(atoms.info["dft_virial"])[0] / atoms.get_volume(), rtol=1e-12
            )
        if name.startswith("hfo2"):
            assert c.info["free_energy"] == results["free_energy"]


@pytest.mark.parametrize("key", ["REF_stress", "REF_virials"])
def test_tensors_that_ase_writes_as_json(key: str, tmp_path: Path) -> None:
    """``atoms.info["REF_stress"]``, a 3 x 3 array, is written as ``_JSON [[...]]``."""
    from ase import Atoms
    from ase.io import write

    atoms = Atoms("Si", cell=[4.0, 4.0, 4.0], pbc=True)
    tensor = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]])
    atoms.info |= {key: tensor, "REF_energy": -1.0}
    write(tmp_path / "train.xyz", atoms, format="extxyz")
    text = (tmp_path / "train.xyz").read_text()
    assert "_JSON" in text
    scale = 1.0 if key == "REF_stress" else -1.0 / 64.0
    np.testing.assert_allclose(read(tmp_path, text)[0].stress, scale * np.array([1.0, 2.0, 3.0, 0.4, 0.5, 0.6]))


@pytest.mark.parametrize("value", ["[[1, 2], [3]]", "[1, 2", '{\\"a\\": 1}', "[null, 1, 2, 3, 4, 5]"])
def test_json_that_is_no_tensor(value: str, tmp_path: Path) -> None:
    refused(tmp_path, extxyz_text(1, f'energy=-1.0 REF_stress="_JSON {value}"'), "not 6 or 9 numbers")
