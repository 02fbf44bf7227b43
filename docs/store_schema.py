"""``schemas/store.schema.json`` from ``mlipstore/layout.py``: what a store holds, for programs in any language.

The document that the schema describes is a tree of nodes, one per Zarr group: ``attributes`` as they are, ``groups`` by
name, and ``arrays`` by name, each with the keys of its ``zarr.json``. :func:`tree` makes it of a store.
"""

from __future__ import annotations

from typing import Any

from mlipstore.layout import FIXED_AXES, FORMAT_VERSION, GROUPS, ArraySpec

#: Data types of Zarr by the names that the layout uses.
DATA_TYPES = {"f8": "float64", "i8": "int64", "i4": "int32", "u1": "uint8", "bool": "bool", "str": "string"}
#: Arrays that may be stored in single precision.
SINGLE = {("features/<feature-id>/<segment>", "A_F")}
#: Form of the names that ``<...>`` stands for.
NAMES = {"<segment>": "^[0-9a-f]{16}$", "<feature-id>": "^[0-9a-f]{12}$", "<baseline-id>": "^[0-9a-f]{12}$"}
NAMES |= {"<model-id>": "^[0-9a-f]{12}$", "<set-id>": "^[0-9a-f]{12}$"}
NAMES["<study-id>"] = NAMES["<audit-id>"] = "^[0-9a-f]{12}$"
NAMES["<annotation>"] = "^(flag|value)-[A-Za-z_][A-Za-z0-9_]{0,63}$"
NAMES["<factored-segment>"] = "^[0-9a-f]{16}-[0-9a-f]{12}$"
#: Attributes and groups that may be left out.
OPTIONAL = {
    ("factors/<feature-id>/<set-id>", "limit"),
    ("audits", "latest"),
    ("audits", "waivers"),
    ("audits/<audit-id>", "model"),
    ("features/<feature-id>", "storage"),
    ("models/<model-id>", "uncertainty"),
    ("models/<model-id>", "also"),
}
#: What the groups are for.
ABOUT = {
    "": "The root of a store.",
    "configurations": "Configurations and their labels, one group per segment.",
    "configurations/<segment>": "Configurations of one segment, ordered by group; never changed.",
    "atoms": "Atoms of the configurations, one group per segment.",
    "atoms/<segment>": "Atoms of one segment, in the order of its configurations.",
    "baselines": "Reference potentials whose values are subtracted from the labels.",
    "baselines/<baseline-id>": "One reference potential; a segment that is not here yet is not computed yet.",
    "baselines/<baseline-id>/<segment>": "Values of the reference potential for one segment.",
    "features": "Rows of the linear systems, one group per featurization.",
    "features/<feature-id>": "One featurization; a segment that is not here yet is not computed yet.",
    "features/<feature-id>/<segment>": "Unweighted rows of one segment: row times coefficients = label - baseline.",
    "factors": "Triangular factors that are kept, so that a fit need not read rows.",
    "factors/<feature-id>": "Kept factors of one featurization.",
    "factors/<feature-id>/<set-id>": "Kept factors that were made with one set of settings.",
    "factors/<feature-id>/<set-id>/<factored-segment>": "Kept factors of one segment.",
    "studies": "Searches for weights.",
    "studies/<study-id>": "One search: what was tried, and the errors of rows that were not fitted.",
    "audits": "Findings of audits, what was waived, and which audit is the newest.",
    "audits/<audit-id>": "Findings of one audit; which configurations each is about.",
    "models": "Fitted models.",
    "models/<model-id>": "One fitted linear model.",
    "models/<model-id>/metrics": "Its error table, one entry per group, split, kind and weighting.",
    "models/<model-id>/uncertainty": "What its predicted standard deviations are made of, if they were calibrated.",
    "annotations": "Flags, notes and columns that people gave to configurations.",
    "annotations/<annotation>": "One flag (flag-NAME) or one column of values (value-NAME).",
    "card": "The dataset card: who made the data, and how.",
    "index": "Which configurations the store holds and where; rebuildable from the segments.",
}
#: Groups that have no attributes.
BARE = {
    *("configurations", "atoms", "baselines", "features", "models", "models/<model-id>/metrics", "annotations"),
    "models/<model-id>/uncertainty",
    *("features/<feature-id>/<segment>", "baselines/<baseline-id>/<segment>"),
}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "type": "string", "minLength": 1}


