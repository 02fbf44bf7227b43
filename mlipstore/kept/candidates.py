"""Configurations a model was not fitted to, and their rows as its fit would weigh them: what ``select`` offers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..compressed import read_file
from ..computing import type_index
from ..configuration import F8, Batch, Configuration
from ..errors import ComputeError, InputError, SettingsError, listed, unknown_name
from ..featurize import parts
from ..index import keys, read_batch
from ..model import Model
from ..readers import reader_of, recognise, require_taken
from ..reading import ReadOptions, ReadReport
from ..segment_labels import SegmentGroups
from ..split import TRAIN
from .problem import Refit


@dataclass
class Candidates:
    """What can be chosen.

    :param batch: all of it
    :param stored: which of it comes from the store
    :param copies: how many were left out because the store holds the same geometry, or they come twice
    """

    batch: Batch
    stored: NDArray[np.bool_]
    copies: int
    report: ReadReport

    def __len__(self) -> int:
        return len(self.batch)


def gathered(
    found: Refit,
    sources: Sequence[str | Path],
    groups: Sequence[str] = (),
    options: ReadOptions | None = None,
    format: str | None = None,
) -> Candidates:
    """Candidates of files and folders, then those of groups of the store."""
    files = from_files(found, sources, options, format)
    stored = from_groups(found, groups)
    both = [x.batch for x in (files, stored) if len(x)] or [files.batch]
    marks = np.concatenate([files.stored, stored.stored])
    return Candidates(Batch.concatenate(both), marks, files.copies + stored.copies, files.report)


def from_files(
    found: Refit, sources: Sequence[str | Path], options: ReadOptions | None = None, format: str | None = None
) -> Candidates:
    """Configurations of files or folders, labelled or not, without copies of each other and of stored ones.

    :raises InputError: a source cannot be read
    """
    report = ReadReport()
    known = set(keys(found.problem.matrix.index.geometry))
    kept: list[Configuration] = []
    copies = 0
    options = options or ReadOptions()
    formats = [recognise(Path(source), format) for source in sources]
    require_taken(formats, options)
    for source, name in zip(map(Path, sources), formats, strict=True):
        reader = reader_of(name, options)
        for file in reader.files(source):
            for c in read_file(reader, file, report, source):
                here = c.geometry()
                if here in known:
                    copies += 1
                    continue
                known.add(here)
                kept.append(c)
    return Candidates(Batch.from_configurations(kept), np.zeros(len(kept), bool), copies, report)


def from_groups(found: Refit, groups: Sequence[str]) -> Candidates:
    """Configurations of groups of the store that the model was not fitted to.

    :raises UnknownNameError: there is no such group
    """
    table, matrix = found.problem.table, found.problem.matrix
    for group in groups:
        if group not in table.groups:
            raise unknown_name("group", group, table.groups)
    known = {key for members in matrix.members() for key in keys(members.geometry[_fitted(found, members)])}
    batches, copies = [], 0
    for members in matrix.members():
        mine = np.isin(members.group.astype(str), list(groups)) & members.live
        if not mine.any():
            continue
        chosen = []
        for i, key in zip(np.flatnonzero(mine), keys(members.geometry[mine]), strict=True):
            if key in known:
                copies += 1
            else:
                known.add(key)
                chosen.append(i)
        batches.append(read_batch(matrix.snapshot, members.name).take(np.array(chosen, np.int64)))
    batch = Batch.concatenate(batches) if batches else Batch.from_configurations([])
    return Candidates(batch, np.ones(len(batch), bool), copies, ReadReport())


def _fitted(found: Refit, members: SegmentGroups) -> NDArray[np.bool_]:
    """Which configurations of a segment the model was fitted to."""
    table = found.problem.table
    weighted: NDArray[np.bool_] = np.any(table.weight > 0.0, axis=1)
    return np.asarray(members.live & weighted[table.codes(members)] & (table.split(members) == TRAIN))


@dataclass
class ConfigurationRows:
    """Unweighted rows of one configuration in the columns of a fit: energy per atom ``(K,)``, the others ``(k, K)``."""

    energy: F8
    force: F8
    stress: F8

    def weighted(self, weights: F8) -> F8:
        """All rows that have a weight, one below the other."""
        every = (self.energy[None], self.force, self.stress)
        return np.concatenate([w * rows for w, rows in zip(weights, every, strict=True) if w > 0.0])


class CandidateRows:
    """Rows of candidates, computed when they are needed and kept as far as memory allows.

    :param allowance: bytes of rows to keep
    """

    def __init__(self, model: Model, batch: Batch, allowance: int) -> None:
        self.model, self.batch = model, batch
        self._allowance, self._used = allowance, 0
        self._kept: OrderedDict[int, F8] = OrderedDict()
        types = type_index(batch.number, model.descriptor.elements)
        if (types < 0).any():
            i = int(np.searchsorted(batch.atom_start, int(np.argmax(types < 0)), side="right")) - 1
            raise ComputeError(
                f"{batch.place(i)} has an element that model {model.name!r} does not know. It was fitted for "
                f"{' '.join(model.descriptor.elements)}: choose among configurations of these."
            )
        self.counts: F8 = np.zeros((len(batch), len(model.descriptor.elements)))
        np.add.at(self.counts, (np.repeat(np.arange(len(batch)), batch.n_atoms), types), 1.0)

    def all(self) -> Iterator[tuple[int, ConfigurationRows]]:
        """Rows of every candidate in turn; a few in memory at once."""
        for first, last in parts(self.batch, len(self.model.columns)):
            yield from self._computed(first, last)

    def fresh(self, i: int) -> ConfigurationRows:
        """Rows of one candidate, computed."""
        ((_, rows),) = self._computed(i, i + 1)
        return rows

    def of(self, i: int, form: Callable[[ConfigurationRows], F8]) -> F8:
        """``form`` of the rows of one candidate."""
        if i in self._kept:
            self._kept.move_to_end(i)
            return self._kept[i]
        return self.keep(i, form(self.fresh(i)))

    def keep(self, i: int, rows: F8) -> F8:
        """Remember rows; those that were not needed for longest make room."""
        if rows.nbytes > self._allowance:
            return rows
        self._kept[i] = rows
        self._used += rows.nbytes
        while self._used > self._allowance:
            _, old = self._kept.popitem(last=False)
            self._used -= old.nbytes
        return rows

    def _computed(self, first: int, last: int) -> Iterator[tuple[int, ConfigurationRows]]:
        batch = self.batch.slice(first, last)
        made = self.model.descriptor.rows(batch)
        K = len(self.model.columns) + len(self.model.constants)
        for k, i in enumerate(range(first, last)):
            a, b, n = int(batch.atom_start[k]), int(batch.atom_start[k + 1]), int(batch.n_atoms[k])
            energy = np.zeros(K)
            energy[: len(self.model.columns)] = made.energy[k]
            if self.model.constants:
                energy[len(self.model.columns) :] = self.counts[i]
            yield (
                i,
                ConfigurationRows(
                    energy / n,
                    _widened(made.force[3 * a : 3 * b], K),
                    _widened(made.stress[6 * k : 6 * k + 6] if batch.pbc[k].all() else made.stress[:0], K),
                ),
            )


def _widened(rows: F8, width: int) -> F8:
    return np.column_stack([rows, np.zeros((len(rows), width - rows.shape[1]))])


def weights_of(found: Refit, batch: Batch) -> F8:
    """Weight of the energy, force and stress rows of each candidate ``(n, 3)`` in the fit of a model.

    Those of its group; of a group that the fit does not know, the median over the training configurations.
    """
    table = found.problem.table
    groups = {g: i for i, g in enumerate(table.groups)}
    fitted = table.weight.any(axis=1) & (table.sizes[:, 0] > 0)
    if not fitted.any():
        raise SettingsError(f"model {found.model.name!r} has no training configurations in the store.")
    effective = table.weight.copy()
    if table.scale_by_size:
        effective /= np.maximum(1, table.sizes[:, :1])
    typical = np.array([_median(effective[fitted, k], table.sizes[fitted, 0]) for k in range(3)])
    out = np.array([
        effective[groups[str(g)]] if str(g) in groups and fitted[groups[str(g)]] else typical for g in batch.group
    ]).reshape(-1, 3)  # fmt: skip
    if table.scale_by_size:
        out[:, 1] /= 3 * batch.n_atoms
        out[:, 2] /= 6
    if len(out) and not out.any(axis=1).all():
        i = int(np.argmin(out.any(axis=1)))
        raise SettingsError(
            f"{batch.place(i)}: the fit of {found.model.name!r} gives its group no weight. Set weights."
        )
    return out


def _median(values: F8, counts: NDArray[np.int64]) -> float:
    order = np.argsort(values)
    return float(values[order][np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2)])


def require_some(candidates: Candidates, sources: Sequence[str | Path], groups: Sequence[str]) -> None:
    """:raises InputError: nothing is left to choose from; says why."""
    if len(candidates):
        return
    what = listed([*map(str, sources), *(f"group {g!r}" for g in groups)], limit=3)
    why = f": all {candidates.copies:,} are in the store or in the fit already" if candidates.copies else ""
    raise InputError(f"there is nothing to choose from in {what}{why}. Give other configurations.")


class Neighbours:
    """Which candidates are so near to a stored one, or to one that was taken, that they would teach nothing new.

    The distance of two configurations is the root mean square over the columns of the difference of their energy rows
    per atom, in standard deviations of the stored rows: it sees copies that were turned, shifted or renumbered.

    :param energy: energy rows per atom of the candidates ``(n, K)``
    :param distance: what is nearer than this counts as a near-duplicate; 0 for none
    """

    def __init__(self, found: Refit, candidates: Candidates, energy: F8, distance: float) -> None:
        self._distance = distance
        self._taken: list[F8] = []
        if not distance:
            return
        mean, deviation = _spread(found)
        self._used = deviation > 1e-12 * np.abs(mean)
        self._mean, self._deviation = mean[self._used], deviation[self._used]
        self._own = self._standard(energy)
        self._near = np.zeros(len(energy), bool)
        for rows, fitted in _energy_rows(found):
            stored = self._standard(rows)
            for start in range(0, len(energy), 1024):
                here = slice(start, start + 1024)
                near = self._squares(self._own[here], stored) < distance**2
                # a candidate of the store is not to be compared with itself
                self._near[here] |= (near & (fitted | ~candidates.stored[here, None])).any(axis=1)

    def add(self, i: int) -> bool:
        """Take a candidate, unless it is a near-duplicate."""
        if not self._distance:
            return True
        mine = self._own[i : i + 1]
        if self._near[i] or (self._taken and self._squares(mine, np.stack(self._taken)).min() < self._distance**2):
            return False
        self._taken.append(self._own[i])
        return True

    def _standard(self, rows: F8) -> F8:
        return np.asarray((rows[:, self._used] - self._mean) / self._deviation)

    def _squares(self, a: F8, b: F8) -> F8:
        """Mean squared differences of all pairs."""
        both = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b) - 2.0 * a @ b.T
        return np.asarray(both / max(1, a.shape[1]))


def _energy_rows(found: Refit) -> Iterator[tuple[F8, NDArray[np.bool_]]]:
    """Stored energy rows per atom and whether they were fitted, by segment; none where rows are not stored."""
    matrix = found.problem.matrix
    for members in matrix.members():
        if members.name in matrix.computed or not members.live.any():
            continue
        n = matrix.snapshot.read(f"configurations/{members.name}/n_atoms")[:, None]
        rows = matrix.snapshot.read(f"features/{matrix.feature.id}/{members.name}/A_E") / n
        if matrix.constant:
            rows = np.column_stack([rows, matrix.composition(members.name) / n])
        yield rows[members.live], _fitted(found, members)[members.live]


def _spread(found: Refit) -> tuple[F8, F8]:
    """Mean and standard deviation of the stored energy rows (Chan et al. 1983, doi:10.1080/00031305.1983.10483115)."""
    count, mean, squares = 0, np.zeros(len(found.x)), np.zeros(len(found.x))
    for rows, _ in _energy_rows(found):
        n, here = len(rows), rows.mean(axis=0)
        squares += ((rows - here) ** 2).sum(axis=0) + (here - mean) ** 2 * count * n / (count + n)
        mean += (here - mean) * n / (count + n)
        count += n
    return mean, np.sqrt(squares / max(1, count))
