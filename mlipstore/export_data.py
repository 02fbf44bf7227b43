"""``export`` of configurations: a selection in a format of the field, labels and groups as they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import registry
from .configuration import Configuration
from .curation.columns import SplitOf
from .curation.query import Selection, read_selection, select
from .errors import SettingsError, StoreError, listed, nearest
from .files import require_free, unwritable
from .store import Repository
from .writing import Writer, WriteReport


@dataclass
class DataExport:
    """What was written where, and what the format could not hold.

    :param groups: configurations of each group that were selected
    :param lost: how many are written without something; ``left_out``: how many are not written, and why
    :param format: the reader that takes it back, with the ``options`` it needs
    """

    path: str
    configurations: int = 0
    groups: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    format: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def export_data(
    repository: Repository,
    format: str,
    output: str | Path | None = None,
    where: str | None = None,
    ref: str | None = None,
    split: SplitOf | None = None,
    progress: Callable[[int, int], None] | None = None,
    force: bool = False,
) -> DataExport:
    """Write configurations that count.

    :param format: name of a writer: ``extxyz``, ``ase-db``, ``fitsnap``, ``n2p2``
    :param output: file (or folder, for ``fitsnap``); default the name of the store
    :param where: only those for which this expression is true
    :param split: gives its column ``split`` a meaning
    :param force: replace a file that is there; never a folder
    :raises SettingsError: nothing is selected, or something is there that is not to be replaced
    :raises StoreError: it cannot be written
    """
    writer: Writer = registry.make("writers", format, {})
    selection = select(repository.at(ref), where, split=split)
    if not len(selection):
        raise SettingsError("no configuration is selected, so there is nothing to export. mlipstore query tells which.")
    groups = list(selection.groups())
    name = str(repository.path).rstrip("/").rpartition("/")[2]
    path = Path(output) if output is not None else Path(Path(name).stem + (writer.suffix or f"-{format}"))
    if path.is_dir():
        raise SettingsError(f"{path} is a folder that exists. Choose another name with --output, or remove it.")
    if not force:
        require_free(path)
    report = WriteReport()
    with _whole(path, force) as part:
        n = writer.write(_configurations(selection, progress), groups, part, report)
        if not n:
            raise SettingsError(f"{format} can hold none of the {len(selection):,}: {listed(report.left_out)}.")
    return DataExport(
        str(path), n, selection.groups(), report.lost, report.left_out, writer.format, dict(writer.reading(groups))
    )


def formats() -> tuple[str, ...]:
    """Names of all formats that configurations can be written in."""
    return registry.names("writers")


def unknown_format(format: str) -> SettingsError:
    """The error for a format that neither a model nor configurations are written in."""
    models, data = registry.names("exporters"), formats()
    return SettingsError(
        f"no format {format!r}. {nearest(format, [*models, *data])}Of a model: {listed(models)}; of configurations: "
        f"{listed(data)}."
    )


def _configurations(selection: Selection, progress: Callable[[int, int], None] | None) -> Iterator[Configuration]:
    done, total = 0, len(selection)
    for batch in read_selection(selection):
        yield from batch
        done += len(batch)
        if progress is not None:
            progress(done, total)


@contextmanager
def _whole(path: Path, force: bool) -> Iterator[Path]:
    """A name beside ``path`` to write a file or a folder to; it gets its name when it is whole.

    :param force: also in the place of a file
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _remove(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if path.exists() and not force:
            raise StoreError(f"{path} was made by another process meanwhile. Choose another name with --output.")
        part.replace(path)
    except StoreError:
        raise
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    """Take away what is left of an attempt, if it can be."""
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
        return
    try:
        part.unlink(missing_ok=True)
    except OSError:
        return
