"""The columns of SNAP: which bispectrum components there are, in which order, and what they are called.

Thompson et al. 2015, doi:10.1016/j.jcp.2014.12.018, sec. 2 (components), Wood & Thompson 2018,
doi:10.1063/1.5017641 (quadratic), Cusentino et al. 2020, doi:10.1021/acs.jpca.0c02450 (explicit multi-element).
The order is the one of LAMMPS ``compute snap``: type-major, and inside a type as :func:`components`.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations_with_replacement, product

import numpy as np
from numpy.typing import NDArray

from .computing import Column


@cache
def components(twojmax: int) -> tuple[tuple[int, int, int], ...]:
    """Doubled angular momenta ``(j1, j2, j)`` with ``j2 <= j1 <= j``, in stored order.

    >>> components(2)
    ((0, 0, 0), (1, 0, 1), (1, 1, 2), (2, 0, 2), (2, 2, 2))
    """
    return tuple(
        (j1, j2, j)
        for j1 in range(twojmax + 1)
        for j2 in range(j1 + 1)
        for j in range(j1 - j2, min(twojmax, j1 + j2) + 1, 2)
        if j >= j1
    )


def n_per_element(twojmax: int, n_elements: int, quadratic: bool, chem: bool) -> int:
    """Columns of one central element."""
    k = len(components(twojmax)) * (n_elements**3 if chem else 1)
    return k + k * (k + 1) // 2 if quadratic else k


def column_names(elements: tuple[str, ...], twojmax: int, quadratic: bool, chem: bool) -> list[Column]:
    """Names such as ``Ta B[2,1,3]``, ``Ta B[1,0,1]*B[2,0,2]``, ``Ta B[1,0,1]^2/2``, ``W B(W,Be,W)[2,1,3]``."""
    plain = [f"[{j1},{j2},{j}]" for j1, j2, j in components(twojmax)]
    if chem:
        linear = [f"B({','.join(three)}){name}" for three in product(elements, repeat=3) for name in plain]
    else:
        linear = [f"B{name}" for name in plain]
    names = list(linear)
    if quadratic:
        names += [f"{p}^2/2" if p == q else f"{p}*{q}" for p, q in combinations_with_replacement(linear, 2)]
    return [Column(f"{element} {name}", element) for element in elements for name in names]


def kept(twojmax: tuple[int, ...], quadratic: bool, chem: bool) -> NDArray[np.float64] | None:
    """1 for columns inside the own ``twojmax`` of their element, else 0 ``(M,)``; None when all are inside."""
    top = max(twojmax)
    if min(twojmax) == top:
        return None
    highest = np.array([j for _, _, j in components(top)])
    parts = []
    for own in twojmax:
        inside = np.tile(highest <= own, len(twojmax) ** 3 if chem else 1)
        if quadratic:
            first, second = np.triu_indices(len(inside))
            inside = np.concatenate([inside, inside[first] & inside[second]])
        parts.append(inside)
    return np.concatenate(parts).astype(np.float64)


def equal_columns(twojmax: int, n_elements: int) -> NDArray[np.int64]:
    """With ``chem``, columns of one central element that are the same function: the first of each class ``(K,)``.

    Elements of equal angular momenta can be exchanged: B(a,b,c)[j1,j2,j] keeps its value when a and j1 change places
    with b and j2, and when j1 (or j2) equals j, likewise with c. Half of the columns are copies.
    """
    seen: dict[tuple[tuple[int, int], ...], int] = {}
    triples = product(range(n_elements), repeat=3)
    keys = [tuple(sorted(zip(three, js, strict=True))) for three in triples for js in components(twojmax)]
    return np.array([seen.setdefault(key, i) for i, key in enumerate(keys)], np.int64)
