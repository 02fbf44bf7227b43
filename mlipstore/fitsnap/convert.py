"""A FitSNAP input becomes one commented run file that gives the same fit.

Linear and quadratic SNAP with the solvers SVD, RIDGE and ANL (its mean) are converted, with FitSNAP's defaults for
what the input leaves out. What would be another fit is refused; what has no counterpart is listed in a comment.
"""

from __future__ import annotations

import os
import re
import shlex
import textwrap
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, MlipstoreError, listed, nearest
from ..named_files import may_be_file
from ..runs.runfile import RunFile, dump_toml
from .groups import group_table
from .input import FitsnapInput

#: Singular values below this fraction of the largest are left out by FitSNAP's SVD.
RCOND = 1e-13
_WIDTH = 112
_NONLINEAR = "mlipstore converts linear and quadratic SNAP fits"
#: Solvers that are not converted, and what to do instead.
_OTHER_SOLVERS = {
    "LASSO": "convert a copy with 'solver = SVD', then write type = \"lasso\", alpha = ..., scale = false in "
    "[fit.solver] of the run file: the same penalty, iterated until it has converged",
    "ARD": "convert a copy with 'solver = SVD', then write type = \"ard\" in [fit.solver] of the run file",
    "SCALAPACK": "write 'solver = SVD': it is the same least-squares problem, and memory is bounded here",
    "TENSORFLOWSVD": "write 'solver = SVD': it is the same least-squares problem",
    "MCMC": "it samples around the least-squares solution. Write 'solver = SVD' for that solution",
    "MERR": "it fits a model-error term as well. Write 'solver = SVD' for the least-squares solution",
    "OPT": "write 'solver = SVD' for the least-squares solution",
    "BCS": "write 'solver = SVD' for the least-squares solution",
    **dict.fromkeys(("PYTORCH", "JAX", "NETWORK"), f"it trains a neural network; {_NONLINEAR}"),
}
_ZERO_COMMENT = "FitSNAP fits all-zero stress tensors as zero pressure; 'missing' leaves them out."


