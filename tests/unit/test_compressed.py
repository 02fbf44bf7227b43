"""Compressed sources are those that are inside."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
from pathlib import Path

import pytest

from mlipstore import portions
from mlipstore.compressed import read_compressed
from mlipstore.errors import InputError
from mlipstore.executors.processes import Processes
from mlipstore.index import read_batch, segments
from mlipstore.ingest import ingest
from mlipstore.readers import recognise
from mlipstore.readers.extxyz import ExtXyz
from mlipstore.reading import ReadOptions, ReadReport
from mlipstore.store import Repository

from ..reader_samples import SAMPLES, Sample
from ..robustness.sources import frames, write_extxyz, write_json_tree

OPEN = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def pack(path: Path, suffix: str) -> Path:
    """The file, compressed, in its place."""
    packed = path.with_name(path.name + suffix)
    with open(path, "rb") as plain, OPEN[suffix](packed, "wb") as out:
        shutil.copyfileobj(plain, out)
    path.unlink()
    return packed


def stored(folder: Path, source: Path, options: ReadOptions | None = None) -> tuple[list[str], list[bytes], list[str]]:
    """Groups, contents and sources of what one ingest stores."""
    folder.mkdir()
    repository = Repository.create(folder / "s.mlip")
    ingest(repository, [source], options)
    snapshot = repository.at()
    batches = [read_batch(snapshot, s.name) for s in segments(snapshot)]
    uids = [u.tobytes() for b in batches for u in b.uid]
    return [g for b in batches for g in b.group], uids, [s for b in batches for s in b.source]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_an_xyz_file(tmp_path: Path, suffix: str) -> None:
    source = write_extxyz(tmp_path / "some.data.xyz", frames(20, 1))
    plain = stored(tmp_path / "a", source)
    packed = pack(source, suffix)
    assert recognise(packed) == "extxyz"
    groups, uids, sources = stored(tmp_path / "b", packed)
    assert (groups, uids) == plain[:2]
    assert set(sources) == {f"some.data.xyz{suffix}"}


def test_a_tree_of_json_keeps_its_groups(tmp_path: Path) -> None:
    """Some files packed, some not; groups are folders."""
    tree = write_json_tree(tmp_path / "tree", frames(20, 1))
    plain = stored(tmp_path / "a", tree)
    for file in sorted(tree.rglob("*.json"))[::2]:
        pack(file, ".gz")
    groups, uids, _ = stored(tmp_path / "b", tree)
    assert sorted(zip(groups, uids, strict=True)) == sorted(zip(*plain[:2], strict=True))


OTHERS = [
    pytest.param(sample, id=f"{name}-{k}")
    for name in ("vasp-outcar", "vasp-xml", "pymatgen-json", "n2p2-data", "ase")
    for k, sample in enumerate(SAMPLES[name])
]


@pytest.mark.parametrize("sample", OTHERS)
def test_other_formats(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = sample.write(tmp_path / "in")
    plain = stored(tmp_path / "a", source, sample.options)
    assert stored(tmp_path / "b", pack(source, ".gz"), sample.options)[:2] == plain[:2]


def test_by_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packed file is not cut into parts."""
    monkeypatch.setattr(portions, "_WORTH_WORKERS", 0)
    monkeypatch.setattr(portions, "_PART_BYTES", 100)
    source = pack(write_extxyz(tmp_path / "a.xyz", frames(10, 1)), ".gz")
    assert ingest(Repository.create(tmp_path / "s.mlip"), [source], executor=Processes(workers=2)).added == 10


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    source = pack(write_extxyz(tmp_path / "a.xyz", frames(200, 1)), ".gz")
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    repository = Repository.create(tmp_path / "s.mlip")
    with pytest.raises(InputError, match=r"a\.xyz\.gz.*not a sound gz file"):
        ingest(repository, [source])
    source.write_bytes(b"no gz at all")
    with pytest.raises(InputError, match=r"a\.xyz\.gz.*not a sound gz file"):
        ingest(repository, [source])


def test_errors_name_the_packed_file(tmp_path: Path) -> None:
    source = write_extxyz(tmp_path / "a.xyz", frames(5, 1))
    source.write_bytes(source.read_bytes()[:-60])
    with pytest.raises(InputError) as found:
        ingest(Repository.create(tmp_path / "s.mlip"), [pack(source, ".gz")])
    assert found.value.path == str(tmp_path / "a.xyz.gz") and "mlipstore-" not in str(found.value)


def test_notes_name_the_packed_file(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3\nSi 0 0 0\n2\nbroken\n")
    packed, report = pack(path, ".gz"), ReadReport(skip_bad=True)
    assert len(list(read_compressed(ExtXyz(), packed, report))) == 1
    assert {p for places in report.examples.values() for p in places} == {f"{packed}, frame 0"}
    assert [text.startswith(f"{packed}, frame 1") for text in report.refused] == [True]
