"""The command line of mlipstore: parse, call one verb, show the result."""

from __future__ import annotations


def main() -> None:
    """What the console script starts: quiet from the first import on when it is interrupted."""
    import os
    import signal
    from types import FrameType

    def stop(number: int, frame: FrameType | None) -> None:
        os._exit(130)  # there is nothing to undo

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # as a script leaves it to what it starts in the background
        signal.signal(signal.SIGINT, stop)  # until `app` takes over
    try:
        from .app import main as run

        run()
    finally:
        signal.signal(signal.SIGINT, before)
