"""Flags, notes and columns that people give to configurations, kept by content hash, in versions like everything else.

A flag is there or not; a value is a number, a text or true/false; a note is the value called ``note``. They stay with
a configuration when its label is corrected or it is moved to another group (the new one gets them), and whether it is
there once or as several copies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from ..arrays import sealed, write_array
from ..errors import DamagedStoreError, SettingsError, listed
from ..layout import ANNOTATIONS
from ..snapshot import Snapshot

FLAG, VALUE = "flag", "value"
NOTE = "note"
#: Longest text that is kept as a value, in characters.
LONGEST = 10_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

Value = str | float | bool


@dataclass(frozen=True)
class Annotation:
    """One flag or column: who has it, and what is said.

    :param values: by content hash; None for a flag
    """

    kind: str
    name: str
    values: dict[bytes, Any]


def check_name(kind: str, name: str) -> None:
    """Refuse a name that an expression could not say.

    :raises SettingsError: what names are
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} is no name for a {kind}: letters, digits and _ make one, it begins with a letter or _, and has "
            "at most 64 characters."
        )


def annotation_names(snapshot: Snapshot, kind: str) -> list[str]:
    """Names of all flags, or of all columns with values."""
    if not snapshot.exists("annotations"):
        return []
    prefix = f"{kind}-"
    return [n.removeprefix(prefix) for n in snapshot.names("annotations") if n.startswith(prefix)]


def load_annotation(snapshot: Snapshot, kind: str, name: str) -> Annotation:
    """One annotation."""
    here = f"annotations/{kind}-{name}"
    snapshot.attributes(here)
    hashes = snapshot.read(f"{here}/uid")
    keys = [row.tobytes() for row in hashes]
    if kind == FLAG:
        return Annotation(kind, name, dict.fromkeys(keys))
    texts = snapshot.read(f"{here}/value")
    try:
        return Annotation(kind, name, dict(zip(keys, map(json.loads, texts.tolist()), strict=True)))
    except ValueError:
        raise DamagedStoreError(f"{snapshot.repository.path}: {here} is damaged. Restore it from a copy.") from None


def every(snapshot: Snapshot) -> list[Annotation]:
    """All annotations of a version."""
    return [
        load_annotation(snapshot, kind, name) for kind in (FLAG, VALUE) for name in annotation_names(snapshot, kind)
    ]


def write(root: zarr.Group, annotation: Annotation) -> None:
    """Store an annotation in the place of the one of that name; without configurations it goes away."""
    top = root.require_group("annotations")
    name = f"{annotation.kind}-{annotation.name}"
    if not annotation.values:
        if name in top:
            del top[name]
        return
    group = top.create_group(name, overwrite=True)
    group.attrs.update(sealed({"kind": annotation.kind, "name": annotation.name}))
    keys = sorted(annotation.values)
    write_array(group, ANNOTATIONS["uid"], np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 32))
    if annotation.kind == VALUE:
        texts = [json.dumps(annotation.values[k], ensure_ascii=False) for k in keys]
        write_array(group, ANNOTATIONS["value"], np.array(texts, object))


def carry(root: zarr.Group, snapshot: Snapshot, successor: Mapping[bytes, bytes]) -> None:
    """Give what is said about configurations to those that replace them: new content hash by old one."""
    for annotation in every(snapshot):
        new = {successor[k]: v for k, v in annotation.values.items() if k in successor}
        if new:
            write(root, Annotation(annotation.kind, annotation.name, {**annotation.values, **new}))


def value_of(text: str) -> Value:
    """What is meant by a text of the command line or of a CSV file: a number, true/false, or the text.

    Nobody writes a number as ``007`` or ``1_0``: these are texts.

    >>> value_of("7"), value_of("007"), value_of("0.5")
    (7.0, '007', 0.5)
    """
    if text in ("true", "false"):
        return text == "true"
    if re.match(r"\s*[-+]?0[0-9]", text) or "_" in text:
        return check_value(text)
    try:
        number = float(text)
    except ValueError:
        return check_value(text)
    return number if np.isfinite(number) else check_value(text)


def check_value(value: Any) -> Value:
    """Refuse a value that is neither a finite number, a text nor true/false.

    :raises SettingsError: it is something else, or too long
    """
    if isinstance(value, (bool, str)):
        if isinstance(value, str) and len(value) > LONGEST:
            raise SettingsError(f"a text of {len(value):,} characters is too long; {LONGEST:,} are kept.")
        return value
    if isinstance(value, (int, float, np.integer, np.floating)) and np.isfinite(value):
        return float(value)
    raise SettingsError(f"{value!r} cannot be kept: {listed(['a number', 'a text', 'true or false'])} can.")
