"""The five ways in which a run of two phases ends: fetching and loading, each well or badly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr
from support.large_sample import FEED, unfix
from support.notification_servers import Hook
from support.sample_home import DOMAIN, Sampled

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions


def gone(sampled: Sampled) -> None:
    (sampled.mirror / FEED).unlink()


def unloadable(sampled: Sampled) -> None:
    """A whole file of the declared format, of whose rows none holds under the contract."""
    sampled.change(FEED, lambda _: '{"pebble": {"not an id": {"fixed_version": 1}}}')


def both(sampled: Sampled) -> None:
    gone(sampled)
    sampled.change("analyst/advisory-not-applicable.csv", lambda _: "another,header\n1,2\n")


def run(sampled: Sampled, hook: Hook) -> RunManifest:
    notify = SecretStr(hook.target)
    sampled.settings = sampled.settings.model_copy(update={"notify": notify})
    return sampled.run(RunOptions(max_retries=0))


@pytest.mark.long
def test_both_phases_well_is_a_success_and_nobody_is_told(tmp_path: Path, hook: Hook) -> None:
    manifest = run(Sampled.packed(tmp_path), hook)

    assert (manifest.status, manifest.published) == (RunStatus.SUCCESS, True)
    assert hook.messages == []


@pytest.mark.long
@pytest.mark.fault("outage")
def test_a_fetch_that_fails_over_a_last_good_file_is_a_partial_success(
    sampled: Sampled, hook: Hook
) -> None:
    before = sampled.states()
    gone(sampled)

    manifest = run(sampled, hook)

    assert (manifest.status, manifest.published) == (RunStatus.PARTIAL_SUCCESS, True)
    assert sampled.states() == before
    assert hook.titles == ["advisories: partial_success"]
    assert {"attempts", "waited_seconds", "status", "reason"} <= set(_told_of(sampled))


@pytest.mark.long
@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        pytest.param(gone, "required and nothing good was ever held", id="nothing to fall back on"),
        pytest.param(unloadable, "required and no table was ever made", id="the load fails"),
        pytest.param(both, "required and nothing good was ever held", id="both fail"),
    ],
)
@pytest.mark.fault("outage-nothing-held")
def test_without_a_way_back_the_run_fails_and_nothing_is_published(
    tmp_path: Path, hook: Hook, prepare: Callable[[Sampled], None], told: str
) -> None:
    sampled = Sampled.packed(tmp_path)
    prepare(sampled)

    manifest = run(sampled, hook)

    assert (manifest.status, manifest.published) == (RunStatus.FAILED, False)
    assert told in manifest.note
    assert not sampled.home.latest(DOMAIN).exists()
    assert hook.titles == ["advisories: failed"]


@pytest.mark.long
def test_a_load_that_fails_leaves_the_published_set_where_it_was(
    crowd: Sampled, hook: Hook
) -> None:
    """The gate's refusal is told with what to look at and the command that answers."""
    before = crowd.latest
    crowd.change(FEED, unfix(120))

    manifest = run(crowd, hook)

    [message] = hook.messages
    assert (manifest.status, manifest.published) == (RunStatus.FAILED, False)
    assert crowd.latest == before
    assert "run_report.html" in message["message"]
    assert "`etl run advisories --accept-changes`" in message["message"]


def _told_of(sampled: Sampled) -> dict[str, object]:
    """What the raw asset of the feed shows of its last fetch."""
    with sampled.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey([DOMAIN, "echo_raw"]))
    assert event is not None
    assert event.asset_materialization is not None
    return dict(event.asset_materialization.metadata)
