"""Schemas, their errors, canonical text, and TOML with places."""

from __future__ import annotations

import json
import math
import tomllib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipstore.errors import InputError, SettingsError
from mlipstore.runs.toml_text import dump_toml, line_of
from mlipstore.schema import Document, canonical, check, folder, read_toml, schema

NAMES = sorted(p.name.removesuffix(".schema.json") for p in folder().glob("*.schema.json"))


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_valid_draft_2020_12(name: str) -> None:
    from jsonschema import Draft202012Validator

    assert schema(name)["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("name", ["run", "model"])
def test_every_property_has_a_description(name: str) -> None:
    def walk(node: Any, path: str) -> None:
        for key, rule in node.get("properties", {}).items():
            target = schema(name)["$defs"].get(rule.get("$ref", "").rpartition("/")[2], {})
            assert rule.get("description") or target.get("description"), f"{path}.{key}"
            walk(rule, f"{path}.{key}")
        for key, rule in node.get("$defs", {}).items():
            assert rule.get("description"), f"{path}.$defs.{key}"
            walk(rule, f"{path}.$defs.{key}")

    walk(schema(name), name)


BAD = [
    ("stroe = 'a.mlip'", "line 1, stroe: unknown key. Did you mean 'store'?"),
    ("seed = 1", "It belongs in [fit]."),
    ("[fit]\nsede = 1", "line 2, fit.sede: unknown key. Did you mean 'seed'?"),
    ("[fit]\nseed = 1.5", "line 2, fit.seed: found 1.5, expected an integer"),
    ("[fit]\nconstant = 'yes'", 'found "yes", expected true or false'),
    ("[fit]\nseed = -1", "found -1, expected at least 0"),
    ("[fit]\nweight_scaling = 'group_size'", "expected one of 'none', 'group-size'"),
    ("[fit]\nweight_scaling = 'group_size'", "Did you mean 'group-size'?"),
    ("[fit.groups]\nA = { enrgy = 1 }", "line 2, fit.groups.A.enrgy: unknown key. Did you mean 'energy'?"),
    ("[fit.groups]\n'a b' = { energy = -1 }", 'line 2, fit.groups."a b".energy: found -1, expected at least 0'),
    ("[fit.groups]\nA = 3", "line 2, fit.groups.A: found 3, expected a table"),
    ("[fit.groups]\nA = { energy = true }", "found true, expected a number"),
    ("[fit.groups]\nA = { energy = nan }", "found nan, expected a finite number"),
    ("[fit.groups]\nA = { energy = inf }", "found inf, expected a finite number"),
    ("[fit.element_shifts]\nw = 1.0", "'w' is not the symbol of an element"),
    ("[fit]\nseed = 1979-05-27", "found the date or time 1979-05-27"),
    ("[fit]\nmax_memory = '4 gigs'", "not of the expected form"),
    ("[ingest]\nformat = 'x'", "line 1, ingest: the key 'sources' is missing"),
    ("[ingest]\nsources = []", "ingest.sources: is empty"),
    ("[ingest]\nsources = 'JSON'", "expected a list"),
    ("[ingest]\nsources = ['a']\ngroup_by = 'folder'", "group_by: found"),
    ("[export]\nformats = ['a', 'a']", "names a more than once"),
    ("[descriptor]\ncutoff = 1", "descriptor: the key 'type' is missing"),
    ("[fit.solver]\nrcond = 1e-3", "fit.solver: the key 'type' is missing"),
    ("[plot]\nformat = 'jpg'", "expected one of 'png', 'svg', 'pdf'"),
]


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_what_is_wrong_where_and_the_remedy(text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as error:
        check(Document(tomllib.loads(text), "run.toml", text), "run")
    assert str(error.value).startswith("run.toml, ")
    assert expected in str(error.value)


def test_all_problems_are_listed_in_the_order_of_the_file() -> None:
    text = "[fit]\nsede = 1\nconstant = 3\n[plot]\nfromat = 'png'\n"
    with pytest.raises(SettingsError) as error:
        check(Document(tomllib.loads(text), "run.toml", text), "run")
    lines = str(error.value).splitlines()
    assert [line.split(",")[1] for line in lines] == [" line 2", " line 3", " line 5"]
    many = "".join(f"key{i} = 1\n" for i in range(20))
    with pytest.raises(SettingsError, match="problems not shown: 12"):
        check(Document(tomllib.loads(many), "run.toml", many), "run")


TOML_ERRORS = [
    (b"store = ta.mlip\n", "line 1: column 9", "needs quotation marks"),
    (b"\n\nconstant = True\n", "line 3", "true and false"),
    (b"rcond = 1.e-3\n", "line 1", "digits on both sides"),
    (b"[fit\nseed = 1\n", "line 1", "not valid TOML"),
    (b"seed\n", "line 1", "key = value"),
    (b"a = 1\na = 2\n", "line 2", "cannot overwrite"),
    (b"a = [1,\n", "line", "not valid TOML"),
    (b"a = \xff\n", "run.toml", "UTF-8"),
]


@pytest.mark.parametrize(("data", "place", "remedy"), TOML_ERRORS)
def test_toml_errors_name_line_column_and_remedy(tmp_path: Any, data: bytes, place: str, remedy: str) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        read_toml(path)
    assert place in str(error.value) and remedy in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Any) -> None:
    with pytest.raises(SettingsError, match="there is no file"):
        read_toml(tmp_path / "run.toml")
    with pytest.raises(SettingsError, match="is a folder"):
        read_toml(tmp_path)


def test_byte_order_mark_and_windows_lines_are_read(tmp_path: Any) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbf[fit]\r\nseed = 3\r\n")
    assert read_toml(path).values == {"fit": {"seed": 3}}


def test_lines_of_keys() -> None:
    text = (
        '# a\n[fit]\nseed = 1\n[fit.groups]\nA = { train = 1.0 }\n"b c".train = 1\n[export]\nformats = [\n  "x",\n]\n'
    )
    assert line_of(text, ("fit", "seed")) == 3
    assert line_of(text, ("fit", "groups", "A", "train")) == 5
    assert line_of(text, ("fit", "groups", "b c", "train")) == 6
    assert line_of(text, ("fit", "solver", "type")) == 2
    assert line_of(text, ("export", "formats", 0)) == 8
    assert line_of(text, ("plot", "format")) is None


_SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=12),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda v: (
        st.lists(v, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), v, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), _VALUES, max_size=4))
