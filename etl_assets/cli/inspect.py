"""The verbs that look at the home: status, health, statistics, and the records of a source."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from etl_assets.cli.names import OptionalDomain, SourceName
from etl_assets.cli.output import (
    EXIT_FAILED,
    Json,
    exit_with_worst,
    load_declarations,
    load_settings,
    open_session,
    print_each,
    print_result,
    select_domains,
    work_on_each,
)
from etl_assets.model.errors import DeclarationError, SettingsError

if TYPE_CHECKING:
    from etl_assets.operations.health_checks.result import HealthReport
    from etl_assets.operations.status import DomainStatus

app = typer.Typer(rich_markup_mode=None)


class StatsFormat(StrEnum):
    """How `etl stats` prints."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"


@app.command(rich_help_panel="Inspect")
def status(domain: OptionalDomain = None, *, as_json: Json = False) -> None:
    """Show the state of each source and of the published set.

    With --json, one document for the named domain, or a list of one for each domain.
    """
    from etl_assets.model.home import Home
    from etl_assets.operations.status import domain_status, status_from_cache

    settings = load_settings()
    declarations = load_declarations(settings, domain)
    names, left_out = select_domains(declarations, domain)

    def read_cached(name: str) -> DomainStatus | None:
        declared = declarations.domains[name]
        return status_from_cache(
            Home(settings.home, settings.scratch), settings.event_log_folder, declared
        )

    cached, errors = work_on_each(names, read_cached)
    states = [state for state in cached if state]
    if not errors and len(states) < len(names):  # the event log changed since it was read last
        with open_session(declarations=declarations) as session:
            states, errors = work_on_each(
                names, lambda name: domain_status(session.for_domain(name))
            )
    now, lines = datetime.now(UTC), []
    for state in states:
        lines += state.lines(now)
    print_each(lines, [state.as_dict(now) for state in states], domain, as_json=as_json)
    exit_with_worst(errors=errors, left_out=left_out)


@app.command(rich_help_panel="Inspect")
def health(domain: OptionalDomain = None, *, as_json: Json = False) -> None:
    """Check that this installation and its home are fit to run.

    Contacts no remote. Exits with 1 if a run would fail.
    """
    report = _health_report(domain, datetime.now(UTC))
    print_result(report.lines(), report.model_dump(mode="json"), as_json=as_json)
    if report.status == "unfit":
        raise typer.Exit(EXIT_FAILED)


def _health_report(domain: str | None, now: datetime) -> HealthReport:
    """Returns the report; unreadable settings and declarations are findings, not errors.

    A monitor reads them from the JSON document.
    """
    from etl_assets.declarations.domain import Declarations
    from etl_assets.declarations.names import find_domain
    from etl_assets.operations.health import examine
    from etl_assets.operations.health_checks.result import HealthFinding, HealthReport, Level

    try:
        settings = load_settings()
    except SettingsError as error:
        findings = [
            HealthFinding.problem(
                Level.ERROR,
                "settings",
                line,
                expected="settings that can be read",
                advice="correct it",
            )
            for line in str(error).splitlines()
        ]
        return HealthReport(checked_at=now, findings=findings)
    try:
        declarations = load_declarations(settings)
    except DeclarationError as error:  # there is no domain at all
        return examine(settings, Declarations({}, {}), now, error.problems)
    domains, broken = declarations.domains, declarations.broken
    if domain is not None and domain in broken:
        domains, broken = {}, {domain: broken[domain]}
    elif domain is not None:
        domains, broken = {domain: find_domain(domains, domain, broken)}, {}
    return examine(settings, Declarations(domains, broken), now)


@app.command(rich_help_panel="Inspect")
def stats(
    domain: OptionalDomain = None,
    last: Annotated[
        int | None,
        typer.Option(
            "--last", min=1, help="Only this number of runs. Default: all.", show_default=False
        ),
    ] = None,
    *,
    output: Annotated[
        StatsFormat, typer.Option("--format", help="Text, or OpenMetrics for a monitor.")
    ] = StatsFormat.TEXT,
    as_json: Json = False,
) -> None:
    """Show statistics of the stored runs: outcomes, times, outages.

    Also shows how often a last good file was used, and which checks failed.
    """
    from etl_assets.model.home import Home
    from etl_assets.operations.stats import count

    settings = load_settings()
    declarations = load_declarations(settings, domain)
    names, left_out = select_domains(declarations, domain)
    statistics, errors = work_on_each(
        names, lambda name: count(Home(settings.home, settings.scratch), name, last=last)
    )
    lines: list[str] = []
    if output is StatsFormat.OPENMETRICS and not as_json:
        from etl_assets.cli.openmetrics import format_openmetrics

        limits = {
            (domain.name, source.name): source.freshness
            for domain in declarations.domains.values()
            for source in domain.sources.values()
        }
        lines = format_openmetrics(statistics, limits, datetime.now(UTC)).splitlines()
    else:
        for each in statistics:
            lines += each.lines()
    print_result(lines, [each.model_dump(mode="json") for each in statistics], as_json=as_json)
    exit_with_worst(errors=errors, left_out=left_out)


@app.command(rich_help_panel="Inspect")
def sample(
    source: SourceName,
    partition: Annotated[
        str | None,
        typer.Option(
            "--partition", help="Default: the newest stored partition.", show_default=False
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option("--rows", min=1, help="How many rows and rejected rows to show.")
    ] = 5,
    *,
    as_json: Json = False,
) -> None:
    """Show the first records of a source as its contract reads them.

    Reads the stored file. If there is none, downloads the file for this purpose only: nothing is
    recorded and no table is changed. Exits with 1 if the file cannot be read.
    """
    from etl_assets.declarations.names import find_source, split_part_name, with_disabled_sources
    from etl_assets.operations.sample import first_records

    name, named_partition = split_part_name(source)
    with open_session() as session:
        project = session.project
        declared = find_source(with_disabled_sources(project.domains), name, project.broken)
        records = first_records(
            session,
            declared,
            partition or named_partition,
            rows=rows,
            now=datetime.now(UTC),
        )
    print_result(records.lines(), records.model_dump(mode="json"), as_json=as_json)
    if records.fault:
        raise typer.Exit(EXIT_FAILED)
