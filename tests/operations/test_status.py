"""What the operator reads after a run with a problem: `etl status`, a note, an error."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.orchard import DOMAIN, HOST, Files, Orchard, create_project

from etl_assets.defs.launch import open_project
from etl_assets.defs.run_events import note_of
from etl_assets.ledger.manifest import Process, manifest_file
from etl_assets.model.errors import BuildError
from etl_assets.model.records import FetchStatus
from etl_assets.model.run_manifest import RunSource
from etl_assets.operations.status import domain_status


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
    assert "partial_success: orchard.notes: outage (" in after
    assert "found an HTML page titled 'Sign in'" in after
    assert "`etl quarantine release orchard.notes " in after


@pytest.mark.long
@pytest.mark.fault("corrupt-manifest")
def test_a_run_with_a_damaged_ledger_reports_file_and_line_and_what_to_do(orchard: Orchard) -> None:
    path = manifest_file(orchard.home, DOMAIN, Process.DOWNLOAD)
    damaged = path.read_text("utf-8").replace('"url"', "url", 1)
    path.write_text(damaged, encoding="utf-8")
    (orchard.mirror / HOST / "notes.json").write_bytes(b'{"T-1": {"note": "changed"}}')

    with pytest.raises(
        BuildError, match=rf"{path}:\d+: expected JSON, found .*\nPut the file back"
    ):
        orchard.run()

    assert path.read_text("utf-8") == damaged


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
