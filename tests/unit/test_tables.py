"""Tables: nothing is cut, whatever the width; numbers have sensible digits; order of models."""

from __future__ import annotations

import os
from itertools import product

import numpy as np
import pytest
from mlipstore_cli.error_tables import show_errors, show_errors_long
from mlipstore_cli.tables import alike, cells, lines_of, next_step

from mlipstore.metrics import Entry

GROUPS = ["Displaced_FCC", "a group whose name is a whole sentence about its origin at 300 K", "液体", "*"]


def entries(splits: tuple[str, ...] = ("train", "test"), mae: bool = True) -> list[Entry]:
    rng = np.random.default_rng(1)
    scale = {"energy": 0.01, "force": 0.3, "stress": 0.01}
    out = []
    for group, split, kind, weighted in product(GROUPS, splits, scale, (False, True)):
        a, b, c = sorted(scale[kind] * rng.uniform(0.1, 2.0, 3))
        out.append(Entry(group, split, kind, weighted, 12345, a if mae else float("nan"), b, c, 0.9))
    return out


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("splits", [("train",), ("train", "test")])
def test_error_tables_fit_and_nothing_is_cut(
    width: int, splits: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    show_errors(entries(splits), "standard")
    text = capsys.readouterr().out
    if width >= 80:
        assert max(map(cells, text.splitlines())) <= width
    assert "…" not in text and "..." not in text
    tables = sum("all" in line.split() for line in text.splitlines())
    assert tables in (1, 3)
    if width == 200 or (width <= 100 and len(splits) == 2):
        assert tables == (1 if width == 200 else 3)
    words = text.split()
    for group in GROUPS[:-1]:
        assert all(words.count(w) >= tables for w in group.split()), group
    for unit in ("meV/atom", "meV/Å", "GPa"):
        assert unit in words
    assert words.count("MAE") == words.count("RMSE") == 3 * len(splits)


def test_a_file_is_laid_out_for_100_columns_and_names_do_not_fold(capsys: pytest.CaptureFixture[str]) -> None:
    os.environ.pop("COLUMNS", None)
    show_errors(entries(), "standard")
    lines = capsys.readouterr().out.splitlines()
    assert sum(GROUPS[1] in line for line in lines) == 3
    assert sum("all" in line.split() for line in lines) == 3


def test_a_fit_from_factors_has_no_column_of_mean_absolute_errors(capsys: pytest.CaptureFixture[str]) -> None:
    show_errors(entries(mae=False), "fitsnap")
    assert "MAE" not in capsys.readouterr().out
    show_errors_long(entries(), "fitsnap")
    text = capsys.readouterr().out
    assert text.count("R²") == 3 and "eV/atom MAE" not in text and "weighted" in text


def test_headers_of_several_columns_stand_above_all_of_them() -> None:
    columns: list[str | tuple[str, ...]] = ["group", ("energy meV/atom", "train"), ("energy meV/atom", "test")]
    assert lines_of(columns, [["a", "1", "2"], ["all", "3", "4"]], total=True) == [
        "         energy meV/atom",
        "  group  train      test",
        "  ──────────────────────",
        "  a          1         2",
        "  ──────────────────────",
        "  all        3         4",
    ]


def test_digits() -> None:
    assert alike([[12.3456, 1.23456, 0.0123, 123456.0, 0.0, float("nan"), None]]) == [
        ["12.35", "1.23", "0.012", "123456.00", "0", "-", ""]
    ]
    assert alike([[0.001234, 0.00056]]) == [["0.00123", "0.00056"]]
    assert alike([[], []]) == [[], []] and alike([[1e12]]) == [["1.000e+12"]]


def test_next_step_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    next_step("plot", "my store.mlip", "it's")
    assert capsys.readouterr().out == "next: mlipstore plot 'my store.mlip' 'it'\"'\"'s'\n"
