"""A reference potential that LAMMPS evaluates: any pair style."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..computing import Reference
from ..configuration import Batch
from ..errors import SettingsError, listed, nearest
from ..lammps_engine import SPIN_FORCES, Setup, evaluate
from ..settings_values import element_symbols, flag, lines

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
    :param files: ``name=sha256`` of the files named in the lines above; filled in when empty, so that the
        identity of the baseline covers their content
    """

    elements: tuple[str, ...]
    pair_style: str
    pair_coeff: tuple[str, ...]
    units: str = "metal"
    atom_style: str = "atomic"
    spin_forces: bool = True
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        put = functools.partial(object.__setattr__, self)
        put("elements", element_symbols(self.elements))
        put("pair_style", " ".join(lines("pair_style", self.pair_style)))
        put("pair_coeff", lines("pair_coeff", self.pair_coeff))
        put("spin_forces", flag("spin_forces", self.spin_forces))
        put("files", tuple(self.files) or self._digests())
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
        styles = [w.replace("/", "-") for w in words if w not in dull and not Path(w).is_file()]
        return "-".join(["lammps", *(dict.fromkeys(styles) or ["zero"])])

    def evaluate(self, batch: Batch) -> Reference:
        """Energy, force and stress of each configuration; stress is 0 unless periodic in all directions."""
        _same_files(self)
        potential: tuple[str, ...] = (
            f"pair_style {self.pair_style}",
            *(f"pair_coeff {line}" for line in self.pair_coeff),
        )
        if self.atom_style == "spin" and self.spin_forces:
            potential += (SPIN_FORCES,)
        return evaluate(batch, Setup(self.elements, potential, self.atom_style))

    def _digests(self) -> tuple[str, ...]:
        words = [w for line in (self.pair_style, *self.pair_coeff) for w in line.split()]
        return tuple(
            f"{word}={hashlib.sha256(Path(word).read_bytes()).hexdigest()}"
            for word in dict.fromkeys(words)
            if Path(word).is_file()
        )


@functools.cache
def _same_files(baseline: Lammps) -> None:
    """Refuse files that are not those the baseline was made with."""
    now = baseline._digests()
    for entry in baseline.files:
        if entry not in now:
            name, _, digest = entry.partition("=")
            state = "has changed" if Path(name).is_file() else "is not in this folder"
            raise SettingsError(
                f"baseline 'lammps': the file {name!r} {state}. Expected sha256 {digest}. "
                "Put it back, or make a new baseline from the new file."
            )


plugin = Lammps
