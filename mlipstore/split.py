"""Train and test by content: the same on every machine, stable when data is added, copies on one side.

A configuration's place is a number in [0, 1) made of its geometry hash and the seed. A fraction f for training takes
those below f, a fraction g for testing those from 1 - g on. A count takes the first ones of the group in that order.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from .errors import SettingsError

TRAIN, TEST, UNUSED = 0, 1, 2
SPLITS = ("train", "test")


def places(geometry: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """Place of each configuration in [0, 1), from its geometry hash ``(n, 16)`` and the seed."""
    prefix = int(seed).to_bytes(8, "little", signed=True)
    digests = b"".join(hashlib.blake2b(prefix + g.tobytes(), digest_size=8).digest() for g in geometry)
    # 53 bits: every value is exact as a double, so the comparison with a fraction is the same everywhere
    return (np.frombuffer(digests, "<u8") >> np.uint64(11)) / float(1 << 53)


def assign(place: NDArray[np.float64], train: float | int, test: float | int, group: str) -> NDArray[np.int8]:
    """TRAIN, TEST or UNUSED for the configurations of one group.

    :param train: fraction (float, 1.0 = all) or count (int) for training; ``test`` likewise
    """
    out = np.full(len(place), UNUSED, np.int8)
    for name, value in (("train", train), ("test", test)):
        if isinstance(value, bool) or value < 0 or (isinstance(value, float) and value > 1):
            raise SettingsError(
                f"group {group!r}: {name} = {value!r}. Give a fraction from 0.0 to 1.0, or a whole number for a count."
            )
    if isinstance(train, float) and isinstance(test, float) and train + test > 1 + 1e-12:
        raise SettingsError(f"group {group!r}: train + test = {train + test:g}, more than 1.0.")
    out[_first(place, train)] = TRAIN
    out[_first(1.0 - place, test) & (out == UNUSED)] = TEST
    return out


def _first(place: NDArray[np.float64], amount: float | int) -> NDArray[np.bool_]:
    """Those with the lowest places: a fraction of [0, 1), or that many; copies (equal places) stay together."""
    if isinstance(amount, float):
        return place < amount if amount < 1.0 else np.ones(len(place), bool)
    if amount == 0:
        return np.zeros(len(place), bool)
    if amount >= len(place):
        return np.ones(len(place), bool)
    mine: NDArray[np.bool_] = place <= np.partition(place, amount - 1)[amount - 1]
    return mine
