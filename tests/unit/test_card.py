"""The dataset card: what is checked, where it is shown, that it stays with the versions."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from mlipstore.arrays import sealed
from mlipstore.curation.card import TEMPLATE, card_toml, load_card, set_card
from mlipstore.diff import diff
from mlipstore.errors import DamagedStoreError, InputError, MlipstoreError, SettingsError
from mlipstore.revert import revert
from mlipstore.schema import Document, check
from mlipstore.show import show
from mlipstore.store import Repository

from ..robustness.sources import done, run

SMALL = {"title": "Tungsten", "authors": [{"name": "A. Author"}], "licence": "CC-BY-4.0"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "a.mlip")


def test_it_stays_with_the_versions(repository: Repository, tmp_path: Path) -> None:
    assert load_card(repository.at()) == {} == show(repository)["card"]
    (tmp_path / "card.toml").write_text(TEMPLATE.replace("0000-0000-0000-0000", "0000-0002-1825-0097"))
    first = set_card(repository, tmp_path / "card.toml")
    assert first.changed and first.not_said == []
    card = load_card(repository.at())
    assert card["units"]["stress"] == "kbar" and card == show(repository)["card"]
    assert tomllib.loads(card_toml(card)) == card
    (tmp_path / "again.toml").write_text(card_toml(card))
    assert not set_card(repository, tmp_path / "again.toml").changed
    second = set_card(repository, {**card, "title": "Other", "code": [{"name": "QE"}]})
    found = diff(repository, first.snapshot)
    assert found.card["title"] == ["...", "Other"] and "code" in found.card
    assert load_card(repository.at(first.snapshot)) == card
    revert(repository, second.snapshot)
    assert load_card(repository.at()) == card


def test_the_template_is_a_card_but_for_the_orcid() -> None:
    with pytest.raises(SettingsError) as caught:
        check(Document({**tomllib.loads(TEMPLATE), "title": 1}, "template", TEMPLATE), "card")
    assert "line 2" in str(caught.value) and "text" in str(caught.value)
    check(Document(tomllib.loads(TEMPLATE), "template"), "card")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'title' is missing"),
        ('title = "a"\nlicence = "MIT"\nauthors = []\n', "empty"),
        ('title = "a"\nlicense = "MIT"\nauthors = [{name = "b"}]\n', "Did you mean 'licence'"),
        ('title = "a"\nlicence = "MIT"\nauthors = ["b"]\n', "table"),
        ('title = "a"\nlicence = "MIT"\nauthors = [{name = "b", orcid = "12"}]\n', "line 3.*orcid"),
        ('title = "a"\nlicence = "MIT"\nauthors = [{name = "b"}]\ndate = 2026-11-20\n', "quotation marks"),
        ('title = "a"\nlicence = "MIT"\nauthors = [{name = "b"}]\nunits = {stress = "kbr"}\n', "Did you mean 'kbar'"),
        ('title = "a"\nlicence = "MIT"\nauthors = [{name = "b"}]\nurl = "javascript:x"\n', "expected form"),
        ('title = "a\\u001b[2J"\nlicence = "MIT"\nauthors = [{name = "b"}]\n', "expected form"),
        ("title = " + "[" * 5000 + "]" * 5000, "deep|TOML"),
        ('title = "' + "x" * (1 << 20) + '"', "1 MB"),
    ],
    ids=range(11),
)
def test_what_is_refused(repository: Repository, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "card.toml"
    file.write_text(text)
    before = repository.at().id
    with pytest.raises((SettingsError, InputError), match=words):
        set_card(repository, file)
    assert repository.at().id == before


def test_the_card_of_a_stranger_is_checked(repository: Repository) -> None:
    with repository.transaction("hostile", {"verb": "card"}) as tx:
        tx.root.require_group("card").attrs.update(sealed({"card": {"title": "\x1b[2J", "authors": 3}}))
    with pytest.raises(DamagedStoreError, match="dataset card"):
        show(repository)
    assert set_card(repository, SMALL).changed and show(repository)["card"] == SMALL


def test_on_the_command_line(repository: Repository, tmp_path: Path) -> None:
    assert run("card", repository.path).code == 2
    (tmp_path / "card.toml").write_text(done("card", repository.path, "--template").out)
    out = done("card", repository.path, tmp_path / "card.toml").out
    assert "licence CC-BY-4.0" in out and "committed" in out
    assert "level of theory: method DFT" in done("show", repository.path).out
    assert json.loads(done("card", repository.path, "--json").out)["title"] == "..."
    assert tomllib.loads(done("card", repository.path).out)["code"] == [{"name": "VASP", "version": "6.4.2"}]
    assert "nothing to do" in done("card", repository.path, tmp_path / "card.toml").out
    assert isinstance(run("card", repository.path, tmp_path / "none.toml").code, int)
    assert issubclass(DamagedStoreError, MlipstoreError)
