"""Frames of an extended XYZ file as keys and columns: the C parser of the ``extxyz`` package, an own parser behind it.

The C parser is fast and right on well-formed frames. What it gets wrong is kept from it or checked here (extxyz
0.4.6): a frame that ends early at the end of the file is dropped without a word, columns that ``Properties`` does not
name are ignored, integers wrap around at 32 bits, of a key given twice the last value is kept, an atom count of zero or
a strange ``Properties`` crashes the process, and NaN, ``pos:r:3`` and blank lines between frames are refused. Each
frame that it refuses is read by :func:`parse_frame`, which either gives the same result or names the wrong line.
"""

from __future__ import annotations

import inspect
import json
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..reading import ReadReport
from ._xyz_lines import Heads, Lines, Place

_LONG_INTEGER = re.compile(rb"(?<![\d.])\d{10,}(?![\d.])")
_NEXT_FRAME = re.compile(rb"(?i)\n[ \t]*\d+[ \t\r]*\n[^\n]*(?:lattice|properties)\s*=")
PAIR = re.compile(
    r"""\s*(?:"(?P<quoted_key>(?:\\.|[^"\\])*)"|(?P<key>[^\s="]+))
    (?:\s*=\s*(?:"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>[^']*)'|\{(?P<brace>[^}]*)\}
    |(?P<list>\[.*?\])(?=\s|$)|(?P<bare>[^\s"]+)|(?P<nothing>(?=\s|$))))?""",
    re.VERBOSE,
)
_BOOLEAN = {"T": True, "F": False, "true": True, "false": False, "True": True, "False": False}
_BOOLEAN |= {"TRUE": True, "FALSE": False}
_FORTRAN_BOOLEAN = {".true.": True, ".false.": False}
#: Numbers of a comment line, as the format defines them: ``007``, ``1_0`` and ``nan`` are words.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_REAL = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eEdD][-+]?[0-9]+)?")
_PLAIN = "species:S:1:pos:R:3"
_MOST_COLUMNS = 4096


@dataclass(slots=True)
class Frame:
    """Keys of the comment line and columns of the atoms of one frame, as they stand in the file.

    :param index: counted from 0; ``line``: of the atom count, see :meth:`Lines.number`
    :param comment: the comment line, as it is written
    """

    index: int
    start: int
    n: int
    info: dict[str, Any]
    arrays: dict[str, Any]
    comment: bytes = b""


@lru_cache(maxsize=256)
def parse_properties(text: str) -> tuple[tuple[str, str, int], ...]:
    """``species:S:1:pos:R:3`` as (name, type letter in capitals, columns); ValueError says what is wrong."""
    parts = text.split(":")
    if len(parts) % 3:
        raise ValueError(f"Properties={text!r} is not a list of name:type:columns")
    out = []
    for name, kind, columns in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if kind.upper() not in ("R", "I", "S", "L") or not columns.isdecimal() or not 0 < int(columns) < _MOST_COLUMNS:
            raise ValueError(f"Properties has {name}:{kind}:{columns}, expected R, I, S or L and a number of columns")
        out.append((name, kind.upper(), int(columns)))
    names = [name for name, _, _ in out]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Properties names the column {name!r} twice")
    return tuple(out)


@lru_cache(maxsize=256)
def _width_for_c(properties: bytes) -> int:
    """Fields of an atom line if the C parser can be trusted with these ``Properties``, else 0."""
    try:
        columns = parse_properties(properties.decode())
    except ValueError:
        return 0
    letters = properties.decode().split(":")[1::3]
    return sum(c for _, _, c in columns) if all(x.isupper() for x in letters) else 0


def _properties(comment: bytes) -> bytes:
    """The value of ``Properties=``, empty if it is not there exactly once."""
    parts = comment.split(b"Properties=")
    if len(parts) != 2:
        return b""
    value = parts[1]
    return value[1:].partition(b'"')[0] if value[:1] == b'"' else value.partition(b" ")[0].strip()


