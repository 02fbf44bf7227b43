"""What every writer of configurations is given and what it reports; names of folders that cannot lead elsewhere.

A writer is one file in ``mlipstore/writers/`` with a frozen dataclass called ``plugin``, see :class:`Writer`. It
streams, writes all digits, and drops nothing silently: what its format cannot hold goes to :class:`WriteReport`.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .configuration import Configuration

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=,;@()[]{}!#$&'^~ ")
#: Names that Windows keeps for devices.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}
_LONGEST = 100


@dataclass
class WriteReport:
    """What a format could not hold.

    :param lost: how many configurations are written without something
    :param left_out: how many are not written, and why
    """

    lost: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def lose(self, what: str, n: int = 1) -> None:
        """Count configurations that are written without something."""
        self.lost[what] = self.lost.get(what, 0) + n

    def leave_out(self, why: str) -> None:
        """Count a configuration that is not written."""
        self.left_out[why] = self.left_out.get(why, 0) + 1


class Writer(Protocol):
    """The contract of a writer plugin.

    :param suffix: ending of the file it writes; empty if it writes a folder
    :param format: name of the reader that reads it
    """

    suffix: str
    format: str

    def write(
        self, configurations: Iterator[Configuration], groups: Sequence[str], path: Path, report: WriteReport
    ) -> int:
        """Write all to ``path``, which is not there yet; how many were written.

        :param groups: names of all groups that there are
        """
        ...

    def reading(self, groups: Sequence[str]) -> Mapping[str, Any]:
        """The options (of :class:`mlipstore.reading.ReadOptions`) that read it back."""
        ...


def folder_names(groups: Iterable[str]) -> dict[str, str]:
    """A folder name for each group: on any system a name of its own, and one that stays inside the folder above it.

    Letters, digits and harmless signs stay; others are written ``%2F`` as in web addresses.

    >>> folder_names(["melt/2000 K", "..", "bulk"])
    {'..': '%2E%2E', 'bulk': 'bulk', 'melt/2000 K': 'melt%2F2000 K'}
    """
    out: dict[str, str] = {}
    taken: set[str] = set()
    for group in sorted(groups):
        name = _folder_name(group)
        while unicodedata.normalize("NFC", name).casefold() in taken:  # "Bulk" and "bulk" are one folder to some
            name += "~"
        taken.add(unicodedata.normalize("NFC", name).casefold())
        out[group] = name
    return out


def _folder_name(group: str) -> str:
    keep = [c in _PLAIN or (c == "." and 0 < i < len(group) - 1) or (c.isalnum() and c.isprintable())
            for i, c in enumerate(group)]  # fmt: skip
    if group[:1] in (" ", "-", "~"):
        keep[0] = False
    if group[-1:] in (" ", "~"):
        keep[-1] = False
    if group.partition(".")[0].strip().lower() in _DEVICES:
        keep[0] = False
    coded = (c if k else "".join(f"%{b:02X}" for b in c.encode("utf-8", "surrogatepass"))
             for c, k in zip(group, keep, strict=True))  # fmt: skip
    name = "".join(coded) or "%"
    if len(name.encode()) > _LONGEST:
        name = name.encode()[: _LONGEST - 20].decode("utf-8", "ignore").rstrip(" .") + "%"
        name += hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return name
