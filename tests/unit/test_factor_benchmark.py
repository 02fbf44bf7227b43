"""The benchmarks of factors, of whole fits and of kept factors run."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from tests.scripts import ROOT, run
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


@pytest.mark.slow
def test_benchmark_of_whole_fits_goes_through(tmp_path: Path) -> None:
    printed = run(BENCHMARKS / "end_to_end_lstsq.py", tmp_path, "--rows", "12000", "--columns", "9",
                  "--methods", "mlipstore", "gelsd")  # fmt: skip
    lines = re.findall(r"^ *[0-9,]+ +(mlipstore|gelsd) .* (\S+)$", printed, re.MULTILINE)
    assert [method for method, _ in lines] == ["mlipstore", "gelsd"] * 2
    assert all(float(difference) < 1e-12 for _, difference in lines)