def parse_comment(text: str) -> dict[str, Any]:
    """Keys and values of a comment line; numbers, booleans and arrays as such, nine numbers as the C parser gives them.

    :raises ValueError: a key is there twice with two values
    """
    if "=" not in text:
        return {"comment": text.strip()} if text.strip() else {}
    info: dict[str, Any] = {}
    seen: dict[str, str] = {}
    for m in PAIR.finditer(text.strip()):
        key = m["quoted_key"] if m["key"] is None else m["key"]
        if m["list"] is not None:
            value: Any = _bracketed(m["list"])
        elif m["double"] is not None:
            value = _tokens(_unescaped(m["double"]))
        elif m["single"] is not None:
            value = _tokens(m["single"])
        elif m["brace"] is not None:
            value = _tokens(m["brace"], array=True)
        elif m["bare"] is not None:
            value = _tokens(m["bare"])
        else:
            value = "" if m["nothing"] is not None else True
        written = m[0].partition("=")[2].strip()
        if seen.setdefault(key, written) != written:
            raise ValueError(f"the key {key!r} is there twice, as {seen[key]:.40} and as {written:.40}")
        info[key] = value
    return info


def written(comment: str, key: str) -> str | None:
    """The value of a key as it stands in a comment line, without its quotes; None if it has none."""
    for m in PAIR.finditer(comment.strip()):
        if key == (m["quoted_key"] if m["key"] is None else m["key"]):
            if m["double"] is not None:
                return _unescaped(m["double"])
            return next((m[form] for form in ("single", "brace", "list", "bare") if m[form] is not None), None)
    return None


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else str(m[1]), text)


def _of_comment(token: str) -> Any:
    """A word of a comment line: an integer, a real, a logical or the word itself."""
    if _INTEGER.fullmatch(token):
        return int(token)
    if _REAL.fullmatch(token):
        return float(token.lower().replace("d", "e"))
    return _BOOLEAN.get(token, token)


def _of_column(token: str) -> Any:
    """A field of an atom line, where only a number or a logical can stand."""
    try:
        return int(token)
    except ValueError:
        pass
    try:
        return float(token)
    except ValueError:
        pass
    if re.fullmatch(r"[-+]?[\d.]+[dD][-+]?\d+", token):
        return float(token.lower().replace("d", "e"))
    return _BOOLEAN.get(token, _FORTRAN_BOOLEAN.get(token, token))


def _tokens(text: str, array: bool = False) -> Any:
    tokens = text.replace(",", " ").split() if array else text.split()
    if len(tokens) <= 1 and not array:
        value = _of_comment(tokens[0]) if tokens else ""
        return text if isinstance(value, str) else value
    values = [_of_comment(t) for t in tokens]
    if all(type(v) is bool for v in values):
        return np.array(values, bool)
    if any(isinstance(v, (str, bool)) for v in values):
        return text
    whole = all(type(v) is int and abs(v) < 2**31 for v in values)
    numbers = np.array(values, np.int64 if whole else float)
    return numbers.reshape(3, 3, order="F") if len(values) == 9 else numbers


def _bracketed(text: str) -> Any:
    try:
        value = json.loads(re.sub(r"\bT\b", "true", re.sub(r"\bF\b", "false", text)))
        array = np.array(value)
        return array if array.dtype.kind in "iufb" else value
    except ValueError:
        return text


def parse_frame(index: int, start: int, lines: Lines) -> tuple[Frame, int]:
    """Read the frame that begins at byte ``start``; also where the next one begins.

    :raises InputError: with the line that is wrong
    """
    bytes_ = lines.bytes
    n, comment, stop = lines.head(index, start)
    try:
        info = parse_comment(comment.decode("utf-8", "replace"))
        given = [info.pop(k) for k in list(info) if k.lower() == "properties"]
        columns = parse_properties(str(given[0]).strip() if given else _PLAIN)
    except ValueError as error:
        raise InputError(f"{error}.", lines.path, index, lines.number(start) + 1) from None
    width = sum(c for _, _, c in columns)
    first = lines.number(start) + 2
    rows: list[list[bytes]] = []
    at = stop
    for i in range(n):
        end = bytes_.find(b"\n", at)
        end = len(bytes_) if end < 0 else end
        fields = bytes_[at:end].split()
        if at >= len(bytes_):
            raise InputError(
                f"the file ends after {i:,} of {n:,} atom lines: it is truncated.", lines.path, index, first + i
            )
        if len(fields) != width:
            hint = "" if given else " (there is no Properties=...; without it a line is: symbol x y z)"
            raise InputError(
                f"atom line {i + 1:,} of {n:,} has {len(fields)} fields, expected {width}{hint}.",
                lines.path,
                index,
                first + i,
            )
        rows.append(fields)
        at = end + 1
    arrays: dict[str, Any] = {}
    offset = 0
    for name, kind, count in columns:
        table = [row[offset : offset + count] for row in rows]
        arrays[name] = _column(table, name, kind, lines.path, index, first)
        offset += count
    return Frame(index, start, n, info, arrays, comment), at


