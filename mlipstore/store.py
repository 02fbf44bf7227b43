"""Open, read, write and commit: with :mod:`mlipstore.places.storage` the only module that knows Icechunk.

Icechunk gives atomic versions but neither locks nor checksums (measured in docs/decisions.md), so every change of a
store takes an exclusive lock, every array carries crc32c, and an exception discards the session. Where a store lies (a
folder, S3, a web server) is the business of :mod:`mlipstore.places`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from shlex import quote
from typing import Any

import icechunk
import zarr
from zarr.errors import GroupNotFoundError

from .allocation import keep_little_memory
from .arrays import append_rows, create_array, overwrite, sealed, write_array
from .branches import MAIN, Branches, current_branch
from .creating import is_store, make_at
from .errors import DamagedStoreError, MlipstoreError, StoreError, StoreNotFoundError, nearest, unknown_name
from .history import RECENT, Commit, References, changed_paths, read_commit, repeated, walk
from .icefiles.seals import check_snapshot, try_to_seal
from .layout import FORMAT_VERSION, GROUPS, ArraySpec
from .leases import at_work
from .locks import LOCK_FILE, locked
from .places import Place, Remote, place_of
from .places.steady import Steady, steadily
from .places.storage import configuration, storage_of
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
    "opened",
    "overwrite",
    "schema_groups",
    "sealed",
    "write_array",
]

# its warning about concurrent local commits is answered by our lock; what fails is raised as well as logged
keep_little_memory()
icechunk.set_logs_filter("off")


@dataclass(frozen=True)
class Address:
    """Where a store is and which of its branches is meant: what a worker opens."""

    path: str
    branch: str


@lru_cache(maxsize=2)
def opened(address: Address) -> Repository:
    """The store at an address, opened once in a process: for the tasks of a worker, which are many."""
    return Repository.open(address)


class Repository(Branches):
    """A store: an Icechunk repository with our layout. ``at`` reads a version, ``transaction`` makes one."""

    def __init__(self, path: Place, repository: icechunk.Repository, branch: str = MAIN) -> None:
        super().__init__(path, repository, branch)
        self._checked: set[str] = set()

    @property
    def address(self) -> Address:
        """What :meth:`open` gives this repository for, in any process of this machine."""
        return Address(str(self.path.absolute()), self.branch)

    # ------------------------------------------------------------------ open
    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Repository:
        """Make a new, empty store in a folder that does not exist or is empty, or below a free prefix of a bucket.

        :raises StoreError: something else is there, or the server would lose commits of concurrent writers
        """
        place = place_of(path)
        make_at(place)
        return cls.open(place)

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Whether a store (finished being made) lies at ``path``."""
        return is_store(place_of(path))

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
            how = f"mlipstore ingest {quote(str(place))} SOURCE makes one."
            if isinstance(place, Remote) and place.scheme != "s3":
                how = "Check the address."
            raise StoreNotFoundError(f"there is no store at {place}. {near}{how}")
        if not made:
            raise StoreError(f"{place} is not a store{_what_else(place)}")
        try:
            repository = steadily(lambda: icechunk.Repository.open(storage_of(place), config=configuration()))
            chosen = current_branch(place) if branch is None else branch
            if chosen != MAIN and chosen not in (known := repository.list_branches()):
                raise unknown_name("branch", chosen, known)
            steadily(
                lambda: next(iter(repository.ancestry(branch=chosen)))
            )  # Zarr takes an unreadable version for an empty one
            session = steadily(lambda: repository.readonly_session(chosen))
            attributes = dict(steadily(lambda: zarr.open_group(session.store, mode="r")).attrs)
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
            return Snapshot(self, steadily(lambda: self._repository.readonly_session(snapshot_id=id_)))
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
        session = steadily(lambda: self._repository.writable_session(self.branch))
        return Transaction(self._root(session), session)

    def _root(self, session: icechunk.Session) -> zarr.Group:
        """What a session writes to, and reads from."""
        return zarr.open_group(session.store if isinstance(self.path, Path) else Steady(session.store), mode="a")

    def _commit(self, tx: Transaction, message: str, metadata: dict[str, Any]) -> None:
        session = tx.session
        if not session.has_uncommitted_changes and not tx.last:
            return
        steadily(lambda: session.rebase(icechunk.ConflictDetector()))
        root = self._root(session)
        for function in tx.last:
            function(root)
        recent = repeated(self._repository, str(session.snapshot_id), metadata.get("versions"))
        said, base = {**metadata, RECENT: recent}, str(session.snapshot_id)
        try:
            tx.snapshot_id = steadily(lambda: session.commit(message, metadata=said))
        except (icechunk.IcechunkError, icechunk.ConflictError):
            made = self._made_all_the_same(base, message, said)
            if made is None:
                raise
            tx.snapshot_id = made
        try_to_seal(self.objects, tx.snapshot_id, str(self.path))

    def _made_all_the_same(self, base: str, message: str, metadata: dict[str, Any]) -> str | None:
        """Id of a version whose commit failed because the answer was lost: nobody else can have made such a one."""
        self.objects.versioned(f"refs/branch.{self.branch}/ref.json")  # a server that is gone says so sooner here
        try:
            newest = next(iter(self._repository.ancestry(branch=self.branch)))
        except icechunk.IcechunkError:
            return None
        same = (newest.parent_id, newest.message) == (base, message) and newest.metadata == metadata
        return str(newest.id) if same else None


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


def _beside(place: Path) -> list[str]:
    """Names in the folder that a path lies in, as far as they can be read."""
    try:
        return [p.name for p in place.parent.iterdir() if not p.name.startswith(".")]
    except OSError:
        return []


def schema_groups() -> dict[str, dict[str, ArraySpec]]:
    """The layout, for documentation and checks."""
    return GROUPS


def _what_else(place: Any) -> str:
    """The rest of the message about something that is there and is no store; run files are given by mistake."""
    if isinstance(place, Path) and place.is_file():
        if place.suffix == ".toml":
            file = quote(str(place))
            return f" but a TOML file. For a run file: mlipstore run {file}, or the store first, then --config {file}."
        return " but a file. Give the folder that ingest made."
    return " (it has no refs/branch.main). Give the folder that ingest made."
