"""The documentation says what the program does: generated parts are fresh, links lead somewhere, examples are valid."""

from __future__ import annotations

import copy
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore import registry
from mlipstore.errors import MlipstoreError, SettingsError
from mlipstore.schema import Document, check
from tests import reader_samples
from tests.docs_pages import DOCS, PAGES, ROOT, all_blocks, anchors, blocks, commands, generator, links

EXAMPLES = ROOT / "examples" / "plugins"
#: Example plugin files and the kind of plugin they are.
KIND_OF = {
    "pair_powers": "descriptors",
    "json_lines": "readers",
    "nonnegative": "solvers",
    "json_model": "exporters",
}
FLAT_BASELINE = """
from dataclasses import dataclass
import numpy as np
from mlipstore.computing import Reference

@dataclass(frozen=True)
class Flat:
    elements: tuple = ()
    def label(self):
        return "flat"
    def evaluate(self, batch):
        return Reference(np.zeros(len(batch)), np.zeros((len(batch.number), 3)), np.zeros((len(batch), 6)))

plugin = Flat
"""


# ------------------------------------------------------------------- generated
@pytest.mark.parametrize("path", sorted(generator().files()), ids=lambda p: p.name)
def test_what_is_generated_is_fresh(path: Path) -> None:
    expected = generator().files()[path]
    have = path.read_text(encoding="utf-8") if path.exists() else ""
    assert have == expected, f"{path.relative_to(ROOT)} is stale: run python docs/generate.py (or make docs)"


def test_the_generated_command_line_is_that_of_help() -> None:
    from mlipstore_cli.app import app
    from mlipstore_cli.help import parameters
    from typer.main import get_command
    from typer.testing import CliRunner

    runner = CliRunner(env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    understood = get_command(app).commands  # type: ignore[attr-defined]
    for name, function in generator().commands():
        arguments, options = parameters(function)
        shown = runner.invoke(app, [name, "--help"]).output
        assert " ".join((inspect.getdoc(function) or "").split()) in " ".join(shown.split()), name
        documented = {o for p in options for o in re.findall(r"--?[a-z][\w-]*", p.written)}
        assert documented == {o for p in understood[name].params for o in p.opts if o.startswith("-")}, name
        real = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*\b", re.sub(r"'[^']*'", "", shown)))
        assert documented <= real, (name, documented - real)
        assert {o for o in real if o.startswith("--")} - documented <= {"--help"}, name
        for p in arguments:
            assert p.written.strip("[]") in shown


def test_every_command_is_listed_once_below_a_heading() -> None:
    from mlipstore_cli.app import SECTIONS

    listed = [name for _, names in SECTIONS for name in names]
    assert sorted(listed) == sorted(name for name, _ in generator().commands())


