"""The tables of a run file as typed values; :mod:`mlipstore.runs.runfile` makes them from TOML.

Attribute names are the TOML keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from .. import registry
from ..errors import SettingsError, listed, nearest, unknown_name
from ..named_files import with_content
from ..reading import ReadOptions

#: Kinds of rows, whose weights a group has.
WEIGHT_KINDS = ("energy", "force", "stress")


@dataclass(frozen=True)
class Sources:
    """Which files, of which format, and what of them is taken."""

    sources: tuple[str, ...]
    format: str | None = None
    include_groups: tuple[str, ...] | None = None
    zero_stress: str = "missing"


@dataclass(frozen=True)
class Ingest(ReadOptions, Sources):
    """``[ingest]``: which files, and how they are read."""

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
        return {**{name: getattr(self, name) for name in self.own()}, **self.settings}

    @classmethod
    def own(cls) -> list[str]:
        """Keys of the table that are no settings of the plugin."""
        return [f.name for f in fields(cls) if f.name not in ("settings", "content")]


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
    """``[baseline]``.

    :param content: files that the settings name
    """

    content: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    kind: ClassVar[str] = "baselines"

    def make(self, **defaults: Any) -> Any:
        return with_content(super().make(**defaults), self.content)


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
    where: str | None = None
    seed: int = 0
    max_memory: str | None = None
    block_rows: int | None = None
    device: str = "cpu"
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
            if name not in names and "*" in name:
                raise SettingsError(
                    f"[fit.groups]: {name!r} names no group, and * stands for nothing here. What groups get that are "
                    "not listed is in [fit.default]."
                )
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
        return to_plain(self)  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "settings of the fit") -> Fit:
        """From the keys of a ``[fit]`` table, e.g. those stored with a model."""
        from .runfile import RunFile  # which makes tables

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


def to_plain(value: Any) -> Any:
    """Tables as dictionaries and lists, complete with defaults."""
    if isinstance(value, PluginTable):
        return to_plain(value.to_dict())
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    return list(map(to_plain, value)) if isinstance(value, (list, tuple)) else value
