"""Configurations that one side lacks because they were taken out of it: an ingest would not bring them back."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..history import Commit
from ..index import DELETED, LIVE, Index, keys
from ..matching import Rows
from .sides import Side

#: Commands after which a configuration may count no more, and how many of their versions are looked at.
_VERBS, _VERSIONS = ("remove", "revert"), 30


@dataclass(frozen=True)
class Removal:
    """A version that took configurations out.

    :param where: the expression that selected them, "" where it was no ``remove``
    """

    version: str
    time: str
    message: str
    where: str
    configurations: int


@dataclass(frozen=True)
class Removed:
    """Configurations that only the other side has.

    :param configurations: how many of them were removed here
    :param removals: by which versions, the newest first; those of versions that are no longer kept are in none
    """

    configurations: int = 0
    removals: tuple[Removal, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"configurations": self.configurations, "removals": [asdict(r) for r in self.removals]}


def removed(here: Side, other: Side, rows: Rows) -> Removed:
    """Which of the configurations ``rows`` of the other side's index were removed from this side."""
    if not here.place or not len(rows):
        return Removed()
    gone = Counter(keys(here.index.uid[here.index.state == DELETED]))
    asked = Counter(keys(other.index.uid[rows])) if gone else Counter()
    missing = gone & asked
    repository = here.snapshot.repository
    removals: list[Removal] = []
    left = Counter(missing)
    line = [c for c in repository.log(here.snapshot.id) if c.verb in _VERBS] if missing else []
    for commit in line[:_VERSIONS]:
        if commit.parent is None or not left:
            break
        before, after = (_live(Index.load(repository.at(id_)), left) for id_ in (commit.parent, commit.id))
        here_gone = (before - after) & left
        if here_gone:
            left -= here_gone
            removals.append(_removal(commit, here_gone.total()))
    return Removed(missing.total(), tuple(removals))


def _live(index: Index, asked: Counter[bytes]) -> Counter[bytes]:
    """How often each of some content hashes counts in a version."""
    wanted = _plain(np.frombuffer(b"".join(asked), np.uint8).reshape(len(asked), -1))
    mine = index.uid[index.state == LIVE]
    return Counter(keys(mine[np.isin(_plain(mine), wanted)]))


def _plain(uid: NDArray[np.uint8]) -> NDArray[np.void]:
    return np.ascontiguousarray(uid).view(f"V{uid.shape[1]}").ravel()


def _removal(commit: Commit, n: int) -> Removal:
    summary = commit.metadata.get("summary")
    where = summary.get("where", "") if isinstance(summary, dict) and commit.verb == "remove" else ""
    return Removal(commit.id, commit.time.isoformat(), commit.message, str(where), n)
