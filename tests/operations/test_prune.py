"""What `etl prune` removes, and what it leaves whatever its age."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.sample_home import DOMAIN, SampleHome

from etl_assets.declarations.domain import Domain, Retention
from etl_assets.defs import asset_keys, raw
from etl_assets.defs.context import ProjectSession
from etl_assets.ledger.manifest import DownloadRecord, Process, export_manifest
from etl_assets.model.records import Decision, FetchResult, FetchStatus, Part, RawFile, Reason
from etl_assets.model.run_manifest import MARTS
from etl_assets.operations import prune as operations_prune
from etl_assets.operations import rollback
from etl_assets.operations.store_results import Removed
from etl_assets.publish import run_directory
from etl_assets.storage.hashing import hash_file

SOURCE = "kev"
PART = Part(source=f"{DOMAIN}.{SOURCE}")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def keeping(sample: SampleHome, **bounds: int) -> Domain:
    return sample.domain.model_copy(update={"retention": Retention(**bounds)})


@pytest.fixture
def session(tmp_path: Path) -> Iterator[ProjectSession]:
    """An empty home whose domain keeps two versions and one run."""
    empty = SampleHome(tmp_path)
    with empty.project_session(keeping(empty, versions=2, days=90, keep_runs=1)) as found:
        yield found


def fetched(session: ProjectSession, text: str, days_ago: int = 0) -> RawFile:
    """A file of the source that was fetched so long ago, with its event."""
    path = store(session, text)
    file = RawFile(
        part=PART, sha256=path.name, size_bytes=len(text),
        path=session.project.home.relative(path), url="https://kev.example/kev.json",
        fetched_at=NOW - timedelta(days=days_ago), code_version="1",
    )  # fmt: skip
    decision = Decision(part=PART, fetch=True, reason=Reason.ETAG_CHANGED)
    fetch = FetchResult(part=PART, status=FetchStatus.FETCHED, decision=decision, file=file)
    source = session.project.domains[DOMAIN].sources[SOURCE]
    session.event_log.report_outcome(asset_keys.raw_key(source), None, raw.raw_outcome(fetch))
    return file


def store(session: ProjectSession, text: str) -> Path:
    path = session.project.home.raw_file(hashlib.sha256(text.encode()).hexdigest())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def prune(session: ProjectSession, *, dry_run: bool = False) -> list[Removed]:
    return operations_prune.prune(session, [DOMAIN], now=NOW, dry_run=dry_run)


def paths(removed: list[Removed]) -> list[str]:
    return [each.path for each in removed]


def test_versions_beyond_the_count_go_with_their_bytes_told(session: ProjectSession) -> None:
    first, second, third = (fetched(session, text) for text in ("one", "second", "third"))

    [removed] = prune(session)

    home = session.project.home
    assert (removed.path, removed.size_bytes) == (first.path, 3)
    assert removed.why == f"{PART}: beyond 2 versions"
    assert not (home.root / first.path).exists()
    assert all((home.root / file.path).exists() for file in (second, third))


def test_a_dry_run_tells_the_same_and_removes_nothing(session: ProjectSession) -> None:
    for text in ("one", "second", "third"):
        fetched(session, text)

    told = prune(session, dry_run=True)

    assert all((session.project.home.root / each.path).exists() for each in told)
    assert told == prune(session)


def test_a_version_that_was_replaced_long_ago_goes(session: ProjectSession) -> None:
    old = fetched(session, "old", 300)
    fetched(session, "new", 100)

    assert [each.why for each in prune(session)] == [f"{PART}: replaced 100 days ago"]
    assert not (session.project.home.root / old.path).exists()


def test_a_pinned_version_and_what_stood_before_it_stay(session: ProjectSession) -> None:
    oldest = fetched(session, "oldest")
    for text in ("second", "third", "newest"):
        fetched(session, text)
    source = session.project.domains[DOMAIN].sources[SOURCE]
    rollback.rollback(
        session.for_domain(DOMAIN), source, PART,
        to=oldest.sha256, by="robin", why="it was right", at=NOW,
    )  # fmt: skip

    [removed] = prune(session)

    assert removed.path.endswith(hashlib.sha256(b"second").hexdigest())


def test_a_version_that_an_exported_ledger_names_stays(session: ProjectSession) -> None:
    file, home = fetched(session, "first"), session.project.home
    other = file.model_copy(update={"part": Part(source="another.list")})
    record = DownloadRecord(file=other)
    export_manifest(home, "another", Process.DOWNLOAD, [record], etl_version="1", at=NOW)
    for text in ("second", "third"):
        fetched(session, text)

    assert prune(session) == []


@pytest.mark.parametrize(("days", "gone"), [(89, False), (90, True)])
def test_a_file_that_nothing_names_goes_when_it_is_old(
    session: ProjectSession, days: int, gone: bool
) -> None:
    stray = store(session, "stray")
    then = (NOW - timedelta(days=days)).timestamp()
    os.utime(stray, (then, then))

    prune(session)

    assert stray.exists() is not gone


def test_a_version_that_the_manifest_of_a_kept_run_names_stays(second_sample: SampleHome) -> None:
    rulings = f"{DOMAIN}.overrides"
    runs = list(run_directory.list_runs(second_sample.home, DOMAIN))
    manifests = [run_directory.read_manifest(path) for path in runs]
    [first] = [s.sha256 for s in manifests[-1].sources if str(s.source) == rulings]

    with second_sample.project_session(keeping(second_sample, versions=1, days=1)) as session:
        removed = prune(session)

    assert removed == []
    assert second_sample.home.raw_file(first or "").exists()


def test_of_old_runs_only_the_base_of_the_kept_history_stays(sample: SampleHome) -> None:
    first, second, third = sample.latest, *(_repeat(sample, n) for n in (1, 2))
    kept = hash_file(third / MARTS / f"{sample.domain.history}.parquet")
    _say_history(third, kept)

    with sample.project_session(keeping(sample, keep_runs=1)) as session:
        removed = prune(session)

    assert paths(removed) == [sample.home.relative(p) for p in (first, second)]
    assert sample.latest == third


def test_a_run_that_a_kept_run_started_from_stays(sample: SampleHome) -> None:
    first = sample.latest
    second, third = (_repeat(sample, number) for number in (1, 2))
    for later in (second, third):
        file = later / MARTS / f"{sample.domain.history}.parquet"
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data + b" ")
    _say_history(third, hash_file(first / MARTS / f"{sample.domain.history}.parquet"))

    with sample.project_session(keeping(sample, keep_runs=1)) as session:
        removed = prune(session)

    assert paths(removed) == [sample.home.relative(second)]
    assert first.exists()


def test_a_shared_file_of_a_run_frees_nothing_while_another_links_it(sample: SampleHome) -> None:
    first = sample.latest
    _repeat(sample, 1)
    own = {"manifest.json", "run_report.md", "run_report.html", run_directory.SUMS_FILE}

    with sample.project_session(keeping(sample, keep_runs=1)) as session:
        [removed] = prune(session, dry_run=True)

    expected = sum((first / name).stat().st_size for name in own if (first / name).exists())
    assert removed.path == sample.home.relative(first)
    assert removed.size_bytes == expected


def _repeat(sample: SampleHome, number: int) -> Path:
    """A later run in which nothing moved, published as the newest."""
    started_at = datetime(2099, 1, number, tzinfo=UTC)
    directory = run_directory.create(sample.home, DOMAIN, started_at)
    before = sample.latest
    own = {"manifest.json", "run_report.md", "run_report.html", run_directory.SUMS_FILE}
    files = [file for file in run_directory.list_files(before) if file not in own]
    run_directory.link_unchanged(before, directory, files)
    run_directory.write_manifest(directory, run_directory.read_manifest(before))
    run_directory.publish(sample.home, DOMAIN, directory)
    return directory


def _say_history(directory: Path, sha256: str) -> None:
    manifest = run_directory.read_manifest(directory)
    run_directory.write_manifest(directory, manifest.model_copy(update={"history_sha256": sha256}))
