"""Files that the settings of a plugin name: their content is found once, identified by its hash, and travels along.

A plugin whose settings name files has three things more than its settings: ``gathered(settings, folder)`` finds them
beside a run file, ``content`` holds them by name, and ``attached(content)`` is the same plugin with them. The store
keeps the content with the settings, so that nothing is looked for in the current folder of another machine.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import SettingsError

_WORD = re.compile(r"\"[^\"]*\"|'[^']*'|\S+")
#: Words that are no names of files, whatever lies in the folder: numbers, stars, element symbols.
_PLAIN = re.compile(r"[-+*.\d]+([eE][-+]?\d+)?|[A-Z][a-z]?|NULL")


def gather(lines: Iterable[str], skip: Iterable[int], folders: Iterable[Path]) -> tuple[list[str], dict[str, bytes]]:
    """Lines whose words that are files are replaced by names without folders, and the content by name.

    :param skip: how many words at the start of each line are none
    :param folders: where relative names are looked for, in this order
    :raises SettingsError: a file cannot be read
    """
    places = list(folders)
    content: dict[str, bytes] = {}

    def name(word: str) -> str:
        bare = word[1:-1] if word[:1] in "\"'" else word
        if not may_be_file(bare):
            return word
        path = next((p for p in (folder / Path(bare).expanduser() for folder in places) if p.is_file()), None)
        if path is None:
            return word
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SettingsError(f"the file {path} cannot be read: {error.strerror}.") from None
        stem, suffix = os.path.splitext(re.sub(r"[^\w.+-]", "_", path.name))
        free, n = stem + suffix, 2
        while content.get(free, data) != data:
            free, n = f"{stem}-{n}{suffix}", n + 1
        content[free] = data
        return free

    out = []
    for line, first in zip(lines, skip, strict=True):
        words = _WORD.findall(line)
        out.append(" ".join([*words[:first], *map(name, words[first:])]))
    return out, content


def may_be_file(word: str) -> bool:
    """Whether a word of a LAMMPS line can be the name of a file."""
    return bool(word) and not _PLAIN.fullmatch(word)


def digest(data: bytes) -> str:
    """sha256 of a content, as text."""
    return hashlib.sha256(data).hexdigest()


def entries(content: Mapping[str, bytes]) -> tuple[str, ...]:
    """``name=sha256`` of each file."""
    return tuple(f"{name}={digest(data)}" for name, data in content.items())


def expected(files: Iterable[str]) -> dict[str, str]:
    """Names and hashes of ``name=sha256`` entries."""
    return {name: sha for name, _, sha in (entry.rpartition("=") for entry in files)}


def matching(files: Iterable[str], content: Mapping[str, bytes]) -> dict[str, bytes]:
    """The content that has the hashes of ``files``."""
    return {name: content[name] for name, sha in expected(files).items() if digest(content.get(name, b"")) == sha}


def laid_out(content: Mapping[str, bytes]) -> Path:
    """A folder with the files, the same one for the same content as long as the process lives."""
    return _folder(tuple(sorted(content.items())))


@functools.lru_cache(maxsize=16)
def _folder(content: tuple[tuple[str, bytes], ...]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mlipstore-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, data in content:
        (folder / name).write_bytes(data)
    return folder


def content_of(plugin: Any) -> dict[str, bytes]:
    """Files of a plugin; none where its settings name none."""
    return dict(getattr(plugin, "content", {}))


def with_content(plugin: Any, content: Mapping[str, bytes]) -> Any:
    """The plugin with its files."""
    return plugin.attached(content) if content else plugin
