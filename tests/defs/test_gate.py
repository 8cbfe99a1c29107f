"""What becomes of a candidate that is far from what is published: the drills of a bad upstream."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.large_sample import FEED, crowded, one_package, silence, unfix
from support.sample_home import AS_OF, DOMAIN, Sampled, fingerprint

from etl_assets.declarations.domain import Domain
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions, Stage, StageRange
from etl_assets.publish import run_directory

pytestmark = pytest.mark.long

TRACKER = "security-tracker.debian.org/tracker/data/json"
ACCEPT = RunOptions(accept_changes=True)


def unlimited(sampled: Sampled) -> Domain:
    """The domain whose vendor feed may shrink as it likes."""
    feed = sampled.domain.sources["echo"]
    limits = feed.limits.model_copy(update={"max_shrink_pct": 100.0})
    sources = sampled.domain.sources | {"echo": feed.model_copy(update={"limits": limits})}
    return sampled.domain.model_copy(update={"sources": sources})


def refusals(manifest: RunManifest) -> set[str]:
    """Measures of the gate that were exceeded."""
    prefix = "mart_advisory_current_"
    return {
        check.name.removeprefix(prefix)
        for check in manifest.failed_checks
        if check.name.startswith(prefix) and check.severity == "error"
    }


def test_a_feed_cut_to_one_package_is_refused_and_latest_stays(crowd: Sampled) -> None:
    before, states = crowd.latest, crowd.states()
    crowd.change(FEED, one_package)

    manifest = crowd.run(domain=unlimited(crowd))

    newest = next(run_directory.list_runs(crowd.home, DOMAIN))
    assert manifest.status is RunStatus.FAILED
    assert refusals(manifest) == {"vanished", "groups_vanished"}
    assert (crowd.latest, crowd.states()) == (before, states)
    assert run_directory.read_manifest(newest) == manifest
    assert "groups_vanished" in (newest / "run_report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        pytest.param(unfix(120), {"flipped"}, id="6 % flipped"),
        pytest.param(silence(60), {"silenced"}, id="3 % silenced"),
        pytest.param(silence(50), set(), id="the floor silenced"),
        pytest.param(unfix(90), set(), id="less than 5 % flipped"),
    ],
)
def test_the_declared_limits_hold(
    change: Callable[[str], str], refused: set[str], crowd: Sampled
) -> None:
    before = crowd.latest
    crowd.change(FEED, change)

    manifest = crowd.run()

    assert refusals(manifest) == refused
    assert manifest.published is not bool(refused)
    assert (crowd.latest == before) is bool(refused)


def test_inputs_that_are_put_right_leave_no_trace_of_the_refusal(crowd: Sampled) -> None:
    good, history = (crowd.mirror / FEED).read_text(encoding="utf-8"), history_of(crowd)
    crowd.change(FEED, unfix(120))
    assert not crowd.run().published
    crowd.change(FEED, lambda _: good)

    manifest = crowd.run()

    assert manifest.published
    assert history_of(crowd) == history


def test_accepted_changes_are_published_and_recorded(crowd: Sampled) -> None:
    crowd.change(FEED, unfix(120))
    refused = crowd.run()

    manifest = crowd.run(ACCEPT)

    [accepted] = manifest.accepted_changes
    dates = {row["changed_at"] for row in crowd.rows("mart_advisory_transitions")}
    assert manifest.published
    assert accepted.what == "mart_advisory_current_flipped"
    assert dates == {manifest.as_of}
    assert manifest.as_of > refused.as_of
    assert accepted.sha256 == published_metadata(crowd)["data_version"]


def test_what_is_accepted_is_what_was_refused_and_looked_at(crowd: Sampled) -> None:
    crowd.change(FEED, unfix(120))
    crowd.run()
    crowd.change(FEED, unfix(100))

    crowd.run(
        RunOptions(stages=StageRange(Stage.RAW, Stage.RAW))
    )  # one between them is no gate's word
    other = crowd.run(ACCEPT)
    looked_at = crowd.run(ACCEPT)

    assert not other.published
    assert "not the candidate that was refused" in other.note
    assert looked_at.published


def test_acceptance_of_a_candidate_that_would_pass_is_no_acceptance(crowd: Sampled) -> None:
    crowd.change(FEED, unfix(10))

    manifest = crowd.run(ACCEPT)

    assert manifest.published
    assert manifest.accepted_changes == []


def test_acceptance_of_a_set_that_did_not_move_launches_nothing(crowd: Sampled) -> None:
    before = crowd.runs_launched()

    manifest = crowd.run(ACCEPT)

    assert manifest.note == "nothing moved"
    assert crowd.runs_launched() == before


def test_a_shrunken_feed_is_accepted_with_the_candidate_that_it_makes(crowd: Sampled) -> None:
    crowd.change(FEED, one_package)
    assert crowd.run().status is RunStatus.PARTIAL_SUCCESS

    manifest = crowd.run(ACCEPT)

    assert manifest.published
    assert {a.what.rpartition("current_")[2] for a in manifest.accepted_changes} == {
        "advisories.echo",
        "vanished",
        "groups_vanished",
    }


def test_a_source_that_is_heard_for_the_first_time_may_change_much(tmp_path: Path) -> None:
    sampled = Sampled.packed(tmp_path)
    sampled.change(FEED, crowded)
    tracker = (sampled.mirror / TRACKER).read_text(encoding="utf-8")
    (sampled.mirror / TRACKER).unlink()
    sampled.run(RunOptions(as_of=AS_OF))
    (sampled.mirror / TRACKER).write_text(with_fixes(tracker), encoding="utf-8")

    manifest = sampled.run()

    fixed = [
        row for row in sampled.rows("mart_advisory_current") if row["fixed_version"] == "3.0-1"
    ]
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
        for name, ids in json.loads(crowded("{}")).items()
    }
    return json.dumps(json.loads(text) | pairs)


def history_of(sampled: Sampled) -> bytes:
    file = "mart_advisory_state_history.parquet"
    return fingerprint(sampled.latest / "marts")[file][1]


def published_metadata(sampled: Sampled) -> dict[str, str]:
    manifest = run_directory.read_manifest(sampled.latest)
    key = f"{DOMAIN}/{DOMAIN}_published"
    with sampled.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(key.split("/")))
        tags = event.asset_materialization.tags
    assert manifest.published
    return {"data_version": tags["dagster/data_version"]}
