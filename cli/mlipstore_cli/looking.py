"""``show``."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer

from .common import Json, Ref, Store, command_line
from .editing import Message


def show(
    store: Store,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="A segment, featurization, baseline, study or model; or REF:PATH, a group or array."
        ),
    ] = None,
    ref: Ref = None,
    units: Annotated[str, typer.Option(help="Units of errors: standard or fitsnap.")] = "standard",
    json: Json = False,
) -> None:
    """Show what the store holds, or one thing in it.

    Any group or array of any version is REF:PATH, or :PATH in the newest one; docs/layout.md says what there is:

    mlipstore show a.mlip v1.0:index/facts
    """
    from mlipstore.searching.studies import Study
    from mlipstore.show import show as verb
    from mlipstore.store import Repository

    from .present import emit_facts
    from .present_factors import show_study
    from .present_store import show_facts

    repository = Repository.open(store)
    facts = verb(repository, name, ref)
    if facts["kind"] == "study" and not json:
        show_study(Study.load(repository.at(ref), facts["id"]), units)
    else:
        emit_facts(facts, json, lambda: show_facts(facts, units))


def card(
    store: Store,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE.toml]", help="Card to store; none prints the one that is there.")
    ] = None,
    template: Annotated[bool, typer.Option("--template", help="Print a card to fill in, and stop.")] = False,
    message: Message = None,
    ref: Ref = None,
    json: Json = False,
) -> None:
    """Say who made the data and how: title, authors, licence, citation, level of theory, code; or print it as TOML.

    Examples:

    mlipstore card a.mlip --template > card.toml

    mlipstore card a.mlip card.toml
    """
    from mlipstore.curation.card import TEMPLATE, card_toml, load_card, set_card
    from mlipstore.errors import SettingsError
    from mlipstore.store import Repository

    from .present import emit, emit_facts
    from .present_store import show_card_result
    from .tables import say

    if template:
        say(TEMPLATE.rstrip())
        return
    repository = Repository.open(store)
    if file is not None:
        if ref is not None:
            raise SettingsError("--ref reads the card of a version; a new card goes to the newest one.")
        result = set_card(repository, file, message, command_line())
        emit(result, json, lambda: show_card_result(result))
        return
    found = load_card(repository.at(ref))
    if not found and not json:
        raise SettingsError(
            f"the store has no card. mlipstore card {quote(store)} --template > card.toml makes one to fill in."
        )
    emit_facts(found, json, lambda: say(card_toml(found).rstrip()))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(show)
    app.command()(card)
