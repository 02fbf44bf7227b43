"""Whatever the files hold, an audit ends with findings: no traceback, no NumPy warning, refusals with their files."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlipstore import registry
from mlipstore.audit.finding import described
from mlipstore.audit.run import audit_files, look_at, run_checks
from mlipstore.configuration import Batch, Configuration
from mlipstore.reading import ReadOptions

from ..reader_samples import SAMPLES, extxyz_text
from ..robustness.sources import run
from ..robustness.test_fuzz import CASES, damaged

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
#: Damages of each format.
TIMES = 2


@pytest.mark.parametrize(("name", "number"), CASES)
def test_damaged_files(name: str, number: int, tmp_path: Path) -> None:
    """A damaged file beside a good one: what can be read is looked at, what cannot is named."""
    sample = SAMPLES[name][number]
    rng = random.Random(f"audit {name} {number}")
    good = tmp_path / "good.xyz"
    good.write_text(extxyz_text())
    options = replace(sample.options, stress_unit="kbar") if name == "pymatgen-json" else sample.options
    for k in range(TIMES):
        place = tmp_path / str(k)
        place.mkdir()
        path = sample.write(place)
        victim = path if path.is_file() else rng.choice(sorted(p for p in path.rglob("*") if p.is_file()))
        victim.write_bytes(damaged(victim.read_bytes(), rng))
        result = audit_files([path], options) if name == "extxyz" else audit_files([path, good], _fitting(options))
        told = json.loads(json.dumps(result.to_json(), default=str))
        refused = [f["what"] for f in told["findings"] if f["check"] == "unreadable"]
        assert all(len(text) < 3000 for text in refused)
        expected = sample.count + (0 if name == "extxyz" else 3)
        if told["configurations"] < expected and not refused:
            # frames may have been cut away so that what is left is a whole file
            assert victim.stat().st_size > 0
        for text in refused:
            assert "good.xyz" not in text
            assert str(k) in text and (path.name in text or victim.name in text), text


def _fitting(options: ReadOptions) -> ReadOptions:
    """Options that also suit the good file."""
    return replace(options, stress_order=None) if options.stress_order else options


def c(n: int, positions: object, cell: object, pbc: bool = True, **labels: object) -> Configuration:
    numbers = np.full(n, 29)
    return Configuration(
        numbers, np.array(positions, float).reshape(n, 3), np.array(cell, float), np.full(3, pbc), **labels
    )  # type: ignore[arg-type]


def labelled(n: int, value: float) -> dict[str, object]:
    return {"energy": value, "forces": np.full((n, 3), value), "stress": np.full(6, value)}


LINE = [[0, 0, 0], [1, 1, 1]]
STRANGE = {
    "atoms in one place": [c(2, [[0, 0, 0], [0, 0, 0]], np.eye(3) * 4, **labelled(2, 0.1))] * 3,
    "flat cell": [c(2, LINE, np.diag([4, 4, 1e-9]), **labelled(2, 0.1))] * 3,
    "cell of zeros, periodic": [c(2, LINE, np.zeros((3, 3)), **labelled(2, 0.1))] * 3,
    "vectors in one line": [c(2, LINE, [[1, 0, 0], [2, 0, 0], [3, 0, 0]], **labelled(2, 0.1))] * 3,
    "tiny cell": [c(2, LINE, np.eye(3) * 1e-6, **labelled(2, 0.1))] * 3,
    "huge cell": [c(2, LINE, np.eye(3) * 1e12, **labelled(2, 0.1))] * 3,
    "far away": [c(2, [[1e9, 0, 0], [-1e9, 0, 5]], np.eye(3) * 4, **labelled(2, 0.1))] * 3,
    "huge labels": [c(2, LINE, np.eye(3) * (4 + 0.01 * i), **labelled(2, 1e150 * (i + 1))) for i in range(12)],
    "tiny labels": [c(2, LINE, np.eye(3) * (4 + 0.01 * i), **labelled(2, 1e-200 * (i + 1))) for i in range(12)],
    "equal labels": [c(2, LINE, np.eye(3) * (4 + 0.05 * i), **labelled(2, 1.0)) for i in range(12)],
    "very skewed": [c(2, LINE, [[4, 0, 0], [400, 4, 0], [900, 700, 4]], **labelled(2, 0.1))] * 3,
    "one atom": [c(1, [0, 0, 0], np.eye(3) * (2 + 0.05 * i), **labelled(1, 0.1 * i)) for i in range(12)],
    "element 0": [replace(c(2, LINE, np.eye(3) * 4, **labelled(2, 0.1)), numbers=np.array([0, 118]))] * 3,
    "no labels": [c(2, LINE, np.eye(3) * 4)] * 3,
    "mixed periodicity": [
        c(2, LINE, np.eye(3) * 4, **labelled(2, 0.1)),
        replace(c(2, LINE, np.eye(3) * 4, **labelled(2, 0.2)), pbc=np.array([True, False, True])),
        c(2, LINE, np.zeros((3, 3)), False, **labelled(2, 0.3)),
    ],
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_configurations(name: str) -> None:
    data = look_at([Batch.from_configurations(STRANGE[name])])
    found = run_checks(data, registry.names("checks"))
    assert found
    for f in found:
        json.dumps(described(f), default=float)
        assert len(f.what) < 400


def test_names_with_odd_characters(tmp_path: Path) -> None:
    path = tmp_path / "a b'\"\x1b[31m;$(x).xyz"
    path.write_text(extxyz_text(comment='config_type="x\'y \x07 \\\\ $z" '))
    outcome = run("audit", path, "--all", "--workers", 1)
    assert outcome.code in (0, 1) and "\x1b" not in outcome.out and "\x07" not in outcome.out


def test_a_folder_of_rubbish(tmp_path: Path) -> None:
    for name, data in (
        ("a.xyz", b"\0\1\2"),
        ("b.json", b"{"),
        ("OUTCAR", b""),
        ("c.cfg", b"BEGIN_CFG\n"),
        ("d.db", b"SQLite"),
    ):
        (tmp_path / name).write_bytes(data)
    outcome = run("audit", tmp_path, "--json", "--workers", 1)
    assert outcome.code == 1 and "Traceback" not in outcome.err
