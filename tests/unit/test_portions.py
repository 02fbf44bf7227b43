"""Sources cut for workers: whatever the cuts, what comes out is what reading from begin to end gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlipstore.readers._xyz_lines as xyz
from mlipstore import portions
from mlipstore.configuration import Batch
from mlipstore.errors import InputError
from mlipstore.executors.processes import Processes
from mlipstore.portions import plan, read_all
from mlipstore.readers.extxyz import ExtXyz
from mlipstore.reading import ReadOptions, ReadReport

from ..reader_samples import extxyz_text


@dataclass(frozen=True)
class TwoWorkers:
    """An executor in this process that takes tasks as late as one with two workers would."""

    n_workers: int = 2

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        queue = iter(tasks)
        waiting = [function(task) for task in islice(queue, 4)]
        while waiting:
            result = waiting.pop(0)
            waiting += [function(task) for task in islice(queue, 1)]
            yield result


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is worth workers and cut into parts of a few frames."""
    monkeypatch.setattr(portions, "_WORTH_WORKERS", 0)
    monkeypatch.setattr(portions, "_PART_BYTES", 1000)
    monkeypatch.setattr(portions, "_TRAVEL_CONFIGURATIONS", 7)
    monkeypatch.setattr(xyz, "_WINDOW", 700)


def frame(i: int, energy: str = "energy", comment: str = "", atoms: int | None = None, line_end: str = "\n") -> str:
    rng = np.random.default_rng(i)
    n = int(rng.integers(1, 6)) if atoms is None else atoms
    head = f'Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:forces:R:3 {energy}={rng.normal()} {comment}'
    rows = [" ".join(["Si", *(f"{x:.8f}" for x in rng.normal(size=6))]) for _ in range(n)]
    return line_end.join([str(n), head, *rows, ""])


def outcome(path: Path, executor: Any, skip_bad: bool = False) -> tuple[Batch, ReadReport, int, str]:
    """All that reading gives: configurations, report, number of files, error."""
    batches, report, files, error = [], ReadReport(skip_bad=skip_bad), 0, ""
    tasks, _ = plan([path], ReadOptions(), None, skip_bad)
    try:
        for batch, part, done in read_all(tasks, executor):
            batches.append(batch)
            report.add(part)
            files += done
    except InputError as found:
        error = str(found)
    return Batch.concatenate([Batch.from_configurations([]), *batches]), report, files, error


def assert_same(a: tuple[Batch, ReadReport, int, str], b: tuple[Batch, ReadReport, int, str]) -> None:
    assert a[3] == b[3]
    # what came before an error is given out as far as batches were full
    n = min(len(a[0]), len(b[0])) if a[3] else max(len(a[0]), len(b[0]))
    for name in ("uid", "frame", "source", "group", "info", "cell", "energy", "n_atoms"):
        np.testing.assert_array_equal(getattr(a[0], name)[:n], getattr(b[0], name)[:n], name)
    assert a[3] or a[1:] == b[1:]


