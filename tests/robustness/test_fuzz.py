"""Small files with random damage: what comes out is a result or an error of ours, at once, and short."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipstore.bookkeeping import Checks, check
from mlipstore.configuration import Batch
from mlipstore.errors import MlipstoreError
from mlipstore.fitsnap.convert import convert
from mlipstore.readers import reader_for
from mlipstore.reading import ReadReport
from mlipstore.runs.runfile import load

from ..reader_samples import SAMPLES, Sample
from .bad_input import FITSNAP
from .sources import RUN

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
WORDS = (  # separated by blanks
    b"nan inf -1 0 1e400 99999999999999999999 abc \" { [ ] } \0 \xff\xfe None null true 1.5 * 1e --1 0x10 \xc3\x85"
).split(b" ")  # fmt: skip
CASES = [(name, i) for name, samples in sorted(SAMPLES.items()) for i in range(len(samples))]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """One to four small changes: bits, words, lines, the end."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not data:
            break
        i, lines = rng.randrange(len(data)), data.split(b"\n")
        j = rng.randrange(len(lines))
        words = [m.span() for m in re.finditer(rb"[^\s,:\[\]{}\"]+", data)] or [(0, 0)]
        start, stop = rng.choice(words)
        data = rng.choice(
            (
                data[:i] + bytes([data[i] ^ 1 << rng.randrange(8)]) + data[i + 1 :],
                data[:i] + data[i + rng.choice((1, 2, 5, 20, 200)) :],
                data[:i] + rng.choice(WORDS) + data[i:],
                data[:i],
                b"\n".join(lines[:j] + lines[j + 1 :]),
                b"\n".join([*lines[:j], rng.choice(lines), *lines[j:]]),
                data[:start] + rng.choice(WORDS) + data[stop:],
            )
        )
    return data


def survive(attempt: Callable[[], object], times: int) -> None:
    """Only errors of ours, none of which fills a screen; both outcomes occur."""
    outcomes = set()
    for _ in range(times):
        try:
            attempt()
            outcomes.add("result")
        except MlipstoreError as error:
            assert len(str(error)) < 3000
            outcomes.add("error")
    assert outcomes == {"result", "error"}


@pytest.mark.parametrize(("name", "i"), CASES)
def test_readers(name: str, i: int, tmp_path: Path) -> None:
    sample: Sample = SAMPLES[name][i]
    path, rng = sample.write(tmp_path), random.Random(f"{name} {i}")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    whole = {file: file.read_bytes() for file in files}

    def attempt() -> None:
        file = rng.choice(files)
        file.write_bytes(damaged(whole[file], rng))
        try:
            _, reader = reader_for(path, sample.options)
            report = ReadReport()
            read = [c for part in reader.files(path) for c in reader.read(part, report, path)]
            if read:
                check(Batch.from_configurations(read), "missing", Checks(), report)
        finally:
            file.write_bytes(whole[file])

    survive(attempt, 120)


def test_run_files(tmp_path: Path) -> None:
    text = (
        'store = "a.mlip"\n[ingest]\nsources = ["."]\ngroup_by = "directory"\ntype_map = ["Ta"]\n' + RUN +
        '[fit.groups."a b"]\ntrain = 3\n[fit.solver]\ntype = "ridge"\n[fit.element_shifts]\nTa = 1.0\n'
        '[evaluate]\nunits = "fitsnap"\n[export]\nformats = ["lammps-snap"]\n[plot]\nformat = "png"\n'
    )  # fmt: skip
    path, rng = tmp_path / "run.toml", random.Random("run files")

    def attempt() -> None:
        path.write_bytes(damaged(text.encode(), rng))
        load(path)

    survive(attempt, 400)


def test_each_target_of_make_fuzz_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not for the minute that ``make fuzz`` takes; what fails is kept and told."""
    from tests import fuzz

    assert fuzz.main(["where", "card", "extxyz", "--seconds", "0.05", "--seed", "1", "--failures", str(tmp_path)]) == 0
    assert "where" in capsys.readouterr().out and not list(tmp_path.iterdir())
    assert not fuzz.run("bad", lambda: b"input", lambda data: 1 / 0, 1.0, tmp_path)
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"input"]


def test_fitsnap_inputs(tmp_path: Path) -> None:
    path, rng = tmp_path / "fit.in", random.Random("FitSNAP inputs")

    def attempt() -> None:
        path.write_bytes(damaged(FITSNAP.encode(), rng))
        convert(path)

    survive(attempt, 400)
