"""Settings of the LAMMPS baseline."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipstore import registry
from mlipstore.baselines.lammps import Lammps
from mlipstore.configuration import Batch
from mlipstore.errors import SettingsError


def test_one_form_and_label() -> None:
    a = Lammps(elements=["Ta"], pair_style="  zbl  4.0   4.8 ", pair_coeff="* * 73 73")
    assert a == Lammps(("Ta",), "zbl 4.0 4.8", ("* * 73 73",))
    assert a.label() == "lammps-zbl"
    hybrid = Lammps(("Ta",), "hybrid/overlay zero 10.0 zbl 4.0 4.8", ("* * zero", "* * zbl 73 73"))
    assert hybrid.label() == "lammps-zbl"
    assert Lammps(("Ta",), "zero 10.0", ("* *",)).label() == "lammps-zero"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"units": "real"}, "units 'real' are not supported"),
        ({"atom_style": "atomics"}, "Did you mean 'atomic'"),
        ({"pair_style": " "}, "pair_style is empty"),
        ({"pair_coeff": ["* * 73\n73"]}, "single lines"),
    ],
)
def test_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        registry.make("baselines", "lammps", {"elements": ["Ta"], "pair_style": "zbl 4 5", "pair_coeff": []} | settings)


def test_identity_covers_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case of file names is kept, another content is another baseline, and a changed file is not used."""
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "Ta.Table"
    table.write_text("one")
    settings = {"elements": ["Ta"], "pair_style": "table linear 10", "pair_coeff": ["* * Ta.Table TA 4.0"]}
    first = registry.make("baselines", "lammps", settings)
    assert first.files[0].startswith("Ta.Table=7692c3ad3540bb80")
    table.write_text("two")
    assert registry.make("baselines", "lammps", settings) != first
    again = registry.make("baselines", "lammps", registry.settings_of(first))
    with pytest.raises(SettingsError, match=r"Ta\.Table' has changed"):
        again.evaluate(Batch.from_configurations([]))
    table.unlink()
    with pytest.raises(SettingsError, match=r"Ta\.Table' is not in this folder"):
        registry.make("baselines", "lammps", registry.settings_of(first)).evaluate(Batch.from_configurations([]))
