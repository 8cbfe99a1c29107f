"""Fault drills: the command runs on a faulty upstream or on faulty code.

A fault that a download or a table refuses leaves the published content; one that reaches the
candidate is refused by the gate. What each limit counts is in test_publish.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.large_sample import FEED, keep_one_package, remove_fixes
from support.sample_home import DOMAIN, SampleHome

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.publish import run_directory, set_index

pytestmark = pytest.mark.long

OSV = "osv-vulnerabilities.storage.googleapis.com/Debian/all.zip"
UNFIXED = "CVE-2026-000000"
MODELS = "models/advisories"


class Drill:
    """A copy of a published home, with declarations and SQL of its own that may be spoiled."""

    def __init__(self, large_sample: SampleHome) -> None:
        self.crowd = large_sample
        settings = large_sample.settings
        self.domains = Path(shutil.copytree(settings.domains_dir, large_sample.folder / "domains"))
        self.dbt = Path(shutil.copytree(settings.dbt_dir, large_sample.folder / "dbt_project"))
        self._settings = settings.model_copy(
            update={"domains_dir": self.domains, "dbt_dir": self.dbt}
        )

    def run(self) -> tuple[int, str]:
        """Return the exit code and the output."""
        done = subprocess.run(
            [sys.executable, "-m", "etl_assets.cli.main", "run", DOMAIN],
            env=self._settings.child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def newest(self) -> tuple[Path, RunManifest]:
        directory = next(run_directory.list_runs(self.crowd.home, DOMAIN))
        return directory, run_directory.read_manifest(directory)

    def content(self) -> dict[str, str]:
        """The digest of each published document."""
        latest = self.crowd.latest
        files = set_index.read_index(latest, run_directory.read_manifest(latest))
        return {file.file: file.sha256 for file in files if file.document}


@pytest.fixture
def drill(large_sample: SampleHome) -> Drill:
    return Drill(large_sample)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file}: {text.count(old)} times {old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def a_page_in_its_place(drill: Drill) -> None:
    drill.crowd.change(FEED, lambda _: "<!doctype html><title>Sign in</title>")


def cut_to_one_package(drill: Drill) -> None:
    drill.crowd.change(FEED, keep_one_package)


def cut_with_its_limit_off(drill: Drill) -> None:
    cut_to_one_package(drill)
    declared = drill.domains / DOMAIN / "echo.yaml"
    replace(declared, "freshness:", "limits:\n  max_shrink_pct: 100\nfreshness:")


def six_percent_flipped(drill: Drill) -> None:
    drill.crowd.change(FEED, remove_fixes(120))


def not_applicable_written_as_one(drill: Drill) -> None:
    feed = drill.dbt / MODELS / "documents" / "doc_advisories__scanner_feed.sql"
    replace(feed, "'not_applicable' then '0'", "'not_applicable' then '1'")


def a_version_of_the_distribution_in_another_ecosystem(drill: Drill) -> None:
    """The record comes in, and the two places that would set it aside do so no longer."""
    rows = drill.dbt / MODELS / "intermediate" / "int_advisories__upstream_rows.sql"
    replace(rows, "        and split_part(ecosystem, ':', 1) = 'Debian'\n", "")
    replace(rows, "coalesce(releases.release, osv.ecosystem)", "coalesce(releases.release, 'sid')")
    span = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0-1+deb13u1"}]}
    record = {
        "id": "GARDEN-2026-1",
        "modified": "2026-02-01T00:00:00Z",
        "aliases": [UNFIXED],
        "affected": [{"package": {"ecosystem": "PyPI", "name": "crowd00"}, "ranges": [span]}],
    }
    with zipfile.ZipFile(drill.crowd.mirror / OSV, "a") as archive:
        archive.writestr("GARDEN-2026-1.json", json.dumps(record))


def a_document_that_lost_an_advisory(drill: Drill) -> None:
    document = drill.dbt / MODELS / "documents" / "doc_advisories__openvex.sql"
    lost = f"where (package_name, vulnerability_id) != ('crowd00', '{UNFIXED}')"
    replace(document, "select * from openvex\n", f"select * from openvex\n{lost}\n")


@pytest.mark.parametrize("spoil", [cut_to_one_package, a_page_in_its_place])
def test_a_bad_file_is_served_from_the_last_good_one_and_the_content_stays(
    spoil, drill: Drill
) -> None:
    states, content = drill.crowd.states(), drill.content()
    spoil(drill)

    code, _ = drill.run()

    _, manifest = drill.newest()
    assert code == 0
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert "advisories.echo" in manifest.note
    assert (drill.crowd.states(), drill.content()) == (states, content)


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (cut_with_its_limit_off, "mart_advisory_current_vanished"),
        (six_percent_flipped, "mart_advisory_current_flipped"),
        (not_applicable_written_as_one, "scanner_feed_says_zero_for_not_applicable"),
        (
            a_version_of_the_distribution_in_another_ecosystem,
            "upstream_fixes_fit_the_distribution",
        ),
        (a_document_that_lost_an_advisory, "openvex_loses_no_advisory"),
    ],
)
def test_a_bad_candidate_is_refused_and_stays_where_it_is(spoil, check: str, drill: Drill) -> None:
    before, content = drill.crowd.latest, drill.content()
    spoil(drill)

    code, said = drill.run()

    directory, manifest = drill.newest()
    assert code == 1, said
    assert check in said, said
    assert manifest.status is RunStatus.FAILED
    assert not manifest.published
    assert (drill.crowd.latest, drill.content()) == (before, content)
    assert directory != before
    assert check in (directory / "run_report.md").read_text(encoding="utf-8")
    assert (directory / "run_report.html").exists()