def _count(description: str) -> dict[str, Any]:
    return {"description": description, "type": "integer", "minimum": 0}


def _list(description: str, of: str) -> dict[str, Any]:
    return {"description": description, "type": "array", "items": {"type": of}}


_ALIAS = _text("Name for people, unique among its kind in one version.")
_TYPE = _text("Name of the plugin.")
_SETTINGS = {"description": "Settings of the plugin, complete with defaults.", "type": "object"}
_SEGMENT = {
    "description": "One segment.",
    "type": "object",
    "required": ["name", "n_configurations", "n_atoms", "groups", "elements"],
    "properties": {
        "name": {"description": "Name of the segment, a hash of its content.", "type": "string"},
        "n_configurations": _count("Configurations."),
        "n_atoms": _count("Atoms of all of them."),
        "groups": {
            "description": "Configurations of each group, in stored order.",
            "type": "object",
            "additionalProperties": _count("Configurations of this group."),
        },
        "elements": _list("Atomic numbers, sorted.", "integer"),
    },
}
#: Attribute that every group with attributes may have: they are stored without a checksum.
DIGEST = "digest"
#: Attributes of the groups. Those of others are free, but for :data:`BARE`.
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "": {
        "mlipstore_format": {"description": "Version of this layout.", "const": FORMAT_VERSION},
        "units": {
            "description": "Units of everything inside.",
            "const": {"length": "Å", "energy": "eV", "force": "eV/Å", "stress": "eV/Å^3, positive in tension"},
        },
        "created_by": _text("Program and version that made the store."),
    },
    "configurations/<segment>": {
        "n_configurations": _count("Configurations of the segment."),
        "n_atoms": _count("Atoms of the segment."),
    },
    "atoms/<segment>": {"n_atoms": _count("Atoms of the segment.")},
    "features/<feature-id>": {
        "alias": _ALIAS,
        "type": _TYPE,
        "settings": _SETTINGS,
        "precision": {"description": "Floating-point type of the force rows.", "enum": ["float64", "float32"]},
        "storage": {
            "description": "Whether rows are stored, or made whenever they are needed.",
            "enum": ["rows", "none"],
        },
        "columns": _list("Name of each feature.", "string"),
        "column_elements": _list("Element of the central atom of each feature.", "string"),
    },
    "baselines/<baseline-id>": {"alias": _ALIAS, "type": _TYPE, "settings": _SETTINGS},
    "factors/<feature-id>": {"alias": _text("Name of the features, for people.")},
    "factors/<feature-id>/<set-id>": {
        "feature": _text("Id of the features."),
        "baseline": {"description": "Id of the baseline that is a target; null for none.", "type": ["string", "null"]},
        "frame": {"description": "Axes of force and stress rows, as in [fit].", "enum": ["input", "lammps"]},
        "by_size": {"description": "Whether force rows have a key per number of atoms.", "type": "boolean"},
        "folds": _count("Keys that training rows are dealt into, for cross-validation; 0 = not."),
        "n_features": _count("Columns that are features."),
        "elements": _list("Columns of the composition, after the features.", "string"),
        "targets": _list("Columns after those.", "string"),
        "limit": _count("Most bytes of all its triangles; not there in a set that was made before there were limits."),
    },
    "factors/<feature-id>/<set-id>/<factored-segment>": {
        "segment": _text("Name of the segment."),
        "live": _text("Hash of which configurations counted."),
        "keys": {
            "description": "The triangles in stored order, as columns: group, split, fold, kind, n_atoms, rows.",
            "type": "object",
            "required": ["group", "split", "fold", "kind", "n_atoms", "rows"],
            "additionalProperties": {"type": "array"},
        },
    },
    "studies/<study-id>": {
        "alias": _ALIAS,
        "search": {
            "description": "The table [search] of a run file, complete with defaults.",
            "type": "object",
        },
        "fit": {
            "description": "The table [fit] whose weights are varied, complete with defaults; names are ids.",
            "$ref": "run.schema.json#/$defs/fit",
        },
        "factors": _text("Id of the set of factors that was used."),
        "data_digest": _text("Digest of the configurations that were there."),
        "data_snapshot": _text("Version of the store that was used."),
        "parameters": _list(
            "Name of each parameter: GROUP.kind (factor on weights), ridge, element_shifts.X.", "string"
        ),
        "low": _list("Least value of each parameter.", "number"),
        "high": _list("Largest value of each parameter.", "number"),
        "start": _list("Value of each parameter in [fit], or the nearest in its range.", "number"),
        "objectives": _list("Name of each objective: kind, or kind:GROUP.", "string"),
        "base": _list("Objectives at the start.", "number"),
        "versions": {
            "description": "Versions of the packages that make the numbers.",
            "type": "object",
        },
        "command": _text("The command that made the study."),
    },
    "audits": {
        "latest": _text("Id of the newest audit."),
        "waivers": {
            "description": "Findings that a person says do not count: check, group (* = all) and reason.",
            "type": "array",
            "items": {"type": "object", "required": ["check", "group", "reason"]},
        },
    },
    "audits/<audit-id>": {
        "findings": {
            "description": "What was found: check and its version, verdict, code, group (* = all), what in words, "
            "evidence, remedy, number of configurations.",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["check", "version", "verdict", "code", "group", "what", "evidence", "configurations"],
            },
        },
        "passed": _list("Checks that found something in order.", "string"),
        "configurations": _count("Configurations that were looked at."),
        "data_snapshot": _text("Version of the store that was looked at."),
        "data_digest": _text("Digest of their content hashes."),
        "model": _text("The model whose rows were looked at, if one was."),
        "versions": {"description": "Versions of the packages that make the numbers.", "type": "object"},
        "command": {"description": "The command that made the audit.", "type": "string"},
    },
    "models/<model-id>": {
        "alias": _ALIAS,
        "provenance": {
            "description": "Everything the model came from: `schemas/model.schema.json`.",
            "$ref": "model.schema.json",
        },
        "also": _list("Names of the model besides its alias.", "string"),
        "uncertainty": {
            "description": "Calibration of predicted standard deviations, if there is one: scale and typical value of "
            "each kind of row, noise (sigma), rank correlation, and what was left out (name, kind, predicted "
            "deviation, error).",
            "type": "object",
            "required": ["by", "scale", "typical", "sigma", "rank_correlation", "lines"],
        },
    },
    "annotations/<annotation>": {
        "kind": {"description": "Whether it is there or not, or has a value.", "enum": ["flag", "value"]},
        "name": _text("Its name."),
    },
    "card": {
        "card": {
            "description": "The card as it was given: `schemas/card.schema.json`; empty where there is none.",
            "type": "object",
        }
    },
    "index": {
        "segments": {
            "description": "All segments, in the order that the array `segment` counts them.",
            "type": "array",
            "items": _SEGMENT,
        }
    },
}


