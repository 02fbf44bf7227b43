"""Putting the versions of one line on top of another, so that two people who added things end with both.

Segments, features, factors and models are named by their content and never change, so that most of what both did is
beside each other. What is shared is merged: the index by segment, annotations by configuration. Anything else that both
changed is a conflict, and nothing is done.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from dataclasses import asdict, replace
from shlex import quote
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..branches import remove_branch
from ..chunk_files import nodes_of
from ..curation.annotations import Annotation, load_annotation
from ..curation.annotations import write as write_annotation
from ..errors import StoreError, counted
from ..features import free_alias
from ..history import RESEGMENTED, Commit, walk
from ..icefiles.files import Node
from ..index import LIVE, MOVED, REPLACED, Index, keys, rewrite
from ..layout import segment_of
from ..locks import locked
from ..store import Repository, Snapshot, Transaction, append_rows, overwrite, sealed
from .nodes import chunk, chunk_keys, copy_node
from .refs import set_ref

_BRANCH = "rebase-in-progress-"
#: Groups whose things are named by their content: two that have the same name are the same.
_BY_CONTENT = ("configurations", "atoms", "baselines", "features", "factors", "studies", "models")


def put_on_top(repository: Repository, goal: str, command: str) -> tuple[str, int]:
    """Repeat the versions of the branch that ``goal`` does not lead to, on top of it, and move the branch there.

    :return: the newest version, and how many were repeated
    :raises StoreError: both lines changed the same thing, or somebody commits meanwhile; nothing is changed
    """
    raw, where, branch = repository._repository, str(repository.path), repository.branch
    tip = repository.find(branch)
    theirs = {c.id for c in walk(raw, goal)}
    mine: list[Commit] = []
    for commit in walk(raw, tip):
        if commit.id in theirs:
            break
        mine.append(commit)
    else:
        raise StoreError(f"{where}: the two have no version in common, so that nothing can be repeated.")
    base = commit.id
    mine.reverse()
    fitted = any(c.verb in ("fit", "search") for c in mine)
    mine = _without_merged(repository, base, mine)
    with locked(repository.path):
        for left in raw.list_branches():  # of one that was killed
            if left.startswith(_BRANCH):
                remove_branch(raw, repository.objects, left)
        temporary = f"{_BRANCH}{os.getpid()}-{secrets.token_hex(4)}"
        raw.create_branch(temporary, goal)
    work = Repository(repository.path, raw, temporary)
    done = 0
    try:
        before = base
        for commit in mine:
            if RESEGMENTED in commit.metadata:  # of segments that both have; see _without_merged
                before = commit.id
                continue
            metadata = {**commit.metadata, "rebased_from": commit.id}
            with work.transaction(commit.message, metadata) as tx:
                _Step(repository.at(before), repository.at(commit.id), work.at(), tx).apply()
            done += bool(tx.snapshot_id)
            before = commit.id
        newest = work.find()
        with locked(repository.path):
            if fitted:  # models tell the version they were made of
                name = f"before-rebase-{tip[:8]}"
                if name not in raw.list_tags():
                    raw.create_tag(name, tip)
            set_ref(repository.objects, "branch", branch, newest, tip, where)
    finally:
        with locked(repository.path):
            if temporary in raw.list_branches():
                remove_branch(raw, repository.objects, temporary)
    return newest, done


def _without_merged(repository: Repository, base: str, mine: list[Commit]) -> list[Commit]:
    """Versions that can be repeated one by one; where segments were merged among them, what they come to, as one.

    Where segments were merged that both lines have, those versions are left out instead: the others hold for
    configurations wherever they lie. What was made of merged segments is made again when it is next needed.

    :raises StoreError: such a merging was taken back
    """
    merged = [c for c in mine if RESEGMENTED in c.metadata]
    if not merged:
        return mine
    tip = mine[-1]
    if Index.load(repository.at(base)).number.keys() - Index.load(repository.at(tip.id)).number.keys():
        if any(c.verb != "compact" for c in merged):
            where, last = repository.path, merged[-1]
            raise StoreError(
                f"{where}: your version {last.id[:8]} ({last.message!r}) merged segments that both lines have, after "
                f"that was taken back before, so yours cannot be put on top. Undo it (mlipstore revert "
                f"{quote(str(where))} {last.id[:8]}), pull --rebase, then compact."
            )
        return mine
    metadata = {k: v for k, v in tip.metadata.items() if k != RESEGMENTED}
    return [replace(tip, message=f"{len(mine)} versions as one: {tip.message}", metadata=metadata)]


class _Step:
    """One version ``after`` another, repeated on top of ``now``."""

    def __init__(self, before: Snapshot, after: Snapshot, now: Snapshot, tx: Transaction) -> None:
        self.before, self.after, self.now, self.tx = before, after, now, tx
        self.a, self.b, self.t = nodes_of(before), nodes_of(after), nodes_of(now)
        self.where = str(now.repository.path)
        here, there = Index.load(now).number, Index.load(after).number
        #: segments that they have merged into others, so that nothing more can belong to them
        self.merged = {name for name in Index.load(before).number if name not in here and name in there}

    def apply(self) -> None:
        """:raises StoreError: both changed the same thing"""
        changed = sorted(p for p, node in self.b.items() if self.a.get(p) != node and not _of_index(p))
        changed = [p for p in changed if segment_of(p) not in self.merged]
        gone = sorted((p for p in self.a if p not in self.b and not _of_index(p)), reverse=True)
        merged: set[str] = set()
        for path in changed:
            if path.startswith("annotations/"):
                name = "/".join(path.split("/")[:2])
                if name not in merged:
                    merged.add(name)
                    self._annotation(name)
            elif path not in self.t:
                self._copy(path)
            elif path.partition("/")[0] in _BY_CONTENT or path in ("", "annotations"):
                if path in self.a and self._same(path, self.before, self.now):
                    self._copy(path)  # e.g. a featurization whose rows are stored from now on
            elif path in self.a and self._same(path, self.before, self.now):
                self._copy(path)
            elif not self._same(path, self.after, self.now):
                raise self._conflict(path)
        for path in gone:
            if path.startswith("annotations/"):
                name = "/".join(path.split("/")[:2])
                if name not in merged:
                    merged.add(name)
                    self._annotation(name)
            elif path in self.t and self._same(path, self.before, self.now):
                del self.tx.root[path]
        self._index()

    def _conflict(self, path: str) -> StoreError:
        return StoreError(
            f"{self.where}: both lines changed {path}, so yours cannot be put on top. Undo it in one of them "
            "(mlipstore revert), and pull again."
        )

    # ------------------------------------------------------------- whole things
    def _copy(self, path: str) -> None:
        """A group or an array as it is, encoded bytes and all."""
        node = self.b[path]
        if node.is_array and path in self.t:
            del self.tx.root[path]
        copy_node(self.after, node, self.tx.root, self._with_free_alias(path, node))

    def _with_free_alias(self, path: str, node: Node) -> bytes | None:
        """The metadata of a model (...) whose alias another one has, with a free one."""
        kind, _, id_ = path.partition("/")
        if kind not in ("features", "baselines", "models", "studies") or "/" in id_ or node.is_array or not id_:
            return None
        document: dict[str, Any] = json.loads(node.metadata)
        attributes = document.get("attributes", {})
        alias = attributes.get("alias")
        if not isinstance(alias, str) or path in self.t:
            return None
        free = free_alias(self.now, kind, id_, alias)
        if free == alias:
            return None
        document["attributes"] = sealed({**attributes, "alias": free})
        return json.dumps(document).encode()

    def _same(self, path: str, one: Snapshot, other: Snapshot) -> bool:
        """Whether two versions hold the same at a path."""
        x, y = nodes_of(one)[path], nodes_of(other)[path]
        if x == y:
            return True
        if x.is_array != y.is_array or json.loads(x.metadata) != json.loads(y.metadata):
            return False
        if not x.is_array:
            return True
        mine, theirs = sorted(chunk_keys(one, x)), sorted(chunk_keys(other, y))
        return mine == theirs and all(chunk(one, f"{path}/{k}") == chunk(other, f"{path}/{k}") for k in mine)

    # --------------------------------------------------------------- annotations
    def _annotation(self, path: str) -> None:
        kind, _, name = path.removeprefix("annotations/").partition("-")

        def values(snapshot: Snapshot) -> dict[bytes, Any]:
            return load_annotation(snapshot, kind, name).values if path in nodes_of(snapshot) else {}

        a, b, merged = values(self.before), values(self.after), dict(values(self.now))
        merged.update((k, v) for k, v in b.items() if k not in a or a[k] != v)
        for k in a.keys() - b.keys():
            merged.pop(k, None)
        write_annotation(self.tx.root, Annotation(kind, name, merged))

    # --------------------------------------------------------------------- index
    def _index(self) -> None:
        a, b, t = Index.load(self.before), Index.load(self.after), Index.load(self.now)
        state = t.state.copy()
        taken = [name for name in a.number if name not in b.number]  # back, by a revert of what brought them
        for name in a.number:
            old = a.state[a.rows(name)]
            new = np.full_like(old, MOVED) if name in taken else b.state[b.rows(name)]
            moved = np.flatnonzero(old != new)
            if not len(moved):
                continue
            if name not in t.number:
                self._elsewhere(t, state, a.uid[a.rows(name)][moved], old[moved], new[moved])
                continue
            mine = state[t.rows(name)]
            if name in taken:
                if ((mine != old) & (mine != MOVED)).any():
                    raise self._conflict(f"configurations of segment {name}")
                continue
            both = moved[(mine[moved] != old[moved]) & (mine[moved] == REPLACED) & (new[moved] == REPLACED)]
            if len(both):
                raise StoreError(
                    f"{self.where}: both lines relabelled {counted(len(both), 'configuration')} of segment {name}, so "
                    "yours cannot be put on top. Undo it in one of them (mlipstore revert), and pull again."
                )
            free = moved[mine[moved] == old[moved]]
            mine[free] = new[free]
        group = self.tx.root["index"]
        assert isinstance(group, zarr.Group)
        here, kept = t.segments, np.ones(len(t), bool)
        if any(name in t.number for name in taken):
            here = [s for s in t.segments if s.name not in taken]
            kept = ~np.isin(t.segment, [t.number[name] for name in taken if name in t.number])
            columns = {name: getattr(t, name)[kept] for name in t.columns()}
            rewrite(self.tx.root, here, {**columns, "state": state[kept]})
            for path, node in self.t.items():  # also what others have made of them
                if segment_of(path) in taken and not node.is_array and path in self.tx.root:
                    del self.tx.root[path]
        elif not np.array_equal(state, t.state):
            overwrite(group, "state", state)
        added = [s for s in b.segments if s.name not in a.number and s.name not in t.number]
        if not added:
            return
        met, have = Counter(keys(a.uid)), Counter(keys(t.uid[kept]))
        states, first = [], len(here)
        for s in added:
            rows = b.rows(s.name)
            mine = b.state[rows].copy()
            for i, key in enumerate(keys(b.uid[rows])):
                met[key] += 1
                if met[key] <= have[key] and mine[i] == LIVE:
                    mine[i] = MOVED  # the others have stored the same configuration
            states.append(mine)
        which = [b.rows(s.name) for s in added]
        number = np.arange(first, first + len(added), dtype=np.int32)
        append_rows(group, "uid", np.concatenate([b.uid[r] for r in which]))
        append_rows(group, "geometry", np.concatenate([b.geometry[r] for r in which]))
        append_rows(group, "segment", np.repeat(number, [s.n_configurations for s in added]))
        append_rows(group, "position", np.concatenate([b.position[r] for r in which]))
        append_rows(group, "state", np.concatenate(states))
        if "facts" in group:
            append_rows(group, "facts", np.concatenate([b.facts[r] for r in which]))
            append_rows(group, "elements", np.concatenate([b.elements[r] for r in which]))
        group.update_attributes(sealed({"segments": [asdict(s) for s in [*here, *added]]}))

    def _elsewhere(
        self, t: Index, state: NDArray[np.uint8], uid: NDArray[np.uint8], old: NDArray[np.uint8], new: NDArray[np.uint8]
    ) -> None:
        """States of configurations that lie in other segments now: found by their content."""
        rows: dict[bytes, list[int]] = {}
        wanted = set(keys(uid))
        for i, key in enumerate(keys(t.uid)):
            if key in wanted:
                rows.setdefault(key, []).append(i)
        for key, a, b in zip(keys(uid), old, new, strict=True):
            free = next((i for i in rows.get(key, ()) if state[i] == a), None)
            if free is not None:
                state[free] = b
            elif b == REPLACED:
                raise StoreError(
                    f"{self.where}: both lines relabelled the same configurations, so yours cannot be put on top. Undo "
                    "it in one of them (mlipstore revert), and pull again."
                )


def _of_index(path: str) -> bool:
    return path == "index" or path.startswith("index/")
