"""Runs of extended XYZ frames that look like the frame before: read by the compiled kernel straight into columns.

A frame that :class:`ExtXyz` has read makes a pattern: the same keys in the same order and form, the same
``Properties``, the same ``pbc``, while the numbers of the cell and the labels and the texts of other keys may change.
The kernel takes frames as long as they fit (``kernels/src/xyz_frames.hpp``); the first that does not is read as any
other. So every frame means what it means alone, and whatever is strange gets its error there. A test compares both.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..configuration import F8, NO_STRESS, Batch, info_text
from ..errors import MissingDependencyError
from ..kernels import load
from ..labels import FARTHEST, elements, force_factor, many_to_voigt, place_of, symmetric_stress
from ..reading import ReadOptions, ReadReport, group_name
from ..units import factor
from ._xyz import PAIR, Frame, parse_comment, parse_properties
from ._xyz_keys import Plan, kept, name_of, stress_rule, virial_assumption
from ._xyz_lines import Place

#: A block holds this many atoms or configurations.
_ATOMS, _CONFIGURATIONS = 8_192, 1_024
#: After so many patterns in a row that no frame fitted, not every frame is tried.
_MISSES = 6
_NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_PLAIN = re.compile(rb"[^\s\"'\\={}\[\],]+")
_LITERAL, _NUMBERS, _BARE, _QUOTED, _JSON_NUMBERS = range(5)
_ANY_TEXT, _SYMBOL, _ATOMIC_NUMBER, _ANY_NUMBER, _ANY_LOGICAL = -1, -2, -3, -4, -5


class _NoPattern(Exception):
    """The frame holds something that is read frame by frame."""


@lru_cache(maxsize=4096)
def _value(written: str) -> Any:
    """What a key stands for, of ``key=value`` as it is written."""
    return next(iter(parse_comment(written).values()))


@dataclass
class _Pattern:
    """How the frames of a run look, and where what they hold goes."""

    kernel: Any
    plan: Plan
    info: dict[str, Any]
    comment: str
    pbc: NDArray[np.bool_]
    #: numbers of the comment line: where those of a key begin and end
    heads: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: real columns of the atoms: where those of a role begin and end
    columns: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: texts of the comment line: key, and ``key=%s`` as it is written
    texts: list[tuple[str, str]] = field(default_factory=list)


class Runs:
    """Blocks of frames that follow a frame which was read."""

    def __init__(self, options: ReadOptions, path: Path, report: ReadReport, root: Path | None) -> None:
        self.options, self.path, self.report, self.root = options, path, report, root
        self.misses = self.wait = 0
        try:
            self.kernel: Any = load("xyz", "baseline").XyzPattern
        except MissingDependencyError:  # the package may have been built without: it is only slower
            self.kernel = None

    def after(self, frame: Frame, plan: Plan, pbc: NDArray[np.bool_], data: mmap.mmap, place: Place) -> Iterator[Batch]:
        """Blocks of the frames from ``place`` on that look like ``frame``; ``place`` moves behind them."""
        self.wait -= 1
        stop = len(data) if place.stop is None else place.stop
        if self.kernel is None or self.wait > 0 or place.at >= stop:
            return
        taken = 0
        try:
            pattern = self._pattern(frame, plan, pbc, data)
            view: Any = np.frombuffer(data, np.uint8)
            while place.at < stop:
                found = pattern.kernel.read(view, place.at, stop, _ATOMS, _CONFIGURATIONS)
                if not len(found[1]):
                    break
                block = self._block(pattern, place.index, *found[1:])
                taken += len(block)
                place.at, place.index = found[0], place.index + len(block)
                yield block
        except _NoPattern:
            pass
        finally:
            view = None  # else the map could not be closed
        self.misses = 0 if taken else self.misses + 1
        self.wait = 1 << min(self.misses - _MISSES, 8) if self.misses > _MISSES else 0

    # ------------------------------------------------------------- patterns
    def _pattern(self, frame: Frame, plan: Plan, pbc: NDArray[np.bool_], data: mmap.mmap) -> _Pattern:
        keys = plan.keys
        both = keys["stress"] is not None and keys["virial"] is not None
        if both or plan.kept_columns or (keys["virial"] is not None and not pbc.all()):
            raise _NoPattern
        end = data.find(b"\n", frame.start)
        comment = data[end + 1 : data.find(b"\n", end + 1)]
        if not comment.isascii():
            raise _NoPattern
        numbers = {k: n for k, n in ((plan.lattice, (9,)), (keys["energy"], (1,)), (keys["stress"], (6, 9)),
                                     (keys["virial"], (6, 9))) if k is not None}  # fmt: skip
        fixed = {plan.pbc, "Properties"}
        text = comment.decode()
        made = _Pattern(None, plan, frame.info, text, pbc)
        pieces: list[tuple[int, bytes, int]] = []
        n_heads = done = 0
        properties = ""
        seen: set[str] = set()
        begin = len(text) - len(text.lstrip())
        for m in PAIR.finditer(text.strip()):
            key = m["key"]
            if key in seen:
                raise _NoPattern
            seen.add(key)
            form = next((f for f in ("double", "bare", "list") if m[f] is not None), None)
            if key is None or (key.lower() == "properties" and (key != "Properties" or properties)):
                raise _NoPattern
            if key == "Properties":
                properties = m[form or "bare"] or ""
            if key in numbers:
                if form is None:
                    raise _NoPattern
                at, written = begin + m.start(form), m[form].encode()
                values = list(_NUMBER.finditer(written))
                if len(values) not in numbers[key] or re.sub(rb"[\s\[\],]|_JSON", b"", _NUMBER.sub(b"", written)):
                    raise _NoPattern  # something else stands between the numbers
                made.heads[key] = (n_heads, n_heads + len(values))
                n_heads += len(values)
                simple = form != "list" and written.split() == [v[0] for v in values]
                for v in [values] if simple else [[v] for v in values]:
                    pieces.append((_LITERAL, comment[done : at + v[0].start()], 0))
                    pieces.append((_NUMBERS if simple else _JSON_NUMBERS, b"", len(v)))
                    done = at + v[-1].end()
            elif key not in fixed and form in ("double", "bare"):
                at, written = begin + m.start(form), m[form].encode()
                if _PLAIN.fullmatch(written if form == "bare" else written.replace(b" ", b"_")):
                    pieces.append((_LITERAL, comment[done:at], 0))
                    pieces.append((_BARE if form == "bare" else _QUOTED, b"", 0))
                    made.texts.append((key, f"{key}=%s" if form == "bare" else f'{key}="%s"'))
                    done = at + len(written)
        pieces.append((_LITERAL, comment[done:], 0))
        if not properties or made.heads.keys() != numbers.keys():
            raise _NoPattern
        fields = self._fields(properties, plan, made)
        table = elements()
        symbols = [""] * (max(table.values()) + 1)
        for symbol, z in table.items():
            symbols[z] = symbol
        kinds, texts, counts = zip(*pieces, strict=True)
        made.kernel = self.kernel(list(kinds), list(texts), list(counts), fields, symbols)
        return made

    @staticmethod
    def _fields(properties: str, plan: Plan, made: _Pattern) -> list[int]:
        """What each field of an atom line is, for the kernel."""
        roles = {plan.positions: "position", plan.keys["force"]: "force", plan.spin: "spin", plan.charge: "charge"}
        fields: list[int] = []
        at = 0
        for name, kind, count in parse_properties(properties):
            role = roles.get(name)
            if role is not None:
                if kind != "R" or count not in {"spin": (1, 3), "charge": (1,)}.get(role, (3,)):
                    raise _NoPattern
                made.columns[role] = (at, at + count)
                fields += range(at, at + count)
                at += count
            elif name == plan.species or (plan.species is None and name == plan.numbers):
                if (kind, count) != (("S" if name == plan.species else "I"), 1):
                    raise _NoPattern
                fields.append(_SYMBOL if name == plan.species else _ATOMIC_NUMBER)
            else:
                fields += [{"S": _ANY_TEXT, "L": _ANY_LOGICAL}.get(kind, _ANY_NUMBER)] * count
        return fields

    # --------------------------------------------------------------- blocks
    def _block(
        self, pattern: _Pattern, first: int, n_atoms: NDArray[np.int64], number: NDArray[np.int32], columns: F8,
        heads: F8, texts: list[tuple[list[bytes], NDArray[np.int32]]],
    ) -> Batch:  # fmt: skip
        """What the kernel found, with units and signs as :meth:`ExtXyz._configuration` gives them."""
        options, plan, n = self.options, pattern.plan, len(n_atoms)
        length = 1.0 if options.length_unit is None else factor("length", options.length_unit)
        per_energy = 1.0 if options.energy_unit is None else factor("energy", options.energy_unit)

        def head(key: str) -> F8:
            start, stop = pattern.heads[key]
            return heads[:, start:stop]

        def column(role: str) -> F8 | None:
            if role not in pattern.columns:
                return None
            start, stop = pattern.columns[role]
            return np.ascontiguousarray(columns[:, start:stop])

        position, force, spin, charge = (column(role) for role in ("position", "force", "spin", "charge"))
        assert position is not None
        cell = np.zeros((n, 3, 3)) if plan.lattice is None else head(plan.lattice).reshape(n, 3, 3).copy()
        if length != 1.0:
            position, cell = position * length, cell * length
        if not (np.abs(position) < FARTHEST).all() or not (np.abs(cell) < FARTHEST).all():
            raise _NoPattern
        energy = np.full(n, np.nan)
        if plan.keys["energy"] is not None:
            energy = head(plan.keys["energy"])[:, 0] * per_energy
        values = {key: _Text(form, found) for (key, form), found in zip(pattern.texts, texts, strict=True)}
        group = self._groups(pattern, values, n, first)
        info = self._info(pattern, values, n)
        stress = self._stress(pattern, heads, cell, group, first)
        if stress is None and (plan.keys["stress"] or plan.keys["virial"]):
            raise _NoPattern
        # from here on it is certain, so it is noted
        self._note(plan.notes, first, n)
        for quantity, what in (("energy", "energy"), ("force", "forces")):
            if plan.keys[quantity] is None:
                self._note((f"no {what} in the frame",), first, n)
        if force is not None:
            scale = force_factor(options, self.report, n)
            force = force if scale == 1.0 else force * scale
        if spin is not None and spin.shape[1] == 1:  # collinear moments point along z
            spin = np.column_stack([np.zeros((len(spin), 2)), spin])
        present = {"force": force, "stress": stress, "spin": spin, "charge": charge}
        return Batch.from_columns(
            n_atoms=n_atoms,
            number=number,
            position=position,
            cell=cell,
            pbc=np.tile(pattern.pbc, (n, 1)),
            energy=energy,
            force=np.full_like(position, np.nan) if force is None else force,
            stress=np.tile(NO_STRESS, (n, 1)) if stress is None else stress,
            group=group,
            source=np.full(n, os.fspath(self.path), object),
            frame=np.arange(first, first + n),
            info=info,
            spin=spin,
            charge=None if charge is None else charge[:, 0],
            there={k: [v is not None] * n if k != "stress" or v is None else (~np.isnan(v[:, 0])).tolist()
                   for k, v in present.items()},
        )  # fmt: skip

    def _note(self, what: tuple[str, ...], first: int, n: int) -> None:
        for note in what:
            for i in range(min(n, 5)):  # so many places are kept
                self.report.met(note, place_of(self.path, first + i))
            self.report.met(note, n=max(0, n - 5))

    def _groups(self, pattern: _Pattern, values: dict[str, _Text], n: int, first: int) -> NDArray[Any]:
        options, key = self.options, pattern.plan.group
        by_key = options.group_by.removeprefix("key:") if options.group_by.startswith("key:") else None
        wanted = by_key or key

        def name(told: str | None) -> str:
            group = told if told is not None and by_key is None else ""
            if group and options.group_by == "auto":
                return group
            auto = f"={group}" if group else "file"
            return group_name(options, self.path, self.root, auto, {wanted: told} if wanted else {}, first)

        if wanted is not None and wanted in values:
            return values[wanted].names(name)
        if wanted is not None and (wanted in pattern.heads or wanted not in pattern.info):
            raise _NoPattern
        out = np.empty(n, object)
        out[:] = name(None if wanted is None else name_of(pattern.info[wanted], pattern.comment, wanted))
        return out

    def _info(self, pattern: _Pattern, values: dict[str, _Text], n: int) -> NDArray[Any]:
        """What is no label, as JSON text, ``(n,)``."""
        names = pattern.plan.kept
        if any(name in pattern.heads for name in names):
            raise _NoPattern
        changing = [name for name in names if name in values]
        fixed = kept(pattern.info, tuple(n for n in names if n not in values), {}, ())
        made: dict[tuple[int, ...], str] = {}
        out = np.empty(n, object)
        for i, which in enumerate(
            zip(*(values[name].which for name in changing), strict=True) if changing else [()] * n
        ):
            text = made.get(which)
            if text is None:
                info = {name: values[name].each[k] for name, k in zip(changing, which, strict=True)}
                text = made[which] = info_text(fixed | kept(info, tuple(changing), {}, ()))
            out[i] = text
        return out

    def _stress(self, pattern: _Pattern, heads: F8, cell: F8, group: NDArray[Any], first: int) -> F8 | None:
        """Stress ``(n, 6)`` of stress or virial; None without either, or where a frame must be looked at alone."""
        key = pattern.plan.keys["stress"] or pattern.plan.keys["virial"]
        if key is None:
            return None
        start, stop = pattern.heads[key]
        given = heads[:, start:stop]
        rules = pattern.plan.rules
        out = np.empty((len(given), 6))
        volume = np.abs(np.linalg.det(cell)) if pattern.plan.keys["virial"] else np.ones(len(cell))
        if not volume.all():
            return None
        assumed: dict[str, str] = {}
        strange: list[tuple[int, str, float]] = []
        for name in dict.fromkeys(group.tolist()):
            if name not in rules:
                rules[name] = stress_rule(self.options, name)
            order, stress_scale, virial_scale, what = rules[name]
            mine = np.flatnonzero(group == name)
            virial = pattern.plan.keys["virial"] is not None
            scale = virial_scale / volume[mine] if virial else np.full(len(mine), stress_scale)
            six, skew = many_to_voigt(given[mine], order)
            out[mine] = np.where(scale[:, None] != 1.0, six * scale[:, None], six)
            strange += [(int(i), order, float(s)) for i, s in zip(mine[skew], scale[skew], strict=True)]
            assumed[name] = virial_assumption(self.options, virial_scale) if virial else what
        if not np.isfinite(out).all():
            return None
        for i, order, factor_ in sorted(strange):
            one = symmetric_stress(given[i], order, factor_, self.report, self.path, first + i)
            out[i] = np.nan if one is None else one
        there = ~np.isnan(out[:, 0])
        for name, what in assumed.items():
            n = int((there & (group == name)).sum())
            if n:
                self.report.assume(what, n)
        return out


class _Text:
    """The values of a key in the frames of a block."""

    def __init__(self, form: str, found: tuple[list[bytes], NDArray[np.int32]]) -> None:
        written, which = found
        self._written = [form % text.decode() for text in written]
        self.each = [_value(pair) for pair in self._written]
        self.index = which
        self.which: list[int] = which.tolist()

    def names(self, change: Callable[[str], str]) -> NDArray[Any]:
        """``change(name)`` of the name that each frame gives, ``(n,)``."""
        table = np.empty(len(self.each), object)
        pairs = zip(self.each, self._written, strict=True)
        table[:] = [change(name_of(value, pair, pair.partition("=")[0])) for value, pair in pairs]
        out: NDArray[Any] = table[self.index]
        return out
