"""Tables of text: as wide as what they hold, never cut; only the first column folds to fit a terminal."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from itertools import groupby

from mlipstore.errors import counted as counted

#: Significant digits of errors; more where small ones stand in the column of a large one.
DIGITS = 4
#: Columns that a file is laid out for, and the narrowest that a folded column gets.
_FILE_WIDTH, _NARROWEST = 100, 16
_GAP = 2


def say(text: str) -> None:
    """A line of the result."""
    print(text)


def next_step(*words: str, or_else: str = "") -> None:
    """The command to type next, with names quoted as a shell needs them."""
    say(f"next: {shlex.join(['mlipstore', *words])}{or_else}")


def width_of_output() -> int:
    """Columns of the terminal; of a file, what reads well (or COLUMNS)."""
    return shutil.get_terminal_size((_FILE_WIDTH, 24)).columns


def table(
    columns: Sequence[str | tuple[str, ...]],
    rows: Sequence[Sequence[str]],
    left: int = 1,
    title: str | None = None,
    total: bool = False,
) -> None:
    """Aligned columns, the first ``left`` of them to the left.

    :param columns: headers; lines of one are parts of a tuple, and equal ones side by side are written once, above all
    :param total: the last row is set off
    """
    for line in lines_of(columns, rows, left, title, total, width_of_output() if sys.stdout.isatty() else None):
        say(line)


def lines_of(
    columns: Sequence[str | tuple[str, ...]],
    rows: Sequence[Sequence[str]],
    left: int = 1,
    title: str | None = None,
    total: bool = False,
    width: int | None = None,
) -> list[str]:
    """The lines of :func:`table`, of which the first column folds to keep them within ``width``."""
    heads = [tuple(c.split("\n")) if isinstance(c, str) else c for c in columns]
    levels = max(map(len, heads))
    heads = [("",) * (levels - len(h)) + h for h in heads]
    widths = [max([cells(h[-1]), *(cells(r[i]) for r in rows)]) for i, h in enumerate(heads)]
    for level in range(levels - 1):  # a header above several columns may need more room than they have
        for start, stop in _spans(heads, level):
            lack = cells(heads[start][level]) - (sum(widths[start:stop]) + _GAP * (stop - start - 1))
            if lack > 0:
                widths[stop - 1] += lack
    if width is not None:
        rest = sum(widths[1:]) + _GAP * len(widths[1:])
        widths[0] = min(widths[0], max(width - rest - _GAP, _NARROWEST))
    out = [] if title is None else [title]
    for level in range(levels - 1):
        out.append(_upper(heads, widths, level))
    out.append(_row([h[-1] for h in heads], widths, left))
    rule = "  " + "─" * (sum(widths) + _GAP * (len(widths) - 1))
    out.append(rule)
    for i, row in enumerate(rows):
        if total and i and i == len(rows) - 1:
            out.append(rule)
        first, *more = (
            textwrap.wrap(row[0], widths[0], subsequent_indent=" ") if cells(row[0]) > widths[0] else [row[0]]
        )
        out.append(_row([first, *row[1:]], widths, left))
        out += [f"  {part}" for part in more]
    return out


def _spans(heads: Sequence[tuple[str, ...]], level: int) -> list[tuple[int, int]]:
    """Runs of columns with the same header at a level and above it."""
    runs = groupby(range(len(heads)), key=lambda i: heads[i][: level + 1])
    found = [list(run) for _, run in runs]
    return [(run[0], run[-1] + 1) for run in found]


def _upper(heads: Sequence[tuple[str, ...]], widths: Sequence[int], level: int) -> str:
    parts = []
    for start, stop in _spans(heads, level):
        room = sum(widths[start:stop]) + _GAP * (stop - start - 1)
        text = heads[start][level]
        # lines that say what belongs together
        filled = f"{text} {'─' * (room - cells(text) - 1)}" if text and room > cells(text) + 1 else text
        parts.append(_pad(filled, room, True))
    return ("  " + (" " * _GAP).join(parts)).rstrip()


def _row(values: Sequence[str], widths: Sequence[int], left: int) -> str:
    parts = [_pad(v, w, i < left) for i, (v, w) in enumerate(zip(values, widths, strict=True))]
    return ("  " + (" " * _GAP).join(parts)).rstrip()


def _pad(text: str, width: int, left: bool) -> str:
    space = " " * (width - cells(text))
    return text + space if left else space + text


def cells(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def number(value: float) -> str:
    """Six significant digits, as tables of the field print; a dash where there is none."""
    return "-" if not math.isfinite(value) else f"{value:.6g}"


def alike(columns: Sequence[Sequence[float | None]], digits: int = DIGITS) -> list[list[str]]:
    """Numbers of columns that belong together: as many decimals as give the typical one ``digits`` digits.

    A number too small for these decimals has two digits of its own; NaN is a dash, None is nothing.
    """
    sizes = sorted(abs(v) for c in columns for v in c if v is not None and math.isfinite(v) and v != 0)
    typical = sizes[len(sizes) // 2] if sizes else 1.0
    decimals = min(max(digits - 1 - math.floor(math.log10(typical)), 0), digits + 1)

    def one(v: float | None) -> str:
        if v is None:
            return ""
        if not math.isfinite(v):
            return "-"
        if v == 0:
            return "0"
        if abs(v) >= 10.0 ** (1 - decimals):
            return f"{v:.{decimals}f}" if abs(v) < 1e9 else f"{v:.{digits - 1}e}"
        return f"{v:.2g}"

    return [[one(v) for v in column] for column in columns]
