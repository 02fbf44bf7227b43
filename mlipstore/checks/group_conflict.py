"""Groups whose labels the other groups contradict: neither a fit without them nor one with them comes near."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..audit.finding import READ_IN, Finding, rounded
from ..audit.material import Material
from ..configuration import F8
from ..errors import counted
from ..kept.standing import LeftOut
from ..metrics import KINDS

_LISTED = 20


@dataclass(frozen=True)
class GroupConflict:
    """Each group is predicted by the fit without it.

    A group that others say nothing about is predicted badly, and the fit knows it; a group that the model cannot
    describe with the others is described once it is fitted. One that is far off what the fit without it expects, and
    stays so when it is fitted, has labels that contradict the others: another zero, code, unit, or convergence.

    :param far: error in units of the predicted one; ``few``: more of it, over the number of groups, since the
        prediction rests on how much they differ
    :param stays: part of the error that has to be left when the group is fitted, too
    :param large: error in units of the median of all groups; ``part``: of forces and stresses, of the labels themselves
    :param better: factor by which the error of another group falls without the group, to be told
    :param rows: of a kind that a group has to have
    """

    version: ClassVar[int] = 1
    needs_model: ClassVar[bool] = True
    far: float = 6.0
    few: float = 4.0
    stays: float = 0.5
    large: float = 2.0
    part: float = 0.3
    better: float = 1.5
    rows: int = 5

    def run(self, data: Material) -> Iterator[Finding]:
        if data.fit is None:
            return
        left = data.fit.left_out
        if left is None:
            yield Finding("undecided", f"groups against each other: {data.fit.why_not}", code="group-conflict")
            return
        gain = self._gain(left)
        enough = left.rows >= self.rows
        usual = np.array([np.median(left.outside[enough[:, k], k]) if enough[:, k].any() else np.inf for k in range(3)])
        with np.errstate(all="ignore"):
            times = np.where(
                enough
                & (left.inside > self.stays * left.outside)
                & (left.outside > self.large * usual)
                & (left.outside > left.size * [0.0, self.part, self.part]),
                left.outside / left.spread,
                0.0,
            )
        far = self.far * (1.0 + self.few / max(1, len(left.groups)))
        where = {name: which for name, which in data.groups()}
        order = np.argsort(-times.max(axis=1, initial=0.0), kind="stable").tolist()
        for i in order:
            k = int(np.argmax(times[i]))
            if times[i, k] > far and left.groups[i] in where:
                yield self._conflict(left, gain, i, k, float(times[i, k]), where[left.groups[i]])
        yield self._others(left, gain, [i for i in order if times[i].max() <= far])

    def _gain(self, left: LeftOut) -> F8:
        """``(left out besides, group, kind)``: by which factor the error of a group falls; 1 where that is nothing."""
        shape = (len(left.groups), *left.outside.shape)
        if left.without is None:
            return np.ones(shape)
        with np.errstate(all="ignore"):
            usual = np.nanmedian(left.outside, axis=0)
            gain = left.outside[None] / left.without
            told = np.isfinite(gain) & ((left.rows >= self.rows) & (left.outside > 0.1 * usual))[None]
        return np.where(told, gain, 1.0)

    def _conflict(self, left: LeftOut, gain: F8, i: int, k: int, times: float, which: NDArray[np.int64]) -> Finding:
        factor, unit = READ_IN[KINDS[k]]
        off, expected, fitted = (float(v[i, k]) * factor for v in (left.outside, left.spread, left.inside))
        helped = self._helped(left, gain, i)
        others = (
            f"; {counted(len({h['group'] for h in helped}), 'other group')} better off without it" if helped else ""
        )
        return Finding(
            "warning",
            f"{KINDS[k]} labels contradict the other groups: {rounded(off)} {unit} off the fit without it, which "
            f"expects {rounded(expected)}, and {rounded(fitted)} off the fit with it{others}",
            left.groups[i],
            "group-conflict",
            {"kind": KINDS[k], "outside": float(left.outside[i, k]), "expected": float(left.spread[i, k]),
             "inside": float(left.inside[i, k]), "times": times, "helped": helped[:_LISTED]},
            which,
        )  # fmt: skip

    def _helped(self, left: LeftOut, gain: F8, i: int) -> list[dict[str, Any]]:
        """Groups that are predicted better without group ``i``, the most first."""
        if left.without is None:
            return []
        found = [
            {"group": left.groups[j], "kind": KINDS[k], "with": float(left.outside[j, k]),
             "without": float(left.without[i, j, k]), "inside": float(left.inside[j, k])}
            for j, k in np.argwhere(gain[i] > self.better).tolist()
        ]  # fmt: skip
        return sorted(found, key=lambda f: f["without"] / f["with"])

    def _others(self, left: LeftOut, gain: F8, rest: list[int]) -> Finding:
        """Groups that hurt the prediction of others, but which the model describes when it is fitted to them."""
        helped = {left.groups[i]: found for i in rest if (found := self._helped(left, gain, i))}
        evidence: dict[str, Any] = {"groups": len(left.groups), "helped": helped}
        if not helped:
            return Finding("ok", f"no other of {len(left.groups):,} groups contradicts the others", evidence=evidence)
        first = max(helped, key=lambda name: len(helped[name]))
        return Finding(
            "undecided",
            f"groups predict each other worse than they would without {counted(len(helped), 'group')}, first of all "
            f"{first}: more than the model can describe, or weights",
            "*",
            "group-weight",
            evidence,
        )


plugin = GroupConflict
