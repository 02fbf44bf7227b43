"""The language of ``--where``: what it selects, against Python row by row; any text ends in an answer or one error."""

from __future__ import annotations

import builtins
import fnmatch
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipstore.curation.expression import Node
from mlipstore.curation.query import _Evaluation, select, table
from mlipstore.errors import SettingsError, UnknownNameError
from mlipstore.index import Index
from mlipstore.snapshot import Snapshot

from ..contracts.test_writers import sample, store_of

Row = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """An expression and what it means for a row."""

    text: str
    of: Callable[[Row], Any]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    groups = ("bulk", "melt 2000 K", "surface", "a'b")
    return store_of(tmp_path_factory.mktemp("where") / "a.mlip", [*sample(groups, 2), *sample(groups, 3)], 6).at()


# ------------------------------------------------------------- what is selected
_NUMBERS = ("n_atoms", "frame", "energy", "max_force", "pressure")
_SIGNS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def _number(name: str) -> Said:
    return Said(name, lambda row: np.float64(np.nan if row[name] is None else row[name]))


def _both(sign: str, a: Said, b: Said) -> Said:
    do = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[sign]
    return Said(f"({a.text} {sign} {b.text})", lambda row: do(a.of(row), b.of(row)))


numbers = st.recursive(
    st.sampled_from(_NUMBERS).map(_number)
    | st.sampled_from([0.0, 1.0, 2.0, 2.5, 1e3, 1e-3]).map(lambda x: Said(repr(x), lambda row: np.float64(x))),
    lambda inner: (
        st.builds(_both, st.sampled_from("+-*/"), inner, inner)
        | inner.map(lambda a: Said(f"-{a.text}", lambda row: -a.of(row)))
        | inner.map(lambda a: Said(f"abs({a.text})", lambda row: abs(a.of(row))))
    ),
    max_leaves=5,
)


def _compared(sign: str, a: Said, b: Said) -> Said:
    def of(row: Row) -> bool:
        x, y = a.of(row), b.of(row)
        return bool(_SIGNS[sign](x, y)) and not (np.isnan(x) or np.isnan(y))

    return Said(f"{a.text} {sign} {b.text}", of)


def _between(low: Said, sign: str, a: Said, other: str, high: Said) -> Said:
    one, two = _compared(sign, low, a), _compared(other, a, high)
    return Said(f"{low.text} {sign} {a.text} {other} {high.text}", lambda row: one.of(row) and two.of(row))


def _group(how: str, name: str) -> Said:
    text = "'" + name.replace("'", "\\'") + "'"
    if how == "in":
        return Said(f"group in ({text}, 'none')", lambda row: row["group"] == name)
    if how == "like":
        pattern = name[:3] + "*"
        return Said(
            f"group like '{pattern}'".replace("a'b", "a\\'b"), lambda row: fnmatch.fnmatchcase(row["group"], pattern)
        )
    return Said(f"group {how} {text}", lambda row: (row["group"] == name) == (how == "=="))


signs = st.sampled_from(sorted(_SIGNS))
leaves = st.one_of(
    st.builds(_compared, signs, numbers, numbers),
    st.builds(_between, numbers, signs, numbers, signs, numbers),
    st.builds(
        _group, st.sampled_from(["==", "!=", "in", "like"]), st.sampled_from(["bulk", "melt 2000 K", "a'b", "x"])
    ),
    st.sampled_from(_NUMBERS).map(lambda n: Said(f"{n} is missing", lambda row: row[n] is None)),
    st.sampled_from(_NUMBERS).map(lambda n: Said(f"{n} is not missing", lambda row: row[n] is not None)),
    st.sampled_from(["Ta", "Fe", "H"]).map(lambda e: Said(f"'{e}' in elements", lambda row: e in row["elements"])),
    st.sampled_from(["has_energy", "periodic"]).map(lambda n: Said(n, lambda row: bool(row[n]))),
)
tests = st.recursive(
    leaves,
    lambda inner: inner.map(lambda a: Said(f"not ({a.text})", lambda row: not a.of(row)))
    | st.lists(inner, min_size=2, max_size=3).map(
        lambda p: Said(" and ".join(f"({a.text})" for a in p), lambda row: all(a.of(row) for a in p)))
    | st.lists(inner, min_size=2, max_size=3).map(
        lambda p: Said(" or ".join(f"({a.text})" for a in p), lambda row: any(a.of(row) for a in p))),
    max_leaves=6,
)  # fmt: skip


