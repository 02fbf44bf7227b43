"""Extended XYZ in ASE's names and units, every number with all its digits.

``energy``, ``forces``, ``stress`` (positive in tension), ``magmoms``, ``charges``, the group as ``config_type``. A text
that would be read as something else (``007``, ``T``, ``a "b"``) is written as ``_JSON``, which ASE reads as well. What
``info`` has under a name of a label is written as ``info_NAME``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..configuration import Configuration
from ..readers._xyz_keys import CANDIDATES, GROUP_KEYS
from ..units import VOIGT_INDEX
from ..writing import WriteReport

#: Names that mean something in the format.
_TAKEN = {*(k for names in CANDIDATES.values() for k in names), *GROUP_KEYS, "lattice", "pbc", "properties"}
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_WORDS = re.compile(r"[A-Za-z_][\w./+:()#%-]*(?: [A-Za-z_0-9][\w./+:()#%-]*)*", re.ASCII)
_OTHERWISE = re.compile(r"(?i)t|f|true|false|nan|inf|infinity|none|null")


@dataclass(frozen=True)
class ExtXyz:
    """One file of all configurations."""

    suffix = ".xyz"
    format = "extxyz"

    def reading(self, groups: Sequence[str]) -> Mapping[str, Any]:
        """It says everything itself."""
        return {}

    def write(
        self, configurations: Iterator[Configuration], groups: Sequence[str], path: Path, report: WriteReport
    ) -> int:
        """Write one file; how many configurations."""
        from ase.data import chemical_symbols

        symbols = np.array(chemical_symbols)
        n = 0
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            for c in configurations:
                columns, blocks = _columns(c)
                rows = np.hstack(blocks).tolist()
                file.write(f"{len(c)}\n{_comment(c, columns, report)}\n")
                file.write(
                    "".join(
                        f"{s} {' '.join(map(repr, row))}\n" for s, row in zip(symbols[c.numbers], rows, strict=True)
                    )
                )
                n += 1
        return n


def _columns(c: Configuration) -> tuple[str, list[NDArray[Any]]]:
    """``Properties`` and the numbers of the atoms."""
    out, blocks = "species:S:1:pos:R:3", [c.positions]
    for name, values, width in (("forces", c.forces, 3), ("magmoms", c.spin, 3), ("charges", c.charge, 1)):
        if values is not None:
            out += f":{name}:R:{width}"
            blocks.append(np.asarray(values, float).reshape(len(c), width))
    return out, blocks


def _comment(c: Configuration, columns: str, report: WriteReport) -> str:
    parts = []
    if c.cell.any():
        parts.append(f'Lattice="{_numbers(c.cell)}"')
    parts.append(f"Properties={columns}")
    if c.group:
        parts.append(f"config_type={text_value(c.group)}")
    if math.isfinite(c.energy):
        parts.append(f"energy={float(c.energy)!r}")
    if c.stress is not None:
        tensor = np.empty((3, 3))
        for value, (i, j) in zip(c.stress, VOIGT_INDEX, strict=True):
            tensor[i, j] = tensor[j, i] = value
        parts.append(f'stress="{_numbers(tensor)}"')
    parts.append(f'pbc="{" ".join("FT"[int(p)] for p in c.pbc)}"')
    used: set[str] = set()
    for key, value in c.info.items():
        name = key
        allowed = _TAKEN - {"free_energy"} if math.isfinite(c.energy) else _TAKEN
        if key.lower() in allowed or not _KEY.fullmatch(key):
            name = "info_" + re.sub(r"[^A-Za-z0-9_.-]", "_", key)
        while name in used or (name != key and name in c.info):
            name += "_"
        used.add(name)
        if name != key:
            report.lose(f"info {key!r} is called {name!r}")
        parts.append(f"{name}={_value(value)}")
    return " ".join(parts)


def _numbers(values: NDArray[Any]) -> str:
    return " ".join(map(repr, np.asarray(values, float).ravel().tolist()))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "FT"[value]
    if isinstance(value, int) and abs(value) < 2**31:
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, str):
        return text_value(value)
    return _json(value)


def text_value(text: str) -> str:
    """How a text is written that is read back as this text."""
    words = text.split(" ")
    plain = len(text) < 500 and _WORDS.fullmatch(text) is not None and not text.upper().startswith("_JSON")
    if plain and not all(map(_OTHERWISE.fullmatch, words)) and not _is_number(words[0]):
        return text if len(words) == 1 else f'"{text}"'
    return _json(text)


def _is_number(text: str) -> bool:
    """Whether a reader may take a word for a number."""
    try:
        float(text.replace("d", "e").replace("D", "e"))
    except ValueError:
        return False
    return True


def _json(value: Any) -> str:
    """As ``_JSON``, without any backslash but those of ``\\uXXXX``, and without line breaks."""
    coded = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    coded = re.sub(r"\\([^u])", lambda m: f"\\u{ord(json.loads(chr(34) + m[0] + chr(34))):04x}", coded)
    return '"_JSON ' + coded.replace("\\", "\\\\").replace('"', '\\"') + '"'


plugin = ExtXyz
