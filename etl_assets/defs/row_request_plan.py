"""Sources whose requests come from a table, on behalf of a launch: surveys, decisions, answers.

Gathers what the stage needs from the tables and the settings; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from etl_assets.declarations.source import Source
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import SourceState
from etl_assets.fetch import collect_answers
from etl_assets.fetch.http import Client
from etl_assets.fetch.row_requests import build_requests
from etl_assets.model.records import Decision, FetchResult


def ask_all(
    place: ProjectContext,
    states: Mapping[str, SourceState],
    sources: Sequence[Source],
    *,
    force: bool,
) -> Iterator[FetchResult]:
    """What came of each source, one after the other."""
    for source in sources:
        part, last = source.part(), states[source.name].fetches.get(None)
        with place.client() as client:
            desk = _desk(place, source, client, force=force, now=datetime.now(UTC))
            found = _survey(place, source, desk)
            yield collect_answers.collect(
                part, found, collect_answers.decide(part, found, last, desk), last, desk
            )


def decisions_of(
    place: ProjectContext,
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
            part, last = source.part(), states[source.name].fetches.get(None)
            desk = _desk(place, source, client, force=force, now=now)
            found.append(collect_answers.decide(part, _survey(place, source, desk), last, desk))
    return found


def _survey(
    place: ProjectContext, source: Source, desk: collect_answers.RequestContext
) -> collect_answers.RequestSurvey:
    table = place.home.table_file(
        source.domain, collect_answers.require_for_each(source).table, None
    )
    requests = build_requests(
        source, table, place.resolver, with_credentials=not desk.missing_settings
    )
    return collect_answers.survey_requests(source, requests, desk)


def _desk(
    place: ProjectContext, source: Source, client: Client, *, force: bool, now: datetime
) -> collect_answers.RequestContext:
    names = [each.env for each in source.location.credentials.values()]
    missing = [name for name in names if place.settings.find_secret(name) is None]
    return collect_answers.RequestContext(
        client=client, home=place.home, now=now, missing_settings=", ".join(missing), force=force
    )
