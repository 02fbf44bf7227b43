"""A model as files for LAMMPS ``pair_style snap``, with its reference potential beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingsError
from ..files import unwritable, written_whole
from ..lammps.engine import SPIN_FORCES
from ..lammps.hybrid import overlay_of
from ..lammps.include import evaluate_apart
from ..named_files import content_of
from ..registry import settings_of
from ..snap_basis import equal_columns, kept

if TYPE_CHECKING:
    from ..configuration import Batch
    from ..model import Model

#: What a check accepts: energy relative to itself (at least 1 eV per atom), forces in eV/Å.
ENERGY_TOLERANCE = 1e-10
FORCE_TOLERANCE = 1e-8
#: Part of the sum of absolute terms of a force that rounding may take, for models of large, cancelling coefficients.
_ROUNDING = 1e-13
_SNAP_SETTINGS = {"elements", "rcutfac", "twojmax", "radelem", "wj", "rfac0", "rmin0", "switchflag", "quadraticflag"}


@dataclass(frozen=True)
class LammpsSnap:
    """``X.snapcoeff``, ``X.snapparam`` and ``X.mod``; ``include X.mod`` in a LAMMPS input gives the whole model.

    Numbers are written with 17 digits. The baseline comes first in ``X.mod`` as ``hybrid/overlay``; files it needs
    are written beside it.
    """

    #: endings of the files, put behind the prefix
    suffixes = (".snapcoeff", ".snapparam", ".mod")

    def write(self, model: Model, prefix: Path) -> list[Path]:
        """Write the files.

        :param prefix: folder and name without suffix
        :raises SettingsError: the descriptor or the baseline of the model has no counterpart in LAMMPS
        :raises StoreError: the files cannot be written
        """
        prefix = Path(prefix)
        if not re.fullmatch(r"[\w.+-]+", prefix.name):
            raise SettingsError(
                f"LAMMPS cannot read a file called {prefix.name!r}. Use letters, digits and . _ + - in the output name."
            )
        snap = _snap_settings(model)
        names = [prefix.name + suffix for suffix in self.suffixes]
        about = _about(model)
        types, _ = _types(model, snap)
        # With chemflag LAMMPS pairs elements by their place, not by their name, so both have one order.
        order = [snap["elements"].index(e) for e in types if e in snap["elements"]]
        texts = [
            _coefficients(model, snap, order, about),
            _parameters(snap, order, about),
            _include(model, snap, about, names),
        ]
        paths = [prefix.with_name(name) for name in names]
        try:
            prefix.parent.mkdir(parents=True, exist_ok=True)
            copied = _write_files(model, prefix.parent, names)
        except OSError as error:
            raise unwritable(paths[0], error) from error
        for path, text in zip(paths, texts, strict=True):
            with written_whole(path) as part:
                part.write_text(text, encoding="utf-8")
        return [*paths, *copied]

    def check(self, model: Model, paths: list[Path], batch: Batch, n: int | None = None) -> dict[str, Any]:
        """Run LAMMPS on the files in a process of its own and compare with the model.

        :param n: use only this many configurations, from the start of the batch
        :returns: ``ok``, ``program``, ``configurations``, ``max_energy_difference`` in eV/atom,
            ``max_relative_energy_difference``, ``max_force_difference`` in eV/Å, ``max_stress_difference`` in eV/Å^3
        :raises ComputeError: LAMMPS fails
        :raises MissingDependencyError: there is no LAMMPS here
        """
        if n is not None:
            batch = batch.slice(0, min(n, len(batch)))
        mod = next(p for p in paths if p.suffix == ".mod")
        snap = _snap_settings(model)
        elements, atom_style = _types(model, snap)
        after = (SPIN_FORCES,) if _has_spin_forces(model) else ()
        theirs, program = evaluate_apart(mod, elements, atom_style, batch, after)
        ours = model.predict(batch)
        difference = np.abs(theirs.energy - ours.energy)
        atoms = np.maximum(batch.n_atoms, 1)
        relative = difference / np.maximum(np.abs(ours.energy), atoms)
        force = float(np.max(np.abs(theirs.force - ours.force), initial=0.0))
        energy = float(np.max(relative, initial=0.0))
        ok = energy <= ENERGY_TOLERANCE and force <= FORCE_TOLERANCE
        if not ok:  # rounding of large terms that cancel is no fault of the files
            rows, size = model.descriptor.rows(batch), np.abs(model.coefficients)
            force_terms = float(np.max(np.abs(rows.force) @ size, initial=0.0))
            energy_terms = float(np.max(np.abs(rows.energy) @ size / atoms, initial=0.0))
            ok = energy <= max(ENERGY_TOLERANCE, _ROUNDING * energy_terms) and force <= max(
                FORCE_TOLERANCE, _ROUNDING * force_terms
            )
        return {
            "ok": bool(ok),
            "program": program,
            "configurations": len(batch),
            "max_energy_difference": float(np.max(difference / atoms, initial=0.0)),
            "max_relative_energy_difference": energy,
            "max_force_difference": force,
            "max_stress_difference": float(np.max(np.abs(theirs.stress - ours.stress), initial=0.0)),
        }


def _snap_settings(model: Model) -> dict[str, Any]:
    settings = settings_of(model.descriptor)
    if not settings.keys() >= _SNAP_SETTINGS:
        raise SettingsError(
            f"model {model.name!r} is made of {model.descriptor.label()!r}; the format lammps-snap takes SNAP only."
        )
    return settings


def _baseline_settings(model: Model) -> dict[str, Any]:
    """Settings of the baseline; those of one that adds nothing when there is none."""
    if model.baseline is None:
        return {"elements": list(model.descriptor.elements), "pair_style": "zero 1.0", "pair_coeff": []}
    settings = settings_of(model.baseline)
    if not settings.keys() >= {"elements", "pair_style", "pair_coeff"}:
        raise SettingsError(
            f"the baseline {model.baseline.label()!r} of model {model.name!r} has no LAMMPS form. "
            "Fit with the same potential as a baseline of type 'lammps'."
        )
    return settings


def _types(model: Model, snap: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Elements of the LAMMPS types 1, 2, ... (those of the baseline, whose lines count types) and the atom style."""
    baseline = _baseline_settings(model)
    for element in snap["elements"]:
        if element not in baseline["elements"]:
            raise SettingsError(
                f"the baseline of model {model.name!r} knows {' '.join(baseline['elements'])}, not {element}. "
                "LAMMPS needs its lines for every element of the model."
            )
    return tuple(baseline["elements"]), baseline.get("atom_style", "atomic")


