"""What ``featurize`` and ``fit`` are going to do: rows, bytes and memory, from counts alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from .computing import Column
from .features import Feature, missing
from .featurize import WRITE_BYTES
from .index import Index, Segment
from .memory import FitMemory
from .store import Snapshot


@dataclass(frozen=True)
class FeaturizePlan:
    """What a featurization is going to do; pure arithmetic, nothing is computed."""

    columns: int
    rows: int
    segments: int
    segments_missing: int
    configurations_missing: int
    atoms_missing: int
    bytes_on_disk: int
    bytes_per_worker: int

    def to_json(self) -> dict[str, int]:
        return dict(vars(self))


def featurize_plan(snapshot: Snapshot, feature: Feature, columns: list[Column]) -> FeaturizePlan:
    """Rows, bytes and memory of a featurization, before it runs."""
    every, todo = Index.load(snapshot).live_segments(), missing(snapshot, "features", feature.id)
    m = len(columns)
    width = 4 if feature.precision == "float32" else 8

    def rows(which: list[Segment]) -> tuple[int, int]:
        return sum(7 * s.n_configurations for s in which), sum(3 * s.n_atoms for s in which)

    energy_stress, force = rows(every)
    biggest = max((s.n_atoms for s in every), default=0)
    return FeaturizePlan(
        columns=m,
        rows=energy_stress + force,
        segments=len(every),
        segments_missing=len(todo),
        configurations_missing=sum(s.n_configurations for s in todo),
        atoms_missing=sum(s.n_atoms for s in todo),
        bytes_on_disk=m * (8 * energy_stress + width * force),
        bytes_per_worker=10 * WRITE_BYTES + 200 * biggest + (64 << 20),
    )


@dataclass(frozen=True)
class FitPlan:
    """What a fit is going to do, from counts alone."""

    feature: str
    rows: int
    columns: int
    bytes_read: int
    memory: FitMemory
    allowance: int
    #: one worker needs so long for both passes, roughly
    seconds: float
    solver: str
    #: a setting that does not do what it seems to
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "feature": self.feature,
            "rows": self.rows,
            "columns": self.columns,
            "bytes_read": self.bytes_read,
            "projected_memory": self.memory.total,
            "memory": dataclasses.asdict(self.memory),
            "allowance": self.allowance,
            "note": self.note,
        }
