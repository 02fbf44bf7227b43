"""Names of files made many at once: the same as one by one."""

from __future__ import annotations

import numpy as np

from mlipstore.icefiles.files import _id_texts, id_text


def test_names_of_files() -> None:
    raw = np.random.default_rng(1).integers(0, 256, (300, 12), dtype=np.uint8)
    assert _id_texts(raw) == [id_text(row.tobytes()) for row in raw]
    assert _id_texts(raw[:0]) == []
