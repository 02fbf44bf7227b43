"""The group table of a FitSNAP input: train and test sizes and weights of each group."""

from __future__ import annotations

from typing import Any

from ..errors import InputError, listed
from .input import FitsnapInput, group_rows


def group_table(source: FitsnapInput) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Rows of ``[fit.groups]``, and what has no counterpart.

    :raises InputError: the table is not valid
    """
    notes: list[str] = []
    columns = source.word("GROUPS", "group_sections", "name size eweight fweight vweight").split()
    types = source.word("GROUPS", "group_types", " ".join(["str", *["float"] * (len(columns) - 1)])).split()
    if len(types) != len(columns):
        raise source.error(
            "GROUPS", "group_types", f"has {len(types)} entries, but group_sections has {len(columns)}; one per column."
        )
    if columns[:1] != ["name"]:
        raise source.error("GROUPS", "group_sections", "the first column must be 'name'.")
    if "size" not in columns and "training_size" not in columns:
        raise source.error(
            "GROUPS", "group_sections", "there is no column 'training_size' (or 'size', the rest being the test set)."
        )
    enabled = {k: source.flag("CALCULATOR", k, True) for k in ("energy", "force", "stress")}
    weights = {"energy": "eweight", "force": "fweight", "stress": "vweight"}
    for kind, column in weights.items():
        if enabled[kind] and column not in columns:
            raise source.error(
                "GROUPS",
                "group_sections",
                f"there is no column {column!r}. Add it, or set {kind} = 0 in [CALCULATOR] to fit without it.",
            )
        if not enabled[kind]:
            notes.append(f"[CALCULATOR] {kind} = 0: all {kind} weights are 0; errors are still given.")
    unused = [c for c in columns if c not in ("name", "size", "training_size", "testing_size", *weights.values())]
    if unused:
        notes.append(f"[GROUPS] columns {listed(unused)}: not converted, without effect on a linear fit.")
    kinds = dict(zip(columns, types, strict=True))
    rows: dict[str, dict[str, Any]] = {}
    for name, (words, line) in group_rows(source).items():
        if len(words) != len(columns) - 1:
            raise _row_error(
                source, name, line, f"has {len(words)} values, expected {len(columns) - 1}: {' '.join(columns[1:])}"
            )
        row = dict(zip(columns[1:], words, strict=True))
        rows[name] = _sizes(source, name, line, row, kinds)
        for kind, column in weights.items():
            weight = _value(source, name, line, column, row[column], "float") if enabled[kind] else 0.0
            rows[name][kind] = float(weight)
    if not rows:
        raise source.error("GROUPS", None, "there is no group. Each group is a line 'name = sizes and weights'.")
    return rows, notes


def _row_error(source: FitsnapInput, group: str, line: int | None, message: str) -> InputError:
    file = source.word("PATH", "groupFile", "")
    place = str(source.path.parent / file) if file else str(source.path)
    return InputError(f"group {group!r} {message}.", place, line=line)


def _value(source: FitsnapInput, group: str, line: int | None, column: str, word: str, kind: str) -> float | int:
    try:
        value = int(word) if kind == "int" else float(word)
    except ValueError:
        expected = "an integer (group_types says int)" if kind == "int" else "a number"
        raise _row_error(source, group, line, f"has {column} = {word!r}, expected {expected}") from None
    if not 0 <= value < float("inf"):
        raise _row_error(source, group, line, f"has {column} = {word}, expected a finite number of at least 0")
    return value


def _sizes(
    source: FitsnapInput, group: str, line: int | None, row: dict[str, str], kinds: dict[str, str]
) -> dict[str, float | int]:
    """Train and test of one group: fractions stay floats, counts stay integers."""

    def size(column: str) -> float | int:
        value = _value(source, group, line, column, row[column], kinds[column])
        if isinstance(value, float) and value > 1.0:
            message = f"has {column} = {row[column]}, but its group_types is float, a fraction of 0 to 1"
            raise _row_error(source, group, line, f"{message}; make the type int for counts")
        return value

    test: float | int
    if "training_size" not in row:
        train = size("size")  # the rest is the test set
        test = round(1.0 - train, 12) if isinstance(train, float) else 1.0
    else:
        train = size("training_size")
        test = size("testing_size") if "testing_size" in row else 0.0
        if isinstance(train, float) and isinstance(test, float) and train + test > 1.0:
            test = round(1.0 - train, 12)  # FitSNAP tests on what is left
    return {"train": train, "test": test}
