"""Exact copies: equal species, periodicity, cell and positions to 1e-4 Å."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..audit.finding import Finding
from ..audit.material import Material
from ..errors import counted


@dataclass(frozen=True)
class Copies:
    """Copies count twice in a fit, and a split that knows only groups puts them on both sides."""

    version: ClassVar[int] = 1

    def run(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        sets = data.copies
        if not sets:
            yield Finding("ok", "no exact copies", evidence={"copies": 0})
            return
        beyond = np.sort(np.concatenate([np.sort(c)[1:] for c in sets]))
        across = [c for c in sets if len(np.unique(s.group[c])) > 1]
        files = [c for c in sets if len(np.unique(s.source[c])) > 1]
        between: dict[str, int] = {}
        for c in across:
            key = " + ".join(sorted({s.groups[g] for g in s.group[c]}))
            between[key] = between.get(key, 0) + 1
        evidence = {
            "copies": len(beyond),
            "geometries": len(sets),
            "across_groups": len(across),
            "across_files": len(files),
            "between": between,
        }
        yield Finding(
            "warning",
            f"{counted(len(beyond), 'exact copy', 'exact copies')} of {counted(len(sets), 'geometry', 'geometries')}, "
            f"{len(across):,} of them in several groups",
            "*",
            "copies",
            evidence,
            beyond,
            {"action": "remove"},
        )


plugin = Copies