def _has_spin_forces(model: Model) -> bool:
    baseline = _baseline_settings(model)
    return baseline.get("atom_style") == "spin" and bool(baseline.get("spin_forces"))


def _about(model: Model) -> list[str]:
    """Where the model comes from: the same text for the same model."""
    p = model.provenance
    feature, baseline = p.get("feature") or {}, p.get("baseline") or {}
    parts = [f"model {model.name} {model.id}", f"data snapshot {p.get('data_snapshot', 'unknown')}"]
    parts.append(f"feature {feature.get('alias', model.descriptor.label())} {feature.get('id', '')}".rstrip())
    if model.baseline is not None:
        parts.append(f"baseline {baseline.get('alias', model.baseline.label())} {baseline.get('id', '')}".rstrip())
    parts.append(f"mlipstore {(p.get('versions') or {}).get('mlipstore', 'unknown')}")
    # LAMMPS reads UNITS in the first line and refuses the file where other units are in use.
    return ["# UNITS: metal", *(f"# {part}" for part in parts)]


def _coefficients(model: Model, snap: Mapping[str, Any], order: list[int], about: list[str]) -> str:
    elements = snap["elements"]
    n = len(elements)
    mask = kept(tuple(snap["twojmax"]), snap["quadraticflag"], snap["chemflag"])
    values = model.coefficients if mask is None else model.coefficients * mask
    blocks = values.reshape(n, -1)
    names = np.array([c.name for c in model.columns], object).reshape(n, -1)
    if snap["chemflag"]:
        # The energy only knows the sum over equal columns, but the forces of pair_style snap take the
        # coefficients to be equal as well: they are wrong by any difference between them.
        first = equal_columns(max(snap["twojmax"]), n)
        blocks = np.array([(np.bincount(first, b) / np.maximum(np.bincount(first), 1))[first] for b in blocks])
        blocks, names = (
            x.reshape(n, n, n, n, -1)[:, order][:, :, order][:, :, :, order].reshape(n, -1) for x in (blocks, names)
        )
    lines = [*about, "", f"{n} {blocks.shape[1] + 1}"]
    for t in order:
        lines.append(f"{elements[t]} {snap['radelem'][t]!r} {snap['wj'][t]!r}")
        lines.append(f"{model.constants.get(elements[t], 0.0):.17g} # {elements[t]} constant")
        lines += [f"{value:.17g} # {name}" for value, name in zip(blocks[t], names[t], strict=True)]
    return "\n".join([*lines, ""])


