"""A file of a set that is gone from its folder for good: its rows go too, because a person says so.

Until then its last good rows stand, and a check tells of it. The file stays in the raw store as
long as the declared retention keeps any, and the event log says who let it go and why.
"""

from __future__ import annotations

from datetime import datetime

import dagster as dg

from etl_assets.declarations.source import Files, Source
from etl_assets.defs.context import Workplace
from etl_assets.defs.event_log import read_sources
from etl_assets.fetch.file_set import find, folder_of
from etl_assets.model.errors import UsageError
from etl_assets.model.records import Decision, Fetch, FetchStatus, Part, Reason, Ruling
from etl_assets.operations.operator_decisions import record_ruling, said
from etl_assets.tables.parquet import remove


def forget(
    instance: dg.DagsterInstance,
    place: Workplace,
    source: Source,
    part: Part,
    *,
    by: str,
    why: str,
    at: datetime,
) -> Fetch:
    """Take the part's rows away and record it; the next run publishes without them.

    Raises UsageError where the file was never fetched, or still lies in its folder.
    """
    last = _last(instance, place, source, part)
    ruling = Ruling(sha256=last.file.sha256 if last.file else "", by=by, why=said(why), at=at)
    # The table first: where this breaks off, the next run makes it anew, and nothing is forgotten.
    remove(place.home.table_file(source.domain, source.name, part.partition))
    remove(place.home.rejects_file(source.domain, source.name, part.partition))
    fetch = Fetch(
        part=part,
        status=FetchStatus.FORGOTTEN,
        decision=Decision(part=part, fetch=False, reason=Reason.FORGOTTEN, detail=str(ruling)),
    )
    return record_ruling(instance, place, source, fetch, ruling)


def _last(instance: dg.DagsterInstance, place: Workplace, source: Source, part: Part) -> Fetch:
    if not isinstance(source.partitions, Files):
        raise UsageError(f"{source.full_name}: expected a set of files, found one at a fixed place")
    fetches = read_sources(instance, [source])[source.name].fetches
    if part.partition not in fetches:
        known = ", ".join(sorted(key for key in fetches if key)) or "none"
        raise UsageError(
            f"{part}: expected a file that was fetched, found none; known are: {known}"
        )
    if part.partition in find(source, source.partitions, place.places).partitions:
        folder = folder_of(source, place.places)
        raise UsageError(
            f"{part}: expected a file that is gone, found it in {folder}; move it away"
        )
    return fetches[part.partition]
