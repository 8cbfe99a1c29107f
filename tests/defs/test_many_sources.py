"""The plan of a domain of a thousand sources, a tenth of them with a partition for each year."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.costs import count_statements
from support.living import YEARLY
from support.orchard import DOMAIN, HOST, Orchard
from support.partitioned_orchard import YEARS, PartitionedOrchard
from support.postgres import PASSWORD, database, postgres_server

from etl_assets.declarations import codegen
from etl_assets.declarations.load import load
from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession
from etl_assets.defs.materialize import PartOutcome
from etl_assets.defs.plan import Plan
from etl_assets.defs.run_events import run_sources
from etl_assets.model.records import FetchResult, Record, TableResult, ValidationResult
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import plan_run
from etl_assets.storage.postgres import Database

__all__ = ["database", "postgres_server"]

SINGLE, PARTITIONED = 900, 100
MAX_CPU_SECONDS = 5.0
VARIABLE = "ORCHARD_EVENTS_PASSWORD"
STAGES: tuple[tuple[Callable[[Source], object], type[Record]], ...] = (
    (asset_keys.raw_key, FetchResult),
    (asset_keys.validated_key, ValidationResult),
    (asset_keys.table_key, TableResult),
)


def multiply(orchard: Orchard, original: str, count: int) -> list[str]:
    """Declare a source many times more, each with the same file under another address."""
    folder = orchard.settings.domains_dir / DOMAIN
    text = (folder / f"{original}.yaml").read_text(encoding="utf-8")
    names = [f"{original}_of_{number}" for number in range(count)]
    served = sorted((orchard.mirror / HOST).glob(f"{original}*.csv"))
    for name in names:
        declared = text.replace(f"{HOST}/{original}", f"{HOST}/{name}")
        (folder / f"{name}.yaml").write_text(declared, encoding="utf-8")
        for file in served:
            file.with_name(file.name.replace(original, name)).hardlink_to(file)
    return names


def record_as(session: DomainSession, original: str, names: list[str]) -> None:
    """Record for each new source what the log has of the original."""
    event_log, domain = session.event_log, session.domain
    source = domain.sources[original]
    for key_of, kind in STAGES:
        key = key_of(source)
        records = (
            event_log.partition_records(key, kind)
            if source.partitions
            else {None: event_log.latest_record(key, kind)}
        )
        for name in names:
            new = domain.sources[name]
            for partition, record in records.items():
                copy = record.model_copy(update={"part": new.part(partition)})
                event_log.report_outcome(
                    key_of(new), partition, PartOutcome(copy, "1", reused=False)
                )


def plan(orchard: Orchard) -> Plan:
    with orchard.session() as session:
        return plan_run(session, RunOptions())


@pytest.mark.long
@pytest.mark.parametrize("log", ["SQLite", "PostgreSQL"])
def test_a_plan_costs_a_bounded_number_of_queries(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, log: str
) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    settings: dict[str, object] = {}
    if log == "PostgreSQL":
        address: Database = request.getfixturevalue("database")
        settings = {"event_log": address.url, "event_log_password_env": VARIABLE}
    orchard = PartitionedOrchard.create(tmp_path, **settings)
    orchard.run()
    single = multiply(orchard, "harvests", SINGLE)
    yearly = multiply(orchard, YEARLY, PARTITIONED)
    codegen.write_dbt_properties(orchard.settings.domains_dir, orchard.settings.dbt_dir)
    orchard.domain = load(orchard.settings.domains_dir)[DOMAIN]
    with orchard.session() as session:
        record_as(session, "harvests", single)
        record_as(session, YEARLY, yearly)
    plan(orchard)  # parses the models

    with orchard.session() as session:
        before = time.process_time()
        statements = count_statements(lambda: plan_run(session, RunOptions()))
        seconds = time.process_time() - before
        parts = len(plan_run(session, RunOptions()).decisions)
        conclusion = count_statements(lambda: run_sources(session))

    assert parts > SINGLE + PARTITIONED * len(YEARS)
    # Dagster's one query of the partitions of an asset is two statements of SQL.
    assert statements <= len(STAGES) * 2 * PARTITIONED + 60
    assert conclusion <= len(STAGES) * 2 * PARTITIONED + 60
    assert seconds < MAX_CPU_SECONDS
