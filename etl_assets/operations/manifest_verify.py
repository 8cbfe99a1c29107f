"""Which raw files the event log knows, and the look at the whole store that follows from it.

Files that name them are `ledger.references`; hashing them is `operations.manifest_hashes`.
"""

from __future__ import annotations

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import read_sources
from etl_assets.ledger.references import references
from etl_assets.model.records import Part, RawFile
from etl_assets.operations.manifest_hashes import verify
from etl_assets.operations.rollback import versions_of
from etl_assets.operations.store_results import Verification


def verify_store(
    instance: dg.DagsterInstance, place: ProjectContext, domain: Domain | None
) -> Verification:
    """Hash what manifests name, of one domain or all; orphans are those of the whole home."""
    everyone = references(place.home)
    wanted = references(place.home, domain.name) if domain else everyone
    known = set(everyone)
    for declared in place.domains.values():
        known |= in_use(instance, declared)
        for versions in all_versions(instance, declared).values():
            known |= {version.sha256 for version in versions}
    return verify(place.home, wanted, known)


def in_use(instance: dg.DagsterInstance, domain: Domain) -> set[str]:
    """Raw files that the last records of the domain speak of: these are never to go."""
    found: set[str | None] = set()
    for state in read_sources(instance, domain.sources.values()).values():
        for fetch in state.fetches.values():
            held = fetch.pin.held if fetch.pin else None
            found |= {file.sha256 for file in (fetch.file, held) if file}
        found |= {validated.file.sha256 for validated in state.validated.values() if validated.file}
        for made in state.tables.values():
            found |= {made.table.source_sha256, made.refused_sha256}
    return {sha256 for sha256 in found if sha256}


def all_versions(instance: dg.DagsterInstance, domain: Domain) -> dict[Part, list[RawFile]]:
    """Every version of every part, the newest first."""
    states = read_sources(instance, domain.sources.values())
    return {
        part: list(versions_of(instance, source, part))
        for source in domain.sources.values()
        for part in _parts(source, list(states[source.name].fetches))
    }


def _parts(source: Source, partitions: list[str | None]) -> list[Part]:
    return [source.part(partition) for partition in partitions]
