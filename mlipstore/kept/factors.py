"""Kept factors: the triangle of the unweighted rows of every segment x group x split x kind, stored once.

The columns of a triangle are the features, the composition N_t / N of energy rows, and the targets: label, baseline (if
there is one) and ones. So weights, element shifts, constants, the use of the baseline and the solver are chosen after
the rows were read for the last time (:mod:`mlipstore.kept.fit`). What depends on the rows themselves is the *set*:
baseline, frame, folds; its id is the hash of that, below the id of the features.

Within a set a segment is filed under its name and a hash of the part (training, test, fold, unused) that each of its
configurations plays. Nothing else is needed to know whether stored factors are the wanted ones: configurations that
came, went or changed sides give another hash, and only their segment is factored again. So factors are looked for in
the newest version first: those that were made later serve an older version of the data as well.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..blocks import DesignMatrix
from ..bulk_read import read_attributes, read_groups
from ..configuration import F8
from ..errors import DamagedStoreError
from ..features import Feature, StoredBaseline
from ..metrics import KINDS
from ..provenance import content_id
from ..schema import canonical
from ..segment_labels import SegmentGroups
from ..solve.factor import Factor
from ..split import SPLITS, TRAIN, UNUSED
from ..store import Snapshot
from ..weights import GroupTable
from .packing import pack, packed_size, unpack
from .room import DEFAULT_LIMIT, Size, left_out, size_of

I2 = NDArray[np.int16]
#: Part of a configuration: -1 unused, 0 training, 1 test, 2 + f training in fold f.
_UNUSED, _FOLDS = -1, 2


@dataclass(frozen=True)
class FactorSet:
    """What the rows and keys of kept factors depend on, besides the features and who is in which part.

    :param baseline: id of the reference potential whose values are a target column; None for none
    :param frame: axes of force and stress rows, as in ``[fit]``
    :param by_size: force rows have a key per number of atoms, so that weights may depend on it (group-size weights)
    :param folds: training configurations are dealt into this many keys, for cross-validation; 0 = not
    """

    feature: str
    baseline: str | None = None
    frame: str = "input"
    by_size: bool = False
    folds: int = 0

    @property
    def id(self) -> str:
        return content_id(canonical(dataclasses.asdict(self)))

    @property
    def path(self) -> str:
        return f"factors/{self.feature}/{self.id}"

    @property
    def targets(self) -> list[str]:
        """Names of the target columns."""
        return ["label", *(["baseline"] if self.baseline else []), "one"]

    def serves(self, other: FactorSet) -> bool:
        """Whether a fit that asks for ``other`` can use this set."""
        return (
            (self.feature, self.frame) == (other.feature, other.frame)
            and other.baseline in (self.baseline, None)
            and self.by_size >= other.by_size
            and other.folds in (self.folds, 0)
        )

    @classmethod
    def wanted(cls, matrix: DesignMatrix, table: GroupTable, folds: int = 0) -> FactorSet:
        """The set that a fit asks for."""
        baseline = None if matrix.baseline is None else matrix.baseline.id
        return cls(matrix.feature.id, baseline, matrix.frame, table.scale_by_size, folds)


@dataclass(frozen=True)
class Key:
    """Rows that share a factor.

    :param split: position in :data:`mlipstore.split.SPLITS`; ``kind`` in :data:`mlipstore.metrics.KINDS`
    :param fold: of training rows; -1 where there are no folds
    :param n_atoms: of each configuration; 0 where the key has any
    """

    group: str
    split: int
    fold: int
    kind: int
    n_atoms: int
    rows: int


@dataclass
class Leaf:
    """The factors of one segment.

    :param parts: part of each configuration ``(n,)``
    :param live: hash of which configurations count
    :param stored: a version that has them
    """

    segment: str
    parts: I2
    live: str
    stored: Snapshot | None = None

    @property
    def present(self) -> bool:
        """Whether they are stored."""
        return self.stored is not None

    @cached_property
    def name(self) -> str:
        return f"{self.segment}-{hashlib.blake2b(self.parts.astype('<i2').tobytes(), digest_size=6).hexdigest()}"


@dataclass
class KeptFactors:
    """The factors that a fit needs: which are there, and their triangles.

    :param snapshot: version of the rows
    :param leaves: one per segment that has a part in the fit, sorted by segment
    :param sizes: what the factors of each segment take; ``limit``: most bytes of all of them
    """

    snapshot: Snapshot
    settings: FactorSet
    n_features: int
    elements: list[str]
    leaves: list[Leaf]
    sizes: dict[str, Size] = field(default_factory=dict)
    limit: int = DEFAULT_LIMIT
    _cache: dict[str, tuple[list[Key], F8]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Columns of a triangle."""
        return self.n_features + len(self.elements) + len(self.settings.targets)

    @property
    def missing(self) -> list[Leaf]:
        """Those that are to be kept and are not there."""
        return [leaf for leaf in self.leaves if not leaf.present and leaf.segment not in self._left_out]

    @property
    def left_out(self) -> list[Leaf]:
        """Those that there is no room for: they are computed whenever they are needed."""
        return [leaf for leaf in self.leaves if leaf.segment in self._left_out]

    @cached_property
    def _left_out(self) -> frozenset[str]:
        if not self.sizes:
            return frozenset()
        return left_out(self.sizes, frozenset(leaf.segment for leaf in self.leaves if leaf.present), self.limit)

    def within(self, limit: int) -> KeptFactors:
        """The same with room for so many bytes."""
        return dataclasses.replace(self, limit=limit)

    def trapezoids(self, leaf: Leaf, hold: bool = False) -> Iterator[tuple[Key, F8]]:
        """Keys of a segment and their factors ``(min(rows, n), n)``; computed of the rows where they are not stored.

        :param hold: keep what was read in memory, for the next time
        """
        if hold and leaf.present and leaf.name not in self._cache:
            self._read_all()
        keys, packed = self._cache.get(leaf.name) or (self._read(leaf) if leaf.present else self._computed(leaf))
        if hold:
            self._cache[leaf.name] = keys, packed
        start = 0
        for key in keys:
            stop = start + packed_size(key.rows, self.n)
            yield key, unpack(packed[start:stop], key.rows, self.n)
            start = stop

    def _read_all(self) -> None:
        """Take all that are stored into memory: one by one each takes three round trips to the store."""
        for version in {id(leaf.stored): leaf.stored for leaf in self.leaves if leaf.stored is not None}.values():
            mine = [x for x in self.leaves if x.stored is version and x.name not in self._cache]
            paths = [f"{self.settings.path}/{leaf.name}" for leaf in mine]
            found, said = read_groups(version, paths, ["R"]), read_attributes(version, paths)
            for leaf, arrays, attributes in zip(mine, found.values(), said, strict=True):
                self._cache[leaf.name] = self._read(leaf, arrays["R"], attributes)

    def _read(
        self, leaf: Leaf, packed: F8 | None = None, attributes: dict[str, Any] | None = None
    ) -> tuple[list[Key], F8]:
        here = f"{self.settings.path}/{leaf.name}"
        assert leaf.stored is not None
        keys = _from_columns((attributes or leaf.stored.attributes(here))["keys"])
        if packed is None:
            packed = leaf.stored.read(f"{here}/R")
        if not np.isfinite(packed).all() or len(packed) != sum(packed_size(k.rows, self.n) for k in keys):
            raise DamagedStoreError(f"{self.snapshot.repository.path}: {here} has lost data. Restore it from a copy.")
        return keys, packed

    def _computed(self, leaf: Leaf) -> tuple[list[Key], F8]:
        return factor_segment(rows_matrix(self.snapshot, self.settings), self.settings, leaf.segment, leaf.parts)

    def target(self, shifts: F8, baseline: bool) -> F8:
        """Coefficients ``(n,)`` of the columns in label minus baseline plus element shifts."""
        t = np.zeros(self.n)
        t[self.n_features : self.n_features + len(self.elements)] = shifts
        t[self.n_features + len(self.elements)] = 1.0
        if baseline:
            t[-2] = -1.0
        return t


