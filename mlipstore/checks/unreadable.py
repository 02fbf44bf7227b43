"""What could not be read at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ..audit.finding import Finding
from ..audit.material import Material


@dataclass(frozen=True)
class Unreadable:
    """Files and frames that a reader refused, each with its reason.

    :param listed: how many are findings of their own; the others are counted
    """

    version: ClassVar[int] = 1
    listed: int = 20

    def run(self, data: Material) -> Iterator[Finding]:
        for message in data.refused[: self.listed]:
            yield Finding("error", f"cannot be read: {message}", code="unreadable")
        rest = len(data.refused) - self.listed
        if rest > 0:
            yield Finding(
                "error",
                f"{rest:,} more configurations or files cannot be read",
                code="unreadable",
                evidence={"messages": data.refused[self.listed :]},
            )


plugin = Unreadable
