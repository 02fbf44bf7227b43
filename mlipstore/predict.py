"""``predict``: energies, forces and stresses of the configurations of any file, and the errors where it has labels."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from .bookkeeping import ZERO_STRESS, Checks, check
from .compressed import read_file
from .computing import Reference
from .configuration import Batch, Configuration
from .errors import SettingsError
from .executors import Executor
from .executors.serial import Serial
from .files import written_whole
from .metrics import Entry, ErrorTable
from .model import Model
from .readers import reader_for
from .reading import ReadOptions, ReadReport
from .split import TEST
from .writers.extxyz import text_value

_BATCH_ATOMS = 2048


@dataclass
class PredictResult:
    """How many configurations were predicted, where they went, and their errors where labels were there."""

    configurations: int = 0
    atoms: int = 0
    output: Path | None = None
    errors: list[Entry] = field(default_factory=list)
    checks: Checks = field(default_factory=Checks)
    report: ReadReport = field(default_factory=ReadReport)

    def to_json(self) -> dict[str, Any]:
        return {
            "configurations": self.configurations,
            "atoms": self.atoms,
            "output": None if self.output is None else str(self.output),
            "errors": [vars(e) for e in self.errors],
            "zero_stress": self.checks.zero_stress,
            "reader": self.report.to_json(),
        }


def predict(
    model: Model,
    source: str | Path,
    output: str | Path | None = None,
    options: ReadOptions | None = None,
    format: str | None = None,
    zero_stress: str = "missing",
    executor: Executor | None = None,
) -> PredictResult:
    """Predict every configuration of a file or folder, streaming; the result does not depend on the executor.

    Energies have the zero of the fit: its ``element_shifts`` are added to labels before they are compared.

    :param output: extxyz file for positions and predicted energy, forces and stress (17 digits)
    :param zero_stress: as in :func:`mlipstore.ingest.ingest`: ``missing``: a stress of six zeros is no label;
        ``value``: it means zero pressure
    :param executor: where configurations are evaluated; here when None, or when workers would come too late
    :raises InputError: the source cannot be read, or a configuration makes no sense
    """
    if zero_stress not in ZERO_STRESS:
        raise SettingsError(f"zero_stress is {zero_stress!r}; it is 'missing' or 'value'.")
    result = PredictResult(output=None if output is None else Path(output))
    path = Path(source)
    _, reader = reader_for(path, options or ReadOptions(), format)

    def configurations() -> Iterator[Configuration]:
        for file in reader.files(path):
            yield from read_file(reader, file, result.report, path)

    errors = _Errors(model.element_shifts)
    with _written_whole(result.output) as handle:
        sound = (check(batch, zero_stress, result.checks, result.report) for batch in _batches(configurations()))
        for batch, values in _evaluated(model, sound, executor or Serial()):
            result.configurations += len(batch)
            result.atoms += len(batch.number)
            errors.add(batch, values, result.report)
            if handle is not None:
                for i in range(len(batch)):
                    write_extxyz_frame(handle, batch, values, i)
    result.errors = errors.entries()
    return result


@dataclass(frozen=True)
class _Evaluation:
    """What a worker does with a batch."""

    model: Model

    def __call__(self, batch: Batch) -> Reference:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):  # the last bits depend on the number of BLAS threads
            return self.model.predict(batch)


def _evaluated(model: Model, batches: Iterator[Batch], executor: Executor) -> Iterator[tuple[Batch, Reference]]:
    """Batches with what the model says of them, in their order; workers are started for what takes longer than that."""
    evaluate = _Evaluation(replace(model, snapshot=None))
    began = time.monotonic()
    while executor.n_workers > 1 and time.monotonic() - began < executor.warm_up:
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, evaluate(batch)
    under_way: deque[Batch] = deque()

    def sent() -> Iterator[Batch]:
        for batch in batches:
            under_way.append(batch)
            yield batch

    for values in executor.map(evaluate, sent()):
        yield under_way.popleft(), values


@contextmanager
def _written_whole(path: Path | None) -> Iterator[TextIO | None]:
    """A file that appears at ``path`` only when all of it was written."""
    if path is None:
        yield None
        return
    with written_whole(path) as part, open(part, "w", encoding="utf-8") as handle:
        yield handle


def _batches(configurations: Iterator[Configuration]) -> Iterator[Batch]:
    waiting: list[Configuration] = []
    atoms = 0
    for c in configurations:
        waiting.append(c)
        atoms += len(c)
        if atoms >= _BATCH_ATOMS:
            yield Batch.from_configurations(waiting)
            waiting, atoms = [], 0
    if waiting:
        yield Batch.from_configurations(waiting)


class _Errors:
    """Error table whose groups are known only as they come.

    :param shifts: energy per atom of an element in eV that the fit added to labels, and is added to those here
    """

    def __init__(self, shifts: Mapping[str, float]) -> None:
        from ase.data import atomic_numbers

        self.tables: dict[str, ErrorTable] = {}
        self.shift = np.zeros(max(atomic_numbers.values()) + 1)
        for element, value in shifts.items():
            self.shift[atomic_numbers[element]] = value
        self.told = ", ".join(f"{element} {value:+g}" for element, value in shifts.items())

    def add(self, batch: Batch, values: Reference, report: ReadReport) -> None:
        n = batch.n_atoms
        owner = np.repeat(np.arange(len(batch)), n)
        energy = batch.energy + np.bincount(owner, self.shift[batch.number], len(batch))
        labelled = int(np.isfinite(energy).sum())
        if self.told and labelled:
            report.assume(f"the zero of energy of the fit: labels get {self.told} eV per atom", labelled)
        owners = [np.arange(len(batch)), np.repeat(np.arange(len(batch)), 3 * n), np.repeat(np.arange(len(batch)), 6)]
        stress = np.where(batch.pbc.all(axis=1, keepdims=True), batch.stress, np.nan)  # no volume, no stress
        labels = [energy / n, batch.force.ravel(), stress.ravel()]
        predicted = [values.energy / n, values.force.ravel(), values.stress.ravel()]
        for group in dict.fromkeys(map(str, batch.group)):
            table = self.tables.setdefault(group, ErrorTable([group]))
            mine = batch.group.astype(str) == group
            for kind in range(3):
                keep = mine[owners[kind]] & np.isfinite(labels[kind])
                b = labels[kind][keep]
                m = len(b)
                if m:
                    table.add(kind, np.full(m, TEST, np.int8), np.zeros(m, np.int32),
                              b - predicted[kind][keep], b, np.ones(m))  # fmt: skip

    def entries(self) -> list[Entry]:
        merged = ErrorTable.joined(list(self.tables.values()))
        return [e for e in merged.entries() if not e.weighted]


def write_extxyz_frame(handle: TextIO, batch: Batch, values: Reference, i: int) -> None:
    """One extxyz frame with predicted energy, forces and stress (3 x 3, ASE's sign); 17 significant digits."""
    from ase.data import chemical_symbols

    a, b = int(batch.atom_start[i]), int(batch.atom_start[i + 1])
    xx, yy, zz, yz, xz, xy = values.stress[i]
    header = {
        "Lattice": " ".join(f"{v:.17g}" for v in batch.cell[i].ravel()),
        "Properties": "species:S:1:pos:R:3:forces:R:3",
        "energy": f"{values.energy[i]:.17g}",
        "stress": " ".join(f"{v:.17g}" for v in (xx, xy, xz, xy, yy, yz, xz, yz, zz)),
        "pbc": " ".join("T" if p else "F" for p in batch.pbc[i]),
    }
    if not batch.pbc[i].all():
        del header["stress"]
    if not batch.cell[i].any():
        del header["Lattice"]
    words = [f'{k}="{v}"' if " " in v or not v else f"{k}={v}" for k, v in header.items()]
    text = " ".join([*words, f"config_type={text_value(str(batch.group[i]))}"])
    handle.write(f"{b - a}\n{text}\n")
    for z, r, f in zip(batch.number[a:b], batch.position[a:b], values.force[a:b], strict=True):
        numbers = " ".join(f"{v:.17g}" for v in (*r, *f))
        handle.write(f"{chemical_symbols[z]} {numbers}\n")