def find(matrix: DesignMatrix, table: GroupTable, folds: int = 0, only: FactorSet | None = None) -> KeptFactors:
    """The kept factors of a fit: those of the stored set that lacks the fewest segments, else of the set to make.

    :param only: of this set and no other
    """
    leaves = _leaves(matrix, table, 0)
    wanted = only or FactorSet.wanted(matrix, table, folds)
    versions = _versions(matrix.snapshot)
    best: tuple[tuple[int, bool, str], FactorSet, list[Leaf]] | None = None
    stored = [] if only else [s for v in versions for s in stored_sets(v, matrix.feature.id)]
    for candidate in {wanted.id: wanted, **{s.id: s for s in stored}}.values():
        if not candidate.serves(wanted):
            continue
        mine = _leaves(matrix, table, candidate.folds) if candidate.folds else [dataclasses.replace(x) for x in leaves]
        have = {name: v for v in versions if v.exists(candidate.path) for name in v.names(candidate.path)}
        for leaf in mine:
            leaf.stored = have.get(leaf.name)
        rank = (sum(not leaf.present for leaf in mine), candidate != wanted, candidate.id)
        if best is None or rank < best[0]:
            best = (rank, candidate, mine)
    assert best is not None
    kept = KeptFactors(matrix.snapshot, best[1], len(matrix.columns), matrix.elements, best[2])
    if not only:
        kept.sizes = {leaf.segment: size_of(matrix, kept.settings, leaf, kept.n) for leaf in kept.leaves}
        kept.limit = _limit(versions, kept.settings)
    return kept


