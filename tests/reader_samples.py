"""Small files of every format, written on the spot: two elements, a skewed cell, three configurations where it can."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlipstore.reading import ReadOptions

CELL = np.array([[4.1, 0.0, 0.2], [0.3, 4.2, 0.0], [0.0, 0.1, 5.3]])
SYMBOLS = ["Si", "O", "O"]
STRESS = np.array([[0.011, 0.002, -0.003], [0.002, -0.012, 0.004], [-0.003, 0.004, 0.013]])  # eV/Å^3, tension
VOIGT = np.array([0.011, -0.012, 0.013, 0.004, -0.003, 0.002])


def positions(i: int) -> np.ndarray:
    return np.array([[0.1, 0.2, 0.3], [2.0, 2.1, 2.2], [1.0, 3.0, 0.5]]) + 0.01 * i


def forces(i: int) -> np.ndarray:
    return np.array([[0.1, -0.2, 0.3], [-0.2, 0.1, 0.05], [0.1, 0.1, -0.35]]) * (1 + i)


def energy(i: int) -> float:
    return -10.5 - 0.25 * i


def _row(values: Any, digits: int = 8) -> str:
    return " ".join(f"{v:.{digits}f}" for v in np.ravel(values))


def fitsnap_text(i: int = 0, **changes: Any) -> str:
    data = {
        "NumAtoms": 3,
        "Lattice": CELL.tolist(),
        "Energy": energy(i),
        "Stress": (-STRESS * 1.6021765e6).tolist(),
        "AtomTypes": SYMBOLS,
        "Positions": positions(i).tolist(),
        "Forces": forces(i).tolist(),
    }
    dataset = {
        "Label": "sample",
        "LatticeStyle": "angstrom",
        "EnergyStyle": "electronvolt",
        "StressStyle": "bar",
        "AtomTypeStyle": "chemicalsymbol",
        "PositionsStyle": "angstrom",
        "ForcesStyle": "electronvoltperangstrom",
    }
    for key, value in changes.items():
        place = dataset if key.endswith("Style") else data
        place.pop(key, None)
        if value is not None:
            place[key] = value
    return "# a comment\n" + json.dumps({"Dataset": {**dataset, "Data": [data]}})


def extxyz_text(n: int = 3, comment: str = "", columns: str = "species:S:1:pos:R:3:forces:R:3") -> str:
    out = ""
    for i in range(n):
        keys = comment or f'energy={energy(i)} stress="{_row(STRESS)}" config_type=bulk pbc="T T T"'
        out += f'3\nLattice="{_row(CELL)}" Properties={columns} {keys}\n'
        for s, p, f in zip(SYMBOLS, positions(i), forces(i), strict=True):
            out += f"{s} {_row(p)} {_row(f)}\n"
    return out


def pymatgen_item(i: int = 0, **outputs: Any) -> dict[str, Any]:
    kbar = -VOIGT * 1602.176634
    sites = [
        {"species": [{"element": s, "occu": 1}], "abc": [0.0, 0.0, 0.0], "xyz": p.tolist(), "label": s}
        for s, p in zip(SYMBOLS, positions(i), strict=True)
    ]
    out = {"energy": energy(i), "forces": forces(i).tolist(), "virial_stress": kbar[[0, 1, 2, 5, 3, 4]].tolist()}
    return {
        "structure": {"@module": "pymatgen.core.structure", "lattice": {"matrix": CELL.tolist()}, "sites": sites},
        "group": "Elastic" if i else "AIMD",
        "description": f"number {i}",
        "tag": "train",
        "num_atoms": 3,
        "outputs": {**out, **outputs},
    }


def n2p2_text(n: int = 3) -> str:
    out = ""
    for i in range(n):
        out += f"begin\ncomment number {i}\n"
        out += "".join(f"lattice {_row(v)}\n" for v in CELL)
        for s, p, f in zip(SYMBOLS, positions(i), forces(i), strict=True):
            out += f"atom {_row(p)} {s} 0.0 0.0 {_row(f)}\n"
        out += f"energy {energy(i)}\ncharge 0.0\nend\n"
    return out


def mtp_text(n: int = 3) -> str:
    plus = VOIGT * abs(np.linalg.det(CELL))
    out = ""
    for i in range(n):
        out += "BEGIN_CFG\n Size\n    3\n Supercell\n" + "".join(f"    {_row(v)}\n" for v in CELL)
        out += " AtomData:  id type       cartes_x      cartes_y      cartes_z           fx          fy          fz\n"
        for k in (2, 0, 1):
            out += f"  {k + 1} {0 if k == 0 else 1} {_row(positions(i)[k])} {_row(forces(i)[k])}\n"
        out += f" Energy\n    {energy(i)}\n PlusStress:  xx  yy  zz  yz  xz  xy\n    {_row(plus)}\n"
        out += " Feature   EFS_by       VASP\nEND_CFG\n\n"
    return out


def ml_ab_text(n: int = 3, told: int | None = None) -> str:
    stars, rule, line = "*" * 50 + "\n", "=" * 50 + "\n", "-" * 50 + "\n"
    kbar = -VOIGT * 1602.176634

    def section(title: str, rows: str, end: str = rule) -> str:
        return f"     {title}\n{line}{rows}{end}"

    out = f" 1.0 Version\n{stars}" + section("The number of configurations", f"  {told or n}\n", stars)
    out += section("The maximum number of atom type", "  2\n", stars)
    out += section("Reference atomic energy (eV)", "  0.0 0.0\n", stars)
    out += section("Basis set for Si", "  1 1\n", stars)
    for i in range(n):
        out += f"     Configuration num.      {i + 1}\n{rule}"
        out += section("System name", "     sample run\n") + section("The number of atom types", "  2\n")
        out += section("The number of atoms", "  3\n", stars)
        out += section("Atom types and atom numbers", "   Si   1\n   O    2\n") + section("CTIFOR", " 2.0E-002\n")
        out += section("Primitive lattice vectors (ang.)", "".join(f" {_row(v)}\n" for v in CELL))
        out += section("Atomic positions (ang.)", "".join(f" {_row(v)}\n" for v in positions(i)))
        out += section("Total energy (eV)", f" {energy(i)}\n")
        out += section("Forces (eV ang.^-1)", "".join(f" {_row(v)}\n" for v in forces(i)))
        out += f"     Stress (kbar)\n{line}     XX YY ZZ\n{line} {_row(kbar[:3])}\n"
        out += f"{line}     XY YZ ZX\n{line} {_row(kbar[[5, 3, 4]])}\n{stars}"
    return out


def outcar_text(n: int = 3, footer: bool = True, kbar: str = "") -> str:
    numbers = -VOIGT[[0, 1, 2, 5, 3, 4]] * 1602.176634
    kbar = kbar or "".join(f"{v:12.5f}" for v in numbers)
    out = " vasp.6.3.2 27Jun22 complex\n executed on             Linux date 2024.01.01  00:00:00\n"
    potcar = [" POTCAR:    PAW_PBE Si 05Jan2001\n", " POTCAR:    PAW_PBE O_s 07Sep2000\n"]
    out += "".join(potcar)
    out += potcar[0] + "   VRHFIN =Si: s2p2\n   TITEL  = PAW_PBE Si 05Jan2001\n"
    out += potcar[1] + "   VRHFIN =O: s2p4\n   TITEL  = PAW_PBE O_s 07Sep2000\n"
    out += "   ions per type =               1   2\n   NELM   =     60;   NELMIN=  2; NELMDL= -5     # of ELM steps\n"
    out += "   ISPIN  =      1    spin polarized calculation?\n"
    for i in range(n):
        out += f"--------------------------------------- Iteration {i + 1:6d}(   1)  ------\n"
        out += f"--------------------------------------- Iteration {i + 1:6d}(   2)  ------\n"
        out += "------------------------ aborting loop because EDIFF is reached ------\n"
        out += f"  FORCE on cell =-STRESS in cart. coord.  units (eV):\n  in kB  {kbar}\n"
        out += "      direct lattice vectors                 reciprocal lattice vectors\n"
        out += "".join("  " + "".join(f"{x:13.9f}" for x in v) + "  0.1 0.0 0.0\n" for v in CELL)
        out += " POSITION                                       TOTAL-FORCE (eV/Angst)\n " + "-" * 60 + "\n"
        for p, f in zip(positions(i), forces(i), strict=True):
            out += "".join(f"{x:13.5f}" for x in p) + "   " + "".join(f"{x:14.6f}" for x in f) + "\n"
        out += " " + "-" * 60 + "\n    total drift:                               0.0 0.0 0.0\n"
        out += "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  ---------------------------------------\n"
        out += f"  free  energy   TOTEN  =  {energy(i) - 0.01:16.8f} eV\n\n"
        out += f"  energy  without entropy= {energy(i) + 0.01:16.8f}  energy(sigma->0) = {energy(i):16.8f}\n\n"
    return out + (" General timing and accounting informations for this job:\n" if footer else "")


def vasprun_text(n: int = 3) -> str:
    def varray(name: str, rows: np.ndarray) -> str:
        return f'<varray name="{name}">' + "".join(f"<v> {_row(r)} </v>" for r in rows) + "</varray>\n"

    def structure(i: int, name: str = "") -> str:
        fractional = positions(i) @ np.linalg.inv(CELL)
        named = f' name="{name}"' if name else ""
        basis = varray("basis", CELL)
        return f"<structure{named}><crystal>{basis}</crystal>{varray('positions', fractional)}</structure>\n"

    out = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n<kpoints>'
    out += '<varray name="kpointlist"><v> 0.0 0.0 0.0 </v></varray><varray name="weights"><v> 1.0 </v></varray>'
    out += '</kpoints>\n<parameters><i type="int" name="NELM">60</i>'
    out += '</parameters>\n<atominfo><atoms>3</atoms><types>2</types><array name="atoms"><set>'
    out += "".join(f"<rc><c>{s} </c><c> 1</c></rc>" for s in SYMBOLS) + "</set></array></atominfo>\n"
    out += structure(0, "initialpos")
    for i in range(n):
        e = f'<i name="e_fr_energy">{energy(i) - 0.01:.8f}</i><i name="e_wo_entrp">0</i>'
        e += f'<i name="e_0_energy">{energy(i):.8f}</i>'
        out += f"<calculation>\n<scstep><energy>{e}</energy></scstep>\n{structure(i)}{varray('forces', forces(i))}"
        out += varray("stress", -STRESS * 1602.176634) + f"<energy>{e}</energy>\n</calculation>\n"
    return out + structure(n - 1, "finalpos") + "</modeling>\n"


def images(n: int = 3) -> list[Any]:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    out = []
    for i in range(n):
        atoms = Atoms(SYMBOLS, positions(i), cell=CELL, pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=energy(i), forces=forces(i), stress=VOIGT)
        out.append(atoms)
    return out


def write_deepmd(folder: Path, n: int = 3) -> Path:
    (folder / "set.000").mkdir(parents=True)
    (folder / "type.raw").write_text("0\n1\n1\n")
    (folder / "type_map.raw").write_text("Si\nO\n")
    volume = abs(np.linalg.det(CELL))
    arrays = {
        "coord": np.array([positions(i).ravel() for i in range(n)]),
        "box": np.array([CELL.ravel()] * n),
        "energy": np.array([energy(i) for i in range(n)]),
        "force": np.array([forces(i).ravel() for i in range(n)]),
        "virial": np.array([(-STRESS * volume).ravel()] * n),
    }
    for name, array in arrays.items():
        np.save(folder / "set.000" / f"{name}.npy", array)
    return folder


def _write_db(path: Path) -> Path:
    from ase.db import connect

    with connect(path) as database:
        for atoms in images():
            database.write(atoms, config_type="bulk")
    return path


def _write_traj(path: Path) -> Path:
    from ase.io import write

    write(path, images())
    return path


def _text(name: str, make: Callable[[], str]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make())
        return path

    return write


@dataclass(frozen=True)
class Sample:
    """How to write a file of a format, with what to read it, and what comes out.

    :param stress: the stress comes out; ``precision``: of its numbers in the file, eV/Å^3
    :param streams: a broken last configuration does not hinder the first
    """

    write: Callable[[Path], Path]
    count: int = 3
    options: ReadOptions = field(default_factory=ReadOptions)
    stress: bool = True
    precision: float = 1e-7
    streams: bool = True


SAMPLES: dict[str, list[Sample]] = {
    "fitsnap-json": [Sample(_text("bulk/one.json", fitsnap_text), 1)],
    "extxyz": [Sample(_text("train.xyz", extxyz_text))],
    "pymatgen-json": [
        Sample(
            _text("training.json", lambda: json.dumps([pymatgen_item(i) for i in range(3)])),
            options=ReadOptions(stress_order="xx yy zz xy yz xz"),
        )
    ],
    "n2p2-data": [
        Sample(_text("input.data", n2p2_text), options=ReadOptions(length_unit="Å", energy_unit="eV"), stress=False)
    ],
    "mtp-cfg": [Sample(_text("train.cfg", mtp_text), options=ReadOptions(type_map=("Si", "O"), stress_sign="tension"))],
    "ml-ab": [Sample(_text("ML_AB", ml_ab_text))],
    "vasp-outcar": [Sample(_text("run/OUTCAR", outcar_text), precision=1e-5)],
    "vasp-xml": [Sample(_text("vasprun.xml", vasprun_text))],
    "deepmd-npy": [Sample(lambda folder: write_deepmd(folder / "system"), streams=False)],
    "ase-db": [
        Sample(lambda folder: _write_db(folder / "a.db"), streams=False),
        Sample(lambda folder: _write_db(folder / "a.json"), streams=False),
    ],
    "ase": [Sample(lambda folder: _write_traj(folder / "a.traj"), streams=False)],
}
