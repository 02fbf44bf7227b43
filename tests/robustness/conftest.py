"""What all tests of this folder need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def _rows_from_lammps() -> Iterator[None]:
    """One backend for all rows, in worker processes too: these tests compare bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLIPSTORE_SNAP_BACKEND", "lammps")
        yield
