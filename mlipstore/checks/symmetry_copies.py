"""Copies that were turned, shifted or renumbered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..audit.finding import Finding
from ..audit.material import Material
from ..errors import counted


@dataclass(frozen=True)
class SymmetryCopies:
    """Same composition, energy and volume, and the same distances between atoms, in other coordinates.

    :param energy: eV; ``volume``: Å^3
    :param distances: largest relative difference of the fingerprints (sums of smooth functions of all near distances)
    :param share: part of the configurations above which it is a warning
    """

    version: ClassVar[int] = 1
    energy: float = 1e-6
    volume: float = 0.01
    distances: float = 1e-4
    share: float = 0.0

    def run(self, data: Material) -> Iterator[Finding]:
        s = data.summary
        _, once = np.unique(np.ascontiguousarray(s.geometry).view("V16").ravel(), return_index=True)
        once = np.sort(once)
        once = once[np.isfinite(s.energy[once]) & np.isfinite(s.volume[once]) & s.fingerprint[once].any(axis=1)]
        if not len(once):
            return
        e = np.rint(s.energy[once] / self.energy).astype(np.int64)
        v = np.rint(s.volume[once] / self.volume).astype(np.int64)
        order = np.lexsort((once, v, e, s.composition[once]))
        c, e, v, which = s.composition[once][order], e[order], v[order], once[order]
        same = (c[1:] == c[:-1]) & (e[1:] == e[:-1]) & (v[1:] == v[:-1])
        scale = np.maximum(np.abs(s.fingerprint).max(axis=0), 1e-9)
        off = (np.abs(np.diff(s.fingerprint[which], axis=0)) / scale).max(axis=1, initial=0.0)
        sure = same & (off < self.distances)
        copies = np.sort(which[1:][sure])
        groups = int((s.group[which[1:]] != s.group[which[:-1]])[sure].sum())
        evidence = {"copies": len(copies), "equal_energy_and_volume": int(same.sum()), "across_groups": groups}
        if not len(copies):
            yield Finding("ok", "no turned, shifted or renumbered copies", evidence=evidence)
            return
        level = "warning" if groups or len(copies) > self.share * len(s) else "ok"
        yield Finding(
            level,
            f"{counted(len(copies), 'copy', 'copies')} in other coordinates (same distances, energy and volume), "
            f"{groups:,} in another group",
            "*",
            "symmetry-copies",
            evidence,
            copies,
        )


plugin = SymmetryCopies
