"""Check that the content of a domain's sources still moves, as their `freshness` declares it.

The age of content says what no failed run does: a remote may answer every request well, and never
change its file again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from etl_assets.declarations.domain import Domain
from etl_assets.marts.source_status import ContentAge, SourceHealth, judge_content
from etl_assets.model.display_text import format_count, format_hours
from etl_assets.operations.health_checks.result import HealthFinding, Level


def check_content(domain: Domain, sources: Sequence[SourceHealth], now: datetime) -> HealthFinding:
    """Check that no content is stale or ageing at `now`; the stale and the oldest come first.

    Content without a date is not judged: a source that was never fetched, or whose remote states
    no time.
    """
    ages = {
        source.source: judge_content(
            domain.sources[source.source].freshness, source.content_at, now
        )
        for source in sources
    }
    old = {name: age for name, age in ages.items() if age.is_old}
    if old:
        return HealthFinding.problem(
            Level.WARN,
            "content",
            [_describe(name, old[name]) for name in sorted(old, key=lambda n: _order(old[n]))],
            expected="content no older than the declared freshness",
            advice="find out why the remote, or the mirror, no longer changes it; if that is as "
            "it should be, declare longer times in `freshness` of the source",
            domain=domain.name,
        )
    undated = sum(age.level == "unknown" for age in ages.values())
    text = f"that of {format_count(len(ages) - undated, 'source')} is fresh"
    text += f", that of {undated:,} has no date" if undated else ""
    return HealthFinding.ok("content", text, domain.name)


def _order(age: ContentAge) -> tuple[bool, float]:
    return age.level != "stale", -(age.age_hours or 0)


def _describe(name: str, age: ContentAge) -> str:
    limit = format_hours(age.limit_hours or 0)
    return f"{name} is {age.level} at {format_hours(age.age_hours or 0)} (limit {limit})"
