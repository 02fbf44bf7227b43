"""FitSNAP JSON files as configurations without labels of ours: an independent way in, for tests of what is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from mlipstore.configuration import Configuration


def dataset(path: Path) -> dict[str, Any]:
    """The one entry of a file, as it stands."""
    text = path.read_text()
    return json.loads(text[text.index("{") :])["Dataset"]["Data"][0]


def configuration(path: Path) -> Configuration:
    """Species, positions and cell of a file."""
    data = dataset(path)
    return Configuration(
        numbers=np.array([atomic_numbers[s] for s in data["AtomTypes"]]),
        positions=np.array(data["Positions"], float),
        cell=np.array(data["Lattice"], float),
        pbc=np.ones(3, bool),
        group=path.parent.name,
        source=path.name,
    )
