"""Contract of every writer: what its reader gives back is what was written, and what is not is said."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore import registry
from mlipstore.configuration import Batch, Configuration
from mlipstore.curation.query import read_selection, select
from mlipstore.errors import SettingsError, StoreError
from mlipstore.export_data import export_data
from mlipstore.index import group_order, segment_name, write_segment
from mlipstore.ingest import ingest
from mlipstore.reading import ReadOptions
from mlipstore.store import Repository
from mlipstore.writers.fitsnap import in_bar
from mlipstore.writing import folder_names

WRITERS = registry.names("writers")
HOSTILE = (
    "../../outside", "..", ".", "/absolute", "a/b", "a\\b", "C:\\x", "CON", "nul.txt", "bulk", "Bulk", "melt 2000 K",
    "ä ö", "007", "1e5", "T", "1 2 3", "nan", "_JSON 1", 'quo"te', "it's", "~", "-rf", "%2F", "trailing.", "a=b",
    "x" * 300, "$(touch outside)", "a,b", "{}", "[1]", "surface", "lig\u0301ne", "表面",
)  # fmt: skip
INFO: tuple[dict[str, Any], ...] = (
    {}, {"temperature": 300.0, "step": 7, "done": True, "code": "vasp"}, {"free_energy": -3.5},
    {"dft_energy": 1.0, "Config_Type": "x", "note": 'a "b" \\ c', "lines": "one\ntwo", "empty": "", "none": None},
    {"list": [1, 2.5, "x"], "table": {"a": {"b": [True]}}, "big": 2**40, "long": 10**30, "number": "12", "truth": "T",
     "with blank": 1, "ünï": "é", "label": "mine", "set": "train", "Energy": 3.0, "nine": [0.5] * 9},
    {"group": "x", "config_name": "007", "id": "0012", "tag": "1e5"},
)  # fmt: skip


def sample(groups: tuple[str, ...] = HOSTILE, seed: int = 1) -> list[Configuration]:
    """Two of each group: some not periodic, without labels, with spins and charges; every kind of ``info``."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(2 * len(groups)):
        n = int(rng.integers(1, 5))
        cell = rng.normal(0, 0.3, (3, 3)) + 4 * np.eye(3)
        c = Configuration(
            rng.choice([1, 26, 73], n).astype(np.int32), rng.normal(0, 3, (n, 3)), cell, np.ones(3, bool),
            float(rng.normal() * 1e3), rng.normal(size=(n, 3)), rng.normal(size=6) * 10.0 ** rng.integers(-6, 2),
            groups[i % len(groups)], "made", i, info=INFO[i % len(INFO)],
        )  # fmt: skip
        if i % 7 == 1:
            c = replace(c, energy=float("nan"))
        if i % 7 == 2:
            c = replace(c, forces=None)
        if i % 7 == 3:
            c = replace(c, stress=None)
        if i % 11 == 4:
            c = replace(c, pbc=np.array([True, True, False]), stress=None)
        if i % 11 == 5:
            c = replace(c, pbc=np.zeros(3, bool), cell=np.zeros((3, 3)), stress=None)
        if i % 5 == 1:
            c = replace(c, spin=rng.normal(size=(n, 3)))
        if i % 5 == 2:
            c = replace(c, charge=rng.normal(size=n))
        out.append(c)
    return out


def store_of(path: Path, configurations: list[Configuration], size: int = 30) -> Repository:
    """A store of segments of ``size`` configurations."""
    repository = Repository.create(path)
    for start in range(0, len(configurations), size):
        batch = Batch.from_configurations(configurations[start : start + size])
        order = group_order(batch)
        batch = batch if order is None else batch.take(order)
        with repository.transaction("add", {"verb": "ingest"}) as tx:
            write_segment(tx, segment_name(batch, ()), batch)
    return repository


