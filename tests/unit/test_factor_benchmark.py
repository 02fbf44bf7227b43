"""The benchmarks of factors and of kept factors run."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from tests.scripts import ROOT
from tests.small_store import plugins, small_store

BENCHMARKS = ROOT / "benchmarks"


def test_benchmark_prints_one_line_per_size(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(BENCHMARKS / "factor.py"))["main"]
    assert main(["--columns", "20", "--repeats", "1", "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["columns"] == 20 and 0 < line["default"] < 3 and 0 < line["householder"] < 3 and line["refused"] == 0


def test_benchmark_of_kept_factors_goes_through(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main = runpy.run_path(str(BENCHMARKS / "kept_factors.py"))["main"]
    config = tmp_path / "run.toml"
    (tmp_path / "data").mkdir()
    config.write_text(
        '[descriptor]\ntype = "waves"\nelements = ["Ta", "W"]\n[baseline]\ntype = "slope"\n'
        "[fit.default]\ntrain = 0.8\ntest = 0.2\n"
    )
    with plugins():
        store = small_store(tmp_path / "data", 60)
        options = ["--trials", "10", "--repeats", "1", "--share", "0.2", "--folder", str(tmp_path)]
        main([str(store.path), str(config), *options])
    printed = capsys.readouterr().out
    assert "3 groups" in printed and "points on the front" in printed
    differences = re.findall(r"coefficients \D*([0-9.e+-]+)", printed)
    assert len(differences) == 2 and all(float(d) < 1e-9 for d in differences)
