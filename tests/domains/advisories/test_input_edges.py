"""Records, ids, names and statuses that are almost as they should be, from the file to a state."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from domains.advisories.mirrors import write_feed
from support.large_sample import FEED
from support.sample_home import AS_OF, SampleHome

from etl_assets.model.run_options import RunOptions

TRACKER = "security-tracker.debian.org/tracker/data/json"
ARCHIVE = "osv-vulnerabilities.storage.googleapis.com/Debian/all.zip"
EXPLOITED = "www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
SCORES = "epss.empiricalsecurity.com/epss_scores-current.csv.gz"
YEAR = "nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-2026.json.gz"
FIX = [{"introduced": "0"}, {"fixed": "9.0-1"}]
OPEN = [{"introduced": "0"}]

pytestmark = pytest.mark.long


def change(sample: SampleHome, file: str, edit: Callable[[Any], None]) -> None:
    document = json.loads((sample.mirror / file).read_text(encoding="utf-8"))
    edit(document)
    sample.change(file, lambda _: json.dumps(document))


FILLER = [f"CVE-2025-{number}" for number in range(920_000, 920_300)]
"""Ids for records that are good, so that the odd ones are few."""


def change_tracker(sample: SampleHome, pairs: dict[str, Any]) -> None:
    entry = {"releases": {"sid": {"status": "open"}}}
    filler = {"filler": dict.fromkeys(FILLER, entry)}
    change(sample, TRACKER, lambda tracker: tracker.update(filler | pairs))


def list_pairs(sample: SampleHome, *names: str) -> None:
    """Add a package for each name to the vendor's feed, with one id, its number from 0."""
    pairs = {name: {vulnerability_id(number): {}} for number, name in enumerate(names)}
    change(sample, FEED, lambda feed: feed.update(pairs))


def vulnerability_id(number: int) -> str:
    return f"CVE-2026-{910_000 + number}"


def run(sample: SampleHome, days: int = 1) -> dict[str, str]:
    manifest = sample.run(RunOptions(as_of=AS_OF + timedelta(days=days)))
    assert manifest.published, manifest.note
    assert manifest.outages == []
    return sample.states()


def states_by_name(states: dict[str, str], names: dict[str, Any]) -> dict[str, str]:
    return {n: states[f"{n}:{vulnerability_id(i)}"] for i, n in enumerate(names)}


@pytest.mark.fault("half-statement", "json-twice")
def test_a_pair_of_the_tracker_counts_whole_or_not_at_all(sample: SampleHome) -> None:
    fix = '"bookworm": {"status": "resolved", "fixed_version": "9.0-1"}'
    still_open = '"sid": {"status": "open"}'
    releases = {
        "whole": f"{fix.replace('bookworm', 'sid')}, {fix}",
        "field-twice": f'"sid": {{"status": "open", "status": "resolved"}}, {fix}',
        "release-twice": f'{still_open}, {fix}, "sid": {{}}',
        "release-in-two-cases": f'{still_open}, "SID": {{}}, {fix}',
        "releases-twice": f'{still_open}}}, "releases": {{{fix}',
        "release-without-name": f'"": {{"status": "open"}}, {fix}',
        "release-of-blanks": f'" \\u200b": {{"status": "open"}}, {fix}',
    }
    entries = {name: f'{{"releases": {{{text}}}}}' for name, text in releases.items()}
    list_pairs(sample, *entries)
    records = ", ".join(
        f'"{name}": {{"{vulnerability_id(number)}": {entry}}}'
        for number, (name, entry) in enumerate(entries.items())
    )
    change_tracker(sample, {})
    sample.change(TRACKER, lambda text: f"{{{records}, {text.lstrip()[1:]}")

    states = states_by_name(run(sample), entries)

    assert states == dict.fromkeys(entries, "under_investigation") | {"whole": "fixed"}
    contract = sample.check_description("debian", "contract")
    assert "field-twice" in contract
    assert "by reject_together" in contract


@pytest.mark.fault("odd-value")
def test_words_of_the_tracker_may_be_in_any_case(sample: SampleHome) -> None:
    word = {"status": "Resolved ", "fixed_version": "9.0-1"}
    entries: dict[str, Any] = {
        "resolved": {"sid": word},
        "open": {"sid": {"status": "OPEN"}, "bookworm": word},
        "ignored": {"bookworm": {"status": "Open", "nodsa_reason": " Ignored"}},
        "end-of-life": {"bookworm": {"status": "open", "urgency": "End-Of-Life"}},
        "other": {"sid": {"status": "resolved?"}, "bookworm": word},
    }
    list_pairs(sample, *entries)
    pairs = {
        name: {vulnerability_id(number): {"releases": releases}}
        for number, (name, releases) in enumerate(entries.items())
    }
    change_tracker(sample, pairs)

    assert states_by_name(run(sample), entries) == {
        "resolved": "fixed",
        "open": "pending_upstream",
        "ignored": "wont_fix",
        "end-of-life": "wont_fix",
        "other": "pending_upstream",
    }


def affects(name: str, ecosystem: str, events: list[dict[str, str]]) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": events}]
    return {"package": {"name": name, "ecosystem": ecosystem}, "ranges": ranges}


def add_records(sample: SampleHome, *records: dict[str, Any]) -> None:
    with zipfile.ZipFile(sample.mirror / ARCHIVE, "a") as archive:
        for number, fields in enumerate(records):
            record_id = f"DEBIAN-{vulnerability_id(number)}"
            record = {"id": record_id, "modified": "2026-02-01T00:00:00Z"} | fields
            archive.writestr(f"added-{number}.json", json.dumps(record))
        for filler in FILLER:
            archive.writestr(f"{filler}.json", json.dumps({"id": filler}))


