"""TOML with places: reading with line and column in errors, finding the line of a key, writing with comments."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, SettingsError

#: Tables nested this deep are written inline, ``key = { a = 1 }``.
INLINE_DEPTH = 3
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def read(path: str | Path) -> tuple[dict[str, Any], str]:
    """Values and text of a TOML file.

    :raises SettingsError: there is no such file, or it is a folder
    :raises InputError: not TOML; names line and column
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(f"there is no file {str(path)!r}. A run file is a TOML file; check the path.") from None
    except IsADirectoryError:
        raise SettingsError(f"{str(path)!r} is a folder. Give the run file (.toml) itself.") from None
    except UnicodeDecodeError as e:
        raise InputError(f"not a text file in UTF-8 (byte {e.start}). A run file is TOML.", str(path)) from None
    except OSError as e:
        raise SettingsError(f"cannot read {str(path)!r}: {e.strerror or e}.") from None
    try:
        return tomllib.loads(text), text
    except RecursionError:
        raise InputError("lists or tables are nested too deep.", str(path)) from None
    except tomllib.TOMLDecodeError as e:
        message = str(e)
        place = _AT.search(message)
        line = column = None
        if place:
            message = message[: place.start()]
            line, column = place.groups()
        if line is None:
            line = text.rstrip().count("\n") + 1
        at = f"column {column}" if column else "at the end of the file"
        shown = text.splitlines()[int(line) - 1].strip() if int(line) <= len(text.splitlines()) else ""
        message = f"{at}: not valid TOML: {message[:1].lower()}{message[1:]}: {shown!r}. {_hint(shown)}"
        raise InputError(message.rstrip(), str(path), line=int(line)) from None


def _hint(line: str) -> str:
    value = line.partition("=")[2].strip()
    if not value and "=" not in line and not line.startswith("["):
        return "A line is 'key = value', '[table]' or a '# comment'."
    if re.fullmatch(r"(True|False|yes|no|on|off)", value, re.IGNORECASE):
        return "Truth values are true and false."
    if re.fullmatch(r"[-+]?(\.\d+|\d+\.)([eE][-+]?\d+)?|[-+]?\d+\.[eE][-+]?\d+", value):
        return "Numbers need digits on both sides of the decimal point: 0.5, 1.0, 1.0e-8."
    if re.match(r"[A-Za-z/.]", value):
        return 'Text needs quotation marks: key = "text".'
    return ""


def _path_of(header: str) -> list[str]:
    """Keys named by ``a.b."c d"``."""
    try:
        node: Any = tomllib.loads(header + " = 0")
    except tomllib.TOMLDecodeError:
        return []
    keys = []
    while isinstance(node, dict):
        key, node = next(iter(node.items()))
        keys.append(key)
    return keys


def line_of(text: str, keys: Sequence[str | int]) -> int | None:
    """Line (from 1) of the key named by the path ``keys``, or of the nearest enclosing key or table."""
    wanted = [k for k in keys if isinstance(k, str)]
    best, found, table = 0, None, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            inner = stripped.lstrip("[").partition("#")[0].rstrip().rstrip("]")
            path = _path_of(inner)
            if not path or "," in inner:  # a line of a list
                continue
            table = path
        elif match := _KEY.match(line):
            path = table + _path_of(match.group(1))
        else:
            continue
        if len(path) > best and path == wanted[: len(path)]:
            best, found = len(path), number
    return found


def key_text(key: str) -> str:
    """A key as TOML writes it: bare where that is allowed, else in quotation marks."""
    return key if _BARE.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def key_path(keys: Sequence[str | int]) -> str:
    """``fit.groups."a b".train``, ``ingest.sources[0]``."""
    out = ""
    for k in keys:
        out += f"[{k}]" if isinstance(k, int) else ("." if out else "") + key_text(k)
    return out


def value_text(value: Any) -> str:
    """A value as TOML writes it; floats keep every digit, and their decimal point or exponent."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
        return repr(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key_text(k)} = {value_text(v)}" for k, v in value.items() if v is not None)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        items = [value_text(v) for v in value]
        flat = "[" + ", ".join(items) + "]"
        if len(flat) <= 100:
            return flat
        lines, line = list[str](), "   "
        for item in items:
            if len(line) + len(item) > 100 and line.strip():
                lines.append(line)
                line = "   "
            line += f" {item},"
        return "[\n" + "\n".join([*lines, line]) + "\n]"
    raise TypeError(f"no TOML for {type(value).__name__}")


def dump_toml(values: Mapping[str, Any], comments: Mapping[tuple[str, ...], str] | None = None) -> str:
    """TOML text of nested settings; None values are left out.

    :param comments: text written above the key or table named by a path, e.g. ``("fit", "solver")``; the path
        ``()`` is the head of the file. Lines are written as they are, each behind a ``#``.

    >>> print(dump_toml({"fit": {"seed": 0, "groups": {"a b": {"train": 1.0}}}}, {("fit", "seed"): "of the split"}))
    [fit]
    # of the split
    seed = 0
    <BLANKLINE>
    [fit.groups]
    "a b" = { train = 1.0 }
    <BLANKLINE>
    """
    notes = comments or {}
    lines = [*_comment(notes, ()), ""] if () in notes else []
    _dump_table(values, (), notes, lines)
    return "\n".join(lines).strip("\n") + "\n"


def _comment(notes: Mapping[tuple[str, ...], str], path: tuple[str, ...]) -> list[str]:
    return [f"# {line}".rstrip() for line in notes[path].splitlines()] if path in notes else []


def _dump_table(
    values: Mapping[str, Any], path: tuple[str, ...], notes: Mapping[tuple[str, ...], str], lines: list[str]
) -> None:
    tables = {k: v for k, v in values.items() if isinstance(v, Mapping) and len(path) + 1 < INLINE_DEPTH}
    plain = {k: v for k, v in values.items() if k not in tables and v is not None}
    align = all(isinstance(v, Mapping) for v in plain.values())
    width = max((len(key_text(k)) for k in plain), default=0) if align else 0
    for key, value in plain.items():
        lines += _comment(notes, (*path, key))
        lines.append(f"{key_text(key).ljust(width)} = {value_text(value)}")
    for key, value in tables.items():
        deeper = (*path, key)
        if path and not value and deeper not in notes:
            continue
        lines += ["", *_comment(notes, deeper)]
        only_tables = value and all(isinstance(v, Mapping) and v for v in value.values())
        if path or not only_tables:
            lines.append("[" + ".".join(key_text(k) for k in deeper) + "]")
        _dump_table(value, deeper, notes, lines)