@dataclass
class Translation:
    """A run file made of a FitSNAP input.

    :param values: the settings, as nested tables
    :param comments: text above keys and tables, see :func:`mlipstore.runs.runfile.dump_toml`
    :param notes: what differs from FitSNAP or has no counterpart; they are in the head of the run file as well
    """

    values: dict[str, Any] = field(default_factory=dict)
    comments: dict[tuple[str, ...], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The run file."""
        return dump_toml(self.values, self.comments)


def convert(path: str | Path, output: str | Path | None = None) -> str:
    """Text of a run file that does what the FitSNAP input ``path`` does.

    :param output: where the run file will be written, for its relative paths; the current folder when None
    :raises SettingsError: there is no such file
    :raises InputError: the input is not valid, or asks for something that mlipstore does not do
    """
    return translate(path, output).text


def translate(path: str | Path, output: str | Path | None = None) -> Translation:
    """As :func:`convert`, with the notes apart."""
    source = FitsnapInput(path)
    _refuse_other_methods(source)
    source.refuse_unknown()
    out = Translation()
    folder = Path.cwd() if output is None else Path(output).absolute().parent
    stem = source.path.stem
    out.values["store"] = f"{stem}.mlip"
    groups, notes = group_table(source)
    out.notes += notes
    _ingest(source, out, folder, list(groups))
    elements = _descriptor(source, out)
    _baseline(source, out, folder)
    _fit(source, out, elements, groups)
    _outputs(source, out)
    for section, keys, reason in source.left_out():
        what = f"[{section}]" + (f" {listed(keys)}" if keys else "")
        out.notes.append(f"{what}: not converted; {reason}.")
    target = Path(output).name if output is not None else f"{stem}.toml"
    out.comments[()] = _head(source, target, out.notes)
    try:
        RunFile.from_dict(tomllib.loads(out.text), "the run file made of it")
    except MlipstoreError as e:
        raise InputError(str(e), str(path)) from None
    return out


def _head(source: FitsnapInput, target: str, notes: list[str]) -> str:
    lines = [
        f"Made of the FitSNAP input {source.path.name}. Run it with: mlipstore run {shlex.quote(target)}",
        f"Paths are relative to this file ({target}). Comments name the FitSNAP sections the values come from.",
    ]
    if notes:
        lines += ["", "What to know:"]
        for note in notes:
            lines += textwrap.wrap(note, _WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def _refuse_other_methods(source: FitsnapInput) -> None:
    """One clear error for what would be another fit."""
    if "MODEL" in source.sections:
        raise source.error(
            "MODEL",
            None,
            "this section is from FitSNAP before version 3. Move bzeroflag and quadraticflag to [BISPECTRUM] and "
            "solver to [SOLVER], and name the data dataPath in [PATH].",
        )
    calculator = source.word("CALCULATOR", "calculator", "LAMMPSSNAP").upper()
    if calculator != "LAMMPSSNAP":
        what = {"LAMMPSPACE": "ACE descriptors", "LAMMPSCUSTOM": "pair networks"}.get(calculator, "another descriptor")
        raise source.error("CALCULATOR", "calculator", f"{calculator} means {what}; {_NONLINEAR}.")
    for key in ("nonlinear", "per_atom_scalar"):
        if source.flag("CALCULATOR", key):
            raise source.error("CALCULATOR", key, f"this is a non-linear fit; {_NONLINEAR}.")
    for key in ("bikflag", "dgradflag"):
        if source.flag("BISPECTRUM", key):
            raise source.error(
                "BISPECTRUM",
                key,
                f"per-atom rows belong to non-linear fits; {_NONLINEAR}. Set it to 0 for a linear fit.",
            )
    solver = source.word("SOLVER", "solver", "SVD").upper()
    if solver in _OTHER_SOLVERS:
        raise source.error("SOLVER", "solver", f"{solver} is not converted: {_OTHER_SOLVERS[solver]}.")
    if solver not in ("SVD", "RIDGE", "ANL"):
        known = ["SVD", "RIDGE", "ANL"]
        hint = nearest(solver, [*known, *_OTHER_SOLVERS])
        raise source.error("SOLVER", "solver", f"no solver {solver!r}. {hint}Converted are {listed(known)}.")
    style = source.word("OUTFILE", "output_style", "SNAP").upper()
    if style != "SNAP":
        raise source.error("OUTFILE", "output_style", f"{style} is not the output of a SNAP fit; {_NONLINEAR}.")
    if source.flag("EXTRAS", "only_test"):
        raise source.error("EXTRAS", "only_test", "it tests a potential without a fit. Set it to 0 to convert the fit.")


def _descriptor(source: FitsnapInput, out: Translation) -> list[str]:
    """``[descriptor]`` of BISPECTRUM; returns the elements in type order."""
    section = "BISPECTRUM"
    if section not in source.sections:
        raise InputError(
            f"there is no section [BISPECTRUM]; {_NONLINEAR}, whose settings stand there.", str(source.path)
        )
    elements = source.word(section, "type", "H").split()
    n = len(elements)
    if "numTypes" in source.sections[section] and source.real(section, "numTypes", "1") != n:
        raise source.error(
            section,
            "numTypes",
            f"found {source.word(section, 'numTypes', '')}, but 'type' names {n}: {listed(elements)}.",
        )
    table: dict[str, Any] = {"type": "snap", "elements": elements}

    def per_element(key: str, default: str, whole: bool = False) -> Any:
        values = source.per_element(section, key, default, n, whole)
        return values[0] if n == 1 else values

    table["rcutfac"] = source.real(section, "rcutfac", "4.67637")
    table["twojmax"] = twojmax = per_element("twojmax", "6", whole=True)
    table["radelem"] = per_element("radelem", "0.5")
    table["wj"] = per_element("wj", "1.0")
    table["rfac0"] = source.real(section, "rfac0", "0.99363")
    table["rmin0"] = source.real(section, "rmin0", "0.0")
    if not source.flag(section, "switchflag", True):
        table["switchflag"] = False
        out.notes.append(
            "switchflag = 0: FitSNAP does not write it into .snapparam; LAMMPS runs FitSNAP's files with switching on."
        )
    if source.flag(section, "switchinnerflag"):
        table["switchinnerflag"] = True
        table["sinner"] = per_element("sinner", "0.9")
        table["dinner"] = per_element("dinner", "0.1")
    for key in ("bzeroflag", "quadraticflag"):
        table[key] = source.flag(section, key)
    for key in ("chemflag", "bnormflag", "wselfallflag"):
        if source.flag(section, key):
            table[key] = True
    if isinstance(twojmax, list) and max(twojmax) >= 10 > min(twojmax):
        out.notes.append(
            "twojmax: FitSNAP compares mixed values as text and takes a wrong maximum when some have two digits; "
            "here each element has the value written."
        )
    out.values["descriptor"] = table
    out.comments["descriptor",] = "[BISPECTRUM]: distances in Å; one value per element where there are several"
    return elements


def _baseline(source: FitsnapInput, out: Translation, folder: Path) -> None:
    """``[baseline]`` of REFERENCE, unless it is nothing but ``zero``."""
    section = "REFERENCE"
    units = source.word(section, "units", "metal")
    if units != "metal":
        raise source.error(
            section, "units", f"found {units!r}; energies and distances are in metal units (eV, Å) here."
        )
    style = source.word(section, "pair_style", "zero 10.0")
    coefficients = [source.word(section, k, "") for k in source.sections.get(section, {}) if k.startswith("pair_coeff")]
    own = [w for w in style.split() if re.match("[A-Za-z]", w) and not re.match(r"hybrid(/\w+)?$", w)]
    if own and set(own) <= {"zero", "full", "nocoeff"}:
        out.notes.append(f"[REFERENCE] pair_style {style}: without energies and forces, so there is no baseline.")
        return
    moved = _Files(source.path.absolute().parent, folder)
    table: dict[str, Any] = {
        "type": "lammps",
        "pair_style": moved.line(style),
        "pair_coeff": [moved.line(c) for c in coefficients],
    }
    if moved.found:
        out.notes.append(f"[REFERENCE] reads {listed(moved.found)}: looked for beside this file and kept in the store.")
    atom_style = source.word(section, "atom_style", "atomic")
    if atom_style != "atomic":
        table["atom_style"] = atom_style
    if atom_style == "spin":
        # LAMMPS leaves the part of spin pair styles out of forces unless told otherwise, and FitSNAP does not tell it
        table["spin_forces"] = False
        out.notes.append(
            "[REFERENCE] atom_style spin: spin_forces = false repeats FitSNAP, whose reference forces and stresses "
            "lack the part of spin pair styles; true has it (the gradient of the energy)."
        )
    out.values["baseline"] = table
    out.comments["baseline",] = "[REFERENCE]: a LAMMPS pair style whose energies, forces and stresses are subtracted"
    if style != style.lower():
        out.notes.append(
            "pair_style keeps its capital letters, for file names; FitSNAP writes all of it in lower case."
        )


class _Files:
    """Words of LAMMPS lines that are files beside an input, as seen from the folder of the run file."""

    def __init__(self, here: Path, folder: Path) -> None:
        self.here, self.folder = here, folder
        self.found: list[str] = []

    def line(self, line: str) -> str:
        """The line with relative names of files made relative to the run file."""
        return " ".join(map(self._word, line.split()))

    def _word(self, word: str) -> str:
        path = self.here / word
        if Path(word).is_absolute() or not may_be_file(word) or not path.is_file():
            return word
        place = Path(os.path.relpath(path, self.folder)).as_posix()
        if word not in self.found:
            self.found.append(word)
        return f'"{place}"' if " " in place else place


def _ingest(source: FitsnapInput, out: Translation, folder: Path, groups: list[str]) -> None:
    """``[ingest]`` of PATH and SCRAPER."""
    scraper = source.word("SCRAPER", "scraper", "JSON").upper()
    given = Path(source.word("PATH", "dataPath", "JSON")).expanduser()
    data = source.path.absolute().parent / given
    where = given.as_posix() if given.is_absolute() else Path(os.path.relpath(data, folder)).as_posix()
    ingest: dict[str, Any] = {}
    if scraper == "JSON":
        ingest = {"sources": [where], "format": "fitsnap-json", "group_by": "directory"}
        missing = [g for g in groups if data.is_dir() and not (data / g).is_dir()]
        expected = "folder"
    elif scraper == "XYZ":
        files = {g: next((s for s in (".xyz", ".extxyz") if (data / f"{g}{s}").is_file()), ".xyz") for g in groups}
        ingest = {
            "sources": [f"{where}/{g}{suffix}" for g, suffix in files.items()],
            "format": "extxyz",
            "group_by": "file",
            "energy_key": "energy",
            "force_key": "forces",
            "stress_key": "stress",
            "stress_unit": "lammps-bar",
            "stress_sign": "compression",
        }
        out.comments["ingest", "stress_unit"] = "FitSNAP's XYZ files hold pressures: bar, positive in compression"
        missing = [g for g, suffix in files.items() if data.is_dir() and not (data / f"{g}{suffix}").is_file()]
        expected = "file"
    elif scraper == "VASP":
        raise source.error(
            "SCRAPER",
            "scraper",
            "VASP output is ingested directly. Convert a copy of this input with 'scraper = JSON', then take the "
            f'format key out of [ingest], keep sources = ["{where}"] and group_by = "directory", and list in '
            "include_groups and [fit.groups] the folders below it that hold an OUTCAR (e.g. Defects/type1).",
        )
    else:
        raise source.error(
            "SCRAPER", "scraper", f"no scraper {scraper!r}. {nearest(scraper, ['JSON', 'XYZ'])}Converted are JSON, XYZ."
        )
    if not data.is_dir():
        out.notes.append(f"[PATH] dataPath: there is no folder {where!r} here now; ingest needs it.")
    if missing:
        out.notes.append(f"[GROUPS] no {expected} in {where!r} for {listed(missing)}; ingest will say so.")
    ingest |= {"include_groups": groups, "zero_stress": "value"}
    out.values["ingest"] = ingest
    out.comments["ingest",] = "[PATH] and [SCRAPER]"
    out.comments["ingest", "zero_stress"] = _ZERO_COMMENT


def _fit(source: FitsnapInput, out: Translation, elements: list[str], groups: dict[str, dict[str, Any]]) -> None:
    """``[fit]`` with solver, element shifts and groups."""
    fit: dict[str, Any] = {"name": Path(source.word("OUTFILE", "potential", "fitsnap_potential")).name}
    if "baseline" not in out.values:
        fit["baseline"] = "none"
    fit["constant"] = not source.flag("BISPECTRUM", "bzeroflag")
    fit["stress_weight_unit"] = "bar"
    fit["weight_scaling"] = "group-size" if source.flag("GROUPS", "smartweights") else "none"
    fit["unlisted_groups"] = "exclude"
    fit["frame"] = "lammps"
    comments = {
        ("fit",): "[SOLVER], [ESHIFT] and [GROUPS]",
        ("fit", "constant"): "bzeroflag = 0 has one constant per element, bzeroflag = 1 has none",
        ("fit", "stress_weight_unit"): "vweight multiplies residuals in bar",
        ("fit", "weight_scaling"): "smartweights",
        ("fit", "frame"): "FitSNAP turns every cell into the frame of LAMMPS before it fits and counts errors",
    }
    if source.flag("GROUPS", "random_sampling") and "random_seed" in source.sections.get("GROUPS", {}):
        fit["seed"] = abs(int(source.real("GROUPS", "random_seed", "0")))
        comments["fit", "seed"] = "random_seed; its split is not FitSNAP's"
    partial = any(not (isinstance(g["train"], float) and g["train"] in (0.0, 1.0)) for g in groups.values())
    if partial:
        out.notes.append(
            "Train and test sets: here a hash of each configuration and the seed decide, so that the split is the same "
            "on every machine and copies are on one side. FitSNAP takes files in directory order (or shuffled), so its "
            "sets are other ones of about the same size; errors differ accordingly."
        )
    solver = source.word("SOLVER", "solver", "SVD").upper()
    if solver == "RIDGE":
        alpha = source.real("RIDGE", "alpha", "1e-8")
        if alpha < 0:
            raise source.error("RIDGE", "alpha", f"found {alpha:g}, expected a number of at least 0.")
        fit["solver"] = {"type": "ridge", "alpha": alpha}
        comments["fit", "solver"] = "[RIDGE]: alpha |coefficients|^2 is added to the sum of squared weighted residuals"
    else:
        fit["solver"] = {"type": "svd", "rcond": RCOND}
        comments["fit", "solver"] = "singular values below rcond x the largest are left out, as in FitSNAP"
    if solver == "ANL":
        out.notes.append(
            "[SOLVER] ANL: its mean is the least-squares solution, which this file asks for; its covariance and "
            "samples (nsam, cov_nugget) are not made."
        )
    shifts = {e: source.real("ESHIFT", e, "0.0") for e in source.sections.get("ESHIFT", {}) if e in elements}
    if others := [e for e in source.sections.get("ESHIFT", {}) if e not in elements]:
        out.notes.append(f"[ESHIFT] {listed(others)}: not among the elements of 'type', without effect.")
    if shifts:
        fit["element_shifts"] = shifts
        comments["fit", "element_shifts"] = (
            "[ESHIFT]: eV per atom, added to the energy labels; the potential has them too"
        )
    fit["groups"] = groups
    comments["fit", "groups"] = (
        "[GROUPS]: train and test are fractions with a decimal point (1.0 = all), integers are counts;\n"
        "weights multiply residuals in eV/atom, eV/Å, bar"
    )
    out.values["fit"] = fit
    out.comments |= comments


def _outputs(source: FitsnapInput, out: Translation) -> None:
    """``[evaluate]`` and ``[export]``."""
    out.values["evaluate"] = {"units": "fitsnap"}
    out.comments["evaluate",] = (
        "errors in eV/atom, eV/Å and bar as FitSNAP prints them; 'standard' is meV/atom, meV/Å, GPa"
    )
    prefix = source.word("OUTFILE", "potential", "fitsnap_potential")
    out.values["export"] = {"formats": ["lammps-snap"], "prefix": prefix}
    out.comments["export",] = "[OUTFILE]: .snapcoeff, .snapparam and .mod for LAMMPS"