@pytest.mark.fault("nameless-package", "unknown-release", "half-evaluated")
def test_a_record_that_could_be_about_any_package_or_release_is_no_fix(
    sample: SampleHome,
) -> None:
    ranges = affects("", "", OPEN)["ranges"]
    others: dict[str, Any] = {
        "nothing-else": {},
        "other-ecosystem": {"affected": affects("other-ecosystem", "Ubuntu:24.04", OPEN)},
        "later-release": {"affected": affects("later-release", "Debian:99", OPEN)},
        "no-package": {"affected": {"ranges": ranges}},
        "null-package": {"affected": {"package": None, "ranges": ranges}},
        "no-name": {"affected": {"package": {"ecosystem": "Debian:13"}, "ranges": ranges}},
        "number-as-name": {"affected": {"package": {"name": 7}, "ranges": ranges}},
        "no-ecosystem": {"affected": {"package": {"name": "no-ecosystem"}, "ranges": ranges}},
        "blank": {"affected": affects("blank", "Debian: 13", OPEN)},
        "no-break-space": {"affected": affects("no-break-space", "DEBIAN\u00a0:13", OPEN)},
        "suite": {"affected": affects("suite", "Debian:stable", OPEN)},
        "minor-number": {"affected": affects("minor-number", "Debian:13.1", OPEN)},
        "leading-zero": {"affected": affects("leading-zero", "Debian:013", OPEN)},
        "no-release": {"affected": affects("no-release", "Debian:", OPEN)},
    }
    list_pairs(sample, *others)
    records = [
        {"affected": [affects(name, "Debian:12", FIX), *filter(None, [other.get("affected")])]}
        for name, other in others.items()
    ]
    add_records(sample, *records)

    states = states_by_name(run(sample), others)

    fixed = {"nothing-else", "other-ecosystem", "later-release"}
    assert {name for name, state in states.items() if state == "fixed"} == fixed
    assert "names_its_package" in sample.check_description("osv", "contract")
    releases = sample.check_description("stg_osv", "osv_releases_are_known")
    assert "Debian:stable" in releases


@pytest.mark.fault("look-alike-id")
@pytest.mark.parametrize("odd", ["cve-2026-910000", "CVE\u20132026\u2013910000", "CVE-2026-9100OO"])
def test_an_id_that_looks_like_one_is_rejected_in_every_source(
    sample: SampleHome, odd: str
) -> None:
    list_pairs(sample, "pair")
    before = run(sample)
    change(sample, FEED, lambda feed: feed.update({"look-alike": {odd: {}}}))
    entry = {"releases": {"sid": {"status": "resolved", "fixed_version": "9.0-1"}}}
    change_tracker(sample, {"pair": {odd: entry}})
    change(sample, EXPLOITED, lambda kev: kev["vulnerabilities"].append({"cveID": odd}))
    scores = sample.mirror / SCORES
    scores.write_bytes(
        gzip.compress(gzip.decompress(scores.read_bytes()) + f"{odd},1,1\n".encode())
    )
    record = {"id": "DSA-9-1", "upstream": [odd], "affected": [affects("pair", "Debian", FIX)]}
    add_records(sample, record)

    assert run(sample, days=2) == before
    for source in ("echo", "debian", "kev", "epss"):
        assert "cve_id: expected text like" in sample.check_description(source, "contract")
    assert "DSA-9-1" in sample.check_description("stg_osv", "osv_ids_are_readable")


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize(
    "status", ["Rejected", "rejected", "REJECTED", " Rejected\u200b", "Reject"]
)
def test_a_rejection_of_the_nvd_may_be_in_any_case(sample: SampleHome, status: str) -> None:
    list_pairs(sample, "pair")
    file = sample.mirror / YEAR
    document = json.loads(gzip.decompress(file.read_bytes()))
    text = {"lang": "en", "value": "This is a duplicate of CVE-2020-0001."}
    cve = {"id": vulnerability_id(0), "vulnStatus": status, "descriptions": [text]}
    document["vulnerabilities"].append({"cve": cve})
    document.pop("resultsPerPage", None)
    write_feed(file, json.dumps(document).encode())

    states = run(sample)

    is_rejected = status != "Reject"
    assert (states[f"pair:{vulnerability_id(0)}"] == "not_applicable") == is_rejected
    [row] = [r for r in sample.rows("mart_advisory_current") if r["package_name"] == "pair"]
    assert ("CVE-2020-0001" in row["explanation"]) == is_rejected


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.fault("folded-names", "respelled-package")
@pytest.mark.parametrize(
    ("first", "second"),
    [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED.upper())],
    ids=["decomposed", "composed", "in upper case"],
)
def test_a_name_in_another_normal_form_is_the_same_package(
    sample: SampleHome, first: str, second: str
) -> None:
    list_pairs(sample, first)
    add_records(sample, {"affected": [affects(second, "Debian", FIX)]})
    before = run(sample)
    assert before[f"{first}:{vulnerability_id(0)}"] == "fixed"
    change(sample, FEED, lambda feed: feed.update({second: feed.pop(first)}))

    after = run(sample, days=2)

    assert after == {name.replace(f"{first}:", f"{second}:"): s for name, s in before.items()}
    later = AS_OF + timedelta(days=1)
    assert [r for r in sample.rows("mart_advisory_transitions") if r["changed_at"] > later] == []
