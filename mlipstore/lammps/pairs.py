"""Pair styles of LAMMPS that are computed here, without LAMMPS: ``zbl`` and ``zero``, alone or laid over each other.

They are the reference potential of most FitSNAP projects, and LAMMPS spends a millisecond on setting up each
configuration. A line that is not understood in full, or not sure to mean the same, is left to LAMMPS, which also
explains what is wrong with it.
"""

from __future__ import annotations

import re
from itertools import pairwise

from ..kernels.pair import Zbl

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TYPES = re.compile(r"(\d*)(\*?)(\d*)")
#: Words that may follow the cutoff of ``zero``.
_ZERO_WORDS = {"full", "nocoeff"}


def compiled(n_types: int, pair_style: str, pair_coeff: tuple[str, ...]) -> Zbl | None:
    """The potential that these lines make, None if LAMMPS is needed for it."""
    style, *words = pair_style.split()
    terms = _terms(words) if style == "hybrid/overlay" else {style: words}
    if terms is None or not terms.keys() <= {"zbl", "zero"} or not _plain_zero(terms.get("zero", ["1.0"])):
        return None
    inner, outer = 1.0, 2.0
    if "zbl" in terms:
        if len(terms["zbl"]) != 2 or not all(_NUMBER.fullmatch(w) for w in terms["zbl"]):
            return None
        inner, outer = map(float, terms["zbl"])
        if not 0.0 < inner < outer:
            return None
    charges = [(0.0, 0.0)] * n_types**2
    given = [False] * n_types**2
    for line in pair_coeff:
        understood = _coefficients(line, style, terms, n_types)
        if understood is None:
            return None
        pairs, z = understood
        for i, j in pairs:
            for at in (i * n_types + j, j * n_types + i):
                given[at] = True
                if z is not None:
                    charges[at] = z
    return Zbl(n_types, tuple(charges), inner, outer) if all(given) else None


def _terms(words: list[str]) -> dict[str, list[str]] | None:
    """Arguments of each style of an overlay, None if one occurs twice or is not known."""
    starts = [k for k, word in enumerate(words) if word in ("zbl", "zero")]
    if not starts or starts[0] != 0 or len({words[k] for k in starts}) != len(starts):
        return None
    return {words[a]: words[a + 1 : b] for a, b in pairwise([*starts, len(words)])}


def _plain_zero(words: list[str]) -> bool:
    """Whether these arguments of ``zero`` are a positive cutoff and words without an influence on energies."""
    return bool(words and _NUMBER.fullmatch(words[0]) and float(words[0]) > 0 and set(words[1:]) <= _ZERO_WORDS)


def _coefficients(
    line: str, style: str, terms: dict[str, list[str]], n_types: int
) -> tuple[list[tuple[int, int]], tuple[float, float] | None] | None:
    """Pairs of types of a line (i <= j, from 0), and their charges; None if the line is not understood."""
    if len(line.split()) < 2:
        return None
    first, second, *rest = line.split()
    name = style
    if style == "hybrid/overlay":
        if not rest or rest[0] not in terms:
            return None
        name, *rest = rest
    mine, others = _range(first, n_types), _range(second, n_types)
    if mine is None or others is None:
        return None
    pairs = [(i, j) for i in mine for j in others if i <= j]
    if not pairs:
        return None
    if name == "zero":
        # a cutoff for these pairs may follow, unless 'nocoeff' takes anything
        plain = not rest or (len(rest) == 1 and _NUMBER.fullmatch(rest[0]) is not None)
        return (pairs, None) if plain or "nocoeff" in terms["zero"] else None
    if len(rest) != 2 or not all(_NUMBER.fullmatch(word) for word in rest):
        return None
    z = float(rest[0]), float(rest[1])
    if min(z) <= 0 or (z[0] != z[1] and any(i == j for i, j in pairs)):
        return None
    return pairs, z


def _range(text: str, n_types: int) -> list[int] | None:
    """Types that ``3``, ``*``, ``2*``, ``*2`` or ``1*2`` mean, from 0; None if it means none of 1..n_types."""
    match = _TYPES.fullmatch(text)
    if match is None or not text:
        return None
    low, star, high = match.groups()
    first = int(low) if low else 1
    last = (int(high) if high else n_types) if star else first
    if not 1 <= first <= last <= n_types:
        return None
    return list(range(first - 1, last))
