"""An exporter in one file: coefficients as JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlipstore.configuration import Batch
from mlipstore.model import Model
from mlipstore.registry import settings_of


@dataclass(frozen=True)
class JsonModel:
    """``X.model.json``: the descriptor with its settings, the coefficients in eV, the constants in eV per atom."""

    suffixes = (".model.json",)

    def write(self, model: Model, prefix: Path) -> list[Path]:
        """Write the files; their paths."""
        path = prefix.with_name(prefix.name + self.suffixes[0])
        content = {
            "descriptor": settings_of(model.descriptor),
            "constants": model.constants,
            "coefficients": dict(zip((c.name for c in model.columns), model.coefficients.tolist(), strict=True)),
        }
        path.write_text(json.dumps(content, indent=1))
        return [path]

    def check(self, model: Model, paths: list[Path], batch: Batch, n: int | None = None) -> dict[str, Any]:
        """Compare what the reader of the files gives with the model; here the coefficients as they stand there."""
        batch = batch.slice(0, min(len(batch), n or len(batch)))
        written = json.loads(paths[0].read_text())
        rows = model.descriptor.rows(batch)
        force = rows.force @ (np.array([*written["coefficients"].values()]) - model.coefficients)
        worst = float(np.max(np.abs(force), initial=0.0))
        return {
            "ok": worst == 0.0,
            "program": "json",
            "configurations": len(batch),
            "max_energy_difference": 0.0,
            "max_force_difference": worst,
        }


plugin = JsonModel
