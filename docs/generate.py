"""Writes what can be generated of the documentation: python docs/generate.py [--check]

A page is Markdown written by hand with regions from ``<!-- generated: NAME -->`` to ``<!-- end of generated text -->``
whose content is made here of the program itself (layout, command line, run-file schema, plugins, units, example files),
so that it cannot drift. ``schemas/store.schema.json`` is made here as a whole. A test fails when something is stale.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT), str(ROOT / "cli")]

import store_schema  # noqa: E402  (it lies beside this file)

from mlipstore import layout, registry, units  # noqa: E402
from mlipstore.schema import schema  # noqa: E402

REGION = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end of generated text -->)", re.DOTALL)
_TYPES = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "object": "table"}


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in r) + " |" for r in lines)


# ---------------------------------------------------------------- store layout
def store_groups() -> str:
    """Every group of the store with its attributes and arrays."""
    parts = []
    for path in ("", *sorted(set(store_schema.ATTRIBUTES) | set(layout.GROUPS), key=_order)):
        if path == "" and parts:
            continue
        parts.append(f"### `/{path}`\n\n{store_schema.ABOUT.get(path, '')}")
        attributes = store_schema.ATTRIBUTES.get(path, {})
        if attributes:
            rows = [(f"`{k}`", _json_type(v), _about(v)) for k, v in attributes.items()]
            parts.append(table(("attribute", "type", "meaning"), rows))
        arrays = layout.GROUPS.get(path, {})
        if arrays:
            rows = [_array_row(path, spec) for spec in arrays.values()]
            parts.append(table(("array", "axes", "type", "unit", "meaning"), rows))
    return "\n\n".join(parts)


def _order(path: str) -> tuple[int, str]:
    tops = ["", "configurations", "atoms", "index", "features", "baselines", "factors", "studies", "audits", "models"]
    top = path.split("/")[0]
    return (tops.index(top) if top in tops else len(tops), path)


def _array_row(group: str, spec: layout.ArraySpec) -> tuple[str, ...]:
    axes = ", ".join(f"{d} ({layout.FIXED_AXES[d]})" if d in layout.FIXED_AXES else d for d in spec.dims)
    kind = store_schema.DATA_TYPES[spec.dtype]
    if (group, spec.name) in store_schema.SINGLE:
        kind += " or float32"
    unit = "" if spec.units == "1" else spec.units
    meaning = re.sub(r"(\S*)<(\w+)>", r"`\1<\2>`", spec.long_name) + (" (optional)" if spec.optional else "")
    return f"`{spec.name}`", axes, kind, unit, meaning


def _about(rule: dict[str, Any]) -> str:
    text = str(rule["description"])
    if isinstance(rule.get("const"), dict):
        text += " " + ", ".join(f"{k}: {v}" for k, v in rule["const"].items()) + "."
    elif "const" in rule:
        text += f" Now {rule['const']}."
    inner = rule.get("items", {}).get("properties")
    if inner:
        text += " Of each: " + ", ".join(f"`{k}`" for k in inner) + "."
    return text


def _json_type(rule: dict[str, Any]) -> str:
    if "enum" in rule:
        return " or ".join(f"`{v}`" for v in rule["enum"])
    if "$ref" in rule or isinstance(rule.get("const"), dict):
        return "object"
    if "const" in rule:
        return "integer" if isinstance(rule["const"], int) else "string"
    if rule.get("type") == "array":
        return f"list of {rule['items'].get('type', 'value')}s"
    kind = rule.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def provenance() -> str:
    """Keys of the provenance of a model."""
    rules = schema("model")
    rows = [(f"`{k}`", str(r["description"])) for k, r in rules["properties"].items()]
    return table(("key", "meaning"), rows)


# ------------------------------------------------------------------------ card
def card() -> str:
    """Keys of the dataset card."""
    root = schema("card")

    def rows(rules: dict[str, Any], above: str, needed: list[str]) -> Iterator[tuple[str, ...]]:
        for key, rule in rules.items():
            inner = rule.get("properties") or rule.get("items", {}).get("properties")
            kind = f"[{above}{key}]" if inner and rule.get("type") == "object" else f"[[{above}{key}]]" if inner else ""
            kind = kind or (
                "list of texts" if rule.get("type") == "array" else _TYPES.get(rule.get("type", ""), "text")
            )
            yield f"`{above}{key}`", f"`{kind}`" if inner else kind, "yes" if key in needed else "", rule["description"]
            if inner:
                required = rule.get("required") or rule.get("items", {}).get("required", [])
                yield from rows(inner, f"{above}{key}.", required)

    return table(("key", "type", "needed", "meaning"), list(rows(root["properties"], "", root["required"])))


# ---------------------------------------------------------------- command line
def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Name and function of every command."""
    from mlipstore_cli.app import app

    for info in app.registered_commands:
        assert info.callback is not None
        yield info.name or info.callback.__name__.replace("_", "-"), info.callback