def array(spec: ArraySpec, group: str) -> dict[str, Any]:
    """The rules for the ``zarr.json`` of one array."""
    types = [DATA_TYPES[spec.dtype]] + ["float32"] * ((group, spec.name) in SINGLE)
    kind: dict[str, Any] = {"const": types[0]} if len(types) == 1 else {"enum": types}
    shape = [{"const": FIXED_AXES[d]} if d in FIXED_AXES else {"type": "integer", "minimum": 0} for d in spec.dims]
    fill: Any = {"f": "NaN", "b": False, "s": ""}.get(spec.dtype[0], 0)
    return {
        "description": f"{spec.long_name[:1].upper()}{spec.long_name[1:]}.",
        "unit": spec.units,
        "type": "object",
        "required": ["data_type", "dimension_names", "shape", "fill_value", "codecs", "attributes"],
        "properties": {
            "data_type": kind,
            "dimension_names": {"const": list(spec.dims)},
            "shape": {"type": "array", "prefixItems": shape, "minItems": len(shape), "maxItems": len(shape)},
            "fill_value": {"const": fill},
            "codecs": {"$ref": "#/$defs/codecs"},
            "attributes": {
                "type": "object",
                "required": ["units", "long_name"],
                "properties": {"units": {"const": spec.units}, "long_name": {"type": "string"}},
            },
        },
    }


