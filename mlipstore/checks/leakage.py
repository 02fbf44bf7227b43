"""Test configurations that are in the training set in some form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..audit.finding import Finding
from ..audit.material import Material
from ..split import TEST, TRAIN


@dataclass(frozen=True)
class Leakage:
    """Errors on copies of training data are training errors.

    :param energy: eV, ``volume``: Å^3, ``distances``: as for copies in other coordinates
    """

    version: ClassVar[int] = 1
    needs_model: ClassVar[bool] = True
    energy: float = 1e-6
    volume: float = 0.01
    distances: float = 1e-4

    def run(self, data: Material) -> Iterator[Finding]:
        split = data.split
        if split is None or not ((split == TEST).any() and (split == TRAIN).any()):
            return
        p = data.pairs
        exact = [i for c in data.copies if (split[c] == TRAIN).any() for i in c[split[c] == TEST]]
        near = np.flatnonzero(p.nearly)
        a, b = np.concatenate([p.first[near], p.second[near]]), np.concatenate([p.second[near], p.first[near]])
        nearly = a[(split[a] == TEST) & (split[b] == TRAIN)]
        turned = self._turned(data)
        found = np.unique(np.concatenate([np.array(exact, np.int64), nearly, turned]))
        n = int((split == TEST).sum())
        evidence = {"test": n, "exact": len(exact), "nearly": len(np.unique(nearly)), "turned": len(turned)}
        if not len(found):
            yield Finding("ok", f"none of {n:,} test configurations is a copy of a training one", evidence=evidence)
            return
        yield Finding(
            "error" if exact or len(found) > 0.05 * n else "warning",
            f"{len(found):,} of {n:,} test configurations are copies of training ones ({len(exact)} exact, "
            f"{evidence['nearly']} nearly, {len(turned)} in other coordinates)",
            "*",
            "leakage",
            evidence,
            found,
        )

    def _turned(self, data: Material) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        s, split = data.summary, data.split
        assert split is not None
        which = np.flatnonzero(
            (split <= TEST) & np.isfinite(s.energy) & np.isfinite(s.volume) & s.fingerprint.any(axis=1)
        )
        e = np.rint(s.energy[which] / self.energy).astype(np.int64)
        v = np.rint(s.volume[which] / self.volume).astype(np.int64)
        scale = np.maximum(np.abs(s.fingerprint).max(axis=0), 1e-9)
        order = np.lexsort((split[which], v, e, s.composition[which]))
        which, e, v = which[order], e[order], v[order]
        out = []
        last = -1
        for k, i in enumerate(which.tolist()):
            new = k == 0 or e[k] != e[k - 1] or v[k] != v[k - 1] or s.composition[i] != s.composition[which[k - 1]]
            last = -1 if new else last
            if split[i] == TRAIN:
                last = i
            elif last >= 0 and (np.abs(s.fingerprint[i] - s.fingerprint[last]) / scale).max() < self.distances:
                out.append(i)
        return np.array(out, np.int64)


plugin = Leakage
