"""What every reader keeps: streams, converts, names what is wrong, and never fails with anything but an InputError."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlipstore import registry
from mlipstore.configuration import Batch, Configuration
from mlipstore.errors import InputError, MlipstoreError
from mlipstore.readers import reader_for, recognise
from mlipstore.reading import ReadOptions, ReadReport

from .. import reader_samples as samples
from ..reader_samples import SAMPLES, Sample

CASES = [pytest.param(n, s, id=f"{n}-{k}") for n in registry.names("readers") for k, s in enumerate(SAMPLES.get(n, []))]
FILE_CASES = [c for c in CASES if c.id != "deepmd-npy-0"]


def read(path: Path, options: ReadOptions, name: str | None = None, **report: bool) -> list[Configuration]:
    _, reader = reader_for(path, options, name)
    told = ReadReport(**report)
    return [c for file in reader.files(path) for c in reader.read(file, told, path)]


def test_every_reader_of_this_package_has_a_sample() -> None:
    own = {p.stem.replace("_", "-") for p in Path(registry.__file__).parent.joinpath("readers").glob("[a-z]*.py")}
    assert own <= set(SAMPLES)


@pytest.mark.parametrize(("name", "sample"), CASES)
def test_recognised_and_right(name: str, sample: Sample, tmp_path: Path) -> None:
    path = sample.write(tmp_path)
    assert recognise(path) == name
    found = read(path, sample.options)
    assert len(found) == sample.count
    for i, c in enumerate(found):
        assert c.frame == i
        assert str(path) in c.source or path.is_dir()
        assert c.group
        assert c.numbers.tolist() == [14, 8, 8]
        assert c.pbc.all()
        np.testing.assert_allclose(c.cell, samples.CELL, atol=1e-8)
        np.testing.assert_allclose(c.positions, samples.positions(i), atol=1e-7)
        np.testing.assert_allclose(c.forces, samples.forces(i), atol=1e-7)
        assert c.energy == pytest.approx(samples.energy(i), abs=1e-8)
        if sample.stress:
            np.testing.assert_allclose(c.stress, samples.VOIGT, atol=sample.precision)
        else:
            assert c.stress is None
    batch = Batch.from_configurations(found)
    assert len(batch) == sample.count
    for c in found:
        assert pickle.loads(pickle.dumps(c)).uid() == c.uid()  # it travels to and from workers


@pytest.mark.parametrize(("name", "sample"), CASES)
def test_streams(name: str, sample: Sample, tmp_path: Path) -> None:
    path = sample.write(tmp_path)
    _, reader = reader_for(path, sample.options)
    stream = reader.read(reader.files(path)[0], ReadReport(), path)
    assert isinstance(stream, Iterator)
    if not sample.streams or sample.count < 2:
        return
    text = path.read_bytes()
    path.write_bytes(text[: int(0.9 * len(text))])
    stream = reader.read(path, ReadReport(), path)
    assert next(stream).energy == pytest.approx(samples.energy(0))  # before the broken end is met
    with pytest.raises(InputError, match=path.name):
        list(stream)
    kept = read(path, sample.options, name, skip_bad=True)
    assert len(kept) == sample.count - 1


@pytest.mark.parametrize(("name", "sample"), FILE_CASES)
@pytest.mark.parametrize("part", [0.35, 0.5, 0.75, 0.9])
def test_truncated_names_itself(name: str, sample: Sample, part: float, tmp_path: Path) -> None:
    path = sample.write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(InputError, match=path.name):
        read(path, sample.options, name)


@pytest.mark.parametrize(("name", "sample"), FILE_CASES)
def test_empty_names_itself(name: str, sample: Sample, tmp_path: Path) -> None:
    path = sample.write(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=path.name):
        read(path, sample.options, name)
    with pytest.raises(InputError, match="empty"):
        recognise(path)


@pytest.mark.parametrize(("name", "sample"), CASES)
def test_missing_file_names_itself(name: str, sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        read(tmp_path / "nowhere", sample.options, name)


@pytest.mark.parametrize(("name", "sample"), CASES)
def test_index(name: str, sample: Sample, tmp_path: Path) -> None:
    from dataclasses import replace

    path = sample.write(tmp_path)
    if sample.count < 3:
        return
    for index, frames in (("-1", [2]), ("0", [0]), ("1:", [1, 2]), ("::2", [0, 2]), ("-2:", [1, 2]), (":-1", [0, 1])):
        assert [c.frame for c in read(path, replace(sample.options, index=index), name)] == frames


@pytest.mark.parametrize(("name", "sample"), CASES)
def test_groups(name: str, sample: Sample, tmp_path: Path) -> None:
    from dataclasses import replace

    folder = tmp_path / "root" / "first" / "second"
    folder.mkdir(parents=True)
    path = sample.write(folder)
    root = tmp_path / "root"
    for by, pattern in (("none", "all"), ("directory", "first/second")):
        _, reader = reader_for(path, sample.options, name)
        plugin = type(reader)(replace(sample.options, group_by=by))
        files = plugin.files(root if path.is_file() else path)
        mine = [f for f in files if f == path or path in f.parents or f == path.parent or path.is_dir()]
        found = {c.group for f in mine for c in plugin.read(f, ReadReport(), root)}
        assert len(found) == 1
        assert found.pop().startswith(pattern)
    with pytest.raises(InputError, match="not_there"):
        read(path, replace(sample.options, group_by="key:not_there"), name)


@pytest.mark.parametrize(("name", "sample"), CASES)
def test_given_to_any_other_reader_is_an_error_or_configurations(name: str, sample: Sample, tmp_path: Path) -> None:
    path = sample.write(tmp_path)
    for other in registry.names("readers"):
        try:
            read(path, sample.options, other)
        except MlipstoreError as error:
            assert str(error)


@pytest.mark.parametrize(("name", "sample"), CASES)
def test_damaged_bytes_give_configurations_or_an_input_error(name: str, sample: Sample, tmp_path: Path) -> None:
    rng = random.Random(name)
    path = sample.write(tmp_path)
    targets = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    for _ in range(40):
        target = rng.choice(targets)
        whole = target.read_bytes()
        raw = bytearray(whole)
        if rng.random() < 0.3:
            raw = raw[: rng.randrange(len(raw) + 1)]
        for _ in range(rng.randrange(4)):
            if raw:
                raw[rng.randrange(len(raw))] = rng.choice(b'0123456789 \n\t"-+.eE:=[]{}TF,<>x\x00\xff')
        target.write_bytes(bytes(raw))
        try:
            for c in read(path, sample.options, name):
                c.uid()
        except MlipstoreError as error:
            assert str(error)
        target.write_bytes(whole)


@pytest.mark.parametrize(("name", "sample"), CASES)
def test_report_tells_what_was_assumed(name: str, sample: Sample, tmp_path: Path) -> None:
    path = sample.write(tmp_path)
    _, reader = reader_for(path, sample.options)
    report = ReadReport()
    for file in reader.files(path):
        list(reader.read(file, report, path))
    said = report.to_json()
    if sample.stress and name != "ase-db":
        assert any("stress" in what for what in said["assumed"])
