"""Bytes on their way to and from a store, without the copies that Zarr's buffers make of them."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from zarr.abc.buffer import BufferPrototype
from zarr.buffer import default_buffer_prototype
from zarr.buffer.cpu import Buffer


class StoredBytes(Buffer):
    """A buffer made of bytes that gives out the same bytes."""

    def __init__(self, array_like: Any) -> None:
        super().__init__(array_like)
        self._raw: bytes | None = None

    @classmethod
    def from_bytes(cls, bytes_like: Any) -> Self:
        out = cls(np.frombuffer(bytes_like, np.uint8))
        out._raw = bytes_like if isinstance(bytes_like, bytes) else None
        return out

    def to_bytes(self) -> bytes:
        return super().to_bytes() if self._raw is None else self._raw


#: What a store is asked to return its bytes in.
AS_BYTES = BufferPrototype(buffer=StoredBytes, nd_buffer=default_buffer_prototype().nd_buffer)