def test_what_is_written_reads_back(values: dict[str, Any]) -> None:
    # a table inside a table says nothing when it is empty, and is left out
    expected = {
        k: {kk: vv for kk, vv in v.items() if vv != {}} if isinstance(v, dict) else v for k, v in values.items()
    }
    text = dump_toml(values, {(k,): "a comment\nof two lines" for k in values})
    assert canonical(tomllib.loads(text)) == canonical(expected)


def test_canonical_is_one_text_for_equal_settings() -> None:
    a = {"b": [1, 2.5, "å"], "a": {"y": None, "x": True}}
    b = {"a": {"x": True, "y": None}, "b": (np.int64(1), np.float64(2.5), "å")}
    assert canonical(a) == canonical(b) == '{"a":{"x":true,"y":null},"b":[1,2.5,"å"]}'
    assert canonical({"train": 1}) != canonical({"train": 1.0})
    assert json.loads(canonical({"x": 0.1 + 0.2}))["x"] == 0.1 + 0.2
    with pytest.raises(ValueError):
        canonical({"x": math.nan})


def provenance() -> dict[str, Any]:
    plugin = {"id": "3c1a", "alias": "snap-2J6", "type": "snap", "settings": {"rcutfac": 4.7}}
    return {
        "data_snapshot": "B9QD",
        "data_digest": "0a1b",
        "feature": plugin,
        "baseline": None,
        "fit": {"features": "3c1a", "baseline": "none", "seed": 0, "solver": {"type": "qr", "rcond": None}},
        "groups": {"all": {"train": 3, "test": 0}},
        "solution": {"rank": 31, "condition": 2.7e5, "weighted_residual_norm": 21.57, "rows": 15213},
        "versions": {"mlipstore": "0.1", "python": "3.11", "numpy": "2.0"},
        "command": "mlipstore fit",
    }


def test_model_provenance_is_checked_with_the_run_file_schema() -> None:
    check(Document(provenance(), "model"), "model")
    check(Document(provenance() | {"baseline": provenance()["feature"]}, "model"), "model")
    bad = provenance()
    bad["fit"]["sede"] = 1
    del bad["versions"]["numpy"]
    with pytest.raises(SettingsError) as error:
        check(Document(bad, "model"), "model")
    assert "fit.sede: unknown key" in str(error.value) and "'numpy' is missing" in str(error.value)
