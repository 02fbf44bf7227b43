"""Open, read, write and commit: the only module that knows Icechunk.

Icechunk gives atomic versions but neither locks nor checksums (measured in docs/decisions.md), so every
change of a local store takes an exclusive lock, every array carries crc32c, and an exception discards the session.
"""

from __future__ import annotations

import datetime
import fcntl
import glob
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec
from zarr.core.sync import sync
from zarr.errors import GroupNotFoundError

from .allocation import give_back_large_blocks
from .errors import DamagedStoreError, MlipstoreError, StoreError, StoreNotFoundError, nearest
from .layout import FORMAT_VERSION, GROUPS, INDEX, ArraySpec, chunk_shape
from .provenance import content_id
from .schema import canonical
from .store_errors import StoreConflictError, is_ours_to_tell, lost_chunk, translate

__all__ = [
    "LOCK_FILE",
    "MAIN",
    "Commit",
    "Repository",
    "Snapshot",
    "StoreConflictError",
    "Transaction",
    "append_rows",
    "create_array",
    "schema_groups",
    "sealed",
    "write_array",
]

MAIN = "main"
LOCK_FILE = "mlipstore.lock"
#: Attribute of a group that is the digest of the others.
DIGEST = "digest"
#: The last chunk of the index is written anew by every ingest, so it is small.
_INDEX_CHUNK_ROWS = 4_096
_TOP_GROUPS = ("configurations", "atoms", "baselines", "features", "factors", "studies", "models", "index")

# its warning about concurrent local commits is answered by our lock; what fails is raised as well as logged
give_back_large_blocks()
icechunk.set_logs_filter("off")


@dataclass(frozen=True)
class Commit:
    """One version: what changed, by which command."""

    id: str
    message: str
    metadata: dict[str, Any]
    time: datetime.datetime


