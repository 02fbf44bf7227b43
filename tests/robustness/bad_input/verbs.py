"""What comes after a fit, run files and FitSNAP inputs."""

from __future__ import annotations

import os

from ..sources import RUN
from .cases import Place, Words, case, first_atom


# ----------------------------------------------------------------- what follows
@case(2, "modell", "model")
def replay_a_model_that_is_not_there(p: Place) -> Words:
    return ["replay", p.store, "modell"]


@case(2, "lammps-snapp", "lammps-snap")
def export_in_an_unknown_format(p: Place) -> Words:
    return ["export", p.store, "model", "--format", "lammps-snapp"]


@case(1, "nowhere")
def export_into_a_file(p: Place) -> Words:
    p.file("nowhere", "a file, not a folder")
    return ["export", p.store, "model", "-o", p.folder / "nowhere" / "out"]


@case(1, "bad.xyz, frame 0", "does not know", "Ta W")
def predict_an_element_the_model_does_not_know(p: Place) -> Words:
    return ["predict", p.store, "model", p.xyz(lambda t: first_atom(t, 0, "Be"))]


@case(1, "cannot write", "file")
def predict_into_a_file_as_a_folder(p: Place) -> Words:
    return ["predict", p.store, "model", p.xyz(), "-o", p.file("file", "precious") / "out.xyz"]


@case(2, "out.xyz exists", "--force")
def predict_over_a_file(p: Place) -> Words:
    return ["predict", p.store, "model", p.xyz(), "-o", p.file("out.xyz", "precious")]


@case(2, "out.mod exists", "--force")
def export_over_a_file(p: Place) -> Words:
    return ["export", p.store, "model", "-o", p.file("out.mod", "precious").with_suffix("")]


@case(2, "out.xyz exists", "--force")
def export_configurations_over_a_file(p: Place) -> Words:
    return ["export", p.store, "--format", "extxyz", "-o", p.file("out.xyz", "precious")]


@case(2, "folder", "--output")
def export_configurations_over_a_folder(p: Place) -> Words:
    return ["export", p.store, "--format", "extxyz", "--force", "-o", p.file("out/precious", "precious").parent]


@case(2, "out.xyz exists", "--force")
def select_over_a_file(p: Place) -> Words:
    return ["select", p.store, "model", p.xyz(), "-o", p.file("out.xyz", "precious")]


@case(2, "bad.toml exists", "--force")
def search_over_its_own_run_file(p: Place) -> Words:
    file = p.changed("[fit]", "[fit]")
    return ["search", p.store, "-c", file, "-o", file]


@case(1, "gone.xyz")
def predict_a_file_that_is_not_there(p: Place) -> Words:
    return ["predict", p.store, "model", p.folder / "gone.xyz", "-o", p.folder / "out.xyz"]


@case(1, "bad.xyz", "frame")
def predict_a_truncated_file(p: Place) -> Words:
    return ["predict", p.store, "model", p.xyz(lambda t: t[:-200]), "-o", p.folder / "out.xyz"]


@case(2, "tiff", "png")
def plot_in_an_unknown_format(p: Place) -> Words:
    return ["plot", p.store, "model", "-o", p.folder / "plots", "--format", "tiff"]


# --------------------------------------------------------- run and from-fitsnap
@case(2, "store")
def run_without_a_store(p: Place) -> Words:
    return ["run", p.settings]


@case(1, "gone")
def run_with_a_source_that_is_not_there(p: Place) -> Words:
    return ["run", p.toml('store = "new.mlip"\n[ingest]\nsources = ["gone"]\n' + RUN)]


@case(2, "pattern", "*.abc")
def run_with_a_pattern_that_matches_nothing(p: Place) -> Words:
    return ["run", p.toml('store = "new.mlip"\n[ingest]\nsources = ["*.abc"]\n' + RUN)]


@case(2, "tabs", "plots")
def run_with_plots_of_another_kind(p: Place) -> Words:
    return [
        "run",
        p.toml(
            'store = "new.mlip"\n[ingest]\nsources = ["."]\n' + RUN + '[plot]\ndirectory = "plots"\nformat = "tabs"\n'
        ),
    ]


@case(1, "in.fitsnap")
def from_fitsnap_garbage(p: Place) -> Words:
    return ["from-fitsnap", p.file("in.fitsnap", "lorem ipsum\n= dolor")]


@case(1, "in.fitsnap", "PYTORCH")
def from_fitsnap_unsupported_solver(p: Place) -> Words:
    return ["from-fitsnap", p.file("in.fitsnap", FITSNAP.replace("SVD", "PYTORCH"))]


@case(2, "gone.in")
def from_fitsnap_file_that_is_not_there(p: Place) -> Words:
    return ["from-fitsnap", p.folder / "gone.in"]


@case(2, "exists", "--force")
def from_fitsnap_over_a_file(p: Place) -> Words:
    return ["from-fitsnap", p.file("in.fitsnap", FITSNAP), "-o", p.file("run.toml", "precious")]


@case(1, "cannot write", "--output")
def from_fitsnap_into_a_file_as_a_folder(p: Place) -> Words:
    return ["from-fitsnap", p.file("in.fitsnap", FITSNAP), "-o", p.file("file", "precious") / "run.toml"]


FITSNAP = f"""[BISPECTRUM]
numTypes = 1
twojmax = 6
rcutfac = 4.67637
rfac0 = 0.99363
rmin0 = 0.0
wj = 1.0
radelem = 0.5
type = Ta
wselfallflag = 0
chemflag = 0
bzeroflag = 0
quadraticflag = 0

[CALCULATOR]
calculator = LAMMPSSNAP
energy = 1
force = 1
stress = 1

[ESHIFT]
Ta = 0.0

[SOLVER]
solver = SVD
compute_testerrs = 1
detailed_errors = 1

[SCRAPER]
scraper = JSON

[PATH]
dataPath = {os.curdir}

[OUTFILE]
metrics = Ta_metrics.md
potential = Ta_pot

[REFERENCE]
units = metal
atom_style = atomic
pair_style = zero 10.0
pair_coeff = * *

[GROUPS]
group_sections = name training_size testing_size eweight fweight vweight
group_types = str float float float float float
A = 1.0 0.0 100 1 1.0e-8
"""
