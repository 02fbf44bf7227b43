"""What tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..small_store import plugins


@pytest.fixture(scope="module")
def small_store_plugins() -> Iterator[None]:
    """The plugins of :mod:`tests.small_store` are known in a module that uses this."""
    with plugins():
        yield
