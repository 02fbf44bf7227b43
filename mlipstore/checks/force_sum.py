"""Forces of a periodic configuration add up to zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..audit.finding import Finding
from ..audit.material import Material


@dataclass(frozen=True)
class ForceSum:
    """Without fixed atoms and without an outer field the sum of all forces is zero to rounding.

    :param error, warning: largest component of the sum in eV/Å
    :param times: a group whose median is so many times that of the others (and at least ``least``) is told about
    """

    version: ClassVar[int] = 1
    error: float = 0.5
    warning: float = 1e-2
    times: float = 100.0
    least: float = 1e-3

    def run(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        known = np.isfinite(s.force_sum) & ~s.zero_force & s.pbc.any(axis=1)
        medians = {g: float(np.median(s.force_sum[w[known[w]]])) for g, w in data.groups() if known[w].any()}
        for group, which in data.groups():
            mine = which[known[which]]
            if not len(mine):
                continue
            sums = s.force_sum[mine]
            bad = mine[sums > self.warning]
            others = [m for g, m in medians.items() if g != group]
            evidence = {
                "n": len(mine),
                "median": float(np.median(sums)),
                "max": float(sums.max()),
                "above_warning": len(bad),
                "above_0.1": int((sums > 0.1).sum()),
                "above_error": int((sums > self.error).sum()),
            }
            if len(bad):
                level = "error" if sums.max() > self.error else "warning"
                yield Finding(
                    level,
                    f"sum of forces above {self.warning:g} eV/Å in {len(bad):,} of {len(mine):,}, up to "
                    f"{sums.max():.2g}",
                    group,
                    "force-sum",
                    evidence,
                    bad,
                )
            elif others and medians[group] > max(self.least, self.times * float(np.median(others))):
                yield Finding(
                    "warning",
                    f"sum of forces {medians[group]:.1e} eV/Å, others {np.median(others):.1e}: "
                    "another code or a looser convergence?",
                    group,
                    "force-sum",
                    evidence,
                    mine,
                )
            else:
                yield Finding("ok", f"forces add up to zero within {sums.max():.1e} eV/Å", group, "", evidence, mine)


plugin = ForceSum
