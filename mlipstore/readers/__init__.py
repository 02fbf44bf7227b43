"""Readers: one file format per file of this folder, and which of them takes a path (:func:`recognise`).

See :mod:`mlipstore.reading` for the contract.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import registry
from ..compressed import head_of, is_compressed
from ..errors import InputError, SettingsError, listed
from ..reading import Reader, ReadOptions, plain_name, walk

#: Asked in this order; then the readers of other packages, then ``ase``, which takes whatever ASE reads.
ORDER = (
    "fitsnap-json",
    "pymatgen-json",
    "ase-db",
    "n2p2-data",
    "mtp-cfg",
    "ml-ab",
    "vasp-outcar",
    "vasp-xml",
    "deepmd-npy",
    "extxyz",
)
HEAD = 4096
#: Files of one kind (one suffix, or one name without suffix) that are looked into in a folder.
_SAMPLES = 3


def reader_for(path: Path, options: ReadOptions, format: str | None = None) -> tuple[str, Reader]:
    """Name and instance of the reader that takes a path, see :func:`recognise`.

    :raises SettingsError: an option means nothing to it, see :func:`require_taken`
    """
    name = recognise(path, format)
    require_taken([name], options)
    return name, reader_of(name, options)


def reader_of(name: str, options: ReadOptions) -> Reader:
    """The reader of a format."""
    reader: Reader = registry.make("readers", name, {"options": options})
    return reader


def require_taken(names: Sequence[str], options: ReadOptions) -> None:
    """Refuse an option that none of the formats that are read has a use for: it would be ignored.

    :param names: the formats
    :raises SettingsError: which option, and which formats take it
    """
    for option in options.given():
        if any(_takes(name, option) for name in names):
            continue
        others = [name for name in registry.names("readers") if _takes(name, option)]
        raise SettingsError(
            f"--{option.replace('_', '-')} means nothing for {listed(dict.fromkeys(names))}, whose files leave it no "
            f"choice. Leave it out. It is for {listed(others)}."
        )


def suited(names: Sequence[str], options: ReadOptions) -> ReadOptions:
    """The options without those that none of the formats has a use for."""
    usual = ReadOptions()
    unused = [o for o in options.given() if not any(_takes(name, o) for name in names)]
    return replace(options, **{option: getattr(usual, option) for option in unused})


def _takes(name: str, option: str) -> bool:
    taken = getattr(registry.get("readers", name), "takes", None)
    return taken is None or option == "group_by" or option in taken


def recognise(path: Path, format: str | None = None) -> str:
    """Name of the reader that takes a file or a folder, by suffix and the first 4 kB.

    A folder is taken when exactly one format is found among its files; files that no reader knows are left aside.

    :param format: the answer, checked to exist
    :raises UnknownNameError: no reader is called ``format``
    :raises InputError: nothing there, no reader takes it, or a folder of several formats
    """
    if format is not None:
        registry.get("readers", format)
        return format
    if path.is_dir():
        return _recognise_folder(path)
    head = _head(path)
    if not head:
        raise InputError("the file is empty.", str(path))
    name = _ask(path, head)
    if name is None:
        raise InputError(f"no reader knows this file. {_remedy()}", str(path))
    return name


def _remedy() -> str:
    return f"Say which format it is with --format: {listed(registry.names('readers'))}."


def _head(path: Path) -> bytes:
    if is_compressed(path) and path.is_file():
        return head_of(path, HEAD)
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except FileNotFoundError:
        raise InputError("there is no such file or folder.", str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", str(path)) from None


def _ask(path: Path, head: bytes, last: bool = True) -> str | None:
    """The first reader that recognises a path; ``ase`` is asked only if ``last``."""
    known = registry.names("readers")
    inside = path.with_name(plain_name(path.name)) if path.name else path
    others = [n for n in known if n not in ORDER and n != "ase"]
    order = [*(n for n in ORDER if n in known), *others, *(["ase"] if last and "ase" in known else [])]
    for name in order:
        plugin: Any = registry.get("readers", name)
        if plugin.recognises(path if name == "ase" or not head else inside, head):
            return name
    return None


def _recognise_folder(path: Path) -> str:
    name = _ask(path, b"", last=False)
    if name is not None:
        return name
    kinds: dict[str, list[tuple[str, str]]] = {}
    for folder, names in walk(path):
        for n in names:
            inside = plain_name(n)
            suffix = os.path.splitext(inside)[1].lower() if "OUTCAR" not in n else "OUTCAR"
            kinds.setdefault(suffix or inside, []).append((folder, n))
    found: dict[str, Path] = {}
    for last in (False, True):  # what only ASE knows counts if nothing else is there
        for files in kinds.values():
            for i in sorted({round(k * (len(files) - 1) / (_SAMPLES - 1)) for k in range(_SAMPLES)}):
                file = Path(*files[i])
                head = _head(file)
                name = _ask(file, head, last) if head else None
                if name is not None:
                    found.setdefault(name, file)
        if found:
            break
    if len(found) > 1:
        what = "; ".join(f"{n} ({p.relative_to(path)})" for n, p in sorted(found.items()))
        raise InputError(f"this folder holds several formats: {what}. Say which to read with --format.", str(path))
    if not found:
        if not any(path.iterdir()):
            raise InputError("this folder is empty.", str(path))
        raise InputError(f"no reader knows any file of this folder. {_remedy()}", str(path))
    return next(iter(found))
