"""Values of the feeds that cannot be read: they are null and shown, and no statement is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.large_sample import FEED
from support.sample_home import AS_OF, SampleHome

from etl_assets.model.run_options import RunOptions

EXPLOITED = "www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
TRACKER = "security-tracker.debian.org/tracker/data/json"

pytestmark = pytest.mark.long


def edited(edit: Callable[[Any], None]) -> Callable[[str], str]:
    def change(text: str) -> str:
        document = json.loads(text)
        edit(document)
        return json.dumps(document)

    return change


def run(sample: SampleHome) -> None:
    manifest = sample.run(RunOptions(as_of=AS_OF + timedelta(days=1)))
    assert manifest.published, manifest.note
    assert manifest.outages == []


def row_of(sample: SampleHome, advisory_id: str) -> dict[str, Any]:
    [row] = [r for r in sample.rows("mart_advisory_current") if r["advisory_id"] == advisory_id]
    return row


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize(
    ("field", "value", "column"),
    [
        pytest.param("dateAdded", "20 February 2026", "date_added", id="date as words"),
        pytest.param("dateAdded", None, None, id="no date"),
        pytest.param("dueDate", "2026-02-30", "due_date", id="no such day"),
        pytest.param("vulnerabilityName", 7, "vulnerability_name", id="number as name"),
        pytest.param("knownRansomwareCampaignUse", ["?"], "ransomware_use", id="list as text"),
    ],
)
def test_an_exploited_id_stays_exploited(
    sample: SampleHome, field: str, value: object, column: str | None
) -> None:
    before = sample.states()
    assert row_of(sample, "garnet:CVE-2024-900001")["is_known_exploited"]
    sample.change(EXPLOITED, edited(lambda d: d["vulnerabilities"][0].update({field: value})))

    run(sample)

    assert sample.states() == before
    assert row_of(sample, "garnet:CVE-2024-900001")["is_known_exploited"]
    if column:
        description = sample.check_description("kev", "contract")
        assert f"record 1, {column}: expected a " in description


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize("severity", [9, 9.8, ["high"], {"level": "high"}, True])
def test_a_pair_with_an_odd_severity_stays_listed(sample: SampleHome, severity: object) -> None:
    before = sample.states()
    sample.change(FEED, edited(lambda d: d["pebble"]["CVE-2026-900043"].update(severity=severity)))

    run(sample)

    assert sample.states() == before
    assert row_of(sample, "pebble:CVE-2026-900043")["severity"] is None
    assert "severity: expected a text" in sample.check_description("echo", "contract")


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize("status", [5, ["open"], {}])
def test_a_release_with_an_odd_status_is_open(sample: SampleHome, status: object) -> None:
    advisory = "tinfoil:CVE-2024-900017"
    assert sample.states()[advisory] == "fixed"

    def edit(document: Any) -> None:
        document["tinfoil"]["CVE-2024-900017"]["releases"]["sid"]["status"] = status

    sample.change(TRACKER, edited(edit))

    run(sample)

    assert sample.states()[advisory] == "pending_upstream"
    assert "status: expected a text" in sample.check_description("debian", "contract")