def _column(table: list[list[bytes]], name: str, kind: str, path: str, frame: int, first: int) -> Any:
    one = len(table[0]) == 1
    if kind == "S":
        text = np.array([[f.decode("utf-8", "replace") for f in row] for row in table])
        return text[:, 0] if one else text
    values = []
    for i, row in enumerate(table):
        numbers = []
        for token in row:
            value = _of_column(token.decode("utf-8", "replace"))
            if isinstance(value, str) or (kind == "L") != isinstance(value, bool):
                if kind == "L" and value in (0, 1):
                    value = bool(value)
                else:
                    hint = " (the number did not fit its column when it was written)" if "*" in str(value) else ""
                    what = "true or false" if kind == "L" else "a number"
                    raise InputError(f"{value!r} in column {name!r} is not {what}{hint}.", path, frame, first + i)
            numbers.append(value)
        values.append(numbers)
    try:
        array = np.array(values, {"R": float, "I": np.int64, "L": bool}[kind])
    except OverflowError:
        raise InputError(f"a number in column {name!r} is too large.", path, frame, first) from None
    return array[:, 0] if one else array


def _wraps(info: dict[str, Any], comment: bytes) -> bool:
    """Whether an integer may have wrapped around at 32 bits."""
    for value in info.values():
        if type(value) is int or (type(value) is np.ndarray and value.dtype.kind == "i"):
            return _LONG_INTEGER.search(comment) is not None
    return False


def frames(path: Path, report: ReadReport, place: Place | None = None) -> Iterator[Frame]:
    """All frames of a file, one after another, or those from one place to another where frames begin.

    :param place: where to begin and to end; moves along
    :raises InputError: the file is empty or a frame is broken (then, with ``report.skip_bad``, the next one is sought)
    """
    with mapped(path) as data:
        yield from frames_of(path, data, report, place or Place())


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """The bytes of a file that is not empty."""
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise InputError("the file is empty.", str(path))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", str(path)) from None


@cache
def _c_parser() -> Any:
    """The C parser, or None if it is not there or of a version not looked at: the own parser reads all then."""
    try:
        from extxyz import cextxyz
    except (ImportError, OSError):
        return None
    known = "use_cleri" in inspect.signature(cextxyz.read_frame_dicts).parameters
    return cextxyz if known else None


def frames_of(path: Path, data: mmap.mmap, report: ReadReport, place: Place) -> Iterator[Frame]:
    """:func:`frames` of the bytes of a file; ``place`` may be moved to where a later frame begins between two."""
    c = _c_parser()
    lines, heads = Lines(path, data), Heads(data)
    size, position = len(data), 0  # where the C parser stands
    stop = size if place.stop is None else place.stop
    if place.at == 0 and lines.skip_blank(0) == size:
        raise InputError("the file is empty.", str(path))
    try:
        handle = c.cfopen(str(path), "rb") if c is not None else None
    except UnicodeEncodeError:  # a name that is not text: C cannot be told
        handle = None
    if not handle:
        c = None
    try:
        while (start := lines.skip_blank(place.at)) < stop:
            index = place.index
            place.index += 1
            try:
                head = None if c is None else heads.at(start)
                frame: Frame | None = None
                if head is not None:
                    n, first, second, third, end = head
                    comment = data[first + 1 : second]
                    width = _width_for_c(_properties(comment))
                    if width and len(data[second + 1 : third].split()) == width:
                        if position != start:
                            c.cfseek(handle, start, 0)
                        position = -1
                        try:
                            count, info, arrays = c.read_frame_dicts(handle, use_cleri=False)
                            twice = comment.count(b"=") != len(info) and not _once(comment)
                            if count == n and not twice and not _wraps(info, comment):
                                del info["Properties"]
                                frame = Frame(index, start, n, info, arrays, comment)
                                place.at = position = end
                        except (EOFError, c.ExtXYZError, ValueError, KeyError):
                            pass
                if frame is None:
                    frame, place.at = parse_frame(index, start, lines)
            except InputError as error:
                report.refuse(error)
                end = data.find(b"\n", start)
                after = _NEXT_FRAME.search(data, end) if end >= 0 else None
                place.at = size if after is None else after.start() + 1
                continue
            yield frame
        place.at = start
    finally:
        if c is not None:
            c.cfclose(handle)


def _once(comment: bytes) -> bool:
    try:
        parse_comment(comment.decode("utf-8", "replace"))
    except ValueError:
        return False
    return True
