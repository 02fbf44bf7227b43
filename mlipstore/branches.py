"""Branches and tags of a store: making, listing and removing names of versions, and the branch that is written to."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Self

import icechunk

from .errors import MlipstoreError, SettingsError, StoreError, unknown_name
from .history import check_name
from .icefiles.files import ref_key
from .locks import locked
from .places import ObjectMissing, Objects, Place, objects_at
from .sharing.refs import lost_refs
from .store_errors import translate

MAIN = "main"
#: Names the branch that is written to, for one process and its workers; above the file in the store.
BRANCH_VARIABLE = "MLIPSTORE_BRANCH"
#: File in the store that names the branch, written by ``switch``.
BRANCH_FILE = "mlipstore.branch"


class Branches(ABC):
    """What a repository knows about names of versions.

    :param branch: what is read unless a version is named, and what is written to
    """

    def __init__(self, path: Place, repository: icechunk.Repository, branch: str = MAIN) -> None:
        self.path, self.branch = path, branch
        self._repository = repository

    @cached_property
    def objects(self) -> Objects:
        """The files that the store is made of."""
        return objects_at(self.path)

    @abstractmethod
    def find(self, ref: str | None = None) -> str:
        """Id of a version."""

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
            if self._was_lost("tag", name):
                return
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
            if name != MAIN and self._was_lost("branch", name):
                return
            if name not in (known := self.branches()):
                raise unknown_name("branch", name, known)
            if name in (MAIN, self.branch):
                raise SettingsError(f"the branch {name!r} is {'needed' if name == MAIN else 'the current one'}.")
            remove_branch(self._repository, self.objects, name)

    def switch(self, name: str) -> Self:
        """Make a branch the one that commands read and write from now on, for everybody who uses this folder.

        Work that is under way stays on the branch that it began on.
        """
        with self._changing(f"switching to {name!r}"):
            if name not in (known := self.branches()):
                raise unknown_name("branch", name, known)
            self.objects.put(BRANCH_FILE, f"{name}\n".encode())
        return type(self)(self.path, self._repository, name)

    @contextmanager
    def _changing(self, what: str) -> Iterator[None]:
        try:
            with locked(self.path):
                yield
        except (icechunk.IcechunkError, icechunk.ConflictError, OSError) as error:
            if isinstance(error, MlipstoreError):
                raise
            raise translate(error, str(self.path), what) from error

    def _was_lost(self, kind: str, name: str) -> bool:
        """Whether a name is one whose file was lost, which is told no more then."""
        if (key := ref_key(kind, name)) not in lost_refs(self.objects):
            return False
        self.objects.remove_emptied(key.rpartition("/")[0])
        return True

    def _require_free(self, name: str) -> None:
        for kind, known in (("tag", self.tags()), ("branch", self.branches())):
            if name in known:
                raise StoreError(
                    f"{self.path} has a {kind} {name!r} already, at {known[name][:8]}. Choose another name."
                )


def remove_branch(repository: icechunk.Repository, objects: Objects, name: str) -> None:
    """Remove a branch with its folder, which without its file would be that of a branch that was lost."""
    repository.delete_branch(name)
    objects.remove_emptied(f"refs/branch.{name}")


def current_branch(place: Place) -> str:
    """The branch that the environment or the last ``switch`` chose."""
    chosen = os.environ.get(BRANCH_VARIABLE)
    if chosen:
        return chosen
    try:
        return objects_at(place).get(BRANCH_FILE).decode("utf-8", "replace").strip() or MAIN
    except ObjectMissing:
        return MAIN
