"""Labels that a fit contradicts where it is right about similar configurations: the label is off, not the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..audit.finding import READ_IN, Finding, rounded
from ..audit.material import I8, Material
from ..configuration import F8
from ..errors import counted
from ..metrics import KINDS

#: Labels that are listed in the evidence of a finding.
_LISTED = 50


@dataclass(frozen=True)
class SuspectLabel:
    """A model that lacks a term is wrong about similar configurations alike; a wrong label is wrong alone.

    The residual that a label has in the fit without it (``r / (1 - h)`` where it was trained on) is compared with those
    of the most similar configurations: distances between atoms, how uneven they are, volume per atom, same elements.

    :param far: standard errors from the fit, see :mod:`mlipstore.kept.studentised`
    :param apart: times what three quarters of the similar ones are off by
    :param leverage: above which hardly any other row says what the label should be
    :param similar: how many similar ones
    :param near: they have to be as near as they are to each other, but for this factor
    :param part: of the label or the fitted value, that a force or stress has to be off by
    """

    version: ClassVar[int] = 1
    needs_model: ClassVar[bool] = True
    far: float = 4.0
    apart: float = 6.0
    leverage: float = 0.5
    similar: int = 8
    near: float = 3.0
    part: float = 0.5

    def run(self, data: Material) -> Iterator[Finding]:
        if data.fit is None:
            return
        st = data.fit.standing
        told: dict[int, list[tuple[float, int, dict[str, Any]]]] = {}
        alone: list[int] = []
        alike = judged = 0
        for k in range(len(KINDS)):
            which = np.flatnonzero(np.isfinite(st.studentised[:, k]))
            judged += len(which)
            far = which[np.abs(st.studentised[which, k]) > self.far]
            if not len(far):
                continue
            times, usual, lonely = self._apart(data, k, which, far)
            lonely |= st.leverage[far, k] > self.leverage
            alone += far[lonely].tolist()
            sure = ~lonely & (times > self.apart) & self._large(data, k, far)
            alike += int((~lonely & ~sure).sum())
            for i, x, u in zip(far[sure].tolist(), times[sure].tolist(), usual[sure].tolist(), strict=True):
                told.setdefault(int(data.summary.group[i]), []).append((x, i, self._described(data, i, k, x, u)))
        evidence = {"model": data.fit.model, "judged": judged, "alike": alike, "alone": len(set(alone))}
        for group, entries in told.items():
            yield self._finding(data, group, sorted(entries, key=lambda e: -e[0]), evidence)
        if alone:
            yield Finding(
                "undecided",
                f"labels of {counted(len(set(alone)), 'configuration')} are off the fit, and nothing similar tells why",
                "*",
                "alone",
                evidence,
                np.unique(np.array(alone, np.int64)),
            )
        if not told and judged:
            yield Finding("ok", f"no label of {judged:,} is off model {data.fit.model!r} by itself", evidence=evidence)

    def _apart(self, data: Material, k: int, which: I8, far: I8) -> tuple[F8, F8, NDArray[np.bool_]]:
        """Of labels that are far from the fit: how many times farther than those of similar configurations, how far
        these are, and whether there are none."""
        assert data.fit is not None
        s, st = data.summary, data.fit.standing
        off = st.outside[:, k]
        # what is usual for the group: forces and stresses of similar configurations may be zero by symmetry
        error = np.abs(st.residual[far, k] / st.studentised[far, k]) * (KINDS[k] != "energy")
        elements = np.array([hash(tuple(z for z, _ in c)) for c in s.compositions])[s.composition]
        times, usual, lonely = np.zeros(len(far)), np.zeros(len(far)), np.ones(len(far), bool)
        for key in np.unique(elements[far]):
            mine = which[elements[which] == key]
            if len(mine) <= self.similar:
                continue
            points = self._points(data, mine)
            tree = cKDTree(points)
            r, j = tree.query(points, k=self.similar + 1)
            spacing = r[:, self.similar // 2]
            at = np.flatnonzero(elements[far] == key)
            here = np.searchsorted(mine, far[at])
            for a, i in zip(at.tolist(), here.tolist(), strict=True):
                others = j[i][j[i] != i][: self.similar]
                values = off[mine[others]]
                if KINDS[k] == "energy":  # has a sign: models are off by a trend
                    value, values = abs(off[far[a]] - np.median(values)), np.abs(values - np.median(values))
                else:
                    value, values = abs(off[far[a]]), np.abs(values)
                usual[a] = max(float(np.quantile(values, 0.75)), float(error[a]), 1e-9)
                times[a] = value / usual[a]
                lonely[a] = spacing[i] > self.near * max(float(np.median(spacing[others])), 1e-9)
        return times, usual, lonely

    @staticmethod
    def _points(data: Material, mine: I8) -> F8:
        s = data.summary
        volume = np.nan_to_num(np.log(s.volume[mine] / s.n_atoms[mine]))
        x = np.column_stack([s.fingerprint[mine], np.nan_to_num(s.uneven[mine]), volume])
        spread = np.quantile(x, 0.9, axis=0) - np.quantile(x, 0.1, axis=0)
        return np.asarray(x / np.where(spread > 1e-12, spread, 1.0))

    def _large(self, data: Material, k: int, far: I8) -> NDArray[np.bool_]:
        """Whether a force or stress is off by a good part of itself; a model is off by a few per cent of large ones."""
        assert data.fit is not None
        st = data.fit.standing
        if KINDS[k] == "energy":
            return np.ones(len(far), bool)
        label, r = st.label[far, k], st.residual[far, k]
        return np.asarray(np.abs(r) > self.part * np.maximum(np.abs(label), np.abs(label - r)))

    def _described(self, data: Material, i: int, k: int, times: float, usual: float) -> dict[str, Any]:
        from ..kept.studentised import component

        assert data.fit is not None
        st, kind = data.fit.standing, KINDS[k]
        return {
            "place": data.summary.place(i),
            "kind": kind,
            "component": component(kind, int(st.row[i, k]), 0),
            "residual": float(st.residual[i, k]),
            "standard_errors": float(st.studentised[i, k]),
            "leverage": float(st.leverage[i, k]),
            "similar": usual,
            "times": times,
        }

    def _finding(
        self, data: Material, group: int, entries: list[tuple[float, int, dict[str, Any]]], evidence: dict[str, Any]
    ) -> Finding:
        found = list(dict.fromkeys(i for _, i, _ in entries))  # the farthest first
        first = entries[0][2]
        factor, unit = READ_IN[first["kind"]]
        what = f"{first['kind']} {first['component']}".strip()
        n = f"{len(found):,} configurations have labels" if len(found) > 1 else "a configuration has a label"
        return Finding(
            "warning",
            f"{n} off the fit alone: {what} of {first['place']} by {rounded(first['residual'] * factor, '+')} {unit} "
            f"({abs(first['standard_errors']):.0f} standard errors), similar ones by "
            f"{rounded(first['similar'] * factor)}",
            data.summary.groups[group],
            "label",
            evidence | {"labels": [e for *_, e in entries[:_LISTED]]},
            np.array(found, np.int64),
        )


plugin = SuspectLabel
