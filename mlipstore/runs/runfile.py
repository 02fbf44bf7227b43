"""Run files: the settings of all verbs as TOML, as typed values. ``schemas/run.schema.json`` is the contract.

Attribute names are the TOML keys; a table that the file does not have is None (``evaluate`` is always there)::

    run = load("run.toml")          # paths absolute, defaults filled, every mistake one SettingsError
    run.fit.group("Liquid").energy
    RunFile.from_dict(run.to_dict()) == run
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from .. import registry
from ..errors import MlipstoreError, SettingsError, UnknownNameError, listed, nearest
from ..schema import Document, check, read_toml
from ..searching.settings import Search
from .tables import (
    WEIGHT_KINDS,
    BaselineTable,
    DescriptorTable,
    Evaluate,
    Export,
    Fit,
    GroupSettings,
    Ingest,
    Plot,
    PluginTable,
    parse_weight,
    to_plain,
)
from .toml_text import dump_toml

__all__ = [
    "BaselineTable",
    "DescriptorTable",
    "Evaluate",
    "Export",
    "Fit",
    "GroupSettings",
    "Ingest",
    "Plot",
    "PluginTable",
    "RunFile",
    "Search",
    "dump_toml",
    "load",
    "parse_weight",
]

T = TypeVar("T", bound=PluginTable)


@dataclass(frozen=True)
class RunFile:
    """A whole run file."""

    store: str | None = None
    ingest: Ingest | None = None
    descriptor: DescriptorTable | None = None
    baseline: BaselineTable | None = None
    fit: Fit | None = None
    evaluate: Evaluate = field(default_factory=Evaluate)
    export: Export | None = None
    plot: Plot | None = None
    search: Search | None = None

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], source: str = "settings", text: str = "", folder: str | Path = ""
    ) -> Self:
        """Validated settings with defaults; paths stay as they are.

        :param source: what errors name; ``text`` is the text of that file, for line numbers
        :param folder: where files are looked for that the settings of a plugin name
        :raises SettingsError: what is wrong, where, and what was expected
        """
        return cls(**_build(Document(_without_none(values), source, text), Path(folder)))

    def to_dict(self) -> dict[str, Any]:
        """Complete with defaults, without tables the file does not have; :func:`dump_toml` writes it."""
        return {k: v for k, v in to_plain(self).items() if v is not None}

    def resolved(self, folder: str | Path) -> Self:
        """A copy whose paths are absolute, taken relative to ``folder``; patterns in sources become files."""

        def place(path: str) -> str:
            if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
                return path
            return os.path.abspath(Path(folder, Path(path).expanduser()))

        def sources(path: str) -> list[str]:
            whole = place(path)
            if os.path.exists(whole) or not glob.has_magic(whole):
                return [whole]
            if found := sorted(glob.glob(whole, recursive=True)):
                return found
            raise SettingsError(f"ingest.sources: nothing matches the pattern {path!r} in {os.path.abspath(folder)}.")

        ingest, export, plot = self.ingest, self.export, self.plot
        return replace(
            self,
            store=None if self.store is None else place(self.store),
            ingest=ingest and replace(ingest, sources=tuple(s for path in ingest.sources for s in sources(path))),
            export=export and replace(export, prefix=None if export.prefix is None else place(export.prefix)),
            plot=plot and replace(plot, directory=place(plot.directory)),
        )


def load(path: str | Path) -> RunFile:
    """The run file at ``path``: validated, defaults filled, paths relative to the file made absolute.

    :raises SettingsError: no such file, an unknown key (with the nearest known one) or a value that makes no sense
    :raises InputError: not TOML; names line and column
    """
    document = read_toml(path)
    folder = Path(path).absolute().parent
    run = RunFile.from_dict(document.values, document.source, document.text, folder)
    try:
        return run.resolved(folder)
    except SettingsError as e:
        raise SettingsError(f"{document.source}, {e}") from None


def _build(document: Document, folder: Path) -> dict[str, Any]:
    """Arguments of :class:`RunFile` from a document: schema first, then what a schema cannot say."""
    check(document, "run")
    tables = document.values
    out: dict[str, Any] = {"store": tables.get("store")}
    elements: Sequence[str] = ()
    if "descriptor" in tables:
        out["descriptor"] = _plugin(document, ("descriptor",), DescriptorTable)
        elements = out["descriptor"].settings.get("elements", ())
    if "baseline" in tables:
        out["baseline"] = _plugin(document, ("baseline",), BaselineTable, elements, folder)
    if "fit" in tables:
        out["fit"] = _fit(document)
    if "ingest" in tables:
        out["ingest"] = _ingest(document)
    if "export" in tables:
        out["export"] = Export(**_tuples(tables["export"]))
        for i, name in enumerate(out["export"].formats):
            _known_plugin(document, "exporters", name, ("export", "formats", i))
    if "plot" in tables:
        out["plot"] = Plot(**tables["plot"])
    if "search" in tables:
        out["search"] = _search(document)
    out["evaluate"] = Evaluate(**tables.get("evaluate", {}))
    return out


def _known_plugin(document: Document, kind: str, name: str, keys: tuple[str | int, ...]) -> None:
    try:
        registry.get(kind, name)
    except UnknownNameError as e:
        raise document.error(keys, str(e)) from None


def _plugin(
    document: Document,
    keys: tuple[str, ...],
    table: type[T],
    elements: Sequence[str] = (),
    folder: Path | None = None,
) -> T:
    """A plugin table with the plugin's settings checked by the plugin and completed with its defaults.

    :param elements: taken when the plugin needs elements and the table names none
    :param folder: where files are looked for that the settings name
    """
    values: Any = document.values
    for key in keys:
        values = values[key]
    own = set(table.own())
    if keys[-1] == "solver":
        own.discard("name")
    head = {k: v for k, v in values.items() if k in own}
    settings = _tuples({k: v for k, v in values.items() if k not in own})
    kind, name = table.kind, head["type"]
    _known_plugin(document, kind, name, (*keys, "type"))
    accepted = [f.name for f in fields(registry.get(kind, name)) if f.init]
    for key in settings:
        if key not in accepted:
            known = sorted({*accepted, *own})
            message = f"{kind[:-1]} {name!r} has no setting {key!r}. {nearest(key, known)}Known: {listed(known, 40)}."
            raise document.error((*keys, key), message)
    if "elements" in accepted and "elements" not in settings and elements:
        settings["elements"] = tuple(elements)
    more: dict[str, Any] = {}
    plugin: Any = registry.get(kind, name)
    try:
        if folder is not None and hasattr(plugin, "gathered"):
            settings, more["content"] = plugin.gathered(settings, folder)
        if "elements" in settings or "elements" not in accepted or table is not BaselineTable:
            settings = registry.settings_of(registry.make(kind, name, settings))
    except MlipstoreError as e:
        raise document.error(keys, str(e)) from None
    except (TypeError, ValueError) as e:  # a plugin that leaves the check of its settings to Python
        raise document.error(keys, f"{kind[:-1]} {name!r} does not accept these settings: {e}") from e
    return table(settings=settings, **head, **more)


def _ingest(document: Document) -> Ingest:
    values = _tuples(document.values["ingest"])
    if "index" in values:
        values["index"] = str(values["index"])
    if values.get("format") == "auto":
        del values["format"]
    if "format" in values:
        _known_plugin(document, "readers", values["format"], ("ingest", "format"))
    _check_elements(document, ("ingest", "type_map"), values.get("type_map", ()))
    try:
        return Ingest(**values)
    except MlipstoreError as e:
        raise document.error(("ingest",), str(e)) from None


def _fit(document: Document) -> Fit:
    values = dict(document.values["fit"])
    _check_elements(document, ("fit", "element_shifts"), values.get("element_shifts", ()))
    values["element_shifts"] = {k: float(v) for k, v in values.get("element_shifts", {}).items()}
    default = values.get("default", {})
    values["default"] = _group(document, ("fit", "default"), default)
    values["groups"] = {
        name: _group(document, ("fit", "groups", name), {**default, **own})
        for name, own in values.get("groups", {}).items()
    }
    with_solver = document if "solver" in values else replace(document, values={"fit": {"solver": {"type": "svd"}}})
    values["solver"] = _plugin(with_solver, ("fit", "solver"), PluginTable)
    return Fit(**values)


def _search(document: Document) -> Search:
    """Ranges in order, objectives and validation that go together."""
    values = _tuples(document.values["search"])
    values["groups"] = {name: _tuples(ranges) for name, ranges in values.get("groups", {}).items()}
    values["element_shifts"] = _tuples(values.get("element_shifts", {}))
    _check_elements(document, ("search", "element_shifts"), values["element_shifts"])
    places: list[tuple[tuple[str, ...], Any]] = [((key,), values.get(key)) for key in (*WEIGHT_KINDS, "ridge")]
    for table in ("groups", "element_shifts"):
        for name, entry in values[table].items():
            inner = entry.items() if table == "groups" else [("", entry)]
            places += [((table, name, kind) if kind else (table, name), pair) for kind, pair in inner]
    for keys, pair in places:
        if pair is not None and pair[0] > pair[1]:
            raise document.error(("search", *keys), f"the range {list(pair)} is empty: write the least number first.")
    for i, text in enumerate(values.get("objectives", ())):
        kind = text.partition(":")[0]
        if kind not in WEIGHT_KINDS:
            message = f"no objective {text!r}. {nearest(kind, WEIGHT_KINDS)}Write energy, force, stress, or kind:GROUP."
            raise document.error(("search", "objectives", i), message)
    search = Search(**values)
    if search.validation == "groups" and not search.hold_out:
        raise document.error(("search",), "validation = 'groups' needs hold_out, the list of groups to predict.")
    return search


def _group(document: Document, keys: tuple[str, ...], values: Mapping[str, Any]) -> GroupSettings:
    total = 0.0
    for key in ("train", "test"):
        share = values.get(key, getattr(GroupSettings, key))
        if isinstance(share, float):
            total += share
            if share > 1.0:
                remedy = f"Write {share:.0f} for a count." if share == int(share) else "Write 1.0 for all."
                message = f"found {share!r}: a number with a decimal point is a fraction of 0.0 to 1.0. {remedy}"
                raise document.error((*keys, key), message)
    if total > 1.0 + 1e-12:
        raise document.error(keys, f"train and test add up to {total:g} of the group. Their sum is at most 1.0.")
    return GroupSettings(**{k: v if k in ("train", "test") else float(v) for k, v in values.items()})


def _check_elements(document: Document, keys: tuple[str, ...], symbols: Iterable[str]) -> None:
    from ase.data import atomic_numbers

    for i, symbol in enumerate(symbols):
        if atomic_numbers.get(symbol, 0) == 0:
            key = symbol if keys[-1] == "element_shifts" else i
            raise document.error((*keys, key), f"{symbol!r} is not the symbol of an element, such as W or Be.")


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists become tuples, as frozen dataclasses hold them."""

    def convert(value: Any) -> Any:
        return tuple(map(convert, value)) if isinstance(value, (list, tuple)) else value

    return {k: convert(v) for k, v in values.items()}


def _without_none(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {k: _without_none(v) for k, v in values.items() if v is not None}
    return list(map(_without_none, values)) if isinstance(values, (list, tuple)) else values
