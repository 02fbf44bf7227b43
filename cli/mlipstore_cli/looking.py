"""``show``."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import Json, Ref, Store


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
    from mlipstore.show import show as verb
    from mlipstore.store import Repository
    from mlipstore.studies import Study

    from .present import emit_facts
    from .present_factors import show_study
    from .present_store import show_facts

    repository = Repository.open(store)
    facts = verb(repository, name, ref)
    if facts["kind"] == "study" and not json:
        show_study(Study.load(repository.at(ref), facts["id"]), units)
    else:
        emit_facts(facts, json, lambda: show_facts(facts, units))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(show)
