"""Content hashes that are counted by sorting, and names of files made many at once: the same as one by one."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipstore.icefiles.files import _id_texts, id_text
from mlipstore.index import Hashes, keys

#: Hashes with few different bytes, so that copies and equal beginnings are many.
hashes = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=30)


def table(values: list[tuple[int, int]]) -> np.ndarray:
    """Hashes that begin with one number and end with another, ``(n, 32)``."""
    out = np.zeros((len(values), 32), np.uint8)
    for row, (begin, end) in zip(out, values, strict=True):
        row[3], row[31] = begin, end
    return out


@given(there=hashes, asked=hashes)
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_a_dictionary(there: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    counted = Counter(keys(table(there)))
    found = Hashes(table(there))
    assert len(found) == len(there)
    assert found.count(table(asked)).tolist() == [counted[k] for k in keys(table(asked))]


def test_names_of_files() -> None:
    raw = np.random.default_rng(1).integers(0, 256, (300, 12), dtype=np.uint8)
    assert _id_texts(raw) == [id_text(row.tobytes()) for row in raw]
    assert _id_texts(raw[:0]) == []
