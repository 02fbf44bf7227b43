"""The benchmark of the factor runs."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "factor.py"


def test_benchmark_prints_one_line_per_size(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main(["--columns", "20", "--repeats", "1", "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["columns"] == 20 and 0 < line["default"] < 3 and 0 < line["householder"] < 3 and line["refused"] == 0
