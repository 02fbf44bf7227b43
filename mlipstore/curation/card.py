"""The dataset card: title, authors, licence, citation, level of theory, code, units. TOML in, checked, kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import zarr

from ..arrays import sealed
from ..errors import DamagedStoreError, SettingsError
from ..provenance import commit_metadata, new_run
from ..runs.toml_text import dump_toml
from ..schema import Document, check, read_toml
from ..snapshot import Snapshot
from ..store import Repository
from ..units import factor

#: Keys that a reader of the data will look for, beside those that must be there.
WANTED = ("description", "citation", "level_of_theory", "code", "units")
_LARGEST = 1 << 20
_QUANTITIES = ("energy", "length", "force", "stress")

TEMPLATE = """\
# Card of a data set. title, authors and licence are needed; leave out what you cannot say.
title = "..."
description = "..."
version = "1.0"
date = "2026-11-20"
licence = "CC-BY-4.0"
citation = ["A. Author, B. Author, Journal 1, 2 (2026), doi:10...."]
doi = "10.5281/zenodo.0000000"
keywords = ["surface", "melt"]

[[authors]]
name = "A. Author"
affiliation = "..."
orcid = "0000-0000-0000-0000"

[level_of_theory]
method = "DFT"
functional = "PBE"
basis = "plane waves"
pseudopotentials = "PAW ..."
cutoff = 520.0  # eV
kpoints = "0.03 1/Å"
smearing = "Gaussian 0.05 eV"

[[code]]
name = "VASP"
version = "6.4.2"

[units]  # of the files that the data came from
energy = "eV"
length = "Å"
stress = "kbar"
stress_sign = "compression"
"""


@dataclass
class CardResult:
    """What was stored.

    :param changed: whether it differs from the card that was there
    :param not_said: keys that it lacks and that people will look for
    """

    card: dict[str, Any] = field(default_factory=dict)
    changed: bool = False
    not_said: list[str] = field(default_factory=list)
    snapshot: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def load_card(snapshot: Snapshot) -> dict[str, Any]:
    """The card of a version, empty if there is none.

    :raises DamagedStoreError: what is stored there is no card
    """
    card: dict[str, Any] = _stored(snapshot)
    if card:
        try:
            check(Document(card, "card"), "card")
        except SettingsError as error:
            raise DamagedStoreError(
                f"{snapshot.repository.path}: the dataset card is not one ({error}). mlipstore card STORE FILE.toml "
                "stores another."
            ) from None
    return card


def _stored(snapshot: Snapshot) -> dict[str, Any]:
    stored: Any = snapshot.attributes("card").get("card", {}) if snapshot.exists("card") else {}
    return stored if isinstance(stored, dict) else {"": stored}


def not_said(card: Mapping[str, Any]) -> list[str]:
    """Keys of :data:`WANTED` that a card lacks."""
    return [key for key in WANTED if key not in card]


def set_card(
    repository: Repository, card: str | Path | Mapping[str, Any], message: str | None = None, command: str = "card"
) -> CardResult:
    """Give the store a card, in the place of the one it has.

    :param card: a TOML file, or its values
    :raises SettingsError: it does not fit ``schemas/card.schema.json``; says what, where and what was expected
    :raises InputError: the file is not TOML
    """
    document = _read(card)
    values = dict(document.values)
    result = CardResult(values, not_said=not_said(values))
    metadata = commit_metadata("card", command, new_run(), title=values["title"])
    with repository.transaction(message or f"card {values['title']!r}", metadata, exclusive=True) as tx:
        if _stored(repository.at()) == values:
            return result

        def store(root: zarr.Group) -> None:
            root.require_group("card").attrs.update(sealed({"card": values}))

        tx.at_commit(store)
    result.changed, result.snapshot = True, tx.snapshot_id
    return result


def card_toml(card: Mapping[str, Any]) -> str:
    """A card as TOML, to be changed and given back."""
    return dump_toml(card)


def _read(card: str | Path | Mapping[str, Any]) -> Document:
    if isinstance(card, Mapping):
        document = Document(card, "the card")
    else:
        path = Path(card)
        if path.is_file() and path.stat().st_size > _LARGEST:
            raise SettingsError(f"{path} has more than 1 MB, which no card needs.")
        document = read_toml(path)
    check(document, "card")
    units = document.values.get("units", {})
    for quantity in _QUANTITIES:
        if quantity in units:
            try:
                factor(quantity, units[quantity])
            except SettingsError as error:
                raise document.error(("units", quantity), str(error)) from None
    return document
