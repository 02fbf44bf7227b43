"""Which reader takes a path; folders; formats of folders and databases; nothing that unpickles."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore.configuration import Configuration
from mlipstore.errors import InputError, UnknownNameError
from mlipstore.readers import reader_for, recognise
from mlipstore.readers.deepmd_npy import DeepmdNpy
from mlipstore.reading import ReadOptions, ReadReport

from ..reader_samples import (
    CELL,
    VOIGT,
    extxyz_text,
    fitsnap_text,
    forces,
    images,
    mtp_text,
    outcar_text,
    pymatgen_item,
    write_deepmd,
)
from ..shared_data import DATA, needs_data


def read(
    path: Path, report: ReadReport | None = None, format: str | None = None, **options: Any
) -> list[Configuration]:
    _, reader = reader_for(path, ReadOptions(**options), format)
    told = report or ReadReport()
    return [c for f in reader.files(path) for c in reader.read(f, told, path)]


# ----------------------------------------------------------------- recognise
def test_format_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'extxyz'"):
        recognise(tmp_path, "extxy")
    assert recognise(tmp_path / "anything", "extxyz") == "extxyz"


def test_unknown_files(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("nothing of interest\n")
    with pytest.raises(InputError, match=r"notes.txt: no reader knows this file. .*--format: .*extxyz"):
        recognise(path)
    with pytest.raises(InputError, match=r"no reader knows any file of this folder"):
        recognise(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"empty"):
        recognise(path)
    with pytest.raises(InputError, match=r"no such file"):
        recognise(tmp_path / "nowhere")


def test_by_content_whatever_the_suffix(tmp_path: Path) -> None:
    for name, text, expected in (
        ("a.data", extxyz_text(), "extxyz"),
        ("a.txt", mtp_text(), "mtp-cfg"),
        ("run1.out", outcar_text(), "vasp-outcar"),
        ("a.json", fitsnap_text(), "fitsnap-json"),
        ("b.json", json.dumps([pymatgen_item()]), "pymatgen-json"),
    ):
        (tmp_path / name).write_text(text)
        assert recognise(tmp_path / name) == expected


def test_folders(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for group in ("a", "b"):
        (tree / group).mkdir(parents=True)
        (tree / group / "1.json").write_text(fitsnap_text())
    (tree / "README.md").write_text("words")
    (tree / "Ta.in").write_text("[BISPECTRUM]\n")
    assert recognise(tree) == "fitsnap-json"
    assert [c.group for c in read(tree)] == ["a", "b"]
    (tree / "more.xyz").write_text(extxyz_text())
    with pytest.raises(InputError, match=r"several formats: extxyz .*; fitsnap-json .*--format"):
        recognise(tree)
    assert len(read(tree, format="extxyz")) == 3
    runs = tmp_path / "runs"
    for k in range(2):
        (runs / f"run{k}").mkdir(parents=True)
        (runs / f"run{k}" / "OUTCAR").write_text(outcar_text(2))
        (runs / f"run{k}" / "INCAR").write_text("ENCUT = 400\n")
    assert recognise(runs) == "vasp-outcar"
    assert [c.group for c in read(runs)] == ["run0", "run0", "run1", "run1"]
    with pytest.raises(InputError, match=r"no file matches"):
        read(runs, format="extxyz")


@needs_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [("ta_fitsnap/JSON", "fitsnap-json"), ("mlearn", "pymatgen-json"), ("mlearn/Si/test.json", "pymatgen-json"),
     ("cu2s_n2p2", "n2p2-data"), ("n2p2_h2o/input.data", "n2p2-data"), ("hfo2", "extxyz"),
     ("ta_fitsnap/JSON/Liquid", "fitsnap-json")],
)  # fmt: skip
def test_real_data(name: str, expected: str) -> None:
    assert DATA is not None
    assert recognise(DATA / name) == expected


# -------------------------------------------------------------------- DeePMD
def test_deepmd_tree(tmp_path: Path) -> None:
    for name in ("bulk/b", "bulk/a", "slab"):
        write_deepmd(tmp_path / "data" / name, 2)
    assert recognise(tmp_path / "data") == "deepmd-npy"
    assert [c.group for c in read(tmp_path / "data")][::2] == ["bulk/a", "bulk/b", "slab"]
    assert read(tmp_path / "data/slab")[0].group == "slab"


def test_deepmd_mixed_types_nopbc_and_no_map(tmp_path: Path) -> None:
    folder = write_deepmd(tmp_path / "s", 2)
    np.save(folder / "set.000/real_atom_types.npy", np.array([[0, 1, 1], [1, 0, -1]]))
    first, second = read(folder)
    assert (first.numbers.tolist(), second.numbers.tolist()) == ([14, 8, 8], [8, 14])
    np.testing.assert_allclose(second.forces, forces(1)[:2])
    (folder / "nopbc").touch()
    c = read(folder)[0]
    assert (c.pbc.any(), c.stress, c.cell.any()) == (np.False_, None, np.False_)
    (folder / "type_map.raw").unlink()
    with pytest.raises(InputError, match=r"--type-map"):
        read(folder)
    assert read(folder, type_map=("Ge", "Te"))[0].numbers.tolist() == [32, 52, 52]


@pytest.mark.parametrize(
    ("name", "array", "match"),
    [
        ("force", np.zeros((3, 6)), r"'force.npy' has shape \(3, 6\), expected \(3, 9\)"),
        ("energy", np.zeros(2), "energy.npy"),
        ("coord", np.zeros((3, 9), "U3"), "not numbers"),
        ("coord", np.full((3, 9), np.nan), "position of atom 1"),
        ("box", np.zeros((3, 9)), "no volume"),
    ],
)
def test_deepmd_refused(name: str, array: np.ndarray, match: str, tmp_path: Path) -> None:
    folder = write_deepmd(tmp_path / "s")
    np.save(folder / f"set.000/{name}.npy", array)
    with pytest.raises(InputError, match=match):
        read(folder)


def test_deepmd_broken_arrays_and_pickles(tmp_path: Path) -> None:
    folder = write_deepmd(tmp_path / "s")
    file = folder / "set.000/coord.npy"
    whole = file.read_bytes()
    for raw in (b"", whole[:50], whole[:-8]):
        file.write_bytes(raw)
        with pytest.raises(InputError, match=r"coord.npy"):
            read(folder)
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"coord.npy"):
        read(folder)
    file.unlink()
    with pytest.raises(InputError, match=r"no 'coord.npy'"):
        read(folder)
    (folder / "type.raw").write_text("0 1 x")
    with pytest.raises(InputError, match=r"type.raw"):
        list(DeepmdNpy().read(folder, ReadReport()))


# --------------------------------------------------------------- ASE database
def database(path: Path) -> Path:
    from ase.db import connect

    with connect(path) as db:
        for i, atoms in enumerate(images(3)):
            if i == 1:
                atoms.calc = None
                db.write(atoms, dft_energy=-7.5, phase="x", data={"dft_forces": forces(1)})
            else:
                db.write(atoms, config_type="bulk")
    return path


@pytest.mark.parametrize("name", ["a.db", "a.json"])
def test_ase_db(name: str, tmp_path: Path) -> None:
    path = database(tmp_path / name)
    report = ReadReport()
    found = read(path, report)
    assert [c.group for c in found] == ["bulk", "a", "bulk"]
    assert found[1].info == {"dft_energy": -7.5, "phase": "x"}
    assert np.isnan(found[1].energy)
    assert report.observed["no 'forces' in the row"] == 1
    found = read(path, energy_key="dft_energy", force_key="dft_forces")
    assert found[1].energy == -7.5
    np.testing.assert_array_equal(found[1].forces, forces(1))
    assert found[0].forces is None


def test_ase_db_empty_or_broken(tmp_path: Path) -> None:
    from ase.db import connect

    path = database(tmp_path / "a.db")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a.db"):
        read(path)
    connect(tmp_path / "b.db").write(images(1)[0])
    del connect(tmp_path / "b.db")[1]
    with pytest.raises(InputError, match=r"no rows"):
        read(tmp_path / "b.db")


# ------------------------------------------------------------ what else ASE reads
def test_ase_trajectory(tmp_path: Path) -> None:
    from ase.io import write

    path = tmp_path / "md.traj"
    write(path, images(3))
    found = read(path)
    assert recognise(path) == "ase"
    assert [c.group for c in found] == ["md"] * 3
    np.testing.assert_allclose(found[2].stress, VOIGT)
    np.testing.assert_allclose(found[2].cell, CELL)


def test_folder_that_only_ase_knows(tmp_path: Path) -> None:
    from ase.io import write

    for name in ("b.traj", "a.traj"):
        write(tmp_path / name, images(2))
    (tmp_path / "notes.txt").write_text("words")
    assert recognise(tmp_path) == "ase"
    assert [c.group for c in read(tmp_path)] == ["a", "a", "b", "b"]


def test_ase_missing_labels_are_told(tmp_path: Path) -> None:
    from ase.io import write

    path = tmp_path / "POSCAR"
    write(path, images(1)[0], format="vasp")
    report = ReadReport()
    found = read(path, report)
    assert len(found) == 1
    assert report.observed == {"no energy in the image": 1, "no forces in the image": 1}


def test_ase_forces_under_another_name(tmp_path: Path) -> None:
    from ase.io import write

    atoms = images(1)[0]
    atoms.calc = None
    atoms.new_array("dft_forces", forces(0))
    atoms.info["dft_energy"] = -3.0
    path = tmp_path / "a.traj"
    write(path, atoms)
    found = read(path, energy_key="dft_energy")  # a trajectory keeps neither: nothing to lose
    assert found[0].forces is None
    write(tmp_path / "a.xyz", atoms)
    with pytest.raises(InputError, match=r"--force-key dft_forces"):
        read(tmp_path / "a.xyz", format="ase")
    c = read(tmp_path / "a.xyz", format="ase", force_key="dft_forces", energy_key="dft_energy")[0]
    np.testing.assert_allclose(c.forces, forces(0), atol=1e-7)
    assert c.energy == -3.0


DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0 4
0 4
0 4
ITEM: ATOMS id {}x y z fx fy fz
1 {}0 0 0 1 0 0
2 {}2 2 2 -1 0 0
"""


