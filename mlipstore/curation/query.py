"""``--where``: which configurations an expression selects, and their columns as a table.

The same for every verb. An expression is read by :mod:`mlipstore.curation.expression`; it is evaluated on whole
columns, of the store where they lie beside the index, else of one segment after another.

A comparison with a missing value is false.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..configuration import Batch
from ..errors import listed, nearest
from ..index import LIVE, Index, read_batch
from ..snapshot import Snapshot
from .columns import Column, Columns, Elements, SplitOf, Text, Uids
from .expression import ExpressionError, Node, parse

Mask = NDArray[np.bool_]
#: Columns of a table unless others are asked for.
DEFAULT_COLUMNS = ("uid", "group", "n_atoms", "elements", "energy_per_atom", "max_force", "source", "frame")


@dataclass
class Selection:
    """Configurations of one version.

    :param rows: which rows of the index ``(n,)``
    """

    index: Index
    rows: Mask
    where: str | None = None

    def __len__(self) -> int:
        return int(self.rows.sum())

    @property
    def snapshot(self) -> Snapshot:
        return self.index.snapshot

    @property
    def n_atoms(self) -> int:
        """Atoms of all of them."""
        return int(self.index.facts[self.rows, 0].sum())

    def of(self, segment: str) -> Mask:
        """Which configurations of a segment."""
        return self.rows[self.index.rows(segment)]

    def segments(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Segments that have some, with their positions in it."""
        for s in self.index.segments:
            mine = np.flatnonzero(self.of(s.name))
            if len(mine):
                yield s.name, mine

    def groups(self) -> dict[str, int]:
        """Number of them in each group."""
        return self.index.live_groups(self.rows)


def select(
    snapshot: Snapshot,
    where: str | None = None,
    state: int = LIVE,
    split: SplitOf | None = None,
    index: Index | None = None,
) -> Selection:
    """The configurations of a version for which an expression is true.

    :param where: the expression; None selects all
    :param state: of configurations that count, or of those that were deleted
    :param split: gives the column ``split`` its meaning
    :raises SettingsError, UnknownNameError: the expression is not one, or makes no sense; says where and why
    """
    index = index or Index.load(snapshot)
    rows: Mask = index.state == state
    if where is None:
        return Selection(index, rows)
    tree = parse(where)
    columns = Columns(index, split)
    for name in dict.fromkeys(tree.names()):
        columns.check(name)
    if any(columns.by_segment(name) for name in tree.names()):
        for s in index.segments:
            mine = index.rows(s.name)
            if rows[mine].any():  # others are not read
                rows[mine] &= _truth(tree, where, columns, s.name, s.n_configurations)
    else:
        rows &= _truth(tree, where, columns, None, len(index))
    return Selection(index, rows, where)


def table(selection: Selection, names: Sequence[str], split: SplitOf | None = None) -> Iterator[dict[str, Any]]:
    """The configurations of a selection one by one, with the columns of these names (``flags``: what they are flagged).

    :raises UnknownNameError: there is no such column
    """
    columns = Columns(selection.index, split)
    for name in names:
        if name != "flags":
            columns.check(name)
    for segment, positions in selection.segments():
        values: dict[str, list[Any]] = {}
        for name in names:
            if name == "flags":
                have = {f: columns.flagged([f], segment) for f in columns.flags}
                values[name] = [[f for f, mask in have.items() if mask[i]] for i in positions]
                continue
            column = columns.get(name, segment)
            values[name] = _plain(name, column, positions)
        for row in zip(*values.values(), strict=True):
            yield dict(zip(values, row, strict=True))


def read_selection(selection: Selection) -> Iterator[Batch]:
    """The configurations of a selection, one batch per segment."""
    for segment, positions in selection.segments():
        first, last = int(positions[0]), int(positions[-1]) + 1
        batch = read_batch(selection.snapshot, segment, first, last)
        yield batch if len(positions) == last - first else batch.take(positions - first)


def head(
    selection: Selection, names: Sequence[str], n: int | None, split: SplitOf | None = None
) -> list[dict[str, Any]]:
    """The first ``n`` rows of :func:`table`."""
    return list(islice(table(selection, names, split), n))


def _plain(name: str, column: Column, positions: NDArray[np.int64]) -> list[Any]:
    """Values at some positions, None where one is missing."""
    if isinstance(column, Text):
        return Text(column.names, column.codes[positions]).tolist()
    if isinstance(column, (Uids, Elements)):
        return type(column)(column.data[positions]).tolist()
    values = column[positions].tolist()
    if name in ("n_atoms", "n_elements", "frame"):
        return [int(v) for v in values]
    return [None if v != v else v for v in values]


# ------------------------------------------------------------------ evaluation
def _truth(tree: Node, text: str, columns: Columns, segment: str | None, n: int) -> Mask:
    with np.errstate(all="ignore"):
        value = _Evaluation(text, columns, segment).of(tree)
    if isinstance(value, (bool, np.bool_)):
        return np.full(n, bool(value))
    if isinstance(value, np.ndarray) and value.dtype == bool:
        return value
    raise ExpressionError("the expression is neither true nor false. Compare it with something.", text, tree.at)


