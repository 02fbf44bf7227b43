"""``verify``: whether every byte of a store is what was stored, what is lost if not, and mending what can be."""

from __future__ import annotations

import os
from typing import Any

from ..places import Place, objects_at, place_of
from ..sharing.transfer import Progress
from ..store import Repository
from .content import check_content
from .files import check_files
from .report import Problem, Report

__all__ = ["Problem", "Report", "verify"]


def verify(
    store: str | os.PathLike[str],
    repair: bool = False,
    source: str | None = None,
    progress: Progress | None = None,
    command: str = "verify",
) -> Report:
    """Check every file of every version that a branch or tag leads to, then what the newest versions say.

    Files: checksums of all chunks, seals, that every chunk an array must have is listed and there. Content: the index
    against the segments, content hashes of configurations recomputed, digests of attributes, ids against settings.

    :param repair: mend what can be: files from ``source`` (another copy of the store), the index from the segments;
        damaged features, baselines and factors are removed, so that the next run makes them again
    :param source: another copy; default: where this one came from
    :raises StoreNotFoundError: there is no store, nor what is left of one; or none at ``source``
    """
    place = place_of(store)
    objects, where = objects_at(place), str(place)
    _require_store(place)
    if repair and source is not None:  # without it, a mistake in its name, branches would go back for nothing
        _require_store(place_of(source))
    report = _look(store, progress)
    if not repair or report.sound:
        return report
    from .repair import mend

    mended = mend(place, objects, where, report, source, command)
    again = _look(store, progress)
    again.repaired = mended
    return again


def _require_store(place: Place) -> None:
    if not Repository.exists(place) and next(iter(objects_at(place).listing("snapshots/")), None) is None:
        Repository.open(place)  # says what is there instead


def _look(store: Any, progress: Progress | None) -> Report:
    place = place_of(store)
    report = Report(str(place))
    found = check_files(objects_at(place), str(place), report, progress)
    check_content(place, found, report)
    return report
