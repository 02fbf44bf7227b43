"""The versions of a store, and the ways to name one: branch, tag, id, time.

Icechunk keeps every version in a file with the metadata of all arrays, so that walking through 1,000 versions of a
large store reads 1 GB. Every commit therefore repeats what its last ancestors said about themselves (``recent``): a
log reads one file in a hundred. The list is used only where it continues the real parent, so it cannot mislead.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import icechunk

from .errors import SettingsError, StoreError, nearest
from .places.steady import steadily

#: Key of the metadata of a commit that repeats its ancestors, and how many it repeats.
RECENT, KEPT = "recent", 100
#: Key of the metadata of a version in which configurations lie in other segments than before.
RESEGMENTED = "resegmented"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_BACK = re.compile(r"(.*)~(\d{0,9})")


@dataclass(frozen=True)
class Commit:
    """One version: what changed, by which command."""

    id: str
    message: str
    metadata: dict[str, Any]
    time: datetime.datetime
    parent: str | None = field(default=None, compare=False)

    @property
    def verb(self) -> str:
        return str(self.metadata.get("verb", ""))


def _read(repository: icechunk.Repository, id_: str) -> tuple[Commit, list[dict[str, Any]]]:
    """A version, and what it repeats of its ancestors."""
    info = steadily(lambda: next(iter(repository.ancestry(snapshot_id=id_))))
    metadata = dict(info.metadata)
    recent = metadata.pop(RECENT, None) or []
    commit = Commit(info.id, info.message, metadata, info.written_at, info.parent_id)
    follows = bool(recent) and recent[0]["id"] == info.parent_id
    return commit, recent if follows else []


def read_commit(repository: icechunk.Repository, id_: str) -> Commit:
    """One version with all that it says about itself, which the list of its followers shortens."""
    return _read(repository, id_)[0]


def walk(repository: icechunk.Repository, id_: str) -> Iterator[Commit]:
    """A version and its ancestors, from new to old, read as they are asked for."""
    commit, recent = _read(repository, id_)
    yield commit
    while True:
        if recent:
            carrier = commit
            for entry, older in zip(recent, [*recent[1:], None], strict=True):
                metadata = dict(entry["metadata"])
                metadata.setdefault("versions", carrier.metadata.get("versions", {}))
                time = datetime.datetime.fromisoformat(entry["time"])
                commit = Commit(entry["id"], entry["message"], metadata, time, older["id"] if older else None)
                if older is not None:
                    yield commit
            last = commit
            try:
                commit, recent = _read(repository, last.id)
            except icechunk.IcechunkError:  # older versions are no longer kept
                return
            yield commit
        elif commit.parent is not None:
            commit, recent = _read(repository, commit.parent)
            yield commit
        else:
            return


def repeated(repository: icechunk.Repository, parent: str, versions: Any) -> list[dict[str, Any]]:
    """What a commit upon ``parent`` repeats of its ancestors.

    :param versions: of the commit itself; those of ancestors are repeated only where they differ
    """
    commit, recent = _read(repository, parent)
    own = {"id": commit.id, "time": commit.time.isoformat(), "message": commit.message, "metadata": commit.metadata}
    out = []
    for entry in [own, *recent[: KEPT - 1]]:
        metadata = dict(entry["metadata"])
        metadata.setdefault("versions", commit.metadata.get("versions", {}))
        if metadata["versions"] == versions:
            del metadata["versions"]
        summary = metadata.get("summary")
        if isinstance(summary, dict) and "reader" in summary:
            metadata["summary"] = {k: v for k, v in summary.items() if k != "reader"}
        out.append({**entry, "metadata": metadata})
    return out


def changed_paths(repository: icechunk.Repository, before: str, after: str) -> set[str]:
    """Groups and arrays that differ between a version and one that comes from it; ``""`` is the root."""
    found = repository.diff(from_snapshot_id=before, to_snapshot_id=after)
    nodes = {*found.new_groups, *found.new_arrays, *found.deleted_groups, *found.deleted_arrays,
             *found.updated_groups, *found.updated_arrays, *found.updated_chunks}  # fmt: skip
    return {node.strip("/") for node in nodes}


def check_name(kind: str, name: str) -> None:
    """Refuse a name for a tag or branch that could not be told from something else.

    :raises SettingsError: says what names are
    """
    if not _NAME.fullmatch(name) or _TIME.fullmatch(name) or name.endswith((".lock", ".")) or ".." in name:
        raise SettingsError(
            f"{name!r} is no name for a {kind}. Letters, digits and . _ + - make one, it begins with a letter or a "
            "digit, and it is not a time."
        )


class References:
    """Names of versions of one repository."""

    def __init__(self, repository: icechunk.Repository, path: str, branch: str) -> None:
        self.repository, self.path, self.branch = repository, path, branch

    def find(self, ref: str | None) -> str:
        """Id of the version that a branch, tag, id (or its first characters), time, or one of them with ``~n`` names.

        :raises StoreError: there is no such version, or several
        """
        repo = self.repository
        if ref is None:
            return str(repo.lookup_branch(self.branch))
        if ref in (branches := repo.list_branches()):
            return str(repo.lookup_branch(ref))
        if ref in (tags := repo.list_tags()):
            return str(repo.lookup_tag(ref))
        if back := _BACK.fullmatch(ref):
            return self._back(self.find(back[1] or None), int(back[2] or 1), ref)
        if _TIME.fullmatch(ref):
            return self._at_time(ref)
        return self._by_id(ref, [*branches, *tags])

    def _back(self, id_: str, steps: int, ref: str) -> str:
        for i, commit in enumerate(walk(self.repository, id_)):
            if i == steps:
                return commit.id
        raise StoreError(f"{self.path}: there is no version {ref!r}: that is before the store was made.")

    def _at_time(self, ref: str) -> str:
        """The version that was the newest of the branch at that time (UTC unless it says otherwise)."""
        try:
            moment = datetime.datetime.fromisoformat(ref)
        except ValueError as error:
            raise StoreError(f"{ref!r} is no time: {error}. Write 2026-11-20T10:00.") from None
        if len(ref) == 10:  # a day means its end
            moment += datetime.timedelta(days=1) - datetime.timedelta.resolution
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        first: Commit | None = None
        for commit in walk(self.repository, str(self.repository.lookup_branch(self.branch))):
            if commit.time <= moment:
                return commit.id
            first = commit
        assert first is not None
        raise StoreError(f"{self.path}: the store was made at {first.time:%Y-%m-%dT%H:%M:%SZ}, after {ref!r}.")

    def _by_id(self, ref: str, known: list[str]) -> str:
        seen: set[str] = set()
        match: set[str] = set()
        wanted = ref.upper()
        for start in [self.branch, *(n for n in known if n != self.branch)]:
            tip = self.find(start)
            for commit in walk(self.repository, tip):
                if commit.id in seen:
                    break
                seen.add(commit.id)
                if wanted and commit.id.startswith(wanted):
                    match.add(commit.id)
        if len(match) == 1:
            return match.pop()
        if match:
            raise StoreError(f"{self.path}: version {ref!r} is ambiguous: {', '.join(sorted(match)[:5])}.")
        raise StoreError(f"{self.path} has no version {ref!r}. {nearest(ref, known)}Known: {', '.join(known)}.")
