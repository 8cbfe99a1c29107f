"""Decisions that change between two runs although no source does: by time, or by other rules."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.sample_home import AS_OF, SampleHome
from support.second_runs import RULINGS

from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions, Stage, StageRange
from etl_assets.operations.replay import replay

OSV = "osv-vulnerabilities.storage.googleapis.com/Debian/all.zip"
RECORD = "DEBIAN-CVE-2026-900045"
ADVISORY = "pebble:CVE-2026-900045"
WITHDRAWN_AT = AS_OF + timedelta(days=2)

pytestmark = pytest.mark.long


def withdraw(sample: SampleHome, at: datetime) -> None:
    """Rewrite one record of the mirror's zip so that it is withdrawn at a time."""
    path = sample.mirror / OSV
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    record: dict[str, Any] = json.loads(records[f"{RECORD}.json"])
    records[f"{RECORD}.json"] = json.dumps(record | {"withdrawn": at.isoformat()}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)


def run(sample: SampleHome, at: datetime) -> set[str]:
    """Run at a logical time and return the assets that were made."""
    manifest = sample.run(RunOptions(as_of=at))
    assert manifest.status is RunStatus.SUCCESS, manifest.note
    return sample.made_assets(manifest)


def transitions(sample: SampleHome) -> Iterator[tuple[str, datetime, str, str]]:
    for row in sample.rows("mart_advisory_transitions"):
        yield row["advisory_id"], row["changed_at"], row["cause"], row["cause_record"]


@pytest.fixture
def withdrawn_ahead(tmp_path: Path) -> SampleHome:
    """A home whose first run read a record that is withdrawn two days later."""
    sample = SampleHome.create(tmp_path)
    withdraw(sample, WITHDRAWN_AT)
    run(sample, AS_OF)
    return sample


@pytest.mark.fault("time-ahead")
def test_a_record_counts_until_the_time_of_its_withdrawal(withdrawn_ahead: SampleHome) -> None:
    before = withdrawn_ahead.states()[ADVISORY]

    made_before = run(withdrawn_ahead, WITHDRAWN_AT - timedelta(microseconds=1))
    state_before = withdrawn_ahead.states()[ADVISORY]
    made_then = run(withdrawn_ahead, WITHDRAWN_AT)

    assert (made_before, state_before) == (set(), before)
    assert before != "under_investigation"
    assert withdrawn_ahead.states()[ADVISORY] == "under_investigation"
    # Nothing was fetched, and only what reads the run's time was built.
    assert {"osv", "osv_raw", "stg_nvd"}.isdisjoint(made_then)
    assert (ADVISORY, WITHDRAWN_AT, "record_withdrawn", RECORD) in transitions(withdrawn_ahead)


@pytest.mark.fault("time-ahead")
def test_a_passed_moment_is_due_once(withdrawn_ahead: SampleHome) -> None:
    assert run(withdrawn_ahead, WITHDRAWN_AT + timedelta(days=1))

    assert run(withdrawn_ahead, WITHDRAWN_AT + timedelta(days=2)) == set()


@pytest.mark.fault("time-ahead")
def test_a_withdrawal_that_is_taken_back_in_time_moves_nothing(
    withdrawn_ahead: SampleHome,
) -> None:
    before = withdrawn_ahead.states()
    withdraw(withdrawn_ahead, WITHDRAWN_AT + timedelta(days=30))
    run(withdrawn_ahead, AS_OF + timedelta(hours=1))

    assert run(withdrawn_ahead, WITHDRAWN_AT + timedelta(days=1)) == set()
    assert withdrawn_ahead.states() == before


def test_a_state_that_other_rules_change_names_them_as_its_cause(
    first_run: SampleHome, tmp_path: Path
) -> None:
    sample = first_run.copy_to(tmp_path / "copy")
    shutil.copytree(sample.settings.dbt_dir, sample.folder / "dbt_project", dirs_exist_ok=True)
    model = "models/advisories/intermediate/int_advisories__listing_claims.sql"
    file = sample.folder / "dbt_project" / model
    old = "year(first_seen.first_seen) - 2"
    assert old in file.read_text(encoding="utf-8")
    file.write_text(
        file.read_text(encoding="utf-8").replace(old, "year(first_seen.first_seen)"),
        encoding="utf-8",
    )
    later = AS_OF + timedelta(days=1)

    run(SampleHome(sample.folder), later)

    changed = [row for row in transitions(sample) if row[1] == later]
    assert changed
    assert {cause for _, _, cause, _ in changed} == {"rules_changed"}


def test_a_build_ahead_that_is_not_published_hides_no_withdrawal(
    withdrawn_ahead: SampleHome,
) -> None:
    ahead = RunOptions(
        as_of=WITHDRAWN_AT + timedelta(hours=1), stages=StageRange(Stage.MARTS, Stage.MARTS)
    )
    withdrawn_ahead.run(ahead)
    rule(withdrawn_ahead, "CVE-2026-900043,pebble,not_applicable,,code_not_in_use")
    run(withdrawn_ahead, WITHDRAWN_AT - timedelta(hours=1))
    before = withdrawn_ahead.states()[ADVISORY]

    rule(withdrawn_ahead, "CVE-2024-900003,garnet,wont_fix,,minor")
    run(withdrawn_ahead, WITHDRAWN_AT + timedelta(hours=2))

    assert before != "under_investigation"
    assert withdrawn_ahead.states()[ADVISORY] == "under_investigation"
    with withdrawn_ahead.project_session() as session:
        replayed = replay(session.project, f"advisories/{withdrawn_ahead.latest.name}")
    assert replayed.is_equal, replayed.different


def rule(sample: SampleHome, line: str) -> None:
    sample.change(RULINGS, lambda text: f"{text}{line}\n")
