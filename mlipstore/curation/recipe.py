"""``apply``: a recipe, the corrections of a data set in a TOML file that can be repeated on the original data.

All expressions of a recipe mean the data before its first step. What the audit flagged is known by content hash, which
a correction changes, so it is turned into flags of configurations before anything else; these go with corrected ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..runs.toml_text import value_text
from ..schema import Document, canonical, check, read_toml
from ..store import Repository
from .annotate import annotate
from .annotations import FLAG, annotation_names
from .edit import EditResult, Relabel, mask, relabel, remove
from .query import select

_RELABEL = (
    "group",
    "stress_unit",
    "stress_was",
    "stress_order",
    "virial",
    "stress_scale",
    "force_scale",
    "energy_scale",
    "energy_shift",
    "labels",
)
_DONE = re.compile(r"\[recipe ([0-9a-f]{12}) step (\d+)\]")
_FLAGGED = re.compile(r"\bflagged\s*\(")


@dataclass(frozen=True)
class Step:
    """One correction.

    :param verb: ``remove``, ``mask`` or ``relabel``
    :param where: expression; ``reason``: why, kept in the store
    :param kinds: what ``mask`` makes missing; ``settings``: what ``relabel`` changes
    """

    verb: str
    where: str
    reason: str
    kinds: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As in the file."""
        kinds = {"kinds": list(self.kinds)} if self.kinds else {}
        return {"verb": self.verb, "where": self.where, **kinds, **self.settings, "reason": self.reason}


@dataclass(frozen=True)
class Recipe:
    """Corrections in order.

    :param folder: paths in the steps are relative to it
    """

    name: str
    steps: tuple[Step, ...]
    about: str = ""
    folder: Path = Path()

    @property
    def id(self) -> str:
        """12 hexadecimal digits: the hash of the steps."""
        return hashlib.sha256(canonical([s.plain() for s in self.steps]).encode()).hexdigest()[:12]


@dataclass
class ApplyResult:
    """What each step did, or would do.

    :param done_before: steps that this store has had already
    """

    recipe: str
    id: str
    steps: list[EditResult] = field(default_factory=list)
    done_before: int = 0
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "steps": [s.to_json() for s in self.steps]}


def load(path: str | Path) -> Recipe:
    """A recipe from its file.

    :raises InputError: not TOML
    :raises SettingsError: not a recipe; names line and key
    """
    document = read_toml(path)
    check(document, "recipe")
    name = document.values.get("name", re.sub(r"[^A-Za-z0-9_-]", "_", Path(path).stem))
    steps = tuple(_step(document, i, values) for i, values in enumerate(document.values["step"]))
    return Recipe(name, steps, document.values.get("about", ""), Path(path).resolve().parent)


def _step(document: Document, i: int, values: Mapping[str, Any]) -> Step:
    verb = values["verb"]
    allowed = {"mask": ("kinds",), "relabel": _RELABEL, "remove": ()}[verb]
    for key in values:
        if key not in ("verb", "where", "reason", *allowed):
            raise SettingsError(f"{document.place(('step', i, key))}: {key} is not for {verb}.")
    if verb == "mask" and "kinds" not in values:
        raise SettingsError(f'{document.place(("step", i))}: mask needs kinds = ["energy", "force", "stress"] or some.')
    settings = {k: values[k] for k in _RELABEL if k in values}
    if verb == "relabel" and not settings:
        raise SettingsError(f"{document.place(('step', i))}: relabel needs one of {', '.join(_RELABEL)}.")
    return Step(verb, values["where"], values["reason"], tuple(values.get("kinds", ())), settings)


def text(recipe: Recipe, notes: Sequence[str] = ()) -> str:
    """A recipe as TOML.

    :param notes: lines for the reader of the file
    """
    lines = [f"# {line}" for note in notes for line in note.splitlines() or [""]]
    lines += [""] * bool(lines) + [f"name = {value_text(recipe.name)}"]
    if recipe.about:
        lines.append(f"about = {value_text(recipe.about)}")
    for step in recipe.steps:
        lines += ["", "[[step]]", *(f"{k} = {value_text(v)}" for k, v in step.plain().items())]
    return "\n".join(lines) + "\n"


def apply(repository: Repository, recipe: Recipe, dry_run: bool = False, command: str = "apply") -> ApplyResult:
    """Take the steps, each a version of its own with its reason; those that the store has had are left out.

    :raises SettingsError, UnknownNameError: an expression is not one, found out before the first step
    :raises StoreError: an expression asks for what an audit flagged, and none is stored
    """
    result = ApplyResult(recipe.name, recipe.id, dry_run=dry_run)
    done = _done(repository, recipe.id)
    result.done_before = len([i for i in range(len(recipe.steps)) if i in done])
    steps = list(enumerate(recipe.steps))
    if not done:
        for _, step in steps:
            select(repository.at(), step.where)
            if step.verb == "relabel":
                _relabel(step, recipe.folder).change()
    if dry_run:
        result.steps = [
            _take(repository, s, recipe.folder, s.where, "", True, command) for i, s in steps if i not in done
        ]
        return result
    flags = {i: f"{re.sub('-', '_', recipe.name)}_{i + 1}" for i, s in steps if i and _FLAGGED.search(s.where)}
    if not done:
        _free(repository, flags.values(), recipe)
        for i, name in flags.items():
            annotate(repository, recipe.steps[i].where, (name,), message=f"flag {name} for a recipe", command=command)
    for i, step in steps:
        if i in done:
            continue
        where = f"flagged('{flags[i]}')" if i in flags else step.where
        if i in flags and flags[i] not in annotation_names(repository.at(), FLAG):  # nothing had been selected
            result.steps.append(EditResult(step.verb))
            continue
        message = f"{recipe.name} {i + 1}/{len(steps)}, {step.verb}: {step.reason}"
        told = f"{command} [recipe {recipe.id} step {i + 1}]"
        result.steps.append(_take(repository, step, recipe.folder, where, message, False, told))
    return result


def _free(repository: Repository, names: Any, recipe: Recipe) -> None:
    """Flags of the steps of another recipe of the same name would be taken for those of this one."""
    taken = [n for n in names if n in annotation_names(repository.at(), FLAG)]
    if taken:
        raise SettingsError(
            f"the store has a flag {taken[0]!r} already, which recipe {recipe.name!r} needs. Rename the recipe."
        )


def _take(
    repository: Repository, step: Step, folder: Path, where: str, message: str, dry_run: bool, command: str
) -> EditResult:
    if step.verb == "remove":
        return remove(repository, where, message, dry_run, command)
    if step.verb == "mask":
        return mask(repository, where, step.kinds, message, dry_run, command)
    return relabel(repository, where, _relabel(step, folder), message, dry_run, command)


def _relabel(step: Step, folder: Path) -> Relabel:
    wanted = Relabel(**step.settings)
    return wanted if wanted.labels is None else replace(wanted, labels=folder / wanted.labels)


def _done(repository: Repository, id_: str) -> set[int]:
    """Steps of a recipe that the versions tell of."""
    found = (_DONE.search(str(c.metadata.get("command", ""))) for c in repository.log())
    return {int(m[2]) - 1 for m in found if m and m[1] == id_}
