"""Invented records and the decisions that must follow: one package and vulnerability id a case.

Tests build the models from them and compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

Row = tuple[str, dict[str, Any]]
Statement = Callable[[str, str], "Row"]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def feed(version: str | None = None, severity: str | None = None) -> Statement:
    return lambda package, cve: (
        "echo",
        {"package_name": package, "cve_id": cve, "fixed_version": version, "severity": severity},
    )


def ships(version: str) -> Statement:
    """Return a record of the vendor's feed with this version for another id of the package."""
    return lambda package, cve: (
        "echo",
        {"package_name": package, "cve_id": f"{cve}000", "fixed_version": version},
    )


def ruling(
    status: str, version: str | None = None, package_name: str | None = "",
    words: str = "code_not_in_use",
) -> Statement:  # fmt: skip
    """Return a ruling of an analyst; without a package it applies to every package with the id."""
    return lambda package, cve: (
        "overrides",
        {
            "cve_id": cve,
            "package_name": package if package_name == "" else package_name,
            "status": status,
            "fixed_version": version,
            "internal_status": words,
        },
    )


def nvd(
    status: str | None = "Analyzed", score: float | None = None, text: str = "",
    table: str = "nvd", modified: datetime | None = LONG_AGO,
) -> Statement:  # fmt: skip
    return lambda _, cve: (
        table,
        {
            "cve_id": cve,
            "vuln_status": status,
            "description": text,
            "last_modified_at": modified,
            "cvss_version": "3.1" if score else None,
            "cvss_score": score,
            "cvss_severity": "HIGH" if score else None,
        },
    )


def tracker(
    release: str, status: str | None, version: str | None = None, **fields: str
) -> Statement:
    return lambda package, cve: (
        "debian",
        {
            "package_name": package,
            "cve_id": cve,
            "release": release,
            "status": status,
            "fixed_version": version,
            **fields,
        },
    )


def fixed_in(release: str, version: str) -> Statement:
    return tracker(release, "resolved", version)


def open_in(release: str, **fields: str) -> Statement:
    return tracker(release, "open", **fields)


def osv(release: str | None, fixed: str | None, **fields: Any) -> Statement:
    """Return an OSV record that has the id in `upstream`."""
    return lambda package, cve: (
        "osv",
        {
            "osv_id": f"DSA-{package}",
            "upstream": [cve],
            "modified_at": LONG_AGO,
            "ecosystem": release,
            "package_name": package,
            "affected_number": 1,
            "range_number": 1,
            "range_type": "ECOSYSTEM",
            "introduced": "0",
            "fixed": fixed,
            **fields,
        },
    )


def kev(added: date | None = date(2026, 1, 2)) -> Statement:
    return lambda _, cve: ("kev", {"cve_id": cve, "date_added": added})


@dataclass(frozen=True)
class Case:
    statements: tuple[Statement, ...]
    expected: str
    year: int = 2026


def case(*statements: Statement, expect: str, year: int = 2026) -> Case:
    return Case(statements, expect, year)


NEW = "under_investigation NEW_CVE - low"
PENDING = "pending_upstream AWAITING_FIX - medium"
UNPROVEN = "pending_upstream LINEAGE_UNPROVEN - medium"
RULED_OUT = "not_applicable CSV_OVERRIDE - high"
WONT_FIX = "wont_fix DISTRO_WONT_FIX - high"
NEVER_AFFECTED = "not_applicable DISTRO_NOT_AFFECTED - high"

