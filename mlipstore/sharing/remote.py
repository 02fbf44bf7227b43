"""``clone``, ``push``, ``pull``: stores that follow each other over folders, S3 and web servers."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import icechunk

from ..errors import StoreError, StoreNotFoundError, counted, unknown_name
from ..history import walk
from ..icefiles.files import damaged, parse_snapshot
from ..layout import FORMAT_VERSION
from ..locks import LOCK_FILE, locked
from ..places import Objects, Place, objects_at, place_of
from ..store import MAIN, Repository
from ..store_errors import translate
from .config import CONFIG_FILE, Config, remote_of
from .refs import Refs, publish, set_ref
from .transfer import Copier, Progress


@dataclass
class Shared:
    """What a transfer moved.

    :param refs: branches and tags that were set
    """

    place: str
    remote: str
    objects: int = 0
    bytes: int = 0
    refs: list[str] = field(default_factory=list)
    rebased: int = 0
    snapshot: str = ""

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


# ------------------------------------------------------------------------ clone
def clone(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    ref: str | None = None,
    progress: Progress | None = None,
    where: str | None = None,
    features: Sequence[str] | None = None,
    command: str = "clone",
) -> Shared:
    """A copy of a store, with its history; one that was cut off is continued.

    :param target: where, default: a folder of the same name here
    :param ref: copy what leads to this branch, tag or version alone; it is what ``main`` of the copy begins with
    :param where: copy the configurations of one version that an expression selects, without history
    :param features: copy these featurizations of one version alone, without history; empty: none
    :raises StoreError: something else is at ``target``, or the source has a newer format
    """
    source_place = _absolute(place_of(source))
    target_place = place_of(target if target is not None else source_place.name)
    there, here = objects_at(source_place), objects_at(target_place)
    origin = str(source_place)
    original = Repository.open(origin)  # a clear error if there is none, or of a newer format
    if where is not None or features is not None:
        from .part import Part, copy_part

        made = copy_part(original, target_place, Part(ref, where, features), progress, command)
        return Shared(str(target_place), origin, refs=[MAIN], snapshot=made)
    _require_free(here, target_place, origin)
    refs = _chosen(original, Refs.read(there, origin), ref)
    here.require_safe_writes()
    config = Config(remote=origin, incomplete=True)
    config.save(here)
    copier = Copier(there, here, (), origin, progress)
    moved = copier.copy({*refs.branches.values(), *refs.tags.values()})
    for id_ in {*refs.branches.values(), *refs.tags.values()}:
        require_format(here, id_, str(target_place))
    with locked(target_place):
        copier.complete()
        have = Refs.read(here, str(target_place))
        for name, id_ in refs.tags.items():
            if name not in have.tags:
                set_ref(here, "tag", name, id_, None, str(target_place))
        for name, id_ in sorted(refs.branches.items(), key=lambda item: item[0] == MAIN):  # main makes it a store
            set_ref(here, "branch", name, id_, have.branches.get(name), str(target_place))
        publish(here)
    Config(remote=origin).save(here)
    return Shared(str(target_place), origin, moved.objects, moved.bytes, [*refs.branches, *refs.tags],
                  snapshot=refs.branches[MAIN])  # fmt: skip


def _chosen(original: Repository, refs: Refs, ref: str | None) -> Refs:
    if ref is None:
        if MAIN not in refs.branches:
            raise StoreError(f"{original.path} has no branch {MAIN!r}. Name a version with --ref.")
        return refs
    id_ = original.find(ref)
    out = Refs({MAIN: id_})
    if ref in refs.branches:
        out.branches[ref] = id_
    if ref in refs.tags:
        out.tags[ref] = id_
    return out


def _require_free(here: Objects, target: Place, source: str) -> None:
    """A copy goes to an empty place, or continues one of the same source."""
    config = Config.load(here)
    if config.incomplete:
        if config.remote != source:
            raise StoreError(f"{target} is an unfinished copy of {config.remote}. Remove it, or clone that again.")
        return
    if isinstance(target, Path):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            how = f"mlipstore pull {shlex.quote(str(target))} brings it up to date."
            raise StoreError(f"{target} exists already. Choose another name; {how}")
        return
    if any(found.key not in (LOCK_FILE, CONFIG_FILE) for found in here.listing("")):
        raise StoreError(f"{target} holds files already. Choose another prefix; push brings a store up to date.")


def require_format(objects: Objects, id_: str, where: str) -> None:
    """Refuse a version of a format that came after this program.

    :raises StoreError: says which
    """
    key = f"snapshots/{id_}"
    nodes = parse_snapshot(key, objects.get(key), where).nodes
    root = next((n for n in nodes if n.path == ""), None)
    try:
        said = json.loads(root.metadata)["attributes"]["mlipstore_format"] if root is not None else None
    except (ValueError, KeyError, TypeError):
        said = None
    if not isinstance(said, int) or said < 1:
        raise damaged(where, key, "it is no version of a store")
    if said > FORMAT_VERSION:
        raise StoreError(
            f"{where} has format {said}; this mlipstore reads up to {FORMAT_VERSION}. Install a newer mlipstore."
        )


# ------------------------------------------------------------------------- push
def push(
    store: str | os.PathLike[str],
    remote: str | None = None,
    branch: str | None = None,
    progress: Progress | None = None,
) -> Shared:
    """Bring a branch and the tags to another place; a store is made there if there is none.

    :param branch: default: the current one
    :raises StoreError: the other place has versions that this store lacks, or another version of the same tag
    """
    repository = Repository.open(store, branch)
    here, where = repository.objects, str(repository.path)
    goal = _absolute(place_of(remote_of(here, remote, where, "push")))
    there, named = objects_at(goal), str(goal)
    there.require_safe_writes()
    mine, theirs = Refs.read(here, where), Refs.read(there, named)
    if not theirs.branches:
        config = Config.load(there)
        if not config.incomplete:
            _require_free(there, goal, where)
            Config(remote=None, incomplete=True, part={"from": where}).save(there)
    name = repository.branch
    tip, seen = mine.branches[name], theirs.branches.get(name)
    history = _line(repository, tip)
    clashing = sorted(t for t, id_ in mine.tags.items() if theirs.tags.get(t, id_) != id_)
    if clashing:
        raise StoreError(f"{named} has other versions of the tags {', '.join(clashing)}. Tag them anew here.")
    if seen is not None and seen not in history:
        raise _diverged(named, where, Repository.open(named, name), history, seen, "push")
    known = {*theirs.branches.values(), *theirs.tags.values()}
    if seen is not None:
        known.update(history[history.index(seen) :])
    tags = {t: id_ for t, id_ in mine.tags.items() if t not in theirs.tags}
    copier = Copier(here, there, known, where, progress)
    moved = copier.copy({tip, *tags.values()})
    result = Shared(where, named, moved.objects, moved.bytes, snapshot=tip)
    with locked(goal):
        copier.complete()
        for t, id_ in tags.items():
            set_ref(there, "tag", t, id_, None, named)
            result.refs.append(t)
        if seen != tip:
            set_ref(there, "branch", name, tip, seen, named)
            result.refs.insert(0, name)
        if not theirs.branches and name != MAIN:
            set_ref(there, "branch", MAIN, mine.branches.get(MAIN, tip), None, named)
        if result.refs:
            publish(there)
        if not theirs.branches:
            there.delete(CONFIG_FILE)
    _remember(here, named)
    return result


def _remember(here: Objects, remote: str) -> None:
    config = Config.load(here)
    if config.remote is None and here.writable:
        config.remote = remote
        config.save(here)


def _diverged(remote: str, store: str, theirs: Repository, mine: list[str], seen: str, verb: str) -> StoreError:
    """Both have versions that the other lacks."""
    ahead = _line(theirs, seen)
    common = next((id_ for id_ in ahead if id_ in set(mine)), None)
    there = ahead.index(common) if common is not None else len(ahead)
    own = mine.index(common) if common is not None else len(mine)
    pull = shlex.join(["mlipstore", "pull", str(store), str(remote)])
    if common is None:
        return StoreError(
            f"{remote} and {store} have no version in common: they are two stores. Push to another place."
        )
    if not own:
        return StoreError(f"{remote} is ahead of {store} by {counted(there, 'version')}. Bring that here first: {pull}")
    return StoreError(
        f"{remote} has {counted(there, 'version')} that {store} lacks, which has {own} of its own. "
        f"{pull} --rebase puts yours on top of theirs (both keep everything)"
        + (", then push again." if verb == "push" else ".")
    )


# ------------------------------------------------------------------------- pull
def pull(
    store: str | os.PathLike[str],
    remote: str | None = None,
    rebase: bool = False,
    progress: Progress | None = None,
    command: str = "pull",
) -> Shared:
    """Bring the current branch up to date with another place, and its tags.

    :param rebase: if both have versions that the other lacks, repeat ours on top of theirs
    :raises StoreError: both have, without ``rebase``; or they changed the same thing
    """
    repository = Repository.open(store)
    here, where = repository.objects, str(repository.path)
    origin = _absolute(place_of(remote_of(here, remote, where, "pull")))
    there, named = objects_at(origin), str(origin)
    if Config.load(here).part.get("version") and named == Config.load(here).remote:
        raise StoreError(f"{where} is a part of {named}, without its history. Clone it anew to get what came since.")
    other = Repository.open(named, MAIN)
    mine, theirs = Refs.read(here, where), Refs.read(there, named)
    name = repository.branch
    goal = theirs.branches.get(name)
    if goal is None:
        raise unknown_name("branch", name, theirs.branches)
    tip = mine.branches[name]
    history = _line(repository, tip)
    if goal in history:
        behind = False
    else:
        ahead = _line(other, goal)
        behind = tip in ahead
        if not behind and not rebase:
            raise _diverged(named, where, Repository.open(named, name), history, goal, "pull")
        if not {*ahead} & {*history}:
            raise _diverged(named, where, Repository.open(named, name), history, goal, "pull")
    tags = {t: id_ for t, id_ in theirs.tags.items() if t not in mine.tags}
    known = {*history, *mine.branches.values(), *mine.tags.values()}
    copier = Copier(there, here, known, named, progress)
    moved = copier.copy({goal, *tags.values()})
    require_format(here, goal, named)
    result = Shared(where, named, moved.objects, moved.bytes, snapshot=tip)
    if goal not in history:
        with locked(repository.path):
            copier.complete()
            if behind:
                set_ref(here, "branch", name, goal, tip, where)
        if behind:
            result.snapshot = goal
        else:
            from .merge import put_on_top

            result.snapshot, result.rebased = put_on_top(Repository.open(where, name), goal, command)
        result.refs.append(name)
    with locked(repository.path):
        for t, id_ in tags.items():
            set_ref(here, "tag", t, id_, None, where)
            result.refs.append(t)
        if tags:
            publish(here)
    _remember(here, named)
    clashing = sorted(t for t, id_ in theirs.tags.items() if mine.tags.get(t, id_) != id_)
    if clashing:
        raise StoreError(
            f"{named} has other versions of the tags {', '.join(clashing)}; yours were kept. "
            "Everything else is up to date."
        )
    return result


def _line(repository: Repository, id_: str) -> list[str]:
    """Ids of a version and its ancestors."""
    try:
        return [c.id for c in walk(repository._repository, id_)]
    except icechunk.IcechunkError as error:
        repository.objects.get(f"snapshots/{id_}")  # a server that is gone says so; Icechunk finds nothing there
        raise translate(error, str(repository.path), "reading its versions", reading=True) from error


def _absolute(place: Place) -> Place:
    if isinstance(place, Path):
        if "\0" in str(place):
            raise StoreNotFoundError("the name of a store has no zero byte in it.")
        return place.absolute()
    return place
