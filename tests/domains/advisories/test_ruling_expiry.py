"""Rulings that end at a time of their own, and who made them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.sample_home import AS_OF, SampleHome
from support.second_runs import RULINGS

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions

HEADER = "cve_id,package,status,fixed_version,internal_status,expires_at,ruled_by\n"
OPEN = "pebble:CVE-2026-900043"
UNLISTED = "gneiss:CVE-2026-900099"
DAY = timedelta(days=1)


def rule(sample: SampleHome, *lines: str) -> None:
    """Write a file of rulings that has the columns for their end and their author."""
    sample.change(RULINGS, lambda _: HEADER + "".join(f"{line}\n" for line in lines))


def run(sample: SampleHome, at: datetime) -> RunManifest:
    manifest = sample.run(RunOptions(as_of=at, accept_changes=True))
    assert manifest.status is RunStatus.SUCCESS, manifest.note
    return manifest


def warned(manifest: RunManifest) -> set[str]:
    """The failed checks of rulings."""
    return {
        check.name
        for check in manifest.checks
        if not check.passed and check.name.startswith("rulings_")
    }


def causes(sample: SampleHome, at: datetime) -> Iterator[tuple[str, str, str]]:
    for row in sample.rows("mart_advisory_transitions"):
        if row["changed_at"] == at:
            yield row["advisory_id"], row["cause"], row["cause_record"]


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return SampleHome.create(tmp_path)


@pytest.mark.long
@pytest.mark.ci
def test_a_ruling_decides_until_it_expires(sample: SampleHome) -> None:
    ends_at = AS_OF + 40 * DAY
    rule(sample, f"CVE-2026-900043,pebble,not_applicable,,unused,{ends_at.isoformat()},Ada")
    first = run(sample, AS_OF)
    unwarned = warned(first)
    ruled = sample.states()[OPEN]

    last_day = run(sample, ends_at - timedelta(seconds=1))
    state_then = sample.states()[OPEN]
    after = run(sample, ends_at)

    assert (ruled, state_then) == ("not_applicable", "not_applicable")
    assert sample.states()[OPEN] == "under_investigation"
    assert [*causes(sample, ends_at)] == [(OPEN, "ruling_expired", "CVE-2026-900043:pebble")]
    # The warning comes before the end although no input moved, and another one stays after it.
    assert (unwarned, warned(last_day), warned(after)) == (
        set(),
        {"rulings_do_not_end_soon"},
        {"rulings_are_in_force"},
    )


@pytest.mark.long
def test_a_date_is_its_start_and_a_renewed_ruling_goes_on(sample: SampleHome) -> None:
    end = (AS_OF + 2 * DAY).date()
    rule(sample, f"CVE-2026-900043,pebble,wont_fix,,minor,{end},Ada")
    run(sample, AS_OF)
    rule(sample, f"CVE-2026-900043,pebble,wont_fix,,minor,{end + 90 * DAY},Ada")
    run(sample, AS_OF + DAY)
    renewed = run(sample, AS_OF + 3 * DAY)

    assert sample.states()[OPEN] == "wont_fix"
    assert warned(renewed) == set()
    assert [*causes(sample, AS_OF + 3 * DAY)] == []


@pytest.mark.long
def test_an_expired_ruling_counts_no_more_than_a_deleted_one(sample: SampleHome) -> None:
    ends_at = AS_OF + DAY
    rule(
        sample,
        f"CVE-2026-900099,gneiss,wont_fix,,minor,{ends_at.isoformat()},",
        "CVE-2026-900043,pebble,not_applicable,,unused,2020-01-01,",
        "CVE-2026-900043,,wont_fix,,minor,,",
    )
    run(sample, AS_OF)
    listed = sample.states()

    run(sample, ends_at)

    # Of two rulings the one for the package counts first, unless it has expired.
    assert (listed[UNLISTED], listed[OPEN]) == ("wont_fix", "wont_fix")
    assert UNLISTED not in sample.states()


@pytest.mark.long
@pytest.mark.parametrize("name", ["pebble", "Pebble", ""])
def test_an_expired_ruling_hides_no_other_one_of_the_pair(sample: SampleHome, name: str) -> None:
    rule(
        sample,
        f"CVE-2026-900043,{name},wont_fix,,minor,,Ada",
        "CVE-2026-900043,pebble,not_applicable,,unused,2026-03-05,Bo",
    )
    run(sample, AS_OF)
    before = sample.states()[OPEN]

    run(sample, AS_OF + 9 * DAY)

    assert (before, sample.states()[OPEN]) == ("not_applicable", "wont_fix")


@pytest.mark.long
def test_a_keyed_build_knows_expired_rulings(sample: SampleHome) -> None:
    expired = "CVE-2026-900043,pebble,not_applicable,,unused,2020-01-01,"
    rule(sample, "CVE-2026-900043,pebble,not_applicable,,unused,,")
    run(sample, AS_OF)
    rule(sample, expired)
    run(sample, AS_OF + DAY)
    keyed = sample.states()

    full = sample.run(RunOptions(as_of=AS_OF + 2 * DAY, full=True, accept_changes=True))

    assert full.status is RunStatus.SUCCESS, full.note
    assert keyed[OPEN] == "under_investigation"
    assert sample.states() == keyed


@pytest.mark.long
@pytest.mark.parametrize(
    ("ruling", "is_warned"),
    [
        ("fixed,0.24.0-1,backport", True),
        ("wont_fix,,minor", True),
        ("fixed,1:0.24.0-1,backport", False),
        ("not_applicable,,unused", False),
    ],
)
def test_a_ruling_is_warned_of_that_an_upstream_fix_contradicts(
    sample: SampleHome, ruling: str, is_warned: bool
) -> None:
    rule(sample, f"CVE-2024-900049,zephyr,{ruling},,Ada")

    manifest = run(sample, AS_OF)

    assert ("rulings_fit_upstream_fixes" in warned(manifest)) == is_warned


@pytest.mark.long
def test_a_claim_names_the_author_and_the_end_of_its_record(sample: SampleHome) -> None:
    rule(sample, "CVE-2026-900043,pebble,wont_fix,,minor,2030-01-01T06:00:00+02:00,Ada L.")

    run(sample, AS_OF)

    claims = [row for row in sample.rows("mart_advisory_claims") if row["advisory_id"] == OPEN]
    assert [(row["author"], str(row["valid_until"])) for row in claims if row["author"]] == [
        ("Ada L.", "2030-01-01 04:00:00+00:00")
    ]


@pytest.mark.parametrize(
    ("end", "author", "shown"),
    [
        ("2026-05-01", "Ada", "unused, ruled by Ada, until 2026-05-01 00:00 UTC"),
        ("2026-05-01T10:30:00+02:00", "<b>Bo</b>", "&lt;b&gt;Bo&lt;/b&gt;, until 2026-05-01 08:30"),
        ("", "Cy", "unused, ruled by Cy"),
        ("2026-05-01", "", "unused, until 2026-05-01 00:00 UTC"),
    ],
)
@pytest.mark.long
def test_the_page_of_a_package_shows_who_ruled_and_until_when(
    sample: SampleHome, end: str, author: str, shown: str
) -> None:
    rule(sample, f"CVE-2026-900043,pebble,not_applicable,,unused,{end},{author}")

    run(sample, AS_OF)

    page = (sample.latest / "site/packages/pebble.html").read_text(encoding="utf-8")
    assert shown in page


@pytest.mark.fault("lost-column")
@pytest.mark.long
def test_rulings_that_lose_the_column_of_their_end_are_warned_of(sample: SampleHome) -> None:
    rule(sample, "CVE-2026-900043,pebble,wont_fix,,minor,2026-03-05,Ada")
    first = run(sample, AS_OF)
    old_header = HEADER.replace(",expires_at,ruled_by", "")
    line = "CVE-2026-900043,pebble,wont_fix,,minor\n"
    sample.change(RULINGS, lambda _: old_header + line)

    manifest = run(sample, AS_OF + 10 * DAY)

    checks = {
        check.description
        for each in (first, manifest)
        for check in each.checks
        if check.name == "contract" and not check.passed and "overrides" in check.asset
    }
    [warning] = [each for each in checks if "optional columns" in each]
    assert "found no expires_at, no ruled_by" in warning
    assert sample.states()[OPEN] == "wont_fix"
