"""Finds ``schemas/*.schema.json`` and applies them (JSON Schema, draft 2020-12).

What is refused names the file and line, the path of the key, the value found, what was expected and the remedy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SettingsError, listed, nearest
from .runs import toml_text

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

Keys = Sequence[str | int]
#: More problems than this in one file are counted, not printed.
SHOWN = 8
_TYPES = {
    "string": "text in quotation marks",
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "array": "a list [..]",
    "object": "a table",
    "null": "nothing",
}


def folder() -> Path:
    """The folder of the schema files: inside the installed package, or beside it in a source tree."""
    here = Path(__file__).resolve().parent
    for place in (here / "schemas", here.parent / "schemas"):
        if (place / "run.schema.json").is_file():
            return place
    raise FileNotFoundError(f"no schemas in {here / 'schemas'} or {here.parent / 'schemas'}: broken installation")


@cache
def schema(name: str) -> dict[str, Any]:
    """The schema ``schemas/<name>.schema.json``, e.g. ``run``."""
    document: dict[str, Any] = json.loads((folder() / f"{name}.schema.json").read_text(encoding="utf-8"))
    return document


@cache
def _validator(name: str) -> Validator:
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    def retrieve(uri: str) -> Resource[Any]:
        return Resource.from_contents(schema(uri.rpartition("/")[2].removesuffix(".schema.json")))

    registry: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg]
    return Draft202012Validator(schema(name), registry=registry)


@dataclass(frozen=True)
class Document:
    """Settings and where they came from.

    :param source: name of the file, or words for settings that come from no file
    :param text: the text of the file, for line numbers
    """

    values: Mapping[str, Any]
    source: str
    text: str = ""

    def place(self, keys: Keys) -> str:
        """``run.toml, line 12, fit.groups.A15.train``."""
        line = toml_text.line_of(self.text, keys) if self.text else None
        parts = [self.source, f"line {line:,}" if line else "", toml_text.key_path(keys)]
        return ", ".join(p for p in parts if p)

    def error(self, keys: Keys, message: str) -> SettingsError:
        """The error for the value at ``keys``."""
        return SettingsError(f"{self.place(keys)}: {message}")


def read_toml(path: str | Path) -> Document:
    """The settings of a TOML file, not validated; :class:`InputError` names line and column of what is not TOML."""
    values, text = toml_text.read(path)
    return Document(values, str(path), text)


def check(document: Document, name: str) -> None:
    """Validate settings; :class:`SettingsError` lists every problem, one line each.

    :param name: the schema, e.g. ``run``
    """
    problems = [(keys, message) for keys, message in _not_json(document.values, ())]
    if not problems:
        errors = _validator(name).iter_errors(document.values)
        problems = [p for e in errors for p in _explain(e, schema(name))]
    if not problems:
        return
    problems.sort(key=lambda p: toml_text.line_of(document.text, p[0]) or 0)
    shown = list(dict.fromkeys(f"{document.place(keys)}: {message}" for keys, message in problems))
    if len(shown) > SHOWN:
        shown = [*shown[:SHOWN], f"{document.source}: problems not shown: {len(shown) - SHOWN}."]
    raise SettingsError("\n".join(shown))


def _not_json(value: Any, keys: tuple[str | int, ...]) -> Iterator[tuple[Keys, str]]:
    """Values that TOML has and JSON has not: dates, nan, inf."""
    if isinstance(value, Mapping):
        for k, v in value.items():
            yield from _not_json(v, (*keys, k))
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from _not_json(v, (*keys, i))
    elif isinstance(value, float) and not math.isfinite(value):
        yield keys, f"found {value}, expected a finite number."
    elif value is not None and not isinstance(value, (str, bool, int, float)):
        yield keys, f"found the date or time {value}, which is no setting here. Write text in quotation marks."


def _explain(error: ValidationError, root: Mapping[str, Any]) -> Iterator[tuple[Keys, str]]:
    """Paths and messages of one error of the validator."""
    keys: tuple[str | int, ...] = tuple(error.absolute_path)
    found: Any = error.instance
    rule: Any = error.validator_value
    local: Any = error.schema
    assert isinstance(local, Mapping)
    about = f" ({str(local['description']).rstrip('.')})" if "description" in local else ""
    kind = error.validator
    if kind == "additionalProperties":
        known = list(local.get("properties", {}))
        for key in found:
            if key not in known:
                yield (*keys, key), f"unknown key. {_elsewhere(key, keys, known, root)}Known here: {listed(known, 40)}."
    elif kind == "required":
        for key in rule:
            if key not in found:
                what = local.get("properties", {}).get(key, {}).get("description", "")
                yield keys, f"the key {key!r} is missing. {what}".rstrip()
    elif kind == "type":
        types = [rule] if isinstance(rule, str) else list(rule)
        yield keys, f"found {_shown(found)}, expected {' or '.join(_TYPES[t] for t in types)}{about}."
    elif kind in ("enum", "const"):
        options = [rule] if kind == "const" else list(rule)
        hint = nearest(found, [str(o) for o in options]) if isinstance(found, str) else ""
        yield keys, f"found {_shown(found)}, expected one of {listed(map(repr, options))}{about}. {hint}".rstrip()
    elif kind in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        words = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
        yield keys, f"found {_shown(found)}, expected {words.get(str(kind), 'less than')} {rule}{about}."
    elif kind in ("minItems", "minLength"):
        yield keys, f"is empty{about}. Give a value or leave the key out."
    elif kind == "uniqueItems":
        twice = sorted({str(v) for v in found if list(found).count(v) > 1})
        yield keys, f"names {listed(twice)} more than once. Remove the copies."
    elif "propertyNames" in error.absolute_schema_path and kind == "pattern":
        yield (*keys, found), f"{found!r} is not the symbol of an element, such as W or Be."
    elif kind == "pattern":
        yield keys, f"found {_shown(found)}, which is not of the expected form{about}."
    else:
        yield keys, f"{error.message}{about}."


def _elsewhere(key: str, keys: Keys, known: Sequence[str], root: Mapping[str, Any]) -> str:
    """``Did you mean``, or the table that has this key when it stands in the wrong one."""
    hint = nearest(key, known)
    if hint:
        return hint
    for table, rule in root.get("properties", {}).items():
        target = root.get("$defs", {}).get(str(rule.get("$ref", "")).rpartition("/")[2], {})
        if key in target.get("properties", {}) and [table] != list(keys):
            return f"It belongs in [{table}]. "
    return ""


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    text = toml_text.value_text(value) if value is not None else "nothing"
    return text if len(text) <= 60 else text[:57] + '..."'


def canonical(value: Any, plain: bool = False) -> str:
    """One JSON text for equal settings: keys sorted, no blanks, floats with the digits that give them back.

    An integer and a float are different settings (``1`` is one configuration, ``1.0`` all of them).

    :param plain: the value came out of JSON, so that nothing in it has to be made plain

    >>> canonical({"b": 1.0, "a": (1, "x")})
    '{"a":[1,"x"],"b":1.0}'
    """
    return json.dumps(
        value if plain else _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a NumPy scalar
        return value.item()
    return value
