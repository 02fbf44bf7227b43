"""What a store shows of one version: its configurations, and its featurizations and baselines as ``xarray``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .configuration import Batch, Configuration
from .curation.query import DEFAULT_COLUMNS, Selection, read_selection, select, table
from .errors import unknown_name
from .features import computed
from .store import Snapshot

if TYPE_CHECKING:
    from ase import Atoms


class Configurations:
    """The configurations of one version that count, or those that an expression selects; read as they are needed."""

    def __init__(self, snapshot: Snapshot, selection: Selection | None = None) -> None:
        self.snapshot = snapshot
        self.selection = select(snapshot) if selection is None else selection  # an empty one is false

    def __len__(self) -> int:
        return len(self.selection)

    def where(self, expression: str) -> Configurations:
        """Those for which an expression is true, such as ``group == "surface" and max_force < 10``.

        :raises SettingsError, UnknownNameError: it is no expression, or names a column that does not exist
        """
        chosen = select(self.snapshot, expression, index=self.selection.index)
        return Configurations(self.snapshot, replace(chosen, rows=chosen.rows & self.selection.rows))

    def table(self, *columns: str) -> list[dict[str, Any]]:
        """Columns of each configuration as plain values; see :mod:`mlipstore.curation.columns`."""
        return list(table(self.selection, columns or DEFAULT_COLUMNS))

    def batches(self, group: str | None = None) -> Iterator[Batch]:
        """One batch of columns per segment (and of one group, if given).

        :raises UnknownNameError: no configuration has this group
        """
        selection = self.selection
        if group is not None:
            if group not in (known := selection.groups()):
                raise unknown_name("group", group, known)
            names, codes = selection.index.group_codes
            selection = replace(selection, rows=selection.rows & (codes == names.index(group)))
        return read_selection(selection)

    def __iter__(self) -> Iterator[Configuration]:
        for batch in self.batches():
            yield from batch

    def to_ase(self, group: str | None = None) -> list[Atoms]:
        """``ase.Atoms`` with labels attached."""
        return [c.to_ase() for batch in self.batches(group) for c in batch]


class Group:
    """One featurization or baseline: its settings and its arrays."""

    def __init__(self, snapshot: Snapshot, path: str) -> None:
        self.snapshot, self.path = snapshot, path

    @property
    def attributes(self) -> dict[str, Any]:
        return self.snapshot.attributes(self.path)

    @property
    def segments(self) -> list[str]:
        """Segments that are computed."""
        return computed(self.snapshot, self.path)

    def to_xarray(self, segment: str | None = None) -> Any:
        """One segment as a lazy ``xarray.Dataset``; without a name, a dictionary of all segments."""
        if segment is not None:
            return self.snapshot.to_xarray(f"{self.path}/{segment}")
        return {name: self.snapshot.to_xarray(f"{self.path}/{name}") for name in self.segments}
