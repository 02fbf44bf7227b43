"""A recipe for what an audit found: corrections that are clear as steps, the others as notes for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..curation.recipe import Recipe, Step
from .finding import Finding
from .remedy import correction, flag_of, where

#: Code of a finding: the labels that become missing.
_MASKED = {"zero-stress": ("stress",), "lost-forces": ("force",), "energy-force": ("energy",), "conflict": ("energy",),
           "near-conflict": ("energy",), "force-conflict": ("force",)}  # fmt: skip
_READ_AGAIN = ("fractional", "transposed", "length-unit", "energy-unit", "force-unit", "unreadable")


def propose(findings: Sequence[Finding], name: str) -> tuple[Recipe | None, list[str]]:
    """What repairs the findings that count, and what a person has to decide.

    Copies but one are removed first, since copies are told apart only as long as nothing has changed. Labels that
    contradict each other or that nobody can read become missing; units and signs that physics has shown are corrected.
    """
    told = [f for f in findings if f.counts]
    steps = [*_removals(told), *_masks(told, findings), *_corrections(told)]
    notes = list(_notes(told))
    return (Recipe(name, tuple(steps)) if steps else None), notes


def _removals(told: Sequence[Finding]) -> Iterator[Step]:
    copies = [f for f in told if f.check == "copies"]
    if copies:
        yield Step("remove", "flagged('copies')", copies[0].what)
    near = [f for f in told if f.code == "distance" and f.verdict == "error"]
    if near:
        yield Step("remove", _flagged(near, told), _joined(near))


def _masks(told: Sequence[Finding], findings: Sequence[Finding]) -> Iterator[Step]:
    for check, code in (("energy-force", "energy-force"), ("label-conflict", "conflict"),
                        ("label-conflict", "near-conflict"), ("label-conflict", "force-conflict"),
                        ("zero-forces", "lost-forces"), ("missing-labels", "zero-stress")):  # fmt: skip
        mine = [f for f in told if (f.check, f.code) == (check, code)]
        if check in ("energy-force", "zero-forces"):
            mine = [f for f in mine if f.verdict == "error"]
        if code == "zero-stress":
            mine = [f for f in mine if f.evidence.get("kept_as_value")]
        if mine:
            yield Step("mask", _flagged(mine, told), _joined(mine), _MASKED[code])
    if any(f.code == "mixed-units" for f in told):
        open_ = [f for f in findings if f.check == "stress-unit" and f.verdict == "undecided"]
        if open_:
            reason = "the set has stresses in several units, and nothing tells which one these are in"
            yield Step("mask", where([f.group for f in open_]), reason, ("stress",))


def _flagged(mine: Sequence[Finding], told: Sequence[Finding]) -> str:
    text = f"flagged({flag_of(mine[0], told)!r})"
    groups = sorted({f.group for f in mine})
    return text if "*" in groups else f"{where(groups)} and {text}"


def _corrections(told: Sequence[Finding]) -> Iterator[Step]:
    """One step for the groups with the same fault."""
    alike: dict[tuple[str, str], list[Finding]] = {}
    for f in told:
        if f.group != "*" and correction(f):
            alike.setdefault((f.check, str(sorted(correction(f).items()))), []).append(f)
    order = ("shear-order", "stress-unit")
    for _, mine in sorted(alike.items(), key=lambda item: (item[0][0] not in order, item[0])):
        yield Step("relabel", where([f.group for f in mine]), _joined(mine), (), correction(mine[0]))


def _joined(mine: Sequence[Finding]) -> str:
    """The first of the reasons, and how many more there are."""
    first = mine[0].what if mine[0].group == "*" else f"{mine[0].group}: {mine[0].what}"
    return first if len(mine) == 1 else f"{first}; and {len(mine) - 1} more groups"


def _notes(told: Sequence[Finding]) -> Iterator[str]:
    for f in told:
        if f.code in _READ_AGAIN:
            yield f"Read the files again with other options: {f.check} of {f.group}: {f.what}"
        elif f.check in (
            "force-sum",
            "energy-zero",
            "energy-outlier",
            "large-force",
            "cell",
            "leakage",
            "symmetry-copies",
            "suspect-label",
            "group-conflict",
        ):
            yield f"Look at: {f.check} of {f.group}: {f.what}"
