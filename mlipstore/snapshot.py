"""A read-only, consistent view of one version: names, attributes, arrays, ``xarray``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import icechunk
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.buffer import default_buffer_prototype
from zarr.core.sync import sync

from .arrays import DIGEST
from .errors import DamagedStoreError, MlipstoreError, StoreError
from .places.steady import Steady
from .provenance import content_id
from .schema import canonical
from .store_errors import is_ours_to_tell, lost_chunk, translate

if TYPE_CHECKING:
    from .store import Repository


class Snapshot:
    """A read-only, consistent view of one version."""

    def __init__(self, repository: Repository, session: icechunk.Session) -> None:
        self.repository = repository
        self.session = session
        self.id = str(session.snapshot_id)
        remote = not isinstance(repository.path, Path)
        #: What Zarr reads from.
        self.store: Any = Steady(session.store) if remote else session.store
        #: What was made of this version, which never changes, and will be asked for again.
        self.kept: dict[str, Any] = {}

    @cached_property
    def root(self) -> zarr.Group:
        with self.reading("the store"):
            return zarr.open_group(self.store, mode="r")

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
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
            return [name async for name in self.store.list_dir(path)]

        key = f"names of {path}"
        if key not in self.kept:
            with self.reading(path):
                self.kept[key] = sorted(n for n in sync(children()) if n != "zarr.json")
        return list(self.kept[key])

    def exists(self, path: str) -> bool:
        """Whether a group or an array lies at ``path``."""
        with self.reading(path):
            return bool(sync(self.store.exists(f"{path}/zarr.json".lstrip("/"))))

    def group(self, path: str) -> zarr.Group:
        with self.reading(path):
            try:
                group = self.root[path]
            except KeyError:
                raise StoreError(
                    f"{self.repository.path}: there is nothing at {path!r} in version {self.id}."
                ) from None
        assert isinstance(group, zarr.Group)
        return group

    def attributes(self, path: str, document: bytes | None = None) -> dict[str, Any]:
        """Attributes of a group; :class:`DamagedStoreError` if they are not those that were stored.

        :param document: what the group says about itself, if it was read already
        """
        attributes: dict[str, Any] = self._document(path, document).get("attributes", {})
        digest = attributes.pop(DIGEST, None)
        if digest is not None and digest != content_id(canonical(attributes, plain=True)):
            raise DamagedStoreError(
                f"{self.repository.path}: the attributes of {path} are damaged. Restore the store from a copy."
            )
        return attributes

    def _document(self, path: str, text: bytes | None) -> dict[str, Any]:
        """What a group says about itself; through Zarr it takes ten times as long."""
        with self.reading(path):
            if text is None:
                found = sync(self.store.get(f"{path}/zarr.json".lstrip("/"), default_buffer_prototype()))
                text = None if found is None else found.to_bytes()
            document: Any = None if text is None else json.loads(text)
            if isinstance(document, dict) and document.get("node_type") == "group":
                return dict(document)
            self.group(path)  # which says what is wrong
            raise DamagedStoreError(f"{self.repository.path}: {path} is no group. Restore the store from a copy.")

    def array(self, path: str) -> zarr.Array[Any]:
        with self.reading(path):
            return zarr.open_array(self.store, path=path, mode="r")

    def read(self, path: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows ``start:stop`` of an array; bytes that are damaged or missing are an error, never a number."""
        with self.reading(path):
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
