"""Every document contains every advisory, with its state in the terms of the standard."""

from __future__ import annotations

from typing import Any

import pytest
from support.published_set import Pair, PublishedSet

DOCUMENTS = ["feed", "openvex", "vex_repository", "csaf", "cyclonedx"]
# What each standard calls our states, written down from the design and not from the seed.
FEED = {"not_applicable": "0"}
OPENVEX = {
    "fixed": "fixed",
    "not_applicable": "not_affected",
    "wont_fix": "affected",
    "pending_upstream": "affected",
    "under_investigation": "under_investigation",
}
CSAF = {
    "fixed": ("fixed", []),
    "not_applicable": ("known_not_affected", []),
    "wont_fix": ("known_affected", ["no_fix_planned"]),
    "pending_upstream": ("known_affected", ["none_available"]),
    "under_investigation": ("under_investigation", ["none_available"]),
}
CYCLONEDX = {
    "fixed": ("resolved", ["update"]),
    "not_applicable": ("not_affected", None),
    "wont_fix": ("exploitable", ["will_not_fix"]),
    "pending_upstream": ("exploitable", None),
    "under_investigation": ("in_triage", None),
}


@pytest.fixture(scope="session")
def current(published: PublishedSet) -> dict[Pair, Any]:
    return published.envelope()


def by_state(current: dict[Pair, Any], state: str) -> list[Pair]:
    pairs = [pair for pair, row in current.items() if row["state"] == state]
    assert pairs, f"the sample has no {state}"
    return pairs


def test_the_sample_covers_every_state_and_reason(current: dict[Pair, Any]) -> None:
    assert {row["state"] for row in current.values()} == set(OPENVEX)
    assert {row["reason_code"] for row in current.values()} == {
        *("CSV_OVERRIDE", "NVD_REJECTED", "UPSTREAM_FIX", "VENDOR_NOT_AFFECTED"),
        *("DISTRO_NOT_AFFECTED", "DISTRO_WONT_FIX", "LINEAGE_UNPROVEN", "AWAITING_FIX"),
        *("NEW_CVE", "NO_ASSESSMENT"),
    }


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_document_contains_the_same_advisories(
    published: PublishedSet, current: dict[Pair, Any], document: str
) -> None:
    assert set(getattr(published, document)()) == set(current)


def test_the_feed_suppresses_what_does_not_apply_and_names_only_real_fixes(
    published: PublishedSet, current: dict[Pair, Any]
) -> None:
    fixed_versions = {pair: entry.get("fixed_version") for pair, entry in published.feed().items()}

    assert fixed_versions == {
        pair: FEED.get(row["state"], row["fixed_version"]) for pair, row in current.items()
    }
    assert "1" not in fixed_versions.values()


def test_the_feed_has_no_version_if_there_is_no_fix(
    published: PublishedSet, current: dict[Pair, Any]
) -> None:
    open_states = ("wont_fix", "pending_upstream", "under_investigation")
    feed = published.feed()

    open_entries = [feed[p] for p, row in current.items() if row["state"] in open_states]

    assert all(set(entry) <= {"severity"} for entry in open_entries)
    assert {} in open_entries


def test_osv_ends_a_range_with_a_fix_and_keeps_what_does_not_apply_apart(
    published: PublishedSet, current: dict[Pair, Any]
) -> None:
    records = published.osv()
    affecting = {cve for (_, cve), row in current.items() if row["state"] != "not_applicable"}
    assert set(records) == {pair for pair in current if pair[1] in affecting}
    for pair, entry in records.items():
        row = current[pair]
        events = [event for part in entry.get("ranges", []) for event in part["events"]]
        fix = [{"fixed": row["fixed_version"]}] if row["state"] == "fixed" else []
        expected = [] if row["state"] == "not_applicable" else [{"introduced": "0"}, *fix]
        assert events == expected, pair
        assert entry["database_specific"]["state"] == row["state"]


def test_openvex_has_the_status(published: PublishedSet, current: dict[Pair, Any]) -> None:
    statuses = {pair: statement["status"] for pair, statement in published.openvex().items()}

    assert statuses == {pair: OPENVEX[row["state"]] for pair, row in current.items()}


def test_csaf_has_the_status_and_the_remediation(
    published: PublishedSet, current: dict[Pair, Any]
) -> None:
    for pair, vulnerability in published.csaf().items():
        status, categories = CSAF[current[pair]["state"]]
        assert set(vulnerability["product_status"]) - {"first_fixed"} == {status}, pair
        assert [r["category"] for r in vulnerability.get("remediations", [])] == categories, pair