def command_line() -> str:
    """What ``--help`` says, of every command."""
    from mlipstore_cli.help import parameters, usage

    parts = []
    for name, function in commands():
        arguments, options = parameters(function)
        parts += [
            f"### `mlipstore {name}`",
            inspect.getdoc(function) or "",
            f"```text\n{usage(name, arguments)}\n```",
        ]
        if arguments:
            parts.append(table(("argument", "meaning"), [(f"`{p.written}`", p.help) for p in arguments]))
        rows = [(f"`{p.written}`", "required" if p.required else _default(p.default), p.help) for p in options]
        if rows:
            parts.append(table(("option", "default", "meaning"), rows))
    return "\n\n".join(parts)


def _default(value: Any) -> str:
    if value is None or value is False:
        return ""
    return f"`{value}`"


# -------------------------------------------------------------------- run file
def run_file() -> str:
    """Tables and keys of a run file, from its schema."""
    rules = schema("run")
    parts = []
    top = [
        (f"`{k}`", _run_type(r, rules), _resolved(r, rules)["description"])
        for k, r in rules["properties"].items()
    ]  # fmt: skip
    parts += ["### The file", table(("key", "type", "meaning"), top)]
    for name in (k for k, r in rules["properties"].items() if "$ref" in r):
        parts += [f"### `[{name}]`", rules["$defs"][name]["description"], _keys(rules["$defs"][name], rules)]
    parts += [
        "### `[fit.default]` and the entries of `[fit.groups]`",
        rules["$defs"]["group"]["description"],
        _keys(rules["$defs"]["group"], rules),
    ]
    return "\n\n".join(parts)


def _keys(rule: dict[str, Any], rules: dict[str, Any]) -> str:
    required = rule.get("required", [])
    rows = []
    for key, r in rule["properties"].items():
        default = "required" if key in required else f"`{_toml(r['default'])}`" if "default" in r else ""
        text = str(r.get("description") or _resolved(r, rules)["description"])
        rows.append((f"`{key}`", _run_type(r, rules), default, r.get("unit", ""), text))
    return table(("key", "type", "default", "unit", "meaning"), rows)


