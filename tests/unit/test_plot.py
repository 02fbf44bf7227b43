"""Pictures of a stored model: what is collected from its rows, what is written, and the files."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mlipstore import registry
from mlipstore.computing import Column, Reference, Rows, empty_rows
from mlipstore.configuration import Batch
from mlipstore.errors import MissingDependencyError, SettingsError, StoreError, UnknownNameError
from mlipstore.features import Feature, StoredBaseline
from mlipstore.featurize import featurize
from mlipstore.fit import fit, load
from mlipstore.ingest import ingest
from mlipstore.kept.problem import refit
from mlipstore.plot import FORMATS, plot
from mlipstore.plotting.collect import QUANTITIES, collect
from mlipstore.reading import ReadOptions
from mlipstore.runs.runfile import Fit, GroupSettings
from mlipstore.store import Repository

from .test_plotting import pictures, texts

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")

GROUPS = ("bulk/300K", "$x_1$ & 100%", "_hidden")


# ------------------------------------------------------------------- a small store
@dataclass(frozen=True)
class Anything:
    """Rows that are some function of the positions: pictures do not ask for physics."""

    elements: tuple[str, ...] = ("Cu",)

    def columns(self) -> list[Column]:
        return [Column(f"c{i}", "Cu") for i in range(3)]

    def label(self) -> str:
        return "anything"

    def rows(self, batch: Batch) -> Rows:
        out = empty_rows(batch, 3)
        powers = np.arange(1, 4)
        out.force[:] = np.sin(batch.position.reshape(-1, 1) * powers)
        for i, (a, b) in enumerate(itertools.pairwise(batch.atom_start)):
            out.energy[i] = np.cos(batch.position[a:b].sum() * powers)
        out.stress[:] = np.sin(np.arange(6 * len(batch))[:, None] + powers)
        return out


@dataclass(frozen=True)
class Slope:
    """A reference potential with an energy of 2 eV per atom and a force of 1, 2, 3 eV/Å on each."""

    elements: tuple[str, ...] = ("Cu",)

    def label(self) -> str:
        return "slope"

    def evaluate(self, batch: Batch) -> Reference:
        return Reference(
            2.0 * batch.n_atoms, np.tile([1.0, 2.0, 3.0], (len(batch.number), 1)), np.full((len(batch), 6), 0.01)
        )


@pytest.fixture(scope="module")
def plugins() -> Iterator[None]:
    real = registry.get
    mine = {("descriptors", "anything"): Anything, ("baselines", "slope"): Slope}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "get", lambda kind, name: mine.get((kind, name)) or real(kind, name))
        yield


def configurations(n: int, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        atoms = Atoms(
            "Cu4", positions=rng.uniform(0, 4, (4, 3)), cell=rng.normal(0, 0.5, (3, 3)) + 4 * np.eye(3), pbc=True
        )
        atoms.calc = SinglePointCalculator(
            atoms, energy=-12 + rng.normal(), forces=rng.normal(size=(4, 3)), stress=0.1 * rng.normal(size=6)
        )
        atoms.info["config_type"] = GROUPS[i % 3]
        out.append(atoms)
    return out


@pytest.fixture(scope="module")
def store(plugins: None, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """30 configurations in three groups of inconvenient names, and models ``plain``, ``based`` and ``turned``."""
    place = tmp_path_factory.mktemp("plot")
    write(place / "data.xyz", configurations(30, 1))
    repository = Repository.create(place / "a.mlip")
    ingest(repository, [place / "data.xyz"], ReadOptions())
    featurize(repository, Feature.of("anything", Anything(), None), StoredBaseline.of("slope", Slope(), None))
    split = GroupSettings(train=0.7, test=0.3, energy=10.0, force=1.0, stress=0.0)
    fit(repository, Fit(name="plain", baseline="none", default=split))
    fit(repository, Fit(name="based", baseline="slope", default=split, element_shifts={"Cu": 0.5}))
    fit(repository, Fit(name="turned", baseline="slope", frame="lammps", default=GroupSettings()))
    return repository


# -------------------------------------------------------------------- collecting
@pytest.mark.parametrize("model", ["plain", "based", "turned"])
def test_errors_are_those_of_the_fit(store: Repository, model: str) -> None:
    stored = {(e.group, e.split, e.kind): e for e in refit(store, model).model.errors if not e.weighted}
    kinds = collect(refit(store, model)).kinds
    mine = {(e.group, e.split, e.kind): e for k in kinds for e in k.errors}
    assert mine.keys() == stored.keys()
    scale = {q.kind: q.error_scale for q in QUANTITIES}
    for key, e in mine.items():
        assert e.n == stored[key].n
        np.testing.assert_allclose([e.rmse, e.mae, e.max], np.array(
            [stored[key].rmse, stored[key].mae, stored[key].max]) * scale[key[2]], rtol=1e-12)  # fmt: skip


@pytest.mark.parametrize("model", ["plain", "based"])
def test_reference_values_are_the_labels(store: Repository, model: str) -> None:
    """Whatever baseline was taken off for the fit; element shifts belong to the model and stay."""
    collected = collect(refit(store, model))
    data = configurations(30, 1)
    shift = 0.5 if model == "based" else 0.0
    labels = [
        [a.get_potential_energy() / 4 + shift for a in data],
        [f for a in data for f in a.get_forces().ravel()],
        [s for a in data for s in a.get_stress()],
    ]
    for kind, label in zip(collected.kinds, labels, strict=True):
        want = np.sort(label) * kind.quantity.axis_scale
        np.testing.assert_allclose(
            np.sort(kind.points["reference"]), want, rtol=1e-7, atol=1e-7
        )  # 8 digits in the file


def test_turned_rows_keep_their_length(store: Repository) -> None:
    data = configurations(30, 1)
    kinds = collect(refit(store, "turned")).kinds
    np.testing.assert_allclose(
        (kinds[1].points["reference"] ** 2).sum(), sum((a.get_forces() ** 2).sum() for a in data), rtol=1e-6
    )
    trace = sum(a.get_stress()[:3].sum() for a in data) * kinds[2].quantity.axis_scale
    assert abs(trace) > 1
    turned = refit(store, "turned")
    problem = turned.problem
    diagonal = [
        labels.targets[2].reshape(-1, 6)[:, :3].sum() + 0.03 * len(labels.n_atoms)  # Slope's part is a pressure
        for labels, block in problem.matrix.blocks(problem.table.split)
        if block.kind == 2
    ]
    np.testing.assert_allclose(sum(diagonal) * kinds[2].quantity.axis_scale, trace, rtol=1e-6)


def test_predictions_are_those_of_the_model(store: Repository) -> None:
    from mlipstore.model import Model

    model = Model.load(store.at(), "based")
    batch = Batch.concatenate([b for b in _batches(store)])
    predicted = model.predict(batch)
    kind = collect(refit(store, "based")).kinds[1]
    mine = kind.points["reference"] + kind.points["residual"] / 1e3
    np.testing.assert_allclose(np.sort(mine), np.sort(predicted.force.ravel()), rtol=1e-10, atol=1e-12)


def _batches(store: Repository) -> list[Batch]:
    from mlipstore.index import read_batch, segments

    return [read_batch(store.at(), s.name) for s in segments(store.at())]


def test_only_some_groups(store: Repository) -> None:
    whole, part = collect(refit(store, "plain")), collect(refit(store, "plain"), [GROUPS[1]])
    for a, b in zip(whole.kinds, part.kinds, strict=True):
        assert {e.group for e in b.errors} == {"*", GROUPS[1]}
        assert [e for e in a.errors if e.group == GROUPS[1]] == [e for e in b.errors if e.group == GROUPS[1]]
    with pytest.raises(UnknownNameError, match="Did you mean '_hidden'"):
        collect(refit(store, "plain"), ["hidden"])


def test_weights_of_zero_are_known(store: Repository) -> None:
    energy, _, stress = collect(refit(store, "plain")).kinds
    assert stress.unweighted.all() and not energy.unweighted.any()


def test_data_that_came_later_is_not_drawn(store: Repository, tmp_path: Path) -> None:
    """New configurations have no features yet, and were not in the fit."""
    import shutil

    copy = tmp_path / "copy.mlip"
    shutil.copytree(store.path, copy)
    repository = Repository.open(copy)
    before = collect(refit(repository, "plain"))
    write(tmp_path / "more.xyz", configurations(5, 2))
    ingest(repository, [tmp_path / "more.xyz"], ReadOptions())
    after = collect(refit(repository, "plain"))
    assert [k.seen.tolist() for k in after.kinds] == [k.seen.tolist() for k in before.kinds]


def test_nothing_to_draw(store: Repository, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no labelled training or test rows in '_hidden'"):
        name = fit(store, Fit(baseline="none", groups={"_hidden": GroupSettings(train=0.0, test=0.0)})).name
        plot(store, name, tmp_path, groups=["_hidden"])


# ----------------------------------------------------------------------- drawing
def test_names_are_shown_as_they_are(store: Repository) -> None:
    from mlipstore.plotting.style import style

    with style():
        drawn = pictures(collect(refit(store, "plain")))
        figure = drawn["parity-force"]
        legend = figure.axes[1].get_legend().get_texts()
        assert {t.get_text() for t in legend} == set(GROUPS)
        labels = drawn["errors-force"].axes[0].get_yticklabels()
        assert {t.get_text().split("  ")[0] for t in labels} == {"all groups", *GROUPS}
        for t in [*legend, *labels]:
            assert not t.get_parse_math()
        assert any("† not fitted" in t.get_text() for t, _ in texts(drawn["errors-stress"]))


def test_numbers_in_the_corner(store: Repository) -> None:
    from mlipstore.plotting.style import number, style

    entry = next(e for e in load(store.at(), refit(store, "plain").model.id).errors
                 if (e.group, e.split, e.kind, e.weighted) == ("*", "test", "force", False))  # fmt: skip
    with style():
        shown = [t.get_text() for t, _ in texts(pictures(collect(refit(store, "plain")))["parity-force"])]
    assert f"MAE    {number(entry.mae * 1e3)} meV/Å\nRMSE  {number(entry.rmse * 1e3)} meV/Å" in shown
    assert f"test: {entry.n} rows" in shown


# ------------------------------------------------------------------------- files
NAMES = [
    "parity-energy",
    "parity-force",
    "parity-stress",
    "errors-energy",
    "errors-force",
    "errors-stress",
    "residuals",
]


def test_files(store: Repository, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "deep" / "er"
    paths = plot(store, "plain", folder)
    assert [p.name for p in paths] == [f"plain-{name}.png" for name in NAMES]
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in paths)
    for path in paths:
        with Image.open(path) as image:
            assert image.info["dpi"][0] == pytest.approx(150, abs=0.1)


@pytest.fixture
def first_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the first picture and leave it at that."""
    import mlipstore.plot as module

    figures = module._figures
    monkeypatch.setattr(module, "_figures", lambda *a: itertools.islice(figures(*a), 1))


