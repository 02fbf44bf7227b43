"""VASP ``OUTCAR``: every ionic step with its positions, forces, stress and energy.

Energy is ``energy(sigma->0)``; forces are derivatives of the free energy ``TOTEN``, kept as ``info["free_energy"]``.
Stress: the row ``in kB`` (XX YY ZZ XY YZ ZX, kbar, compression positive). Steps of a machine-learned force field, and
steps without positions (``NWRITE = 0``), are no training data: left out, with a note. Steps whose electronic loop did
not converge are kept, with a note and ``info["unconverged"]``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..configuration import F8, Configuration
from ..errors import InputError, listed
from ..labels import atomic_numbers, checked, place_of, stress_factor, stress_unit, symmetric_stress
from ..reading import STRESS, ReadOptions, ReadReport, below, group_name, selected

_ORDER = "xx yy zz xy yz xz"
# Fortran may write numbers of full width without a blank between them
_FIXED5 = re.compile(r"-?\d+\.\d{5}")
_REAL = re.compile(r"-?\d+\.\d+(?:[eE][-+]?\d+)?")
_ITERATION = re.compile(r"- Iteration\s+(\d+)\(\s*(\d+)\)")
_SIGMA0 = re.compile(r"energy\(sigma->0\)\s*=\s*(\S+)")
_TOTEN = re.compile(r"TOTEN\s*=\s*(\S+)")


@dataclass(slots=True)
class _Step:
    """What has been read of one ionic step."""

    line: int = 0
    cell: F8 | None = None
    table: F8 | None = None
    kbar: F8 | None = None
    moments: list[F8] = field(default_factory=list)
    free_energy: float = float("nan")
    energy: float = float("nan")
    electronic_steps: int = 0
    most_steps: int = 0
    not_reached: bool = False
    learned: bool = False
    broken: bool = False


@dataclass(frozen=True)
class VaspOutcar:
    """Reader of OUTCAR files."""

    options: ReadOptions = field(default_factory=ReadOptions)
    takes: ClassVar[tuple[str, ...]] = (*STRESS, "index")

    @staticmethod
    def recognises(path: Path, head: bytes) -> bool:
        """A text that begins with the version of VASP."""
        return head.lstrip().startswith(b"vasp.") and (b"executed on" in head or "OUTCAR" in path.name)

    def files(self, path: Path) -> list[Path]:
        """All files with OUTCAR in their name below a folder."""
        return below(path, "*OUTCAR*", "*.outcar")

    def read(self, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
        """Stream the ionic steps of one run."""
        group = group_name(self.options, path, root, "directory", {})
        what = "energy is energy(sigma->0); forces are derivatives of the free energy, kept as free_energy (VASP)"
        numbers = None
        for frame, (symbols, step) in selected(enumerate(_steps(path, report)), self.options.index):
            if numbers is None:
                numbers = atomic_numbers(symbols, path)
            assert step.table is not None
            stress = None
            if step.kbar is None:
                report.met("no stress in the step", place_of(path, frame))
            else:
                sign = self.options.stress_sign or "compression"
                report.assume(f"stress in {stress_unit(self.options, group, 'kbar')}, {sign} positive (VASP)")
                scale = stress_factor(self.options, group, "kbar", "compression")
                order = self.options.group_stress_order.get(group) or self.options.stress_order or _ORDER
                stress = symmetric_stress(step.kbar, order, scale, report, path, frame)
            info: dict[str, object] = {"free_energy": step.free_energy}
            # "EDIFF is reached" is printed by some versions at the end of every loop: count the steps, too
            if step.not_reached or 0 < step.most_steps <= step.electronic_steps:
                info["unconverged"] = True
                report.met("electronic loop took NELM steps: kept, marked unconverged", place_of(path, frame))
            report.assume(what)
            configuration = Configuration(
                numbers=numbers,
                positions=step.table[:, :3].copy(),
                cell=np.zeros((3, 3)) if step.cell is None else step.cell,
                pbc=np.ones(3, bool),
                energy=step.energy,
                forces=step.table[:, 3:].copy(),
                stress=stress,
                group=group,
                source=os.fspath(path),
                frame=frame,
                spin=_spin(step.moments, len(numbers)),
                info=info,
            )
            try:
                checked(configuration, report, path, step.line)
            except InputError as error:
                report.refuse(error)
                continue
            yield configuration


def _spin(moments: list[F8], n: int) -> F8 | None:
    """Collinear moments point along z; three tables are x, y and z."""
    if len(moments) not in (1, 3) or any(len(m) != n for m in moments):
        return None
    if len(moments) == 3:
        return np.column_stack(moments)
    return np.column_stack([np.zeros((n, 2)), moments[0]])


class _Header:
    """Elements and numbers of atoms, from the lines before the first step."""

    def __init__(self) -> None:
        self.potentials: dict[str, list[str]] = {"VRHFIN": [], "TITEL": [], "POTCAR:": []}
        self.counts: list[int] = []
        self.more = False
        self.most_steps = 0

    def take(self, line: str) -> None:
        text = line.strip()
        if self.more:  # many types: the list of numbers goes on in the next line
            if text and all(w.isdecimal() for w in text.split()):
                self.counts += [int(w) for w in text.split()]
                return
            self.more = False
        if text.startswith("ions per type ="):
            self.counts, self.more = [int(w) for w in text.partition("=")[2].split() if w.isdecimal()], True
        elif text.startswith("NELM ") and (m := re.match(r"NELM\s*=\s*(\d+)\s*;", text)) is not None:
            self.most_steps = int(m[1])
        elif text.startswith("VRHFIN"):
            self.potentials["VRHFIN"].append(text.partition("=")[2].partition(":")[0].strip())
        elif text.startswith(("TITEL", "POTCAR:")):
            name = "TITEL" if text.startswith("TITEL") else "POTCAR:"
            words = text.replace("=", " ").split()[1:]
            word = words[1] if len(words) > 1 else (words[0] if words else "")
            self.potentials[name].append(re.split(r"[_.]", word)[0])

    def symbols(self, path: Path) -> list[str]:
        """One element per atom; :class:`InputError` if the header does not say."""
        kinds = len(self.counts)
        if not kinds or sum(self.counts) > 10**7:
            raise InputError("the header has no 'ions per type'.", str(path))
        for name, found in self.potentials.items():
            if name == "POTCAR:" and len(found) >= 2 * kinds:  # named once in a list, once before each potential
                found = found[-kinds:]
            if len(found) == kinds:
                return [s for s, n in zip(found, self.counts, strict=True) for _ in range(n)]
        have = listed(self.potentials["TITEL"] or self.potentials["POTCAR:"] or ["none"])
        raise InputError(f"{kinds} types of ions, and the potentials name {have}.", str(path))


def _steps(path: Path, report: ReadReport) -> Iterator[tuple[list[str], _Step]]:
    """Complete ionic steps; a run that ends inside one is refused after the others."""
    header, step, symbols = _Header(), _Step(), None
    good = iteration = n = 0
    ended = started = False
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = enumerate(file, 1)
            for n, line in lines:
                if symbols is None and not started:
                    header.take(line)
                if (m := _ITERATION.search(line)) is not None:
                    if int(m[1]) != iteration or not started:
                        iteration, started = int(m[1]), True
                        step = _Step(line=n, cell=step.cell, most_steps=header.most_steps)
                    step.electronic_steps = int(m[2])
                elif "direct lattice vectors" in line:
                    step.cell = _rows(lines, 3, 3, path, good, step, report)
                elif line.lstrip().startswith("in kB"):
                    found = [float(x) for x in _FIXED5.findall(line)]
                    step.kbar = np.array(found) if len(found) == 6 else None
                    if len(found) != 6:
                        report.met("the stress is not six numbers: missing", place_of(path, good))
                elif "TOTAL-FORCE (eV/Angst" in line:
                    symbols = header.symbols(path) if symbols is None else symbols
                    next(lines, None)
                    step.table = _rows(lines, len(symbols), 6, path, good, step, report)
                    step.line = step.line or n
                elif "magnetization (" in line and started:
                    symbols = header.symbols(path) if symbols is None else symbols
                    moments = _moments(lines, len(symbols))
                    step.moments = [moments] if "(x)" in line else [*step.moments, moments]
                elif "EDIFF was not reached" in line:
                    step.not_reached = True
                elif "FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in line:
                    step.learned = line.lstrip().startswith("ML")
                    if not _energies(lines, step):
                        break
                    if step.broken:
                        pass
                    elif step.learned:
                        report.met("step of a machine-learned force field: left out", place_of(path, good))
                    elif step.table is None:
                        report.met("step without positions and forces (NWRITE = 0): left out", place_of(path, good))
                    else:
                        assert symbols is not None
                        yield symbols, step
                        good += 1
                    step, started = _Step(cell=step.cell), False
                elif "General timing and accounting" in line:
                    ended = True
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", str(path)) from None
    if step.broken:
        pass  # told already
    elif not ended and (started or step.table is not None):
        what = (
            f"the file ends inside an ionic step, after {good:,} complete ones: the run was cut or is still going on."
        )
        report.refuse(InputError(f"{what} --skip-bad keeps the complete steps.", str(path), good, n))
    elif good == 0 and not report.observed and not report.refused:
        raise InputError("there is no ionic step in it.", str(path))
    elif not ended:
        report.met("no end-of-run mark in OUTCAR: the run was cut or is still going on", str(path))


def _rows(
    lines: Iterator[tuple[int, str]], count: int, width: int, path: Path, frame: int, step: _Step, report: ReadReport
) -> F8 | None:
    """The next ``count`` lines as ``width`` numbers each; None, and a broken step, if they are not."""
    rows = []
    last = 0
    what = f"the file ends inside a table after {frame:,} complete steps: it is truncated."
    for n, line in lines:
        last = n
        values = _REAL.findall(line)
        if len(values) < width or "*" in line:
            what = f"expected {width} numbers, found {line.strip()!r:.80}, after {frame:,} complete steps."
            break
        rows.append([float(v) for v in values[:width]])
        if len(rows) == count:
            return np.array(rows)
    step.broken = True
    report.refuse(InputError(what, str(path), frame, last))
    return None


def _moments(lines: Iterator[tuple[int, str]], n: int) -> F8:
    """Last column of a table of magnetizations: a title, a rule, and one line per ion."""
    values: list[float] = []
    for _, line in lines:
        words = line.split()
        if len(words) > 2 and words[0].isdecimal():
            try:
                values.append(float(words[-1]))
            except ValueError:
                break
        elif values:
            break
        if len(values) == n:
            break
    return np.array(values)


def _energies(lines: Iterator[tuple[int, str]], step: _Step) -> bool:
    """Read the two energies of a step; False if the file ends before."""
    for _, line in lines:
        try:
            if (m := _TOTEN.search(line)) is not None:
                step.free_energy = float(m[1])
            elif (m := _SIGMA0.search(line)) is not None:
                step.energy = float(m[1])
                return True
        except ValueError:  # *** of an overflow: the energy stays missing
            return True
    return False


plugin = VaspOutcar