def _parameters(snap: Mapping[str, Any], order: list[int], about: list[str]) -> str:
    lines = [*about, "", f"rcutfac {snap['rcutfac']!r}", f"twojmax {max(snap['twojmax'])}"]
    lines += [f"{key} {snap[key]!r}" for key in ("rfac0", "rmin0")]
    flags = ("switchflag", "bzeroflag", "quadraticflag", "chemflag", "bnormflag", "wselfallflag", "switchinnerflag")
    lines += [f"{key} {int(snap[key])}" for key in flags]
    if snap["switchinnerflag"]:
        lines += [f"{key} {' '.join(repr(snap[key][t]) for t in order)}" for key in ("sinner", "dinner")]
    return "\n".join([*lines, ""])


def _include(model: Model, snap: Mapping[str, Any], about: list[str], names: list[str]) -> str:
    types, atom_style = _types(model, snap)
    baseline = _baseline_settings(model)
    moved = {name: Path(name).name for name in _file_names(baseline)}
    style, *coefficients = (
        " ".join(moved.get(word, word) for word in line.split())
        for line in (baseline["pair_style"], *baseline["pair_coeff"])
    )
    symbols = " ".join(e if e in snap["elements"] else "NULL" for e in types)
    commands = overlay_of(style, tuple(coefficients)).plus("snap", f"{names[0]} {names[1]} {symbols}")
    numbered = ", ".join(f"{i} {e}" for i, e in enumerate(types, 1))
    about = [*about, f"# atom types: {numbered}; units metal; atom_style {atom_style}"]
    if snap["chemflag"]:
        about.append("# keep the elements in this order: with chemflag LAMMPS goes by their place, not by their name")
    if _has_spin_forces(model):
        about.append("# the forces of the fit need: fix ID all nve/spin lattice moving")
    return "\n".join([*about, "", *commands, ""])


def _file_names(baseline: Mapping[str, Any]) -> list[str]:
    return [entry.rpartition("=")[0] for entry in baseline.get("files", ())]


def _write_files(model: Model, folder: Path, names: list[str]) -> list[Path]:
    """The files the baseline names, beside the potential, whose own files are called ``names``."""
    content, out = content_of(model.baseline), []
    for name in _file_names(_baseline_settings(model)):
        source, place = Path(name), folder / Path(name).name
        data = content[name] if name in content else source.read_bytes() if source.is_file() else None
        if data is None:
            raise SettingsError(f"the baseline of model {model.name!r} needs the file {name!r}, which is not here.")
        if place.name in names or (place.exists() and place.read_bytes() != data):
            raise SettingsError(f"{place} is another file than the {name!r} of the baseline. Choose another output.")
        if not place.exists():
            with written_whole(place) as part:
                part.write_bytes(data)
        out.append(place)
    return out


plugin = LammpsSnap
