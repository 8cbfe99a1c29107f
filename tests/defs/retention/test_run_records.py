"""Dagster's records of old runs go with all that belongs to them, unless they hold a last event."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from support.sample_home import DOMAIN, SampleHome

from etl_assets.declarations.domain import Domain, Retention
from etl_assets.defs import asset_keys, raw
from etl_assets.defs.event_log import COMMAND_TAG, DIRECTORY_TAG_PREFIX, EventLog
from etl_assets.defs.materialize import record_metadata
from etl_assets.defs.retention import run_records
from etl_assets.model.home import Home
from etl_assets.model.records import Decision, FetchResult, FetchStatus, RawFile, Reason

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWN_TAGS = {COMMAND_TAG: DOMAIN}
TABLE = dg.AssetKey([DOMAIN, "any_table"])
YEARS = dg.StaticPartitionsDefinition(["2023", "2024"])


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return SampleHome(tmp_path)


@pytest.fixture
def event_log(sample: SampleHome) -> Iterator[EventLog]:
    with sample.instance() as instance:
        yield EventLog(instance)


@pytest.fixture
def domain(sample: SampleHome) -> Domain:
    """Return a domain that keeps two runs."""
    return sample.domain.model_copy(update={"retention": Retention(keep_runs=2)})


def make(
    event_log: EventLog,
    *,
    key: dg.AssetKey = TABLE,
    partition: str | None = None,
    check: str = "",
    metadata: dict[str, object] | None = None,
    tags: dict[str, str] | None = None,
) -> str:
    """Run a job that materializes one asset, and return the id of the run."""

    @dg.asset(
        key=key,
        partitions_def=YEARS if partition else None,
        check_specs=[dg.AssetCheckSpec(check, asset=key)] if check else None,
    )
    def asset() -> Iterator[Any]:
        results = [dg.AssetCheckResult(passed=True, check_name=check)] if check else []
        yield dg.MaterializeResult(metadata=metadata or {}, check_results=results)

    result = dg.materialize(
        [asset],
        instance=event_log.instance,
        partition_key=partition,
        tags=OWN_TAGS if tags is None else tags,
    )
    return result.run_id


def observe(event_log: EventLog, partition: str | None = None) -> str:
    """Run a job that records an observation and nothing else of the table."""

    @dg.op
    def op(context: dg.OpExecutionContext) -> None:
        context.log_event(dg.AssetObservation(TABLE, partition=partition))

    @dg.job
    def job() -> None:
        op()

    return job.execute_in_process(instance=event_log.instance, tags=OWN_TAGS).run_id


def old_records(event_log: EventLog, home: Home, domain: Domain, *domains: str) -> list[str]:
    names = {DOMAIN, *domains}
    states = event_log.read_sources(domain.sources.values())
    return run_records.list_old_run_records(event_log, home, domain, states, domains=names)


def test_only_runs_beyond_the_declared_number_are_old(
    event_log: EventLog, sample: SampleHome, domain: Domain
) -> None:
    runs = [make(event_log) for _ in range(4)]

    assert old_records(event_log, sample.home, domain) == runs[:2]


def test_no_run_is_old_before_the_number_is_reached(
    event_log: EventLog, sample: SampleHome, domain: Domain
) -> None:
    for _ in range(2):
        make(event_log)

    assert old_records(event_log, sample.home, domain) == []


OTHER = dg.AssetKey([DOMAIN, "another_table"])


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    "record",
    [
        pytest.param(lambda log: make(log, key=OTHER), id="an asset"),
        pytest.param(lambda log: make(log, partition="2023"), id="a partition"),
        pytest.param(lambda log: make(log, check="rows"), id="a check"),
        pytest.param(observe, id="an observation"),
        pytest.param(lambda log: observe(log, "2023"), id="an observation of a partition"),
    ],
)
def test_a_run_with_the_last_event_is_kept_however_old_it_is(
    record: Callable[[EventLog], str], event_log: EventLog, sample: SampleHome, domain: Domain
) -> None:
    holder = record(event_log)
    partition = "2024" if event_log.instance.get_materialized_partitions(TABLE) else None
    others = [make(event_log, partition=partition) for _ in range(4)]

    assert old_records(event_log, sample.home, domain) == others[:2]
    assert event_log.instance.get_run_by_id(holder)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    "record",
    [
        pytest.param(lambda log: make(log, key=OTHER), id="an asset"),
        pytest.param(lambda log: make(log, partition="2023"), id="a partition"),
        pytest.param(lambda log: make(log, check="rows"), id="a check"),
        pytest.param(observe, id="an observation"),
    ],
)
def test_a_run_is_let_go_once_a_later_one_has_the_same_events(
    record: Callable[[EventLog], str], event_log: EventLog, sample: SampleHome, domain: Domain
) -> None:
    runs = [record(event_log) for _ in range(4)]

    assert old_records(event_log, sample.home, domain) == runs[:2]


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    "tags",
    [
        pytest.param({COMMAND_TAG: "galaxy"}, id="of another domain"),
        pytest.param({}, id="of another project"),
        pytest.param(
            {f"{DIRECTORY_TAG_PREFIX}{name}": "20260301_120000" for name in (DOMAIN, "galaxy")},
            id="of two domains",
        ),
    ],
)
def test_only_runs_of_the_locked_domain_are_old(
    tags: dict[str, str], event_log: EventLog, sample: SampleHome, domain: Domain
) -> None:
    make(event_log, tags=tags)
    runs = [make(event_log) for _ in range(3)]

    assert old_records(event_log, sample.home, domain) == runs[:1]


def test_a_run_of_two_domains_is_old_where_both_are_locked(
    event_log: EventLog, sample: SampleHome, domain: Domain
) -> None:
    tags = {f"{DIRECTORY_TAG_PREFIX}{name}": "20260301_120000" for name in (DOMAIN, "galaxy")}
    shared = make(event_log, tags=tags)
    runs = [make(event_log) for _ in range(3)]

    assert old_records(event_log, sample.home, domain, "galaxy") == [shared, runs[0]]


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_a_live_run_is_never_old(
    status: str, event_log: EventLog, sample: SampleHome, domain: Domain
) -> None:
    live = dg.DagsterRun("refresh", status=dg.DagsterRunStatus[status], tags=OWN_TAGS)
    event_log.instance.add_run(live)
    runs = [make(event_log) for _ in range(3)]

    assert old_records(event_log, sample.home, domain) == runs[:1]


def fetch_of(event_log: EventLog, sample: SampleHome, text: str) -> str:
    """Run a fetch of one source, whose file is stored, and return the id of the run."""
    source = sample.domain.sources["kev"]
    path = sample.home.raw_file(text * 64)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    file = RawFile(
        part=source.part(), sha256=path.name, size_bytes=1, path=sample.home.relative(path),
        url="https://kev.example/kev.json", fetched_at=NOON, code_version="1",
    )  # fmt: skip
    decision = Decision(part=source.part(), fetch=True, reason=Reason.NO_RECORD)
    status = FetchStatus.FETCHED
    fetch = FetchResult(part=source.part(), status=status, decision=decision, file=file)
    metadata = record_metadata(fetch, raw.raw_outcome(fetch).metadata)
    return make(event_log, key=asset_keys.raw_key(source), metadata=metadata)


def test_the_fetch_of_a_file_is_kept_as_long_as_the_file_is_stored(
    event_log: EventLog, sample: SampleHome, domain: Domain
) -> None:
    runs = [fetch_of(event_log, sample, text) for text in "abcd"]

    while_stored = old_records(event_log, sample.home, domain)
    sample.home.raw_file("a" * 64).unlink()

    assert while_stored == []
    assert old_records(event_log, sample.home, domain) == runs[:1]


def test_of_a_file_that_was_fetched_often_one_fetch_is_kept(
    event_log: EventLog, sample: SampleHome, domain: Domain
) -> None:
    runs = [fetch_of(event_log, sample, text) for text in "abababab"]

    # Both are stored. The last two runs are in the window, and b is the current file.
    assert old_records(event_log, sample.home, domain) == [*runs[:4], runs[5]]


def test_a_deleted_run_leaves_no_event_file_log_or_check_execution(
    event_log: EventLog, sample: SampleHome
) -> None:
    run, other = (make(event_log, check="rows") for _ in range(2))
    logs = event_log.instance.compute_log_manager
    with logs.open_log_stream([run, "compute_logs", "step"], ComputeIOType.STDOUT) as stream:
        assert stream is not None
        stream.write("a line")

    run_records.delete_run_record(event_log, run)

    assert event_log.instance.get_run_by_id(run) is None
    assert run_ids_of_checks(event_log) == {other}
    assert [path for path in sample.home.dagster.rglob("*") if run in path.name] == []
    assert [path for path in sample.home.dagster.rglob("*") if other in path.name] != []


def run_ids_of_checks(event_log: EventLog) -> set[str]:
    storage = event_log.instance.event_log_storage
    with storage.index_connection() as connection:
        rows = connection.execute(AssetCheckExecutionsTable.select()).fetchall()
    return {row.run_id for row in rows}


def test_an_interrupted_deletion_is_completed(event_log: EventLog, sample: SampleHome) -> None:
    interrupted, other = (make(event_log, check="rows") for _ in range(2))
    # The first thing that `delete_run` of Dagster deletes, as if the process was killed after it.
    event_log.instance.run_storage.delete_run(interrupted)

    run_records.finish_deletions(event_log)

    assert [path for path in sample.home.dagster.rglob("*") if interrupted in path.name] == []
    assert run_ids_of_checks(event_log) == {other}
    assert event_log.instance.get_run_by_id(other)


def test_completing_deletions_leaves_events_outside_of_runs(
    event_log: EventLog, sample: SampleHome
) -> None:
    event_log.report(dg.AssetMaterialization(TABLE))
    files = event_files(sample.home)

    run_records.finish_deletions(event_log)

    assert event_files(sample.home) == files
    assert event_log.instance.get_latest_materialization_event(TABLE)


def event_files(home: Home) -> Sequence[str]:
    folder = home.dagster / "history" / "runs"
    return sorted(path.name for path in folder.glob("*.db"))
