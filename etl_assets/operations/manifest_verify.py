"""Which raw files the event log knows, and the look at the whole store that follows from it.

Files that name them are `ledger.references`; hashing them is `operations.manifest_hashes`.
"""

from __future__ import annotations

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.defs.context import ProjectSession
from etl_assets.defs.event_log import EventLog
from etl_assets.ledger.references import references
from etl_assets.model.records import Part, RawFile
from etl_assets.operations.manifest_hashes import verify
from etl_assets.operations.rollback import versions_of
from etl_assets.operations.store_results import Verification


def verify_store(session: ProjectSession, domain: Domain | None) -> Verification:
    """Hash what manifests name, of one domain or all; orphans are those of the whole home."""
    event_log, project = session.event_log, session.project
    everyone = references(project.home)
    wanted = references(project.home, domain.name) if domain else everyone
    known = set(everyone)
    for declared in project.domains.values():
        known |= in_use(event_log, declared)
        for versions in all_versions(event_log, declared).values():
            known |= {version.sha256 for version in versions}
    return verify(project.home, wanted, known)


def in_use(event_log: EventLog, domain: Domain) -> set[str]:
    """Raw files that the last records of the domain speak of: these are never to go."""
    found: set[str | None] = set()
    for state in event_log.read_sources(domain.sources.values()).values():
        for fetch in state.fetches.values():
            held = fetch.pin.replaced_file if fetch.pin else None
            found |= {file.sha256 for file in (fetch.file, held) if file}
        found |= {validated.file.sha256 for validated in state.validated.values() if validated.file}
        for made in state.tables.values():
            found |= {made.table.source_sha256, made.refused_sha256}
    return {sha256 for sha256 in found if sha256}


def all_versions(event_log: EventLog, domain: Domain) -> dict[Part, list[RawFile]]:
    """Every version of every part, the newest first."""
    states = event_log.read_sources(domain.sources.values())
    return {
        part: list(versions_of(event_log, source, part))
        for source in domain.sources.values()
        for part in _parts(source, list(states[source.name].fetches))
    }


def _parts(source: Source, partitions: list[str | None]) -> list[Part]:
    return [source.part(partition) for partition in partitions]
