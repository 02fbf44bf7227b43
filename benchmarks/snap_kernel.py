"""SNAP rows and forces: the compiled kernel beside LAMMPS, one core, process CPU time.

    python benchmarks/snap_kernel.py             # about two minutes
    python benchmarks/snap_kernel.py --quick     # seconds
    python benchmarks/snap_kernel.py --json      # one JSON object per line

Three tables. *Rows*: microseconds per atom for the energy, force and stress rows of 54-atom configurations, everything
counted on both sides (neighbour lists, set-up of each configuration, collection of the result; LAMMPS keeps one
instance), and "alone": the ``compute`` by itself, set-up and neighbour lists left out, measured on the running
instance. *Data set*: the 363 configurations of the FitSNAP tantalum example. *Forces*: one evaluation of 1,024 atoms
against ``pair_style snap``, neighbour lists on our side only. Ratios are what counts: on a shared machine the
microseconds change from run to run, both sides together.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from mlipstore import kernels  # noqa: E402
from mlipstore.configuration import Batch, Configuration  # noqa: E402
from mlipstore.descriptors.snap import Snap  # noqa: E402
from mlipstore.kernels.snap import snap_evaluate, snap_rows  # noqa: E402
from mlipstore.lammps import snap as snap_lammps  # noqa: E402
from mlipstore.lammps.engine import Setup, for_each  # noqa: E402

TA, WBE = ("Ta",), ("W", "Be")
NUMBERS = {"Ta": 73, "W": 74, "Be": 4, "P": 15}
CASES: list[tuple[str, Snap]] = [
    ("2J=6", Snap(TA, 4.67637, (6,))),
    ("2J=8", Snap(TA, 4.67637, (8,))),
    ("2J=10", Snap(TA, 4.67637, (10,))),
    ("2J=6, cutoff 6.2", Snap(TA, 6.2, (6,))),
    ("2J=8, cutoff 6.2", Snap(TA, 6.2, (8,))),
    ("2J=8, 2 elements", Snap(WBE, 4.67637, (8,), wj=(1.0, 0.9))),
    ("2J=6, chem, 2 elements", Snap(WBE, 4.67637, (6,), chemflag=True)),
    ("2J=8, chem, 2 elements", Snap(WBE, 4.67637, (8,), chemflag=True)),
    ("2J=6, chem, 3 elements", Snap((*WBE, "P"), 4.67637, (6,), chemflag=True)),
    ("2J=6, quadratic", Snap(TA, 4.67637, (6,), quadraticflag=True)),
    ("2J=8, quadratic", Snap(TA, 4.67637, (8,), quadraticflag=True)),
]


def bcc(cells: int, elements: Sequence[str], seed: int = 0, a: float = 3.316, rattle: float = 0.1) -> Configuration:
    """A bcc crystal of ``2 cells^3`` atoms, displaced at random, with elements at random."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = a * np.concatenate([grid, grid + 0.5]) + rng.normal(0, rattle, (2 * cells**3, 3))
    numbers = rng.choice([NUMBERS[e] for e in elements], len(positions))
    return Configuration(numbers, positions, cells * a * np.eye(3), np.ones(3, bool))


