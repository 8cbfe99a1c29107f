"""Asset checks, evaluated on request: for somebody's CI and for the person on call.

What can be judged again is judged again: stored files by their hash, models by their tests. The
word on a fetch or a contract is the event log's, for it belongs to the file of that day.
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys, candidate
from etl_assets.defs.event_log import latest_checks, read_sources
from etl_assets.defs.marts import found_by
from etl_assets.defs.publish import source_checks
from etl_assets.defs.run_events import check_of
from etl_assets.fetch import raw_store
from etl_assets.marts.dbt import DbtProject
from etl_assets.model.errors import UsageError
from etl_assets.model.records import StoredState
from etl_assets.model.run_manifest import RunCheck
from etl_assets.operations.run import Launcher


def check_domain(launcher: Launcher, name: str) -> list[RunCheck]:
    """Every check of the domain as it stands; raises UsageError where nothing was ever built."""
    domain = launcher.domain(name)
    if not launcher.place.home.warehouse(name).exists():
        raise UsageError(f"{name}: nothing was built yet; run `etl run {name}` first")
    return [
        *_recorded(launcher, domain),
        *_stored(launcher, domain),
        *_tested(name, launcher.place.dbt(domain)),
    ]


def _recorded(launcher: Launcher, domain: Domain) -> Iterator[RunCheck]:
    gate = dg.AssetCheckKey(asset_keys.published_key(domain), candidate.GATE)
    wanted = [gate, *source_checks(domain)]
    for evaluation in latest_checks(launcher.instance, wanted).values():
        yield check_of(evaluation)


def _stored(launcher: Launcher, domain: Domain) -> Iterator[RunCheck]:
    """Whether each raw file in use still has the bytes that its record names."""
    states = read_sources(launcher.instance, domain.sources.values())
    for source in domain.sources.values():
        bad = [
            f"{fetch.part}: {fetch.file.path} is {found}; the next run fetches it again"
            for fetch in states[source.name].fetches.values()
            if fetch.file
            and (found := raw_store.verify(launcher.place.home, fetch.file.sha256))
            is not StoredState.PRESENT
        ]
        yield RunCheck(
            asset=asset_keys.name_of(asset_keys.raw_key(source)),
            name="stored",
            passed=not bad,
            severity="error",
            description="\n".join(bad),
        )


def _tested(domain: str, project: DbtProject) -> Iterator[RunCheck]:
    nodes = project.manifest["nodes"]
    for result in project.test():
        if result.kind == "test":
            yield RunCheck(
                asset=domain,
                name=result.unique_id.split(".")[2],
                passed=result.status == "pass",
                severity="warn" if result.status == "warn" else "error",
                description=found_by(result, nodes[result.unique_id].get("description")) or "",
            )
