"""Names of models: one for each, the same in the log and in the list."""

from __future__ import annotations

from pathlib import Path

from mlipstore.features import aliases
from mlipstore.fit import fit
from mlipstore.runfile import Fit

from ..small_store import plugins, small_store


def test_log_names_models_as_they_are_stored(tmp_path: Path) -> None:
    with plugins():
        repository = small_store(tmp_path, n=20)
        for seed in range(3):
            default = {"train": 0.5, "test": 0.5}
            fit(repository, Fit.from_dict({"name": "m", "seed": seed, "baseline": "none", "default": default}))
        stored = aliases(repository.at(), "models").values()
        told = [c.message.removeprefix("fit ") for c in repository.log() if c.metadata["verb"] == "fit"]
    assert sorted(told) == sorted(stored) == ["m", "m-2", "m-3"]
