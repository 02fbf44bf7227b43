"""What tests let workers do, in a module that they can import."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from mlipstore.errors import InputError
from mlipstore.solve.factor import Factor

#: Leaves of the reduction: more than workers, and no power of two.
LEAVES = 11


class Unpicklable(Exception):
    """An error that cannot be sent as it is."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)


def square(x: int) -> int:
    return x * x


def fail_at_five(x: int) -> int:
    if x == 5:
        raise InputError("no forces", "train.xyz", 3, 17)
    return x


def fail_oddly(x: int) -> int:
    raise Unpicklable(1, f"task {x} went wrong")


def mark(task: tuple[str, int]) -> int:
    """Leaves a file behind, and fails at the first task."""
    folder, number = task
    Path(folder, str(number)).touch()
    if number == 0:
        raise InputError("stop here")
    return number


def blas_threads(_: int) -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def die_once(task: tuple[str, int]) -> int:
    """The first time, task 3 ends its process without a word."""
    folder, number = task
    if number == 3:
        try:
            Path(folder, "died").touch(exist_ok=False)
        except FileExistsError:
            return number
        os._exit(9)
    return number


def leaf(i: int) -> Factor | None:
    """A factor of rows that depend on the number; some have none."""
    if i == 4:
        return None
    rng = np.random.default_rng(i)
    factor = Factor(20)
    n = [5, 300, 80][i % 3]
    factor.update(rng.standard_normal((n, 20)) * np.logspace(0, -6, 20), rng.standard_normal(n))
    return factor


def bad_leaf(i: int) -> Factor | None:
    return leaf(fail_at_five(i))
