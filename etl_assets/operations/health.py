"""Check that a home is fit for the next run, without contacting a remote, for `etl health`.

The event log is read here; the other checks are in `operations.health_checks.machine` and
`operations.health_checks.leftovers`. Checking an empty home creates nothing, not even an event log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from etl_assets.declarations.domain import Declarations, Domain
from etl_assets.defs import asset_keys
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.launch import open_event_log
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.errors import EventLogError, HomeError, Problem
from etl_assets.model.home import Home
from etl_assets.model.records import PublishedSet, RawFile, Table
from etl_assets.operations.health_checks import leftovers, machine
from etl_assets.operations.health_checks.leftovers import RecordedState
from etl_assets.operations.health_checks.result import (
    DomainDates,
    HealthFinding,
    HealthReport,
    Level,
    join_first,
)
from etl_assets.operations.manifest import find_lost_parts
from etl_assets.settings import Settings
from etl_assets.storage import disk
from etl_assets.storage.atomic_write import ADVICE

DAMAGED_ADVICE = "`etl run` moves it aside and restores its records from the ledger"
UNUSABLE_ADVICE = "make it readable and writable, and free some space"


@dataclass(frozen=True, slots=True)
class _EventLogState:
    """Whether the event log can be read, and what it has of each domain.

    A run of a command that is unfinished while nothing holds the lock of its domain is dead.
    """

    finding: HealthFinding
    domains: Mapping[str, RecordedState] = field(default_factory=dict)
    switches: Mapping[str, bool] = field(default_factory=dict)
    """The sensors and schedules that were switched on or off."""

    def of(self, domain: str) -> RecordedState:
        return self.domains.get(domain, RecordedState())


def examine(
    settings: Settings,
    declarations: Declarations,
    now: datetime,
    problems: Sequence[Problem] = (),
) -> HealthReport:
    """Return the findings on the home, the machine, and the domains.

    `problems` are those of the folder of all declarations.
    """
    home, domains = Home(settings.home), declarations.domains
    event_log = _read_event_log(settings, domains)
    free_bytes = disk.free_bytes(home.root / "data")
    stored_bytes = _count_stored_bytes(home, domains, event_log)
    findings = [
        *_check_declarations(declarations, problems),
        *machine.check_folders(home, settings.dagster_home, domains),
        machine.check_space(free_bytes, stored_bytes),
        machine.check_dbt_project(settings.dbt_dir),
        machine.check_mirror(settings.mirror),
        *machine.check_signing_key(settings.signing_key, settings.signing_passphrase, now),
        event_log.finding,
        _describe_automation(settings, domains, event_log),
    ]
    resolver = LocationResolver(settings.home, settings.mirror, settings.secret)
    for name, domain in domains.items():
        recorded = event_log.of(name)
        stored_sources = {file.part.source.name for file in recorded.raw_files}
        findings += machine.check_locations(domain, resolver, now, stored_sources)
        findings += machine.check_secrets(domain, resolver, settings.find_secret, stored_sources)
        findings += _check_leftovers(home, domain, recorded, now)
    return HealthReport(
        home=str(home.root),
        checked_at=now,
        free_bytes=free_bytes,
        domains=[_read_dates(home, domain) for domain in domains.values()],
        findings=findings,
    )


def _check_leftovers(
    home: Home, domain: Domain, recorded: RecordedState, now: datetime
) -> Iterator[HealthFinding]:
    try:
        yield from leftovers.check_leftovers(home, domain, recorded, now)
    except OSError as error:  # such as a folder without permission to read it
        yield HealthFinding.problem(
            Level.ERROR,
            "files",
            f"{error.filename}: {error.strerror}",
            expected="files and folders that can be read",
            advice=ADVICE.get(error.errno or 0, "correct it"),
            domain=domain.name,
        )


def _read_dates(home: Home, domain: Domain) -> DomainDates:
    try:
        return leftovers.read_dates(home, domain)
    except OSError:  # the finding on the same file says so
        return DomainDates(domain=domain.name)


def _check_declarations(
    declarations: Declarations, problems: Sequence[Problem]
) -> Iterator[HealthFinding]:
    faults: list[tuple[str | None, Problem]] = [(None, problem) for problem in problems]
    for broken in declarations.broken.values():
        faults += [(broken.name, problem) for problem in broken.problems]
    for domain, problem in faults:
        yield HealthFinding(
            level=Level.ERROR,
            what="declarations",
            domain=domain,
            actual=f"{problem.where}: {problem.actual}",
            expected=problem.expected,
            advice="correct it; `etl sources check` validates all declarations",
        )
    if not faults:
        domains = declarations.domains.values()
        count = sum(len(domain.sources) for domain in domains)
        yield HealthFinding.ok(
            "declarations", f"{count} sources in {len(domains)} domains are valid"
        )


def _read_event_log(settings: Settings, domains: Mapping[str, Domain]) -> _EventLogState:
    recorded = {}
    try:
        # Opening the event log would create it.
        if not (settings.dagster_home / "dagster.yaml").exists():
            return _EventLogState(_check_missing_event_log(Home(settings.home)))
        with open_event_log(settings) as event_log:
            for name, domain in domains.items():
                recorded[name] = _read_recorded(event_log, Home(settings.home), domain)
            count, switches = event_log.run_count(), event_log.automation_switches()
    except Exception as error:  # noqa: BLE001 - a damaged database raises errors of many libraries
        first_line = str(error).strip().partition("\n")[0]
        message = f"{settings.dagster_home}: {type(error).__name__}: {first_line}"
        is_damaged = not isinstance(error, OSError | HomeError) or isinstance(error, EventLogError)
        finding = HealthFinding.problem(
            Level.ERROR,
            "event log",
            str(error) if isinstance(error, HomeError) else message,
            expected="an event log that can be read",
            advice=DAMAGED_ADVICE if is_damaged else UNUSABLE_ADVICE,
        )
        return _EventLogState(finding)
    finding = HealthFinding.ok("event log", f"{count} runs can be read")
    return _EventLogState(finding, recorded, switches)


def _describe_automation(
    settings: Settings, domains: Mapping[str, Domain], event_log: _EventLogState
) -> HealthFinding:
    """Return which sensors and schedules are switched on."""
    names: list[str] = []
    for domain in domains.values():
        names += [asset_keys.sensor_name(domain), *asset_keys.schedule_names(domain)]
    running = [name for name in names if event_log.switches.get(name, settings.automation)]
    text = "nothing runs by itself; ETL_AUTOMATION=on or the pages switch it on"
    if running:
        text = f"while `etl ui` runs: {join_first(running)}"
    return HealthFinding.ok("automation", text)


def _read_recorded(event_log: EventLog, home: Home, domain: Domain) -> RecordedState:
    raw_files: list[RawFile] = []
    tables: list[Table] = []
    states = event_log.read_sources(domain.sources.values())
    for state in states.values():
        raw_files += [fetch.file for fetch in state.fetches.values() if fetch.file]
        tables += [result.table for result in state.tables.values()]
    published = event_log.latest_record(asset_keys.published_key(domain), PublishedSet)
    try:
        lost = find_lost_parts(home, domain, event_log, states)
    except HomeError:
        lost = {}  # the check of the ledger names the damaged manifest
    return RecordedState(
        lost=sorted(str(domain.sources[name].part(key)) for name in lost for key in lost[name]),
        raw_files=raw_files,
        tables=tables,
        link=published.link if published else None,
        unfinished_runs=event_log.unfinished_runs(domain.name),
    )


def _check_missing_event_log(home: Home) -> HealthFinding:
    if not any(home.manifests.glob("*.manifest.json")):
        return HealthFinding.ok("event log", "none yet, the first run creates it")
    return HealthFinding.problem(
        Level.WARN,
        "event log",
        "none, though there are manifests",
        expected="the event log",
        advice="`etl run` restores its records from the ledger, and downloads nothing",
    )


def _count_stored_bytes(
    home: Home, domains: Mapping[str, Domain], event_log: _EventLogState
) -> int:
    """Return the bytes of the current raw files, each content once, and of the tables."""
    sizes: dict[str, int] = {}
    for recorded in event_log.domains.values():
        sizes |= {file.sha256: file.size_bytes for file in recorded.raw_files}
    tables = sum(disk.folder_size_bytes(home.tables(name)) for name in domains)
    return sum(sizes.values()) + tables