def group(path: str) -> dict[str, Any]:
    """The rules for the node at a path of the layout, and for everything below it."""
    arrays = GROUPS.get(path, {})
    attributes = ATTRIBUTES.get(path, {})
    digest = {DIGEST: _text("Hash of the other attributes.")} if attributes and path else {}
    below = sorted({p[len(path) + 1 if path else 0 :].split("/")[0] for p in paths() if p and _inside(p, path)})
    plain = [n for n in below if n[0] != "<"]
    children: dict[str, Any] = {"type": "object"}
    if plain:
        children |= {
            "required": [n for n in plain if (path, n) not in OPTIONAL],
            "properties": {n: {"$ref": reference(_join(path, n))} for n in plain},
        }
    named = [n for n in below if n[0] == "<"]
    if named:
        children["patternProperties"] = {NAMES.get(n, "."): {"$ref": reference(_join(path, n))} for n in named}
    children["additionalProperties"] = False
    return {
        "description": ABOUT.get(path, ""),
        "type": "object",
        "required": ["attributes", "groups", "arrays"],
        "additionalProperties": False,
        "properties": {
            "attributes": {
                "type": "object",
                "required": [name for name in attributes if (path, name) not in OPTIONAL],
                "properties": {**attributes, **digest},
                "additionalProperties": path not in ATTRIBUTES and path not in BARE,
            },
            "groups": children,
            "arrays": {
                "type": "object",
                "required": [name for name, spec in arrays.items() if not spec.optional],
                "properties": {name: array(spec, path) for name, spec in arrays.items()},
                "additionalProperties": False,
            },
        },
    }


def paths() -> list[str]:
    """All groups of the layout, those above the ones with arrays included; the root is the empty path."""
    found = {"", "factors"}
    for path in GROUPS:
        parts = path.split("/")
        found |= {"/".join(parts[:i]) for i in range(1, len(parts) + 1)}
    return sorted(found)


def reference(path: str) -> str:
    """The place of the rules of a group in the schema."""
    return f"#/$defs/{_definition(path)}"


def schema() -> dict[str, Any]:
    """The whole schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://mlipstore.org/schemas/store.schema.json",
        "title": "mlipstore store layout",
        "description": "The groups, arrays and attributes of a store (an Icechunk repository of Zarr v3 groups), as a "
        "tree of nodes {attributes, groups, arrays}; of an array the keys of its zarr.json. Made by docs/generate.py "
        "of mlipstore/layout.py.",
        "$ref": reference(""),
        "$defs": {
            **{_definition(path): group(path) for path in paths()},
            "codecs": {
                "description": "Every array ends with a checksum.",
                "type": "array",
                "contains": {"type": "object", "required": ["name"], "properties": {"name": {"const": "crc32c"}}},
            },
        },
    }


def tree(group: Any) -> dict[str, Any]:
    """The document that the schema describes, of a ``zarr.Group``."""
    keys = ("data_type", "dimension_names", "shape", "fill_value", "codecs", "attributes")
    arrays = {}
    for name, value in group.arrays():
        metadata = value.metadata.to_dict()
        arrays[name] = {k: _plain(metadata[k]) for k in keys}
    return {
        "attributes": dict(group.attrs),
        "groups": {name: tree(child) for name, child in group.groups()},
        "arrays": arrays,
    }


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them; NaN as the text that ``zarr.json`` holds."""
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, float) and value != value:
        return "NaN"
    return value.item() if hasattr(value, "item") else value


def _definition(path: str) -> str:
    words = [part.strip("<>") for part in path.split("/") if part]
    return "-in-".join(reversed(words)) or "store"


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _inside(path: str, above: str) -> bool:
    return path.startswith(f"{above}/") if above else True
