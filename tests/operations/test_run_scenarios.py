"""The five ways in which a run of two phases ends: fetching and loading, each well or badly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr
from support.large_sample import FEED, remove_fixes
from support.notification_servers import WebhookServer
from support.sample_home import DOMAIN, SampleHome

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions


def gone(sample: SampleHome) -> None:
    (sample.mirror / FEED).unlink()


def unloadable(sample: SampleHome) -> None:
    """A whole file of the declared format, of whose rows none holds under the contract."""
    sample.change(FEED, lambda _: '{"pebble": {"not an id": {"fixed_version": 1}}}')


def both(sample: SampleHome) -> None:
    gone(sample)
    sample.change("analyst/advisory-not-applicable.csv", lambda _: "another,header\n1,2\n")


def run(sample: SampleHome, webhook: WebhookServer) -> RunManifest:
    notify = SecretStr(webhook.target)
    sample.settings = sample.settings.model_copy(update={"notify": notify})
    return sample.run(RunOptions(max_retries=0))


@pytest.mark.long
def test_both_phases_well_is_a_success_and_nobody_is_told(
    tmp_path: Path, webhook: WebhookServer
) -> None:
    manifest = run(SampleHome.create(tmp_path), webhook)

    assert (manifest.status, manifest.published) == (RunStatus.SUCCESS, True)
    assert webhook.messages == []


@pytest.mark.long
@pytest.mark.fault("outage")
def test_a_fetch_that_fails_over_a_last_good_file_is_a_partial_success(
    sample: SampleHome, webhook: WebhookServer
) -> None:
    before = sample.states()
    gone(sample)

    manifest = run(sample, webhook)

    assert (manifest.status, manifest.published) == (RunStatus.PARTIAL_SUCCESS, True)
    assert sample.states() == before
    assert webhook.titles == ["advisories: partial_success"]
    assert {"attempts", "waited_seconds", "status", "reason"} <= set(_told_of(sample))


@pytest.mark.long
@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        pytest.param(
            gone, "required, and there never was a good file", id="nothing to fall back on"
        ),
        pytest.param(unloadable, "required, and there never was a table", id="the load fails"),
        pytest.param(both, "required, and there never was a good file", id="both fail"),
    ],
)
@pytest.mark.fault("outage-nothing-held")
def test_without_a_way_back_the_run_fails_and_nothing_is_published(
    tmp_path: Path, webhook: WebhookServer, prepare: Callable[[SampleHome], None], told: str
) -> None:
    sample = SampleHome.create(tmp_path)
    prepare(sample)

    manifest = run(sample, webhook)

    assert (manifest.status, manifest.published) == (RunStatus.FAILED, False)
    assert told in manifest.note
    assert not sample.home.latest(DOMAIN).exists()
    assert webhook.titles == ["advisories: failed"]


@pytest.mark.long
def test_a_load_that_fails_leaves_the_published_set_where_it_was(
    large_sample: SampleHome, webhook: WebhookServer
) -> None:
    """The notification of a refusal names what to review and the command to run."""
    before = large_sample.latest
    large_sample.change(FEED, remove_fixes(120))

    manifest = run(large_sample, webhook)

    [message] = webhook.messages
    assert (manifest.status, manifest.published) == (RunStatus.FAILED, False)
    assert large_sample.latest == before
    assert "run_report.html" in message["message"]
    assert "`etl run advisories --accept-changes`" in message["message"]


@pytest.mark.long
@pytest.mark.fault("refused-again")
def test_a_refusal_lasts_until_the_candidate_changes(large_sample: SampleHome) -> None:
    """Also where no file moves, and where nothing but the status of a source differs."""
    feed = (large_sample.mirror / FEED).read_text("utf-8")
    before = large_sample.latest
    large_sample.change(FEED, remove_fixes(120))
    options = RunOptions(max_retries=0, notify=False)

    refusals = [large_sample.run(options), large_sample.run(options)]
    gone(large_sample)  # the feed is an outage, and its last good file is the refused one
    refusals.append(large_sample.run(options))

    assert [manifest.status for manifest in refusals] == [RunStatus.FAILED] * 3
    assert large_sample.latest == before
    (large_sample.mirror / FEED).write_text(feed, encoding="utf-8")
    manifest = large_sample.run(options)
    assert (manifest.status, manifest.published) == (RunStatus.SUCCESS, True), manifest.note
    assert large_sample.run(options).note == "nothing moved"


def _told_of(sample: SampleHome) -> dict[str, object]:
    """What the raw asset of the feed shows of its last fetch."""
    with sample.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey([DOMAIN, "echo_raw"]))
    assert event is not None
    assert event.asset_materialization is not None
    return dict(event.asset_materialization.metadata)