def _resolved(rule: dict[str, Any], rules: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = rules["$defs"][rule["$ref"].rpartition("/")[2]] if "$ref" in rule else rule
    return found


def _run_type(rule: dict[str, Any], rules: dict[str, Any]) -> str:
    rule = _resolved(rule, rules)
    if "enum" in rule:
        return ", ".join(f"`{v}`" for v in rule["enum"])
    kind = rule.get("type")
    if kind == "array":
        return f"list of {_TYPES[rule['items']['type']]}s"
    kinds = kind if isinstance(kind, list) else [kind]
    return " or ".join(_TYPES.get(k, str(k)) for k in kinds)


def _toml(value: Any) -> str:
    from mlipstore.runs.toml_text import value_text

    return value_text(value)


# --------------------------------------------------------------------- plugins
def plugin_settings(kind: str) -> str:
    """Settings of the plugins of one kind that come with mlipstore, from their fields and docstrings."""
    parts = []
    for name in own_plugins(kind):
        cls = registry.get(kind, name)
        doc = inspect.getdoc(cls) or ""
        about = " ".join(doc.partition(":param")[0].split())
        parts.append(f'#### `type = "{name}"`\n\n{about}')
        help_ = _params(doc)
        rows = []
        for field in (f for f in dataclasses.fields(cls) if f.init):
            missing = field.default is dataclasses.MISSING
            default = "required" if missing else "" if field.default in (None, ()) else f"`{_toml(field.default)}`"
            rows.append((f"`{field.name}`", _annotation(cls, field.name), default, help_.get(field.name, "")))
        parts.append(table(("key", "type", "default", "meaning"), rows) if rows else "No settings.")
    return "\n\n".join(parts)


def own_plugins(kind: str) -> list[str]:
    """Names of the plugins in this package (others may be installed beside it)."""
    return [n for n in registry.names(kind) if registry.get(kind, n).__module__.startswith("mlipstore.")]


def _params(doc: str) -> dict[str, str]:
    found = re.findall(r":param (\w+):\s*(.*?)(?=\n\s*:\w|\n\n|\Z)", doc, re.DOTALL)
    return {name: " ".join(text.split()).replace("``", "`") for name, text in found}


def _annotation(cls: type, name: str) -> str:
    hint = typing.get_type_hints(cls)[name]
    words = {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    out = []
    for option in options:
        inner = typing.get_args(option)
        if option is type(None):
            continue
        out.append(f"list of {words.get(inner[0].__name__, '')}s" if inner else words.get(option.__name__, "value"))
    return " or ".join(dict.fromkeys(out))


def plugin_names(kind: str) -> str:
    """One line per plugin: name and the first sentence of its module."""
    rows = []
    for name in own_plugins(kind):
        doc = inspect.getdoc(sys.modules[registry.get(kind, name).__module__]) or ""
        rows.append((f"`{name}`", " ".join(doc.split("\n\n")[0].split()).replace("``", "`")))
    return table((kind[:-1], "what it is"), rows)


# ----------------------------------------------------------------------- units
def unit_table() -> str:
    """Names of units and their factors."""
    rows = []
    for quantity, inside in (("energy", "eV"), ("length", "Å"), ("force", "eV/Å"), ("stress", "eV/Å^3")):
        known: dict[str, float] = getattr(units, quantity.upper())
        by_value: dict[float, list[str]] = {}
        for name, value in known.items():
            by_value.setdefault(value, []).append(name)
        rows += [(quantity, ", ".join(f"`{n}`" for n in names), f"{v:.12g} {inside}") for v, names in by_value.items()]
    return table(("quantity", "name", "one of them is"), rows)


# ---------------------------------------------------------------------- writing
def example_file(name: str) -> str:
    """A file of the repository, whole."""
    text = (ROOT / name).read_text(encoding="utf-8").rstrip("\n")
    kind = {".py": "python", ".slurm": "bash"}.get(Path(name).suffix, "toml")
    return f"```{kind}\n{text}\n```"


MAKERS: dict[str, Callable[..., str]] = {
    "store groups": store_groups,
    "provenance": provenance,
    "card": card,
    "commands": command_line,
    "run file": run_file,
    "settings of": plugin_settings,
    "plugins of kind": plugin_names,
    "units": unit_table,
    "file": example_file,
}


def page(text: str) -> str:
    """A page with its generated regions made anew."""

    def fill(match: re.Match[str]) -> str:
        what = match[2]
        name = max((n for n in MAKERS if what == n or what.startswith(f"{n} ")), key=len)
        argument = what[len(name) :].strip()
        return f"{match[1]}\n{MAKERS[name](*([argument] if argument else []))}\n\n{match[3]}"

    return REGION.sub(fill, text)


def files() -> dict[Path, str]:
    """Every file with generated content and what it should hold."""
    out = {p: page(p.read_text(encoding="utf-8")) for p in sorted(HERE.glob("*.md"))}
    out = {p: text for p, text in out.items() if REGION.search(text)}
    text = json.dumps(store_schema.schema(), indent=2, ensure_ascii=False) + "\n"
    out[ROOT / "schemas" / "store.schema.json"] = text
    return out


def main() -> int:
    """Write what is stale, or with ``--check`` only say what is; 1 if something was stale in a check."""
    check = "--check" in sys.argv[1:]
    stale = [p for p, text in files().items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    for path, text in files().items():
        if path in stale and not check:
            path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is stale: run python docs/generate.py' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
