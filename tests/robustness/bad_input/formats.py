"""Files of all other formats that are wrong."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np

from ..sources import frames, write_json_tree
from .cases import Place, Words, case


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