class _Evaluation:
    """Values of the nodes of a tree: numbers and truth values as arrays or scalars, texts, uids, elements, lists."""

    def __init__(self, text: str, columns: Columns, segment: str | None) -> None:
        self.text, self.columns, self.segment = text, columns, segment

    def of(self, node: Node) -> Any:
        return getattr(self, f"_{node.kind}")(node)

    def error(self, node: Node, message: str) -> ExpressionError:
        return ExpressionError(message, self.text, node.at)

    def _constant(self, node: Node) -> Any:
        return node.value

    def _name(self, node: Node) -> Any:
        return self.columns.get(node.value, self.segment)

    def _list(self, node: Node) -> Any:
        return [self.of(p) for p in node.parts]

    def _bool(self, node: Node) -> Any:
        value = self.of(node)
        if isinstance(value, (bool, np.bool_)) or (isinstance(value, np.ndarray) and value.dtype == bool):
            return value
        raise self.error(node, f"{_kind(value)} is neither true nor false. Compare it with something.")

    def _and(self, node: Node) -> Any:
        out = self._bool(node.parts[0])
        for part in node.parts[1:]:
            out = np.logical_and(out, self._bool(part))
        return out

    def _or(self, node: Node) -> Any:
        out = self._bool(node.parts[0])
        for part in node.parts[1:]:
            out = np.logical_or(out, self._bool(part))
        return out

    def _not(self, node: Node) -> Any:
        return np.logical_not(self._bool(node.parts[0]))

    def _call(self, node: Node) -> Any:
        if node.value == "flagged":
            names = [self.of(p) for p in node.parts]
            if not all(isinstance(n, str) for n in names):
                raise self.error(node, 'flagged takes names of flags in quotation marks: flagged("outlier").')
            return self.columns.flagged(names, self.segment)
        if node.value == "abs":
            if len(node.parts) != 1:
                raise self.error(node, "abs takes one number.")
            return np.abs(self._number(node.parts[0]))
        known = ("flagged", "abs")
        raise self.error(node, f"no function {node.value!r}. {nearest(node.value, known)}Known: {listed(known)}.")

    # --------------------------------------------------------------- numbers
    def _number(self, node: Node) -> Any:
        value = self.of(node)
        if _is_number(value):
            return value
        raise self.error(node, f"{_kind(value)} is not a number.")

    def _negative(self, node: Node) -> Any:
        return -self._number(node.parts[0])

    def _arithmetic(self, node: Node) -> Any:
        a = np.asarray(self._number(node.parts[0]), float)
        b = np.asarray(self._number(node.parts[1]), float)
        value = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}[node.value](a, b)
        return float(value) if value.ndim == 0 else value

    # ------------------------------------------------------------ comparisons
    def _compare(self, node: Node) -> Any:
        a, b = (self.of(p) for p in node.parts)
        sign = node.value
        if not _is_column(a) and _is_column(b):
            a, b, sign = b, a, {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(sign, sign)
        if isinstance(a, Elements):
            return self._elements(node, a, b, sign)
        if isinstance(a, (Text, Uids)) and sign not in ("==", "!="):
            raise self.error(node, f"{_kind(a)} knows ==, != , in and like, not {sign}.")
        if isinstance(a, Uids):
            return self._prefix(node, a, b, sign == "!=")
        if isinstance(a, Text):
            if not isinstance(b, str):
                raise self.error(node, f"a text is compared with {_kind(b)}. Write it in quotation marks.")
            return _of_names(a, lambda names: (names == b) if sign == "==" else (names != b))
        if _is_number(a) and _is_number(b):
            result = _COMPARE[sign](a, b)
            return result if sign != "!=" else np.logical_and(result, ~(np.isnan(a) | np.isnan(b)))
        if _is_truth(a) and _is_truth(b) and sign in ("==", "!="):
            return _COMPARE[sign](a, b)
        if isinstance(a, str) and isinstance(b, str) and sign in ("==", "!="):
            return (a == b) == (sign == "==")
        raise self.error(node, f"{_kind(a)} cannot be compared with {_kind(b)} by {sign}.")

    def _in(self, node: Node) -> Any:
        a, b = (self.of(p) for p in node.parts)
        if isinstance(b, Elements):
            if not isinstance(a, str):
                raise self.error(node, 'write "W" in elements.')
            return b.data[:, self._atomic_number(node, a)] == 1
        if not isinstance(b, list):
            raise self.error(node, "after in stands a list: (1, 2) or ('a', 'b'); or elements.")
        if isinstance(a, Text):
            wrong = next((v for v in b if not isinstance(v, str)), None)
            if wrong is not None:
                raise self.error(node, f"a text is compared with {_kind(wrong)}. Write it in quotation marks.")
            wanted = set(b)
            return _of_names(a, lambda names: np.array([n in wanted for n in names], bool))
        if isinstance(a, Uids):
            return self._any_prefix(node, a, b)
        if _is_number(a):
            if not all(isinstance(v, float) for v in b):
                raise self.error(node, "a number is looked for in a list with something else.")
            return np.isin(a, np.array(b, float))
        raise self.error(node, f"{_kind(a)} cannot be looked for in a list.")

    def _like(self, node: Node) -> Any:
        a, b = (self.of(p) for p in node.parts)
        if not isinstance(b, str):
            raise self.error(node, 'after like stands a pattern: "Disp*", with * for any and ? for one character.')
        if isinstance(a, Uids) and b.endswith("*"):
            return self._prefix(node, a, b.rstrip("*"), False)
        if not isinstance(a, Text):
            raise self.error(node, f"{_kind(a)} has no pattern; like is for texts.")
        if b.count("*") + b.count("?") + b.count("[") > 50:
            raise self.error(node, "the pattern has more than 50 special characters.")
        match = re.compile(fnmatch.translate(b)).match
        return _of_names(a, lambda names: np.array([match(n) is not None for n in names], bool))

    def _missing(self, node: Node) -> Any:
        value = self.of(node.parts[0])
        if isinstance(value, Text):
            return value.codes < 0
        if isinstance(value, np.ndarray) and value.dtype != bool:
            return np.isnan(value)
        raise self.error(node, f"{_kind(value)} is never missing.")

    # ----------------------------------------------------------- uid, elements
    def _prefix(self, node: Node, a: Uids, b: Any, negate: bool) -> Mask:
        text = b.lower() if isinstance(b, str) else ""
        if not re.fullmatch("[0-9a-f]{4,64}", text):
            raise self.error(node, "uid is compared with 4 to 64 hexadecimal digits in quotation marks.")
        whole = len(text) // 2
        out: Mask = (a.data[:, :whole] == np.frombuffer(bytes.fromhex(text[: 2 * whole]), np.uint8)).all(axis=1)
        if len(text) % 2:
            out &= a.data[:, whole] >> 4 == int(text[-1], 16)
        return ~out if negate else out

    def _any_prefix(self, node: Node, a: Uids, b: list[Any]) -> Mask:
        if all(isinstance(v, str) and len(v) == 64 for v in b):
            try:
                wanted = {bytes.fromhex(v) for v in b}
            except ValueError:
                raise self.error(node, "a uid has hexadecimal digits only.") from None
            return np.array([row.tobytes() in wanted for row in a.data], bool)
        if len(b) > 2_000:
            raise self.error(node, "more than 2,000 beginnings of uids; give whole ones, of 64 digits.")
        out = np.zeros(len(a.data), bool)
        for v in b:
            out |= self._prefix(node, a, v, False)
        return out

    def _atomic_number(self, node: Node, symbol: str) -> int:
        from ase.data import atomic_numbers

        if symbol not in atomic_numbers:
            raise self.error(
                node, f"{symbol[:20]!r} is not the symbol of an element. {nearest(symbol, atomic_numbers)}"
            )
        return int(atomic_numbers[symbol])

    def _elements(self, node: Node, a: Elements, b: Any, sign: str) -> Mask:
        symbols = b.replace(",", " ").split() if isinstance(b, str) else b
        if not isinstance(symbols, list) or not all(isinstance(s, str) for s in symbols):
            raise self.error(node, 'elements are compared with symbols: elements == "W Be".')
        wanted = np.zeros(128, bool)
        wanted[[self._atomic_number(node, s) for s in symbols]] = True
        have = a.data == 1
        others: Mask = (have & ~wanted).any(axis=1)
        lacking: Mask = (~have & wanted).any(axis=1)
        strictly = others | lacking
        return {
            "==": ~strictly, "!=": strictly, "<=": ~others, ">=": ~lacking, "<": ~others & lacking,
            ">": ~lacking & others,
        }[sign]  # fmt: skip


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip


def _of_names(text: Text, test: Callable[[NDArray[Any]], Any]) -> Mask:
    """Truth of each text from that of each different one; a missing one is false."""
    true = np.append(np.asarray(test(text.names), bool).reshape(len(text.names)), False)
    return np.asarray(true[text.codes])


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype != bool)


def _is_truth(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_)) or (isinstance(value, np.ndarray) and value.dtype == bool)


def _is_column(value: Any) -> bool:
    return isinstance(value, (np.ndarray, Text, Uids, Elements))


def _kind(value: Any) -> str:
    """What a value is, for messages."""
    if isinstance(value, Text):
        return "a text"
    if isinstance(value, str):
        return f"the text {value[:30]!r}"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, Uids):
        return "uid"
    if isinstance(value, Elements):
        return "elements"
    return "true or false" if _is_truth(value) else "a number"
