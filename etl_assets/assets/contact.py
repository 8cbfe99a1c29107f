"""Questions to remotes on behalf of a launch: parts, probes, decisions.

Gathers what the stages need from the event log and the store; it decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import dagster as dg

from etl_assets.assets.state import read_sources
from etl_assets.assets.workplace import Workplace
from etl_assets.io import store
from etl_assets.model.declaration import Source
from etl_assets.model.records import Part, Probe, Stored
from etl_assets.stages import decide, download, probe


def all_parts(source: Source, now: datetime) -> list[Part]:
    """Every part that a source has at a moment; the newest one last."""
    name = source.full_name
    if source.partitions is None:
        return [Part(source=name)]
    years = range(source.partitions.start, now.year + 1)
    return [Part(source=name, partition=str(year)) for year in years]


def probes_of(
    place: Workplace,
    wanted: Sequence[tuple[Source, Part]],
    *,
    now: datetime,
    max_retries: int | None = None,
) -> dict[Part, Probe]:
    """A probe of each part; those that the launching process has made are not asked again."""
    known = {part: place.probes[part] for _, part in wanted if part in place.probes}
    asked = [(s.with_retries(max_retries), part) for s, part in wanted if part not in known]
    with place.client() as client:
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
    states = read_sources(instance, {source.name: source for source, _ in wanted}.values())
    found = []
    for source, part in wanted:
        last = states[source.name].fetches.get(part.partition)
        file = last.file if last else None
        decision = decide.decide(
            source,
            part,
            probes[part],
            last,
            stored=store.presence(place.home, file) if file else Stored.MISSING,
            force=force,
            code_version=download.CODE_VERSION,
            now=now,
            newest=part.partition == str(now.year),
        )
        found.append(download.Job(source, part, decision, probes[part], last))
    return found
