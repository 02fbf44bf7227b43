"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: What becomes of a problem: ``lost`` only another copy can help; ``derived`` it can be computed again; ``version`` a
#: whole version cannot be read; ``harmless`` nothing that is read depends on it.
LOST, DERIVED, VERSION, HARMLESS = "lost", "derived", "version", "harmless"


@dataclass
class Problem:
    """One thing that is not as it should be.

    :param file: the file, as it lies in the store; empty where the content is wrong
    :param what: what is wrong with it
    :param path: the array or group that it belongs to
    :param segment: its segment
    :param versions: names of the versions that need it
    """

    severity: str
    file: str
    what: str
    path: str = ""
    segment: str = ""
    versions: list[str] = field(default_factory=list)

    @property
    def remedy(self) -> str:
        if self.severity == HARMLESS:
            return "nothing that is read depends on it"
        if self.severity == DERIVED:
            return "--repair removes it, so that it is made again (the index at once, rows and factors by the next run)"
        if self.file.startswith("refs/tag."):
            return "--repair --from COPY fetches the file; without a copy --repair takes the name away: give it again"
        if self.file.startswith("refs/"):
            return "--repair lets the branch name the newest whole version, best one that no other name leads to"
        if self.severity == VERSION:
            return (
                "--repair --from COPY fetches the file; without a copy, --repair lets a branch whose newest version it "
                "is name the last whole one, and other versions stay as they are"
            )
        return "--repair --from COPY fetches the file from another copy of the store"

    def __str__(self) -> str:
        at = f" ({self.path})" if self.path else ""
        return f"{self.file or self.path}{at if self.file else ''}: {self.what}; {self.remedy}"


@dataclass
class Report:
    """What was checked and what was found."""

    store: str
    versions: int = 0
    files: int = 0
    bytes: int = 0
    unsealed: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    configurations: int = 0
    problems: list[Problem] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong that anything depends on."""
        return all(p.severity == HARMLESS for p in self.problems)

    def add(self, problem: Problem) -> None:
        if (problem.file, problem.path, problem.what) not in {(p.file, p.path, p.what) for p in self.problems}:
            self.problems.append(problem)

    def to_json(self) -> dict[str, Any]:
        problems = [{**vars(p), "remedy": p.remedy} for p in self.problems]
        return {**vars(self), "sound": self.sound, "problems": problems}
