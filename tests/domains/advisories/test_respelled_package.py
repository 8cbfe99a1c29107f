"""A package that is spelled differently in the next run is the same package everywhere."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.large_sample import FEED, add_large_feed
from support.sample_home import AS_OF, SampleHome

from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions

RULINGS = "analyst/advisory-not-applicable.csv"
LATER = AS_OF + timedelta(days=1)

pytestmark = pytest.mark.long


def rename(old: str, new: str) -> Callable[[str], str]:
    """Return an edit of the feed that renames a package."""

    def edit(text: str) -> str:
        feed: dict[str, Any] = json.loads(text)
        return json.dumps({new if name == old else name: ids for name, ids in feed.items()})

    return edit


def history(sample: SampleHome, package: str) -> list[tuple[Any, ...]]:
    return sorted(
        (row["package_name"], row["cve_id"], row["state"], row["effective_from"], row["is_current"])
        for row in sample.rows("mart_advisory_state_history")
        if row["package_name"].lower() == package.lower()
    )


def run(sample: SampleHome, at: Any) -> Mapping[str, str]:
    manifest = sample.run(RunOptions(as_of=at))
    assert manifest.published, manifest.note
    assert manifest.status is RunStatus.SUCCESS, manifest.note
    return sample.states()


@pytest.fixture
def large(tmp_path: Path) -> SampleHome:
    """A home with packages that are large enough for the gate to miss one."""
    sample = SampleHome.create(tmp_path)
    sample.change(FEED, add_large_feed)
    run(sample, AS_OF)
    return sample


@pytest.mark.fault("respelled-package")
@pytest.mark.parametrize("spelling", ["Crowd07", "CROWD07", "cRoWd07"])
def test_a_large_package_is_respelled_and_nothing_vanishes(
    large: SampleHome, spelling: str
) -> None:
    before, periods = large.states(), history(large, "crowd07")
    large.change(FEED, rename("crowd07", spelling))

    after = run(large, LATER)

    assert after == {key.replace("crowd07:", f"{spelling}:"): s for key, s in before.items()}
    assert history(large, spelling) == sorted((spelling, *rest) for _, *rest in periods)
    assert [
        row for row in large.rows("mart_advisory_transitions") if row["changed_at"] == LATER
    ] == []
    assert json.loads((large.latest / "changes.json").read_bytes())["changes"] == []


@pytest.mark.fault("respelled-package")
def test_history_goes_on_over_two_spellings(sample: SampleHome) -> None:
    sample.change(FEED, rename("garnet", "Garnet"))
    run(sample, LATER)
    sample.change(FEED, rename("Garnet", "GARNET"))
    # The same run changes one state, which is a change of the one advisory.
    sample.change(FEED, lambda text: text.replace('"2.4.1-2"', '"2.4.1-3"'))

    states = run(sample, LATER + timedelta(days=1))

    changed = [r for r in sample.rows("mart_advisory_transitions") if r["changed_at"] > LATER]
    assert [(row["advisory_id"], row["kind"]) for row in changed] == [
        ("GARNET:CVE-2024-900046", "detail")
    ]
    assert {name for name in states if name.lower().startswith("garnet:")} == {
        name for name in states if name.startswith("GARNET:")
    }


@pytest.mark.fault("respelled-package")
def test_a_ruling_in_another_spelling_applies_and_is_shown_in_that_of_the_feed(
    sample: SampleHome,
) -> None:
    before = sample.states()
    sample.change(RULINGS, lambda text: text.replace(",pebble,", ",PEBBLE,"))

    assert run(sample, LATER) == before


@pytest.mark.fault("respelled-package")
def test_two_spellings_in_one_feed_are_one_package_under_the_last(sample: SampleHome) -> None:
    """Of a pair that is listed in both, the last entry counts, and a check names the pair."""

    def add_spelling(text: str) -> str:
        feed = json.loads(text)
        feed["Garnet"] = {"CVE-2024-900046": {"fixed_version": "2.4.1-9"}}
        return json.dumps(feed)

    before = sample.states()
    sample.change(FEED, add_spelling)

    states = run(sample, LATER)

    assert {name.lower() for name in states} == {name.lower() for name in before}
    [row] = [r for r in sample.rows("mart_advisory_current") if r["cve_id"] == "CVE-2024-900046"]
    assert (row["advisory_id"], row["fixed_version"]) == ("Garnet:CVE-2024-900046", "2.4.1-9")
    check = "packages_have_one_spelling"
    assert "garnet" in sample.check_description("stg_echo", check).lower()


@pytest.mark.fault("folded-names", "respelled-package")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("ΟΔΟΣ", "οδος", id="final sigma"),
        pytest.param("straße", "STRASSE", id="sharp s"),
        pytest.param("İZMİR", "izmir", id="Turkish i"),
    ],
)
def test_a_name_whose_letters_have_several_forms_is_one_package(
    sample: SampleHome, old: str, new: str
) -> None:
    sample.change(FEED, rename("garnet", old))
    before = run(sample, LATER)
    sample.change(FEED, rename(old, new))

    after = run(sample, LATER + timedelta(days=1))

    renamed = {name.replace(f"{old}:", f"{new}:"): state for name, state in before.items()}
    periods = [row for row in sample.rows("mart_advisory_state_history") if row["is_current"]]
    assert after == renamed
    assert any(name.startswith(f"{new}:") for name in after)
    assert len(periods) == len(after)
    assert [r for r in sample.rows("mart_advisory_transitions") if r["changed_at"] > LATER] == []


@pytest.mark.fault("respelled-package")
def test_a_record_is_modified_when_its_package_is_respelled(sample: SampleHome) -> None:
    records = [modified(sample)]
    for days, (old, new) in enumerate([("garnet", "Garnet"), ("Garnet", "GARNET")], start=1):
        sample.change(FEED, rename(old, new))
        run(sample, AS_OF + timedelta(days=days))
        records.append(modified(sample))
    # A run that changes another package keeps the time.
    sample.change(RULINGS, lambda text: f"{text}CVE-2026-900043,pebble,wont_fix,,minor\n")
    run(sample, AS_OF + timedelta(days=3))
    records.append(modified(sample))

    assert records[1:] == [
        ("Garnet", "2026-03-02T12:00:00Z"),
        ("GARNET", "2026-03-03T12:00:00Z"),
        ("GARNET", "2026-03-03T12:00:00Z"),
    ]
    assert records[0] == ("garnet", "2026-03-01T12:00:00Z")


def modified(sample: SampleHome) -> tuple[str, str]:
    """The spelling of garnet in a record of OSV, and the time of the record."""
    with zipfile.ZipFile(sample.latest / "osv/all.zip") as archive:
        record = json.loads(archive.read("ECHO-CVE-2024-900046.json"))
    [affected] = record["affected"]
    return affected["package"]["name"], record["modified"]
