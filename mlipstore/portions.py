"""Sources cut into portions: what each worker reads, and the batches that come of it, in the order of the files.

Nothing here knows the store, so that a reading worker starts fast.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import registry
from .compressed import is_compressed, read_file
from .configuration import Batch, Configuration
from .errors import InputError, nearest
from .executors import Executor
from .parts import Part, PartReader
from .provenance import encodable
from .readers import reader_of, recognise, require_taken
from .reading import ReadOptions, ReadReport, walk

#: A batch travels from a reading worker when it holds this many atoms or configurations.
_TRAVEL_ATOMS, _TRAVEL_CONFIGURATIONS = 8_192, 1_024
#: A worker takes this many files or bytes at once; a larger file streams through this process,
_TASK_FILES, _TASK_BYTES = 256, 16 << 20
#: unless its reader can cut it into parts: small ones, of which each worker gets several and a few fit into memory.
_PART_BYTES = 2 << 20
#: Reading takes about 1 s for so many bytes of text; starting workers takes each 0.3 s.
_WORTH_WORKERS = 24 << 20
#: So many times faster a reader is that reads in blocks.
_BLOCKS_FASTER = 10

#: After so many files in a row that had to be read alone, the others of a task are not tried.
_MISSES = 4

#: Configurations, what was noted about them, and how many files were finished with them.
Portion = tuple[Batch, ReadReport, int]


@dataclass(frozen=True)
class Task:
    """Files, or a part of one, for one worker."""

    reader: str
    root: str
    paths: tuple[str, ...]
    options: ReadOptions
    skip_bad: bool
    n_bytes: int
    part: Part | None = None


def plan(
    sources: Sequence[str | Path],
    options: ReadOptions,
    format: str | None,
    skip_bad: bool,
    report: ReadReport | None = None,
    strict: bool = True,
) -> tuple[list[Task], int]:
    """Files of all sources in a fixed order, in tasks, and their number.

    :param report: is told about other files of folders, which are not read
    :param strict: refuse options that mean nothing for any of them
    :raises InputError: a source is not there, or holds no files that can be read
    :raises SettingsError: an option means nothing for any of them
    """
    tasks: list[Task] = []
    found: list[str] = []
    total = 0
    for source in sources:
        path = Path(source)
        if not path.exists():
            near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
            raise InputError(
                f"there is no such file or folder. {near}Check the path, and from where it counts.", str(path)
            )
        name = recognise(path, format)
        found.append(name)
        reader = reader_of(name, options)
        names = getattr(reader, "names", None)
        files = list(map(str, reader.files(path))) if names is None else names(path)
        if not files:
            raise InputError(f"no files of format {name} in it.", str(path))
        total += len(files)
        if report is not None and path.is_dir():
            _tell_others(path, files, name, report)
        sizes = list(map(_size, files))
        start = held = 0
        for i, size in enumerate(sizes):
            alone = i > 0 and max(size, sizes[i - 1]) >= 2 * _PART_BYTES
            if i > start and (i - start == _TASK_FILES or held + size > _TASK_BYTES or alone):
                tasks.append(Task(name, str(path), tuple(files[start:i]), options, skip_bad, held))
                start, held = i, 0
            held += size
        tasks.append(Task(name, str(path), tuple(files[start:]), options, skip_bad, held))
    if strict:
        require_taken(found, options)
    return tasks, total


def _tell_others(folder: Path, files: list[str], format: str, report: ReadReport) -> None:
    """Say which files of a folder its reader leaves aside: they may be data of another format."""
    mine = set(files)
    if any(map(os.path.isdir, files[:1])):  # a reader of whole folders
        return
    others = [os.path.join(place, n) for place, names in walk(folder) for n in names]
    for other in others:
        if other not in mine:
            report.met(f"file that is not {format}: left aside; to have it read, name it", other)


def _size(path: str) -> int:
    try:
        found = os.stat(path)
    except OSError:  # reading it will say why
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def read_all(tasks: list[Task], executor: Executor | None) -> Iterator[Portion]:
    """Portions in the order of the tasks: read here, or by workers where there is much."""
    work = sum(task.n_bytes / (_BLOCKS_FASTER if _in_blocks(task) else 1) for task in tasks)
    if executor is None or executor.n_workers == 1 or work < _WORTH_WORKERS:
        for task in tasks:
            yield from read(task)
        return
    for stays, run in groupby(tasks, lambda task: task.n_bytes > _TASK_BYTES and not _has_parts(task)):
        if stays:
            for task in run:
                yield from read(task)
        else:
            yield from _read_by_workers(list(run), executor)


def _in_blocks(task: Task) -> bool:
    return task.options.index == ":" and hasattr(registry.get("readers", task.reader), "read_blocks")


def _has_parts(task: Task) -> bool:
    whole = any(map(is_compressed, task.paths))
    return not whole and task.options.index == ":" and hasattr(registry.get("readers", task.reader), "read_part")


def _read_by_workers(tasks: Sequence[Task], executor: Executor) -> Iterator[Portion]:
    """Whole tasks, and large files in parts, by workers.

    A part is read as if nothing had been wrong before it, which is known only later. Where something was, the rest of
    the file is read again, here: what comes out is always what reading it from begin to end gives.
    """
    sent: deque[Task] = deque()

    def to_send() -> Iterator[Task]:
        for piece in chain.from_iterable(map(_pieces, tasks)):
            sent.append(piece)
            yield piece

    reached: Part | None = None
    for portions, after in executor.map(_read_whole, to_send()):
        task = sent.popleft()
        if task.part is None:
            yield from portions
            continue
        if task.part.start == 0:
            reached = Part()
        if reached is None:
            continue  # it has been read here
        follows = None if after is None else reached.joined(task.part, after)
        yield from read(replace(task, part=reached)) if follows is None else portions
        reached = follows


def _pieces(task: Task) -> Iterator[Task]:
    """The task itself, or one task for each part of its one large file."""
    if len(task.paths) > 1 or task.n_bytes < 2 * _PART_BYTES or not _has_parts(task):
        yield task
        return
    reader: PartReader = registry.make("readers", task.reader, {"options": task.options})
    for part in reader.parts(Path(task.paths[0]), _PART_BYTES):
        yield replace(task, part=part)


def _read_whole(task: Task) -> tuple[list[Portion], Part | None]:
    """All portions of a task, and where reading a part ended (None: an error stopped it)."""
    after: list[Part] = []
    try:
        return list(read(task, after)), after[0] if after else None
    except InputError:
        if task.part is None:
            raise
        return [], None


def read(task: Task, after: list[Part] | None = None) -> Iterator[Portion]:
    """Read the files of a task (or the part of its file), giving out a batch whenever enough has come together.

    :param after: gets where reading the part ended
    """
    reader = registry.make("readers", task.reader, {"options": task.options})
    report = ReadReport(skip_bad=task.skip_bad)  # the reader holds it all the time, so it is never replaced
    waiting: list[Configuration] = []
    blocks: list[Batch] = []
    held = atoms = files = 0

    def gathered() -> Batch:
        """All that came together, in its order."""
        nonlocal held, atoms
        if waiting or not blocks:
            blocks.append(Batch.from_configurations(waiting))
        out = Batch.concatenate(blocks)
        waiting.clear()
        blocks.clear()
        held = atoms = 0
        return out

    # sources are stored relative to the folder that the named one lies in: the same on every machine
    folder, name = os.path.split(os.path.abspath(task.root))
    above = os.path.join(folder, "")

    def source_of(path: str) -> str:
        within = path == task.root or path.startswith(task.root + os.sep)
        return encodable(name + path[len(task.root) :] if within else os.path.abspath(path).removeprefix(above))

    def take(found: Configuration | Batch, sources: list[str]) -> None:
        nonlocal held, atoms
        if isinstance(found, Batch):
            found.source[:] = sources if len(sources) > 1 else sources[0]
            found.group = _encodable(found.group)
            if waiting:
                blocks.append(Batch.from_configurations(waiting))
                waiting.clear()
            blocks.append(found)
            held, atoms = held + len(found), atoms + len(found.number)
        else:
            found.source = sources[0]
            found.group = encodable(found.group)
            waiting.append(found)
            held, atoms = held + 1, atoms + len(found.numbers)

    runs = _Runs(reader, task, report)
    at = 0
    while at < len(task.paths):
        path = task.paths[at]
        run = runs.read(at)
        if run is not None:
            take(run, [source_of(p) for p in task.paths[at : at + len(run)]])
            at, files = at + len(run), files + len(run)
        else:
            source = [source_of(path)]
            try:
                for found in _configurations(reader, path, task, report, after):
                    take(found, source)
                    if atoms >= _TRAVEL_ATOMS or held >= _TRAVEL_CONFIGURATIONS:
                        yield gathered(), report.take(), files
                        files = 0
            except InputError as error:
                report.refuse(error)
            at, files = at + 1, files + (task.part is None or task.part.stop is None)
        if atoms >= _TRAVEL_ATOMS or held >= _TRAVEL_CONFIGURATIONS:
            yield gathered(), report.take(), files
            files = 0
    yield gathered(), report.take(), files


class _Runs:
    """Small files that look alike, many at once, where the reader can."""

    def __init__(self, reader: Any, task: Task, report: ReadReport) -> None:
        able = task.part is None and task.options.index == ":" and not any(map(is_compressed, task.paths))
        self._read = getattr(reader, "read_run", None) if able else None
        self._task, self._report = task, report
        self._misses = 0

    def read(self, at: int) -> Batch | None:
        """Configurations of files from the one at ``at`` on, one each; None if it must be read alone."""
        if self._read is None or self._misses > _MISSES:
            return None
        found: Batch | None = self._read(self._task.paths[at:], self._report, _path(self._task.root))
        self._misses = self._misses + 1 if found is None else 0
        return found


def _encodable(groups: NDArray[Any]) -> NDArray[Any]:
    """Names that can be stored, ``(n,)``."""
    names = {name: encodable(name) for name in set(groups.tolist())}
    out = np.empty(len(groups), object)
    out[:] = [names[name] for name in groups.tolist()]
    return out


def _configurations(
    reader: Any, path: str, task: Task, report: ReadReport, after: list[Part] | None
) -> Iterator[Configuration | Batch]:
    file, root, packed = Path(path), _path(task.root), is_compressed(path)
    if not packed and task.options.index == ":" and hasattr(reader, "read_blocks"):
        return _of_part(reader.read_blocks(file, task.part or Part(), report, root), after)
    if task.part is None:
        return read_file(reader, file, report, root)
    return _of_part(reader.read_part(file, task.part, report, root), after)


@lru_cache(maxsize=16)
def _path(name: str) -> Path:
    return Path(name)  # to make one takes longer than to read a small file


def _of_part(reading: Generator[Any, None, Part], after: list[Part] | None) -> Iterator[Any]:
    end = yield from reading
    if after is not None:
        after.append(end)
