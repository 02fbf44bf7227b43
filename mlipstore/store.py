"""Open, read, write and commit: with :mod:`mlipstore.places.storage` the only module that knows Icechunk.

Icechunk gives atomic versions but neither locks nor checksums (measured in docs/decisions.md), so every change of a
store takes an exclusive lock, every array carries crc32c, and an exception discards the session. Where a store lies (a
folder, S3, a web server) is the business of :mod:`mlipstore.places`.
"""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import icechunk
import zarr
from zarr.errors import GroupNotFoundError

from .allocation import keep_little_memory
from .arrays import append_rows, create_array, fixed_axes, overwrite, sealed, write_array
from .errors import (
    DamagedStoreError,
    MlipstoreError,
    SettingsError,
    StoreError,
    StoreNotFoundError,
    nearest,
    unknown_name,
)
from .history import RECENT, Commit, References, changed_paths, check_name, read_commit, repeated, walk
from .icefiles.seals import check_snapshot, try_to_seal
from .layout import FORMAT_VERSION, GROUPS, INDEX, ArraySpec
from .leases import at_work
from .locks import LOCK_FILE, locked, runs
from .places import ObjectMissing, Objects, Place, objects_at, place_of
from .places.storage import storage_of
from .snapshot import Snapshot
from .store_errors import StoreConflictError, is_ours_to_tell, translate

__all__ = [
    "LOCK_FILE",
    "MAIN",
    "Address",
    "Commit",
    "Repository",
    "Snapshot",
    "StoreConflictError",
    "Transaction",
    "append_rows",
    "create_array",
    "overwrite",
    "schema_groups",
    "sealed",
    "write_array",
]

MAIN = "main"
_MAIN_REF = f"refs/branch.{MAIN}/ref.json"
#: Names the branch that is written to, for one process and its workers; above the file in the store.
BRANCH_VARIABLE = "MLIPSTORE_BRANCH"
#: File in the store that names the branch, written by ``switch``.
BRANCH_FILE = "mlipstore.branch"
#: The last chunk of the index is written anew by every ingest, so it is small.
_INDEX_CHUNK_ROWS = 4_096
_TOP_GROUPS = (
    "configurations",
    "atoms",
    "baselines",
    "features",
    "factors",
    "studies",
    "audits",
    "models",
    "annotations",
    "index",
)

# its warning about concurrent local commits is answered by our lock; what fails is raised as well as logged
keep_little_memory()
icechunk.set_logs_filter("off")


@dataclass(frozen=True)
class Address:
    """Where a store is and which of its branches is meant: what a worker opens."""

    path: str
    branch: str


