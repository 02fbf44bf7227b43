"""Where the real data sets lie: ``../shared/data`` beside the repository, or ``$MLIPSTORE_TEST_DATA``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_beside = Path(__file__).resolve().parents[2] / "shared" / "data"
_place = Path(os.environ.get("MLIPSTORE_TEST_DATA", _beside))
DATA: Path | None = _place if _place.is_dir() else None

needs_data = pytest.mark.skipif(DATA is None, reason="the shared data sets are not here (set MLIPSTORE_TEST_DATA)")
