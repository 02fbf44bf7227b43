"""Names, axes, types and chunk shapes of every stored array. ``schemas/store.schema.json`` says the same to others.

Every array carries crc32c as its last codec and NaN as the fill value of floating-point data, so that neither a
flipped bit nor a lost chunk can come back as a plausible number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

FORMAT_VERSION = 1
#: Target size of a chunk in bytes: one chunk is decoded by one thread, larger ones lose throughput.
CHUNK_BYTES = 4 << 20
#: A segment is closed when it holds this many atoms or configurations (the unit of work and of restart).
SEGMENT_ATOMS = 65_536
SEGMENT_CONFIGURATIONS = 4_096

FIXED_AXES = {"xyz": 3, "vector": 3, "voigt": 6, "uid_byte": 32, "geometry_byte": 16, "element_byte": 16, "fact": 6}


@dataclass(frozen=True)
class ArraySpec:
    """One stored array: axes by name, type, unit, and what it means."""

    name: str
    dims: tuple[str, ...]
    dtype: str
    units: str
    long_name: str
    optional: bool = False

    @property
    def fill_value(self) -> Any:
        """NaN for floating point, else zero (or an empty string)."""
        if self.dtype == "str":
            return ""
        return np.nan if np.dtype(self.dtype).kind == "f" else np.dtype(self.dtype).type(0)

    def attributes(self) -> dict[str, str]:
        return {"units": self.units, "long_name": self.long_name}


def _table(*rows: tuple[Any, ...]) -> dict[str, ArraySpec]:
    return {r[0]: ArraySpec(*r) for r in rows}


CONFIGURATIONS = _table(
    ("energy", ("configuration",), "f8", "eV", "total energy of the cell; NaN = missing"),
    ("stress", ("configuration", "voigt"), "f8", "eV/Å^3",
     "stress, positive in tension, xx yy zz yz xz xy; NaN = missing"),
    ("cell", ("configuration", "vector", "xyz"), "f8", "Å", "lattice vectors as rows"),
    ("pbc", ("configuration", "vector"), "bool", "1", "periodic along each lattice vector"),
    ("n_atoms", ("configuration",), "i8", "1", "number of atoms"),
    ("atom_start", ("configuration",), "i8", "1", "first atom of the configuration in atoms/<segment>"),
    ("group", ("configuration",), "str", "1", "group of the configuration"),
    ("source", ("configuration",), "str", "1", "file the configuration came from"),
    ("frame", ("configuration",), "i8", "1", "frame in that file, from 0"),
    ("info", ("configuration",), "str", "1", "what else the file said, JSON text"),
    ("uid", ("configuration", "uid_byte"), "u1", "1", "sha256 of species, cell, positions, pbc and labels"),
    ("geometry", ("configuration", "geometry_byte"), "u1", "1",
     "hash of species, pbc, and cell and positions rounded to 1e-4 Å: equal for copies"),
)  # fmt: skip
ATOMS = _table(
    ("number", ("atom",), "i4", "1", "atomic number"),
    ("position", ("atom", "xyz"), "f8", "Å", "Cartesian position"),
    ("force", ("atom", "xyz"), "f8", "eV/Å", "force; NaN = missing"),
    ("spin", ("atom", "xyz"), "f8", "μB", "magnetic moment vector; NaN = missing", True),
    ("charge", ("atom",), "f8", "e", "charge; NaN = missing", True),
)
BASELINES = _table(
    ("energy", ("configuration",), "f8", "eV", "energy of the reference potential"),
    ("force", ("atom", "xyz"), "f8", "eV/Å", "force of the reference potential"),
    ("stress", ("configuration", "voigt"), "f8", "eV/Å^3", "stress of the reference potential, positive in tension"),
)
BASELINE_FILES = _table(
    ("file_name", ("file",), "str", "1", "name of a file that the settings name", True),
    ("file_size", ("file",), "i8", "byte", "its size", True),
    ("file_content", ("byte",), "u1", "1", "content of the files, one after another", True),
)
FEATURES = _table(
    ("A_E", ("configuration", "feature"), "f8", "eV", "energy rows: total energy per unit coefficient"),
    ("A_F", ("force_row", "feature"), "f8", "eV/Å", "force rows, atom-major, x y z"),
    ("A_S", ("stress_row", "feature"), "f8", "eV/Å^3", "stress rows, positive in tension, xx yy zz yz xz xy"),
)
FACTORS = _table(
    ("R", ("packed",), "f8", "1",
     "triangles of [features | composition | targets] of the keys in the attributes, one after another; column by "
     "column, without what is zero: column j of a key of n rows has min(j + 1, n) numbers"),
)  # fmt: skip
INDEX = _table(
    ("uid", ("configuration", "uid_byte"), "u1", "1", "content hash, see configurations"),
    ("geometry", ("configuration", "geometry_byte"), "u1", "1", "geometry hash, see configurations"),
    ("segment", ("configuration",), "i4", "1", "segment, as a position in the list of segments in the attributes"),
    ("position", ("configuration",), "i4", "1", "position in the segment"),
    ("state", ("configuration",), "u1", "1", "0 live, 1 removed, 2 replaced, 3 moved: the same content is elsewhere"),
    ("facts", ("configuration", "fact"), "f8", "1, eV, Å^3, eV/Å, eV/Å^3, 1",
     "number of atoms, energy, volume of a periodic cell, largest force, pressure, sum of 1, 2, 4 for each periodic "
     "lattice vector; NaN = missing", True),
    ("elements", ("configuration", "element_byte"), "u1", "1",
     "which elements: bit z mod 8 of byte z div 8 is set for atomic number z", True),
)  # fmt: skip
ANNOTATIONS = _table(
    ("uid", ("configuration", "uid_byte"), "u1", "1", "configurations that have it, by content hash, sorted"),
    ("value", ("configuration",), "str", "1", "what was said about each, JSON text; flags have none", True),
)
MODELS = _table(
    ("coefficient", ("feature",), "f8", "eV", "coefficient of each column, in eV per unit feature"),
    ("column", ("feature",), "str", "1", "name of each column"),
    ("constant", ("element",), "f8", "eV", "energy per atom of each element"),
    ("element", ("element",), "str", "1", "element symbol"),
    ("R", ("packed",), "f8", "1", "upper triangle, packed by columns, of the factor of the weighted [A | b]"),
)
STUDIES = _table(
    ("parameter", ("trial", "parameter"), "f8", "1 or eV",
     "what was tried: factors on weights, penalty, energy shifts, as the attribute parameters names them"),
    ("objective", ("trial", "objective"), "f8", "eV/atom, eV/Å, eV/Å^3",
     "root mean square errors of the rows that were predicted"),
    ("run", ("trial",), "i4", "1", "run of the method that the trial belongs to"),
)  # fmt: skip
AUDITS = _table(
    ("finding", ("entry",), "i4", "1", "finding, as a position in the list of findings in the attributes"),
    ("uid", ("entry", "uid_byte"), "u1", "1", "content hash of a configuration that the finding is about"),
    ("twin", ("entry",), "i4", "1", "which of the configurations of that hash that count, in the order of the index"),
)
METRICS = _table(
    ("group", ("entry",), "str", "1", "group, or * for all"),
    ("split", ("entry",), "str", "1", "train or test"),
    ("kind", ("entry",), "str", "1", "energy, force or stress"),
    ("weighted", ("entry",), "bool", "1", "whether residuals carry their weights"),
    ("n", ("entry",), "i8", "1", "number of rows"),
    ("mae", ("entry",), "f8", "eV/atom, eV/Å, eV/Å^3", "mean absolute error"),
    ("rmse", ("entry",), "f8", "eV/atom, eV/Å, eV/Å^3", "root mean square error"),
    ("max", ("entry",), "f8", "eV/atom, eV/Å, eV/Å^3", "largest absolute error"),
    ("rsq", ("entry",), "f8", "1", "1 - sum r^2 / sum (b - mean b)^2"),
)
UNCERTAINTY = _table(
    ("deviation", ("member", "column"), "f8", "eV",
     "what each group or fold of the calibration pulls the coefficients (constants last) apart by"),
)  # fmt: skip

#: Groups of the store and the arrays in each; ``<...>`` stands for an id or a segment name.
GROUPS: dict[str, dict[str, ArraySpec]] = {
    "configurations/<segment>": CONFIGURATIONS,
    "atoms/<segment>": ATOMS,
    "baselines/<baseline-id>": BASELINE_FILES,
    "baselines/<baseline-id>/<segment>": BASELINES,
    "features/<feature-id>/<segment>": FEATURES,
    "factors/<feature-id>/<set-id>/<factored-segment>": FACTORS,
    "audits/<audit-id>": AUDITS,
    "studies/<study-id>": STUDIES,
    "models/<model-id>": MODELS,
    "models/<model-id>/metrics": METRICS,
    "models/<model-id>/uncertainty": UNCERTAINTY,
    "annotations/<annotation>": ANNOTATIONS,
    "card": {},
    "index": INDEX,
}


def chunk_shape(spec: ArraySpec, shape: tuple[int, ...], row_multiple: int = 1) -> tuple[int, ...]:
    """Chunks of about 4 MB with all trailing axes whole.

    :param row_multiple: rows of a chunk are a multiple of this (3 for force rows, 6 for stress rows)
    """
    width = 64 if spec.dtype == "str" else np.dtype(spec.dtype).itemsize
    for n in shape[1:]:
        width *= max(1, n)
    rows = max(row_multiple, CHUNK_BYTES // width // row_multiple * row_multiple)
    return (max(1, min(rows, shape[0])), *(max(1, n) for n in shape[1:]))


def segment_of(path: str) -> str:
    """The segment that a group or an array belongs to, by its path; empty for one that belongs to none."""
    parts = path.split("/")
    if parts[0] in ("configurations", "atoms") and len(parts) > 1:
        return parts[1]
    if parts[0] in ("features", "baselines") and len(parts) > 2:
        return parts[2]
    if parts[0] == "factors" and len(parts) > 3:
        return parts[3].partition("-")[0]
    return ""
