"""Check that a home is fit for the next run, without contacting a remote, for `etl health`.

The event log is read here; the other checks are in `operations.health_machine` and
`operations.health_leftovers`. Checking an empty home creates nothing, not even an event log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from etl_assets.declarations.domain import Declarations, Domain
from etl_assets.defs.launch import open_event_log
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.errors import HomeError, Problem
from etl_assets.model.home import Home
from etl_assets.model.records import RawFile
from etl_assets.operations import health_leftovers, health_machine
from etl_assets.operations.health_result import HealthFinding, HealthReport, Level
from etl_assets.settings import Settings
from etl_assets.storage import disk


@dataclass(frozen=True, slots=True)
class _EventLogState:
    """Whether the event log can be read, and by domain its current raw files and unfinished runs.

    A run of a command that is unfinished while nothing holds the lock of its domain is dead.
    """

    finding: HealthFinding
    files: Mapping[str, Sequence[RawFile]] = field(default_factory=dict)
    unfinished_runs: Mapping[str, Sequence[str]] = field(default_factory=dict)


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
        *health_machine.check_folders(home, settings.dagster_home, domains),
        health_machine.check_space(free_bytes, stored_bytes),
        health_machine.check_dbt_project(settings.dbt_dir),
        health_machine.check_mirror(settings.mirror),
        event_log.finding,
    ]
    resolver = LocationResolver(settings.home, settings.mirror, settings.secret)
    for name, domain in domains.items():
        files = event_log.files.get(name, [])
        stored_sources = {file.part.source.name for file in files}
        findings += health_machine.check_locations(domain, resolver, now, stored_sources)
        findings += health_machine.check_secrets(
            domain, resolver, settings.find_secret, stored_sources
        )
        unfinished_runs = event_log.unfinished_runs.get(name, [])
        findings += health_leftovers.check_leftovers(home, domain, files, unfinished_runs)
    return HealthReport(
        home=str(home.root),
        checked_at=now,
        free_bytes=free_bytes,
        domains=[health_leftovers.read_dates(home, domain) for domain in domains.values()],
        findings=findings,
    )


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
    # Opening the event log would create it.
    if not (settings.dagster_home / "dagster.yaml").exists():
        return _EventLogState(_check_missing_event_log(Home(settings.home)))
    files: dict[str, list[RawFile]] = {}
    unfinished_runs = {}
    try:
        with open_event_log(settings) as event_log:
            for name, domain in domains.items():
                files[name] = []
                for state in event_log.read_sources(domain.sources.values()).values():
                    files[name] += [f.file for f in state.fetches.values() if f.file]
                unfinished_runs[name] = event_log.unfinished_runs(name)
            count = event_log.run_count()
    except Exception as error:  # noqa: BLE001 - a damaged database raises errors of many libraries
        first_line = str(error).strip().partition("\n")[0]
        message = f"{settings.dagster_home}: {type(error).__name__}: {first_line}"
        finding = HealthFinding.problem(
            Level.ERROR,
            "event log",
            str(error) if isinstance(error, HomeError) else message,
            expected="an event log that can be read",
            advice="move it away, then `etl manifest restore`",
        )
        return _EventLogState(finding)
    finding = HealthFinding.ok("event log", f"{count} runs can be read")
    return _EventLogState(finding, files, unfinished_runs)


def _check_missing_event_log(home: Home) -> HealthFinding:
    if not any(home.manifests.glob("*.manifest.json")):
        return HealthFinding.ok("event log", "none yet, the first run creates it")
    return HealthFinding.problem(
        Level.WARN,
        "event log",
        "none, though there are manifests",
        expected="the event log",
        advice="`etl manifest restore` rebuilds it, and the next run downloads nothing",
    )


def _count_stored_bytes(
    home: Home, domains: Mapping[str, Domain], event_log: _EventLogState
) -> int:
    """Return the bytes of the current raw files, each content once, and of the tables."""
    sizes: dict[str, int] = {}
    for files in event_log.files.values():
        sizes |= {file.sha256: file.size_bytes for file in files}
    tables = sum(disk.folder_size_bytes(home.tables(name)) for name in domains)
    return sum(sizes.values()) + tables
