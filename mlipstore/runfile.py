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
from typing import Any, ClassVar, Self, TypeVar

from . import registry
from .errors import MlipstoreError, SettingsError, UnknownNameError, listed, nearest, unknown_name
from .reading import ReadOptions
from .schema import Document, check, read_toml
from .search_settings import Search
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

T = TypeVar("T", bound="PluginTable")
#: Kinds of rows, whose weights a group has.
WEIGHT_KINDS = ("energy", "force", "stress")


@dataclass(frozen=True)
class Ingest:
    """``[ingest]``: which files, and how they are read; see :class:`mlipstore.reading.ReadOptions`."""

    sources: tuple[str, ...]
    format: str | None = None
    group_by: str = "auto"
    include_groups: tuple[str, ...] | None = None
    zero_stress: str = "missing"
    energy_key: str | None = None
    force_key: str | None = None
    stress_key: str | None = None
    virial_key: str | None = None
    energy_unit: str | None = None
    length_unit: str | None = None
    force_unit: str | None = None
    stress_unit: str | None = None
    stress_sign: str | None = None
    stress_order: str | None = None
    type_map: tuple[str, ...] = ()
    index: str = ":"
    group_stress_unit: Mapping[str, str] = field(default_factory=dict)
    group_stress_order: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> ReadOptions:
        """What the readers are given."""
        return ReadOptions(**{f.name: getattr(self, f.name) for f in fields(ReadOptions)})


@dataclass(frozen=True)
class PluginTable:
    """A plugin and its settings: ``type`` names it, every key that is not a field here is a setting of the plugin."""

    type: str
    name: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "solvers"

    def make(self, **defaults: Any) -> Any:
        """The plugin instance; ``defaults`` are settings taken where the table has none."""
        return registry.make(self.kind, self.type, {**defaults, **self.settings})

    def to_dict(self) -> dict[str, Any]:
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "settings"}
        return {**own, **self.settings}


@dataclass(frozen=True)
class DescriptorTable(PluginTable):
    """``[descriptor]``."""

    storage: str = "rows"
    float32: bool = False

    kind: ClassVar[str] = "descriptors"

    @property
    def precision(self) -> str:
        """Name of the floating-point type rows are stored in."""
        return "float32" if self.float32 else "float64"


@dataclass(frozen=True)
class BaselineTable(PluginTable):
    """``[baseline]``."""

    kind: ClassVar[str] = "baselines"


@dataclass(frozen=True)
class GroupSettings:
    """Split and weights of one group.

    :param train: fraction (float, 1.0 = all) or number (int) of training configurations; likewise ``test``
    :param energy: weight that multiplies energy residuals in eV/atom; ``force`` in eV/Å; ``stress`` in the unit
        ``Fit.stress_weight_unit``
    """

    train: float | int = 1.0
    test: float | int = 0.0
    energy: float = 100.0
    force: float = 1.0
    stress: float = 0.1


@dataclass(frozen=True)
class Fit:
    """``[fit]``: data, split, weights and solver of a weighted linear fit."""

    name: str | None = None
    features: str | None = None
    baseline: str | None = None
    constant: bool = True
    stress_weight_unit: str = "GPa"
    weight_scaling: str = "none"
    unlisted_groups: str = "default"
    frame: str = "input"
    seed: int = 0
    max_memory: str | None = None
    block_rows: int | None = None
    element_shifts: Mapping[str, float] = field(default_factory=dict)
    solver: PluginTable = PluginTable("svd")
    default: GroupSettings = GroupSettings()
    groups: Mapping[str, GroupSettings] = field(default_factory=dict)

    def group(self, name: str) -> GroupSettings | None:
        """Settings of a group of the store; None when it is left out.

        :raises SettingsError: the group is not listed and ``unlisted_groups`` is ``error``
        """
        if name in self.groups:
            return self.groups[name]
        if self.unlisted_groups == "exclude":
            return None
        if self.unlisted_groups == "error":
            raise SettingsError(
                f"group {name!r} of the store is not in [fit.groups] and unlisted_groups is 'error'. "
                f"{nearest(name, self.groups)}List it, or set unlisted_groups to 'default' or 'exclude'."
            )
        return self.default

    def check_groups(self, known: Iterable[str]) -> None:
        """Every listed group must be in the store; :class:`UnknownNameError` names the nearest one."""
        names = set(known)
        for name in self.groups:
            if name not in names:
                raise unknown_name("group", name, names)

    def with_weights(self, overrides: Sequence[str], known: Iterable[str] | None = None) -> Fit:
        """A copy with weights changed by ``GROUP.kind=VALUE``; the group ``*`` stands for all.

        :param known: groups of the store; without it any group is accepted
        """
        groups, default = dict(self.groups), self.default
        names = None if known is None else set(known) | {"*"}
        for text in overrides:
            group, kind, value = parse_weight(text)
            if group == "*":
                default = replace(default, **{kind: value})
                groups = {g: replace(s, **{kind: value}) for g, s in groups.items()}
                continue
            if names is not None and group not in names:
                raise unknown_name("group", group, names - {"*"})
            groups[group] = replace(groups.get(group, default), **{kind: value})
        return replace(self, groups=groups, default=default)

    def to_dict(self) -> dict[str, Any]:
        """Complete with defaults, as plain TOML values (None where a key has no value)."""
        return _to_plain(self)  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "settings of the fit") -> Fit:
        """From the keys of a ``[fit]`` table, e.g. those stored with a model."""
        fit = RunFile.from_dict({"fit": values}, source).fit
        assert fit is not None
        return fit