class Repository:
    """A store on disk: an Icechunk repository with our layout. ``at`` reads a version, ``transaction`` makes one."""

    def __init__(self, path: Path, repository: icechunk.Repository) -> None:
        self.path = path
        self._repository = repository

    # ------------------------------------------------------------------ open
    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Repository:
        """Make a new, empty store in a folder that does not exist or is empty."""
        from . import __version__

        place = Path(path)
        if cls.exists(place):
            raise StoreError(f"{place} is a store already.")
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise StoreError(f"{place} exists and is not a store. Choose another name or remove it.")
        # made beside its place and moved there when complete: a kill leaves no half-made store
        making = place.parent / f".{place.name}.making-{os.getpid()}"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            for left in place.parent.glob(f".{glob.escape(place.name)}.making-*"):
                if left == making or not _runs(left.name.rpartition("-")[2]):
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

    @staticmethod
    def _make(place: Path, version: str) -> None:
        """The first version: empty groups and the index."""
        extra: dict[str, Any] = {"spec_version": 1} if int(icechunk.__version__.split(".")[0]) >= 2 else {}
        repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(place)), **extra)
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
        index = root["index"]
        assert isinstance(index, zarr.Group)
        index.attrs.update(sealed({"segments": []}))
        for spec in INDEX.values():
            create_array(index, spec, (0, *(_fixed(spec)[1:])), chunk_rows=_INDEX_CHUNK_ROWS)
        session.commit("new store", metadata={"verb": "create"})

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Whether a store (finished being made) lies at ``path``."""
        try:
            os.fspath(path).encode()
        except UnicodeEncodeError:
            raise StoreError(f"the name of the store {os.fspath(path)!r} is not UTF-8. Choose another.") from None
        try:
            return (Path(path) / "refs" / "branch.main").is_dir()
        except OSError as error:  # a folder on the way that may not be entered
            raise translate(error, str(path), "opening the store") from error

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Repository:
        """Open an existing store; reading needs no write permission."""
        place = Path(path)
        made = cls.exists(place)
        if not made and not place.exists():
            near = nearest(place.name, _beside(place))
            raise StoreNotFoundError(f"there is no store at {place}. {near}mlipstore ingest {place} SOURCE makes one.")
        if not made:
            raise StoreError(f"{place} is not a store (it has no refs/branch.main). Give the folder that ingest made.")
        try:
            repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(place)))
            next(iter(repository.ancestry(branch=MAIN)))  # Zarr takes an unreadable version for an empty one
            attributes = dict(zarr.open_group(repository.readonly_session(MAIN).store, mode="r").attrs)
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
        return cls(place, repository)

    def remove_if_empty(self) -> None:
        """Remove a store that nothing was ever stored in: one made for an ingest that failed."""
        with _locked(self.path):
            if not self.log():
                shutil.rmtree(self.path, ignore_errors=True)

    # ------------------------------------------------------------------ read
    def at(self, ref: str = MAIN) -> Snapshot:
        """A consistent, read-only view of a branch, a tag or a snapshot id (or its first characters)."""
        repo = self._repository
        try:
            if ref in repo.list_branches():
                return Snapshot(self, repo.readonly_session(ref))
            if ref in repo.list_tags():
                return Snapshot(self, repo.readonly_session(tag=ref))
            ids = [c.id for c in self.log(include_all=True)]
            match = [i for i in ids if ref and i.startswith(ref.upper())]
            if len(match) == 1:
                return Snapshot(self, repo.readonly_session(snapshot_id=match[0]))
        except icechunk.IcechunkError as error:
            raise translate(error, str(self.path), f"reading version {ref!r}", reading=True) from error
        if len(match) > 1:
            raise StoreError(f"{self.path}: version {ref!r} is ambiguous: {', '.join(match[:5])}.")
        known = [*repo.list_branches(), *repo.list_tags()]
        raise StoreError(f"{self.path} has no version {ref!r}. {nearest(ref, known)}Known: {', '.join(known)}.")

    def log(self, ref: str = MAIN, include_all: bool = False) -> list[Commit]:
        """Versions from new to old; without ``include_all`` the empty first one is left out."""
        repo = self._repository
        out = []
        try:
            if ref in repo.list_branches():
                line = repo.ancestry(branch=ref)
            else:
                line = repo.ancestry(snapshot_id=self.at(ref).id)
            for a in line:
                metadata = dict(a.metadata)
                if metadata.get("verb") not in (None, "create") or include_all:
                    out.append(Commit(a.id, a.message, metadata, a.written_at))
        except icechunk.IcechunkError as error:
            raise translate(error, str(self.path), "reading its versions", reading=True) from error
        return out

    # ----------------------------------------------------------------- write
    @contextmanager
    def transaction(self, message: str, metadata: dict[str, Any], exclusive: bool = False) -> Iterator[Transaction]:
        """One atomic version. Anything raised inside discards all of it.

        Bulk data is written without a lock; the lock is taken for the commit, after which functions given to
        :meth:`Transaction.at_commit` see the newest version. ``exclusive`` takes the lock from the start, for
        small changes of shared things.
        """
        try:
            if exclusive:
                with _locked(self.path):
                    tx = self._begin()
                    yield tx
                    self._commit(tx, tx.message or message, {**metadata, **tx.metadata})
            else:
                tx = self._begin()
                yield tx
                with _locked(self.path):
                    self._commit(tx, tx.message or message, {**metadata, **tx.metadata})
        except (icechunk.IcechunkError, icechunk.ConflictError, icechunk.RebaseFailedError, OSError) as error:
            # the session is dropped here: after a failed write it would publish holes as fill values
            raise translate(error, str(self.path), f"storing ({message})") from error

    def _begin(self) -> Transaction:
        session = self._repository.writable_session(MAIN)
        return Transaction(zarr.open_group(session.store, mode="a"), session)

    def _commit(self, tx: Transaction, message: str, metadata: dict[str, Any]) -> None:
        session = tx.session
        if not session.has_uncommitted_changes and not tx.last:
            return
        session.rebase(icechunk.ConflictDetector())
        root = zarr.open_group(session.store, mode="a")
        for function in tx.last:
            function(root)
        tx.snapshot_id = session.commit(message, metadata=metadata)


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


class Snapshot:
    """A read-only, consistent view of one version."""

    def __init__(self, repository: Repository, session: icechunk.Session) -> None:
        self.repository = repository
        self.session = session
        self.id = str(session.snapshot_id)

    @cached_property
    def root(self) -> zarr.Group:
        with self._reading("the store"):
            return zarr.open_group(self.session.store, mode="r")

    @contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        """Anything that goes wrong inside means that stored bytes are damaged or cannot be reached."""
        try:
            yield
        except MlipstoreError:
            raise
        except BaseException as error:
            if is_ours_to_tell(error):
                raise translate(error, str(self.repository.path), f"reading {path}", reading=True) from error
            raise

    def names(self, path: str) -> list[str]:
        """Names directly below a group, sorted."""

        async def children() -> list[str]:
            return [name async for name in self.session.store.list_dir(path)]

        with self._reading(path):
            return sorted(n for n in sync(children()) if n != "zarr.json")

    def exists(self, path: str) -> bool:
        """Whether a group or an array lies at ``path``."""
        with self._reading(path):
            return path in self.root

    def group(self, path: str) -> zarr.Group:
        with self._reading(path):
            try:
                group = self.root[path]
            except KeyError:
                raise StoreError(
                    f"{self.repository.path}: there is nothing at {path!r} in version {self.id}."
                ) from None
        assert isinstance(group, zarr.Group)
        return group

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of a group; :class:`DamagedStoreError` if they are not those that were stored."""
        attributes = dict(self.group(path).attrs)
        digest = attributes.pop(DIGEST, None)
        if digest is not None and digest != content_id(canonical(attributes)):
            raise DamagedStoreError(
                f"{self.repository.path}: the attributes of {path} are damaged. Restore the store from a copy."
            )
        return attributes

    def array(self, path: str) -> zarr.Array[Any]:
        with self._reading(path):
            return zarr.open_array(self.session.store, path=path, mode="r")

    def read(self, path: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows ``start:stop`` of an array; bytes that are damaged or missing are an error, never a number."""
        with self._reading(path):
            array = self.array(path)
            data = np.asarray(array[start:stop])
            if data.size:
                self._require_chunks(path, array, data, start)
        return data

    def _require_chunks(self, path: str, array: zarr.Array[Any], data: NDArray[Any], start: int) -> None:
        """A chunk that the store does not list comes back as fill values: where they are seen, look it up.

        :raises DamagedStoreError: a chunk of ``data`` (the rows from ``start`` on) is not there
        """
        step, fill = array.chunks[0], array.fill_value
        first = range(start // step, (start + len(data) - 1) // step + 1)
        heads = data[[max(0, c * step - start) for c in first]].reshape(len(first), -1)
        empty = np.isnan(heads) if data.dtype.kind == "f" else heads == fill
        if not empty.all(axis=1).any():
            return

        async def listed() -> set[tuple[int, ...]]:
            return {c async for c in self.session.chunk_coordinates(f"/{path}")}

        there = sync(listed())
        across = list(product(*(range(-(-n // c)) for n, c in zip(array.shape[1:], array.chunks[1:], strict=True))))
        if any((c, *rest) not in there for c in first for rest in across):
            raise lost_chunk(str(self.repository.path), path)

    def to_xarray(self, path: str) -> Any:
        """The group at ``path`` as a lazy ``xarray.Dataset`` (backed by dask where it is installed)."""
        import importlib.util

        import xarray

        self.group(path)  # a clear error if there is no such group
        chunks: dict[str, int] | None = {} if importlib.util.find_spec("dask") else None
        return xarray.open_zarr(self.session.store, group=path, consolidated=False, zarr_format=3, chunks=chunks)


def sealed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with their digest: unlike chunks, they are stored without a checksum."""
    plain = {k: v for k, v in attributes.items() if k != DIGEST}
    return {**plain, DIGEST: content_id(canonical(plain))}


# ---------------------------------------------------------------------- arrays
def _fixed(spec: ArraySpec) -> tuple[int, ...]:
    from .layout import FIXED_AXES

    return tuple(FIXED_AXES.get(d, 0) for d in spec.dims)


def create_array(
    group: zarr.Group,
    spec: ArraySpec,
    shape: tuple[int, ...],
    row_multiple: int = 1,
    dtype: str | None = None,
    chunk_rows: int | None = None,
) -> zarr.Array[Any]:
    """An empty array of the layout: named axes, unit, crc32c, NaN where nothing was written."""
    kind = dtype or spec.dtype
    chunks = chunk_shape(spec, shape, row_multiple)
    if chunk_rows is not None:
        chunks = (chunk_rows, *chunks[1:])
    return group.create_array(
        spec.name,
        shape=shape,
        dtype=str if kind == "str" else kind,
        chunks=chunks,
        compressors=[Crc32cCodec()],
        fill_value=spec.fill_value,
        dimension_names=spec.dims,
        attributes=dict(spec.attributes()),
        config={"write_empty_chunks": True},
        overwrite=True,
    )


def write_array(group: zarr.Group, spec: ArraySpec, data: NDArray[Any], row_multiple: int = 1) -> None:
    """Store one whole array of the layout."""
    array = create_array(group, spec, data.shape, row_multiple)
    if data.size:
        array[...] = data


def append_rows(group: zarr.Group, name: str, data: NDArray[Any]) -> None:
    """Add rows at the end of a growing array (only the index grows; everything else is written once)."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    n = array.shape[0]
    array.resize((n + len(data), *array.shape[1:]))
    array.with_config({"write_empty_chunks": True})[n:] = data  # zeros are data: a chunk that is not there is lost


# ------------------------------------------------------------------------ lock
@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the store's exclusive lock: Icechunk loses commits of concurrent local writers without it."""
    try:
        handle = open(path / LOCK_FILE, "a")  # noqa: SIM115 - closed below, kept open while locked
    except OSError as error:
        raise translate(error, str(path), "writing to the store") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        handle.close()


def _runs(pid: str) -> bool:
    """Whether a process of this machine has that number."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass  # it runs, as somebody else
    return True


def _beside(place: Path) -> list[str]:
    """Names in the folder that a path lies in, as far as they can be read."""
    try:
        return [p.name for p in place.parent.iterdir() if not p.name.startswith(".")]
    except OSError:
        return []


def schema_groups() -> dict[str, dict[str, ArraySpec]]:
    """The layout, for documentation and checks."""
    return GROUPS