def test_lammps_types_are_not_elements(tmp_path: Path) -> None:
    path = tmp_path / "a.lammpstrj"
    path.write_text(DUMP.format("type ", "1 ", "2 "))
    with pytest.raises(InputError, match=r"--type-map"):
        read(path)
    c = read(path, type_map=("Ta", "O"))[0]
    assert c.numbers.tolist() == [73, 8]
    np.testing.assert_array_equal(c.forces, [[1, 0, 0], [-1, 0, 0]])
    path.write_text(DUMP.format("element ", "Ta ", "O "))
    assert read(path)[0].numbers.tolist() == [73, 8]


def test_pickles_are_refused(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    for name in ("a.traj", "a.pckl", "a.bundle", "a.npy", "a.db"):
        path = tmp_path / name
        path.write_bytes(b"PickleTrajectory" * (name == "a.traj") + pickle.dumps(Bomb()))
        with pytest.raises(InputError):
            read(path)
        with pytest.raises(InputError):
            read(path, format="ase")
    assert not (tmp_path / "exploded").exists()


def test_an_output_that_ase_takes_for_another(tmp_path: Path) -> None:
    """The name of a file says one program, its text another, which is told."""
    path = tmp_path / "water.out"
    path.write_text(
        " CP2K| version string:                CP2K version 2024.1\n ENERGY| Total FORCE_EVAL energy [a.u.]: -17.2\n"
    )
    name, reader = reader_for(path, ReadOptions())
    with pytest.raises(InputError, match="is the output of CP2K"):
        list(reader.read(path, ReadReport()))
    path.write_text("nothing\n")
    with pytest.raises(InputError, match="takes it for espresso-out and finds no image"):
        list(reader.read(path, ReadReport()))
    assert name == "ase"


def test_what_a_library_says_of_a_damaged_file_is_cut_off(tmp_path: Path) -> None:
    """Of bytes that are no text Python repeats all, which may be the whole file."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"1": {"numbers": [13], "\xff": "' + b"a" * 9_000 + b'"}}')
    with pytest.raises(InputError, match="truncated or damaged") as caught:
        _, reader = reader_for(path, ReadOptions(), "ase-db")
        list(reader.read(path, ReadReport()))
    assert len(str(caught.value)) < 500