def best(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Least CPU time of each function, in turns, so that a busy moment of the machine hits all of them."""
    times = dict.fromkeys(functions, float("inf"))
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            function()
            times[name] = min(times[name], time.process_time() - start)
    return times


def compute_alone(snap: Snap, batch: Batch, repeats: int) -> float:
    """CPU time of one evaluation of LAMMPS ``compute snap``: a step with it minus a step without it."""
    times: dict[str, float] = {}

    def measure(session: Any, frame: object, i: int) -> None:
        def step() -> None:
            session.command("run 2 pre no post no")

        session.command("thermo 1")
        session.command("run 0 post no")
        without = best({"": step}, repeats)[""]
        session.compute("snap", snap_lammps.compute_line(snap), also=("snap_press",))
        session.command("thermo_style custom step pe c_snap[1][1]")
        session.command("run 0 post no")
        times[""] = (best({"": step}, repeats)[""] - without) / 3  # three evaluations in two steps
        session.command("thermo_style custom step pe")

    reach = snap.cutoff * (1 + 1e-9)
    for_each(batch.slice(0, 1), Setup(snap.elements, (f"pair_style zero {reach!r} full", "pair_coeff * *")), measure)
    return times[""]


def rows_table(repeats: int, quick: bool) -> list[dict[str, Any]]:
    lines = []
    for name, snap in CASES[:1] if quick else CASES:
        one = Batch.from_configurations([bcc(3, snap.elements)])
        many = Batch.from_configurations([bcc(3, snap.elements, seed) for seed in range(1 if quick else 6)])
        snap_lammps.rows(snap, one)
        functions: dict[str, Callable[[], object]] = {
            isa: lambda isa=isa, snap=snap, many=many: snap_rows(snap, many, isa) for isa in kernels.isas()
        }
        functions["lammps"] = lambda snap=snap, one=one: snap_lammps.rows(snap, one)
        t = best(functions, repeats)
        per_atom = {k: 1e6 * v / len((one if k == "lammps" else many).number) for k, v in t.items()}
        line: dict[str, Any] = {"table": "rows", "case": name, "columns": len(snap.columns()), "us_per_atom": per_atom}
        line["lammps_alone"] = 1e6 * compute_alone(snap, one, repeats) / len(one.number)
        widest = kernels.isas()[-1]
        line["rows_per_second"] = {k: 1e6 * (3 + 7 / 54) / per_atom[k] for k in (widest, "lammps")}
        line["ratio"] = {isa: per_atom["lammps"] / per_atom[isa] for isa in kernels.isas()}
        lines.append(line)
    return lines


def data_set_table(repeats: int, data: Path) -> list[dict[str, Any]]:
    from mlipstore.readers.fitsnap_json import plugin
    from mlipstore.reading import ReadReport

    reader, report = plugin(), ReadReport()
    configurations = [c for path in reader.files(data) for c in reader.read(path, report, data)]
    batch = Batch.from_configurations(configurations)
    lines = []
    for twojmax in (6, 8):
        snap = Snap(TA, 4.67637, (twojmax,))
        functions: dict[str, Callable[[], object]] = {
            isa: lambda isa=isa, snap=snap: snap_rows(snap, batch, isa) for isa in kernels.isas()
        }
        functions["lammps"] = lambda snap=snap: snap_lammps.rows(snap, batch)
        t = best(functions, repeats)
        case = f"{len(batch)} configurations, {len(batch.number):,} atoms, 2J={twojmax}"
        ratio = {isa: t["lammps"] / t[isa] for isa in kernels.isas()}
        lines.append({"table": "data set", "case": case, "seconds": t, "ratio": ratio})
    return lines


def forces_table(repeats: int, quick: bool) -> list[dict[str, Any]]:
    lines = []
    configuration = bcc(2 if quick else 8, ("W",), a=3.1803, rattle=0.05)
    batch = Batch.from_configurations([configuration])
    for twojmax in (6,) if quick else (6, 8):
        snap = Snap(("W",), 4.73442, (twojmax,))
        coefficients = 0.01 * np.random.default_rng(0).normal(size=len(snap.columns()))
        functions: dict[str, Callable[[], object]] = {
            isa: lambda isa=isa, snap=snap, c=coefficients: snap_evaluate(snap, c, batch, isa_name=isa)
            for isa in kernels.isas()
        }
        with tempfile.TemporaryDirectory() as folder:
            setup = Setup(("W",), pair_style(snap, coefficients, Path(folder)), skin=0.3)
            t: dict[str, float] = {}

            def measure(session: Any, frame: object, i: int, functions: Any = functions, t: Any = t) -> None:
                session.command("run 0 post no")
                functions["lammps"] = lambda: session.command("run 4 pre no post no")
                t.update(best(functions, repeats))

            for_each(batch, setup, measure)
        t["lammps"] /= 4
        per_atom = {k: 1e6 * v / len(configuration) for k, v in t.items()}
        ratio = {isa: t["lammps"] / t[isa] for isa in kernels.isas()}
        case = f"{len(configuration):,} atoms, 2J={twojmax}"
        lines.append({"table": "forces", "case": case, "us_per_atom": per_atom, "ratio": ratio})
    return lines


def pair_style(snap: Snap, coefficients: np.ndarray, folder: Path) -> tuple[str, ...]:
    """Commands of ``pair_style snap`` with these coefficients; writes its two files."""
    numbers = "\n".join(repr(float(c)) for c in coefficients)
    (folder / "W.snapcoeff").write_text(f"1 {len(coefficients) + 1}\nW 0.5 1.0\n0.0\n{numbers}\n")
    (folder / "W.snapparam").write_text(f"rcutfac {snap.rcutfac!r}\ntwojmax {snap.twojmax[0]}\nbzeroflag 0\n")
    return "pair_style snap", f"pair_coeff * * {folder / 'W.snapcoeff'} {folder / 'W.snapparam'} W"


def show(lines: list[dict[str, Any]]) -> None:
    """Tables for people."""
    isas = kernels.isas()
    heads = {
        "rows": "rows, us/atom (times faster than LAMMPS, all counted)",
        "data set": "rows of a data set, s (times faster)",
        "forces": "energy, forces and stress, us/atom (times faster than pair_style snap)",
    }
    last = ""
    for line in lines:
        if line["table"] != last:
            last = line["table"]
            extra = f"{'alone':>9}" if last == "rows" else ""
            columns = "".join(f"{isa:>18}" for isa in isas)
            print(f"\n{heads[last]}\n{'':44}{'LAMMPS':>9}{extra}{columns}")
        values = line.get("us_per_atom") or line["seconds"]
        digits = 3 if "seconds" in line else 1
        extra = f"{line['lammps_alone']:9.1f}" if last == "rows" else ""
        ours = "".join(f"{values[isa]:9.{digits}f} ({line['ratio'][isa]:5.1f})" + "  " for isa in isas)
        print(f"{line['case']:44}{values['lammps']:9.{digits}f}{extra}  {ours}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small case of each table")
    parser.add_argument("--repeats", type=int, default=5, help="take the least of this many (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    default = ROOT.parent / "shared" / "data" / "ta_fitsnap" / "JSON"
    parser.add_argument("--data", type=Path, default=default, help="folder of the FitSNAP tantalum example")
    options = parser.parse_args(arguments)
    repeats = 2 if options.quick else options.repeats
    lines = rows_table(repeats, options.quick)
    if not options.quick and options.data.is_dir():
        lines += data_set_table(repeats, options.data)
    lines += forces_table(repeats, options.quick)
    if options.json:
        print("\n".join(json.dumps(line) for line in lines))
    else:
        show(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
