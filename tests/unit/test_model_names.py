"""Names of models: one for each, the same in the log and in the list."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mlipstore.features import aliases, find_model
from mlipstore.fit import fit
from mlipstore.replay import replay
from mlipstore.runs.runfile import Fit, GroupSettings
from mlipstore.show import show

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


def test_the_same_fit_by_another_name_has_both(tmp_path: Path) -> None:
    with plugins():
        repository = small_store(tmp_path, n=20)
        settings = Fit.from_dict({"name": "first", "baseline": "none"})
        first = fit(repository, settings)
        before = repository.at().id
        assert fit(repository, settings).also == [] and repository.at().id == before
        assert fit(repository, replace(settings, name=None)).also == [] and repository.at().id == before
        again = fit(repository, replace(settings, name="second"))
        assert (again.new, again.id, again.name, again.also) == (False, first.id, "first", ["second"])
        assert fit(repository, replace(settings, name="second")).also == ["second"]
        snapshot = repository.at()
        assert find_model(snapshot, "second") == find_model(snapshot, "first") == first.id
        assert show(repository, "second")["name"] == "first"
        other = fit(repository, replace(settings, name="second", seed=1, default=GroupSettings(train=0.5, test=0.5)))
        assert other.name == "second-2"
        assert fit(repository, replace(settings, name="second-2")).also == ["second", "second-2-2"]
        assert replay(repository, "second").equal


def test_models_are_listed_in_the_order_they_were_made(tmp_path: Path) -> None:
    with plugins():
        repository = small_store(tmp_path, n=20)
        names = [f"m{i}" for i in range(6)]
        for seed, name in enumerate(names):
            default = {"train": 0.5, "test": 0.5}
            fit(repository, Fit.from_dict({"name": name, "seed": seed, "baseline": "none", "default": default}))
        fit(repository, Fit.from_dict({"name": "other", "seed": 0, "baseline": "none", "default": default}))
        models = show(repository)["models"]
        assert [m["alias"] for m in models] == names and all(m["made"] for m in models)
        assert sorted(m["id"] for m in models) != [m["id"] for m in models]
