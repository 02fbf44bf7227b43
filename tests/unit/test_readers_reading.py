"""What readers share: reports, groups, stress conventions, the last checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore import labels
from mlipstore.configuration import Configuration
from mlipstore.errors import InputError, SettingsError
from mlipstore.reading import ReadOptions, ReadReport, group_name, selected, voigt_order

FILE = Path("somewhere/a.xyz")


def test_reports_add_up() -> None:
    a, b = ReadReport(), ReadReport(skip_bad=True)
    a.assume("x")
    b.assume("x", 2)
    for i in range(9):
        b.met("y", f"place {i}")
    b.refuse(InputError("wrong", "f"))
    a.add(b)
    assert (a.assumed, a.observed, a.refused) == ({"x": 3}, {"y": 9}, ["f: wrong"])
    assert a.examples == {"y": [f"place {i}" for i in range(5)]}
    with pytest.raises(InputError):
        a.refuse(InputError("wrong"))
    part = b.take()
    assert (part.observed, part.refused, part.skip_bad) == ({"y": 9}, ["f: wrong"], True)
    assert (b.to_json(), b.refused) == ({"assumed": {}, "observed": {}, "examples": {}}, [])


@pytest.mark.parametrize("order", ["xx yy zz yz xz xy", "xx yy zz xy yz zx", "XX,YY,ZZ,XY,XZ,YZ", "zz yy xx zx zy yx"])
def test_voigt_order(order: str) -> None:
    tensor = {"xx": 1.0, "yy": 2.0, "zz": 3.0, "yz": 4.0, "xz": 5.0, "xy": 6.0}
    names = ["".join(sorted(n)) for n in order.lower().replace(",", " ").split()]
    values = [tensor[n] for n in names]
    assert [values[i] for i in voigt_order(order)] == [1, 2, 3, 4, 5, 6]
    assert labels.to_voigt(values, order)[0].tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("order", ["xx yy zz", "xx yy zz yz xz xz", "a b c d e f", ""])
def test_wrong_voigt_order(order: str) -> None:
    with pytest.raises(SettingsError, match="--stress-order"):
        voigt_order(order)


def test_stress_factor_matches_the_table_of_conventions() -> None:
    assert labels.stress_factor(ReadOptions(), "g", "kbar", "compression") == pytest.approx(-1 / 1602.1766, rel=1e-7)
    assert labels.stress_factor(ReadOptions(), "g", "GPa", "tension") == pytest.approx(1 / 160.21766, rel=1e-7)
    assert labels.stress_factor(ReadOptions(stress_sign="tension"), "g", "kbar", "compression") > 0
    options = ReadOptions(stress_unit="GPa", group_stress_unit={"g": "bar"})
    assert labels.stress_factor(options, "g", "kbar", "tension") == pytest.approx(1 / 1602176.6, rel=1e-7)
    assert labels.stress_factor(options, "h", "kbar", "tension") == pytest.approx(1 / 160.21766, rel=1e-7)
    assert labels.stress_factor(ReadOptions(stress_unit="Ha/Bohr^3"), "", "", "tension") == pytest.approx(183.6315)
    assert labels.stress_factor(ReadOptions(stress_unit="Ry/Bohr^3"), "", "", "tension") == pytest.approx(91.8158)


@pytest.mark.parametrize(
    ("by", "group"),
    [("auto", "b/c"), ("directory", "b/c"), ("file", "x"), ("none", "all"), ("key:phase", "bcc")],
)
def test_group_name(by: str, group: str) -> None:
    options = ReadOptions(group_by=by)
    assert group_name(options, Path("a/b/c/x.json"), Path("a"), "directory", {"phase": "bcc"}) == group


def test_group_names_without_a_folder_below_the_root() -> None:
    options = ReadOptions()
    assert group_name(options, Path("a/b/x.json"), Path("a/b"), "directory") == "b"
    assert group_name(options, Path("a/b/x.json"), Path("a/b/x.json"), "directory") == "b"
    assert group_name(options, Path("a/b/x.json"), None, "directory") == "b"
    assert group_name(options, Path("x.json"), Path("."), "directory") == Path.cwd().name
    assert group_name(options, FILE, None, "=named") == "named"


def test_selected_streams() -> None:
    def endless() -> Any:
        i = 0
        while True:
            yield i
            i += 1

    assert list(selected(endless(), "3")) == [3]
    assert list(selected(endless(), "2:9:3")) == [2, 5, 8]
    for index in (":", "-1", "-3:", "::2", "1:-1", "5", "-2", ":-2", "-9:"):
        parts = [int(p) if p else None for p in index.split(":")]
        expected = (
            [0, 1, 2, 3][slice(*parts)] if ":" in index else [0, 1, 2, 3][parts[0] or 0 : (parts[0] or 0) + 1 or None]
        )
        if index == "5":
            expected = []
        assert list(selected(iter([0, 1, 2, 3]), index)) == expected


def configuration(**changes: Any) -> Configuration:
    values: dict[str, Any] = {
        "numbers": np.array([14, 14]),
        "positions": np.zeros((2, 3)),
        "cell": np.eye(3),
        "pbc": np.ones(3, bool),
        "energy": 1.0,
        "forces": np.zeros((2, 3)),
        "stress": np.zeros(6),
    }
    return Configuration(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"numbers": np.array([], int)}, "no atoms"),
        ({"forces": np.zeros((3, 3))}, "'forces' has 3 rows for 2 atoms"),
        ({"positions": np.zeros((2, 2))}, "shape"),
        ({"cell": np.zeros((2, 3))}, "'cell' has shape"),
        ({"cell": np.diag([1, 1, np.inf])}, "cell vector 3 is no length"),
        ({"positions": np.array([[0, 0, 0], [0, np.nan, 0]])}, "position of atom 2"),
        ({"positions": np.array([[0, 0, 0], [0, 1e200, 0]])}, "position of atom 2"),
        ({"spin": np.zeros(2)}, "'spins' has shape"),
        ({"charge": np.zeros(3)}, "shape"),
        ({"charge": np.array([np.nan, 0])}, "charges are not finite"),
    ],
)
def test_checked_refuses(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        labels.checked(configuration(**changes), ReadReport(), FILE)


def test_checked_makes_labels_missing() -> None:
    report = ReadReport()
    forces, stress = np.zeros((2, 3)), np.zeros(6)
    forces[1, 2], stress[3] = np.inf, np.nan
    c = labels.checked(configuration(energy=np.inf, forces=forces, stress=stress), report, FILE)
    assert np.isnan(c.energy)
    assert (c.forces, c.stress) == (None, None)
    assert len(report.observed) == 3
    large = np.full((2, 3), 1e200)  # its square overflows, but it is a number
    assert labels.checked(configuration(forces=large), report, FILE).forces is large


def test_plain() -> None:
    value = {"a": np.float64(1.5), "b": np.arange(2), 3: (np.True_, None), "d": float("nan"), "e": object()}
    assert labels.plain(value) == {"a": 1.5, "b": [0, 1], "3": [True, None], "d": None, "e": None}


def test_elements() -> None:
    assert labels.atomic_numbers(["Be", "W"], FILE).tolist() == [4, 74]
    for bad in ("be", "X", "Bee", "", 4, None):
        with pytest.raises(InputError, match="atom 2"):
            labels.atomic_numbers(["W", bad], FILE)  # type: ignore[list-item]
    assert labels.known_numbers([1, 118], FILE).tolist() == [1, 118]
    for wrong in ([0], [119], ["a"], [-1], [2**70]):
        with pytest.raises(InputError, match="atom"):
            labels.known_numbers(wrong, FILE)
