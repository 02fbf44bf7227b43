"""What a check says: a verdict with its evidence and the configurations it is about."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..units import GPA

#: From good to bad. *undecided*: there is too little evidence for a verdict, which is not the same as ok.
VERDICTS = ("ok", "undecided", "warning", "error")
NONE = np.zeros(0, np.int64)
#: Factor and name of the unit that people read errors of each kind in.
READ_IN = {"energy": (1e3, "meV/atom"), "force": (1e3, "meV/Å"), "stress": (1.0 / GPA, "GPa")}


@dataclass
class Finding:
    """One result of one check.

    :param verdict: one of ``VERDICTS``
    :param what: one line that says it, with numbers and units
    :param group: the group it is about, ``*`` for all
    :param code: what is wrong in one word, for programs, e.g. ``unit`` or ``sign``
    :param evidence: numbers it rests on, plain values
    :param configurations: the ones it is about, as positions in the summary
    :param remedy: what would repair it: ``action`` and its settings, see :func:`mlipstore.audit.remedy.command`
    :param check, version: filled in by the audit; ``waived``: the reason why it does not count
    """

    verdict: str
    what: str
    group: str = "*"
    code: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    configurations: NDArray[np.int64] = field(default_factory=lambda: NONE)
    remedy: dict[str, Any] = field(default_factory=dict)
    check: str = ""
    version: int = 0
    waived: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is a warning or an error that nobody has waived."""
        return self.verdict in ("warning", "error") and not self.waived


def rounded(value: float, sign: str = "") -> str:
    """Two digits, or whole numbers from 100 on.

    >>> rounded(12345.6), rounded(0.1234), rounded(3.0, "+")
    ('12,346', '0.12', '+3')
    """
    return f"{value:{sign},.0f}" if abs(value) >= 100.0 else f"{value:{sign}.2g}"


def described(f: Finding) -> dict[str, Any]:
    """A finding as plain values, without its configurations."""
    return {
        "check": f.check, "version": f.version, "verdict": f.verdict, "code": f.code, "group": f.group, "what": f.what,
        "evidence": _finite(f.evidence), "remedy": f.remedy, "waived": f.waived,
    }  # fmt: skip


def _finite(value: Any) -> Any:
    """Plain JSON values: numbers that are none become null."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
