"""A run and its report, for tests of several packages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import (
    AcceptedChange,
    CollectorResult,
    LoaderResult,
    PipelineResult,
    RunAsset,
    RunCheck,
    RunManifest,
    RunPhase,
)
from etl_assets.report.report import DocumentLine, RunReport, Section, SourceLine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_manifest(**changes: Any) -> RunManifest:
    values: dict[str, Any] = {
        "run_id": "20260301_120000", "domain": "plants", "status": RunStatus.SUCCESS,
        "published": True, "as_of": NOON, "started_at": NOON,
        "finished_at": NOON + timedelta(seconds=75), "code_version": "1",
    }  # fmt: skip
    return RunManifest(**(values | changes))


def a_result(healing_action: str) -> PipelineResult:
    """A run in which one file could not be read, and an earlier one was loaded instead."""
    collected = CollectorResult(
        status="error", files_processed=3, files_fetched=2, records_count=1200,
        execution_time="00:00:04", healing_actions=[healing_action],
    )  # fmt: skip
    loaded = LoaderResult(
        status="success", tables_created=2, data_validation="passed", execution_time="00:00:06"
    )
    return PipelineResult(
        overall_status=RunStatus.PARTIAL_SUCCESS,
        collector_result=collected, loader_result=loaded, timestamp=NOON,
    )  # fmt: skip


def a_section(kind: str = "table", **changes: Any) -> Section:
    values: dict[str, Any] = {
        "title": "States", "kind": kind, "columns": ["state", "count"],
        "rows": [("alive", 3), ("dead", 1)], "total": 2, "counted_rows": 4,
    }  # fmt: skip
    return Section(**(values | changes))


def a_source(name: str = "trees", **changes: Any) -> SourceLine:
    values: dict[str, Any] = {
        "source": f"plants.{name}", "title": "The trees", "files": 1,
        "status": FetchStatus.FETCHED, "contacted_at": NOON, "contact_age_hours": 0.5,
        "contact": "fresh", "content_at": NOON - timedelta(days=9), "content_age_hours": 216.0,
        "content": "stale", "rows": 1200, "rejected": 0,
    }  # fmt: skip
    return SourceLine(**(values | changes))


def a_report(**changes: Any) -> RunReport:
    values: dict[str, Any] = {
        "title": "Plants", "description": "All plants.", "manifest": a_manifest(),
        "sections": [], "sources": [],
    }  # fmt: skip
    return RunReport(**(values | changes))


def a_report_that_says(text: str) -> RunReport:
    """A report in which every text that comes from data, a declaration or a remote is `text`."""
    manifest = a_manifest(
        run_id=text, domain=text, note=text, code_version=text,
        assets=[RunAsset(key=text, outcome="made", data_version=text)],
        checks=[
            RunCheck(asset=text, name=text, passed=passed, severity="error", description=text)
            for passed in (True, False)
        ],
        phases=[RunPhase(name=text, seconds=1)],
        result=a_result(text),
        accepted_changes=[AcceptedChange(what=text, sha256="a" * 64)],
    )  # fmt: skip
    rows: dict[str, Any] = {"title": text, "columns": [text, text], "rows": [(text, 3), (text, 1)]}
    return a_report(
        title=text, description=text, manifest=manifest, tones={text: "good"},
        sections=[
            a_section("table", **rows), a_section("bar", **rows), a_section("line", **rows),
            a_section("bar", **(rows | {"rows": [("other", 3)]})),
            a_section("table", **(rows | {"rows": [], "note": text})),
        ],
        sources=[a_source(text, title=text, rejected=1, rejects_by_rule={text: 1},
                          rejects_path=text, faults=[text])],
        documents=[DocumentLine(document=text, title=text, files=1, first_file=text, rows=1,
                                size_bytes=1)],
    )  # fmt: skip
