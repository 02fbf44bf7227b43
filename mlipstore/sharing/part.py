"""A copy of a part of a store: some configurations of one version, some of its features; without its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..arrays import create_array, write_array
from ..chunk_files import nodes_of
from ..configuration import Batch
from ..curation.annotations import Annotation, every, write
from ..curation.query import Selection, select
from ..curation.successors import ROWS, gather
from ..errors import SettingsError, StoreError, counted
from ..features import find_named
from ..index import Index, enter, keys, read_batch, segment_name, write_segments
from ..layout import BASELINES, FEATURES
from ..places import Place, objects_at
from ..provenance import commit_metadata, new_run
from ..snapshot import Snapshot
from ..store import Repository, Transaction
from .config import Config
from .nodes import copy_node
from .transfer import Progress

#: Groups that are copied whole: they do not depend on which configurations are there.
_WHOLE = ("models", "studies")


@dataclass
class Part:
    """What was asked for.

    :param where: expression over columns of configurations, None = all
    :param features: names of featurizations, None = all
    """

    ref: str | None = None
    where: str | None = None
    features: Sequence[str] | None = None


def copy_part(source: Repository, target: Place, part: Part, progress: Progress | None, command: str) -> str:
    """Copy a part of a version to a new store, segment by segment; one that was cut off continues. Its newest version.

    :raises SettingsError: the expression selects nothing
    :raises UnknownNameError: the version, a column or a featurization is not there
    :raises StoreError: something else is at ``target``
    """
    snapshot = source.at(part.ref)
    selection = select(snapshot, part.where)
    if not len(selection):
        raise SettingsError(f"no configuration of {source.path} is selected by {part.where!r}.")
    chosen = _chosen(snapshot, part.features)
    asked = {"version": snapshot.id, "where": part.where, "features": sorted(chosen)}
    made = _continued(target, str(source.path), asked)
    work = _Copy(snapshot, selection, chosen, made, commit_metadata("clone", command, new_run(), **asked))
    work.run(progress)
    Config(remote=str(source.path), part=asked).save(objects_at(target))
    return made.find()


def _chosen(snapshot: Snapshot, names: Sequence[str] | None) -> list[str]:
    """Ids of featurizations."""
    if names is None:
        return snapshot.names("features")
    return [find_named(snapshot, "features", name) for name in names if name != "none"]


def _continued(target: Place, source: str, asked: dict[str, Any]) -> Repository:
    """The store at the target, made if it is not there."""
    if not Repository.exists(target):
        made = Repository.create(target)
    else:
        made = Repository.open(target, "main")
        config = Config.load(objects_at(target))
        if made.log() and (not config.incomplete or (config.remote, config.part) != (source, asked)):
            raise StoreError(f"{target} exists already. Choose another name.")
    Config(remote=source, incomplete=True, part=asked).save(objects_at(target))
    return made


class _Copy:
    """Copies what is selected, one version per segment, and what belongs to no segment at the end."""

    def __init__(
        self, source: Snapshot, selection: Selection, features: list[str], made: Repository, metadata: dict[str, Any]
    ) -> None:
        self.source, self.selection, self.made, self.metadata = source, selection, made, metadata
        self.nodes = nodes_of(source)
        self.computed = [f"features/{i}" for i in features] + [f"baselines/{i}" for i in source.names("baselines")]

    def run(self, progress: Progress | None) -> None:
        there = self.made.at()
        have = {s.name for s in Index.load(there).segments}
        if not all(map(there.exists, self.computed)):
            with self.made.transaction("clone: features", self.metadata, exclusive=True) as tx:
                for path in self.computed:
                    self._settings(tx.root, path)
        total, done = len(self.selection), 0
        taken: set[str] = set()
        for segment, positions in self.selection.segments():
            batch = read_batch(self.source, segment)
            whole = len(positions) == len(batch)
            mine = batch if whole else batch.take(positions)
            name = segment if whole else segment_name(mine, taken)
            taken.add(name)
            if name not in have:
                with self.made.transaction(f"clone {counted(len(mine), 'configuration')}", self.metadata) as tx:
                    if whole:
                        self._whole(tx, name, mine)
                    else:
                        self._some(tx, name, mine, segment, positions)
            done += len(mine)
            if progress is not None:
                progress(done, total)
        self._rest()

    def _settings(self, root: zarr.Group, path: str) -> None:
        """A featurization or baseline, with the files that its settings name."""
        for node in self.nodes.values():
            if node.path == path or (node.path.startswith(f"{path}/") and node.is_array and node.path.count("/") == 2):
                copy_node(self.source, node, root)

    def _whole(self, tx: Transaction, name: str, batch: Batch) -> None:
        """A segment as it is, byte for byte."""
        for above in ("configurations", "atoms", *self.computed):
            path = f"{above}/{name}"
            for node in self.nodes.values():
                if node.path == path or node.path.startswith(f"{path}/"):
                    copy_node(self.source, node, tx.root)
        tx.at_commit(lambda root: enter(root, {name: batch}))

    def _some(self, tx: Transaction, name: str, batch: Batch, segment: str, positions: NDArray[np.int64]) -> None:
        """Some configurations of a segment, with their rows."""
        write_segments(tx, {name: batch})
        first = self.source.read(f"configurations/{segment}/atom_start")[positions]
        for above in self.computed:
            if f"{above}/{segment}" not in self.nodes:
                continue
            features = above.startswith("features")
            group = tx.group(f"{above}/{name}")
            for array, per in ROWS["features" if features else "baselines"].items():
                here = f"{above}/{segment}/{array}"
                each = (3 if features else 1) if per == 0 else per
                counts = batch.n_atoms * each if per == 0 else np.full(len(batch), per)
                begin = (first if per == 0 else positions) * each
                stored = self.source.array(here)
                out = np.empty((int(counts.sum()), *stored.shape[1:]), stored.dtype)
                gather(self.source, here, begin, counts, np.cumsum(counts) - counts, out)
                if not features:
                    write_array(group, BASELINES[array], out)
                    continue
                kind = {"float32": "f4", "float64": "f8"}[str(out.dtype)]
                rows = create_array(group, FEATURES[array], out.shape, {"A_E": 1, "A_F": 3, "A_S": 6}[array], kind)
                if out.size:
                    rows[...] = out

    def _rest(self) -> None:
        """Models, studies, annotations of the configurations that are there, and the card."""
        uids = set(keys(self.selection.index.uid[self.selection.rows]))
        with self.made.transaction("clone", self.metadata, exclusive=True) as tx:
            for node in self.nodes.values():
                if node.path.partition("/")[0] in _WHOLE and "/" in node.path:
                    copy_node(self.source, node, tx.root)
            for a in every(self.source):
                write(tx.root, Annotation(a.kind, a.name, {k: v for k, v in a.values.items() if k in uids}))
            if "card" in self.nodes:
                tx.group("card", self.source.attributes("card"))
