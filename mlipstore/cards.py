"""Several GPUs of one machine: each worker that is started here uses one of them.

The process that opens the device offers its cards to those that it starts, an executor numbers its workers, and a
worker takes the card of its number before CUDA begins. One that somebody else has started (a batch system, MPI,
another machine) has no number, and uses what it was given.
"""

from __future__ import annotations

import os

_VISIBLE, _OFFERED, _NUMBER = "CUDA_VISIBLE_DEVICES", "MLIPSTORE_CARDS", "MLIPSTORE_WORKER"


def offer(n: int) -> None:
    """Offer the ``n`` cards that this process sees to those that are started from now on."""
    if _NUMBER not in os.environ:
        shown = os.environ.get(_VISIBLE)
        names = [str(i) for i in range(n)] if shown is None else shown.split(",")[:n]
        os.environ[_OFFERED] = ",".join(names)


def number_worker(number: int) -> None:
    """Make this process the worker of an executor with this number, counted from 0."""
    os.environ[_NUMBER] = str(number)


def take() -> None:
    """See the card of this worker alone, if there are several; CUDA looks at this once, when it begins."""
    offered, number = os.environ.get(_OFFERED), os.environ.get(_NUMBER)
    if offered and number:
        cards = offered.split(",")
        os.environ[_VISIBLE] = cards[int(number) % len(cards)]
