"""Runs after small changes build the packages that changed, and publish what a full build would."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.large_sample import FEED
from support.sample_home import AS_OF, SampleHome
from support.second_runs import RULINGS

from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.replay import replay
from etl_assets.operations.run import run_domain
from etl_assets.publish.run_directory import read_manifest

TRACKER = "security-tracker.debian.org/tracker/data/json"
SCORES = "epss.empiricalsecurity.com/epss_scores-current.csv.gz"
BUILT = re.compile(r"built (\d+) of \d+ models for ([\d,]+) values? of package_key")
CSAF_LISTS = {"csaf/csaf-feed-tlp-white.json", "csaf/provider-metadata.json"}
# Seven of the site, three of the feed, five of the report; beside the marts, of which each that was
# built is one file.
MAX_FILES = 37


class Changes:
    """Changes of the sample's upstreams, each as random as its seed."""

    def __init__(self, sample: SampleHome, seed: int) -> None:
        self._sample, self._random = sample, random.Random(seed)
        self.all: list[Callable[[], None]] = [
            self.rule, self.rule_everywhere, self.fix, self.delist, self.list, self.respell,
        ]  # fmt: skip

    def play(self) -> str:
        change = self._random.choice(self.all)
        change()
        return change.__name__

    def rule(self) -> None:
        name, vulnerability = self._random_pair()
        self._sample.change(RULINGS, lambda text: f"{text}{vulnerability},{name},wont_fix,,minor\n")

    def rule_everywhere(self) -> None:
        _, vulnerability = self._random_pair()
        line = f"{vulnerability},,not_applicable,,code_not_in_use\n"
        self._sample.change(RULINGS, lambda text: text + line)

    def fix(self) -> None:
        def edit(tracker: dict[str, Any]) -> None:
            records = tracker[self._random.choice(sorted(tracker))]
            releases = records[self._random.choice(sorted(records))]["releases"]
            release = releases[self._random.choice(sorted(releases))]
            release |= {"status": "resolved", "fixed_version": f"{self._random.randrange(9)}.0-1"}

        self._edit_json(TRACKER, edit)

    def delist(self) -> None:
        name, vulnerability = self._random_pair()
        self._edit_json(FEED, lambda feed: feed[name].pop(vulnerability))

    def list(self) -> None:
        number = self._random.randrange(10_000)
        pair = {f"newcomer{number}": {"CVE-2024-900017": {"fixed_version": "1.0-1"}}}
        self._edit_json(FEED, lambda feed: feed.update(pair))

    def respell(self) -> None:
        name, _ = self._random_pair()
        self._edit_json(FEED, lambda feed: feed.update({name.swapcase(): feed.pop(name)}))

    def score(self) -> None:
        file = self._sample.mirror / SCORES
        text = gzip.decompress(file.read_bytes()).decode()
        comment, *lines = text.splitlines(keepends=True)
        rows = [*csv.reader(io.StringIO("".join(lines)))]
        changed = [rows[0], *([row[0], "0.99", row[2]] for row in rows[1:])]
        body = "".join(",".join(row) + "\n" for row in changed)
        file.write_bytes(gzip.compress((comment + body).encode()))

    def _random_pair(self) -> tuple[str, str]:
        feed = json.loads((self._sample.mirror / FEED).read_text("utf-8"))
        name = self._random.choice(sorted(name for name, ids in feed.items() if len(ids) > 1))
        return name, self._random.choice(sorted(feed[name]))

    def _edit_json(self, file: str, edit: Callable[[dict[str, Any]], object]) -> None:
        def edit_text(text: str) -> str:
            content = json.loads(text)
            edit(content)
            return json.dumps(content)

        self._sample.change(file, edit_text)


def run(sample: SampleHome, *, full: bool = False) -> tuple[int, int]:
    """Run the sample; return how many models were built for changed keys, and for how many."""
    lines: list[str] = []
    last = read_manifest(sample.latest).as_of
    options = RunOptions(full=full, accept_changes=True, as_of=last + timedelta(hours=1))
    with sample.session(echo=lines.append) as session:
        manifest = run_domain(session, options)
    assert manifest.status == "success", manifest.note
    found = BUILT.search("\n".join(lines))
    if manifest.published_set:  # the change has changed nothing
        return 0, 0
    assert found, lines
    return int(found[1]), int(found[2].replace(",", ""))


