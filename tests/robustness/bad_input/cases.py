"""What a case of bad input is: what is typed, the exit code, and words that the one error must contain.

Each is a function of a :class:`Place` that writes what it needs and returns the words of the command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..sources import RUN, frames, write_extxyz, write_json_tree

Words = Sequence[str | Path]


@dataclass(frozen=True)
class Place:
    """Where a case may write, a good store with features, a baseline and a model, and its run file."""

    folder: Path
    store: Path
    settings: Path

    @property
    def new(self) -> Path:
        """A store that is not there yet."""
        return self.folder / "new.mlip"

    def xyz(self, change: Callable[[str], str] = lambda text: text, n: int = 6, name: str = "bad.xyz") -> Path:
        """A small extxyz file with a change to its text."""
        path = write_extxyz(self.folder / name, frames(n, 9))
        path.write_text(change(path.read_text()))
        return path

    def json(self, change: Callable[[dict[str, Any]], Any]) -> Path:
        """A FitSNAP JSON tree whose second file has a change to its entry."""
        folder = write_json_tree(self.folder / "tree", frames(3, 9))
        path = sorted(folder.rglob("*.json"))[1]
        document = json.loads(path.read_text().partition("\n")[2])
        change(document["Dataset"]["Data"][0])
        path.write_text("# comment\n" + json.dumps(document))
        return folder

    def toml(self, text: str, name: str = "bad.toml") -> Path:
        """A settings file."""
        path = self.folder / name
        path.write_text(text)
        return path

    def changed(self, old: str, new: str) -> Path:
        """The good run file with a change."""
        assert old in RUN
        return self.toml(RUN.replace(old, new, 1))

    def file(self, name: str, data: str | bytes = "") -> Path:
        """Any file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path


@dataclass(frozen=True)
class Case:
    """A command that must fail."""

    make: Callable[[Place], Words]
    code: int
    says: tuple[str, ...]


CASES: dict[str, Case] = {}


def case(code: int, *says: str) -> Callable[[Callable[[Place], Words]], Callable[[Place], Words]]:
    """Enter a case: its exit code and words of its error."""

    def enter(make: Callable[[Place], Words]) -> Callable[[Place], Words]:
        assert make.__name__ not in CASES
        CASES[make.__name__] = Case(make, code, says)
        return make

    return enter


def line(text: str, number: int, change: Callable[[str], str]) -> str:
    """A text with one line (counted from 0) changed."""
    lines = text.split("\n")
    lines[number] = change(lines[number])
    return "\n".join(lines)


def first_atom(text: str, column: int, value: str) -> str:
    """An extxyz text with one word of its first atom line replaced."""

    def put(words: str) -> str:
        parts = words.split()
        parts[column] = value
        return " ".join(parts)

    return line(text, 2, put)


def header(text: str, old: str, new: str) -> str:
    """An extxyz text with something in its first comment line replaced."""
    assert old in text.split("\n")[1]
    return line(text, 1, lambda s: s.replace(old, new, 1))
