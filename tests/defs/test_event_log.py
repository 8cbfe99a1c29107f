"""Records that are read back from the event log, mostly on an instance in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from support.costs import count_statements, least_cpu_seconds
from support.sample_home import DOMAIN, SampleHome

from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys, raw
from etl_assets.defs.context import AS_OF_TAG
from etl_assets.defs.event_log import COMMAND_TAG, PROBED_AT, EventLog
from etl_assets.fetch.file_set import NO_FILE
from etl_assets.model.records import Decision, FetchResult, FetchStatus, RawFile, Reason

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def event_log() -> Iterator[EventLog]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield EventLog(instance)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return SampleHome(tmp_path).domain.sources["kev"]


def fetch(source: Source, text: str, *, status: FetchStatus = FetchStatus.FETCHED) -> FetchResult:
    file = RawFile(
        part=source.part(), sha256=text * 64, size_bytes=1, path=f"data/raw/{text}",
        url="https://kev.example/kev.json", fetched_at=NOON, code_version="1",
    )  # fmt: skip
    decision = Decision(part=source.part(), fetch=True, reason=Reason.NO_RECORD)
    return FetchResult(part=source.part(), status=status, decision=decision, file=file)


def report(event_log: EventLog, source: Source, result: FetchResult, key: str | None) -> None:
    event_log.report_outcome(asset_keys.raw_key(source), key, raw.raw_outcome(result))


def test_a_source_that_was_never_fetched_has_no_records(
    event_log: EventLog, source: Source
) -> None:
    state = event_log.read_sources([source])[source.name]

    assert (state.fetches, state.validated, state.tables) == ({}, {}, {})


def test_the_last_record_of_a_source_is_its_state(event_log: EventLog, source: Source) -> None:
    for text in "ab":
        report(event_log, source, fetch(source, text), None)

    assert event_log.read_sources([source])[source.name].fetches == {None: fetch(source, "b")}
    assert list(event_log.fetch_history(source, None)) == [fetch(source, "b"), fetch(source, "a")]


@pytest.mark.parametrize(
    ("statuses", "current"),
    [
        pytest.param({"2024": FetchStatus.FETCHED}, ["2024"], id="a file"),
        pytest.param(
            {"2024": FetchStatus.FETCHED, "2025": FetchStatus.FORGOTTEN}, ["2024"], id="forgotten"
        ),
        pytest.param({NO_FILE: FetchStatus.MISSING}, [NO_FILE], id="an empty folder"),
        pytest.param(
            {NO_FILE: FetchStatus.MISSING, "2024": FetchStatus.FETCHED}, ["2024"], id="files again"
        ),
    ],
)
def test_forgotten_files_and_placeholders_are_left_out(
    statuses: dict[str, FetchStatus], current: list[str], event_log: EventLog, tmp_path: Path
) -> None:
    sources = SampleHome(tmp_path).domain.sources.values()
    source = next(source for source in sources if source.partitions is not None)
    for key, status in statuses.items():
        report(event_log, source, fetch(source, "a", status=status), key)

    assert event_log.read_sources([source])[source.name].partitions == current


def test_the_last_evaluation_of_a_check_is_read(event_log: EventLog, source: Source) -> None:
    key, fetches = asset_keys.raw_key(source), {None: fetch(source, "a")}
    event_log.report_checks(source, key, raw.CHECKS, fetches, fetches)
    check = dg.AssetCheckKey(key, raw.CHECKS[0].name)

    assert event_log.latest_checks([check])[check].passed
    assert event_log.latest_checks([dg.AssetCheckKey(key, "unknown")]) == {}


def test_only_runs_that_a_command_started_can_be_unfinished(event_log: EventLog) -> None:
    command = dg.DagsterRun("refresh", tags={COMMAND_TAG: DOMAIN})
    from_ui = dg.DagsterRun("refresh", tags={AS_OF_TAG: NOON.isoformat()})
    for run in (command, from_ui):
        event_log.instance.add_run(run)

    unfinished = event_log.unfinished_runs(DOMAIN)
    event_log.fail_run(command.run_id, "killed")

    assert unfinished == [command.run_id]
    assert event_log.unfinished_runs(DOMAIN) == []
    assert event_log.is_finished(command.run_id)
    assert not event_log.is_finished(from_ui.run_id)


def test_an_unknown_run_is_finished_and_has_no_tags(event_log: EventLog) -> None:
    assert event_log.is_finished("unknown")
    with pytest.raises(KeyError):
        event_log.run_tags("unknown")


@pytest.fixture
def yearly(tmp_path: Path) -> Source:
    sources = SampleHome(tmp_path).domain.sources.values()
    return next(source for source in sources if source.partitions is not None)


def year_of(source: Source, year: str, text: str) -> FetchResult:
    """Return a fetch of one year, whose file has the digest `text`."""
    result = fetch(source, text)
    part = source.part(year)
    assert result.file is not None
    return result.model_copy(
        update={
            "part": part,
            "file": result.file.model_copy(update={"part": part}),
            "decision": result.decision.model_copy(update={"part": part}),
        }
    )


@pytest.mark.parametrize("moves", [0, 1, 150], ids=["never", "once", "more than a page"])
def test_a_year_that_never_moves_keeps_its_record_beside_one_that_moves(
    moves: int, event_log: EventLog, yearly: Source
) -> None:
    for year in ("2023", "2024"):
        report(event_log, yearly, year_of(yearly, year, "a"), year)
    for _ in range(moves):
        report(event_log, yearly, year_of(yearly, "2024", "b"), "2024")

    fetches = event_log.read_sources([yearly])[yearly.name].fetches

    assert fetches["2023"] == year_of(yearly, "2023", "a")
    assert fetches["2024"] == year_of(yearly, "2024", "b" if moves else "a")


def test_reading_costs_as_many_statements_after_many_moves_as_before(
    event_log: EventLog, yearly: Source
) -> None:
    for year in ("2023", "2024", "2025"):
        report(event_log, yearly, year_of(yearly, year, "a"), year)
    before = count_statements(lambda: EventLog(event_log.instance).read_sources([yearly]))
    for _ in range(250):
        report(event_log, yearly, year_of(yearly, "2025", "b"), "2025")

    after = count_statements(lambda: EventLog(event_log.instance).read_sources([yearly]))

    assert after == before


def report_probe(event_log: EventLog, source: Source, at: datetime, **further: str) -> None:
    metadata = {PROBED_AT: at.isoformat(), **further}
    event_log.report(dg.AssetObservation(asset_keys.raw_key(source), metadata=metadata))


def test_the_contacts_of_a_thousand_sources_cost_a_few_statements(
    event_log: EventLog, source: Source
) -> None:
    sources = [source.model_copy(update={"name": f"kev_{number}"}) for number in range(1000)]
    for each in sources:
        report_probe(event_log, each, NOON)
    contacts: dict[str, datetime] = {}

    statements = count_statements(lambda: contacts.update(event_log.last_contacts(sources, {})))

    assert contacts == {each.name: NOON for each in sources}
    assert statements <= 20


def test_the_last_probe_of_a_source_is_its_contact_unless_it_failed(
    event_log: EventLog, source: Source
) -> None:
    names = ("kev", "broken", "beyond", "silent")
    sources = [source.model_copy(update={"name": name}) for name in names]
    report_probe(event_log, sources[2], NOON)
    for hours in range(1100):  # more than a page
        report_probe(event_log, sources[0], NOON + timedelta(hours=hours))
    report_probe(event_log, sources[1], NOON)
    report_probe(event_log, sources[1], NOON + timedelta(hours=1), fault="it did not answer")

    contacts = event_log.last_contacts(sources, {})
    newest = event_log.last_contacts(sources, {}, since=datetime.now(UTC) + timedelta(hours=1))

    assert contacts == {"kev": NOON + timedelta(hours=1099), "beyond": NOON}
    assert newest == {}


def test_a_step_that_reads_twice_reads_no_event_again(event_log: EventLog, yearly: Source) -> None:
    for year in ("2023", "2024"):
        report(event_log, yearly, year_of(yearly, year, "a"), year)
    first = count_statements(lambda: event_log.read_sources([yearly]))

    second = count_statements(lambda: event_log.read_sources([yearly]))
    report(event_log, yearly, year_of(yearly, "2024", "b"), "2024")

    assert second < first
    assert event_log.read_sources([yearly])[yearly.name].fetches == {
        "2023": year_of(yearly, "2023", "a"),
        "2024": year_of(yearly, "2024", "b"),
    }


def test_an_event_without_a_record_hides_no_earlier_record(
    event_log: EventLog, yearly: Source
) -> None:
    key = asset_keys.raw_key(yearly)
    report(event_log, yearly, fetch(yearly, "a", status=FetchStatus.FORGOTTEN), "2024")
    report(event_log, yearly, fetch(yearly, "a"), "2025")
    for partition in ("2023", "2024", "2025"):  # as of another file set of the same domain
        event_log.report(dg.AssetMaterialization(key, partition=partition))

    records = event_log.partition_records(key, FetchResult)

    assert {year: record.status for year, record in records.items()} == {
        "2024": FetchStatus.FORGOTTEN, "2025": FetchStatus.FETCHED,
    }  # fmt: skip


@pytest.mark.long
def test_a_plan_costs_the_same_after_3000_moves_of_one_year(tmp_path: Path) -> None:
    sample = SampleHome.create_with_run(tmp_path)
    source = sample.domain.sources["nvd"]
    sample.plan()
    before = least_cpu_seconds(sample.plan)
    with sample.session() as session:
        state = session.read_sources()[source.name]
        for _ in range(3_000):
            report(session.event_log, source, state.fetches["2024"], "2024")

    after = least_cpu_seconds(sample.plan)

    assert len(state.partitions) >= 25
    assert after <= 1.2 * before
