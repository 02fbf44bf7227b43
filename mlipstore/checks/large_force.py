"""Forces that are too large to fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..audit.finding import Finding
from ..audit.material import Material


@dataclass(frozen=True)
class LargeForce:
    """:param warning: eV/Å; ``told``: eV/Å, counted only"""

    version: ClassVar[int] = 1
    warning: float = 50.0
    told: float = 20.0

    def run(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        known = np.isfinite(s.force_max)
        if not known.any():
            return
        large = known & (s.force_max > self.warning)
        evidence = {
            "max": float(s.force_max[known].max()),
            "above_50": int(large.sum()),
            "above_20": int((known & (s.force_max > self.told)).sum()),
        }
        if not large.any():
            yield Finding("ok", f"largest force {evidence['max']:.3g} eV/Å", evidence=evidence)
        for group, which in data.groups():
            mine = which[large[which]]
            if len(mine):
                yield Finding(
                    "warning",
                    f"{len(mine):,} with forces above {self.warning:g} eV/Å, up to {s.force_max[mine].max():.4g}",
                    group,
                    "large-force",
                    evidence | {"n": len(mine)},
                    mine,
                )


plugin = LargeForce