def parse_weight(text: str) -> tuple[str, str, float]:
    """Group, kind and value of ``GROUP.kind=VALUE``.

    >>> parse_weight("liquid.2.energy=50")
    ('liquid.2', 'energy', 50.0)
    """
    left, equals, right = text.rpartition("=")
    group, dot, kind = left.strip().rpartition(".")
    if not equals or not dot or not group:
        raise SettingsError(f"--weight {text!r} is not GROUP.kind=VALUE, such as surface.energy=50.")
    if kind not in WEIGHT_KINDS:
        raise SettingsError(
            f"--weight {text!r}: no weight {kind!r}. {nearest(kind, WEIGHT_KINDS)}Known: {listed(WEIGHT_KINDS)}."
        )
    try:
        value = float(right)
    except ValueError:
        raise SettingsError(f"--weight {text!r}: {right.strip()!r} is not a number.") from None
    if not 0.0 <= value < float("inf"):
        raise SettingsError(f"--weight {text!r}: a weight is a finite number of at least 0.")
    return group, kind, value


@dataclass(frozen=True)
class Evaluate:
    """``[evaluate]``: units of the error table."""

    units: str = "standard"


@dataclass(frozen=True)
class Export:
    """``[export]``: potential files for other programs."""

    formats: tuple[str, ...] = ("lammps-snap",)
    prefix: str | None = None
    check: int = 20


@dataclass(frozen=True)
class Plot:
    """``[plot]``: where pictures go."""

    directory: str = "plots"
    format: str = "png"


@dataclass(frozen=True)
class RunFile:
    """A whole run file."""

    store: str | None = None
    ingest: Ingest | None = None
    descriptor: DescriptorTable | None = None
    baseline: BaselineTable | None = None
    fit: Fit | None = None
    evaluate: Evaluate = Evaluate()
    export: Export | None = None
    plot: Plot | None = None
    search: Search | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "settings", text: str = "") -> Self:
        """Validated settings with defaults; paths stay as they are.

        :param source: what errors name; ``text`` is the text of that file, for line numbers
        :raises SettingsError: what is wrong, where, and what was expected
        """
        return cls(**_build(Document(_without_none(values), source, text)))

    def to_dict(self) -> dict[str, Any]:
        """Complete with defaults, without tables the file does not have; :func:`dump_toml` writes it."""
        return {k: v for k, v in _to_plain(self).items() if v is not None}

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
    run = RunFile.from_dict(document.values, document.source, document.text)
    try:
        return run.resolved(Path(path).absolute().parent)
    except SettingsError as e:
        raise SettingsError(f"{document.source}, {e}") from None


def _build(document: Document) -> dict[str, Any]:
    """Arguments of :class:`RunFile` from a document: schema first, then what a schema cannot say."""
    check(document, "run")
    tables = document.values
    out: dict[str, Any] = {"store": tables.get("store")}
    elements: Sequence[str] = ()
    if "descriptor" in tables:
        out["descriptor"] = _plugin(document, ("descriptor",), DescriptorTable)
        elements = out["descriptor"].settings.get("elements", ())
    if "baseline" in tables:
        out["baseline"] = _plugin(document, ("baseline",), BaselineTable, elements)
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


def _plugin(document: Document, keys: tuple[str, ...], table: type[T], elements: Sequence[str] = ()) -> T:
    """A plugin table with the plugin's settings checked by the plugin and completed with its defaults.

    :param elements: taken when the plugin needs elements and the table names none
    """
    values: Any = document.values
    for key in keys:
        values = values[key]
    own = {f.name for f in fields(table)} - {"settings"}
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
    if "elements" in settings or "elements" not in accepted or table is not BaselineTable:
        try:
            settings = registry.settings_of(registry.make(kind, name, settings))
        except MlipstoreError as e:
            raise document.error(keys, str(e)) from None
        except (TypeError, ValueError) as e:  # a plugin that leaves the check of its settings to Python
            raise document.error(keys, f"{kind[:-1]} {name!r} does not accept these settings: {e}") from e
    return table(settings=settings, **head)


def _ingest(document: Document) -> Ingest:
    values = _tuples(document.values["ingest"])
    if "index" in values:
        values["index"] = str(values["index"])
    if values.get("format") == "auto":
        del values["format"]
    if "format" in values:
        _known_plugin(document, "readers", values["format"], ("ingest", "format"))
    _check_elements(document, ("ingest", "type_map"), values.get("type_map", ()))
    ingest = Ingest(**values)
    try:
        ingest.options()
    except MlipstoreError as e:
        raise document.error(("ingest",), str(e)) from None
    return ingest


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


def _to_plain(value: Any) -> Any:
    if isinstance(value, PluginTable):
        return _to_plain(value.to_dict())
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _to_plain(v) for k, v in value.items()}
    return list(map(_to_plain, value)) if isinstance(value, (list, tuple)) else value
