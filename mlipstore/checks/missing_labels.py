"""Labels that are not there, and stress tensors of zeros that stand for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..audit.finding import Finding
from ..audit.material import Material
from ..errors import counted


@dataclass(frozen=True)
class MissingLabels:
    """A zero stress tensor says that the pressure is exactly zero, which a calculation never does."""

    version: ClassVar[int] = 2

    def run(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        zeros = data.zeros
        yield from self._zeros_taken(data)
        for group, which in data.groups():
            n = len(which)
            zero = which[s.zero_stress[which]]
            taken = zeros.get(group, 0)
            if len(zero) or taken:
                about = zero if len(zero) else which[~s.has_stress[which]]
                evidence = {"n": n, "zero_stress": max(len(zero), taken), "kept_as_value": len(zero)}
                rest = " (taken as missing)" if taken and not len(zero) else ""
                level = "warning" if len(zero) else "ok"
                yield Finding(
                    level,
                    f"{max(len(zero), taken):,} of {n:,} stress tensors are all zero: missing labels{rest}",
                    group,
                    "zero-stress",
                    evidence,
                    about,
                    {"action": "mask", "stress": True} if len(zero) else {},
                )
            for name, there in (("energy", np.isfinite(s.energy)), ("forces", s.has_force), ("stress", s.has_stress)):
                lacking = which[~there[which]]
                if name == "stress" and taken:
                    continue
                evidence = {"n": n, "missing": len(lacking)}
                if len(lacking) == n:
                    # nobody has computed it, which is not a fault; without an energy there is little to fit
                    level = "warning" if name == "energy" else "ok"
                    yield Finding(level, f"no {name} in any of {n:,}", group, f"no-{name}", evidence, lacking)
                elif len(lacking):
                    yield Finding(
                        "warning", f"no {name} in {len(lacking):,} of {n:,}", group, f"no-{name}", evidence, lacking
                    )

    @staticmethod
    def _zeros_taken(data: Material) -> Iterator[Finding]:
        """One finding about all zeros that the reader took as missing: they are as good as repaired."""
        sizes = {g: which for g, which in data.groups() if data.zeros.get(g)}
        # some may have been removed or corrected meanwhile, and atoms out of reach of each other have no pressure
        without = ~data.summary.has_stress & ~data.beyond
        lacking = {g: int(without[w].sum()) for g, w in sizes.items()}
        taken = {g: min(data.zeros[g], n) for g, n in lacking.items() if n}
        if not taken:
            return
        whole = sum(n >= len(sizes[g]) for g, n in taken.items())
        about = np.sort(np.concatenate([w[without[w]] for g, w in sizes.items() if g in taken]))
        n = sum(taken.values())
        yield Finding(
            "warning",
            f"{n:,} of {len(data.summary):,} stress tensors are all zero, in {counted(len(taken), 'group')} ({whole} "
            "of them completely): missing labels, and taken as missing when they were read",
            "*",
            "zero-stress",
            {"n": len(data.summary), "zero_stress": n, "groups": len(taken), "whole_groups": whole, "by_group": taken},
            about,
        )


plugin = MissingLabels