def test_cyclonedx_has_the_state_and_the_response(
    published: PublishedSet, current: dict[Pair, Any]
) -> None:
    states = {
        pair: (entry["analysis"]["state"], entry["analysis"].get("response"))
        for pair, entry in published.cyclonedx().items()
    }

    assert states == {pair: CYCLONEDX[row["state"]] for pair, row in current.items()}


@pytest.mark.parametrize(
    ("pair", "justification", "cyclonedx"),
    [
        pytest.param(
            ("garnet", "CVE-2024-900001"),
            "vulnerable_code_not_in_execute_path",
            "code_not_reachable",
            id="code not in use",
        ),
        pytest.param(
            ("garnet", "CVE-2024-900004"),
            "vulnerable_code_not_present",
            "code_not_present",
            id="another system",
        ),
        pytest.param(("quill-ssl", "CVE-2024-900011"), None, None, id="disputed"),
        pytest.param(("mossdb", "CVE-2021-900013"), None, None, id="rejected by NVD"),
        pytest.param(("garnet", "CVE-2022-900023"), None, None, id="the vendor's word"),
    ],
)
def test_a_reason_has_the_label_of_equal_meaning_or_none(
    published: PublishedSet, pair: Pair, justification: str | None, cyclonedx: str | None
) -> None:
    openvex, csaf = published.openvex()[pair], published.csaf()[pair]

    assert openvex.get("justification") == justification
    assert [flag["label"] for flag in csaf.get("flags", [])] == [justification] * bool(cyclonedx)
    assert published.cyclonedx()[pair]["analysis"].get("justification") == cyclonedx


def test_every_vex_document_explains_what_is_not_affected(
    published: PublishedSet, current: dict[Pair, Any]
) -> None:
    openvex, csaf, cyclonedx = published.openvex(), published.csaf(), published.cyclonedx()

    for pair in by_state(current, "not_applicable"):
        explanation = current[pair]["explanation"]
        assert openvex[pair]["impact_statement"] == explanation
        assert [threat["details"] for threat in csaf[pair]["threats"]] == [explanation]
        assert cyclonedx[pair]["analysis"]["detail"] == explanation


@pytest.mark.parametrize(
    ("state", "text"), [("wont_fix", "Will not fix"), ("pending_upstream", "No fix is available")]
)
def test_open_advisories_say_what_a_customer_can_do(
    published: PublishedSet, current: dict[Pair, Any], state: str, text: str
) -> None:
    openvex, csaf, cyclonedx = published.openvex(), published.csaf(), published.cyclonedx()

    for pair in by_state(current, state):
        action = openvex[pair]["action_statement"]
        assert action.startswith(text)
        assert [r["details"] for r in csaf[pair]["remediations"]] == [action]
        assert cyclonedx[pair]["analysis"]["detail"].endswith(action)


def test_only_a_statement_on_a_fix_names_a_version(
    published: PublishedSet,
) -> None:
    urls = {
        pair: statement["products"][0]["@id"] for pair, statement in published.openvex().items()
    }

    assert urls["mossdb", "CVE-2024-900016"] == "pkg:deb/echo/mossdb@1:5.1.2-1~deb12u1"
    assert urls["garnet", "CVE-2024-900001"] == "pkg:deb/echo/garnet"
    assert urls["graphitemagick", "CVE-2024-900051"] == "pkg:deb/echo/graphitemagick"


def test_ids_other_than_cves_are_in_every_document(published: PublishedSet) -> None:
    pair = ("quill-ssl", "TEMP-0290001-AB12CD")

    assert published.feed()[pair] == {"fixed_version": "0"}
    assert published.csaf()[pair]["ids"][0]["system_name"] == "Debian Security Tracker"
    assert published.cyclonedx()[pair]["source"]["name"] == "Debian Security Tracker"


def test_every_document_names_its_sources_and_their_licences(published: PublishedSet) -> None:
    nvd = (
        "This product uses data from the NVD but is not endorsed or certified by the NVD. "
        "Licence: public domain, https://nvd.nist.gov/general/legal-disclaimer"
    )
    csaf = published.csaf_documents()
    places = {
        "advisory_current.json": published.json("advisory_current.json")["attributions"],
        "openvex.json": published.json("openvex.json")["tooling"],
        "cyclonedx.vex.json": [
            entry["value"]
            for entry in published.json("cyclonedx.vex.json")["metadata"]["properties"]
        ],
        "data.json": (published.directory / "data.json.license").read_text(),
        "changes.json": (published.directory / "changes.json.license").read_text(),
    }

    assert [name for name, text in places.items() if nvd not in text] == []
    assert all(nvd in document["document"]["notes"][0]["text"] for document in csaf)
    assert all(r["database_specific"]["attributions"] for r in published.osv_records())


def test_the_first_set_lists_no_changes(published: PublishedSet) -> None:
    assert published.json("changes.json") == {"format_version": 1, "baseline": True, "changes": []}
