"""Asset checks, evaluated on request: for somebody's CI and for the person on call.

What can be judged again is judged again: stored files by their hash, models by their tests. The
word on a fetch or a contract is the event log's, for it belongs to the file of that day.
"""

from __future__ import annotations

from collections.abc import Iterator

from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession
from etl_assets.defs.marts import describe_result
from etl_assets.defs.publish import recorded_checks
from etl_assets.fetch import raw_store
from etl_assets.marts.dbt import DbtProject
from etl_assets.model.errors import UsageError
from etl_assets.model.records import StoredState
from etl_assets.model.run_manifest import RunCheck


def check_domain(session: DomainSession) -> list[RunCheck]:
    """Every check of the domain as it stands; raises UsageError where nothing was ever built."""
    name = session.domain.name
    if not session.home.warehouse(name).exists():
        raise UsageError(f"{name}: nothing was built yet; run `etl run {name}` first")
    return [*recorded_checks(session), *_stored(session), *_tested(name, session.dbt)]


def _stored(session: DomainSession) -> Iterator[RunCheck]:
    """Whether each raw file in use still has the bytes that its record names."""
    states = session.read_sources()
    for source in session.domain.sources.values():
        bad = [
            f"{fetch.part}: {fetch.file.path} is {found}; the next run fetches it again"
            for fetch in states[source.name].fetches.values()
            if fetch.file
            and (found := raw_store.verify(session.home, fetch.file.sha256))
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
                description=describe_result(result, nodes[result.unique_id].get("description"))
                or "",
            )
