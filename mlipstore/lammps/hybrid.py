"""A pair style and its coefficients, taken apart, so that another style can be laid over it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..errors import SettingsError

#: Styles that add nothing to energy and forces.
NOTHING = ("zero", "none")


@dataclass(frozen=True)
class Overlay:
    """The terms of a pair style: LAMMPS adds them up.

    :param terms: style name and its arguments, in order
    :param coefficients: ``I J``, style name, the rest of the line (with the number of a style that occurs twice)
    :param scales: factor of each term, as text; empty unless ``hybrid/scaled``
    """

    terms: tuple[tuple[str, tuple[str, ...]], ...]
    coefficients: tuple[tuple[str, str, str], ...]
    scales: tuple[str, ...] = ()

    def plus(self, style: str, coefficient: str) -> list[str]:
        """The commands for these terms and one more, ``pair_coeff * *`` of which is ``coefficient``."""
        if not self.terms:
            return [f"pair_style {style}", f"pair_coeff * * {coefficient}"]
        same = sum(name == style for name, _ in self.terms)
        lines = []
        for place, name, rest in self.coefficients:
            if name == style and same == 1:  # it had no number as long as it was alone
                rest = f"1 {rest}"
            lines.append(f"pair_coeff {place} {name} {rest}".rstrip())
        mine = f"{style} {same + 1}" if same else style
        lines.append(f"pair_coeff * * {mine} {coefficient}")
        scales = [f"{s} " for s in (*self.scales, "1.0")] if self.scales else [""] * (len(self.terms) + 1)
        words = [
            scale + " ".join((name, *arguments))
            for scale, (name, arguments) in zip(scales, (*self.terms, (style, ())), strict=True)
        ]
        hybrid = "hybrid/scaled" if self.scales else "hybrid/overlay"
        return [f"pair_style {hybrid} {' '.join(words)}", *lines]


def overlay_of(pair_style: str, pair_coeff: tuple[str, ...]) -> Overlay:
    """Take the lines of a baseline apart, leaving out ``zero``.

    :raises SettingsError: a ``hybrid`` where a later line replaces an earlier one for the same pair of types, which
        has no counterpart in an overlay
    """
    style, *words = pair_style.split()
    lines = [line.split(None, 2) for line in pair_coeff]
    if not style.startswith("hybrid"):
        if style in NOTHING:
            return Overlay((), ())
        coefficients = tuple((f"{line[0]} {line[1]}", style, " ".join(line[2:])) for line in lines)
        return Overlay(((style, tuple(words)),), coefficients)
    coefficients = tuple(_hybrid_line(line) for line in lines if len(line) > 2)
    names = {name for _, name, _ in coefficients} | set(NOTHING)
    scaled = style == "hybrid/scaled"
    starts = [i for i, word in enumerate(words) if word in names]
    terms, scales = [], []
    for start, stop in pairwise([*starts, len(words) + scaled]):
        if words[start] not in NOTHING:
            terms.append((words[start], tuple(words[start + 1 : stop - scaled])))
            if scaled:
                scales.append(words[start - 1])
    kept = tuple(c for c in coefficients if c[1] not in NOTHING)
    if style == "hybrid":
        _refuse_replaced(pair_style, kept)
    return Overlay(tuple(terms), kept, tuple(scales))


def _hybrid_line(words: list[str]) -> tuple[str, str, str]:
    name, _, rest = words[2].partition(" ")
    return f"{words[0]} {words[1]}", name, rest.strip()


def _refuse_replaced(pair_style: str, coefficients: tuple[tuple[str, str, str], ...]) -> None:
    """A pair that two terms are given for; with a star, all pairs count as given."""
    seen: dict[str, tuple[str, str]] = {}
    for place, name, rest in coefficients:
        number = rest.split(None, 1)[0] if rest else ""
        term = (name, number if number.isdigit() else "")
        for other, owner in seen.items():
            if (owner[0] != name) and ("*" in place + other or set(place.split()) == set(other.split())):
                raise SettingsError(
                    f"pair_style {pair_style!r} gives the types {place!r} to {name!r} after {other!r} to {owner[0]!r}. "
                    "What LAMMPS makes of that cannot be combined with another style: write each pair of types once, "
                    "or use hybrid/overlay."
                )
        seen[place] = term
