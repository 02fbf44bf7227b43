"""The benchmarks of a GPU and of scaling run, on NumPy and small."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_gpu_benchmark_on_numpy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--device numpy --columns 30 --whole --rows 3000 --whole-columns 40"
    monkeypatch.setattr(sys, "argv", ["gpu_fit.py", *words.split()])
    assert runpy.run_path(str(BENCHMARKS / "gpu_fit.py"))["main"]() == 0
    assert "3,000 x 40" in capsys.readouterr().out


def test_gpu_snap_benchmark_on_numpy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_snap.py", "--device", "numpy", "--atoms", "54", "--twojmax", "4"])
    assert runpy.run_path(str(BENCHMARKS / "gpu_snap.py"))["main"]() == 0
    assert "2J = 4" in capsys.readouterr().out


def test_scaling_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["scaling.py", "--gemm", "50"])
    runpy.run_path(str(BENCHMARKS / "scaling.py"))["main"]()
    assert "16 leaves" in capsys.readouterr().out
