"""Questions to remotes on behalf of a launch: parts, probes, decisions.

Gathers what the stages need from the event log and the store; it decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import dagster as dg

from etl_assets.assets import keys
from etl_assets.assets.state import standing
from etl_assets.assets.workplace import Workplace
from etl_assets.io import store
from etl_assets.io.http import Client
from etl_assets.model.declaration import Source
from etl_assets.model.records import Decision, Fetch, Part, Probe, Stored
from etl_assets.stages import decide, download, probe

Parts = Mapping[str, Sequence[Part]]


def all_parts(source: Source, now: datetime) -> list[Part]:
    """Every part that a source has at a moment; the newest one last."""
    name = source.full_name
    if source.partitions is None:
        return [Part(source=name)]
    years = range(source.partitions.start, now.year + 1)
    return [Part(source=name, partition=str(year)) for year in years]


def probes_of(
    place: Workplace, wanted: Sequence[tuple[Source, Part]], *, now: datetime
) -> dict[Part, Probe]:
    """A probe of each part; those that the launching process has made are not asked again."""
    known = {part: place.probes[part] for _, part in wanted if part in place.probes}
    asked = [(source, part) for source, part in wanted if part not in known]
    with Client() as client:
        return known | probe.probe_all(asked, client=client, places=place.places, now=now)


def jobs_of(
    instance: dg.DagsterInstance,
    place: Workplace,
    wanted: Sequence[tuple[Source, Part]],
    probes: Mapping[Part, Probe],
    *,
    force: bool,
    now: datetime,
) -> list[download.Job]:
    """What is known of each part and what is decided on it."""
    last = {
        source.full_name: standing(
            instance, keys.raw_key(source), Fetch, partitioned=source.partitions is not None
        )
        for source in {source.full_name: source for source, _ in wanted}.values()
    }
    return [
        _job(place, source, part, probes[part], last[part.source].get(part.partition), force, now)
        for source, part in wanted
    ]


def _job(
    place: Workplace,
    source: Source,
    part: Part,
    answer: Probe,
    last: Fetch | None,
    force: bool,
    now: datetime,
) -> download.Job:
    return download.Job(
        source=source,
        part=part,
        decision=_decision(place, source, part, answer, last, force, now),
        probe=answer,
        last=last,
    )


def _decision(
    place: Workplace,
    source: Source,
    part: Part,
    answer: Probe,
    last: Fetch | None,
    force: bool,
    now: datetime,
) -> Decision:
    file = last.file if last else None
    return decide.decide(
        source,
        part,
        answer,
        last,
        stored=store.presence(place.home, file) if file else Stored.MISSING,
        force=force,
        code_version=download.CODE_VERSION,
        now=now,
        newest=part.partition == str(now.year),
    )
