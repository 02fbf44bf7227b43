"""W-Be: the 5 % list with full-digit references, and (marked slow) all 25,422 configurations against the shipped table.

Figures and their recipe: data/wbe_fitsnap/README.md.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.reference.fitsnap_tables import compare, move_over
from tests.shared_data import DATA, needs_data

pytestmark = needs_data


def unpack(folder: Path, wanted: set[str] | None) -> Path:
    """The archive, or the listed ``group/file`` members of it and the input."""
    assert DATA is not None
    with tarfile.open(DATA / "wbe_fitsnap" / "WBe_PRB2019.tar.xz") as archive:
        for member in archive:
            name = "/".join(Path(member.name).parts[-2:])
            if member.name.endswith(".in") or (member.isfile() and (wanted is None or name in wanted)):
                archive.extract(member, folder, filter="data")
    (source,) = folder.rglob("WBe-example.in")
    return source


def test_five_percent(tmp_path: Path) -> None:
    assert DATA is not None
    reference = json.loads((DATA / "wbe_fitsnap" / "wbe_sub05.json").read_text())
    numbers = np.load(DATA / "wbe_fitsnap" / "wbe_sub05_reference.npz")
    wanted = {f"{g}/{f}" for g, f in zip(numbers["config_group"], numbers["config_file"], strict=True)}
    source = unpack(tmp_path, wanted)
    result = move_over(source, source.parent)
    assert result.ingest is not None and result.ingest.added == 1276
    fit = result.fit
    assert fit is not None and fit.rows == 90034
    assert fit.residual_norm == pytest.approx(2395.322180948, rel=1e-9)
    beta = numbers["beta"]
    assert np.linalg.norm(fit.coefficients - beta) <= 1e-8 * np.linalg.norm(beta)
    assert compare(fit, reference["metrics"], 1e-6) > 500
    assert result.exports[0].check["ok"]


@pytest.mark.slow
def test_all_of_it(tmp_path: Path) -> None:
    assert DATA is not None
    source = unpack(tmp_path, None)
    result = move_over(source, source.parent)
    assert result.ingest is not None and result.ingest.checks.zero_stress == 12508
    assert result.ingest.checks.copies == 376
    assert result.fit is not None and result.fit.rows == 1772880
    table = json.loads((DATA / "wbe_fitsnap" / "wbe_metrics_shipped.json").read_text())
    assert compare(result.fit, table.get("metrics", table), 1e-5) > 500
