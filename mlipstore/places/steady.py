"""Reading from a server whose answers end early now and then: Icechunk tries again only what never began."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import icechunk
from zarr.storage import WrapperStore

T = TypeVar("T")
#: How often the same is asked for.
_TRIES = 4
_BROKEN_OFF = "streaming error"


def steadily(function: Callable[[], T]) -> T:
    """What a function gives that reads through Icechunk, called again where an answer broke off."""
    for _ in range(_TRIES - 1):
        try:
            return function()
        except icechunk.IcechunkError as error:
            if _BROKEN_OFF not in str(error).lower():
                raise
    return function()


class Steady(WrapperStore[Any]):
    """A Zarr store of a server: reads again what broke off."""

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        return await self._steadily(lambda: self._store.get(key, prototype, byte_range))

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[Any]) -> Any:
        ranges = list(key_ranges)
        return await self._steadily(lambda: self._store.get_partial_values(prototype, ranges))

    async def exists(self, key: str) -> bool:
        return bool(await self._steadily(lambda: self._store.exists(key)))

    @staticmethod
    async def _steadily(ask: Callable[[], Any]) -> Any:
        for _ in range(_TRIES - 1):
            try:
                return await ask()
            except Exception as error:
                if _BROKEN_OFF not in str(error).lower():
                    raise
        return await ask()
