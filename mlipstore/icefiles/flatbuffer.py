"""Reading FlatBuffers (https://flatbuffers.dev/internals) that nobody vouches for: every offset is checked.

Enough for the files of Icechunk's format 1: tables, structs of bytes, vectors, texts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class Malformed(ValueError):
    """The bytes are no such buffer."""


class Table:
    """A table at a position of a buffer; fields by their number in the schema."""

    __slots__ = ("_fields", "at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at
        table = at - _unpack(_I32, data, at)
        size = _unpack(_U16, data, table)
        if size < 4 or size % 2 or table < 0 or table + size > len(data):
            raise Malformed("a table without a description")
        self._fields = struct.unpack_from(f"<{size // 2 - 2}H", data, table + 4)

    @classmethod
    def root(cls, data: bytes) -> Table:
        return cls(data, _unpack(_U32, data, 0))

    def position(self, field: int) -> int | None:
        """Where a field lies, None if it has its default."""
        offset = self._fields[field] if field < len(self._fields) else 0
        return self.at + offset if offset else None

    def u8(self, field: int) -> int:
        at = self.position(field)
        return 0 if at is None else _unpack(_U8, self.data, at)

    def u64(self, field: int) -> int:
        at = self.position(field)
        return 0 if at is None else _unpack(_U64, self.data, at)

    def raw(self, field: int, size: int) -> bytes | None:
        """A struct of ``size`` bytes."""
        at = self.position(field)
        return None if at is None else _slice(self.data, at, size)

    def text(self, field: int) -> str | None:
        found = self.octets(field)
        if found is None:
            return None
        try:
            return found.decode()
        except UnicodeDecodeError:
            raise Malformed("a text that is no text") from None

    def octets(self, field: int) -> bytes | None:
        """A vector of bytes, or the bytes of a text."""
        return self.structs(field, 1)

    def structs(self, field: int, size: int) -> bytes | None:
        """A vector of structs of ``size`` bytes, one after another."""
        at = self.position(field)
        if at is None:
            return None
        start = at + _unpack(_U32, self.data, at)
        return _slice(self.data, start + 4, size * _unpack(_U32, self.data, start))

    def numbers(self, field: int) -> NDArray[np.uint32]:
        """A vector of 32-bit numbers."""
        return np.frombuffer(self.structs(field, 4) or b"", "<u4")

    def table(self, field: int) -> Table | None:
        at = self.position(field)
        return None if at is None else Table(self.data, at + _unpack(_U32, self.data, at))

    def tables(self, field: int) -> Iterator[Table]:
        """A vector of tables."""
        at = self.position(field)
        if at is None:
            return
        start = at + _unpack(_U32, self.data, at)
        n = _unpack(_U32, self.data, start)
        _slice(self.data, start + 4, 4 * n)
        for i in range(start + 4, start + 4 + 4 * n, 4):
            yield Table(self.data, i + _unpack(_U32, self.data, i))

    def lookup(self, field: int, key: int, text: str) -> Table | None:
        """The table with a text as its field ``key``, of a vector of tables that are sorted by it."""
        at = self.position(field)
        if at is None:
            return None
        start = at + _unpack(_U32, self.data, at)
        low, high, wanted = 0, _unpack(_U32, self.data, start), text.encode()
        while low < high:
            middle = (low + high) // 2
            i = start + 4 + 4 * middle
            found = Table(self.data, i + _unpack(_U32, self.data, i))
            have = found.octets(key) or b""
            if have == wanted:
                return found
            low, high = (middle + 1, high) if have < wanted else (low, middle)
        return None


_U8, _U16, _U32, _U64, _I32 = (struct.Struct(f"<{c}") for c in "BHIQi")


def _unpack(kind: struct.Struct, data: bytes, at: int) -> int:
    if at < 0 or at + kind.size > len(data):
        raise Malformed("an offset that leads outside")
    number: int = kind.unpack_from(data, at)[0]
    return number


def _slice(data: bytes, at: int, size: int) -> bytes:
    if at < 0 or at + size > len(data):
        raise Malformed("a vector that ends outside")
    return data[at : at + size]
