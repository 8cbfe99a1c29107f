"""`etl prune` removes what retention does not keep, and nothing that is still needed."""

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
from etl_assets.defs.retention.old_files import list_old_runs
from etl_assets.defs.retention.raw_versions import list_old_versions
from etl_assets.ledger.manifest import DownloadRecord, Process, export_manifest
from etl_assets.model.records import Decision, FetchResult, FetchStatus, Part, RawFile, Reason
from etl_assets.model.run_manifest import MARTS
from etl_assets.operations import prune as operations_prune
from etl_assets.operations import rollback
from etl_assets.operations.prune import Removed
from etl_assets.publish import run_directory
from etl_assets.report.gather import RUN_FILES
from etl_assets.storage.hashing import hash_file

SOURCE = "kev"
PART = Part(source=f"{DOMAIN}.{SOURCE}")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def with_retention(sample: SampleHome, **bounds: int) -> Domain:
    return sample.domain.model_copy(update={"retention": Retention(**bounds)})


@pytest.fixture
def session(tmp_path: Path) -> Iterator[ProjectSession]:
    """Open an empty home whose domain keeps two versions and one run."""
    empty = SampleHome(tmp_path)
    with empty.project_session(
        with_retention(empty, versions=2, days=90, keep_runs=1)
    ) as project_session:
        yield project_session


def record_fetch(session: ProjectSession, text: str, days_ago: int = 0) -> RawFile:
    """Store a file of the source, and record its fetch `days_ago`."""
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


def test_versions_beyond_the_number_are_removed_and_their_bytes_counted(
    session: ProjectSession,
) -> None:
    first, second, third = (record_fetch(session, text) for text in ("one", "second", "third"))

    [removed] = prune(session)

    home = session.project.home
    assert (removed.path, removed.size_bytes) == (first.path, 3)
    assert removed.why == f"{PART}: beyond 2 versions"
    assert not (home.root / first.path).exists()
    assert all((home.root / file.path).exists() for file in (second, third))


def test_a_dry_run_returns_the_same_and_removes_nothing(session: ProjectSession) -> None:
    for text in ("one", "second", "third"):
        record_fetch(session, text)

    removed = prune(session, dry_run=True)

    assert all((session.project.home.root / each.path).exists() for each in removed)
    assert removed == prune(session)


def test_a_version_that_was_replaced_long_ago_is_removed(session: ProjectSession) -> None:
    old = record_fetch(session, "old", 300)
    record_fetch(session, "new", 100)

    assert [each.why for each in prune(session)] == [f"{PART}: replaced 100 days ago"]
    assert not (session.project.home.root / old.path).exists()


def test_a_pinned_version_and_the_one_before_it_are_kept(session: ProjectSession) -> None:
    oldest = record_fetch(session, "oldest")
    for text in ("second", "third", "newest"):
        record_fetch(session, text)
    source = session.project.domains[DOMAIN].sources[SOURCE]
    rollback.rollback(
        session.for_domain(DOMAIN), source, PART,
        to=oldest.sha256, by="robin", why="it was right", at=NOW,
    )  # fmt: skip

    [removed] = prune(session)

    assert removed.path.endswith(hashlib.sha256(b"second").hexdigest())


def test_a_version_that_an_exported_ledger_lists_is_kept(session: ProjectSession) -> None:
    file, home = record_fetch(session, "first"), session.project.home
    other = file.model_copy(update={"part": Part(source="another.list")})
    record = DownloadRecord(file=other)
    export_manifest(home, "another", Process.DOWNLOAD, [record], etl_version="1", at=NOW)
    for text in ("second", "third"):
        record_fetch(session, text)

    assert prune(session) == []


@pytest.mark.parametrize(("days", "is_removed"), [(89, False), (90, True)])
def test_a_file_that_nothing_lists_is_removed_once_it_is_old(
    session: ProjectSession, days: int, is_removed: bool
) -> None:
    stray = store(session, "stray")
    modified_at = (NOW - timedelta(days=days)).timestamp()
    os.utime(stray, (modified_at, modified_at))

    prune(session)

    assert stray.exists() is not is_removed


def test_a_version_that_the_manifest_of_a_kept_run_lists_is_kept(second_sample: SampleHome) -> None:
    rulings = f"{DOMAIN}.overrides"
    runs = list(run_directory.list_runs(second_sample.home, DOMAIN))
    manifests = [run_directory.read_manifest(path) for path in runs]
    [first] = [s.sha256 for s in manifests[-1].sources if str(s.source) == rulings]

    with second_sample.project_session(
        with_retention(second_sample, versions=1, days=1)
    ) as session:
        removed = prune(session)

    assert removed == []
    assert second_sample.home.raw_file(first or "").exists()