# ------------------------------------------------------------ links and blocks
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda p: p.name)
def test_pages_begin_with_a_title_and_name_no_private_place(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert not re.search(r"/(work|tmp|home)/", text)


@pytest.mark.parametrize("block", all_blocks("toml"), ids=lambda b: b.place)
def test_run_file_examples_are_valid(block: Any) -> None:
    from mlipstore.runs.runfile import RunFile

    values = tomllib.loads(block.text)
    check(Document(values, block.place, block.text), "run")
    used = [(kind, values[table]["type"]) for table, kind in (("descriptor", "descriptors"), ("baseline", "baselines"))
            if table in values]  # fmt: skip
    if all(name in registry.names(kind) for kind, name in used):
        RunFile.from_dict(values, block.place, block.text)


@pytest.mark.parametrize("block", all_blocks("console"), ids=lambda b: b.place)
def test_commands_in_examples_exist(block: Any) -> None:
    import typer
    from mlipstore_cli.app import app

    group: Any = typer.main.get_command(app)
    for words in commands(block):
        if words[:1] in (["--help"], ["--version"]):
            continue
        assert words and words[0] in group.commands, f"{block.place}: mlipstore {' '.join(words)}"
        if "--help" in words:
            continue
        try:
            group.commands[words[0]].make_context(words[0], words[1:])
        except Exception as error:  # whatever the parser of this version raises
            pytest.fail(f"{block.place}: mlipstore {' '.join(words)}: {error}")


def test_there_are_blocks_to_check() -> None:
    assert len(all_blocks("toml")) >= 2 and sum(len(list(commands(b))) for b in all_blocks("console")) > 20
    with pytest.raises(AssertionError):
        test_commands_in_examples_exist(type(all_blocks("console")[0])("console", "$ mlipstore igest a b\n", "here"))


@pytest.mark.parametrize("block", all_blocks("python"), ids=lambda b: b.place)
def test_python_examples_compile(block: Any) -> None:
    compile(block.text, block.place, "exec")


# --------------------------------------------------------------- a small store
def frames(n: int = 12) -> Iterator[dict[str, Any]]:
    """Shaken copper pairs with made-up labels, as lines of the example reader."""
    rng = np.random.default_rng(0)
    for i in range(n):
        a = 2.5 + 0.02 * i
        yield {
            "symbols": ["Cu", "Cu"],
            "positions": (np.array([[0.0, 0, 0], [a / 2] * 3]) + rng.normal(0, 0.05, (2, 3))).tolist(),
            "cell": (a * np.eye(3)).tolist(),
            "energy": float(rng.normal()),
            "forces": rng.normal(size=(2, 3)).tolist(),
            "stress": rng.normal(size=6).tolist(),
            "group": "Liquid" if i % 2 else "Solid",
        }


def write_lines(path: Path) -> Path:
    path.write_text("".join(json.dumps(f) + "\n" for f in frames()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def example_plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example plugins as files in the folders of plugins."""
    import importlib

    with pytest.MonkeyPatch.context() as patch:
        for kind in registry.KINDS:
            folder = tmp_path_factory.mktemp(kind)
            for name in (n for n, k in KIND_OF.items() if k == kind):
                shutil.copy(EXAMPLES / f"{name}.py", folder)
            if kind == "baselines":
                (folder / "flat.py").write_text(FLAT_BASELINE, encoding="utf-8")
            package = importlib.import_module(f"mlipstore.{kind}")
            patch.setattr(package, "__path__", [*package.__path__, str(folder)])
        registry.names.cache_clear()
        yield
    for name, kind in [*KIND_OF.items(), ("flat", "baselines")]:
        sys.modules.pop(f"mlipstore.{kind}.{name}", None)
    registry.names.cache_clear()


@pytest.fixture(scope="module")
def small_store(example_plugins: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with features in both precisions, a baseline, factors, a study and a model, of the example plugins."""
    import mlipstore
    import mlipstore.curation.annotations as annotations  # "from mlipstore" would find the __future__
    from mlipstore.kept.compute import factor
    from mlipstore.runs.runfile import Fit, Search
    from mlipstore.searching.search import search

    folder = tmp_path_factory.mktemp("small")
    store = mlipstore.create_store(folder / "ta.mlip")
    store.ingest(write_lines(folder / "frames.jsonl"), group_by="key:group")
    settings = {"type": "pair-powers", "elements": ["Cu"], "cutoff": 4.0, "n_powers": 3}
    store.featurize({**settings, "name": "snap-2J6"}, {"type": "flat", "elements": ["Cu"]})
    store.featurize({**settings, "name": "half", "float32": True})
    store.fit({"name": "first", "features": "snap-2J6", "solver": {"type": "nonnegative"}})
    factor(store.repository, Fit.from_dict({"features": "half"}), folds=2)
    half = Fit.from_dict({"features": "half"})
    search(store.repository, half, Search(trials=1, validation="folds", folds=2, method="random"))
    with store.repository.transaction("annotate", {"verb": "annotate"}) as tx:
        annotations.write(tx.root, annotations.Annotation("flag", "odd", {bytes(32): None}))
        annotations.write(tx.root, annotations.Annotation("value", "note", {bytes(32): "a look at it"}))
    store.audit(keep=True)
    return folder / "ta.mlip"


def tree_of(store: Path) -> dict[str, Any]:
    from mlipstore.store import Repository

    tree: dict[str, Any] = generator().store_schema.tree(Repository.open(store).at().root)
    return tree


def test_a_store_keeps_the_schema(small_store: Path) -> None:
    tree = tree_of(small_store)
    check(Document(tree, "store"), "store")
    assert json.loads(json.dumps(tree)) == tree
    groups = tree["groups"]
    assert all(groups[n]["groups"] for n in groups if n not in ("index", "card"))


def test_a_store_that_breaks_the_schema_is_noticed(small_store: Path) -> None:
    good = tree_of(small_store)
    (segment,) = good["groups"]["configurations"]["groups"]

    def broken(change: Any) -> str:
        tree = copy.deepcopy(good)
        change(tree["groups"]["configurations"]["groups"][segment], tree)
        with pytest.raises(SettingsError) as error:
            check(Document(tree, "store"), "store")
        return str(error.value)

    assert "energy" in broken(lambda here, tree: here["arrays"].pop("energy"))
    assert "units" in broken(lambda here, tree: here["arrays"]["energy"]["attributes"].update(units="Ha"))
    assert "dimension_names" in broken(
        lambda here, tree: here["arrays"]["cell"].update(dimension_names=["a", "b", "c"])
    )
    assert "shape" in broken(lambda here, tree: here["arrays"]["stress"].update(shape=[12, 9]))
    assert "codecs" in broken(lambda here, tree: here["arrays"]["energy"].update(codecs=[{"name": "bytes"}]))
    assert "data_type" in broken(lambda here, tree: here["arrays"]["energy"].update(data_type="float32"))
    assert "surprise" in broken(lambda here, tree: here["arrays"].update(surprise=here["arrays"]["energy"]))
    assert "mlipstore_format" in broken(lambda here, tree: tree["attributes"].update(mlipstore_format=99))
    assert "index" in broken(lambda here, tree: tree["groups"].pop("index"))
    model = next(iter(good["groups"]["models"]["groups"]))
    assert "command" in broken(
        lambda here, tree: tree["groups"]["models"]["groups"][model]["attributes"]["provenance"].pop("command")
    )


def test_the_schema_has_every_array_of_the_layout() -> None:
    from mlipstore.layout import GROUPS

    schema = generator().store_schema
    for path, arrays in GROUPS.items():
        assert schema.ABOUT.get(path), f"say in docs/store_schema.py what {path} is for"
        rules = schema.schema()["$defs"][schema.reference(path).rpartition("/")[2]]["properties"]["arrays"]
        assert set(rules["properties"]) == set(arrays)
        assert set(rules["required"]) == {name for name, spec in arrays.items() if not spec.optional}


def test_python_examples_of_the_layout_run(small_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_store.parent)
    examples = [b for b in blocks(DOCS / "layout.md") if b.info == "python"]
    assert len(examples) == 2
    for block in examples:
        exec(compile(block.text, block.place, "exec"), {})


# --------------------------------------------------------------------- plugins
def test_example_plugins_are_shown_whole() -> None:
    text = (DOCS / "plugins.md").read_text(encoding="utf-8")
    for path in sorted(EXAMPLES.glob("*.py")):
        assert path.stem in KIND_OF
        assert path.read_text(encoding="utf-8").rstrip("\n") in text


def test_example_plugins_as_files(small_store: Path, tmp_path: Path) -> None:
    import mlipstore

    store = mlipstore.open_store(small_store)
    assert len(store.configurations) == 12
    assert (store.model("first").coefficients >= 0).all()
    result = store.export("first", tmp_path / "copper", format="json-model")
    assert result.check["ok"] and json.loads(result.files[0].read_text())["constants"].keys() == {"Cu"}
    for write in (
        lambda **force: store.export("first", tmp_path / "copper", format="json-model", **force),
        lambda **force: store.export_data("extxyz", tmp_path / "cu.xyz", **force),
        lambda **force: store.predict("first", tmp_path / "cu.xyz", tmp_path / "cu.predicted.xyz", **force),
    ):
        write(force=True)
        before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
        with pytest.raises(MlipstoreError, match=r"exists.*force=True in Python"):
            write()
        assert before == {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
        write(force=True)
    assert store.replay("first").equal
    with pytest.raises(MlipstoreError, match="Did you mean 'cutoff'"):
        registry.make("descriptors", "pair-powers", {"elements": ["Cu"], "cutof": 3.0})


def environment(package: Path) -> dict[str, str]:
    """That of a process that finds the repository and an installed package of plugins."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    path = [str(package), str(ROOT), str(ROOT / "cli"), kept.get("PYTHONPATH", "")]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "PYTHONIOENCODING": "utf-8"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example plugins as an installed package with entry points, and a sample for the reader."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLES, folder / "lab_plugins", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "lab_plugins" / "__init__.py").touch()
    about = folder / "lab-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    lines = [f"[mlipstore.{k}]\n{n.replace('_', '-')} = lab_plugins.{n}:plugin\n" for n, k in KIND_OF.items()]
    (about / "entry_points.txt").write_text("\n".join(lines))
    (folder / "lab_samples.py").write_text(inspect.getsource(sample_of_json_lines) + "\nsample_of_json_lines()\n")
    return folder


def sample_of_json_lines() -> None:
    """Runs in the process of the contract tests: the sample file of the reader."""
    import json

    from tests import reader_samples as s

    def write(folder):  # type: ignore[no-untyped-def]
        path = folder / "sample.jsonl"
        lines = [
            {
                "symbols": s.SYMBOLS,
                "positions": s.positions(i).tolist(),
                "cell": s.CELL.tolist(),
                "energy": s.energy(i),
                "forces": s.forces(i).tolist(),
                "stress": (s.STRESS * 160.2176634).tolist(),
            }
            for i in range(3)
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    s.SAMPLES["json-lines"] = [s.Sample(write)]


def test_example_plugins_keep_the_contracts(package: Path) -> None:
    """As a user's package, found by its entry points, in the process of its own that the documentation names."""
    assert "json-lines" not in reader_samples.SAMPLES
    names = " or ".join(n.replace("_", "-") for n in KIND_OF)
    command = ["-m", "pytest", "-q", "-p", "lab_samples", "-p", "no:cacheprovider", "tests/contracts", "-k", names]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment(package), capture_output=True, encoding="utf-8",
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) >= 50
    assert "skipped" not in done.stdout


def test_example_plugins_on_the_command_line(package: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "frames.jsonl")
    (tmp_path / "run.toml").write_text(
        'store = "cu.mlip"\n[ingest]\nsources = ["frames.jsonl"]\n[descriptor]\ntype = "pair-powers"\n'
        'elements = ["Cu"]\ncutoff = 4.0\n[fit]\nname = "cu"\nsolver = { type = "nonnegative" }\n'
        '[export]\nformats = ["json-model"]\nprefix = "cu"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "mlipstore_cli", "run", "run.toml", "--executor", "serial"], cwd=tmp_path,
        env=environment(package), capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stress in GPa, tension positive (JSON lines)" in done.stdout
    assert "pair-powers-8: 12 configurations" in done.stdout
    assert (tmp_path / "cu.model.json").exists()
