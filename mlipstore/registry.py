"""Plugins by name: a file ``mlipstore/<kind>/<name>.py`` with ``plugin = TheClass`` is a plugin by being there.

Other packages add theirs through the entry points ``mlipstore.<kind>``. The settings of a plugin are the
fields of its (frozen) dataclass; nothing else configures it.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

from .errors import SettingsError, listed, nearest, unknown_name

KINDS = ("readers", "descriptors", "baselines", "solvers", "exporters", "writers", "executors", "checks")


@cache
def _entry_points(kind: str) -> dict[str, importlib.metadata.EntryPoint]:
    return {e.name: e for e in importlib.metadata.entry_points(group=f"mlipstore.{kind}")}


@cache
def names(kind: str) -> tuple[str, ...]:
    """Names of the plugins of one kind, sorted."""
    package = importlib.import_module(f"mlipstore.{kind}")
    own = {m.name.replace("_", "-") for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}
    return tuple(sorted(own | set(_entry_points(kind))))


def get(kind: str, name: str) -> Any:
    """The plugin class called ``name``; :class:`UnknownNameError` names the nearest one."""
    if name not in names(kind):
        raise unknown_name(kind[:-1], name, names(kind))
    entry = _entry_points(kind).get(name)
    if entry is not None:
        return entry.load()
    return importlib.import_module(f"mlipstore.{kind}.{name.replace('-', '_')}").plugin


def make(kind: str, name: str, settings: Mapping[str, Any]) -> Any:
    """An instance of a plugin; unknown settings are refused with the nearest known one."""
    cls = get(kind, name)
    known = [f.name for f in dataclasses.fields(cls) if f.init]
    for key in settings:
        if key not in known:
            raise SettingsError(
                f"{kind[:-1]} {name!r} has no setting {key!r}. {nearest(key, known)}Settings: {listed(known)}."
            )
    required = [
        f.name
        for f in dataclasses.fields(cls)
        if f.init and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    for key in required:
        if key not in settings:
            raise SettingsError(f"{kind[:-1]} {name!r} needs the setting {key!r}. Required: {listed(required)}.")
    return cls(**settings)


def settings_of(plugin: Any) -> dict[str, Any]:
    """All settings of a plugin instance, defaults included, as plain JSON values."""
    return {f.name: _plain(getattr(plugin, f.name)) for f in dataclasses.fields(plugin) if f.init}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