def _limit(versions: list[Snapshot], settings: FactorSet) -> int:
    """The room that a set was given."""
    for snapshot in reversed(versions):
        if snapshot.exists(settings.path):
            return int(snapshot.attributes(settings.path).get("limit", DEFAULT_LIMIT))
    return DEFAULT_LIMIT


def _versions(snapshot: Snapshot) -> list[Snapshot]:
    """Where factors of the rows of a version are looked for: the newest version is the last."""
    newest = snapshot.repository.find()
    return [snapshot] if newest == snapshot.id else [snapshot, snapshot.repository.at()]


def stored_sets(snapshot: Snapshot, feature: str) -> list[FactorSet]:
    """The factor sets that a version holds for one featurization."""
    here = f"factors/{feature}"
    if not snapshot.exists(here):
        return []
    names = [f.name for f in dataclasses.fields(FactorSet)]
    every = (snapshot.attributes(f"{here}/{name}") for name in snapshot.names(here))
    return [FactorSet(**{k: a[k] for k in names}) for a in every]


def _leaves(matrix: DesignMatrix, table: GroupTable, folds: int) -> list[Leaf]:
    """What every segment has to be filed as; segments without a part in the fit are left out."""
    out = []
    for members in matrix.members():
        parts = parts_of(members, table, folds)
        if (parts != _UNUSED).any():
            live = hashlib.blake2b(np.packbits(matrix.index.live(members.name)).tobytes(), digest_size=6).hexdigest()
            out.append(Leaf(members.name, parts, live))
    return out


def parts_of(members: SegmentGroups, table: GroupTable, folds: int) -> I2:
    """Part of each configuration of a segment ``(n,)``."""
    split = table.split(members)
    parts = np.where(members.live & (split != UNUSED), split, _UNUSED).astype(np.int16)
    if folds:
        training = parts == TRAIN
        parts[training] = _FOLDS + fold_of(members.geometry[training], table.seed, folds)
    return parts


def fold_of(geometry: NDArray[np.uint8], seed: int, folds: int) -> NDArray[np.int64]:
    """Fold of each configuration by its content, so that copies share one and no fold changes when data is added."""
    prefix = int(seed).to_bytes(8, "little", signed=True)
    digests = [hashlib.blake2b(prefix + g.tobytes(), digest_size=8, person=b"mlipstore fold") for g in geometry]
    return np.array([int.from_bytes(d.digest(), "little") % folds for d in digests], np.int64)


