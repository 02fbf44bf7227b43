"""``remove``, ``restore``, ``relabel``, ``mask``: which configurations count, and corrected labels, as one new version.

Segments never change: a removed configuration is marked in the index; a corrected one is marked as replaced and written
again, in a new segment. Earlier versions stay as they were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..arrays import overwrite
from ..compressed import read_file
from ..configuration import Batch
from ..errors import InputError, SettingsError, counted, listed
from ..index import DELETED, LIVE, MOVED, REPLACED, Index
from ..metrics import KINDS
from ..provenance import commit_metadata, new_run
from ..reading import ReadOptions, ReadReport, voigt_order
from ..store import Repository, StoreConflictError
from ..units import factor
from .query import select
from .successors import Successors, carried_notes

#: Attempts of a change while others change the same configurations.
_ATTEMPTS = 20
#: Gives the changed configurations of a batch, or the batch itself.
Change = Callable[[Batch], Batch]


@dataclass
class EditResult:
    """What a change did, or would do.

    :param selected: configurations that the expression selected
    :param changed: of these, those that it changed; the others were so already
    :param changes: how many got another energy, force, stress or group
    :param unmatched: where labels come from a file, those for which it has no other ones
    :param not_carried: features and baselines whose rows ``featurize`` has to compute for what was replaced
    """

    verb: str
    selected: int = 0
    changed: int = 0
    groups: dict[str, int] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    not_carried: list[str] = field(default_factory=list)
    unmatched: int = 0
    snapshot: str = ""
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


# -------------------------------------------------------------- which ones count
def remove(
    repository: Repository, where: str, message: str | None = None, dry_run: bool = False, command: str = "remove"
) -> EditResult:
    """Configurations that an expression selects count no more; earlier versions have them.

    :raises SettingsError, UnknownNameError: the expression is not one
    """
    return _mark(repository, "remove", where, LIVE, DELETED, message, dry_run, command)


def restore(
    repository: Repository, where: str, message: str | None = None, dry_run: bool = False, command: str = "restore"
) -> EditResult:
    """Removed configurations that an expression selects count again."""
    return _mark(repository, "restore", where, DELETED, LIVE, message, dry_run, command)


def _mark(
    repository: Repository, verb: str, where: str, old: int, new: int, message: str | None, dry_run: bool, command: str
) -> EditResult:
    def once() -> EditResult:
        selection = select(repository.at(), where, state=old)
        n = len(selection)
        result = EditResult(verb, n, n, selection.groups(), dry_run=dry_run)
        if dry_run or not n:
            return result
        metadata = _metadata(verb, command, where, result)
        with repository.transaction(message or f"{verb} {counted(n, 'configuration')}", metadata) as tx:
            tx.at_commit(MarkRows(selection.index, np.flatnonzero(selection.rows), old, np.uint8(new)))
        result.snapshot = tx.snapshot_id
        return result

    return _until_alone(once)


class MarkRows:
    """Sets the state of rows of the index at commit, if nobody else has changed them since they were selected."""

    def __init__(self, index: Index, rows: NDArray[np.int64], old: int, new: NDArray[np.uint8] | np.uint8) -> None:
        self.names = [s.name for s in index.segments]
        self.rows, self.old, self.new = rows, old, new
        self.place = index.snapshot.repository.path

    def __call__(self, root: zarr.Group) -> None:
        index = root["index"]
        assert isinstance(index, zarr.Group)
        segments: Any = index.attrs["segments"]
        array = index["state"]
        assert isinstance(array, zarr.Array)
        state = np.array(array[:])
        if [s["name"] for s in segments[: len(self.names)]] != self.names or (state[self.rows] != self.old).any():
            raise StoreConflictError(
                f"{self.place}: another process has changed the same configurations. Run it again."
            )
        state[self.rows] = self.new
        overwrite(index, "state", state)


# -------------------------------------------------------------------- new labels
@dataclass(frozen=True)
class Relabel:
    """What ``relabel`` changes; labels that are missing stay missing.

    :param group: the new group
    :param energy_shift: eV per atom of an element, added
    :param energy_scale: factor on energies; ``force_scale``, ``stress_scale`` likewise
    :param stress_unit: unit that stresses really had; ``stress_was`` the one they were read in
    :param stress_order: what the six numbers that are stored as ``xx yy zz yz xz xy`` really are
    :param virial: unit of energy of virials that were read as stresses (in ``stress_was``, eV/Å^3 if not given): a
        stress is minus the virial over the volume of the cell
    :param labels: file of the same geometries with other labels, ``format`` and ``options`` as in ``ingest``
    """

    group: str | None = None
    energy_shift: Mapping[str, float] = field(default_factory=dict)
    energy_scale: float = 1.0
    force_scale: float = 1.0
    stress_scale: float = 1.0
    stress_unit: str | None = None
    stress_was: str | None = None
    stress_order: str | None = None
    virial: str | None = None
    labels: str | Path | None = None
    format: str | None = None
    options: ReadOptions = field(default_factory=ReadOptions)

    def change(self) -> Change:
        """The change of a batch.

        :raises SettingsError: there is none, or a value makes no sense
        :raises InputError: the file with labels cannot be read, or has two different labels for one geometry
        """
        from ase.data import atomic_numbers

        if self.group == "" or self.group == "*":
            raise SettingsError(f"a group cannot be called {self.group!r}.")
        stress = self.stress_scale * self._stress_factor()
        order = list(voigt_order(self.stress_order)) if self.stress_order is not None else list(range(6))
        scales = (self.energy_scale, self.force_scale, stress)
        if not all(np.isfinite(s) and s != 0 for s in scales):
            raise SettingsError("a scale is a finite number other than 0; mask makes labels missing.")
        shift = np.zeros(128)
        for symbol, value in self.energy_shift.items():
            if symbol not in atomic_numbers:
                raise SettingsError(f"--energy-shift names {symbol!r}, which is no element. Write W=-1.5.")
            if not np.isfinite(value):
                raise SettingsError(f"--energy-shift {symbol}: {value} is no finite number.")
            shift[atomic_numbers[symbol]] = value
        same = all(s == 1 for s in scales) and order == list(range(6)) and self.virial is None and not shift.any()
        if self.group is None and same and self.labels is None:
            raise SettingsError(
                "nothing to change: say --group, --stress-unit, --stress-scale, --stress-order (other than xx yy zz yz "
                "xz xy), --virial, --energy-shift, --energy-scale, --force-scale or --labels."
            )
        table = None if self.labels is None else _labels_of(Path(self.labels), self.format, self.options)

        def change(batch: Batch) -> Batch:
            energy, force, stresses = batch.energy.copy(), batch.force.copy(), batch.stress.copy()
            if table is not None:
                for i, key in enumerate(batch.geometry):
                    found = table.get(key.tobytes())
                    if found is None:
                        continue
                    atoms = slice(int(batch.atom_start[i]), int(batch.atom_start[i + 1]))
                    energy[i] = energy[i] if np.isnan(found[0]) else found[0]
                    force[atoms] = force[atoms] if found[1] is None else found[1]
                    stresses[i] = stresses[i] if found[2] is None else found[2]
            stresses = stresses[:, order] * scales[2]
            if self.virial is not None:
                stresses /= _volumes(batch)[:, None]
            owner = np.repeat(np.arange(len(batch)), batch.n_atoms)
            energy = energy * scales[0] + np.bincount(owner, shift[batch.number], len(batch))
            group = batch.group if self.group is None else np.full(len(batch), self.group, object)
            return replace(batch, energy=energy, force=force * scales[1], stress=stresses, group=group)

        return change

    def _stress_factor(self) -> float:
        """What the units say that stresses, or virials, are multiplied by."""
        if self.virial is not None:
            if self.stress_unit is not None:
                raise SettingsError("a virial has a unit of energy, not of stress: leave out --stress-unit.")
            return -factor("energy", self.virial) / factor("stress", self.stress_was or "eV/Å^3")
        if (self.stress_unit is None) != (self.stress_was is None):
            raise SettingsError("a stress unit is corrected by two: --stress-was bar --stress-unit kbar.")
        if self.stress_unit is None or self.stress_was is None:
            return 1.0
        return factor("stress", self.stress_unit) / factor("stress", self.stress_was)


def _volumes(batch: Batch) -> NDArray[np.float64]:
    """Volume of each cell in Å^3.

    :raises SettingsError: a configuration with a stress has none
    """
    none = np.isfinite(batch.stress).any(axis=1) & ~(batch.volume > 0.0)
    if none.any():
        raise SettingsError(
            f"{batch.place(int(np.argmax(none)))} is not periodic in all directions: a virial over no volume is no "
            "stress. Nothing was changed. Add to the expression: and periodic."
        )
    return batch.volume


_Labels = tuple[float, NDArray[Any] | None, NDArray[Any] | None]


def _labels_of(path: Path, format: str | None, options: ReadOptions) -> dict[bytes, _Labels]:
    """Energy, forces and stress of each geometry of a file."""
    from ..readers import reader_for

    _, reader = reader_for(path, options, format)
    out: dict[bytes, _Labels] = {}
    for file in reader.files(path):
        for c in read_file(reader, file, ReadReport(), path):
            stress = c.stress if c.stress is not None and np.any(c.stress) else None
            found, key = (c.energy, c.forces, stress), c.geometry()
            if key in out and not _same(out[key], found):
                raise InputError("another frame has the same geometry and other labels.", str(file), c.frame)
            out[key] = found
    if not out:
        raise InputError("no configurations found.", str(path))
    return out


def _same(a: _Labels, b: _Labels) -> bool:
    def equal(x: Any, y: Any) -> bool:
        return x is y if x is None or y is None else np.array_equal(x, y, equal_nan=True)

    return all(equal(x, y) for x, y in zip(a, b, strict=True))


def relabel(
    repository: Repository,
    where: str,
    wanted: Relabel,
    message: str | None = None,
    dry_run: bool = False,
    command: str = "relabel",
) -> EditResult:
    """Correct labels or the group of the configurations that an expression selects.

    :raises SettingsError: nothing to change, or a value that makes no sense
    """
    change = wanted.change()
    result = _replace(repository, "relabel", where, change, message, dry_run, command)
    if wanted.labels is not None:
        result.unmatched = result.selected - result.changed
    return result


def mask(
    repository: Repository,
    where: str,
    kinds: tuple[str, ...],
    message: str | None = None,
    dry_run: bool = False,
    command: str = "mask",
) -> EditResult:
    """Labels of these kinds become missing.

    :param kinds: of ``energy``, ``force`` and ``stress``
    :raises SettingsError: no kind, or one that there is not
    """
    if not kinds or any(k not in KINDS for k in kinds):
        raise SettingsError(f"say which labels become missing: {listed(f'--{k}' for k in KINDS)}.")

    def change(batch: Batch) -> Batch:
        return replace(batch, **{k: np.full_like(getattr(batch, k), np.nan) for k in kinds})

    return _replace(repository, "mask", where, change, message, dry_run, command)


def _replace(
    repository: Repository, verb: str, where: str, change: Change, message: str | None, dry_run: bool, command: str
) -> EditResult:
    def once() -> EditResult:
        selection = select(repository.at(), where)
        result = EditResult(verb, len(selection), dry_run=dry_run)
        changes: Counter[str] = Counter()
        groups: Counter[str] = Counter()
        work = Successors(selection)
        if dry_run:
            for batch, _ in work.changed(change, changes):
                result.changed += len(batch)
                groups.update(batch.group.tolist())
            result.groups, result.changes = dict(sorted(groups.items())), dict(changes)
            return result
        metadata = _metadata(verb, command, where, result)
        with repository.transaction(verb, metadata) as tx:
            for batch, _ in work.write(tx, change, changes):
                result.changed += len(batch)
                groups.update(batch.group.tolist())
            result.groups, result.changes = dict(sorted(groups.items())), dict(changes)
            result.not_carried = sorted(work.not_carried)
            if result.changed:
                tx.message = message or f"{verb} {counted(result.changed, 'configuration')}"
                tx.metadata = _metadata(verb, command, where, result)
                states = np.where(work.moved(), MOVED, REPLACED).astype(np.uint8)
                tx.at_commit(MarkRows(selection.index, work.rows(), LIVE, states))
                tx.at_commit(carried_notes(repository, work))
        result.snapshot = tx.snapshot_id
        return result

    return _until_alone(once)


def _until_alone(once: Callable[[], EditResult]) -> EditResult:
    """Select and change again when another process has changed the same configurations meanwhile."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return once()
        except StoreConflictError:
            continue
    return once()


def _metadata(verb: str, command: str, where: str, result: EditResult) -> dict[str, Any]:
    return commit_metadata(verb, command, new_run(), where=where, configurations=result.changed,
                           groups=result.groups, changes=result.changes)  # fmt: skip
