"""Lines of an extended XYZ file, and where its frames lie."""

from __future__ import annotations

import mmap
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError

_COUNT = re.compile(rb"\s*\+?(\d{1,9})\s*\Z")
#: Bytes in which ends of lines are sought at once.
_WINDOW = 1 << 18
_NEWLINE, _SPACE = b"\n "


class Lines:
    """The bytes of a file and where its lines are."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.bytes = str(path), data

    def number(self, at: int) -> int:
        """Line that holds byte ``at``, counted from 1."""
        return self.bytes[:at].count(b"\n") + 1

    def skip_blank(self, at: int) -> int:
        """Byte where the next line that is not blank begins, or the end of the file."""
        data = self.bytes
        if at == 0 and data[:3] == b"\xef\xbb\xbf":  # a mark that some editors put before a text
            at = 3
        while at < len(data):
            if data[at] > _SPACE:  # most lines
                return at
            end = data.find(b"\n", at)
            end = len(data) if end < 0 else end
            if data[at:end].strip():
                return at
            at = end + 1
        return len(data)

    def head(self, index: int, at: int) -> tuple[int, bytes, int]:
        """Atom count, comment line and first byte of the atoms of the frame at byte ``at``."""
        data = self.bytes
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        m = _COUNT.match(data[at:end])
        if m is None:
            found = data[at : min(end, at + 60)].decode("utf-8", "replace").strip()
            raise InputError(
                f"expected the number of atoms of a frame, found {found!r}. (Does the frame before have more atom "
                "lines than it says?)",
                self.path,
                index,
                self.number(at),
            )
        n = int(m[1])
        if n == 0:
            raise InputError("the frame has 0 atoms.", self.path, index, self.number(at))
        stop = data.find(b"\n", end + 1)
        if stop < 0 or stop + 2 * n > len(data):
            what = f"the frame says {n:,} atoms and the file ends before: it is truncated."
            raise InputError(what, self.path, index, self.number(at))
        return n, data[end + 1 : stop], stop + 1


class Heads:
    """Where frames lie, by counting lines, some hundred thousand bytes at a time."""

    def __init__(self, data: mmap.mmap) -> None:
        self._bytes, self._size = data, len(data)
        self._next, self._line = -1, 0
        self._ends: list[int] = []

    def at(self, start: int) -> tuple[int, int, int, int, int] | None:
        """Of the frame that begins at byte ``start``: the number of atoms, where the lines of the count, of the
        comment and of the first atom end, and where the next frame begins; None where this is not plain to see.
        """
        if start != self._next:
            if self._ends and self._next < start <= self._ends[-1]:  # blank lines lie between
                self._line = bisect_left(self._ends, start)
            else:
                self._load(start, _WINDOW)
        window = _WINDOW
        while True:
            ends, i = self._ends, self._line
            if i < len(ends):
                count = self._bytes[start : ends[i]].strip()
                n = int(count) if count.isdigit() and len(count) < 10 else 0
                if not n:
                    return None
                if i + n + 1 < len(ends):
                    self._next, self._line = ends[i + n + 1] + 1, i + n + 2
                    return n, ends[i], ends[i + 1], ends[i + 2], min(self._next, self._size)
            if i == 0:  # the frame is longer than what was looked at
                if start + window >= self._size:
                    return None
                window *= 4
            self._load(start, window)

    def _load(self, start: int, window: int) -> None:
        """Find the ends of lines from byte ``start`` on; the end of the file ends a line, too."""
        found = np.frombuffer(self._bytes[start : start + window], np.uint8)
        self._ends = (np.flatnonzero(found == _NEWLINE) + start).tolist()
        if start + window >= self._size and self._bytes[-1] != _NEWLINE:
            self._ends.append(self._size)
        self._next, self._line = start, 0


@dataclass(slots=True)
class Place:
    """Where reading stands: byte and number of the next frame; ``stop``: the byte at which it ends (None: the end)."""

    at: int = 0
    index: int = 0
    stop: int | None = None


def borders(path: Path, n_bytes: int) -> Iterator[Place]:
    """A file in pieces of about ``n_bytes``; all the rest is one from where it is not plain how its frames lie.

    Atom lines are counted, not read: what is wrong in them is for :func:`frames` to find.
    """
    begin = Place()
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            lines, heads = Lines(path, data), Heads(data)
            at, index = lines.skip_blank(0), 0
            while at < len(data):
                if at - begin.at >= n_bytes:
                    yield Place(begin.at, begin.index, at)
                    begin = Place(at, index)
                head = heads.at(at)
                if head is None:
                    break
                at, index = lines.skip_blank(head[-1]), index + 1
    except (OSError, ValueError):  # reading it will say why
        pass
    yield begin