# ------------------------------------------------------------------ attributes
def columns_of(keys: list[Key]) -> dict[str, list[Any]]:
    """Keys as the attribute that is stored."""
    return {
        "group": [k.group for k in keys],
        "split": [SPLITS[k.split] for k in keys],
        "fold": [k.fold for k in keys],
        "kind": [KINDS[k.kind] for k in keys],
        "n_atoms": [k.n_atoms for k in keys],
        "rows": [k.rows for k in keys],
    }


def _from_columns(columns: dict[str, list[Any]]) -> list[Key]:
    names = ("group", "split", "fold", "kind", "n_atoms", "rows")
    rows = zip(*(columns[name] for name in names), strict=True)
    return [Key(g, SPLITS.index(s), f, KINDS.index(k), a, n) for g, s, f, k, a, n in rows]


# ------------------------------------------------------------------- computing
def rows_matrix(snapshot: Snapshot, settings: FactorSet) -> DesignMatrix:
    """The rows with every column of a triangle but the targets."""
    feature = Feature.load(snapshot, settings.feature)
    baseline = None if settings.baseline is None else StoredBaseline.load(snapshot, settings.baseline)
    return DesignMatrix(snapshot, feature, baseline, True, {}, frame=settings.frame, separate=True)


def factor_segment(matrix: DesignMatrix, settings: FactorSet, segment: str, parts: I2) -> tuple[list[Key], F8]:
    """Factor the rows of one segment: its keys, and their packed trapezoids one after another.

    :param parts: part of each configuration of the segment
    """
    ids: list[NDArray[np.int64]] = []
    names: list[tuple[int, str, int, int]] = []
    active: dict[int, Factor] = {}
    done: dict[int, tuple[int, F8]] = {}

    def finish(upto: tuple[int, str]) -> None:
        """Pack the keys of groups that no more rows come of."""
        for k in [k for k in active if names[k][:2] < upto]:
            factor = active.pop(k)
            done[k] = factor.n_rows, pack(factor.R, factor.n_rows)

    wanted = np.where(parts == _UNUSED, UNUSED, TRAIN).astype(np.int8)
    for labels, block in matrix.blocks(lambda _: wanted, [segment]):
        if not ids:
            ids = _key_ids(labels.group, parts, labels.n_atoms if settings.by_size else None, names)
        mine = ids[block.kind][block.configuration]
        targets = [block.b, np.ones(len(mine))]
        if labels.reference is not None:
            targets.insert(1, labels.reference[block.kind][block.row])
        B = np.column_stack(targets)
        finish(names[mine[0]][:2])
        for k in np.unique(mine).tolist():
            if k not in active:
                active[k] = Factor(matrix.n_columns, B.shape[1])
            rows = mine == k
            if rows.all():
                active[k].update_runs(block.runs, B)
            else:
                active[k].update_runs([run[rows[at]] for at, run in block.pieces()], B[rows])
    finish((len(KINDS), ""))
    keys = [_key(names[k], done[k][0]) for k in sorted(done)]
    return keys, np.concatenate([done[k][1] for k in sorted(done)]) if done else np.zeros(0)


def _key_ids(
    group: NDArray[Any], parts: I2, n_atoms: NDArray[np.int64] | None, names: list[tuple[int, str, int, int]]
) -> list[NDArray[np.int64]]:
    """Number of the key of each configuration, for each kind of row; fills ``names`` with what the keys are."""
    _, code = np.unique(group.astype(str), return_inverse=True)
    out = []
    for kind in range(len(KINDS)):
        size = n_atoms if n_atoms is not None and kind == 1 else np.zeros(len(group), np.int64)
        _, first, inverse = np.unique(
            np.column_stack([code.ravel(), parts, size]), axis=0, return_index=True, return_inverse=True
        )
        out.append(len(names) + inverse.ravel())
        names += [(kind, str(group[i]), int(parts[i]), int(size[i])) for i in first]
    return out


def _key(name: tuple[int, str, int, int], rows: int) -> Key:
    kind, group, part, n_atoms = name
    fold = part - _FOLDS if part >= _FOLDS else -1
    return Key(group, TRAIN if part >= _FOLDS else part, fold, kind, n_atoms, rows)
