"""``annotate``: flags, notes and columns for configurations that an expression selects, or from a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ..errors import InputError, SettingsError, counted, unknown_name
from ..index import LIVE, Index, keys
from ..provenance import commit_metadata, new_run
from ..snapshot import Snapshot
from ..store import Repository
from .annotations import (
    FLAG,
    NOTE,
    VALUE,
    Annotation,
    Value,
    annotation_names,
    check_name,
    check_value,
    load_annotation,
    value_of,
    write,
)
from .columns import COLUMNS
from .query import select

#: Largest table that is read, in bytes.
_LARGEST = 1 << 30


@dataclass
class AnnotateResult:
    """What was said about how many configurations."""

    configurations: int = 0
    flags: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    snapshot: str = ""
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def annotate(
    repository: Repository,
    where: str | None = None,
    flags: tuple[str, ...] = (),
    note: str | None = None,
    values: Mapping[str, Value] | None = None,
    remove: tuple[str, ...] = (),
    table: str | Path | None = None,
    message: str | None = None,
    dry_run: bool = False,
    command: str = "annotate",
) -> AnnotateResult:
    """Say something about configurations; one new version.

    :param flags: set on each selected configuration; ``note`` and ``values`` likewise (None takes a value away)
    :param remove: flags and columns that the selected ones have no longer
    :param table: CSV file with a column ``uid`` (at least 8 digits) or ``source`` and ``frame``, and further columns:
        ``flag`` (names between blanks), ``note`` and columns of values; an empty field says nothing
    :raises SettingsError: a name that cannot be used, or nothing to say
    :raises InputError: the table cannot be read, or names a configuration that the store lacks
    """
    given: dict[str, Any] = {k: check_value(v) for k, v in (values or {}).items()}
    if note is not None:
        given[NOTE] = check_value(note)
    _check_names(flags, given)
    if not (flags or given or remove or table):
        raise SettingsError("nothing to say: give --flag, --note, --set, --remove or --from FILE.csv.")
    if (where is None) == (table is None):
        raise SettingsError("say which configurations by --where EXPRESSION, or in a table by --from FILE.csv.")
    result = AnnotateResult(flags=list(flags), values=list(given), removed=list(remove), dry_run=dry_run)

    def new_ones(snapshot: Snapshot) -> list[Annotation]:
        if table is not None:
            said = _of_table(snapshot, Path(table))
            result.configurations = len({k for a in said for k in a.values})
            result.flags = [a.name for a in said if a.kind == FLAG]
            result.values = [a.name for a in said if a.kind == VALUE]
            return [_joined(snapshot, a) for a in said]
        selection = select(snapshot, where)
        mine = keys(selection.index.uid[selection.rows])
        result.configurations = len(mine)
        out = [_joined(snapshot, Annotation(FLAG, f, dict.fromkeys(mine))) for f in flags]
        out += [_joined(snapshot, Annotation(VALUE, k, dict.fromkeys(mine, v))) for k, v in given.items()]
        return out + [_without(snapshot, name, set(mine)) for name in remove]

    if dry_run:
        new_ones(repository.at())
        return result
    metadata = commit_metadata("annotate", command, new_run(), where=where)
    with repository.transaction("annotate", metadata, exclusive=True) as tx:
        said = new_ones(repository.at())
        if result.configurations:
            tx.message = message or f"annotate {counted(result.configurations, 'configuration')}"
            tx.metadata = commit_metadata("annotate", command, new_run(), where=where, **_summary(result))

            def store(root: zarr.Group) -> None:
                for annotation in said:
                    write(root, annotation)

            tx.at_commit(store)
    result.snapshot = tx.snapshot_id
    return result


def _summary(result: AnnotateResult) -> dict[str, Any]:
    return {"configurations": result.configurations, "flags": result.flags, "values": result.values,
            "removed": result.removed}  # fmt: skip


def _check_names(flags: tuple[str, ...], values: Mapping[str, Any]) -> None:
    for name in flags:
        check_name("flag", name)
    for name in values:
        check_name("column", name)
        if name in COLUMNS and name != NOTE:
            raise SettingsError(f"{name!r} is a column that every store has. Choose another name.")


def _joined(snapshot: Snapshot, new: Annotation) -> Annotation:
    """What is stored under that name, and the new ones."""
    if new.name not in annotation_names(snapshot, new.kind):
        return new
    return Annotation(new.kind, new.name, {**load_annotation(snapshot, new.kind, new.name).values, **new.values})


def _without(snapshot: Snapshot, name: str, whose: set[bytes]) -> Annotation:
    """A flag or column, taken away from some."""
    known = {kind: annotation_names(snapshot, kind) for kind in (FLAG, VALUE)}
    for kind, names in known.items():
        if name in names:
            values = load_annotation(snapshot, kind, name).values
            return Annotation(kind, name, {k: v for k, v in values.items() if k not in whose})
    raise unknown_name("flag or annotated column", name, [*known[FLAG], *known[VALUE]])


# ----------------------------------------------------------------------- tables
def _of_table(snapshot: Snapshot, path: Path) -> list[Annotation]:
    """What a CSV file says."""
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError("the table is larger than 1 GB. Split it.", str(path))
        with open(path, encoding="utf-8-sig", newline="") as handle:
            lines = csv.DictReader(handle, strict=True)
            rows = [(lines.line_num, row) for row in lines]
            names = [n or "" for n in lines.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the table cannot be read: {error}. Give a CSV file in UTF-8.", str(path)) from None
    by_uid = "uid" in names
    if not by_uid and not {"source", "frame"} <= set(names):
        raise InputError("the table has neither a column 'uid' nor the columns 'source' and 'frame'.", str(path))
    columns = [n for n in names if n not in ("uid", "source", "frame", "flag")]
    _check_names((), dict.fromkeys(columns))
    whose = _by_uid(snapshot) if by_uid else _by_source(snapshot)
    flags: dict[str, dict[bytes, Any]] = {}
    values: dict[str, dict[bytes, Any]] = {}
    for line, row in rows:
        if None in row or None in row.values():
            raise InputError(f"the line has not {len(names)} fields.", str(path), line=line)
        key = row["uid"].strip().lower()[:8] if by_uid else f"{row['source']}\0{row['frame'].strip()}"
        mine = whose.get(key, [])
        if by_uid:
            mine = [k for k in mine if k.hex().startswith(row["uid"].strip().lower())]
        if not mine:
            what = f"uid {row['uid']!r} (at least 8 digits)" if by_uid else f"{row['source']}, frame {row['frame']}"
            raise InputError(f"the store has no configuration {what}.", str(path), line=line)
        for flag in (row.get("flag") or "").split():
            check_name("flag", flag)
            flags.setdefault(flag, {}).update(dict.fromkeys(mine))
        for name in columns:
            if row[name] != "":
                said = check_value(row[name]) if name == NOTE else value_of(row[name])
                values.setdefault(name, {}).update(dict.fromkeys(mine, said))
    return [Annotation(FLAG, f, v) for f, v in flags.items()] + [Annotation(VALUE, n, v) for n, v in values.items()]


def _by_uid(snapshot: Snapshot) -> dict[str, list[bytes]]:
    """Content hashes by their first 8 digits."""
    index = Index.load(snapshot)
    out: dict[str, list[bytes]] = {}
    for key in set(keys(index.uid[index.state == LIVE])):
        out.setdefault(key.hex()[:8], []).append(key)
    return out


def _by_source(snapshot: Snapshot) -> dict[str, list[bytes]]:
    """Content hashes by file and frame."""
    index = Index.load(snapshot)
    out: dict[str, list[bytes]] = {}
    for s in index.live_segments():
        here = f"configurations/{s.name}/"
        sources, frames = snapshot.read(here + "source").tolist(), snapshot.read(here + "frame").tolist()
        uids = keys(index.uid[index.rows(s.name)])
        for i in np.flatnonzero(index.live(s.name)):
            out.setdefault(f"{sources[i]}\0{frames[i]}", []).append(uids[i])
    return out
