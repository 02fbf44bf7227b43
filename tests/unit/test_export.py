"""Which configurations an export is checked on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mlipstore_cli.present import RunObserver

from mlipstore.configuration import Batch, Configuration
from mlipstore.export import ExportResult, smallest
from mlipstore.runs.runfile import RunFile


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


@pytest.mark.parametrize("prefix", [None, "out/Ta"], ids=["here", "there"])
def test_a_run_says_where_it_wrote(prefix: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    settings = RunFile.from_dict({"store": "a.mlip", "export": {} if prefix is None else {"prefix": prefix}})
    RunObserver(settings, False, False).tell("export", [ExportResult([Path(f"{prefix or 'Ta'}.snapcoeff")])])
    said = capsys.readouterr().out
    assert f"{prefix or 'Ta'}.snapcoeff" in said
    assert (f"in {Path.cwd()} (prefix" in said) == (prefix is None)