def written_files(directory: Path) -> set[str]:
    """The files of a run that are not links to files of earlier runs."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)) for path in files if path.stat().st_nlink == 1}


@pytest.mark.long
@pytest.mark.ci
def test_a_ruling_writes_and_builds_what_concerns_its_package(large_sample: SampleHome) -> None:
    ruling = "CVE-2026-000700,crowd07,not_applicable,,code_not_in_use\n"
    large_sample.change(RULINGS, lambda text: text + ruling)

    _, keys = run(large_sample)

    assert keys == 1
    written = written_files(large_sample.latest)
    documents = {name for name in written if not name.startswith("marts/")}
    assert len(documents) <= MAX_FILES
    csaf = {name for name in written if name.startswith("csaf/") and name.endswith(".json")}
    assert csaf == {"csaf/2026/echo-vex-crowd07.json", *CSAF_LISTS}
    assert large_sample.states()["crowd07:CVE-2026-000700"] == "not_applicable"


@pytest.mark.long
@pytest.mark.ci
def test_the_first_run_after_a_week_builds_everything(large_sample: SampleHome) -> None:
    ruling = "CVE-2026-000700,crowd07,not_applicable,,code_not_in_use\n"
    large_sample.change(RULINGS, lambda text: text + ruling)
    lines: list[str] = []

    with large_sample.session(echo=lines.append) as session:
        run_domain(session, RunOptions(as_of=AS_OF + timedelta(days=7)))

    built = [line for line in lines if "models" in line]
    assert len(built) == 2, lines
    assert "for 1 value of package_key" in built[0]
    assert re.search(r"building (\d+) of \1 models", built[1])


@pytest.mark.long
@pytest.mark.parametrize("as_requested", [True, False], ids=["--full", "after a week"])
def test_a_full_build_passes_where_only_times_of_sources_moved(
    large_sample: SampleHome, as_requested: bool
) -> None:
    (large_sample.mirror / FEED).touch()
    days = 1 if as_requested else 9

    manifest = large_sample.run(RunOptions(as_of=AS_OF + timedelta(days=days), full=as_requested))

    assert manifest.status is RunStatus.SUCCESS, manifest.note


@pytest.mark.long
def test_a_full_run_writes_changed_documents_whole(large_sample: SampleHome) -> None:
    ruling = "CVE-2026-000700,crowd07,not_applicable,,code_not_in_use\n"
    large_sample.change(RULINGS, lambda text: text + ruling)

    run(large_sample, full=True)

    assert {f"csaf/2026/echo-vex-crowd{n}.json" for n in ("07", "08")} <= written_files(
        large_sample.latest
    )


@pytest.mark.long
@pytest.mark.ci
def test_scores_build_no_decision_and_write_no_document_without_them(
    large_sample: SampleHome,
) -> None:
    Changes(large_sample, 1).score()

    models, keys = run(large_sample)

    assert (models, keys) == (6, 0)
    written = written_files(large_sample.latest)
    marts = {name for name in written if name.startswith("marts/")}
    assert marts == {
        f"marts/{name}.parquet"
        for name in (
            "mart_advisory_current",
            "mart_advisory_current_by_cve",
            "mart_advisory_unlisted",
            "mart_source_health",
        )
    }
    documents = {name for name in written if name.endswith((".json", ".zip")) and "/" not in name}
    assert documents == {"advisory_current.json", "manifest.json"}


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(s, marks=pytest.mark.long) for s in range(2, 12))]
)
def test_changes_one_after_the_other_end_in_the_rows_of_a_full_build(
    large_sample: SampleHome, seed: int
) -> None:
    changes, played = Changes(large_sample, seed), []
    for _ in range(4):
        played.append(changes.play())
        run(large_sample)
    played.append(changes.play())

    run(large_sample, full=True)  # fails if its rows differ

    with large_sample.project_session() as session:
        replayed = replay(session.project, f"advisories/{large_sample.latest.name}")
    assert replayed.is_equal, (played, replayed.different)


@pytest.mark.long
def test_a_wrong_key_is_found_by_a_full_build_and_mended_by_the_next_run(
    large_sample: SampleHome, repo_root: Path
) -> None:
    # Rulings for all packages have no key, and here no id either: their changes concern nobody.
    shutil.copytree(repo_root / "dbt_project", large_sample.folder / "dbt_project")
    staging = large_sample.folder / "dbt_project/models/advisories/staging/_staging.yml"
    text = staging.read_text("utf-8")
    staging.write_text(text.replace("{key: package_key, id: cve_id}", "{key: package_key}"))
    sample = SampleHome(large_sample.folder)
    first = sample.run()  # the project's code is another one now, so everything is built
    assert first.published, first.note
    before = sample.latest
    ruling = "CVE-2026-000700,,not_applicable,,code_not_in_use\n"
    sample.change(RULINGS, lambda text: text + ruling)

    failed = sample.run(RunOptions(full=True))

    assert not failed.published
    assert "int_advisories__decided: missing before: crowd07:CVE-2026-000700" in failed.note
    assert sample.latest == before
    mended = sample.run()
    assert mended.published, mended.note
    assert sample.states()["crowd07:CVE-2026-000700"] == "not_applicable"
