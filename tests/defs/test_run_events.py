"""What a run's manifest and report show: after success, with nothing to do, after a failure."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from support.sample_home import AS_OF, DOMAIN, SampleHome

from etl_assets.defs.asset_keys import report_key
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.publish import run_directory
from etl_assets.report.gather import FILES, HTML_FILE, MARKDOWN_FILE, RUN_FILES

FEED = "advisory.echohq.com/data.json"


def test_the_report_asset_shows_the_markdown_and_links_the_page(sample: SampleHome) -> None:
    with sample.instance() as instance:
        event = instance.get_latest_materialization_event(report_key(sample.domain))

    assert event is not None
    metadata = event.asset_materialization.metadata
    text = (sample.latest / MARKDOWN_FILE).read_text(encoding="utf-8")
    assert metadata["report"] == dg.MetadataValue.md(text)
    assert metadata["open"] == dg.MetadataValue.url(
        f"/outputs/{DOMAIN}/{sample.latest.name}/{HTML_FILE}"
    )


def test_publishing_is_one_of_the_phases(first_run: SampleHome) -> None:
    manifest = RunManifest.model_validate_json((first_run.latest / "manifest.json").read_bytes())

    phases = [phase.name for phase in manifest.phases]

    assert phases[-1] == f"{DOMAIN}_publish"
    assert sum(phase.seconds for phase in manifest.phases) <= manifest.seconds


def test_a_run_with_nothing_to_do_has_its_own_report(sample: SampleHome) -> None:
    before = sample.latest

    manifest = sample.run(RunOptions(as_of=AS_OF + timedelta(days=1)))

    directory = sample.home.outputs(DOMAIN) / manifest.run_id
    assert (manifest.note, manifest.published_set) == ("nothing moved", before.name)
    assert sample.latest == before
    for file in FILES:
        assert "nothing moved" in (directory / file).read_text(encoding="utf-8")
    page = (directory / HTML_FILE).read_text(encoding="utf-8")
    assert "last contact" in page
    assert f'href="./../{before.name}/openvex.json"' in page
    assert run_directory.list_files(directory) == [
        "SHA256SUMS",
        "manifest.json",
        *sorted(RUN_FILES),
    ]


def test_a_probe_counts_as_a_contact_although_nothing_is_fetched(sample: SampleHome) -> None:
    manifest = sample.run()

    for source in manifest.sources:
        assert source.contacted_at is not None
        assert source.fetched_at is not None
        assert manifest.started_at <= source.contacted_at <= manifest.finished_at
        assert source.fetched_at < manifest.started_at


@pytest.mark.long
def test_a_failed_run_has_a_report(tmp_path: Path) -> None:
    sample = SampleHome.create(tmp_path)
    (sample.mirror / FEED).unlink()

    manifest = sample.run()

    [directory] = [path for path in sample.home.outputs(DOMAIN).iterdir() if path.is_dir()]
    assert manifest.status is RunStatus.FAILED
    headline = "Failed with 2 errors, not published"
    assert headline in (directory / HTML_FILE).read_text(encoding="utf-8")
    assert f"**{headline}" in (directory / MARKDOWN_FILE).read_text(encoding="utf-8")
