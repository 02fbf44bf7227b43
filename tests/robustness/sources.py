"""Small data sets in several formats, the same at every call, and the command line as a user runs it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

RUN = """
[descriptor]
type = "snap"
name = "rows"
elements = ["Ta", "W"]
rcutfac = 4.6
twojmax = 2

[baseline]
type = "lammps"
name = "zbl"
pair_style = "zbl 4.0 4.8"
pair_coeff = ["1 1 73 73", "1 2 73 74", "2 2 74 74"]

[fit]
name = "model"
[fit.default]
train = 0.8
test = 0.2
energy = 10.0
force = 1.0
stress = 0.1
"""


# ------------------------------------------------------------------------ data
def frames(n: int, seed: int = 0, most: int = 2) -> list[dict[str, Any]]:
    """Rattled bcc cells of 2 to ``2 most^3`` atoms with made-up, finite labels, in four groups."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        cells = 1 + int(rng.integers(most))
        a = 3.3 * (1 + 0.02 * rng.standard_normal())
        corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 3)
        sites = np.concatenate([corners, corners + 0.5]) * a
        count = len(sites)
        out.append(
            {
                "group": f"g{i * 4 // max(1, n)}",
                "symbols": ["Ta" if x < 0.6 else "W" for x in rng.random(count)],
                "positions": sites + 0.05 * rng.standard_normal((count, 3)),
                "cell": np.eye(3) * a * cells + 0.01 * rng.standard_normal((3, 3)),
                "energy": float(-11.0 * count + rng.standard_normal()),
                "forces": rng.standard_normal((count, 3)),
                "stress": 0.01 * rng.standard_normal(6),
            }
        )
    return out


def write_extxyz(path: Path, data: list[dict[str, Any]]) -> Path:
    """An extended XYZ file with energy, forces and stress in ASE's keys."""
    lines = []
    for f in data:
        xx, yy, zz, yz, xz, xy = f["stress"]
        cell = " ".join(repr(float(v)) for v in np.ravel(f["cell"]))
        stress = " ".join(repr(float(v)) for v in (xx, xy, xz, xy, yy, yz, xz, yz, zz))
        lines.append(str(len(f["symbols"])))
        lines.append(
            f'Lattice="{cell}" Properties=species:S:1:pos:R:3:forces:R:3 energy={f["energy"]!r} '
            f'stress="{stress}" config_type={f["group"]} pbc="T T T"'
        )
        for s, r, v in zip(f["symbols"], f["positions"], f["forces"], strict=True):
            lines.append(" ".join([s, *(repr(float(x)) for x in (*r, *v))]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_json_tree(folder: Path, data: list[dict[str, Any]]) -> Path:
    """A FitSNAP JSON tree: one folder per group, one file per configuration."""
    for i, f in enumerate(data):
        entry = {
            "AtomTypes": f["symbols"],
            "Positions": np.asarray(f["positions"]).tolist(),
            "Lattice": np.asarray(f["cell"]).tolist(),
            "Energy": f["energy"],
            "Forces": np.asarray(f["forces"]).tolist(),
            "Stress": (
                1e6 * np.array([[f["stress"][k] for k in row] for row in ((0, 5, 4), (5, 1, 3), (4, 3, 2))])
            ).tolist(),
            "NumAtoms": len(f["symbols"]),
            "EnergyStyle": "electronvolt",
            "StressStyle": "bar",
            "PositionsStyle": "angstrom",
            "ForcesStyle": "electronvoltperangstrom",
            "LatticeStyle": "angstrom",
            "AtomTypeStyle": "chemicalsymbol",
        }
        place = folder / f["group"] / f"{i:05d}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("# made by a test\n" + json.dumps({"Dataset": {"Data": [entry]}}))
    return folder


# ---------------------------------------------------------------- command line
@dataclass
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


def run(*words: str | Path) -> Outcome:
    """The command line in this process: exit code, stdout and stderr."""
    from mlipstore_cli.app import main

    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        mock.patch.object(sys, "argv", ["mlipstore", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    return Outcome(0 if code is None else int(code), out.getvalue(), err.getvalue())


def done(*words: str | Path) -> Outcome:
    """:func:`run` of a command that must succeed."""
    outcome = run(*words)
    assert outcome.code == 0, f"{' '.join(map(str, words))}\n{outcome.out}\n{outcome.err}"
    return outcome


def start(*words: str | Path, module: str = "mlipstore_cli", cwd: Path | None = None) -> subprocess.Popen[str]:
    """The command line in a process (and a session) of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, words)],
        env=environment,
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str], seconds: float = 120.0) -> Outcome:
    """Wait for a command."""
    out, err = process.communicate(timeout=seconds)
    return Outcome(process.returncode, out, err)