class Repository:
    """A store: an Icechunk repository with our layout. ``at`` reads a version, ``transaction`` makes one.

    :param branch: what is read unless a version is named, and what is written to
    """

    def __init__(self, path: Place, repository: icechunk.Repository, branch: str = MAIN) -> None:
        self.path, self.branch = path, branch
        self._repository = repository
        self._checked: set[str] = set()

    @property
    def address(self) -> Address:
        """What :meth:`open` gives this repository for, in any process of this machine."""
        return Address(str(self.path.absolute()), self.branch)

    @cached_property
    def objects(self) -> Objects:
        """The files that the store is made of."""
        return objects_at(self.path)

    # ------------------------------------------------------------------ open
    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Repository:
        """Make a new, empty store in a folder that does not exist or is empty, or below a free prefix of a bucket.

        :raises StoreError: something else is there, or the server would lose commits of concurrent writers
        """
        from . import __version__

        place = place_of(path)
        if cls.exists(place):
            raise StoreError(f"{place} is a store already.")
        if not isinstance(place, Path):
            return cls._create_remote(place, __version__)
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise StoreError(f"{place} exists and is not a store. Choose another name or remove it.")
        # made beside its place and moved there when complete: a kill leaves no half-made store
        making = place.parent / f".{place.name}.making-{os.getpid()}"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            for left in place.parent.glob(f".{glob.escape(place.name)}.making-*"):
                if left == making or not runs(left.name.rpartition("-")[2]):
                    shutil.rmtree(left, ignore_errors=True)
            making.mkdir()  # Icechunk panics where it cannot
            cls._make(making, __version__)
            making.rename(place)
        except (OSError, icechunk.IcechunkError) as error:
            shutil.rmtree(making, ignore_errors=True)
            if cls.exists(place):  # another process was faster
                return cls.open(place)
            raise translate(error, str(place), "making the store") from error
        return cls.open(place)

    @classmethod
    def _create_remote(cls, place: Place, version: str) -> Repository:
        objects = objects_at(place)
        with locked(place):
            if cls.exists(place):  # another process was faster
                return cls.open(place)
            if any(found.key != LOCK_FILE for found in objects.listing("")):
                raise StoreError(f"{place} holds other files and is not a store. Choose another prefix.")
            # made here and moved there, the branch last: it is a store when it is complete
            with tempfile.TemporaryDirectory(prefix="mlipstore-") as folder:
                making = Path(folder, "new")
                making.mkdir()
                cls._make(making, version)
                made = objects_at(making)
                for key in sorted((f.key for f in made.listing("")), key=lambda key: key.startswith("refs/")):
                    objects.put(key, made.get(key))
        return cls.open(place)

    @staticmethod
    def _make(place: Path, version: str) -> None:
        """The first version: empty groups and the index."""
        extra: dict[str, Any] = {"spec_version": 1} if int(icechunk.__version__.split(".")[0]) >= 2 else {}
        repository = icechunk.Repository.create(storage_of(place), config=_configuration(), **extra)
        objects = objects_at(place)
        try_to_seal(objects, repository.lookup_branch(MAIN), str(place))
        session = repository.writable_session(MAIN)
        root = zarr.open_group(session.store, mode="a")
        root.attrs.update(
            {
                "mlipstore_format": FORMAT_VERSION,
                "units": {"length": "Å", "energy": "eV", "force": "eV/Å", "stress": "eV/Å^3, positive in tension"},
                "created_by": f"mlipstore {version}",
            }
        )
        for name in _TOP_GROUPS:
            root.create_group(name)
        make_index(root)
        root.create_group("card").attrs.update(sealed({"card": {}}))
        try_to_seal(objects, session.commit("new store", metadata={"verb": "create"}), str(place))

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Whether a store (finished being made) lies at ``path``."""
        place = place_of(path)
        if not isinstance(place, Path):
            return objects_at(place).versioned(_MAIN_REF) is not None
        try:
            return (place / _MAIN_REF).parent.is_dir()
        except OSError as error:  # a folder on the way that may not be entered
            raise translate(error, str(path), "opening the store") from error

    @classmethod
    def open(cls, path: str | os.PathLike[str] | Address, branch: str | None = None) -> Repository:
        """Open an existing store; reading needs no write permission.

        :param branch: default: that of the address, of ``MLIPSTORE_BRANCH``, or the one ``switch`` chose
        """
        if isinstance(path, Address):
            place, branch = place_of(path.path), branch or path.branch
        else:
            place = place_of(path)
        made = cls.exists(place)
        if not made and not (isinstance(place, Path) and place.exists()):
            near = nearest(place.name, _beside(place)) if isinstance(place, Path) else ""
            raise StoreNotFoundError(f"there is no store at {place}. {near}mlipstore ingest {place} SOURCE makes one.")
        if not made:
            raise StoreError(f"{place} is not a store (it has no refs/branch.main). Give the folder that ingest made.")
        try:
            repository = icechunk.Repository.open(storage_of(place), config=_configuration())
            chosen = _current_branch(place) if branch is None else branch
            if chosen != MAIN and chosen not in (known := repository.list_branches()):
                raise unknown_name("branch", chosen, known)
            next(iter(repository.ancestry(branch=chosen)))  # Zarr takes an unreadable version for an empty one
            attributes = dict(zarr.open_group(repository.readonly_session(chosen).store, mode="r").attrs)
        except MlipstoreError:
            raise
        except GroupNotFoundError:
            attributes = {}
        except BaseException as error:
            if is_ours_to_tell(error):
                raise translate(error, str(place), "opening the store", reading=True) from error
            raise
        version = attributes.get("mlipstore_format")
        if version is None:
            raise StoreError(
                f"{place} is an Icechunk repository that mlipstore did not make. Give the folder that ingest made."
            )
        if not isinstance(version, int) or version < 1:
            raise DamagedStoreError(f"{place}: its format is {version!r}, which is no version. Restore it from a copy.")
        if version > FORMAT_VERSION:
            raise StoreError(
                f"{place} has format {version}; this mlipstore reads up to {FORMAT_VERSION}. Install a newer mlipstore."
            )
        return cls(place, repository, chosen)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the store; it is not to be taken twice by one thread."""
        with locked(self.path):
            yield

    def remove_if_empty(self) -> None:
        """Remove a store that nothing was ever stored in: one made for an ingest that failed."""
        with locked(self.path):
            if self.log():
                return
            if isinstance(self.path, Path):
                shutil.rmtree(self.path, ignore_errors=True)
                return
            for found in sorted(self.objects.listing(""), key=lambda f: not f.key.startswith("refs/")):
                if found.key != LOCK_FILE:
                    self.objects.delete(found.key)

    # ------------------------------------------------------------------ read
    def at(self, ref: str | None = None) -> Snapshot:
        """A consistent, read-only view of a version; see :meth:`find`."""
        try:
            id_ = self.find(ref)
            if id_ not in self._checked and isinstance(self.path, Path):  # elsewhere: ``verify`` and ``clone`` do
                check_snapshot(self.objects, id_, str(self.path))
                self._checked.add(id_)
            return Snapshot(self, self._repository.readonly_session(snapshot_id=id_))
        except icechunk.IcechunkError as error:
            raise translate(error, str(self.path), f"reading version {ref or self.branch!r}", reading=True) from error

    def find(self, ref: str | None = None) -> str:
        """Id of a version.

        :param ref: branch, tag, id or its first characters, time (``2026-11-20T10:00``, UTC), each with ``~n`` for the
            n-th version before; None = the newest of the branch
        :raises StoreError: there is no such version
        """
        try:
            return References(self._repository, str(self.path), self.branch).find(ref)
        except icechunk.IcechunkError as error:
            raise translate(error, str(self.path), f"reading version {ref or self.branch!r}", reading=True) from error

    def log(self, ref: str | None = None, include_all: bool = False) -> list[Commit]:
        """Versions from new to old; without ``include_all`` the empty first one is left out."""
        try:
            line = list(walk(self._repository, self.find(ref)))
        except icechunk.IcechunkError as error:
            raise translate(error, str(self.path), "reading its versions", reading=True) from error
        return [c for c in line if c.verb not in ("", "create") or include_all]

    def commit(self, id_: str) -> Commit:
        """A version of a full id with all its metadata, of which the log leaves out long parts.

        :raises StoreError: it cannot be read
        """
        try:
            return read_commit(self._repository, id_)
        except icechunk.IcechunkError as error:
            raise translate(error, str(self.path), f"reading version {id_}", reading=True) from error

    def changed(self, before: str, after: str) -> set[str]:
        """Groups and arrays (``""`` is the root) that differ between a version and one that comes from it, by id."""
        try:
            return changed_paths(self._repository, before, after)
        except icechunk.IcechunkError as error:
            raise translate(error, str(self.path), "comparing versions", reading=True) from error

    def branches(self) -> dict[str, str]:
        """Id of the newest version of each branch."""
        return {name: str(self._repository.lookup_branch(name)) for name in sorted(self._repository.list_branches())}

    def tags(self) -> dict[str, str]:
        """Id of the version that each tag names."""
        return {name: str(self._repository.lookup_tag(name)) for name in sorted(self._repository.list_tags())}

    def names(self) -> dict[str, list[str]]:
        """Branches and tags of each version that has some."""
        out: dict[str, list[str]] = {}
        for table in (self.branches(), self.tags()):
            for name, id_ in table.items():
                out.setdefault(id_, []).append(name)
        return out

    # ----------------------------------------------------------------- write
    @contextmanager
    def transaction(self, message: str, metadata: dict[str, Any], exclusive: bool = False) -> Iterator[Transaction]:
        """One atomic version. Anything raised inside discards all of it.

        Bulk data is written without a lock; the lock is taken for the commit, after which functions given to
        :meth:`Transaction.at_commit` see the newest version. ``exclusive`` takes the lock from the start, for
        small changes of shared things.
        """
        self.objects.require_safe_writes()  # before the work, not after it
        try:
            if exclusive:
                with locked(self.path):
                    tx = self._begin()
                    yield tx
                    self._commit(tx, tx.message or message, {**metadata, **tx.metadata})
            else:
                with at_work(self.objects):
                    tx = self._begin()
                    yield tx
                    with locked(self.path):
                        self._commit(tx, tx.message or message, {**metadata, **tx.metadata})
        except (icechunk.IcechunkError, icechunk.ConflictError, icechunk.RebaseFailedError, OSError) as error:
            # the session is dropped here: after a failed write it would publish holes as fill values
            raise translate(error, str(self.path), f"storing ({message})") from error

    def _begin(self) -> Transaction:
        session = self._repository.writable_session(self.branch)
        return Transaction(zarr.open_group(session.store, mode="a"), session)

    def _commit(self, tx: Transaction, message: str, metadata: dict[str, Any]) -> None:
        session = tx.session
        if not session.has_uncommitted_changes and not tx.last:
            return
        session.rebase(icechunk.ConflictDetector())
        root = zarr.open_group(session.store, mode="a")
        for function in tx.last:
            function(root)
        recent = repeated(self._repository, str(session.snapshot_id), metadata.get("versions"))
        said, base = {**metadata, RECENT: recent}, str(session.snapshot_id)
        try:
            tx.snapshot_id = session.commit(message, metadata=said)
        except (icechunk.IcechunkError, icechunk.ConflictError):
            made = self._made_all_the_same(base, message, said)
            if made is None:
                raise
            tx.snapshot_id = made
        try_to_seal(self.objects, tx.snapshot_id, str(self.path))

    def _made_all_the_same(self, base: str, message: str, metadata: dict[str, Any]) -> str | None:
        """Id of a version whose commit failed because the answer was lost: nobody else can have made such a one."""
        try:
            newest = next(iter(self._repository.ancestry(branch=self.branch)))
        except icechunk.IcechunkError:
            return None
        same = (newest.parent_id, newest.message) == (base, message) and newest.metadata == metadata
        return str(newest.id) if same else None

    # ------------------------------------------------------------------ names
    def tag(self, name: str, ref: str | None = None) -> str:
        """Give a version a name for ever; its id.

        :raises StoreError: the name is taken (also by a tag that was deleted), or there is no such version
        """
        check_name("tag", name)
        with self._changing(f"making the tag {name!r}"):
            self._require_free(name)
            id_ = self.find(ref)
            self._repository.create_tag(name, id_)
        return id_

    def delete_tag(self, name: str) -> None:
        """Remove a tag; its name cannot be used again."""
        with self._changing(f"deleting the tag {name!r}"):
            if name not in (known := self.tags()):
                raise unknown_name("tag", name, known)
            self._repository.delete_tag(name)

    def create_branch(self, name: str, ref: str | None = None) -> str:
        """Begin a line of versions at ``ref``; the id of that version."""
        check_name("branch", name)
        with self._changing(f"making the branch {name!r}"):
            self._require_free(name)
            id_ = self.find(ref)
            self._repository.create_branch(name, id_)
        return id_

    def delete_branch(self, name: str) -> None:
        """Remove a branch; versions that nothing else leads to go with the next collection of garbage."""
        with self._changing(f"deleting the branch {name!r}"):
            if name not in (known := self.branches()):
                raise unknown_name("branch", name, known)
            if name in (MAIN, self.branch):
                raise SettingsError(f"the branch {name!r} is {'needed' if name == MAIN else 'the current one'}.")
            self._repository.delete_branch(name)

    def switch(self, name: str) -> Repository:
        """Make a branch the one that commands read and write from now on, for everybody who uses this folder.

        Work that is under way stays on the branch that it began on.
        """
        with self._changing(f"switching to {name!r}"):
            if name not in (known := self.branches()):
                raise unknown_name("branch", name, known)
            self.objects.put(BRANCH_FILE, f"{name}\n".encode())
        return Repository(self.path, self._repository, name)

    @contextmanager
    def _changing(self, what: str) -> Iterator[None]:
        try:
            with locked(self.path):
                yield
        except (icechunk.IcechunkError, icechunk.ConflictError, OSError) as error:
            if isinstance(error, MlipstoreError):
                raise
            raise translate(error, str(self.path), what) from error

    def _require_free(self, name: str) -> None:
        for kind, known in (("tag", self.tags()), ("branch", self.branches())):
            if name in known:
                raise StoreError(
                    f"{self.path} has a {kind} {name!r} already, at {known[name][:8]}. Choose another name."
                )


