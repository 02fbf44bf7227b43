"""``audit``: every check over the configurations of a store, or of files that are stored nowhere."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import registry
from ..configuration import Batch
from ..curation.query import select
from ..errors import InputError
from ..executors import Executor
from ..executors.serial import Serial
from ..index import read_batch
from ..ingest import ingest
from ..portions import plan
from ..readers import require_taken, suited
from ..reading import ReadOptions
from ..store import Repository, Snapshot
from .finding import VERDICTS, Finding, described
from .flags import chosen_checks
from .material import ByFit, Material
from .pairs import evaluate
from .summary import Summary, summarise

Progress = Callable[[int, int], None]
#: Below so many atoms starting workers takes longer than looking.
_WORTH_WORKERS = 60_000
#: Configurations of a finding that are named in its JSON.
_NAMED = 1000
_STRESS_READ = re.compile(r"stress in (\S+), (?:tension|compression) positive")
#: Readers whose files do not say the order of six stress numbers.
_NO_ORDER = "pymatgen-json"
_ORDER = "xx yy zz yz xz xy"


@dataclass
class AuditResult:
    """Findings with what they are about.

    :param id: of the stored findings, empty if they were not stored
    :param not_stored: why findings that should have been stored were not
    """

    findings: list[Finding]
    data: Material
    source: str
    snapshot: str = ""
    id: str = ""
    stored: bool = False
    not_stored: str = ""
    assumed: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, verdict: str) -> int:
        """Findings of a verdict that nobody has waived."""
        return sum(f.verdict == verdict and not f.waived for f in self.findings)

    @property
    def clean(self) -> bool:
        """No error that is not waived."""
        return self.count("error") == 0

    def of(self, check: str, verdict: str | None = None) -> list[Finding]:
        """Findings of one check."""
        return [f for f in self.findings if f.check == check and verdict in (None, f.verdict)]

    def to_json(self) -> dict[str, Any]:
        s = self.data.summary
        return {
            "source": self.source,
            "snapshot": self.snapshot,
            "id": self.id,
            "stored": self.stored,
            "not_stored": self.not_stored,
            "configurations": len(s),
            "atoms": int(s.n_atoms.sum()),
            "groups": len(s.groups),
            "pairs": len(self.data.pairs),
            "pairs_dropped": self.data.pairs.dropped,
            "verdicts": {v: self.count(v) for v in VERDICTS},
            "waived": sum(bool(f.waived) for f in self.findings),
            "clean": self.clean,
            "findings": [self._plain(f) for f in self.findings],
            "seconds": self.seconds,
        }

    def _plain(self, f: Finding) -> dict[str, Any]:
        s = self.data.summary
        named = f.configurations[:_NAMED] if f.verdict != "ok" else f.configurations[:0]
        return {
            **described(f),
            "configurations": len(f.configurations),
            "places": [
                {"group": s.groups[s.group[i]], "source": s.sources[s.source[i]], "frame": int(s.frame[i]),
                 "uid": s.uid[i].tobytes().hex()}
                for i in named.tolist()
            ],
        }  # fmt: skip


def audit(
    repository: Repository,
    ref: str | None = None,
    where: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    checks: Sequence[str] | None = None,
    model: str | None = None,
) -> AuditResult:
    """Run the checks over one version of a store, which is not changed (see :func:`mlipstore.audit.stored.store`).

    Configurations stream by twice: for a summary of about 0.6 kB each, and for pairs of near ones. Memory is that of
    the summary, of the pairs (at most 14 per configuration, 0.2 kB each) and of two segments per worker.

    :param where: only what this expression selects, see :mod:`mlipstore.curation.query`
    :param checks: only these; None = all that are installed
    :param model: a model whose training and test sets are compared, and which the labels are compared with
    :raises UnknownNameError: there is no such check or model
    """
    began = time.perf_counter()
    chosen = chosen_checks(checks)
    snapshot = repository.at(ref)
    units, zeros = _as_read(repository, snapshot)
    data = _material(repository, snapshot, where, executor or Serial(), progress, _told_by(repository, model, ref))
    data.units, data.zeros = units, zeros
    result = AuditResult(run_checks(data, chosen), data, str(repository.path), snapshot.id)
    result.seconds = time.perf_counter() - began
    return result


def audit_files(
    sources: Sequence[str | Path],
    options: ReadOptions | None = None,
    format: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    checks: Sequence[str] | None = None,
    scratch: str | Path | None = None,
) -> AuditResult:
    """Run the checks over files, which are read once, through a scratch folder that is removed.

    What cannot be read is a finding with its file and frame; nothing is repaired. Stresses of zeros are looked at as
    they stand. Six stress numbers whose order the format leaves open are taken as ``xx yy zz yz xz xy``, and the
    audit says what they are.

    :param scratch: where the folder is made (about 60 bytes per atom); None = the folder for temporary files
    :raises InputError: none of the sources is there
    """
    began = time.perf_counter()
    chosen = chosen_checks(checks)
    options = options or ReadOptions()
    good, refused, readers = _readable(sources, options, format)
    if not good and not any(Path(s).exists() for s in sources):
        raise InputError(refused[0])
    if refused:  # an option may be meant for one of those
        options = suited(sorted(readers), options)
    else:
        require_taken(sorted(readers), options)
    orders = [options.stress_order] if options.stress_order else []
    probed = readers == {_NO_ORDER} and not options.stress_order and not options.group_stress_order
    if probed:
        options, orders = replace(options, stress_order=_ORDER, stress_unit=options.stress_unit or "kbar"), [_ORDER]
    with tempfile.TemporaryDirectory(prefix="mlipstore-audit-", dir=scratch) as folder:
        repository = Repository.create(Path(folder) / "scratch.mlip")
        assumed: dict[str, int] = {}
        units: list[str] = []
        if good:
            try:
                read = ingest(repository, good, options, format, "value", None, True, executor)
                refused += read.report.refused
                assumed = read.report.assumed
                units = _units(assumed)
            except InputError as error:
                refused.append(str(error))
        data = _material(repository, repository.at(), None, executor or Serial(), progress)
        data.units, data.orders, data.refused = units, orders, refused
        data.open_order = probed
        result = AuditResult(run_checks(data, chosen), data, " ".join(map(str, sources)), assumed=assumed,
                             files=[str(s) for s in sources])  # fmt: skip
    result.seconds = time.perf_counter() - began
    return result


def _readable(
    sources: Sequence[str | Path], options: ReadOptions, format: str | None
) -> tuple[list[str | Path], list[str], set[str]]:
    """Sources that some reader takes, why the others are not, and the readers."""
    good: list[str | Path] = []
    refused: list[str] = []
    readers: set[str] = set()
    for source in sources:
        try:
            tasks, _ = plan([source], options, format, True, strict=False)
            readers |= {t.reader for t in tasks}
            good.append(source)
        except InputError as error:
            refused.append(str(error))
    return good, refused, readers


def look_at(batches: Sequence[Batch]) -> Material:
    """What checks are given, of configurations in memory."""
    summary = Summary.concatenate([summarise(_nothing()), *map(summarise, batches)])
    ends = np.cumsum([0, *map(len, batches)])
    held = [
        (np.arange(a, b), partial(_itself, batch)) for a, b, batch in zip(ends[:-1], ends[1:], batches, strict=True)
    ]
    return Material(summary, evaluate(summary, held))


def _itself(batch: Batch) -> Batch:
    return batch


def run_checks(data: Material, checks: Sequence[str]) -> list[Finding]:
    """All findings, the worst first."""
    out: list[Finding] = []
    with np.errstate(all="ignore"):  # numbers of any size are what is looked at
        for name in checks:
            plugin = registry.make("checks", name, {})
            if len(data.summary) or name == "unreadable":
                for finding in plugin.run(data):
                    finding.check, finding.version = name, plugin.version
                    out.append(finding)
    order = {v: -i for i, v in enumerate(VERDICTS)}
    return sorted(out, key=lambda f: (order[f.verdict], f.check, f.group != "*", f.group))


# ------------------------------------------------------------------ configurations
@dataclass(frozen=True)
class _Task:
    store: Any
    snapshot: str
    segment: str
    chosen: Any


def _material(
    repository: Repository,
    snapshot: Snapshot,
    where: str | None,
    executor: Executor,
    progress: Progress | None,
    told: Callable[[Material, list[_Task]], None] | None = None,
) -> Material:
    """Summaries and pairs of the configurations that count."""
    selection = select(snapshot, where)
    tasks, atoms = [], []
    for segment in selection.index.segments:
        chosen = selection.of(segment.name)
        if chosen.any():
            tasks.append(_Task(repository.address, snapshot.id, segment.name, chosen))
            atoms.append(segment.n_atoms)
    total = 2 * sum(atoms)
    parts: list[Summary] = [summarise(_nothing())]
    workers: Executor = Serial() if len(tasks) < 2 or sum(atoms) < _WORTH_WORKERS else executor
    done = 0
    for task_atoms, part in zip(atoms, workers.map(_summarise, tasks), strict=True):
        parts.append(part)
        done += task_atoms
        if progress is not None:
            progress(done, total)
    summary = Summary.concatenate(parts)

    def batches() -> Iterator[tuple[NDArray[np.int64], Callable[[], Any]]]:
        at = 0
        for task in tasks:
            where = np.full(len(task.chosen), -1, np.int64)
            n = int(task.chosen.sum())
            where[task.chosen] = np.arange(at, at + n)
            at += n
            yield where, partial(read_batch, snapshot, task.segment)

    def seen(configurations: int) -> None:
        if progress is not None:
            progress(done + int(sum(atoms) * configurations / max(1, len(summary))), total)

    data = Material(summary, evaluate(summary, batches(), seen))
    if told is not None:
        told(data, tasks)
    return data


def _nothing() -> Batch:
    return Batch.from_configurations([])


def _summarise(task: _Task) -> Summary:
    """The summary of the chosen configurations of a segment."""
    batch = read_batch(Repository.open(task.store).at(task.snapshot), task.segment)
    if not task.chosen.all():
        batch = batch.take(np.flatnonzero(task.chosen))
    return summarise(batch)


def _as_read(repository: Repository, snapshot: Snapshot) -> tuple[list[str], dict[str, int]]:
    """Units that readers assumed and zero stresses they took as missing, by what the ingests wrote down."""
    assumed: dict[str, int] = {}
    zeros: dict[str, int] = {}
    for commit in repository.log(snapshot.id):
        if commit.verb != "ingest":
            continue
        summary = repository.commit(commit.id).metadata.get("summary") or {}
        for what, n in ((summary.get("reader") or {}).get("assumed") or {}).items():
            assumed[what] = assumed.get(what, 0) + int(n)
        for group, n in (summary.get("zero_stress") or {}).items():
            zeros[group] = zeros.get(group, 0) + int(n)
    return _units(assumed), zeros


def _units(assumed: dict[str, int]) -> list[str]:
    found = {m.group(1) for what in assumed if (m := _STRESS_READ.search(what))}
    return sorted({"bar" if u == "lammps-bar" else u for u in found})


def _told_by(
    repository: Repository, model: str | None, ref: str | None
) -> Callable[[Material, list[_Task]], None] | None:
    """What enters what a model says: who was trained on, how labels stand to it, groups that were left out."""
    if model is None:
        return None
    from ..kept.problem import known_parts, refit
    from ..kept.standing import Standing, fitted

    parts_of = known_parts(refit(repository, model, ref, check_memory=False))

    def tell(data: Material, tasks: list[_Task]) -> None:
        split = (parts_of(t.segment, len(t.chosen))[t.chosen] for t in tasks)
        data.split = np.concatenate([np.zeros(0, np.int8), *split])
        found = fitted(repository, model, ref)
        parts = [Standing.none(0), *(found.of(t.segment, t.chosen) for t in tasks)]
        data.fit = ByFit(found.model, Standing.concatenate(parts), found.left_out, found.why_not)

    return tell
