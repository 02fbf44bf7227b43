"""Ta, linear and quadratic, from the unchanged FitSNAP inputs. Figures and their recipe: data/ta_fitsnap/README.md."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mlipstore.errors import MlipstoreError
from mlipstore.pipeline import RunResult
from mlipstore.replay import replay
from mlipstore.store import Repository
from tests.reference.fitsnap_tables import compare, move_over, overall
from tests.shared_data import DATA, needs_data

pytestmark = needs_data


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    assert DATA is not None
    folder = tmp_path_factory.mktemp("linear")
    source = folder / "Ta_linear.in"
    source.write_bytes((DATA / "ta_fitsnap" / "Ta_linear.in").read_bytes())
    (folder / "JSON").symlink_to(DATA / "ta_fitsnap" / "JSON")
    return move_over(source, folder)


def test_linear_coefficients_and_residual(linear: RunResult) -> None:
    assert DATA is not None and linear.fit is not None
    reference = np.load(DATA / "ta_fitsnap" / "ta_linear_reference.npz")
    mine = np.concatenate([[linear.fit.constants["Ta"]], linear.fit.coefficients])
    assert np.linalg.norm(mine - reference["beta"]) <= 1e-8 * np.linalg.norm(reference["beta"])
    assert linear.fit.residual_norm == pytest.approx(21.570610398803417, rel=1e-10)
    assert linear.fit.rows == 15213


def test_linear_error_table(linear: RunResult) -> None:
    assert DATA is not None and linear.fit is not None
    table = json.loads((DATA / "ta_fitsnap" / "ta_linear_metrics.json").read_text())["metrics"]
    assert compare(linear.fit, table, 1e-6) > 200


def test_replay_gives_equal_bits(linear: RunResult) -> None:
    assert linear.fit is not None
    again = replay(Repository.open(linear.store), linear.fit.name)
    assert again.equal and again.largest_difference == 0.0


def test_export_is_checked_by_lammps(linear: RunResult) -> None:
    (export,) = linear.exports
    assert export.check["ok"]
    assert {p.suffix for p in export.files} == {".snapcoeff", ".snapparam", ".mod"}


def test_linear_run_twice_does_nothing_new(linear: RunResult) -> None:
    from mlipstore.pipeline import run
    from mlipstore.runs.runfile import load

    before = Repository.open(linear.store).at().id
    again = run(load(Path(linear.store).parent / "run.toml"))
    assert again.ingest is not None and again.ingest.added == 0
    assert again.featurize is not None and again.featurize.segments == 0
    assert again.fit is not None and not again.fit.new
    assert Repository.open(linear.store).at().id == before


@pytest.fixture(scope="module")
def quadratic(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    assert DATA is not None
    folder = tmp_path_factory.mktemp("quadratic")
    (folder / "Ta_Linear_JCP2014").mkdir()
    (folder / "Ta_Linear_JCP2014" / "JSON").symlink_to(DATA / "ta_fitsnap" / "JSON")
    here = folder / "Ta_Quadratic_JCP2018"
    here.mkdir()
    source = here / "Ta_quadratic.in"
    source.write_bytes((DATA / "ta_fitsnap" / "Ta_quadratic.in").read_bytes())
    return move_over(source, here)


def test_quadratic_residual_and_table(quadratic: RunResult) -> None:
    """cond 5e11: normal equations give 34.6; this guards the solver.

    The table's tolerance is that of the reference (data README: 1e-4). A tighter one would test luck: the exact
    solution of these rows (extended precision) is 4.2e-5 from the reference in one cell (Volume_BCC energy MAE),
    LAPACK's QR of the same matrix in memory 3.5e-5, FitSNAP's own table of 2021 3.4e-5, this program 7.1e-5.
    """
    assert DATA is not None and quadratic.fit is not None
    assert quadratic.fit.residual_norm == pytest.approx(3.2081447, rel=1e-7)
    assert quadratic.fit.rank == 1595 and quadratic.fit.constants == {}
    table = json.loads((DATA / "ta_fitsnap" / "ta_quadratic_metrics.json").read_text())["metrics"]
    assert compare(quadratic.fit, table, 1e-4) > 200
    assert overall(quadratic.fit, table) <= 1e-5


def test_unknown_group_in_weights(linear: RunResult) -> None:
    from mlipstore.runs.runfile import Fit

    with pytest.raises(MlipstoreError, match="Did you mean 'Liquid'"):
        Fit().with_weights(["Liqid.energy=3"], ["Liquid", "Surface"])
