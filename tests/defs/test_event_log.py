"""Records that are read back from the event log, on an instance in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from support.sample_home import DOMAIN, SampleHome

from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys, raw
from etl_assets.defs.context import AS_OF_TAG
from etl_assets.defs.event_log import COMMAND_TAG, EventLog
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