def _configuration() -> icechunk.RepositoryConfig:
    """Metadata compressed at level 1: there is a manifest per array, and level 3 clears 1 MB of memory for each."""
    out = icechunk.RepositoryConfig.default()
    out.compression = icechunk.CompressionConfig(level=1)
    return out


def make_index(root: zarr.Group) -> None:
    """An empty index."""
    index = root.require_group("index")
    index.attrs.update(sealed({"segments": []}))
    for spec in INDEX.values():
        create_array(index, spec, (0, *(fixed_axes(spec)[1:])), chunk_rows=_INDEX_CHUNK_ROWS)


@dataclass
class Transaction:
    """A version in the making: ``root`` is its writable Zarr group.

    :param message: set later than at its begin, if that is when it is known; ``metadata``: more of it
    """

    root: zarr.Group
    session: icechunk.Session
    last: list[Callable[[zarr.Group], None]] = field(default_factory=list)
    snapshot_id: str = ""
    message: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def at_commit(self, function: Callable[[zarr.Group], None]) -> None:
        """Run ``function(root)`` under the lock, on top of whatever others have committed meanwhile."""
        self.last.append(function)

    def group(self, path: str, attributes: dict[str, Any] | None = None) -> zarr.Group:
        """The group at ``path``, made if it is not there (its parent has to be)."""
        group = self.root.require_group(path)
        if attributes:
            group.attrs.update(sealed(attributes))
        return group


def _current_branch(place: Place) -> str:
    """The branch that the environment or the last ``switch`` chose."""
    chosen = os.environ.get(BRANCH_VARIABLE)
    if chosen:
        return chosen
    try:
        return objects_at(place).get(BRANCH_FILE).decode("utf-8", "replace").strip() or MAIN
    except ObjectMissing:
        return MAIN


def _beside(place: Path) -> list[str]:
    """Names in the folder that a path lies in, as far as they can be read."""
    try:
        return [p.name for p in place.parent.iterdir() if not p.name.startswith(".")]
    except OSError:
        return []


def schema_groups() -> dict[str, dict[str, ArraySpec]]:
    """The layout, for documentation and checks."""
    return GROUPS
