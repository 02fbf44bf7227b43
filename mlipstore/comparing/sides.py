"""The two sides of a comparison: a store, a version of one (``STORE@VERSION``), or files of any readable format."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..curation.query import Selection, select
from ..errors import InputError
from ..executors import Executor
from ..index import Index
from ..ingest import ingest
from ..readers import recognise, suited
from ..reading import ReadOptions
from ..store import Repository, Snapshot


@dataclass(frozen=True)
class Side:
    """One of the two data sets.

    :param name: as it was given; ``place``: of the store, empty for files
    """

    name: str
    place: str
    selection: Selection

    @property
    def index(self) -> Index:
        return self.selection.index

    @property
    def snapshot(self) -> Snapshot:
        return self.selection.snapshot

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the index that are compared."""
        return np.flatnonzero(self.selection.rows)


def place_and_version(name: str) -> tuple[str, str | None] | None:
    """The store and the version that a name stands for; None for what is no store, such as files.

    A store whose name has an ``@`` counts before a version.
    """
    if Repository.exists(name):
        return name, None
    place, at, version = name.rpartition("@")
    return (place, version) if at and place and version and Repository.exists(place) else None


@contextmanager
def opened(
    name: str,
    where: str | None = None,
    options: ReadOptions | None = None,
    format: str | None = None,
    executor: Executor | None = None,
    scratch: str | Path | None = None,
) -> Iterator[Side]:
    """One side, for as long as it is compared; files are read once, into a scratch store that is removed.

    :param where: only what this expression selects
    :raises InputError: files cannot be read
    :raises StoreError: there is no such version
    :raises SettingsError, UnknownNameError: the expression is not one
    """
    found = place_and_version(name)
    if found is not None:
        place, version = found
        yield Side(name, place, select(Repository.open(place).at(version), where))
        return
    if "@" in name and not Path(name).exists():
        raise InputError("there is no such file, and no store before the @.", name)
    with tempfile.TemporaryDirectory(prefix="mlipstore-compare-", dir=scratch) as folder:
        repository = Repository.create(Path(folder) / "scratch.mlip")
        if options is not None and Path(name).exists():  # which may be meant for the other side
            options = suited([recognise(Path(name), format)], options)
        ingest(repository, [name], options, format, executor=executor)
        yield Side(name, "", select(repository.at(), where))
