"""Which configurations an export is checked on."""

from __future__ import annotations

import numpy as np
import pytest

from mlipstore.configuration import Batch, Configuration
from mlipstore.export import smallest


def cells(*symbols: str) -> Batch:
    """Configurations of these elements: ``H`` and ``O``, one letter for each atom."""
    z = {"H": 1, "O": 8}
    made = []
    for text in symbols:
        numbers = np.array([z[s] for s in text])
        made.append(Configuration(numbers, np.zeros((len(text), 3)), np.eye(3), np.ones(3, bool), source=text))
    return Batch.from_configurations(made)


@pytest.mark.parametrize(
    ("given", "atoms", "expected"),
    [
        (("HHHH", "H", "HH"), 10, ["HHHH", "H", "HH"]),
        (("HHHH", "H", "HH"), 6, ["H", "HH"]),
        (("HHHH", "H", "HH", "OHHHHH"), 6, ["H", "HH", "OHHHHH"]),
        (("OOOO",), 1, ["OOOO"]),
        ((), 1, []),
    ],
    ids=["all", "small ones", "another element", "one that is too large", "none"],
)
def test_a_check_takes_small_configurations_of_every_element(
    given: tuple[str, ...], atoms: int, expected: list[str]
) -> None:
    assert smallest(cells(*given), atoms).source.tolist() == expected
