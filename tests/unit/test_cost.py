"""The model of the time of a fit: its arithmetic, what it says of large problems, and that it follows the reduction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlipstore_cli.app import app
from typer.testing import CliRunner

from mlipstore.cost import Rates, even_leaves, first_rows, fit_seconds, packed_bytes, reduction_seconds
from mlipstore.fit import prepare
from mlipstore.forecast import forecast, forecast_fit
from mlipstore.runs.runfile import Fit
from mlipstore.store import Repository
from tests import snap_store


@pytest.mark.parametrize("leaves", [1, 2, 5, 16, 100])
def test_reduction_on_one_and_on_many_workers(leaves: int) -> None:
    alone = reduction_seconds([2.0] * leaves, 0.5, 9.0, 1)
    assert alone == pytest.approx(2.0 * leaves + 0.5 * (leaves - 1))
    for workers in (2, 3, 7, 1024):
        together = reduction_seconds([2.0] * leaves, 0.5, 0.1, workers)
        assert alone / workers <= together <= alone + 0.1 * leaves


def test_enough_workers_leave_the_depth_of_the_tree() -> None:
    assert reduction_seconds([2.0] * 64, 0.5, 0.1, 64) == pytest.approx(2.0 + 6 * 0.6)


def test_a_long_leaf_is_waited_for() -> None:
    assert reduction_seconds([1.0, 1.0, 10.0, 1.0], 0.0, 0.0, 2) == pytest.approx(11.0)


def test_few_rows_per_column_cost_what_lapack_does() -> None:
    """2 r^2 (n - r/3) operations for r <= n rows, 2 n^2 for each one beyond, at shares of the rate of a product."""
    n, rates = 6001, Rates(gemm=5e10)
    assert first_rows(4000, n) == 4000 and first_rows(60_000, n) == 5 * 1024 and first_rows(5000, 700) == 0
    assert rates.factor(n, n) == pytest.approx(4 / 3 * n**3 / (0.7 * 5e10), rel=0.1)
    assert rates.factor(2.5 * n, n) - rates.factor(2 * n, n) == pytest.approx(n**3 / (0.75 * 5e10), rel=0.1)
    each = [rates.factor(k * n, n) for k in (0.5, 1, 2, 3, 4, 8)]
    assert each == sorted(each)


def test_time_grows_as_the_operations_do() -> None:
    rates = Rates(gemm=5e10)
    assert rates.factor(1e6, 2001) == pytest.approx(2 * 1e6 * 2001**2 / 5e10, rel=0.2)
    assert rates.factor(2e6, 1001) / rates.factor(1e6, 1001) == pytest.approx(2.0, rel=0.02)
    assert fit_seconds(even_leaves(100_000, 8_192), 57, 4).total < fit_seconds(even_leaves(100_000, 8_192), 57, 1).total


@pytest.mark.parametrize(("rows", "leaves"), [(396_178, 3), (2_482_085, 16)])
def test_published_problems(rows: int, leaves: int) -> None:
    """Klawohn, Kermode, Bartok, arXiv:2207.03803: what docs/scaling.md derives."""
    planned = forecast(rows, 20_300, 16, Rates(gemm=5e10), "qr")
    assert planned.seconds.leaves == leaves and 13e9 < planned.memory.total < 15e9
    assert planned.traffic == (leaves - 1) * packed_bytes(20_301) and packed_bytes(20_301) == pytest.approx(
        1.65e9, rel=0.01
    )
    one = forecast(rows, 20_300, 1, Rates(gemm=5e10), "qr")
    waiting = (leaves - 1).bit_length() * packed_bytes(20_301)
    assert one.memory.total - planned.memory.total == pytest.approx(waiting, rel=1e-6)
    alone = one.seconds.total
    assert 1.0 < alone / (2.0 * rows * 20_300**2 / 5e10) < 1.4


def test_plans_on_the_command_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["plan", "396178", "20300", "-j", "8", "--gemm", "50", "--json"])
    facts = json.loads(done.stdout)
    assert done.exit_code == 0 and facts["workers"] == 8 and facts["seconds"] > 0
    shown = CliRunner().invoke(app, ["plan", "396178", "20300", "-j", "8", "--gemm", "50"]).stdout
    assert "64.3 GB" in shown and "only 3 of them" in shown
    store = snap_store.make(tmp_path / "a.mlip", segments=2, configurations=4)
    plan = forecast_fit(prepare(Repository.open(store), Fit()), 2, gemm=5e10, memory=8e9)
    assert plan.seconds.leaves == 1 and plan.rates.rows > 1e3 and plan.to_json()["feature"] == plan.plan.feature  # type: ignore[union-attr]