@given(said=tests)
@settings(max_examples=60, deadline=None)
def test_what_is_selected_is_what_python_selects(said: Said, snapshot: Snapshot) -> None:
    every = select(snapshot)
    rows = list(table(every, [*_NUMBERS, "group", "elements", "has_energy", "periodic", "uid"]))
    with np.errstate(all="ignore"):
        expected = [row["uid"] for row in rows if said.of(row)]
    chosen = select(snapshot, said.text, index=every.index)
    assert [row["uid"] for row in table(chosen, ["uid"])] == expected, said.text


# ------------------------------------------------------------------- any text
WORDS = (
    "and", "or", "not", "in", "like", "is", "missing", "true", "false", "(", ")", "[", "]", ",", "==", "!=", "<", ">=",
    "+", "-", "*", "/", "group", "n_atoms", "energy", "elements", "uid", "frame", "info.x", "split", "has_energy",
    "flagged",
    "abs", "'bulk'", '"W"', "'*?[a'", "'ffff0000'", "1", "2.5", "1e308", "0", "'", '"', "__import__", "__class__", ".",
    "lambda", ":", "=", "\\", "\x00", "é", "`", "{", "%s", "info.\"a b\"", "note", "**", "//", "..", "0x10", "1_0",
)  # fmt: skip
texts = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=25).map("".join),
    st.text(max_size=60),
    st.builds(lambda s, n: (s + " ") * n, st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join),
              st.integers(1, 300)),
)  # fmt: skip


class _NotAllowed(Exception):
    """Something of Python was about to run."""


@given(text=texts)
@settings(max_examples=150, deadline=None)
def test_any_text_is_an_answer_or_one_error_and_runs_nothing(text: str, snapshot: Snapshot) -> None:
    steps = 0
    real = _Evaluation.of

    def counted(self: _Evaluation, node: Node) -> Any:
        nonlocal steps
        steps += 1
        return real(self, node)

    def never(*words: object, **options: object) -> None:
        raise _NotAllowed(words)

    index = Index.load(snapshot)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Evaluation, "of", counted)
        for name in ("eval", "exec", "compile"):
            patch.setattr(builtins, name, never)
        try:
            assert 0 <= len(select(snapshot, text, index=index)) <= len(index)
        except (SettingsError, UnknownNameError) as error:
            assert len(str(error)) < 2_000 and str(error).isprintable()
    assert steps <= 5 * (len(text) + 10)  # of each of the 3 segments, each term at most twice


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("true == (" * 39 + "true" + " == true) == true" * 39, id="each test twice"),
        pytest.param("1 is missing " * 500, id="one term in many tests"),
        pytest.param("1 < " * 5_000 + "2", id="long chain"),
        pytest.param("(" * 39 + "1 > 0" + ")" * 39, id="brackets"),
        pytest.param("not " * 39 + "true", id="not"),
        pytest.param("1+(" * 39 + "1" + "+1" * 90 + (")" + "+1" * 90) * 39 + " > 0", id="sums in sums"),
        pytest.param("abs(" * 39 + "1" + ")" * 39 + " > 0", id="abs"),
        pytest.param("group like '" + "*a" * 24 + "b'", id="pattern"),
    ],
)
def test_work_is_bounded(text: str, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """No expression multiplies itself, and none needs a deep stack: half of the usual one is left to the caller."""
    steps = 0
    real = _Evaluation.of

    def counted(self: _Evaluation, node: Node) -> Any:
        nonlocal steps
        steps += 1
        assert steps < 50_000
        return real(self, node)

    monkeypatch.setattr(_Evaluation, "of", counted)

    def deep(levels: int) -> None:
        if levels:
            return deep(levels - 1)
        try:
            select(snapshot, text)
        except (SettingsError, UnknownNameError) as error:
            assert "\n" not in str(error)

    deep(250)
