"""Which factors are kept where there is not room for all: those that spare the most bytes of rows for each of theirs.

Rows of segments that are left out are factored whenever a fit needs them, so every answer is the same, only slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..blocks import DesignMatrix
from .packing import packed_size

if TYPE_CHECKING:
    from .factors import FactorSet, Leaf

#: Most bytes that the factors of a set may take in the store, unless a limit is given.
DEFAULT_LIMIT = 4 << 30


@dataclass(frozen=True)
class Size:
    """What the factors of a segment take.

    :param keys: how many there are
    :param rows: what they stand for, as if every label was there
    :param bytes: of the factors in the store; ``bytes_rows``: of the rows
    """

    keys: int
    rows: int
    bytes: int
    bytes_rows: int


def size_of(matrix: DesignMatrix, settings: FactorSet, leaf: Leaf, n: int) -> Size:
    """Of one segment, from counts alone.

    :param n: columns of a triangle
    """
    index = matrix.index
    mine, used = index.rows(leaf.segment), leaf.parts >= 0
    n_atoms = index.facts[mine, 0][used].astype(np.int64)
    group = index.group_codes[1][mine][used]
    parts = int(leaf.parts.max()) + 1
    code = group.astype(np.int64) * parts + leaf.parts[used]
    sized = code * (int(n_atoms.max()) + 1) + n_atoms if settings.by_size else code
    counts: list[int] = []
    for key, rows in ((code, np.ones_like(n_atoms)), (sized, 3 * n_atoms), (code, np.full_like(n_atoms, 6))):
        number = np.unique(key, return_inverse=True)[1]
        counts += np.bincount(number, weights=rows).astype(int).tolist()
    width = 4 if matrix.feature.precision == "float32" else 8
    rows_bytes = sum(counts) * len(matrix.columns) * width
    return Size(len(counts), sum(counts), 8 * sum(packed_size(c, n) for c in counts), rows_bytes)


def left_out(sizes: Mapping[str, Size], present: frozenset[str], limit: int) -> frozenset[str]:
    """Segments whose factors are not to be kept; those that are there stay.

    :param sizes: by name
    """
    used = sum(sizes[name].bytes for name in present)
    missing = [name for name in sizes if name not in present]
    if used + sum(sizes[name].bytes for name in missing) <= limit:
        return frozenset()
    out = []
    for name in sorted(missing, key=lambda name: (-sizes[name].bytes_rows / max(1, sizes[name].bytes), name)):
        if used + sizes[name].bytes <= limit:
            used += sizes[name].bytes
        else:
            out.append(name)
    return frozenset(out)
