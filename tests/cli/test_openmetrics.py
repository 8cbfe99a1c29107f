"""`etl stats --format openmetrics`, read back by a parser of the format."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support.command_homes import (
    DOMAIN,
    Galaxy,
    call,
    clean_environment,
    empty_galaxy,
    packed_galaxy,
    run_and_read_manifest,
)

from etl_assets.cli.openmetrics import format_openmetrics
from etl_assets.declarations.source import Freshness
from etl_assets.model.records import RunStatus
from etl_assets.operations.stats import CheckStats, DomainStats, Seconds, SourceStats

__all__ = ["clean_environment", "empty_galaxy", "packed_galaxy"]

MARCH = datetime(2026, 3, 1, 12, tzinfo=UTC)

Samples = dict[tuple[str, *tuple[str, ...]], float]


def parse(text: str) -> Samples:
    """The values by name of the metric and values of its labels, that of the domain first."""
    samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sorted(sample.labels.items(), key=lambda label: (label[0] != "domain", label))
            samples[(sample.name, *(value for _, value in labels))] = sample.value
    return samples


def parse_stats(*domains: DomainStats) -> Samples:
    """The samples at noon; content of the trees may be 24 hours old, and is stale after 72."""
    limits = {("orchard", "trees"): Freshness(warn_after_hours=24, fail_after_hours=72)}
    return parse(format_openmetrics(domains, limits, MARCH))


def some_stats(domain: str = "orchard", **values: object) -> DomainStats:
    return DomainStats.model_validate(
        {
            "domain": domain,
            "runs": 3,
            "until": MARCH,
            "last_status": RunStatus.FAILED,
            "last_published": MARCH,
            "by_status": {"success": 2, "failed": 1},
            "seconds": Seconds(runs=2, median=1.5, slowest=4, slowest_run="b"),
            "healed": 1,
        }
        | values
    )


def test_counts_and_times_are_those_of_the_statistics() -> None:
    source = SourceStats(source=f"{DOMAIN}.trees", runs=3, stood_in=1, missing=0, last_rows=12)
    check = CheckStats(
        asset='orchard/"published"', name="gate\nof it", severity="error", failed=1, runs=3
    )

    samples = parse_stats(some_stats(sources=[source], checks=[check]))

    assert samples["etl_runs", "orchard", "success"] == 2
    assert samples["etl_runs", "orchard", "partial_success"] == 0
    assert samples["etl_last_run_status", "orchard", "failed"] == 1
    assert samples["etl_last_run_status", "orchard", "success"] == 0
    assert samples["etl_last_published_timestamp_seconds", "orchard"] == MARCH.timestamp()
    assert samples["etl_run_duration_seconds", "orchard", "slowest"] == 4
    assert samples["etl_fallback_runs", "orchard"] == 1
    assert samples["etl_source_rows", "orchard", "trees"] == 12
    failed = ("etl_check_failed_runs", "orchard", 'orchard/"published"', "gate\nof it", "error")
    assert samples[failed] == 1


@pytest.mark.parametrize("level", ["info", "warning", "error"])
@pytest.mark.parametrize("number", [0, 1, 70])
def test_messages_and_notifications_are_counted(level: str, number: int) -> None:
    stats = some_stats(messages={level: number}, notifications_sent=number, notifications_failed=2)

    samples = parse_stats(stats)

    assert samples["etl_logged_messages", "orchard", level] == number
    assert sum(v for (name, *_), v in samples.items() if name == "etl_logged_messages") == number
    assert samples["etl_notifications", "orchard", "sent"] == number
    assert samples["etl_notifications", "orchard", "failed"] == 2


@pytest.mark.parametrize(
    "values",
    [
        {"until": None, "last_status": None, "last_published": None, "seconds": None, "runs": 0},
        {"last_published": None},
        {"seconds": None},
    ],
    ids=["no run", "never published", "no run with a step"],
)
def test_what_is_not_known_has_no_sample(values: dict[str, object]) -> None:
    names = {name for name, *_ in parse_stats(some_stats(**values))}

    assert ("etl_last_published_timestamp_seconds" in names) == ("last_published" not in values)
    assert ("etl_run_duration_seconds" in names) == ("seconds" not in values)
    assert "etl_runs" in names


def test_domains_are_told_apart() -> None:
    samples = parse_stats(some_stats(), some_stats("vineyard", healed=0))

    assert samples["etl_fallback_runs", "orchard"] == 1
    assert samples["etl_fallback_runs", "vineyard"] == 0


@pytest.mark.parametrize(("hours", "stale"), [(1, 0), (25, 0), (72, 0), (72.5, 1)])
def test_the_age_of_content_has_its_declared_limits(hours: float, stale: int) -> None:
    source = SourceStats(
        source="orchard.trees", runs=3, stood_in=0, missing=0,
        content_at=MARCH - timedelta(hours=hours),
    )  # fmt: skip

    samples = parse_stats(some_stats(sources=[source]))

    dated = samples["etl_source_content_timestamp_seconds", "orchard", "trees"]
    assert dated == MARCH.timestamp() - hours * 3600
    assert samples["etl_source_content_age_seconds", "orchard", "trees"] == hours * 3600
    limit = "etl_source_content_limit_seconds"
    assert samples[limit, "orchard", "ageing", "trees"] == 24 * 3600
    assert samples[limit, "orchard", "stale", "trees"] == 72 * 3600
    assert samples["etl_source_content_stale", "orchard", "trees"] == stale


@pytest.mark.parametrize(("name", "content_at"), [("trees", None), ("nuts", MARCH)])
def test_content_without_a_date_or_a_declaration_has_no_age(
    name: str, content_at: datetime | None
) -> None:
    source = SourceStats(
        source=f"orchard.{name}", runs=3, stood_in=0, missing=0, content_at=content_at
    )

    samples = parse_stats(some_stats(sources=[source]))

    assert "etl_source_content_age_seconds" not in {metric for metric, *_ in samples}
    assert "etl_source_content_stale" not in {metric for metric, *_ in samples}


@pytest.mark.long
@pytest.mark.ci
def test_the_command_prints_the_metrics_of_real_runs(
    empty_galaxy: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = run_and_read_manifest(capsys)

    assert call("stats", DOMAIN, "--format", "openmetrics") == 0

    text = capsys.readouterr().out
    assert text.endswith("# EOF\n")
    samples = parse(text)
    assert samples["etl_runs", DOMAIN, "success"] == 1
    assert samples["etl_last_run_timestamp_seconds", DOMAIN] == manifest.started_at.timestamp()
    dates = {s.source.name: s.content_time.timestamp() for s in manifest.sources if s.content_time}
    rows = {source.source.name: source.rows for source in manifest.sources}
    for name, count in rows.items():
        assert samples["etl_source_rows", DOMAIN, name] == count
        dated = samples["etl_source_content_timestamp_seconds", DOMAIN, name]
        assert dated == dates[name]
        assert samples["etl_source_content_stale", DOMAIN, name] == 1
