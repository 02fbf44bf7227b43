"""``export``: a model as files of other programs, checked by running the program that reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import registry
from .configuration import Batch
from .errors import ComputeError
from .files import require_free
from .index import Index, read_batch
from .model import Model
from .store import Repository, Snapshot

#: Atoms of all configurations of a check: LAMMPS takes 0.2 to 1 ms for each, and large cells tell no more than small.
CHECK_ATOMS = 1_000


@dataclass
class ExportResult:
    """Files written and, if asked for, how far the other program is from the model."""

    files: list[Path]
    check: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"files": [str(f) for f in self.files], "check": self.check}


def export(
    repository: Repository,
    model: str,
    format: str = "lammps-snap",
    prefix: str | Path | None = None,
    check: int = 20,
    ref: str | None = None,
    force: bool = True,
) -> ExportResult:
    """Write a model in another program's format.

    :param prefix: path without suffix; default the model's name
    :param check: run the program on up to this many configurations of the store (fewer if they are large) and compare;
        0 = no check
    :param force: replace files that are there
    :raises SettingsError: there are some, and they are not to be replaced
    :raises ComputeError: the program gives other numbers than the model
    """
    snapshot = repository.at(ref)
    loaded = Model.load(snapshot, model)
    exporter = registry.make("exporters", format, {})
    place = Path(prefix or loaded.name)
    if not force:
        for suffix in exporter.suffixes:
            require_free(place.with_name(place.name + suffix))
    files = exporter.write(loaded, place)
    result = ExportResult(files)
    if check:
        batch = smallest(sample(snapshot, check), CHECK_ATOMS)
        result.check = exporter.check(loaded, files, batch)
        if not result.check["ok"]:
            raise ComputeError(
                f"the exported files give other numbers than the model: {result.check}. The files are at "
                f"{', '.join(map(str, files))}; please report this."
            )
    return result


def sample(snapshot: Snapshot, n: int) -> Batch:
    """About ``n`` configurations spread evenly over groups and segments, always the same ones."""
    index = Index.load(snapshot)
    places = [
        (s.name, mine)
        for s in index.live_segments()
        for lo, hi in s.group_ranges().values()
        if len(mine := lo + np.flatnonzero(index.live(s.name)[lo:hi]))
    ]
    if not places:
        return Batch.from_configurations([])
    total = sum(len(mine) for _, mine in places)
    if len(places) > n:  # fewer than the groups: evenly spaced groups, one from each
        chosen = np.unique(np.linspace(0, len(places) - 1, n).astype(int))
        wanted = [(places[i], 1) for i in chosen]
    else:
        wanted = [(p, max(1, n * len(p[1]) // total)) for p in places]
    picked: dict[str, list[Any]] = {}
    for (segment, mine), count in wanted:
        positions = mine[np.unique(np.linspace(0, len(mine) - 1, min(count, len(mine))).astype(int))]
        picked.setdefault(segment, []).append(positions)
    batches = []
    for segment, runs in picked.items():  # each is read once
        positions = np.concatenate(runs)
        first, last = int(positions[0]), int(positions[-1])
        batches.append(read_batch(snapshot, segment, first, last + 1).take(positions - first))
    return Batch.concatenate(batches)


def smallest(batch: Batch, atoms: int) -> Batch:
    """The smallest configurations that have so many atoms together at most, but at least one of each element."""
    order = np.argsort(batch.n_atoms, kind="stable")
    chosen, total, elements = [], 0, set[int]()
    for i in order.tolist():
        mine = set(batch.number[batch.atom_start[i] : batch.atom_start[i + 1]].tolist())
        if total + int(batch.n_atoms[i]) <= atoms or not mine <= elements:
            chosen.append(i)
            total += int(batch.n_atoms[i])
            elements |= mine
    return batch.take(np.array(sorted(chosen), np.int64))