def held(repository: Repository) -> Counter[tuple[bytes, str, str]]:
    """Content hash, group and info of everything."""
    batches = list(read_selection(select(repository.at())))
    return Counter(
        (b.uid[i].tobytes(), str(b.group[i]), repr(sorted(b[i].info.items()))) for b in batches for i in range(len(b))
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return store_of(tmp_path_factory.mktemp("writers") / "a.mlip", sample())


def back(folder: Path, result: Any) -> Repository:
    """What was written, ingested into a store of its own, as the result says."""
    other = Repository.create(folder / "back.mlip")
    added = ingest(other, [result.path], ReadOptions(**result.options), result.format)
    assert added.added == result.configurations
    return other


@pytest.mark.parametrize("name", WRITERS)
def test_what_it_says_is_lost_is_all_that_is_lost(name: str, repository: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    result = export_data(repository, name, folder / f"out{registry.get('writers', name).suffix}")
    whole = sum(result.groups.values())
    assert result.configurations + sum(result.left_out.values()) == whole == 2 * len(HOSTILE)
    inside = folder.resolve()
    assert {p.name for p in tmp_path.iterdir()} == {"here"} and len(list(folder.iterdir())) == 1
    for path, names, files in os.walk(folder):
        assert all((Path(path) / n).resolve().is_relative_to(inside) for n in [*names, *files])
    mine, theirs = held(repository), held(back(tmp_path, result))
    losses = sum(n for what, n in result.lost.items())
    different = (mine - theirs).total() - sum(result.left_out.values())
    assert different <= losses, list(result.lost)
    assert {g for _, g, _ in theirs} <= {g for _, g, _ in mine} or any("group" in w for w in result.lost)


@pytest.mark.parametrize("name", WRITERS)
def test_what_every_format_can_hold_comes_back_whole(name: str, tmp_path: Path) -> None:
    """Periodic, labelled: the same content hashes and groups, but for what the format says that it changes."""
    plain = [replace(c, info={}, spin=None, charge=c.charge, pbc=np.ones(3, bool), energy=1 / 3 + i,
                     cell=4 * np.eye(3) + 0.1 * i, forces=np.full((len(c), 3), i / 7), stress=None)
             for i, c in enumerate(sample(("bulk", "melt_2000K", "surface"), 5))]  # fmt: skip
    repository = store_of(tmp_path / "a.mlip", plain)
    result = export_data(repository, name, tmp_path / "out")
    assert not result.left_out
    mine, theirs = held(repository), held(back(tmp_path, result))
    assert Counter(k[:2] for k in theirs.elements()) == Counter(k[:2] for k in mine.elements())
    assert theirs == mine or result.options["group_by"] == "key:comment"  # which stays in ``info``


@pytest.mark.parametrize("name", ["extxyz", "ase-db"])
def test_formats_without_gaps_lose_nothing(name: str, repository: Repository, tmp_path: Path) -> None:
    """Every configuration comes back with its hash and its group, whatever they are."""
    result = export_data(repository, name, tmp_path / "out.x")
    assert not result.left_out
    other = held(back(tmp_path, result))
    assert Counter(k[:2] for k in other.elements()) == Counter(k[:2] for k in held(repository).elements())
    again = export_data(Repository.open(tmp_path / "back.mlip"), name, tmp_path / "again.x")
    assert not again.left_out


def test_ase_reads_extended_xyz(repository: Repository, tmp_path: Path) -> None:
    from ase.io import read

    export_data(repository, "extxyz", tmp_path / "out.xyz")
    frames = read(tmp_path / "out.xyz", ":")
    batches = list(read_selection(select(repository.at())))
    for atoms, c in zip(frames, (c for b in batches for c in b), strict=True):
        assert str(atoms.info["config_type"]) == c.group
        assert np.array_equal(atoms.positions, c.positions) and np.array_equal(atoms.pbc, c.pbc)
        assert c.forces is None or np.array_equal(atoms.get_forces(), c.forces)
        assert c.stress is None or np.array_equal(atoms.get_stress(), c.stress)


def test_a_selection_and_a_version(repository: Repository, tmp_path: Path) -> None:
    result = export_data(repository, "extxyz", tmp_path / "some.xyz", 'group in ("bulk", "surface") and has_energy')
    assert set(result.groups) == {"bulk", "surface"}
    with pytest.raises(SettingsError, match="exists"):
        export_data(repository, "extxyz", tmp_path / "some.xyz")
    with pytest.raises(SettingsError, match="no configuration is selected"):
        export_data(repository, "extxyz", tmp_path / "none.xyz", "n_atoms > 1000")
    with pytest.raises(SettingsError, match="hold none"):
        export_data(repository, "n2p2", tmp_path / "none.data", "not has_forces")
    with pytest.raises(StoreError, match="cannot write"):
        export_data(repository, "extxyz", tmp_path / "some.xyz" / "out.xyz")
    assert [p.name for p in tmp_path.iterdir()] == ["some.xyz"]
    first = repository.log()[-1].id
    assert export_data(repository, "extxyz", tmp_path / "old.xyz", ref=first).configurations == 30


def test_folder_names() -> None:
    names = folder_names(HOSTILE)
    assert len({n.casefold() for n in names.values()}) == len(HOSTILE)
    for group, name in names.items():
        assert name not in ("", ".", "..") and len(name.encode()) < 150
        assert not set(name) & set('/\\:*?"<>|\0') and not any(ord(c) < 32 for c in name)
        assert name[0] not in " -~" and name[-1] not in " ."
        assert name.partition(".")[0].lower() not in ("con", "nul"), group
    assert folder_names(["bulk", "melt_2000K", "v1.5", "表面"]) == {
        g: g for g in ("bulk", "melt_2000K", "v1.5", "表面")
    }


def test_stress_in_bar_is_as_near_as_can_be() -> None:
    stress = np.random.default_rng(3).normal(size=6) * 10.0 ** np.arange(-6, 0)
    bar, exact = in_bar(stress)
    scale = -1.0 / 1.6021765e6
    assert np.all(np.abs(bar * scale - stress) <= np.spacing(np.abs(stress))) and exact == np.all(bar * scale == stress)
