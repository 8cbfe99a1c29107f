"""Values of the feeds that cannot be read: they are null and shown, and no statement is lost."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.large_sample import FEED
from support.sample_home import AS_OF, SampleHome

from etl_assets.model.run_options import RunOptions

EXPLOITED = "www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
ARCHIVE = "osv-vulnerabilities.storage.googleapis.com/Debian/all.zip"
RECORD = "DEBIAN-CVE-2026-900045.json"
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


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize("entry", [None, [], "open", 7])
def test_a_release_that_is_no_object_is_open(sample: SampleHome, entry: object) -> None:
    advisory = "tinfoil:CVE-2024-900017"

    def edit(document: Any) -> None:
        releases = document["tinfoil"]["CVE-2024-900017"]["releases"]
        releases["bookworm"] = releases["sid"]
        releases["sid"] = entry

    sample.change(TRACKER, edited(edit))

    run(sample)

    assert sample.states()[advisory] == "pending_upstream"
    assert "status: expected an object" in sample.check_description("debian", "contract")


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize("name", ["SID", "Sid", " SID\t"])
def test_a_release_is_the_same_one_in_another_case(sample: SampleHome, name: str) -> None:
    advisory = "tinfoil:CVE-2024-900017"

    def edit(document: Any) -> None:
        releases = document["tinfoil"]["CVE-2024-900017"]["releases"]
        releases["bookworm"] = releases.pop("sid")
        releases[name] = {"status": "open"}

    sample.change(TRACKER, edited(edit))

    run(sample)

    assert sample.states()[advisory] == "pending_upstream"


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize("entry", [None, [], "1.0-1"])
def test_a_pair_that_is_no_object_stays_listed(sample: SampleHome, entry: object) -> None:
    before = sample.states()
    sample.change(FEED, edited(lambda d: d["pebble"].update({"CVE-2026-900043": entry})))

    run(sample)

    assert sample.states().keys() == before.keys()
    assert "fixed_version: expected an object" in sample.check_description("echo", "contract")


def put_records(sample: SampleHome, *edits: dict[str, Any]) -> None:
    """Replace the withdrawn record of the archive by copies of it that count, with these fields."""
    path = sample.mirror / ARCHIVE
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    record = json.loads(members.pop(RECORD))
    del record["withdrawn"]
    members |= {f"{n}-{RECORD}": json.dumps(record | edit).encode() for n, edit in enumerate(edits)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def affects(*events: dict[str, str], kind: str = "ECOSYSTEM") -> dict[str, Any]:
    package = {"ecosystem": "Debian:12", "name": "pebble"}
    return {"affected": [{"package": package, "ranges": [{"type": kind, "events": [*events]}]}]}


ADVISORY = "pebble:CVE-2026-900045"
FIX = ({"introduced": "0"}, {"fixed": "7.0-2"})


@pytest.mark.fault("osv-event")
@pytest.mark.parametrize(
    ("affected", "shown"),
    [
        pytest.param(affects(*FIX), "", id="readable"),
        pytest.param(affects(*FIX, {"patched": "7.0-1"}), "", id="unknown event"),
        pytest.param(affects(*FIX, kind="ROLLING"), "", id="unknown type"),
        pytest.param(
            affects({"introduced": "unknown"}, {"fixed": "7.0-2"}),
            'introduced: expected a Debian version, found "unknown"',
            id="start that is no version",
        ),
    ],
)
def test_a_range_that_cannot_be_evaluated_is_no_fix(
    sample: SampleHome, affected: dict[str, Any], shown: str
) -> None:
    put_records(sample, affected)

    run(sample)

    is_readable = affected == affects(*FIX)
    warning = sample.check_description("stg_osv", "osv_records_are_evaluable")
    assert (sample.states()[ADVISORY] == "fixed") == is_readable
    assert ("DEBIAN-CVE-2026-900045" in warning) != is_readable
    assert shown in sample.check_description("osv", "contract")


@pytest.mark.fault("osv-twice")
@pytest.mark.parametrize(
    ("first", "second", "version"),
    [
        pytest.param("2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z", "7.0-9", id="second is newer"),
        pytest.param("2026-02-02T00:00:00Z", "2026-02-01T00:00:00Z", "7.0-2", id="first is newer"),
        pytest.param("2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z", "7.0-9", id="equally new"),
    ],
)
def test_the_newest_of_two_records_with_one_id_counts(
    sample: SampleHome, first: str, second: str, version: str
) -> None:
    other = affects({"introduced": "0"}, {"fixed": "7.0-9"})
    put_records(sample, {"modified": first} | affects(*FIX), {"modified": second} | other)

    run(sample)

    assert row_of(sample, ADVISORY)["fixed_version"] == version
    assert 'a duplicate by osv_id "DEBIAN-CVE-2026-900045"' in sample.check_description(
        "osv", "contract"
    )
