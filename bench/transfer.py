"""Our own download of feeds on loopback: streamed, hashed, stored, as the raw step does it.

Run as a program: `python -m bench.transfer TARGET URL...` fetches all at once into a new home below
TARGET, and prints how long each took and what it cost.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from etl_assets.declarations.source import Source
from etl_assets.fetch.download import FetchContext, FetchJob, fetch_all
from etl_assets.fetch.http import Client
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.home import Home
from etl_assets.model.records import Decision, FetchStatus, Reason

DECLARED = {
    "title": "Feed",
    "description": "Bytes of no meaning.",
    "producer": "bench",
    "licence": {"name": "none stated", "attribution": "bench"},
    "required": True,
    "limits": {"connections": 8, "requests_per_second": 1000},
    "freshness": {"warn_after_hours": 24, "fail_after_hours": 48},
    "format": {"name": "json"},
    "contract": {
        "columns": [{"name": "id", "type": "string", "description": "id"}],
        "key": ["id"],
    },
}


def main(target: str, *urls: str) -> None:
    """Fetch every URL at once and print the cost."""
    home = Home(Path(target) / "home")
    began, cpu = time.perf_counter(), time.process_time()
    with Client() as client:
        desk = FetchContext(client, LocationResolver(home.root, None), home, datetime.now(UTC))
        for fetch in fetch_all([_job(number, url) for number, url in enumerate(urls)], desk):
            if fetch.status is not FetchStatus.FETCHED:
                raise RuntimeError(f"{fetch.part}: {fetch.status}: {fetch.fault}")
    result = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps(result))


def _job(number: int, url: str) -> FetchJob:
    source = Source.model_validate({**DECLARED, "location": {"url": url}})
    source = source.model_copy(update={"domain": "bench", "name": f"feed{number}"})
    part = source.part()
    return FetchJob(source, part, Decision(part=part, fetch=True, reason=Reason.NO_RECORD))


if __name__ == "__main__":
    main(*sys.argv[1:])
