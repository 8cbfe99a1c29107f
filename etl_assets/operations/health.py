"""Is the place fit to run: everything that can be looked at without asking a remote; `etl health`.

What the event log says is read here, the rest is looked at by the stages. A first look at an empty
home makes nothing, not even an event log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from etl_assets.declarations.domain import Domain
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.launch import open_event_log
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.errors import DeclarationError, HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import RawFile
from etl_assets.operations import health_leftovers, health_machine
from etl_assets.operations.health_result import HealthFinding, HealthReport, Level
from etl_assets.settings import Settings
from etl_assets.storage import disk

Files = Mapping[str, Sequence[RawFile]]


def examine(
    settings: Settings, domains: Mapping[str, Domain] | DeclarationError, now: datetime
) -> HealthReport:
    """Every finding on the place and on the domains, as far as these could be read."""
    home = Home(settings.home)
    readable = {} if isinstance(domains, DeclarationError) else domains
    event_log, files, cut_off = _event_log(settings, readable)
    free, held = disk.free_bytes(home.root / "data"), _held_bytes(home, readable, files)
    return HealthReport(
        home=str(home.root),
        checked_at=now,
        free_bytes=free,
        domains=[health_leftovers.read_dates(home, domain) for domain in readable.values()],
        findings=[
            *_declarations(domains),
            *health_machine.check_folders(home, settings.dagster_home, readable),
            health_machine.check_space(free, held),
            health_machine.check_dbt_project(settings.dbt_dir),
            health_machine.check_mirror(settings.mirror),
            event_log,
            *(
                finding
                for domain in readable.values()
                for finding in _of_domain(settings, domain, files, cut_off, now)
            ),
        ],
    )


def _declarations(domains: Mapping[str, Domain] | DeclarationError) -> Iterator[HealthFinding]:
    if isinstance(domains, DeclarationError):
        for problem in domains.problems:
            yield HealthFinding(
                level=Level.ERROR,
                what="declarations",
                found=f"{problem.where}: {problem.actual}",
                expected=problem.expected,
                advice="mend it; `etl sources check` reads them again",
            )
    else:
        count = sum(len(domain.sources) for domain in domains.values())
        yield HealthFinding.ok(
            "declarations", f"{count} sources in {len(domains)} domains read well"
        )


def _of_domain(
    settings: Settings,
    domain: Domain,
    files: Files,
    cut_off: Mapping[str, Sequence[str]],
    now: datetime,
) -> Iterator[HealthFinding]:
    home = Home(settings.home)
    resolver = LocationResolver(settings.home, settings.mirror, settings.secret)
    held = files.get(domain.name, [])
    names = {file.part.source.name for file in held}
    yield from health_machine.check_locations(domain, resolver, now, names)
    yield from health_machine.check_secrets(domain, resolver, settings.find_secret)
    yield from health_leftovers.check_leftovers(home, domain, held, cut_off.get(domain.name, []))


def _event_log(
    settings: Settings, domains: Mapping[str, Domain]
) -> tuple[HealthFinding, Files, Mapping[str, Sequence[str]]]:
    """Whether it can be read, and by domain the files that stand and the runs that never ended."""
    if not (settings.dagster_home / "dagster.yaml").exists():
        return _none_yet(Home(settings.home)), {}, {}
    try:
        with open_event_log(settings) as event_log:
            files = {name: _standing(event_log, domain) for name, domain in domains.items()}
            cut_off = {name: event_log.unfinished_runs(name) for name in domains}
            count = event_log.run_count()
    except Exception as error:  # noqa: BLE001 - Dagster and SQLite raise what they like
        found = _told(error, settings)
        advice = "move it away, then `etl manifest restore`"
        return (
            HealthFinding.problem(
                Level.ERROR, "event log", found, expected="a readable one", advice=advice
            ),
            {},
            {},
        )
    return HealthFinding.ok("event log", f"{count} runs can be read"), files, cut_off


def _none_yet(home: Home) -> HealthFinding:
    if not any(home.manifests.glob("*.manifest.json")):
        return HealthFinding.ok("event log", "none yet, the first run makes it")
    advice = "`etl manifest restore` gives it back, and the next run downloads nothing"
    return HealthFinding.problem(
        Level.WARN,
        "event log",
        "none, though there are manifests",
        expected="the event log",
        advice=advice,
    )


def _standing(event_log: EventLog, domain: Domain) -> list[RawFile]:
    states = event_log.read_sources(domain.sources.values())
    fetches = [fetch for state in states.values() for fetch in state.fetches.values()]
    return [fetch.file for fetch in fetches if fetch.file]


def _held_bytes(home: Home, domains: Mapping[str, Domain], files: Files) -> int:
    """What a run would write if all of it were made again: raw files that stand, and tables."""
    stands = {file.sha256: file.size_bytes for held in files.values() for file in held}
    return sum(stands.values()) + sum(disk.folder_size_bytes(home.tables(name)) for name in domains)


def _told(error: Exception, settings: Settings) -> str:
    if isinstance(error, HomeError):
        return str(error)
    first = str(error).strip().partition("\n")[0]
    return f"{settings.dagster_home}: {type(error).__name__}: {first}"
