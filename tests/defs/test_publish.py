"""The gate on a candidate that differs much from the published set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.large_sample import (
    FEED,
    add_large_feed,
    keep_one_package,
    mark_not_applicable,
    remove_fixes,
)
from support.sample_home import AS_OF, DOMAIN, SampleHome, fingerprint

from etl_assets.declarations.domain import Domain
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions, Stage, StageRange
from etl_assets.publish import run_directory

pytestmark = pytest.mark.long

TRACKER = "security-tracker.debian.org/tracker/data/json"
ACCEPT = RunOptions(accept_changes=True)


def unlimited(sample: SampleHome) -> Domain:
    """Return the domain with a vendor feed that may shrink without limit."""
    feed = sample.domain.sources["echo"]
    limits = feed.limits.model_copy(update={"max_shrink_pct": 100.0})
    sources = sample.domain.sources | {"echo": feed.model_copy(update={"limits": limits})}
    return sample.domain.model_copy(update={"sources": sources})


def refusals(manifest: RunManifest) -> set[str]:
    """Measures of the gate that were exceeded."""
    prefix = "mart_advisory_current_"
    return {
        check.name.removeprefix(prefix)
        for check in manifest.failed_checks
        if check.name.startswith(prefix) and check.severity == "error"
    }


def test_a_feed_of_one_package_is_refused_and_latest_stays(large_sample: SampleHome) -> None:
    before, states = large_sample.latest, large_sample.states()
    large_sample.change(FEED, keep_one_package)

    manifest = large_sample.run(domain=unlimited(large_sample))

    newest = next(run_directory.list_runs(large_sample.home, DOMAIN))
    assert manifest.status is RunStatus.FAILED
    assert refusals(manifest) == {"vanished", "groups_vanished"}
    assert (large_sample.latest, large_sample.states()) == (before, states)
    assert run_directory.read_manifest(newest) == manifest
    assert "groups_vanished" in (newest / "run_report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        pytest.param(remove_fixes(120), {"flipped"}, id="6 % flipped"),
        pytest.param(mark_not_applicable(60), {"silenced"}, id="3 % silenced"),
        pytest.param(mark_not_applicable(50), set(), id="the floor silenced"),
        pytest.param(remove_fixes(90), set(), id="less than 5 % flipped"),
    ],
)
def test_the_declared_limits_hold(
    change: Callable[[str], str], refused: set[str], large_sample: SampleHome
) -> None:
    before = large_sample.latest
    large_sample.change(FEED, change)

    manifest = large_sample.run()

    assert refusals(manifest) == refused
    assert manifest.published is not bool(refused)
    assert (large_sample.latest == before) is bool(refused)


def test_corrected_inputs_leave_no_trace_of_the_refusal(large_sample: SampleHome) -> None:
    good, history = (
        (large_sample.mirror / FEED).read_text(encoding="utf-8"),
        history_of(large_sample),
    )
    large_sample.change(FEED, remove_fixes(120))
    assert not large_sample.run().published
    large_sample.change(FEED, lambda _: good)

    manifest = large_sample.run()

    assert manifest.published
    assert history_of(large_sample) == history


def test_accepted_changes_are_published_and_recorded(large_sample: SampleHome) -> None:
    large_sample.change(FEED, remove_fixes(120))
    refused = large_sample.run()

    manifest = large_sample.run(ACCEPT)

    [accepted] = manifest.accepted_changes
    dates = {row["changed_at"] for row in large_sample.rows("mart_advisory_transitions")}
    assert manifest.published
    assert accepted.what == "mart_advisory_current_flipped"
    assert dates == {manifest.as_of}
    assert manifest.as_of > refused.as_of
    assert accepted.sha256 == published_metadata(large_sample)["data_version"]


def test_only_the_candidate_that_was_refused_is_accepted(large_sample: SampleHome) -> None:
    large_sample.change(FEED, remove_fixes(120))
    large_sample.run()
    large_sample.change(FEED, remove_fixes(100))

    # A run that stops before the gate does not count as the last refused one.
    large_sample.run(RunOptions(stages=StageRange(Stage.RAW, Stage.RAW)))
    changed = large_sample.run(ACCEPT)
    same = large_sample.run(ACCEPT)

    assert not changed.published
    assert "not the candidate that was refused" in changed.note
    assert same.published


def test_accepting_a_candidate_that_passes_records_nothing(
    large_sample: SampleHome,
) -> None:
    large_sample.change(FEED, remove_fixes(10))

    manifest = large_sample.run(ACCEPT)

    assert manifest.published
    assert manifest.accepted_changes == []


def test_accepting_an_unchanged_set_launches_nothing(large_sample: SampleHome) -> None:
    before = large_sample.count_runs()

    manifest = large_sample.run(ACCEPT)

    assert manifest.note == "nothing moved"
    assert large_sample.count_runs() == before


def test_a_shrunken_feed_is_accepted_with_the_candidate_that_it_makes(
    large_sample: SampleHome,
) -> None:
    large_sample.change(FEED, keep_one_package)
    assert large_sample.run().status is RunStatus.PARTIAL_SUCCESS

    manifest = large_sample.run(ACCEPT)

    assert manifest.published
    assert {a.what.rpartition("current_")[2] for a in manifest.accepted_changes} == {
        "advisories.echo",
        "vanished",
        "groups_vanished",
    }


def test_a_new_source_may_change_much(tmp_path: Path) -> None:
    sample = SampleHome.create(tmp_path)
    sample.change(FEED, add_large_feed)
    tracker = (sample.mirror / TRACKER).read_text(encoding="utf-8")
    (sample.mirror / TRACKER).unlink()
    sample.run(RunOptions(as_of=AS_OF))
    (sample.mirror / TRACKER).write_text(with_fixes(tracker), encoding="utf-8")

    manifest = sample.run()

    fixed = [row for row in sample.rows("mart_advisory_current") if row["fixed_version"] == "3.0-1"]
    assert manifest.published, manifest.note
    assert len(fixed) > 1000


def with_fixes(text: str) -> str:
    """The tracker with a fix in sid for each pair of the crowd."""
    fixed: dict[str, Any] = {"status": "resolved", "fixed_version": "3.0-1", "urgency": "low"}
    pairs = {
        name: {
            identifier: {"scope": "local", "releases": {"sid": fixed}, "description": ""}
            for identifier in ids
        }
        for name, ids in json.loads(add_large_feed("{}")).items()
    }
    return json.dumps(json.loads(text) | pairs)


def history_of(sample: SampleHome) -> bytes:
    file = "mart_advisory_state_history.parquet"
    return fingerprint(sample.latest / "marts")[file][1]


def published_metadata(sample: SampleHome) -> dict[str, str]:
    manifest = run_directory.read_manifest(sample.latest)
    key = f"{DOMAIN}/{DOMAIN}_published"
    with sample.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(key.split("/")))
        tags = event.asset_materialization.tags
    assert manifest.published
    return {"data_version": tags["dagster/data_version"]}
