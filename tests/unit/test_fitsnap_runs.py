"""FitSNAP JSON files read many at once by the kernel are the files read one by one, notes and errors included."""

from __future__ import annotations

import json
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore.configuration import Batch
from mlipstore.errors import InputError
from mlipstore.portions import plan, read
from mlipstore.readers import _fitsnap_runs
from mlipstore.readers.fitsnap_json import FitsnapJson
from mlipstore.reading import ReadOptions, ReadReport

from ..reader_samples import CELL, STRESS, fitsnap_text
from ..shared_data import DATA, needs_data

pytestmark = pytest.mark.skipif(_fitsnap_runs._kernel() is None, reason="the package was built without the kernel")

GOOD: dict[str, str | bytes] = {
    "as it is": fitsnap_text(1),
    "no comment": fitsnap_text(2).split("\n", 1)[1],
    "blank line": "\n" + fitsnap_text(3).split("\n", 1)[1],
    "indented": "x\n" + json.dumps(json.loads(fitsnap_text(4).split("\n", 1)[1]), indent=1) + " \n",
    "left-handed": fitsnap_text(5, Lattice=(-CELL).tolist()),
    "no NumAtoms": fitsnap_text(6, NumAtoms=None),
    "NumAtoms with a point": fitsnap_text(7).replace('"NumAtoms": 3', '"NumAtoms": 3.0'),
    "not quite symmetric": fitsnap_text(8, Stress=(STRESS + 1e-6 * np.eye(3, k=1)).tolist()),
    "scrambled": fitsnap_text(9, Stress=[[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
    "zero stress": fitsnap_text(10, Stress=[[0, 0, 0]] * 3),
    "whole numbers": fitsnap_text(11, Energy=-3, Lattice=[[4, 0, 0], [0, 4, 0], [0, 0, 4]]),
    "exponents": fitsnap_text(12, Energy=None).replace('"AtomTypes"', '"Energy": 1E-01, "AtomTypes"'),
    "17 digits": fitsnap_text(13, Energy=-0.12345678901234567e-3),
    "minus zero": fitsnap_text(15).replace("[0.0,", "[-0,").replace(" 0.0,", " -0 ,").replace("0.0]", "-0]"),
    "minus zero with a point": fitsnap_text(16).replace("[0.0,", "[-0.0,").replace(" 0.0,", " -0e0,"),
    "energy minus zero": fitsnap_text(17, Energy=None).replace('"AtomTypes"', '"Energy": -0, "AtomTypes"'),
    "energy last": fitsnap_text(14, Energy=None).removesuffix("}]}}") + ', "Energy": -1.5}]}}',
}
DIFFERENT: dict[str, str | bytes] = {
    "kbar": fitsnap_text(0, StressStyle="kbar"),
    "no style": fitsnap_text(0, LatticeStyle=None, PositionsStyle=None),
    "unknown style": fitsnap_text(0, EnergyStyle="parsec"),
    "bohr": fitsnap_text(0, PositionsStyle="bohr"),
    "no forces": fitsnap_text(0, Forces=None),
    "no stress": fitsnap_text(0, Stress=None),
    "null energy": fitsnap_text(0, Energy=None).replace('"AtomTypes"', '"Energy": null, "AtomTypes"'),
    "energy NaN": fitsnap_text(0, Energy=float("nan")),
    "minus zero and more": fitsnap_text(0).replace("[0.0,", "[-0x,"),
    "large energy": fitsnap_text(0, Energy=-1.5e9),
    "far away": fitsnap_text(0, PositionsStyle="m"),
    "six stresses": fitsnap_text(0, Stress=[1, 2, 3, 4, 5, 6]),
    "spins": fitsnap_text(0, Spins=[[1, 0, 0, 1]] * 3),
    "charges": fitsnap_text(0, Charges=[1, 0, -1]),
    "integer types": fitsnap_text(0, AtomTypes=[1, 2, 2]),
    "unknown element": fitsnap_text(0, AtomTypes=["Si", "Xx", "O"]),
    "other count": fitsnap_text(0, NumAtoms=4),
    "ragged": fitsnap_text(0, Positions=[[0, 0, 0], [1, 1], [2, 2, 2]]),
    "short": fitsnap_text(0, Forces=[[0, 0, 0]]),
    "no atoms": fitsnap_text(0, AtomTypes=[], Positions=[], Forces=[], NumAtoms=0),
    "two configurations": fitsnap_text(0).removesuffix("]}}") + "," + fitsnap_text(1).partition('"Data": [')[2],
    "another key": fitsnap_text(0, Comment="text", Remark=[1]),
    "key twice": fitsnap_text(0).replace('"Energy"', '"Energy": 1, "Energy"'),
    "style in the entry": fitsnap_text(0).replace('"Energy"', '"EnergyStyle": "ry", "Energy"'),
    "escaped": fitsnap_text(0).replace('"sample"', '"sam\\u0070le"'),
    "not ASCII": fitsnap_text(0).replace('"sample"', '"Å"'),
    "latin-1": fitsnap_text(0).replace('"sample"', '"Å"').encode("latin-1"),
    "label is a number": fitsnap_text(0).replace('"sample"', "7"),
    "plus": fitsnap_text(0).replace('"Energy": -', '"Energy": +'),
    "leading zero": fitsnap_text(0).replace('"Energy": -', '"Energy": -0'),
    "bare point": fitsnap_text(0, Energy=None).replace('"AtomTypes"', '"Energy": .5, "AtomTypes"'),
    "comma": fitsnap_text(0).replace("}]}}", "},]}}"),
    "more behind": fitsnap_text(0) + " 1",
    "truncated": fitsnap_text(0)[:-40],
    "empty": "",
    "only a comment": "# nothing",
    "another object": '{"Data": []}',
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "units": {"energy_unit": "Ha", "length_unit": "Bohr", "stress_unit": "GPa", "stress_sign": "tension"},
    "groups": {"group_by": "none", "group_stress_unit": {"all": "kbar"}, "stress_order": "xx yy zz xy yz zx"},
    "by file": {"group_by": "file"},
}


def outcome(
    folder: Path, many: bool, options: dict[str, Any], patch: pytest.MonkeyPatch
) -> tuple[Batch, ReadReport, int]:
    """Everything below a folder, what was noted, and how many configurations came many at once."""
    taken = 0
    real = FitsnapJson.read_run

    def counted(self: FitsnapJson, *arguments: Any) -> Batch | None:
        nonlocal taken
        found = real(self, *arguments) if many else None
        taken += 0 if found is None else len(found)
        return found

    report, batches = ReadReport(skip_bad=True), [Batch.from_configurations([])]
    with patch.context() as context:
        context.setattr(FitsnapJson, "read_run", counted)
        tasks, n = plan([folder], ReadOptions(**options), "fitsnap-json", True)
        done = 0
        for task in tasks:
            for batch, noted, files in read(task):
                batches.append(batch)
                report.add(noted)
                done += files
    assert done == n
    return Batch.concatenate(batches), report, taken


def assert_same(folder: Path, options: dict[str, Any], patch: pytest.MonkeyPatch) -> int:
    one, report, none = outcome(folder, False, options, patch)
    run, run_report, taken = outcome(folder, True, options, patch)
    assert none == 0
    for name in (f.name for f in fields(Batch)):
        a, b = getattr(one, name), getattr(run, name)
        assert (a is None) == (b is None), name
        if a is not None:
            np.testing.assert_array_equal(a, b, name, strict=True)
            if a.dtype.kind == "f":
                np.testing.assert_array_equal(np.signbit(a), np.signbit(b), name)
    assert run_report == report
    return taken


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = folder / "set" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / "set"


@pytest.mark.parametrize("options", OPTIONS)
def test_files_that_look_alike_are_read_together(options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path, {f"{g}/{name}": text for g in "ab" for name, text in GOOD.items()})
    taken = assert_same(folder, OPTIONS[options], monkeypatch)
    assert taken == (0 if options == "by file" else 2 * len(GOOD))


@pytest.mark.parametrize("kind", DIFFERENT)
def test_a_file_that_is_different_is_read_alone(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"g/{i}": fitsnap_text(i) for i in range(1, 9)}
    folder = write(tmp_path, files | {"g/5": DIFFERENT[kind]})
    taken = assert_same(folder, {}, monkeypatch)
    assert taken in (7, 8)


@pytest.mark.parametrize("seed", range(3))
def test_mixtures(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    every = list((GOOD | DIFFERENT).values())
    folder = write(tmp_path, {f"{rng.choice('abc')}/{i:03}": rng.choice(every) for i in range(60)})
    assert_same(folder, rng.choice(list(OPTIONS.values())), monkeypatch)


def test_changed_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(7)
    text = fitsnap_text(1).encode()
    files: dict[str, str | bytes] = {}
    for i in range(120):
        at = rng.randrange(len(text))
        files[f"g/{i:03}"] = text[:at] + bytes([rng.choice(b'0123456789-+.eE[]{}",: \n\x00\xff')]) + text[at + 1 :]
    assert_same(write(tmp_path, files), {}, monkeypatch)


def test_a_file_that_cannot_be_opened_is_told_by_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path, {"g/a": fitsnap_text(1), "g/c": fitsnap_text(2)})
    tasks, _ = plan([folder], ReadOptions(), "fitsnap-json", False)
    (folder / "g" / "c.json").unlink()
    with pytest.raises(InputError, match=r"c\.json"):
        list(read(tasks[0]))


@needs_data
def test_real_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DATA is not None
    folder = DATA / "ta_fitsnap" / "JSON"
    assert assert_same(folder, {}, monkeypatch) == 363
