"""Cells and periodicity that make no sense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..audit.finding import Finding
from ..audit.material import Material


@dataclass(frozen=True)
class Cell:
    """Handedness, volume per atom, and cells that were meant to be periodic.

    :param dense, thin: Å^3 per atom of a periodic cell
    """

    version: ClassVar[int] = 1
    dense: float = 1.5
    thin: float = 2000.0

    def run(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        per_atom = s.volume / np.maximum(s.n_atoms, 1)
        fine = True
        for group, which in data.groups():
            some = s.pbc[which].any(axis=1)
            mixed = len(np.unique(s.pbc[which], axis=0)) > 1
            for mine, level, code, text in (
                (
                    which[s.left_handed[which]],
                    "warning",
                    "left-handed",
                    "left-handed cells (LAMMPS and others need right-handed ones)",
                ),
                (
                    which[s.filled[which]],
                    "error" if (some.any() and mixed) or len(which) > 0 else "warning",
                    "pbc",
                    "not periodic, though atoms fill the cell as in a solid: pbc lost?",
                ),
                (which[per_atom[which] < self.dense], "warning", "volume", f"less than {self.dense:g} Å^3 per atom"),
                (
                    which[(per_atom[which] > self.thin) & (s.n_atoms[which] > 1)],
                    "warning",
                    "volume",
                    f"more than {self.thin:g} Å^3 per atom",
                ),
            ):
                if len(mine):
                    fine = False
                    yield Finding(
                        level,
                        f"{len(mine):,} of {len(which):,}: {text}",
                        group,
                        code,
                        {"n": len(mine), "of": len(which)},
                        mine,
                    )
            if mixed and not s.filled[which].any():
                fine = False
                kinds, counts = np.unique(s.pbc[which], axis=0, return_counts=True)
                few = kinds[np.argmin(counts)]
                yield Finding(
                    "warning",
                    f"{len(kinds)} kinds of periodicity in one group",
                    group,
                    "pbc",
                    {
                        "kinds": {
                            "".join("T" if x else "F" for x in k): int(c) for k, c in zip(kinds, counts, strict=True)
                        }
                    },
                    which[(s.pbc[which] == few).all(axis=1)],
                )
        if fine:
            yield Finding("ok", "cells and periodicity make sense")


plugin = Cell
