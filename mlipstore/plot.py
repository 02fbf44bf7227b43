"""``plot``: pictures of a stored model (parity, errors by group, residuals) or study (front, sensitivities)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SettingsError, nearest
from .features import aliases
from .files import unwritable, written_whole
from .kept.problem import refit
from .searching.studies import Study
from .store import Repository

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .plotting.collect import Collected

FORMATS = ("png", "svg", "pdf")


def plot(
    repository: Repository,
    model: str,
    directory: str | Path,
    format: str = "png",
    ref: str | None = None,
    groups: Sequence[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    where: str | None = None,
) -> list[Path]:
    """Draw a stored model on the data it was fitted to; the rows stream once, memory does not depend on their number.

    Per kind of row (energy, force, stress): ``<model>-parity-<kind>`` with predicted against reference values and
    ``<model>-errors-<kind>`` with RMSE and MAE by group; ``<model>-residuals`` with histograms of all kinds;
    ``<model>-uncertainty`` with predicted deviations and errors of left-out groups, where they were calibrated.
    Predicted and reference values include the baseline; residuals are predicted minus reference.
    The name of a study draws its Pareto front and what it depends on; that reads no rows.

    :param directory: where the files go; made if it is not there
    :param format: one of ``FORMATS``; PNG has 150 dpi, the others are vectors with the clouds of points rasterised
    :param groups: only these groups; None = all
    :param where: only configurations for which this expression is true
    :return: the files, in the order of drawing
    :raises MissingDependencyError: matplotlib is not installed
    :raises SettingsError: unknown format, or nothing to draw
    :raises UnknownNameError: no such model or group
    :raises StoreError: the directory cannot be written
    """
    suffix = format.lower().lstrip(".")
    if suffix not in FORMATS:
        raise SettingsError(
            f"unknown picture format {format!r}. {nearest(suffix, FORMATS)}Known: {', '.join(FORMATS)}."
        )
    from .plotting.collect import collect
    from .plotting.style import file_stem, style

    with style():  # a missing matplotlib is told before the pass over the rows
        study = _study(repository, model, ref)
        if study is not None:
            stem, folder = file_stem(study.name, study.id), writable_folder(Path(directory))
            drawn = _study_figures(repository, study)
            return [save_figure(figure, folder / f"{stem}-{name}.{suffix}", suffix) for name, figure in drawn]
        found = refit(repository, model, ref, check_memory=False)
        folder = writable_folder(Path(directory))
        collected = collect(found, groups, progress, where)
        stored = repository.at(ref).attributes(f"models/{found.model.id}").get("uncertainty")
        stem = file_stem(found.model.name, found.model.id)
        return [
            save_figure(figure, folder / f"{stem}-{name}.{suffix}", suffix)
            for name, figure in _figures(collected, stored)
        ]


def _figures(collected: Collected, uncertainty: dict[str, Any] | None = None) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each picture, one in memory at a time."""
    from .plotting.calibration import calibration
    from .plotting.errors import error_bars
    from .plotting.parity import parity
    from .plotting.residuals import residuals

    for kind in collected.kinds:
        yield f"parity-{kind.quantity.kind}", parity(collected, kind)
    for kind in collected.kinds:
        yield f"errors-{kind.quantity.kind}", error_bars(collected, kind)
    yield "residuals", residuals(collected)
    if uncertainty is not None and uncertainty["lines"]:
        yield "uncertainty", calibration(collected.model, uncertainty)


def _study(repository: Repository, name: str, ref: str | None) -> Study | None:
    """The study of that name, where no model has it."""
    snapshot = repository.at(ref)
    known = [{*(table := aliases(snapshot, kind)), *table.values()} for kind in ("models", "studies")]
    return Study.load(snapshot, name) if name in known[1] - known[0] else None


def _study_figures(repository: Repository, study: Study) -> Iterator[tuple[str, Figure]]:
    from .plotting.study import front, sensitivity
    from .searching.search import sensitivities, trials_of

    if not len(study.errors):
        raise SettingsError(f"study {study.name!r} has no trials yet.")
    yield "front", front(study)
    trials = trials_of(repository, study)
    if trials.direct:
        yield "sensitivities", sensitivity(study, sensitivities(trials, study.values[study.balanced()]))


def writable_folder(folder: Path) -> Path:
    """The folder, made if it is not there, after a trial that a file can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder


def save_figure(figure: Figure, path: Path, format: str) -> Path:
    """Write a picture that appears only when it is whole, with the same bytes every time."""
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(format)
    with written_whole(path) as part:
        figure.savefig(part, format=format, metadata=metadata)
    return path
