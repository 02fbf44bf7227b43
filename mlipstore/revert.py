"""``revert``: undo a version, or put everything back to how it was in one, as one new version. History stays.

What a version changed is what Icechunk lists: groups and arrays. They are taken away, or put back byte for byte, on
top of the newest version. The index, which every ingest changes, is put back segment by segment and state by state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.buffer import default_buffer_prototype
from zarr.core.sync import sync

from .errors import SettingsError, StoreError, listed
from .history import RESEGMENTED
from .index import MOVED, Index, Segment, keys, rewrite
from .provenance import commit_metadata, new_run
from .snapshot import Snapshot
from .store import Commit, Repository, Transaction

_SEGMENTED = ("configurations", "atoms", "features", "baselines", "factors")


@dataclass
class RevertResult:
    """What was, or would be, undone.

    :param undone: versions that were undone, from new to old: id and message of each
    :param back_to: the version whose content is there again; None where only some versions were undone
    """

    undone: list[dict[str, str]] = field(default_factory=list)
    back_to: str | None = None
    before: str = ""
    snapshot: str = ""
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Stretch:
    """Versions one after another that are undone together: what leads from ``before`` to ``after``."""

    before: str
    after: str
    commits: tuple[Commit, ...]


def revert(
    repository: Repository,
    ref: str,
    back_to: bool = False,
    message: str | None = None,
    dry_run: bool = False,
    command: str = "revert",
) -> RevertResult:
    """Undo what one run of a command changed.

    :param ref: a version of the run; ``log`` shows the last one of each
    :param back_to: undo all versions after ``ref`` instead
    :raises SettingsError: there is nothing to undo
    :raises StoreError: later versions have changed the same things, or build on them; says which
    """
    metadata = commit_metadata("revert", command, new_run())
    with repository.transaction("revert", metadata, exclusive=True) as tx:
        line = repository.log(include_all=True)
        wanted = _wanted(line, repository.find(ref), ref, back_to)
        undone = [{"id": c.id, "message": c.message} for c in line if c.id in wanted]
        result = RevertResult(undone, repository.find(ref) if back_to else None, line[0].id, dry_run=dry_run)
        later: set[str] = set()
        stretches = list(_stretches(line, wanted))
        work = _Undoing(repository, tx)
        for stretch in stretches:
            later |= _changed(repository, [c for c in line[: line.index(stretch.commits[0])] if c.id not in wanted])
            work.undo(stretch, later)
        if dry_run:
            tx.session.discard_changes()
            return result
        work.finish()
        tx.message = message or (f"back to {ref}" if back_to else f"revert {undone[0]['message']!r}")
        summary = {"undone": [u["id"] for u in undone], "back_to": result.back_to}
        tx.metadata = commit_metadata("revert", command, new_run(), **summary)
        if any(RESEGMENTED in c.metadata for s in stretches for c in s.commits):
            tx.metadata[RESEGMENTED] = True
    result.snapshot = tx.snapshot_id
    return result


def _wanted(line: list[Commit], id_: str, ref: str, back_to: bool) -> set[str]:
    """Ids of the versions to undo."""
    ids = [c.id for c in line]
    if id_ not in ids:
        raise StoreError(f"{ref!r} is no version that the newest one comes from. Switch to its branch first.")
    chosen = line[ids.index(id_)]
    if chosen.parent is None or (chosen.verb == "create" and not back_to):
        raise SettingsError("the first version, an empty store, cannot be undone.")
    if back_to:
        wanted = set(ids[: ids.index(id_)])
        if not wanted:
            raise SettingsError(f"{ref!r} is the newest version: everything is as it was there.")
        return wanted
    run = chosen.metadata.get("run")
    return {c.id for c in line if c.id == id_ or (run is not None and c.metadata.get("run") == run)}


def _stretches(line: list[Commit], wanted: set[str]) -> Iterable[_Stretch]:
    """Versions to undo that follow one another, from new to old."""
    commits: list[Commit] = []
    for commit in line:
        if commit.id in wanted:
            commits.append(commit)
        elif commits:
            yield _Stretch(commit.id, commits[0].id, tuple(commits))
            commits = []
    if commits:
        assert commits[-1].parent is not None
        yield _Stretch(commits[-1].parent, commits[0].id, tuple(commits))


def _changed(repository: Repository, commits: list[Commit]) -> set[str]:
    """Groups and arrays that these versions changed."""
    out: set[str] = set()
    for commit in commits:
        if commit.parent is not None:
            out |= repository.changed(commit.parent, commit.id)
    return out


class _Undoing:
    """Changes of one transaction, on top of the newest version."""

    def __init__(self, repository: Repository, tx: Transaction) -> None:
        self.repository, self.tx = repository, tx
        self.tip = repository.at()
        self.index = _IndexState.of(Index.load(self.tip))
        self.index_changed = False

    def undo(self, stretch: _Stretch, later: set[str]) -> None:
        """Take back what one stretch of versions changed.

        :param later: what others that stay have changed since
        """
        before, after = self.repository.at(stretch.before), self.repository.at(stretch.after)
        paths = self.repository.changed(stretch.before, stretch.after)
        gone: set[str] = set()
        if any(p == "index" or p.startswith("index/") for p in paths):
            old, new = (_IndexState.of(Index.load(s)) for s in (before, after))
            gone = self.index.undo(old, new, stretch)
            self.index_changed = True
        for path in sorted(p for p in paths if p.partition("/")[0] != "index"):
            here = before.exists(path) if path else True
            self._require_untouched(path, here, later, gone, stretch)
            if not here:
                if path in self.tx.root:
                    del self.tx.root[path]
            else:
                _copy(before, path, self.tx)
        self._forget(gone)

    def _require_untouched(self, path: str, stays: bool, later: set[str], gone: set[str], stretch: _Stretch) -> None:
        """Refuse to undo what later versions have changed, or added something to."""
        hit = [p for p in later if p == path or (not stays and p.startswith(f"{path}/"))]
        hit = [p for p in hit if not _is_of(p, gone)]
        if hit:
            raise StoreError(
                f"{self.repository.path}: later versions have changed {listed(sorted(hit), 3)}, which version "
                f"{stretch.after[:8]} ({stretch.commits[0].message!r}) made or changed. Undo them first (log lists "
                f"them), or go back to before it: revert --to {stretch.before[:8]}."
            )

    def _forget(self, gone: set[str]) -> None:
        """Everything that was ever made of segments that are there no more."""
        root = self.tx.root
        for name in gone:
            for top in ("configurations", "atoms"):
                if f"{top}/{name}" in root:
                    del root[f"{top}/{name}"]
        for kind in ("features", "baselines"):
            for id_ in self.tip.names(kind):
                for name in gone & set(self.tip.names(f"{kind}/{id_}")):
                    if f"{kind}/{id_}/{name}" in root:
                        del root[f"{kind}/{id_}/{name}"]
        for feature in self.tip.names("factors") if self.tip.exists("factors") else ():
            for set_ in self.tip.names(f"factors/{feature}"):
                for leaf in self.tip.names(f"factors/{feature}/{set_}"):
                    if leaf.partition("-")[0] in gone and f"factors/{feature}/{set_}/{leaf}" in root:
                        del root[f"factors/{feature}/{set_}/{leaf}"]

    def finish(self) -> None:
        """Write the index."""
        if self.index_changed:
            self.index.write(self.tx)


def _is_of(path: str, segments: set[str]) -> bool:
    """Whether a group or array belongs to one of these segments."""
    parts = path.split("/")
    return parts[0] in _SEGMENTED and any(p.partition("-")[0] in segments for p in parts[1:])


def _copy(source: Snapshot, path: str, tx: Transaction) -> None:
    """Put a group (only itself) or an array back as it was, byte for byte."""
    root, store = source.root, tx.session.store
    node: Any = root if not path else root[path]
    prefix = f"{path}/" if path else ""
    whole = isinstance(node, zarr.Array)
    if whole and path in tx.root:
        del tx.root[path]

    async def copy() -> None:
        keys = [f"{prefix}zarr.json"]
        if whole:
            keys = [key async for key in source.session.store.list_prefix(prefix)]
        for key in keys:
            value = await source.store.get(key, default_buffer_prototype())
            assert value is not None
            await store.set(key, value)

    sync(copy())


@dataclass
class _IndexState:
    """The index in memory: rows of each segment, in the order of the segments."""

    segments: dict[str, Segment]
    columns: dict[str, dict[str, NDArray[Any]]]
    empty: dict[str, NDArray[Any]]
    place: str

    @classmethod
    def of(cls, index: Index) -> _IndexState:
        columns = {n: np.array(getattr(index, n)) for n in index.columns()}
        return cls(
            {s.name: s for s in index.segments},
            {s.name: {n: c[index.rows(s.name)] for n, c in columns.items()} for s in index.segments},
            {n: c[:0] for n, c in columns.items()},
            str(index.snapshot.repository.path),
        )

    def undo(self, before: _IndexState, after: _IndexState, stretch: _Stretch) -> set[str]:
        """Take back what leads from one to the other; names of segments that are there no more.

        :raises StoreError: a state has changed since
        """
        added = set(after.segments) - set(before.segments)
        for name, rows in after.columns.items():
            old = None if name in added else before.columns[name]["state"]
            changed = np.ones(len(rows["state"]), bool) if old is None else old != rows["state"]
            if not changed.any():
                continue
            mine = self.columns.get(name)
            if mine is None and not any(RESEGMENTED in c.metadata for c in stretch.commits):
                # merged into another segment since: there it counts as if it had never been stored
                back = np.full(len(changed), MOVED, np.uint8) if old is None else old
                since = [c for n, c in self.columns.items() if n not in after.segments]
                found = _find(since, rows["uid"][changed], rows["state"][changed])
                if found is None:
                    raise self._changed_since(stretch)
                for (state, i), becomes in zip(found, back[changed], strict=True):
                    state[i] = becomes
                continue
            if mine is None or (mine["state"][changed] != rows["state"][changed]).any():
                raise self._changed_since(stretch)
            if old is not None:
                mine["state"] = np.where(changed, old, mine["state"])
        for name in added & set(self.segments):
            del self.segments[name], self.columns[name]
        for name in before.segments:
            if name not in after.segments and name not in self.segments:
                self.segments[name], self.columns[name] = before.segments[name], dict(before.columns[name])
        if set(self.segments) == set(before.segments):  # in the same order, too
            self.segments = {name: self.segments[name] for name in before.segments}
        return added

    def _changed_since(self, stretch: _Stretch) -> StoreError:
        return StoreError(
            f"{self.place}: later versions have removed, corrected, moved or merged configurations that "
            f"version {stretch.after[:8]} ({stretch.commits[0].message!r}) added or changed. Undo them first "
            f"(log lists them), or go back to before it: revert --to {stretch.before[:8]}."
        )

    def write(self, tx: Transaction) -> None:
        """Store it in the place of the one that is there."""
        every = [self.columns[name] for name in self.segments]
        columns = {n: np.concatenate([c[n] for c in every] or [none]) for n, none in self.empty.items()}
        rewrite(tx.root, list(self.segments.values()), columns)


def _find(
    segments: list[dict[str, NDArray[Any]]], uid: NDArray[np.uint8], state: NDArray[np.uint8]
) -> list[tuple[NDArray[np.uint8], int]] | None:
    """Column of states and position in it of configurations of this content and state; None if one is not there."""
    wanted = set(keys(uid))
    places: dict[tuple[bytes, int], list[tuple[NDArray[np.uint8], int]]] = {}
    for columns in segments:
        for i, key in enumerate(keys(columns["uid"])):
            if key in wanted:
                places.setdefault((key, int(columns["state"][i])), []).append((columns["state"], i))
    out = []
    for wants in zip(keys(uid), state.tolist(), strict=True):
        if not places.get(wants):
            return None
        out.append(places[wants].pop(0))
    return out