CASES = {
    # R0
    "a ruling beats every feed": case(
        ruling("not_applicable"), feed("1.0-1"), fixed_in("sid", "2.0-1"), nvd("Rejected"),
        expect=RULED_OUT,
    ),
    "a ruling may close as wont fix": case(
        ruling("wont_fix"), feed(), expect="wont_fix CSV_OVERRIDE - high",
    ),
    "a ruling may name a fix": case(
        ruling("fixed", "3.0-1"), feed("1.0-1"), expect="fixed CSV_OVERRIDE 3.0-1 high",
    ),
    "a ruling and the feed that was built from it are one witness": case(
        ruling("not_applicable", "1.0-1"), feed("1.0-1"), expect=RULED_OUT,
    ),
    "a ruling and the sentinel that was built from it are one witness": case(
        ruling("not_applicable"), feed("1"), expect=RULED_OUT,
    ),
    "a ruling without a package speaks for the pair": case(
        feed(), ruling("not_applicable", package_name=None), expect=RULED_OUT,
    ),
    "a ruling that names the package beats one that does not": case(
        feed(), ruling("wont_fix"), ruling("not_applicable", package_name=None),
        expect="wont_fix CSV_OVERRIDE - high",
    ),
    "words with braces are text": case(
        feed(), ruling("not_applicable", words="uses {placeholder} and {cve_id"), expect=RULED_OUT,
    ),
    "words with square brackets are text": case(
        feed(), ruling("wont_fix", words="see [detail] or [{version}]"),
        expect="wont_fix CSV_OVERRIDE - high",
    ),
    "an empty pair of braces is text": case(
        feed(), ruling("fixed", "2.0-1", words="{}"), expect="fixed CSV_OVERRIDE 2.0-1 high",
    ),
    "of equal rulings the last one wins": case(
        feed(), ruling("wont_fix"), ruling("not_applicable"), expect=RULED_OUT,
    ),
    "a ruling on what no feed lists is kept": case(ruling("not_applicable"), expect=RULED_OUT),
    # R1
    "a rejected id does not apply": case(
        feed(), nvd("Rejected"), fixed_in("sid", "2.0-1"),
        expect="not_applicable NVD_REJECTED - high",
    ),
    "a rejection beats the vendor's version with less confidence": case(
        feed("1.0-1"), nvd("Rejected"), expect="not_applicable NVD_REJECTED - medium",
    ),
    "a late change of a record beats the yearly file": case(
        feed(), nvd(score=5.0),
        nvd("Rejected", table="nvd_modified", modified=datetime(2026, 2, 1, tzinfo=UTC)),
        expect="not_applicable NVD_REJECTED - high",
    ),
    "an older record among the late changes does not count": case(
        feed(), nvd(score=5.0),
        nvd("Rejected", table="nvd_modified", modified=datetime(2019, 1, 1, tzinfo=UTC)),
        expect=PENDING,
    ),
    # R2
    "the vendor's version is taken as it is": case(
        feed("1:0.23.0+dfsg."), fixed_in("trixie", "1:0.24-1"), nvd(score=9.8),
        expect="fixed UPSTREAM_FIX 1:0.23.0+dfsg. medium",
    ),
    "the vendor's version is used although another lineage has a fix": case(
        feed("1.0-1"), fixed_in("bookworm", "1.0-1+deb12u2"),
        expect="fixed UPSTREAM_FIX 1.0-1 high",
    ),
    "the vendor below the distribution's own fix is less certain": case(
        feed("1.0-1~deb12u1"), fixed_in("bookworm", "1.0-1~deb12u2"),
        expect="fixed UPSTREAM_FIX 1.0-1~deb12u1 medium",
    ),
    "a rebuild is compared by its base and is of no distribution's lineage": case(
        feed("3.0.15-1~deb12u1-e1"), fixed_in("bookworm", "3.0.15-1~deb12u2"),
        expect="fixed UPSTREAM_FIX 3.0.15-1~deb12u1-e1 high",
    ),
    "a distribution's fix counts where the vendor names none": case(
        feed(), fixed_in("trixie", "2.0-1"), expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "an OSV fix counts where nobody else names one": case(
        feed(), osv("Debian:13", "2.0-1"), expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "plain Debian is sid": case(
        feed(), osv("Debian", "2.0-1"), expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "an OSV record of Debian has the id as part of its own": case(
        feed(), lambda package, cve: osv("Debian:12", "2.0-1", osv_id=f"DEBIAN-{cve}", upstream=[])(
            package, cve
        ), expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "of several fixes the smallest above what the vendor ships is taken": case(
        feed(), ships("1.5-1"), fixed_in("sid", "3.0-1"), fixed_in("trixie", "2.0-1"),
        fixed_in("bookworm", "1.0-1+deb12u1"), expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "of several fixes the newest release's is taken where the vendor ships none": case(
        feed(), fixed_in("trixie", "2.0-1"), fixed_in("bookworm", "1.0-1+deb12u1"),
        expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "of several fixes in a release the highest is taken": case(
        feed(), osv("Debian:13", "2.9-1"), osv("Debian:13", "2.10-1", osv_id="DLA-second"),
        expect="fixed UPSTREAM_FIX 2.10-1 medium",
    ),
    "a fix in any record closes the release": case(
        feed(), osv("Debian:13", "2.0-1"), osv("Debian:13", None, osv_id="DLA-second"),
        expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "a record that opens the release again above its fix fixes nothing": case(
        feed(), osv("Debian:13", "2.0-1"), osv("Debian:13", None, introduced="2.5-1"),
        expect=PENDING,
    ),
    "package names are compared in lower case": case(
        feed(), lambda package, cve: fixed_in("sid", "2.0-1")(package.upper(), cve),
        expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    # R3
    "a sentinel of the vendor is no version": case(
        feed("1"), expect="not_applicable VENDOR_NOT_AFFECTED - medium",
    ),
    "zero is a sentinel too, and beats a distribution's fix": case(
        feed("0"), fixed_in("sid", "2.0-1"), expect="not_applicable VENDOR_NOT_AFFECTED - medium",
    ),
    "never affected in the newest release listed is final": case(
        feed(), fixed_in("trixie", "0"), nvd(score=7.5), expect=NEVER_AFFECTED,
    ),
    "never affected is not final while a target release is open": case(
        feed(), fixed_in("trixie", "0"), open_in("bookworm"), expect=PENDING,
    ),
    "never affected in an older release than the newest listed is not final": case(
        feed(), open_in("trixie"), fixed_in("bookworm", "0"), expect=PENDING,
    ),
    # R4
    "ignored in every target release will not be fixed": case(
        feed(), open_in("trixie", nodsa_reason="ignored"),
        open_in("bookworm", urgency="end-of-life"), expect=WONT_FIX,
    ),
    "sid does not count among the releases that ignore": case(
        feed(), open_in("sid"), open_in("bookworm", nodsa_reason="ignored"), expect=WONT_FIX,
    ),
    "sid alone counts": case(feed(), open_in("sid", nodsa_reason="ignored"), expect=WONT_FIX),
    "postponed is not ignored": case(
        feed(), open_in("trixie", nodsa_reason="postponed"), expect=PENDING,
    ),
    "ignored in one of two target releases is open": case(
        feed(), open_in("trixie"), open_in("bookworm", nodsa_reason="ignored"), expect=PENDING,
    ),
    "ignored in a release that is no target is open": case(
        feed(), open_in("buster", nodsa_reason="ignored"), expect=PENDING,
    ),
    "never fixed beats a fix elsewhere": case(
        feed(), open_in("trixie", nodsa_reason="ignored"), fixed_in("buster", "1.0-1"),
        expect=WONT_FIX,
    ),
    # R6
    "a fix at or below what the vendor ships proves nothing": case(
        feed(), ships("2.0-1"), fixed_in("trixie", "2.0-1"), expect=UNPROVEN,
    ),
    "a fix above what the vendor ships is a fix": case(
        feed(), ships("1:1.9-1"), fixed_in("trixie", "1:1.10-1"),
        expect="fixed UPSTREAM_FIX 1:1.10-1 medium",
    ),
    "a fix proves nothing where the vendor ships a rebuild": case(
        feed(), ships("2.0-1+e1"), fixed_in("trixie", "3.0-1"), expect=UNPROVEN,
    ),
    "of equal versions the rebuild is the newer one": case(
        feed(), ships("2.0-1"), lambda package, cve: ships("2.0-1-e2")(package, cve + "1"),
        osv("Debian:13", "3.0-1"), expect=UNPROVEN,
    ),
    "a rebuild with a binary rebuild's tail is a rebuild": case(
        feed(), ships("2.0-1+e1+b1"), fixed_in("trixie", "3.0-1"), expect=UNPROVEN,
    ),
    "a rebuild for a release is a rebuild": case(
        feed(), ships("2.0-1+e1~deb12u1"), osv("Debian:13", "3.0-1"), expect=UNPROVEN,
    ),
    "a rebuild marked by a hyphen may have a tail too": case(
        feed(), ships("2.0-1-e3+b2"), fixed_in("sid", "3.0-1"), expect=UNPROVEN,
    ),
    "a mark inside the upstream version is none": case(
        feed(), ships("2.0+e1+dfsg-1"), fixed_in("trixie", "3.0-1"),
        expect="fixed UPSTREAM_FIX 3.0-1 medium",
    ),
    "a fix above a newer plain version is a fix although an older one was rebuilt": case(
        feed(), ships("2.0-1"), lambda package, cve: ships("1.0-1+e2")(package, cve + "1"),
        fixed_in("trixie", "3.0-1"), expect="fixed UPSTREAM_FIX 3.0-1 medium",
    ),
    "a fix under a newer open release is open": case(
        feed(), open_in("forky"), fixed_in("bookworm", "1.0-1"), expect=PENDING,
    ),
    "a fix above an older open release is a fix": case(
        feed(), fixed_in("sid", "2.0-1"), open_in("bookworm"),
        expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "a fix in an old release alone is awaited": case(
        feed(), fixed_in("bullseye", "1.0-1"), expect=PENDING,
    ),
    "a fix in an old release is awaited in one that no seed names": case(
        feed(), osv("Debian:99", "1.0-1"), expect=PENDING,
    ),
    "a score is an assessment": case(feed(), nvd(score=9.8), expect=PENDING),
    "a known exploited id is assessed": case(feed(), kev(), expect=PENDING),
    # R5
    "a listed id that nobody assessed is new": case(feed(), expect=NEW),
    "a listed id of last year is new": case(feed(), expect=NEW, year=2025),
    "an old id without assessment says so": case(
        feed(), expect="under_investigation NO_ASSESSMENT - low", year=2024,
    ),
    "an undetermined release says nothing": case(
        feed(), tracker("trixie", "undetermined"), expect=NEW,
    ),
    "a record without a score says nothing": case(feed(), nvd("Awaiting Analysis"), expect=NEW),
    "another package's fix is none": case(
        feed(), lambda package, cve: fixed_in("sid", "2.0-1")(f"{package}-other", cve), expect=NEW,
    ),
    "a limit that is blank ends no range": case(
        feed(), osv("Debian:13", "1.0-1"),
        osv("Debian:13", None, range_number=2, introduced="2.0-1", range_limit=""), expect=PENDING,
    ),
    "a limit that begins with a tilde ends no range": case(
        feed(), osv("Debian:13", "1.0-1"),
        osv("Debian:13", None, range_number=2, introduced="2.0-1", range_limit="~"),
        expect=PENDING,
    ),
    "a limit that is a word ends no range": case(
        feed(), osv("Debian:13", "1.0-1"),
        osv("Debian:13", None, range_number=2, introduced="2.0-1", range_limit="~none"),
        expect=PENDING,
    ),
    "an enumerated text that begins with a version is none": case(
        feed(), osv("Debian:13", "1.5-1", versions=["0.1 and all later ones"]), expect=NEW,
    ),
    "an enumerated list of versions in one text is none": case(
        feed(), osv("Debian:13", "1.5-1", versions=["0.9-1, 2.0-1"]), expect=NEW,
    ),
    "an enumerated range in one text is none": case(
        feed(), osv("Debian:13", "1.5-1", versions=["0.9-1..9.0-1"], affected_number=1),
        osv("Debian:13", None, affected_number=2, versions=["1<9"]), expect=NEW,
    ),
    "an open ecosystem in lower case is the same one": case(
        feed(), osv("Debian:12", "1.0-1"), osv("debian:13", None, affected_number=2),
        expect=PENDING,
    ),
    "an open ecosystem in upper case is the same one": case(
        feed(), osv("Debian:12", "1.0-1"), osv("DEBIAN", None, affected_number=2), expect=PENDING,
    ),
    "a fix in an ecosystem in upper case counts": case(
        feed(), osv("DEBIAN:13", "1.0-1"), expect="fixed UPSTREAM_FIX 1.0-1 medium",
    ),
    "an open release by its code name is the same one": case(
        feed(), osv("Debian:12", "1.0-1"), osv("Debian:trixie", None, affected_number=2),
        expect=PENDING,
    ),
    "an open rolling release by its code name is the same one": case(
        feed(), osv("Debian:12", "1.0-1"), osv("debian:Sid", None, affected_number=2),
        expect=PENDING,
    ),
    "a fix in a release by its code name counts": case(
        feed(), osv("Debian:bookworm", "1.0-1"), expect="fixed UPSTREAM_FIX 1.0-1 medium",
    ),
    "a package without an ecosystem could be of any release": case(
        feed(), osv("Debian:12", "1.0-1"), osv(None, None, affected_number=2), expect=NEW,
    ),
    "a fix without an ecosystem is none": case(feed(), osv(None, "1.0-1"), expect=NEW),
    "an enumerated version without an ecosystem could be of any release": case(
        feed(), osv("Debian:12", "1.0-1"),
        osv(None, None, affected_number=2, range_number=None, range_type=None, introduced=None,
            versions=["3.0-1"]), expect=NEW,
    ),
    "another ecosystem's fix is none": case(feed(), osv("PyPI", "2.0-1"), expect=NEW),
    "a related id is no identity": case(
        feed(), lambda package, cve: osv("Debian:13", "2.0-1", upstream=[], related=[cve])(
            package, cve
        ), expect=NEW,
    ),
    "a withdrawn record says nothing": case(
        feed(), osv("Debian:13", "2.0-1", withdrawn_at=LONG_AGO), expect=NEW,
    ),
    "a GIT range says nothing": case(
        feed(), osv("Debian:13", "2.0-1", range_type="GIT"), expect=NEW,
    ),
    "a last affected version is no fix": case(
        feed(), osv("Debian:13", None, last_affected="2.0-1"), expect=PENDING,
    ),
    "a record will be withdrawn": case(
        feed(), osv("Debian:13", None, withdrawn_at=datetime(2026, 3, 2, tzinfo=UTC)),
        expect=PENDING,
    ),
    "events are sorted by version": case(
        feed(), osv("Debian:13", "1.0-1", introduced="2.0-1"), osv("Debian:13", None),
        expect=PENDING,
    ),
    "a fix before its start in the file closes the range": case(
        feed(), osv("Debian:13", "2.10-1", introduced="2.9-1"),
        osv("Debian:13", "2.9-1", introduced="0"), expect="fixed UPSTREAM_FIX 2.10-1 medium",
    ),
    "a second range without a fix leaves the release open": case(
        feed(), osv("Debian:13", "2.0-1"), osv("Debian:13", None, range_number=2), expect=PENDING,
    ),
    "a branch affected above a fix leaves the release open": case(
        feed(), osv("Debian:13", "1.5-1"),
        osv("Debian:13", None, range_number=2, introduced="2.0-1", last_affected="2.4-1"),
        expect=PENDING,
    ),
    "a fix above the last affected version of a branch counts": case(
        feed(), osv("Debian:13", "2.5-1", introduced="2.0-1"),
        osv("Debian:13", None, affected_number=2, last_affected="1.4-1"),
        expect="fixed UPSTREAM_FIX 2.5-1 medium",
    ),
    "an enumerated version at the fix leaves the release open": case(
        feed(), osv("Debian:13", "1.5-1", versions=["1.0-1", "1.5-1"]), expect=PENDING,
    ),
    "enumerated versions below the fix change nothing": case(
        feed(), osv("Debian:13", "1:1.5-1", versions=["9.0-1", "1:1.4-1"]),
        expect="fixed UPSTREAM_FIX 1:1.5-1 medium",
    ),
    "an enumerated word takes the package's whole statement out": case(
        feed(), osv("Debian:13", "1:1.5-1", versions=["1:1.4-1", "all"]), expect=NEW,
    ),
    "never affected does not hold beside an enumerated word": case(
        feed(), osv("Debian:13", "0"), osv("Debian:14", None, versions=["unknown"]), expect=NEW,
    ),
    "a fix in 0 without a start says nothing": case(
        feed(), osv("Debian:13", "0", introduced=None), expect=NEW,
    ),
    "a fix of the tracker without a version leaves the release open": case(
        feed(), tracker("sid", "resolved"), fixed_in("bookworm", "1.0-1"), expect=PENDING,
    ),
    "never affected does not hold below a fix without a version": case(
        feed(), tracker("sid", "resolved"), fixed_in("trixie", "0"), expect=PENDING,
    ),
    "a status that the tracker never had counts as open": case(
        feed(), tracker("sid", "unknown"), fixed_in("bookworm", "1.0-1"), expect=PENDING,
    ),
    "an entry without a readable status leaves the release open": case(
        feed(), tracker("sid", None), fixed_in("bookworm", "1.0-1"), expect=PENDING,
    ),
    "a version without a readable status is no fix": case(
        feed(), tracker("sid", None, "2.0-1"), fixed_in("bookworm", "1.0-1"), expect=PENDING,
    ),
    "a sentinel without a readable status is not never affected": case(
        feed(), tracker("sid", None, "0"), expect=PENDING,
    ),
    "an exploited id without a readable date is exploited": case(
        feed(), kev(added=None), expect=PENDING,
    ),
    "a record without a readable status is not rejected": case(
        feed(), nvd(None, score=5.0), expect=PENDING,
    ),
    "a record without a readable status and score says nothing": case(
        feed(), nvd(None), expect=NEW,
    ),
    "a record without a readable time is older than any other": case(
        feed(), nvd("Rejected", modified=None), nvd(score=5.0, table="nvd_modified"),
        expect=PENDING,
    ),
    "a version 1 of the distribution is a version": case(
        feed(), fixed_in("sid", "1"), expect="fixed UPSTREAM_FIX 1 medium",
    ),
    "a sentinel of the vendor has many spellings": case(
        feed("0:01-0"), expect="not_applicable VENDOR_NOT_AFFECTED - medium",
    ),
    "enumerated versions alone are affected": case(
        feed(), osv("Debian:13", None, versions=["1.0-1"], range_number=None, range_type=None,
                    introduced=None), expect=PENDING,
    ),
    "a limit below another fix closes the branch": case(
        feed(), osv("Debian:13", "3.0-1", introduced="2.0-1"),
        osv("Debian:13", None, range_number=2, range_limit="2.0-1"),
        expect="fixed UPSTREAM_FIX 3.0-1 medium",
    ),
    "a limit above a fix leaves the release open": case(
        feed(), osv("Debian:13", "3.0-1"),
        osv("Debian:13", None, range_number=2, introduced="2.0-1", range_limit="4.0-1"),
        expect=PENDING,
    ),
    "an asterisk is no limit": case(
        feed(), osv("Debian:13", "3.0-1"),
        osv("Debian:13", None, range_number=2, introduced="2.0-1", range_limit="*"),
        expect=PENDING,
    ),
    "a GIT range takes the package's whole statement out": case(
        feed(), osv("Debian:13", "2.0-1"),
        osv("Debian:12", "1.0-1", affected_number=2, range_type="GIT"), expect=NEW,
    ),
    "a GIT range of another record changes nothing": case(
        feed(), osv("Debian:13", "2.0-1"),
        osv("Debian:13", None, osv_id="DLA-second", range_type="GIT"),
        expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "a range without a start is affected from the beginning": case(
        feed(), osv("Debian:13", "2.0-1", introduced=None),
        expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "a range without any version says nothing": case(
        feed(), osv("Debian:13", None, introduced=None), expect=NEW,
    ),
    "an event of another kind takes the whole statement out": case(
        feed(), osv("Debian:13", "2.0-1"),
        osv("Debian:13", None, introduced=None, unknown_event='{"patched": "1.2-1"}'), expect=NEW,
    ),
    "an event of another kind in another release takes the whole statement out": case(
        feed(), osv("Debian:13", "2.0-1"),
        osv("Debian:12", "1.0-1", affected_number=2),
        osv("Debian:12", None, affected_number=2, introduced=None, unknown_event="{}"), expect=NEW,
    ),
    "an event of another kind that also names a fix takes the statement out": case(
        feed(), osv("Debian:13", "2.0-1", unknown_event='{"fixed": "2.0-1", "x": 1}'), expect=NEW,
    ),
    "a range of an unknown type takes the whole statement out": case(
        feed(), osv("Debian:13", "2.0-1"),
        osv("Debian:13", "1.0-1", range_number=2, range_type="ROLLING"), expect=NEW,
    ),
    "a range without a type takes the whole statement out": case(
        feed(), osv("Debian:13", "2.0-1", range_type=None), expect=NEW,
    ),
    "a start that is a word takes the whole statement out": case(
        feed(), osv("Debian:13", "2.0-1", introduced=None, introduced_text="unknown"), expect=NEW,
    ),
    "a start that is a word, beside one that is a version, takes the statement out": case(
        feed(), osv("Debian:13", "1.0-1"),
        osv("Debian:13", "2.0-1", introduced=None, introduced_text="N/A"), expect=NEW,
    ),
    "an empty start takes the whole statement out": case(
        feed(), osv("Debian:13", "2.0-1", introduced=None, introduced_text=""), expect=NEW,
    ),
    "a start that is a word takes no other record out": case(
        feed(), osv("Debian:13", "2.0-1"),
        osv("Debian:13", "1.0-1", osv_id="DLA-second", introduced=None, introduced_text="N/A"),
        expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "a fix in version 0 of an OSV record is never affected": case(
        feed(), osv("Debian:13", "0"), expect=NEVER_AFFECTED,
    ),
    "a fix in version 0:0 of the tracker is never affected": case(
        feed(), fixed_in("sid", "0:0"), expect=NEVER_AFFECTED,
    ),
    "a sentinel may have an epoch": case(
        feed("0:0"), expect="not_applicable VENDOR_NOT_AFFECTED - medium",
    ),
    "a range that is fixed in version 0 and starts again is affected": case(
        feed(), osv("Debian:13", "0"), osv("Debian:13", None, introduced="2.0-1"), expect=PENDING,
    ),
    # Releases
    "the tracker speaks before the advisory made from it": case(
        feed(), open_in("trixie"), osv("Debian:13", "2.0-1"), expect=PENDING,
    ),
    "an OSV fix under a release that is open in the tracker is none": case(
        feed(), open_in("sid"), osv("Debian:12", "2.0-1"), expect=PENDING,
    ),
    "the tracker's fix under a release that is open in OSV is none": case(
        feed(), osv("Debian:14", None), fixed_in("bookworm", "2.0-1"), expect=PENDING,
    ),
    "an OSV fix above every release that is open in the tracker is a fix": case(
        feed(), open_in("bookworm"), osv("Debian:13", "2.0-1"),
        expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "the tracker's fix replaces that of OSV in its release": case(
        feed(), fixed_in("trixie", "2.0-1"), osv("Debian:13", "3.0-1"),
        expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
    "never affected is not final while OSV names an open release": case(
        feed(), fixed_in("sid", "0"), osv("Debian:13", None), expect=PENDING,
    ),
    "ignored releases are not all while OSV names another": case(
        feed(), open_in("bookworm", nodsa_reason="ignored"), osv("Debian:13", None),
        expect=PENDING,
    ),
    "an undetermined newest release makes never affected less certain": case(
        feed(), tracker("sid", "undetermined"), fixed_in("trixie", "0"),
        expect="not_applicable DISTRO_NOT_AFFECTED - medium",
    ),
    "an older undetermined release changes nothing": case(
        feed(), fixed_in("sid", "0"), tracker("trixie", "undetermined"), expect=NEVER_AFFECTED,
    ),
    "an undetermined release leaves the word to OSV": case(
        feed(), tracker("trixie", "undetermined"), osv("Debian:13", "2.0-1"),
        expect="fixed UPSTREAM_FIX 2.0-1 medium",
    ),
}  # fmt: skip
NAMES = {title: f"case{number}" for number, title in enumerate(CASES)}


def cve_of(title: str) -> str:
    return f"CVE-{CASES[title].year}-{1000 + list(CASES).index(title)}"
