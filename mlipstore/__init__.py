"""mlipstore: training data, descriptors, fits and models of interatomic potentials in one versioned store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api import Store, create_store, open_store
    from .comparing.compare import compare_data
    from .errors import MlipstoreError

__all__ = ["MlipstoreError", "Store", "__version__", "compare_data", "create_store", "open_store"]

_HOMES = {
    "Store": "api",
    "create_store": "api",
    "open_store": "api",
    "compare_data": "comparing.compare",
    "MlipstoreError": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
