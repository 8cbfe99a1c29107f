"""Statistics of the kept runs in the format of a monitor.

The text is OpenMetrics 1.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/), which the
textfile collector of Prometheus reads too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.exposition import generate_latest

from etl_assets.declarations.source import Freshness
from etl_assets.marts.source_status import judge_content
from etl_assets.model.records import RunStatus
from etl_assets.operations.stats import LEVELS, CheckStats, DomainStats, SourceStats

Limits = Mapping[tuple[str, str], Freshness]  # by the names of the domain and the source

SECONDS_PER_HOUR = 3600


def format_openmetrics(domains: Iterable[DomainStats], limits: Limits, now: datetime) -> str:
    """Returns all metrics of the domains; the age of content is that at `now`.

    They are gauges: a count is over the runs that are kept, so it falls when old runs are deleted.
    A source without a declaration has no limits, and one whose content has no date no age.
    """
    metrics = _Metrics()
    for domain in domains:
        metrics.add_domain(domain)
        for source in domain.sources:
            metrics.add_source(domain.domain, source)
            if declared := limits.get((domain.domain, source.source.name)):
                metrics.add_content(domain.domain, source, declared, now)
        for check in domain.checks:
            metrics.add_check(domain.domain, check)
    text: bytes = generate_latest(metrics.registry)  # type: ignore[no-untyped-call]  # it has no types
    return text.decode()


class _Metrics:
    """All metrics, by domain."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._runs = self._gauge("runs", "Kept runs by their status.", "status")
        self._last_status = self._gauge(
            "last_run_status", "1 for the status of the newest run, 0 for the others.", "status"
        )
        self._last_run = self._gauge("last_run_timestamp_seconds", "Start of the newest run.")
        self._last_published = self._gauge(
            "last_published_timestamp_seconds", "End of the newest run that published."
        )
        self._seconds = self._gauge(
            "run_duration_seconds", "Time of the runs that ran a step, over kept runs.", "statistic"
        )
        self._fallback = self._gauge("fallback_runs", "Kept runs that used an earlier file.")
        self._attention = self._gauge("attention_runs", "Kept runs that need action.")
        self._unreadable = self._gauge("unreadable_runs", "Runs whose manifest cannot be read.")
        self._messages = self._gauge(
            "logged_messages", "Lines that kept runs logged, by their level.", "level"
        )
        self._notifications = self._gauge(
            "notifications", "Notifications of all runs so far, by their result.", "result"
        )
        self._rows = self._gauge("source_rows", "Rows of the source in the newest run.", "source")
        self._rejected = self._gauge(
            "source_rejected_rows", "Rejected rows of the source in the newest run.", "source"
        )
        self._source_fallback = self._gauge(
            "source_fallback_runs", "Kept runs that used an earlier file of the source.", "source"
        )
        self._source_missing = self._gauge(
            "source_missing_runs", "Kept runs that had no file of the source.", "source"
        )
        self._content = self._gauge(
            "source_content_timestamp_seconds", "What dates the newest content.", "source"
        )
        self._content_age = self._gauge(
            "source_content_age_seconds", "Age of the content when this was printed.", "source"
        )
        self._content_limit = self._gauge(
            "source_content_limit_seconds",
            "Declared age above which content is ageing, or stale.",
            "source",
            "level",
        )
        self._content_stale = self._gauge(
            "source_content_stale", "1 if the content is stale, else 0.", "source"
        )
        self._checks = self._gauge(
            "check_failed_runs",
            "Kept runs in which the check failed.",
            "asset",
            "check",
            "severity",
        )

    def _gauge(self, name: str, description: str, *labels: str) -> Gauge:
        return Gauge(f"etl_{name}", description, ["domain", *labels], registry=self.registry)

    def add_domain(self, stats: DomainStats) -> None:
        for status in RunStatus:
            self._runs.labels(stats.domain, status).set(stats.by_status.get(status.value, 0))
            if stats.last_status:
                is_last = status is stats.last_status
                self._last_status.labels(stats.domain, status).set(is_last)
        for gauge, time in (
            (self._last_run, stats.until),
            (self._last_published, stats.last_published),
        ):
            if time:
                gauge.labels(stats.domain).set(time.timestamp())
        if stats.seconds:
            self._seconds.labels(stats.domain, "median").set(stats.seconds.median)
            self._seconds.labels(stats.domain, "slowest").set(stats.seconds.slowest)
        self._fallback.labels(stats.domain).set(stats.fallback_runs)
        self._attention.labels(stats.domain).set(stats.attention_runs)
        self._unreadable.labels(stats.domain).set(len(stats.unreadable))
        for level in LEVELS:
            self._messages.labels(stats.domain, level).set(stats.messages.get(level, 0))
        self._notifications.labels(stats.domain, "sent").set(stats.notifications_sent)
        self._notifications.labels(stats.domain, "failed").set(stats.notifications_failed)

    def add_source(self, domain: str, source: SourceStats) -> None:
        labels = (domain, source.source.name)
        if source.last_rows is not None:
            self._rows.labels(*labels).set(source.last_rows)
        if source.last_rejected is not None:
            self._rejected.labels(*labels).set(source.last_rejected)
        self._source_fallback.labels(*labels).set(source.fallback_runs)
        self._source_missing.labels(*labels).set(source.missing)

    def add_content(
        self, domain: str, source: SourceStats, limits: Freshness, now: datetime
    ) -> None:
        labels = (domain, source.source.name)
        age = judge_content(limits, source.content_at, now)
        for level, hours in (
            ("ageing", limits.warn_after_hours),
            ("stale", limits.fail_after_hours),
        ):
            self._content_limit.labels(*labels, level).set(hours * SECONDS_PER_HOUR)
        if source.content_at is not None and age.age_hours is not None:
            self._content.labels(*labels).set(source.content_at.timestamp())
            self._content_age.labels(*labels).set(age.age_hours * SECONDS_PER_HOUR)
            self._content_stale.labels(*labels).set(age.level == "stale")

    def add_check(self, domain: str, check: CheckStats) -> None:
        labels = (domain, check.asset, check.name, check.severity)
        self._checks.labels(*labels).set(check.failed)
