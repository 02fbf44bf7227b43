"""A part of a file that holds many configurations, so that several workers can read one file."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from .configuration import Configuration
from .reading import ReadReport


@dataclass(frozen=True)
class Part:
    """Where reading begins and ends, and what it begins with.

    :param start: first byte; ``stop``: the first byte that is not read any more, None: read to the end of the file
    :param frame: number of the first configuration
    :param known: what was decided about the file in the configurations before
    """

    start: int = 0
    stop: int | None = None
    frame: int = 0
    known: Mapping[str, str] = field(default_factory=dict)

    def joined(self, part: Part, after: Part) -> Part | None:
        """What follows when ``part`` was read and ``after`` is what came of it; None if reading ``self`` gives another.

        A part is read by a worker that does not know the parts before it; ``self`` is what they came to.
        """
        same = (part.start, part.frame) == (self.start, self.frame)
        if not same or any(self.known.get(k, v) != v for k, v in after.known.items()):
            return None
        return replace(after, known={**self.known, **after.known})


class PartReader(Protocol):
    """What a reader has, beyond :class:`mlipstore.reading.Reader`, if its files can be read in parts."""

    def parts(self, path: Path, n_bytes: int) -> Iterator[Part]:
        """Parts of about ``n_bytes``, one after another from byte 0 to the end of the file, given out when found."""
        ...

    def read_part(
        self, path: Path, part: Part, report: ReadReport, root: Path | None = None
    ) -> Generator[Configuration, None, Part]:
        """Configurations as ``read`` gives them; returns where it ended: ``start``, ``frame``, ``known``.

        If that is not the begin of the next part, what follows is read again from where it ended.
        """
        ...
