"""Check that a home is fit for the next run, without contacting a remote, for `etl health`.

The event log is read here; the other checks are in the modules of
`operations.health_checks`. Checking an empty home creates nothing, not even an event log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from etl_assets.declarations.domain import Declarations, Domain
from etl_assets.fetch.locations import LocationResolver
from etl_assets.ledger.state_cache import DomainState, are_readable, load_state, state_key
from etl_assets.model.display_text import list_some
from etl_assets.model.errors import EtlError, EventLogError, HomeError, Problem
from etl_assets.model.home import Home
from etl_assets.operations.health_checks import content, leftovers, machine
from etl_assets.operations.health_checks.result import (
    DomainDates,
    HealthFinding,
    HealthReport,
    Level,
)
from etl_assets.operations.status import read_state
from etl_assets.settings import Settings
from etl_assets.storage import disk
from etl_assets.storage.atomic_write import ADVICE
from etl_assets.storage.lock import Locks, domain_locks
from etl_assets.storage.postgres import Database, has_event_log

DAMAGED_ADVICE = "`etl run` moves it aside and restores its records from the ledger"
UNUSABLE_ADVICE = "make it readable and writable, and free some space"


@dataclass(frozen=True, slots=True)
class _EventLogState:
    """Whether the event log can be read, and what it has of each domain.

    A run of a command that is unfinished while nothing holds the lock of its domain is dead.
    """

    finding: HealthFinding
    domains: Mapping[str, DomainState] = field(default_factory=dict)

    def of(self, domain: str) -> DomainState:
        return self.domains.get(domain, DomainState(health=[]))


def examine(
    settings: Settings,
    declarations: Declarations,
    now: datetime,
    problems: Sequence[Problem] = (),
) -> HealthReport:
    """Return the findings on the home, the machine, and the domains.

    `problems` are those of the folder of all declarations.
    """
    home, domains = Home(settings.home, settings.scratch), declarations.domains
    locks = domain_locks(home, settings.event_log_database)
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
        *_check_sessions(settings.event_log_database),
        _describe_automation(settings, domains, event_log),
    ]
    resolver = LocationResolver(settings.home, settings.mirror, settings.secret)
    for name, domain in domains.items():
        recorded = event_log.of(name)
        stored_sources = {file.part.source.name for file in recorded.raw_files}
        findings += machine.check_locations(domain, resolver, now, stored_sources)
        findings += machine.check_secrets(domain, resolver, settings.find_secret, stored_sources)
        findings += _check_leftovers(home, locks, domain, recorded, now)
        findings.append(content.check_content(domain, recorded.health, now))
    return HealthReport(
        home=str(home.root),
        checked_at=now,
        free_bytes=free_bytes,
        domains=[_read_dates(home, domain) for domain in domains.values()],
        findings=findings,
    )


def _check_leftovers(
    home: Home, locks: Locks, domain: Domain, recorded: DomainState, now: datetime
) -> Iterator[HealthFinding]:
    try:
        yield from leftovers.check_leftovers(home, locks, domain, recorded, now)
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
    try:
        # Opening the event log would create it.
        if not _has_event_log(settings):
            return _EventLogState(_check_missing_event_log(Home(settings.home, settings.scratch)))
        states = _read_states(settings, domains)
    except Exception as error:  # noqa: BLE001 - a damaged database raises errors of many libraries
        first_line = str(error).strip().partition("\n")[0]
        place = settings.event_log or settings.dagster_home
        message = f"{place}: {type(error).__name__}: {first_line}"
        is_damaged = not isinstance(error, OSError | EtlError) or isinstance(error, EventLogError)
        finding = HealthFinding.problem(
            Level.ERROR,
            "event log",
            str(error) if isinstance(error, EtlError) else message,
            expected="an event log that can be read",
            advice=_event_log_advice(settings, is_damaged=is_damaged),
        )
        return _EventLogState(finding)
    count = max(state.run_count for state in states.values())
    finding = HealthFinding.ok("event log", f"{count} runs can be read")
    return _EventLogState(finding, states)


def _event_log_advice(settings: Settings, *, is_damaged: bool) -> str:
    if settings.event_log:
        return "correct it, then run again"
    return DAMAGED_ADVICE if is_damaged else UNUSABLE_ADVICE


def _has_event_log(settings: Settings) -> bool:
    database = settings.event_log_database
    if database:
        return has_event_log(database)
    return (settings.dagster_home / "dagster.yaml").exists()


def _check_sessions(database: Database | None) -> Iterator[HealthFinding]:
    """Check that locks in the database hold: that no pooler shares the sessions that have them."""
    if database is None:
        return
    from etl_assets.storage.postgres_lock import connect

    try:
        connect(database).close()
    except HomeError as error:
        yield HealthFinding.problem(
            Level.ERROR,
            "sessions",
            str(error),
            expected="a session of PostgreSQL for each connection",
            advice="correct it; without a session of its own, no lock holds",
        )
    else:
        yield HealthFinding.ok("sessions", "each connection has its own, so locks hold")


def _describe_automation(
    settings: Settings, domains: Mapping[str, Domain], event_log: _EventLogState
) -> HealthFinding:
    """Return which sensors and schedules are switched on."""
    switches: dict[str, bool | None] = {}
    for name, domain in domains.items():
        recorded = event_log.domains.get(name)
        switches |= recorded.automation if recorded else _unswitched(domain)
    running = [
        name
        for name, is_on in switches.items()
        if (settings.automation if is_on is None else is_on)
    ]
    text = "nothing runs by itself; ETL_AUTOMATION=on or the pages switch it on"
    if running:
        text = f"while `etl ui` runs: {list_some(running)}"
    return HealthFinding.ok("automation", text)


def _unswitched(domain: Domain) -> dict[str, bool | None]:
    """Return the sensors and schedules of a domain whose event log was not read."""
    from etl_assets.defs import asset_keys

    return dict.fromkeys([asset_keys.sensor_name(domain), *asset_keys.schedule_names(domain)])


def _read_states(settings: Settings, domains: Mapping[str, Domain]) -> dict[str, DomainState]:
    """Return the state of each domain, from the cache if that of all is current."""
    home, dagster_home = Home(settings.home, settings.scratch), settings.event_log_folder
    if are_readable(dagster_home):
        keys = {name: state_key(home, dagster_home, domain) for name, domain in domains.items()}
        cached = {name: load_state(home, name, key) for name, key in keys.items()}
        states = {name: state for name, state in cached.items() if state}
        if states and len(states) == len(domains):
            return states
    # Dagster and its storage take two seconds to import.
    from etl_assets.defs.launch import open_event_log

    with open_event_log(settings) as event_log:
        states = {
            name: read_state(event_log, home, dagster_home, domain)
            for name, domain in domains.items()
        }
        return states or {"": DomainState(health=[], run_count=event_log.run_count())}


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
