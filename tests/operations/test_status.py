"""What the operator reads after a run with a problem: `etl status`, a note, an error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.orchard import DOMAIN, HOST, Files, Orchard, create_project
from support.report_runs import NOON, a_manifest

from etl_assets.declarations.source import Freshness
from etl_assets.defs.launch import open_project
from etl_assets.defs.run_events import note_of
from etl_assets.ledger.manifest import Process, manifest_file
from etl_assets.marts.source_status import SourceHealth
from etl_assets.model.records import FetchStatus
from etl_assets.model.run_manifest import RunCheck, RunSource
from etl_assets.operations.status import DomainStatus, domain_status


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Return a home after one run."""
    orchard = Orchard(tmp_path / "live", project=create_project(tmp_path / "project"))
    orchard.serve(Files.create())
    orchard.run()
    return orchard


def status(orchard: Orchard) -> str:
    domains = {DOMAIN: orchard.domain}
    with open_project(orchard.settings, domains, echo=lambda _: None) as session:
        return "\n".join(domain_status(session.for_domain(DOMAIN)).lines(datetime.now(UTC)))


@pytest.mark.long
def test_the_status_has_the_reason_of_an_outage_and_the_next_action(orchard: Orchard) -> None:
    before = status(orchard)
    (orchard.mirror / HOST / "notes.json").write_bytes(b"<html><title>Sign in</title></html>")
    orchard.run()

    after = status(orchard)

    assert "last run" not in before
    assert "Partial success with 1 warning, published: orchard.notes: outage (" in after
    assert "found an HTML page titled 'Sign in'" in after
    assert "`etl quarantine release orchard.notes " in after


@pytest.mark.long
@pytest.mark.fault("corrupt-manifest")
@pytest.mark.parametrize("process", list(Process))
def test_a_run_names_a_damaged_file_of_the_ledger_and_exports_it_again(
    orchard: Orchard, process: Process
) -> None:
    path = manifest_file(orchard.home, DOMAIN, process)
    damaged = path.read_text("utf-8").replace('"source_id"', "source_id", 1)
    path.write_text(damaged, encoding="utf-8")
    lines: list[str] = []
    (orchard.mirror / HOST / "notes.json").write_bytes(b'{"T-1": {"note": "changed"}}')

    manifest = orchard.run(echo=lines.append)

    assert manifest.published
    [line] = [line for line in lines if str(path) in line]
    assert re.search(rf"{path}:\d+: expected JSON, found ", line)
    assert path.with_name(f"{path.name}.aside1").read_text("utf-8") == damaged
    assert json.loads(path.read_text("utf-8"))["records"]


LIMITS = Freshness(warn_after_hours=24, fail_after_hours=72)


def a_status(*, failed: Sequence[str] = (), ages: Mapping[str, float] = {}) -> DomainStatus:
    """Return the status after a run with checks of these severities, and sources of these ages."""
    checks = [
        RunCheck(asset="plants/trees", name=f"check_{n}", passed=False, severity=severity)
        for n, severity in enumerate(failed)
    ]
    files = [
        RunSource(
            source=f"plants.{name}",
            status=FetchStatus.UNCHANGED,
            content_at=NOON - timedelta(hours=age),
        )
        for name, age in ages.items()
    ]
    manifest = a_manifest(checks=checks, sources=files)
    return DomainStatus("plants", dict.fromkeys(ages, LIMITS), [], manifest, "a", manifest, "a")


@pytest.mark.parametrize(
    ("failed", "ages", "headline"),
    [
        ([], {"trees": 72}, None),
        (["warn"], {}, "Success with 1 warning, published"),
        (["warn", "error"], {}, "Success with 1 error and 1 warning, published"),
        ([], {"trees": 73, "nuts": 1}, "Success, published; 1 source has stale content"),
        (["warn"] * 7, {"trees": 73, "nuts": 99}, "Success with 7 warnings, published; 2 sources"),
    ],
    ids=["good", "warning", "error", "stale", "both"],
)
def test_the_status_has_the_headline_of_the_last_report(
    failed: list[str], ages: dict[str, float], headline: str | None
) -> None:
    lines = a_status(failed=failed, ages=ages).lines(NOON)

    assert len([line for line in lines if "last run" in line]) == (headline is not None)
    assert headline is None or f"  last run, a: {headline}" in "\n".join(lines)
    assert (
        lines[2:7]
        == [f"  WARN  plants/trees: check_{n}" for n in range(7)][: min(failed.count("warn"), 5)]
    )


def test_the_status_as_json_names_the_stale_sources() -> None:
    ages = {"trees": 73.0, "nuts": 72.0, "shrubs": 900.0}

    assert a_status(ages=ages).as_dict(NOON)["stale_sources"] == ["trees", "shrubs"]


def status_of_content(ages: Mapping[str, float], status: str = "ok") -> DomainStatus:
    """Return the status of sources whose content has these ages in hours."""
    health = [
        SourceHealth(source=name, title=name, status=status, rows=1, rejected=0, source_sha256="",
                     content_at=NOON - timedelta(hours=age))
        for name, age in ages.items()
    ]  # fmt: skip
    return DomainStatus("plants", dict.fromkeys(ages, LIMITS), health, None, "", None, "")


def test_a_line_of_a_source_says_whether_its_content_is_old_by_now() -> None:
    lines = status_of_content({"trees": 1, "nuts": 25, "shrubs": 73}).lines(NOON)

    assert [line.rpartition("content ")[2] for line in lines[1:]] == [
        "1.0 h old", "25.0 h old, ageing after 24 h", "3 days old, stale after 3 days",
    ]  # fmt: skip
    assert [line.split()[1] for line in lines[1:]] == ["ok", "ageing", "stale"]


def test_a_fault_of_a_source_is_not_hidden_by_the_age_of_its_content() -> None:
    [_, line] = status_of_content({"trees": 73}, status="outage").lines(NOON)

    assert line.split()[1] == "outage"
    assert line.endswith("3 days old, stale after 3 days")


def test_the_status_as_json_has_the_freshness_of_each_source() -> None:
    document = status_of_content({"trees": 1, "nuts": 25, "shrubs": 73.5}).as_dict(NOON)

    freshness = {each["source"]: each["freshness"] for each in document["sources"]}
    assert {name: each["level"] for name, each in freshness.items()} == {
        "trees": "fresh", "nuts": "ageing", "shrubs": "stale",
    }  # fmt: skip
    assert freshness["shrubs"] == {
        "level": "stale",
        "content_at": "2026-02-26T10:30:00Z",
        "age_hours": 73.5,
        "warn_after_hours": 24,
        "fail_after_hours": 72,
    }


def parts(count: int) -> list[RunSource]:
    return [
        RunSource(
            source="plants.trees",
            partition=str(2001 + number),
            status=FetchStatus.MISSING,
            fault="gone",
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "note"),
    [
        (0, ""),
        (2, "plants.trees[2001]: missing (gone); plants.trees[2002]: missing (gone)"),
        (25, "plants.trees: 25 parts, first 2001: missing (gone)"),
    ],
)
def test_many_parts_of_a_source_are_summarized_by_the_first(count: int, note: str) -> None:
    assert note_of(parts(count)) == note