FILES = {
    "plain": "".join(map(frame, range(60))),
    "no last line end": "".join(map(frame, range(60))).rstrip("\n"),
    "blank lines": "\n \n".join(map(frame, range(60))) + "\n\n",
    "lines of Windows": "".join(frame(i, line_end="\r\n") for i in range(40)),
    "frames longer than a part": "".join(frame(i, atoms=100 if i % 5 == 2 else 1) for i in range(20)),
    "keys of other kinds": "".join(frame(i, comment=f"n={i} name=a{i}") for i in range(60)),
    "frames that only the own parser reads": "".join(
        frame(i).replace("pos:R:3", "pos:r:3") if i % 3 else frame(i) for i in range(40)
    ),
    "missing labels": "".join(frame(i, energy="energy" if i % 9 else "nothing") for i in range(60)),
}
BROKEN = {
    "a number that is none": "".join(frame(i).replace("Si", "Si x" if i == 25 else "Si") for i in range(60)),
    "one atom line too few": "".join(
        frame(i) if i != 25 else "\n".join(frame(i, atoms=4).split("\n")[:-2]) + "\n" for i in range(60)
    ),
    "one atom line too many": "".join(frame(i) + ("Si 1 2 3 4 5 6\n" if i == 25 else "") for i in range(60)),
    "cut off": "".join(map(frame, range(60)))[:-40],
    "another key from some frame on": "".join(frame(i, "energy" if i < 25 else "REF_energy") for i in range(60)),
    "another key, once": "".join(frame(i, "energy" if i != 25 else "REF_energy") for i in range(60)),
    "frames that cannot be found again": "".join(
        frame(i) if i < 20 or i > 40 else "2\ncomment\nSi 0 0 0\nSi 1 1 1\n" if i != 25 else "3\nx\nSi 0 0\nSi 1 1 1\n"
        for i in range(60)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [*FILES, *BROKEN])
@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.usefixtures("small")
def test_parts_of_a_file_are_the_file(tmp_path: Path, name: str, skip_bad: bool) -> None:
    path = tmp_path / "a.xyz"
    path.write_text({**FILES, **BROKEN}[name], newline="")
    expected = outcome(path, None, skip_bad)
    assert bool(expected[3]) == (name in BROKEN and not skip_bad)
    assert bool(expected[1].refused) == (name in BROKEN and skip_bad)
    assert_same(outcome(path, TwoWorkers(), skip_bad), expected)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", FILES)
def test_there_are_parts(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(FILES[name], newline="")
    parts = list(ExtXyz().parts(path, 1000))
    assert len(parts) >= 4 and parts[0].start == 0 and parts[-1].stop is None
    assert all(a.stop == b.start and a.frame < b.frame for a, b in pairwise(parts))


@pytest.mark.usefixtures("small")
def test_a_tree_of_both(tmp_path: Path) -> None:
    """Small files together, large ones in parts, a large one that is read again in between."""
    for i, name in enumerate([*FILES, "another key from some frame on"]):
        (tmp_path / f"{i}.xyz").write_text({**FILES, **BROKEN}[name], newline="")
        (tmp_path / f"{i}-small.xyz").write_text(frame(i))
    assert_same(outcome(tmp_path, TwoWorkers(), True), outcome(tmp_path, None, True))


@pytest.mark.usefixtures("small")
def test_real_workers(tmp_path: Path) -> None:
    for i, name in enumerate(["plain", "missing labels", "another key, once"]):
        (tmp_path / f"{i}.xyz").write_text({**FILES, **BROKEN}[name])
    for skip_bad in (False, True):
        assert_same(outcome(tmp_path, Processes(2), skip_bad), outcome(tmp_path, None, skip_bad))


def test_notes_of_all_batches_are_kept(tmp_path: Path) -> None:
    """A reader holds its report from begin to end of a file; a file has many batches."""
    path = tmp_path / "a.xyz"
    path.write_text("".join(frame(i, energy="nothing", atoms=1) for i in range(2500)))
    batches = list(read_all(plan([path], ReadOptions(), None, False)[0], None))
    assert len(batches) == 3 and all(r.observed["no energy in the frame"] > 400 for _, r, _ in batches)
    assert outcome(path, None)[1].observed["no energy in the frame"] == 2500


def test_names_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the folder that the source lies in, however it is named."""
    folder = tmp_path / "data" / "set"
    (folder / "group").mkdir(parents=True)
    (folder / "group" / "a.xyz").write_text(frame(1))
    monkeypatch.chdir(folder)
    for named, expected in (
        (folder, "set/group/a.xyz"),
        (Path(), "set/group/a.xyz"),
        (Path("../set"), "set/group/a.xyz"),
        (Path("group"), "group/a.xyz"),
        (Path("group/a.xyz"), "a.xyz"),
        (Path("../../data"), "data/set/group/a.xyz"),
    ):
        ((batch, _, files),) = read_all(plan([named], ReadOptions(), None, False)[0], None)
        assert batch.source.tolist() == [expected] and files == 1, named


def test_files_of_other_formats_in_a_folder_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.xyz").write_text(extxyz_text(1, "energy=-1.0"))
    for name in ("sub/pw.out", "sub/README", ".hidden"):
        (folder / name).write_text("something else\n")
    report = ReadReport()
    _, n = plan([folder], ReadOptions(), None, False, report)
    assert n == 1
    assert list(report.observed.values()) == [2]
    assert [[Path(p).name for p in places] for places in report.examples.values()] == [["README", "pw.out"]]
    report = ReadReport()
    plan([folder / "a.xyz"], ReadOptions(), None, False, report)
    assert not report.observed
