"""Making a store: empty groups and the index, complete before anybody can open it."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Container
from pathlib import Path
from shlex import quote
from typing import Any

import icechunk
import zarr

from .arrays import create_array, fixed_axes, sealed
from .branches import MAIN
from .errors import StoreError
from .icefiles.seals import try_to_seal
from .layout import FORMAT_VERSION, INDEX
from .locks import LOCK_FILE, locked, runs
from .places import Place, objects_at
from .places.storage import configuration, storage_of
from .store_errors import translate

_MAIN_REF = f"refs/branch.{MAIN}/ref.json"
#: The last chunk of the index is written anew by every ingest, and travels with every pull, so it is small.
_INDEX_CHUNK_ROWS = 2_048
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


def is_store(place: Place) -> bool:
    """Whether a store (finished being made) lies at a place."""
    if not isinstance(place, Path):
        return objects_at(place).versioned(_MAIN_REF) is not None
    try:
        return (place / _MAIN_REF).parent.is_dir()
    except OSError as error:  # a folder on the way that may not be entered
        raise translate(error, str(place), "opening the store") from error


def make_at(place: Place) -> None:
    """Make a new, empty store in a folder that does not exist or is empty, or below a free prefix of a bucket.

    :raises StoreError: something else is there, or the server would lose commits of concurrent writers
    """
    if is_store(place):
        raise StoreError(f"{place} is a store already.")
    if not isinstance(place, Path):
        _make_elsewhere(place)
        return
    if place.is_file():
        raise StoreError(
            f"{place} is not a store but a file. The store, a folder, comes first, then what is read: "
            f"mlipstore ingest STORE {quote(str(place))}."
        )
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise StoreError(f"{place} exists and is not a store. Choose another name.")
    # made beside its place and moved there when complete: a kill leaves no half-made store
    making = place.parent / f".{place.name}.making-{os.getpid()}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        for left in place.parent.glob(f".{glob.escape(place.name)}.making-*"):
            if left == making or not runs(left.name.rpartition("-")[2]):
                shutil.rmtree(left, ignore_errors=True)
        making.mkdir()  # Icechunk panics where it cannot
        _make(making)
        making.rename(place)
    except (OSError, icechunk.IcechunkError) as error:
        shutil.rmtree(making, ignore_errors=True)
        if is_store(place):  # another process was faster
            return
        raise translate(error, str(place), "making the store") from error


def _make_elsewhere(place: Place) -> None:
    objects = objects_at(place)
    with locked(place):
        if is_store(place):  # another process was faster
            return
        if any(found.key != LOCK_FILE for found in objects.listing("")):
            raise StoreError(f"{place} holds other files and is not a store. Choose another prefix.")
        # made here and moved there, the branch last: it is a store when it is complete
        with tempfile.TemporaryDirectory(prefix="mlipstore-") as folder:
            making = Path(folder, "new")
            making.mkdir()
            _make(making)
            made = objects_at(making)
            for key in sorted((f.key for f in made.listing("")), key=lambda key: key.startswith("refs/")):
                objects.put(key, made.get(key))


def _make(place: Path) -> None:
    """The first version: empty groups and the index."""
    from . import __version__

    extra: dict[str, Any] = {"spec_version": 1} if int(icechunk.__version__.split(".")[0]) >= 2 else {}
    repository = icechunk.Repository.create(storage_of(place), config=configuration(), **extra)
    objects = objects_at(place)
    try_to_seal(objects, repository.lookup_branch(MAIN), str(place))
    session = repository.writable_session(MAIN)
    root = zarr.open_group(session.store, mode="a")
    root.attrs.update(
        {
            "mlipstore_format": FORMAT_VERSION,
            "units": {"length": "Å", "energy": "eV", "force": "eV/Å", "stress": "eV/Å^3, positive in tension"},
            "created_by": f"mlipstore {__version__}",
        }
    )
    for name in _TOP_GROUPS:
        root.create_group(name)
    make_index(root)
    root.create_group("card").attrs.update(sealed({"card": {}}))
    try_to_seal(objects, session.commit("new store", metadata={"verb": "create"}), str(place))


def make_index(root: zarr.Group, columns: Container[str] = tuple(INDEX)) -> None:
    """An empty index.

    :param columns: make those alone, and what every index has
    """
    index = root.require_group("index")
    index.attrs.update(sealed({"segments": []}))
    for spec in (s for s in INDEX.values() if s.name in columns or not s.optional):
        create_array(index, spec, (0, *(fixed_axes(spec)[1:])), chunk_rows=_INDEX_CHUNK_ROWS, compressed=True)