@pytest.mark.parametrize("format", FORMATS)
def test_files_have_the_same_bytes_every_time(store: Repository, tmp_path: Path, first_only: None, format: str) -> None:
    (path,) = plot(store, "plain", tmp_path, format)
    first = path.read_bytes()
    assert path.name == f"plain-parity-energy.{format}"
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[format])
    assert plot(store, "plain", tmp_path, format.upper()) == [path]
    assert path.read_bytes() == first


def test_file_names_are_safe(store: Repository, tmp_path: Path, first_only: None) -> None:
    name = "../../$etc/pass wd"
    model = fit(store, Fit(name=name, baseline="none", seed=7))
    paths = plot(store, name, tmp_path / "here")
    assert {p.parent for p in paths} == {tmp_path / "here"}
    assert paths[0].name == f"etc_pass_wd-{model.id[:4]}-parity-energy.png"


def test_the_settings_of_the_user_are_left_alone(store: Repository, tmp_path: Path, first_only: None) -> None:
    with matplotlib.rc_context({"text.usetex": True, "font.size": 3}):
        before = dict(matplotlib.rcParams)
        plot(store, "plain", tmp_path)
        assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_unknown_format(store: Repository, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"unknown picture format 'pgn'\. Did you mean 'png'\? Known: png, svg, pdf"
    ):
        plot(store, "plain", tmp_path / "x", "pgn")
    assert not (tmp_path / "x").exists()


def test_unknown_model(store: Repository, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'plain'"):
        plot(store, "plian", tmp_path)


def test_a_file_where_the_folder_should_be(store: Repository, tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*plots.*Choose another place"):
        plot(store, "plain", tmp_path / "plots")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(store: Repository, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="Permission denied"):
            plot(store, "plain", tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_full_disk_leaves_nothing_half_written(
    store: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    def fill(self: Figure, path: Path, **options: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fill)
    with pytest.raises(StoreError, match="No space left on device"):
        plot(store, "plain", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib(store: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [m for m in sys.modules if m == "matplotlib" or m.startswith("matplotlib.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mlipstore\[plot\]'"):
        plot(store, "plain", tmp_path / "x")
    assert not (tmp_path / "x").exists()