def test_of_old_runs_only_the_base_of_the_kept_history_is_kept(sample: SampleHome) -> None:
    first, second, third = sample.latest, *(_repeat(sample, n) for n in (1, 2))
    history_sha256 = hash_file(third / MARTS / f"{sample.domain.history}.parquet")
    _set_history(third, history_sha256)

    with sample.project_session(with_retention(sample, keep_runs=1)) as session:
        removed = prune(session)

    assert paths(removed) == [sample.home.relative(p) for p in (first, second)]
    assert sample.latest == third


def test_a_run_that_a_kept_run_started_from_is_kept(sample: SampleHome) -> None:
    first = sample.latest
    second, third = (_repeat(sample, number) for number in (1, 2))
    for later in (second, third):
        file = later / MARTS / f"{sample.domain.history}.parquet"
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data + b" ")
    _set_history(third, hash_file(first / MARTS / f"{sample.domain.history}.parquet"))

    with sample.project_session(with_retention(sample, keep_runs=1)) as session:
        removed = prune(session)

    assert paths(removed) == [sample.home.relative(second)]
    assert first.exists()


def test_a_file_that_another_run_links_frees_no_bytes(sample: SampleHome) -> None:
    first = sample.latest
    _repeat(sample, 1)
    own = {"manifest.json", *RUN_FILES, run_directory.SUMS_FILE}

    with sample.project_session(with_retention(sample, keep_runs=1)) as session:
        [removed] = prune(session, dry_run=True)

    expected = sum((first / name).stat().st_size for name in own if (first / name).exists())
    assert removed.path == sample.home.relative(first)
    assert removed.size_bytes == expected


def make_version(days_old: int) -> RawFile:
    return RawFile(
        part=PART, sha256=f"{days_old:064x}", size_bytes=1,
        path=f"data/raw/00/{days_old:064x}", url="https://kev.example/kev.json",
        fetched_at=NOW - timedelta(days=days_old), code_version="1",
    )  # fmt: skip


def old_ages(*ages: int, versions: int = 10, days: int = 90) -> list[int]:
    files = [make_version(age) for age in ages]
    old_versions = list_old_versions(files, Retention(versions=versions, days=days), NOW)
    return [int(file.sha256, 16) for file, _ in old_versions]


@pytest.mark.parametrize(
    ("ages", "bounds", "removed_ages"),
    [
        pytest.param((1, 2, 3), {"versions": 2}, [3], id="beyond the number"),
        pytest.param((1, 100, 200), {"days": 90}, [200], id="replaced long ago"),
        pytest.param((1, 400), {"days": 90}, [], id="old, but replaced lately"),
        pytest.param((400,), {"versions": 1, "days": 1}, [], id="the newest at any age"),
        pytest.param((), {}, [], id="none"),
    ],
)
def test_versions_beyond_the_number_or_the_age_are_old(
    ages: tuple[int, ...], bounds: dict[str, int], removed_ages: list[int]
) -> None:
    assert old_ages(*ages, **bounds) == removed_ages


def test_the_reason_is_the_exceeded_bound() -> None:
    files = [make_version(days) for days in (1, 2, 3, 4)]

    old_versions = list_old_versions(files, Retention(versions=3, days=2), NOW)

    assert [why for _, why in old_versions] == ["replaced 2 days ago", "beyond 3 versions"]


def test_old_runs_are_removed_unless_they_are_published(sample: SampleHome) -> None:
    first = sample.latest
    second = _repeat(sample, 1)
    third = _repeat(sample, 2)
    latest = sample.home.latest(DOMAIN)
    latest.unlink()
    latest.symlink_to(second.name)

    old_runs = list_old_runs(
        sample.home,
        with_retention(sample, keep_runs=1),
        run_directory.published_directory(sample.home, DOMAIN),
    )

    assert old_runs == [first]
    assert third.exists()


def test_a_removed_item_has_its_reason_and_size() -> None:
    removed = Removed(path="outputs/plants/20260301_120000", why="an old run", size_bytes=1234)

    assert str(removed) == "outputs/plants/20260301_120000: an old run, 1,234 bytes"


def _repeat(sample: SampleHome, number: int) -> Path:
    """Publish a later run in which nothing changed."""
    started_at = datetime(2099, 1, number, tzinfo=UTC)
    directory = run_directory.create(sample.home, DOMAIN, started_at)
    before = sample.latest
    own = {"manifest.json", *RUN_FILES, run_directory.SUMS_FILE}
    files = [file for file in run_directory.list_files(before) if file not in own]
    run_directory.link_unchanged(before, directory, files)
    run_directory.write_manifest(directory, run_directory.read_manifest(before))
    run_directory.publish(sample.home, DOMAIN, directory)
    return directory


def _set_history(directory: Path, sha256: str) -> None:
    manifest = run_directory.read_manifest(directory)
    run_directory.write_manifest(directory, manifest.model_copy(update={"history_sha256": sha256}))
