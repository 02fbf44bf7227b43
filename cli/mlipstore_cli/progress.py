"""Progress on stderr: a bar on a terminal, a line a minute in a log file."""

from __future__ import annotations

import sys
import time
from typing import Self


class Meter:
    """Rate and time left on a terminal; one line a minute elsewhere. Call it with (done, total)."""

    def __init__(self, what: str, unit: str, quiet: bool = False) -> None:
        self.what, self.unit, self.quiet = what, unit, quiet
        self.terminal = sys.stderr.isatty()
        self.began = self.told = time.monotonic()
        self.last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.quiet or now - self.told < (0.1 if self.terminal else 60.0):
            return
        self.told = now
        spent = now - self.began
        rate = done / spent if spent else 0.0
        left = (total - done) / rate if rate else 0.0
        text = f"{self.what}  {done:,} of {total:,} {self.unit}  {rate:,.0f}/s  {duration(left)} left"
        if self.terminal:
            bar = int(30 * done / total) if total else 0
            sys.stderr.write(f"\r\x1b[K  {'█' * bar}{'░' * (30 - bar)} {text}")
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()
        self.last = text

    def stage(self, name: str, done: int, total: int) -> None:
        """As a call, for work of several passes."""
        if name != self.what:
            self.what, self.began = name, time.monotonic()
        self(done, total)

    def clear(self) -> None:
        """Remove the bar."""
        if self.terminal and self.last:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours} h {m:02d} min" if hours else f"{m} min {s:02d} s"
