"""A reference potential of LAMMPS: any pair style."""

from __future__ import annotations

import copy
import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..computing import Reference, backend, type_index
from ..configuration import Batch
from ..errors import MissingDependencyError, SettingsError, listed, nearest
from ..kernels import load
from ..kernels.calls import unlisted
from ..kernels.pair import Zbl
from ..lammps.engine import SPIN_FORCES, Setup, evaluate, unlisted_element
from ..lammps.pairs import compiled
from ..named_files import digest, entries, expected, gather, laid_out, matching
from ..runs.values import element_symbols, flag, lines

BACKEND_VARIABLE = "MLIPSTORE_BASELINE_BACKEND"
_ATOM_STYLES = ("atomic", "charge", "spin")


@dataclass(frozen=True)
class Lammps:
    """Energy, forces and stress of a LAMMPS pair style, to be subtracted from the labels before a fit.

    :param elements: chemical symbols of the LAMMPS types 1, 2, ...
    :param pair_style: what follows ``pair_style``, such as ``hybrid/overlay zero 10.0 zbl 4.0 4.8``
    :param pair_coeff: what follows ``pair_coeff``, one entry per line, such as ``* * zbl 73 73``
    :param units: ``metal``, the only one whose numbers are eV and Å
    :param atom_style: ``atomic``; ``spin`` and ``charge`` take magnetic moments and charges from the configurations
    :param spin_forces: forces and stresses hold the part of spin pair styles, as minus the gradient of the energy
        must; without it they are those of a LAMMPS run without ``fix nve/spin``, which FitSNAP subtracts
    :param files: ``name=sha256`` of the files named in the lines above, so that the identity of the baseline covers
        their content; found by itself when not given. The store keeps the content
    """

    elements: tuple[str, ...]
    pair_style: str
    pair_coeff: tuple[str, ...]
    units: str = "metal"
    atom_style: str = "atomic"
    spin_forces: bool = True
    files: tuple[str, ...] | None = None
    content: Mapping[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = functools.partial(object.__setattr__, self)
        put("elements", element_symbols(self.elements))
        put("pair_style", " ".join(lines("pair_style", self.pair_style)))
        put("pair_coeff", lines("pair_coeff", self.pair_coeff))
        put("spin_forces", flag("spin_forces", self.spin_forces))
        given = {"pair_style": self.pair_style, "pair_coeff": self.pair_coeff, "files": self.files}
        found, content = self.gathered(given, Path())
        put("pair_style", found["pair_style"])
        put("pair_coeff", found["pair_coeff"])
        put("files", tuple(found["files"]))
        put("content", content)
        if self.units != "metal":
            raise SettingsError(
                f"baseline 'lammps': units {self.units!r} are not supported. Write the pair_coeff lines in metal units."
            )
        if self.atom_style not in _ATOM_STYLES:
            raise SettingsError(
                f"baseline 'lammps': no atom style {self.atom_style!r}. "
                f"{nearest(self.atom_style, _ATOM_STYLES)}Known: {listed(_ATOM_STYLES)}."
            )
        if not self.pair_style:
            raise SettingsError("baseline 'lammps': pair_style is empty. Write for example: zbl 4.0 4.8")

    @staticmethod
    def example(elements: tuple[str, ...]) -> dict[str, Any]:
        """Small settings to try it with."""
        return {"elements": elements, "pair_style": "lj/cut 4.0", "pair_coeff": ["* * 0.1 2.2"]}

    def label(self) -> str:
        """Such as ``lammps-zbl``: the styles, without their numbers and without ``zero``."""
        words = [w for w in self.pair_style.split() if re.match(r"[A-Za-z]", w)]
        dull = {"zero", "nocoeff", "full", "hybrid", "hybrid/overlay", "hybrid/scaled"}
        styles = [w.replace("/", "-") for w in words if w not in {*dull, *expected(self.files or ())}]
        return "-".join(["lammps", *(dict.fromkeys(styles) or ["zero"])])

    def evaluate(self, batch: Batch) -> Reference:
        """Energy, force and stress of each configuration; stress is 0 unless periodic in all directions.

        Styles that :mod:`mlipstore.lammps.pairs` knows are computed without LAMMPS, with equal results to rounding;
        ``MLIPSTORE_BASELINE_BACKEND=lammps`` takes LAMMPS for them as well.
        """
        here = _compiled(self) if backend(BACKEND_VARIABLE) == "native" else None
        if here is not None:
            types = type_index(batch.number, self.elements)
            found = unlisted(batch, types)
            if found is not None:
                raise unlisted_element(*found, self.elements)
            return here.evaluate(batch, types)
        potential: tuple[str, ...] = _placed(self)
        if self.atom_style == "spin" and self.spin_forces:
            potential += (SPIN_FORCES,)
        try:
            return evaluate(batch, Setup(self.elements, potential, self.atom_style))
        except SettingsError as error:
            if "cannot open" not in str(error).lower():
                raise
            where = "Files are looked for beside the run file, then in the folder that LAMMPS_POTENTIALS names."
            raise SettingsError(f"{error} {where}") from None

    @staticmethod
    def gathered(settings: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Settings whose files are named without folders and by hash, and their content.

        :param folder: where the lines look for files; ``files`` that are given are looked for by their hashes
        """
        out = dict(settings)
        places = [folder, *(Path(p) for p in [os.environ.get("LAMMPS_POTENTIALS")] if p)]
        if out.get("files") is not None:
            there = {name: p.read_bytes() for name in expected(out["files"]) if (p := folder / name).is_file()}
            return out, matching(out["files"], there)
        style = lines("pair_style", out.get("pair_style", ""))
        coefficients = lines("pair_coeff", out.get("pair_coeff", ()))
        every = (*style, *coefficients)
        named, content = gather(every, [1] * len(style) + [2] * len(coefficients), places)
        if "pair_style" in out:
            out["pair_style"] = " ".join(named[: len(style)])
        if "pair_coeff" in out:
            out["pair_coeff"] = tuple(named[len(style) :])
        out["files"] = entries(content)
        return out, content

    def attached(self, content: Mapping[str, bytes]) -> Self:
        """The same baseline with its files."""
        out = copy.copy(self)
        object.__setattr__(out, "content", {**self.content, **matching(self.files or (), content)})
        return out


@functools.lru_cache(maxsize=16)
def _compiled(baseline: Lammps) -> Zbl | None:
    """The same potential without LAMMPS, None where that is not known or not built."""
    if baseline.atom_style != "atomic" or baseline.files:
        return None
    made = compiled(len(baseline.elements), baseline.pair_style, baseline.pair_coeff)
    if made is not None:
        try:
            load("pair", "baseline")
        except MissingDependencyError:
            return None
    return made


@functools.lru_cache(maxsize=16)
def _placed(baseline: Lammps) -> tuple[str, ...]:
    """The commands, whose files are where LAMMPS finds them.

    :raises SettingsError: a file is not there, or is another one
    """
    wanted = expected(baseline.files or ())
    content = dict(baseline.content)
    for name, sha in wanted.items():
        if name not in content:  # a store of an early version has the hash alone
            here = Path(name)
            content[name] = here.read_bytes() if here.is_file() else b""
            if digest(content[name]) != sha:
                state = "has changed" if here.is_file() else "is not in this folder"
                raise SettingsError(
                    f"baseline 'lammps': the file {name!r} {state}. Expected sha256 {sha}. "
                    "Put it back, or make a new baseline from the new file."
                )
    folder = laid_out({Path(name).name: data for name, data in content.items()}) if content else Path()
    paths = {name: str(folder / Path(name).name) for name in wanted}
    quoted = {name: f'"{path}"' if " " in path else path for name, path in paths.items()}
    return tuple(
        f"{command} {' '.join(quoted.get(word, word) for word in line.split())}"
        for command, line in (("pair_style", baseline.pair_style), *(("pair_coeff", c) for c in baseline.pair_coeff))
    )


plugin = Lammps
