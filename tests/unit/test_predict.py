"""Predictions for files, and which labels in them count."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from mlipstore.errors import ComputeError, InputError, SettingsError
from mlipstore.executors.processes import Processes
from mlipstore.predict import predict
from mlipstore.readers.extxyz import ExtXyz
from mlipstore.reading import ReadReport

from .test_lammps_snap import model_of

MODEL = model_of({"twojmax": 2})


def source(path: Path, stress: tuple[float, ...] | None, symbols: str = "WBe") -> Path:
    """Four periodic cells of two atoms with an energy, forces and a stress."""
    rng = np.random.default_rng(1)
    images = []
    for i in range(4):
        atoms = Atoms(symbols, positions=[[0, 0, 0], [1.6, 1.5, 1.4]], cell=[3.1, 3.2, 3.3], pbc=True)
        atoms.rattle(0.05, seed=i)
        labels = {"energy": -10.0 - i, "forces": rng.normal(size=(2, 3))}
        if stress is not None:
            labels["stress"] = np.array(stress)
        atoms.calc = SinglePointCalculator(atoms, **labels)
        images.append(atoms)
    write(path, images)
    return path


def test_a_stress_of_zeros_is_no_label_unless_told(tmp_path: Path) -> None:
    zeros = source(tmp_path / "zeros.xyz", (0.0,) * 6)
    result = predict(MODEL, zeros)
    assert {e.kind for e in result.errors} == {"energy", "force"}
    assert result.checks.zero_stress == 4 and result.to_json()["zero_stress"] == 4
    kept = predict(MODEL, zeros, zero_stress="value")
    assert {e.kind: e.n for e in kept.errors if e.group == "*"} == {"energy": 4, "force": 24, "stress": 24}
    with pytest.raises(SettingsError, match="it is 'missing' or 'value'"):
        predict(MODEL, zeros, zero_stress="zero")


def test_unknown_elements_are_named(tmp_path: Path) -> None:
    with pytest.raises(ComputeError, match=r"frame 0 .* has Al, Au, which model 'fit-1' does not know.*fitted for"):
        predict(MODEL, source(tmp_path / "other.xyz", None, "AuAl"), tmp_path / "out.xyz")
    assert not (tmp_path / "out.xyz").exists()


def test_a_configuration_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.xyz"
    write(file, Atoms("WBe", [[0, 0, 0], [1, 1, 1]], cell=[[3, 0, 0], [3, 0, 0], [0, 0, 3]], pbc=True))
    with pytest.raises(InputError, match=r"bad\.xyz.*no volume"):
        predict(MODEL, file)


def test_packed_files(tmp_path: Path) -> None:
    plain = source(tmp_path / "some.xyz", None)
    predict(MODEL, plain, tmp_path / "a.xyz")
    packed = tmp_path / "some.xyz.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    predict(MODEL, packed, tmp_path / "b.xyz")
    assert (tmp_path / "a.xyz").read_text() == (tmp_path / "b.xyz").read_text()
    assert len(read(tmp_path / "b.xyz", ":")) == 4


def test_workers_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the file, to the last digit; an error of a worker leaves no file behind."""
    monkeypatch.setattr("mlipstore.predict._BATCH_ATOMS", 3)
    sound, broken = source(tmp_path / "a.xyz", None), source(tmp_path / "b.xyz", None, "AuAl")
    alone = predict(MODEL, sound, tmp_path / "alone.xyz")
    workers = Processes(2)
    try:
        assert predict(MODEL, sound, tmp_path / "few.xyz", executor=workers).errors == alone.errors
        assert workers.warm_up > 0  # too little to do to start any
        list(workers.map(abs, range(2)))
        assert predict(MODEL, sound, tmp_path / "many.xyz", executor=workers).errors == alone.errors
        with pytest.raises(ComputeError, match="does not know"):
            predict(MODEL, broken, tmp_path / "none.xyz", executor=workers)
    finally:
        workers.close()
    assert (tmp_path / "many.xyz").read_bytes() == (tmp_path / "alone.xyz").read_bytes()
    assert not (tmp_path / "none.xyz").exists()


def test_labels_get_the_zero_of_energy_of_the_fit(tmp_path: Path) -> None:
    file = source(tmp_path / "a.xyz", None)
    shifts = {"W": 2.0, "Be": -0.5}
    shifted = replace(MODEL, provenance={**MODEL.provenance, "fit": {"element_shifts": shifts}})
    plain, moved = predict(MODEL, file), predict(shifted, file)
    energy, other = (next(e for e in r.errors if e.kind == "energy" and e.group == "*") for r in (plain, moved))
    values = [a.get_potential_energy() for a in read(predict(MODEL, file, tmp_path / "out.xyz").output, ":")]
    expected = [(-10.0 - i + 1.5 - e) / 2 for i, e in enumerate(values)]
    assert other.mae == pytest.approx(np.mean(np.abs(expected)), rel=1e-12)
    assert energy.mae != other.mae
    assert moved.report.assumed == {"the zero of energy of the fit: labels get W +2, Be -0.5 eV per atom": 4}
    assert not plain.report.assumed


@pytest.mark.parametrize("group", ['say "hi"', "a=b", "back\\slash", "two words", "ü"])
def test_groups_come_back_from_the_file(group: str, tmp_path: Path) -> None:
    images = read(source(tmp_path / "a.xyz", None), ":")
    for atoms in images:
        atoms.info["config_type"] = group
    write(tmp_path / "b.xyz", images)
    predict(MODEL, tmp_path / "b.xyz", tmp_path / "out.xyz")
    assert {c.group for c in ExtXyz().read(tmp_path / "out.xyz", ReadReport())} == {group}
