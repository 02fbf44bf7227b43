"""Featurizations and baselines of a store: their identity, their settings, which segments they cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr

from . import registry
from .arrays import write_array
from .computing import Baseline, Column, Descriptor
from .errors import DamagedStoreError, SettingsError, StoreError, unknown_name
from .index import Index, Segment
from .layout import BASELINE_FILES
from .named_files import content_of, with_content
from .provenance import content_id
from .schema import canonical
from .store import Snapshot

PRECISIONS = ("float64", "float32")


@dataclass(frozen=True)
class Feature:
    """One featurization: a descriptor with complete settings. The same settings have the same id."""

    id: str
    alias: str
    type: str
    settings: dict[str, Any]
    precision: str = "float64"
    storage: str = "rows"

    @classmethod
    def of(
        cls,
        type: str,
        descriptor: Descriptor,
        alias: str | None,
        precision: str = "float64",
        storage: str = "rows",
    ) -> Feature:
        """The featurization that settings stand for.

        :param storage: ``rows``: rows are stored; ``none``: they are made whenever they are needed. Not part of the
            identity: rows are the same
        """
        if precision not in PRECISIONS:
            raise SettingsError(f"precision is {precision!r}; it is one of {', '.join(PRECISIONS)}.")
        settings = registry.settings_of(descriptor)
        key = {"type": type, "settings": settings}
        if precision != "float64":
            key["precision"] = precision
        return cls(content_id(canonical(key)), alias or descriptor.label(), type, settings, precision, storage)

    @classmethod
    def load(cls, snapshot: Snapshot, name: str) -> Feature:
        """By id (or its first characters) or alias."""
        id_ = find_named(snapshot, "features", name)
        a = snapshot.attributes(f"features/{id_}")
        key = {"type": a["type"], "settings": a["settings"]}
        if a["precision"] != "float64":
            key["precision"] = a["precision"]
        _require_id(snapshot, "features", id_, key)
        return cls(id_, a["alias"], a["type"], a["settings"], a["precision"], a.get("storage", "rows"))

    def descriptor(self) -> Descriptor:
        """The descriptor that makes these features."""
        made: Descriptor = registry.make("descriptors", self.type, self.settings)
        return made

    def attributes(self, columns: list[Column]) -> dict[str, Any]:
        return {
            "alias": self.alias,
            "type": self.type,
            "settings": self.settings,
            "precision": self.precision,
            "storage": self.storage,
            "columns": [c.name for c in columns],
            "column_elements": [c.element for c in columns],
        }


@dataclass(frozen=True)
class StoredBaseline:
    """One reference potential with complete settings.

    :param content: files that the settings name
    """

    id: str
    alias: str
    type: str
    settings: dict[str, Any]
    content: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, type: str, baseline: Baseline, alias: str | None) -> StoredBaseline:
        settings = registry.settings_of(baseline)
        id_ = content_id(canonical({"type": type, "settings": settings}))
        return cls(id_, alias or baseline.label(), type, settings, content_of(baseline))

    @classmethod
    def load(cls, snapshot: Snapshot, name: str) -> StoredBaseline:
        id_ = find_named(snapshot, "baselines", name)
        a = snapshot.attributes(f"baselines/{id_}")
        _require_id(snapshot, "baselines", id_, {"type": a["type"], "settings": a["settings"]})
        return cls(id_, a["alias"], a["type"], a["settings"], stored_files(snapshot, id_))

    def baseline(self) -> Baseline:
        made: Baseline = with_content(registry.make("baselines", self.type, self.settings), self.content)
        return made

    def write_files(self, group: zarr.Group) -> None:
        """Store the files that the settings name in the group of the baseline."""
        if self.content:
            every = b"".join(self.content.values())
            write_array(group, BASELINE_FILES["file_name"], np.array(list(self.content), object))
            write_array(group, BASELINE_FILES["file_size"], np.array(list(map(len, self.content.values())), np.int64))
            write_array(group, BASELINE_FILES["file_content"], np.frombuffer(every, np.uint8))

    def attributes(self) -> dict[str, Any]:
        return {"alias": self.alias, "type": self.type, "settings": self.settings}


def stored_files(snapshot: Snapshot, id_: str) -> dict[str, bytes]:
    """Content of the files that the settings of a baseline name."""
    here = f"baselines/{id_}/"
    if not snapshot.exists(here + "file_name"):
        return {}
    names, ends = snapshot.read(here + "file_name"), np.cumsum(snapshot.read(here + "file_size"))
    every = snapshot.read(here + "file_content").tobytes()
    return {str(n): every[a:b] for n, a, b in zip(names, [0, *ends[:-1]], ends, strict=True)}


def computed(snapshot: Snapshot, path: str) -> list[str]:
    """Segments that a featurization or baseline covers, sorted."""
    return [name for name in snapshot.names(path) if name not in BASELINE_FILES]


def missing(snapshot: Snapshot, kind: str, id_: str) -> list[Segment]:
    """Segments that a feature or baseline does not cover yet, of those with a configuration that counts."""
    done = set(snapshot.names(f"{kind}/{id_}")) if snapshot.exists(f"{kind}/{id_}") else set()
    return [s for s in Index.load(snapshot).live_segments() if s.name not in done]


def _require_id(snapshot: Snapshot, kind: str, id_: str, key: dict[str, Any]) -> None:
    """An id is the hash of the settings: settings that were damaged give themselves away."""
    if content_id(canonical(key)) != id_:
        raise DamagedStoreError(
            f"{snapshot.repository.path}: the settings of {kind}/{id_} are not those it was made with. "
            "Restore the store from a copy."
        )


def ids(snapshot: Snapshot, kind: str) -> list[str]:
    """Ids of the ``features``, ``baselines`` or ``models`` of a version, sorted."""
    return snapshot.names(kind)


def aliases(snapshot: Snapshot, kind: str) -> dict[str, str]:
    """Alias of each id."""
    if not snapshot.exists(kind):  # a kind that came after the store was made
        return {}
    return {i: str(snapshot.attributes(f"{kind}/{i}")["alias"]) for i in ids(snapshot, kind)}


def other_names(snapshot: Snapshot, kind: str) -> dict[str, str]:
    """Id of each name that a model has besides its alias."""
    if kind != "models":
        return {}
    return {n: i for i in ids(snapshot, kind) for n in snapshot.attributes(f"{kind}/{i}").get("also", [])}


def find_named(snapshot: Snapshot, kind: str, name: str) -> str:
    """The id among ``kind`` that ``name`` (an alias, an id or its first characters) stands for."""
    known = aliases(snapshot, kind)
    if name in known:
        return name
    hits = [i for i, alias in known.items() if alias == name]
    hits = hits or [i for n, i in other_names(snapshot, kind).items() if n == name]
    hits = hits or [i for i in known if i.startswith(name)]
    if len(hits) == 1:
        return hits[0]
    if hits:
        raise StoreError(f"{name!r} stands for several {kind}: {', '.join(hits)}. Give the id.")
    raise unknown_name({"studies": "study"}.get(kind, kind[:-1]), name, [*known.values()])


def find_model(snapshot: Snapshot, name: str) -> str:
    """The id of a model by alias, id or its first characters."""
    return find_named(snapshot, "models", name)


def free_alias(snapshot: Snapshot, kind: str, id_: str, wanted: str) -> str:
    """``wanted``, or ``wanted-2`` ... when another id has it."""
    taken = {alias for i, alias in aliases(snapshot, kind).items() if i != id_}
    taken |= {alias for alias, i in other_names(snapshot, kind).items() if i != id_}
    alias, n = wanted, 2
    while alias in taken:
        alias, n = f"{wanted}-{n}", n + 1
    return alias


def only(snapshot: Snapshot, kind: str, what: str) -> str | None:
    """The id if there is exactly one; None if there is none; an error that lists them if there are several."""
    have = aliases(snapshot, kind)
    if len(have) > 1:
        raise SettingsError(f"the store has several {kind} ({', '.join(have.values())}): say which, {what}.")
    return next(iter(have), None)
