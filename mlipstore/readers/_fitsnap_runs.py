"""Runs of FitSNAP JSON files that look alike: read by the compiled kernel straight into columns.

The kernel takes files of one configuration with all labels and the same styles as the one before
(``kernels/src/json_files.hpp``); the first that is different is read as any other. So every file means what it means
alone, and whatever is strange gets its error there. A test compares both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration import F8, Batch, info_text
from ..errors import MissingDependencyError
from ..kernels import load
from ..labels import FARTHEST, elements, many_to_voigt, place_of, symmetric_stress
from ..reading import ReadReport

#: A run ends at this many atoms.
_ATOMS = 8_192

Factors = Callable[[tuple[str | None, ...]], tuple[tuple[float, ...], tuple[str, ...]]]


def read_run(
    paths: Sequence[str], group: str, factors_of: Factors, stress_sign: float, order: str, report: ReadReport
) -> Batch | None:
    """The configurations of the first of these files, one each; None if the first must be looked at alone.

    :param factors_of: styles of the five quantities -> factors to our units, and what was assumed
    :param stress_sign: -1 where stress is positive in compression
    """
    kernel = _kernel()
    if kernel is None:
        return None
    n_atoms, number, position, force, cell, stress, energy, labels, label, styles = kernel.read(
        list(map(os.fsencode, paths)), _ATOMS
    )
    n = len(n_atoms)
    if n == 0:
        return None
    try:
        factors, notes = factors_of(tuple(styles))
    except ValueError:  # an unknown style
        return None
    cell, position = _times(cell, factors[0]), _times(position, factors[1])
    energy, force = _times(energy, factors[2]), _times(force, factors[3])
    if not (np.abs(position) < FARTHEST).all() or not (np.abs(cell) < FARTHEST).all() or not np.isfinite(force).all():
        return None
    scale = factors[4] * stress_sign
    six, skew = many_to_voigt(stress, order)
    six = _times(six, scale)
    if not np.isfinite(six).all() or not np.isfinite(energy).all():
        return None
    # from here on it is certain, so it is noted
    for note in notes:
        report.assume(note, n)
    for i in np.flatnonzero(skew).tolist():
        one = symmetric_stress(stress[i], order, scale, report, Path(paths[i]), 0)
        six[i] = np.nan if one is None else one
    a, b, c, d, e, f, g, h, k = cell.T
    for i in np.flatnonzero(a * (e * k - f * h) - b * (d * k - f * g) + c * (d * h - e * g) < 0).tolist():
        report.met("left-handed cell (FitSNAP refuses it; kept)", place_of(Path(paths[i]), 0))
    texts = np.array([*(info_text({"label": text}) for text in labels), ""], object)  # the last where there is none
    labelled = (~np.isnan(six[:, 0])).tolist()
    every = np.empty(n, object)
    every[:] = group
    return Batch.from_columns(
        there={"force": [True] * n, "stress": labelled, "spin": [False] * n, "charge": [False] * n},
        n_atoms=n_atoms,
        number=number,
        position=position,
        cell=cell.reshape(n, 3, 3),
        pbc=np.ones((n, 3), bool),
        energy=energy,
        force=force,
        stress=six,
        group=every,
        source=np.array(paths[:n], object),
        frame=np.zeros(n, np.int64),
        info=texts[label],
    )


def _times(values: F8, scale: float) -> F8:
    return values if scale == 1.0 else values * scale


@cache
def _kernel() -> Any:
    """The kernel; None without it: the package may have been built so, it is only slower."""
    try:
        reader = load("json", "baseline").JsonReader
    except MissingDependencyError:
        return None
    table = elements()
    symbols = [""] * (max(table.values()) + 1)
    for symbol, z in table.items():
        symbols[z] = symbol
    return reader(symbols)
