"""One step ahead: what comes next is made while what is there is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each made in a thread while the one before it is used: two are in memory."""
    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def produce() -> None:
        try:
            for item in items:
                if not _put(waiting, (True, item), stop):
                    return
            _put(waiting, (False, None), stop)
        except BaseException as error:  # handed to the consumer, which raises it
            _put(waiting, (False, error), stop)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            more, value = waiting.get()
            if not more:
                if value is not None:
                    raise value
                return
            yield value
            del value
    finally:
        stop.set()
        thread.join()


def _put(waiting: queue.Queue[tuple[bool, Any]], item: tuple[bool, Any], stop: threading.Event) -> bool:
    """Put unless the consumer has gone."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
