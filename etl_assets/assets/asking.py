"""Sources whose requests come from a table, on behalf of a launch: surveys, decisions, answers.

Gathers what the stage needs from the tables and the settings; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from etl_assets.assets.state import SourceState
from etl_assets.assets.workplace import Workplace
from etl_assets.io.http import Client
from etl_assets.io.row_requests import requests_of
from etl_assets.model.declaration import Source
from etl_assets.model.records import Decision, Fetch, Part
from etl_assets.stages import ask


def ask_all(
    place: Workplace,
    states: Mapping[str, SourceState],
    sources: Sequence[Source],
    *,
    force: bool,
) -> Iterator[Fetch]:
    """What came of each source, one after the other."""
    for source in sources:
        part, last = Part(source=source.full_name), states[source.name].fetches.get(None)
        with place.client() as client:
            desk = _desk(place, source, client, force=force, now=datetime.now(UTC))
            found = _survey(place, source, desk)
            yield ask.gather(part, found, ask.decide(part, found, last, desk), last, desk)


def decisions_of(
    place: Workplace,
    states: Mapping[str, SourceState],
    sources: Sequence[Source],
    *,
    force: bool,
    now: datetime,
) -> list[Decision]:
    """What would be asked from the tables as they stand; nothing is asked for this."""
    found = []
    with place.client() as client:
        for source in sources:
            part, last = Part(source=source.full_name), states[source.name].fetches.get(None)
            desk = _desk(place, source, client, force=force, now=now)
            found.append(ask.decide(part, _survey(place, source, desk), last, desk))
    return found


def _survey(place: Workplace, source: Source, desk: ask.Desk) -> ask.Survey:
    table = place.home.table_file(source.domain, ask.declared_of(source).table, None)
    requests = requests_of(source, table, place.places, with_credentials=not desk.missing)
    return ask.survey(source, requests, desk)


def _desk(
    place: Workplace, source: Source, client: Client, *, force: bool, now: datetime
) -> ask.Desk:
    names = [each.env for each in source.location.credentials.values()]
    missing = [name for name in names if place.settings.find_secret(name) is None]
    return ask.Desk(
        client=client, home=place.home, now=now, missing=", ".join(missing), force=force
    )
