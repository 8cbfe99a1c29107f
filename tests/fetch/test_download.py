"""The result of a fetch: a stored file, the last good one, or none."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support import misbehaving_server as faults
from support.misbehaving_server import LONG_AGO, MisbehavingServer
from support.transfers import (
    GOOD,
    NOW,
    PART,
    PATH,
    Fetcher,
    list_partial_files,
    list_quarantined,
    make_decision,
    make_fetch_context,
    make_source,
    read_stored,
)

from etl_assets.fetch import raw_store
from etl_assets.fetch.download import FetchJob, fetch, fetch_all
from etl_assets.fetch.http import Client
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    FetchResult,
    FetchStatus,
    OperatorDecision,
    Part,
    RawFile,
    Reason,
    StoredState,
    Verdict,
)
from etl_assets.validate.validate import validate


def test_a_file_is_stored_under_its_hash_with_its_validators(
    fetch_feed: Fetcher, home: Home, server: MisbehavingServer
) -> None:
    fetched = fetch_feed()

    assert fetched.status is FetchStatus.FETCHED
    assert fetched.file == RawFile(
        part=PART,
        sha256=hashlib.sha256(GOOD).hexdigest(),
        size_bytes=len(GOOD),
        path=f"data/raw/{hashlib.sha256(GOOD).hexdigest()[:2]}/{hashlib.sha256(GOOD).hexdigest()}",
        url=server.url + PATH,
        etag=server.files[PATH].etag,
        last_modified=faults.LONG_AGO,
        fetched_at=NOW,
        attempts=1,
        last_status=200,
        code_version="1",
    )
    assert read_stored(fetched, home) == GOOD
    assert stat.S_IMODE((home.root / fetched.file.path).stat().st_mode) == 0o444
    assert list_partial_files(home) == []


@pytest.mark.fault("outage")
def test_an_outage_serves_the_last_good_file(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    good = fetch_feed()
    server.always[PATH] = faults.answers(500)

    fetched = fetch_feed(last=good, reason=Reason.ETAG_CHANGED)

    assert fetched.status is FetchStatus.OUTAGE
    assert fetched.file == good.file
    assert "500" in (fetched.fault or "")
    assert read_stored(fetched, home) == GOOD


def test_an_outage_without_an_intact_last_file_is_missing(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    good = fetch_feed()
    home.raw_file(hashlib.sha256(GOOD).hexdigest()).unlink()
    server.always[PATH] = faults.answers(500)

    fetched = fetch_feed(last=good, reason=Reason.FILE_MISSING)

    assert (fetched.status, fetched.file) == (FetchStatus.MISSING, None)
    assert "is lost" in (fetched.fault or "")


@pytest.mark.fault("unpublished")
def test_a_404_for_a_stored_file_is_an_outage(
    fetch_feed: Fetcher, server: MisbehavingServer
) -> None:
    good = fetch_feed()
    server.always[PATH] = faults.answers(404)

    fetched = fetch_feed(last=good, reason=Reason.PROBE_FAILED)

    assert (fetched.status, fetched.file) == (FetchStatus.OUTAGE, good.file)


@pytest.mark.fault("not-yet-published")
def test_a_period_that_is_not_yet_published_is_not_requested(
    fetch_feed: Fetcher, server: MisbehavingServer
) -> None:
    fetched = fetch_feed(reason=Reason.NOT_YET_PUBLISHED)

    assert (fetched.status, fetched.fault) == (FetchStatus.NOT_YET_PUBLISHED, None)
    assert server.requests == []


def test_a_current_file_is_not_requested(fetch_feed: Fetcher, server: MisbehavingServer) -> None:
    good = fetch_feed()
    server.requests.clear()

    fetched = fetch_feed(last=good, reason=Reason.UP_TO_DATE)

    assert (fetched.status, fetched.file) == (FetchStatus.UNCHANGED, good.file)
    assert server.requests == []


@pytest.mark.fault("validators")
@pytest.mark.parametrize(
    ("before", "now"),
    [
        (FetchStatus.FETCHED, FetchStatus.UNCHANGED),
        (FetchStatus.OUTAGE, FetchStatus.OUTAGE),
    ],
    ids=["good", "an outage that nobody has seen end"],
)
def test_a_file_kept_without_a_probe_keeps_its_last_result(
    fetch_feed: Fetcher, server: MisbehavingServer, before: FetchStatus, now: FetchStatus
) -> None:
    last = fetch_feed().model_copy(update={"status": before, "fault": "it did not answer"})
    server.requests.clear()

    fetched = fetch_feed(last=last, reason=Reason.ALREADY_STORED)

    assert (fetched.status, fetched.file, fetched.fault) == (now, last.file, last.fault)
    assert (fetched.decision.reason, fetched.attempts) == (Reason.ALREADY_STORED, 0)
    assert server.requests == []


def test_equal_bytes_under_a_new_etag_are_unchanged(
    fetch_feed: Fetcher, server: MisbehavingServer
) -> None:
    good = fetch_feed()
    server.publish(PATH, GOOD, etag='"another"')

    fetched = fetch_feed(last=good, reason=Reason.ETAG_CHANGED)

    assert fetched.status is FetchStatus.UNCHANGED
    assert fetched.file is not None
    assert fetched.file.etag == '"another"'


@pytest.mark.parametrize("reason", [Reason.PROBE_FAILED, Reason.ETAG_GONE], ids=str)
def test_after_a_probe_without_an_etag_the_request_is_conditional(
    fetch_feed: Fetcher, server: MisbehavingServer, reason: Reason
) -> None:
    good = fetch_feed()

    fetched = fetch_feed(last=good, reason=reason)

    assert (fetched.status, fetched.last_status) == (FetchStatus.UNCHANGED, 304)
    assert fetched.file == good.file


@pytest.mark.fault("raw-file-lost")
def test_a_damaged_stored_file_is_replaced(fetch_feed: Fetcher, home: Home) -> None:
    good = fetch_feed()
    assert good.file is not None
    path = home.root / good.file.path
    path.chmod(0o644)
    path.write_bytes(GOOD.replace(b"1.2", b"6.6"))

    fetched = fetch_feed(last=good, reason=Reason.FILE_DAMAGED)

    assert fetched.status is FetchStatus.UNCHANGED
    assert raw_store.verify(home, good.file.sha256) is StoredState.PRESENT


def test_two_sources_with_equal_bytes_share_one_file(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    server.publish("/other.json", GOOD)

    one, two = fetch_feed(), fetch_feed(url=server.url + "/other.json")

    assert one.file is not None
    assert two.file is not None
    assert one.file.path == two.file.path
    assert one.file.url != two.file.url
    assert len(list(home.raw.rglob("*/*"))) == 1


@pytest.mark.fault("error-page")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.asks_for_login, "an HTML page titled 'Sign in'"),
        (faults.sends_nothing, "an empty file"),
        (faults.cuts_off, "cut off"),
        (faults.sends_less_unframed, "cut off"),
        (faults.packs_silently, "gzip"),
    ],
    ids=["login page", "empty", "cut off", "cut off without length", "packed"],
)
def test_a_file_that_fails_the_check_is_quarantined_and_the_last_good_one_served(
    fetch_feed: Fetcher,
    server: MisbehavingServer,
    client: Client,
    home: Home,
    fault: faults.Fault,
    reason: str,
) -> None:
    good = fetch_feed()
    server.always[PATH] = fault
    job = FetchJob(
        make_source(server.url + PATH), PART, make_decision(Reason.ETAG_CHANGED), None, good
    )

    fetched = fetch(job, make_fetch_context(client, home, check=validate))

    assert (fetched.status, fetched.file) == (FetchStatus.OUTAGE, good.file)
    assert reason in (fetched.fault or "")
    assert len(list_quarantined(home)) == 1


def test_fetches_run_concurrently_and_are_yielded_as_they_complete(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    jobs = []
    for number in range(8):
        server.publish(f"/{number}.json", GOOD + b" " * number)
        part = Part(source="advisories.feed", partition=str(number))
        jobs.append(
            FetchJob(
                make_source(f"{server.url}/{{partition}}.json"), part, make_decision(part=part)
            )
        )
    seen: list[tuple[Part, int, int | None]] = []

    def watch(part: Part, received: int, total: int | None) -> None:
        seen.append((part, received, total))

    fetched = list(fetch_all(jobs, make_fetch_context(client, home, progress=watch)))

    assert {f.part for f in fetched} == {job.part for job in jobs}
    assert {f.status for f in fetched} == {FetchStatus.FETCHED}
    assert (jobs[3].part, len(GOOD) + 3, len(GOOD) + 3) in seen
    assert list_partial_files(home) == []


def test_closing_the_results_stops_the_transfers(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    server.publish("/0.json", GOOD)
    server.publish("/1.json", GOOD)
    server.always["/1.json"] = faults.drips
    parts = [Part(source="advisories.feed", partition=str(number)) for number in range(2)]
    source = make_source(f"{server.url}/{{partition}}.json")
    results = fetch_all(
        [FetchJob(source, p, make_decision(part=p)) for p in parts],
        make_fetch_context(client, home),
    )

    first = next(results)
    results.close()

    assert first.part == parts[0]
    assert client.is_stopped
    assert list_partial_files(home) == []


def test_a_local_file_is_copied_with_its_time_and_no_etag(client: Client, home: Home) -> None:
    home.root.mkdir()
    (home.root / "rulings.json").write_bytes(GOOD)
    os.utime(home.root / "rulings.json", ns=(0, 1_700_000_000_123_456_000))
    source = make_source(location={"path": "rulings.json"})

    fetched = fetch(FetchJob(source, PART, make_decision()), make_fetch_context(client, home))

    assert fetched.file is not None
    assert read_stored(fetched, home) == GOOD
    assert (fetched.file.etag, fetched.file.url) == (None, "rulings.json")
    assert fetched.file.last_modified is not None
    assert fetched.file.last_modified.timestamp() == 1_700_000_000.123456


def test_a_directory_mirror_replaces_every_host(
    fetch_feed: Fetcher, home: Home, tmp_path: Path
) -> None:
    file = tmp_path / "mirror" / "feeds.example" / "v1" / "feed.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(GOOD)

    fetched = fetch_feed(url="https://feeds.example/v1/feed.json", mirror=str(tmp_path / "mirror"))

    assert read_stored(fetched, home) == GOOD
    assert fetched.file is not None
    assert fetched.file.url == "https://feeds.example/v1/feed.json"


def test_a_file_missing_from_the_mirror_is_reported_with_its_path(
    fetch_feed: Fetcher, tmp_path: Path
) -> None:
    fetched = fetch_feed(url="https://feeds.example/feed.json", mirror=str(tmp_path))

    assert fetched.status is FetchStatus.MISSING
    assert f"{tmp_path}/feeds.example/feed.json" in (fetched.fault or "")


def test_a_mirror_server_replaces_every_host(
    fetch_feed: Fetcher, server: MisbehavingServer, home: Home
) -> None:
    server.publish("/feeds.example/feed.json", GOOD)

    fetched = fetch_feed(url="https://feeds.example/feed.json", mirror=server.url)

    assert read_stored(fetched, home) == GOOD


@pytest.mark.fault("disk-full")
def test_a_full_disk_is_an_error_and_leaves_no_file_behind(fetch_feed: Fetcher, home: Home) -> None:
    """A write beyond RLIMIT_FSIZE fails as a write to a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(HomeError, match="expected to write it, found: File too large"):
            fetch_feed()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)

    assert list_partial_files(home) == []


@pytest.mark.fault("killed")
def test_the_download_of_a_killed_run_is_removed_by_the_next_one(
    fetch_feed: Fetcher, home: Home
) -> None:
    home.partial.mkdir(parents=True)
    (home.partial / "advisories.feed.0123abcd.part").write_bytes(b"half")
    (home.partial / "advisories.feed[2026].0123abcd.part").write_bytes(b"another's")

    fetch_feed()

    assert [path.name for path in list_partial_files(home)] == [
        "advisories.feed[2026].0123abcd.part"
    ]


@pytest.mark.fault("empty-answer")
@pytest.mark.parametrize("minimum", [1, 9999], ids=["empty", "below the declared size"])
def test_a_file_that_is_too_small_never_becomes_a_raw_file(
    server: MisbehavingServer, client: Client, home: Home, minimum: int
) -> None:
    server.publish(PATH, b"" if minimum == 1 else GOOD)
    source = make_source(server.url + PATH, expect={"min_bytes": minimum})

    fetched = fetch(FetchJob(source, PART, make_decision()), make_fetch_context(client, home))

    assert f"expected at least {minimum:,} bytes" in (fetched.fault or "")
    assert not home.raw.exists()


def test_a_local_file_over_the_declared_size_is_refused(client: Client, home: Home) -> None:
    home.root.mkdir()
    (home.root / "rulings.json").write_bytes(GOOD)
    source = make_source(location={"path": "rulings.json"}, limits={"max_bytes": 10})

    fetched = fetch(FetchJob(source, PART, make_decision()), make_fetch_context(client, home))

    assert "expected at most 10 bytes, found 4,069" in (fetched.fault or "")


def test_a_directory_instead_of_a_local_file_is_an_outage(client: Client, home: Home) -> None:
    (home.root / "rulings.json").mkdir(parents=True)
    source = make_source(location={"path": "rulings.json"})

    fetched = fetch(FetchJob(source, PART, make_decision()), make_fetch_context(client, home))

    assert fetched.status is FetchStatus.MISSING
    assert "rulings.json): Is a directory" in (fetched.fault or "")


def released(server: MisbehavingServer, client: Client, home: Home, content: bytes) -> FetchJob:
    """A fetch of a part whose stored file the operator released from quarantine."""
    source = make_source(server.url + PATH, limits={"requests_per_second": 1e6})
    sha256 = hashlib.sha256(content).hexdigest()
    operator_decision = OperatorDecision(sha256=sha256, by="robin", why="it is right", at=NOW)
    verdict = Verdict(
        part=PART, sha256=sha256, ok=True, expected="x", found="y", accepted=operator_decision
    )
    file = RawFile(
        part=PART, sha256=sha256, size_bytes=len(content), path=f"data/raw/{sha256[:2]}/{sha256}",
        url=server.url + PATH, fetched_at=NOW, verdict=verdict, code_version="1",
    )  # fmt: skip
    last = FetchResult(part=PART, status=FetchStatus.FETCHED, decision=make_decision(), file=file)
    return FetchJob(source, PART, make_decision(Reason.ETAG_CHANGED), None, last)


def test_released_content_is_not_refused_again(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    page = b"<!doctype html><title>Sign in</title>"
    server.publish(PATH, page)
    job = released(server, client, home, page)

    fetched = fetch(job, make_fetch_context(client, home, check=validate))

    assert fetched.status is FetchStatus.UNCHANGED
    assert fetched.file
    assert fetched.file.verdict == job.last_file.verdict
    assert list_quarantined(home) == []


def test_a_release_does_not_cover_other_content(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    server.publish(PATH, b"<!doctype html><title>Sign in</title>")
    job = released(server, client, home, b"another page")

    fetched = fetch(job, make_fetch_context(client, home, check=validate))

    assert len(list_quarantined(home)) == 1
    assert fetched.file is None


DAY = timedelta(days=1)


def fetch_after(
    server: MisbehavingServer, client: Client, home: Home, content: bytes, **fields: Any
) -> tuple[FetchResult, FetchResult]:
    """Fetch a file, and then a file with this content and an earlier Last-Modified."""
    source = make_source(server.url + PATH, **fields)
    context = make_fetch_context(client, home)
    server.publish(PATH, GOOD, changed=LONG_AGO)
    first = fetch(FetchJob(source, PART, make_decision()), context)
    server.publish(PATH, content, changed=LONG_AGO - DAY)
    decision = make_decision(Reason.LAST_MODIFIED_CHANGED)
    return first, fetch(FetchJob(source, PART, decision, None, first), context)


@pytest.mark.fault("older-file")
@pytest.mark.parametrize("content", [GOOD, GOOD + b" ", GOOD.replace(b"x", b"y")])
def test_a_last_modified_that_goes_back_is_a_warning(
    server: MisbehavingServer, client: Client, home: Home, content: bytes
) -> None:
    _, second = fetch_after(server, client, home, content)

    assert second.status in {FetchStatus.FETCHED, FetchStatus.UNCHANGED}
    assert "its Last-Modified went back: 2026-01-01T" in (second.warning or "")
    assert "-> 2025-12-31T" in (second.warning or "")


@pytest.mark.fault("older-file")
def test_a_source_may_refuse_an_older_file(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    freshness = {"warn_after_hours": 24, "fail_after_hours": 48, "if_older": "refuse"}

    first, second = fetch_after(server, client, home, GOOD + b" ", freshness=freshness)

    assert (second.status, second.file) == (FetchStatus.OUTAGE, first.file)
    assert "a Last-Modified that does not go back" in (second.fault or "")
    assert len(list_quarantined(home)) == 1


def test_equal_content_is_never_refused_for_its_date(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    freshness = {"warn_after_hours": 24, "fail_after_hours": 48, "if_older": "refuse"}

    _, second = fetch_after(server, client, home, GOOD, freshness=freshness)

    assert second.status is FetchStatus.UNCHANGED


def test_a_later_or_missing_last_modified_is_no_warning(
    server: MisbehavingServer, fetch_feed: Fetcher
) -> None:
    first = fetch_feed()
    server.publish(PATH, GOOD, changed=LONG_AGO + DAY)
    second = fetch_feed(last=first, reason=Reason.LAST_MODIFIED_CHANGED)
    server.publish(PATH, GOOD, changed=None)
    third = fetch_feed(last=second, reason=Reason.NO_VALIDATOR)

    assert (second.warning, third.warning) == (None, None)


def test_not_modified_without_a_condition_is_an_outage(
    fetch_feed: Fetcher, server: MisbehavingServer
) -> None:
    server.always[PATH] = faults.answers(304)

    fetched = fetch_feed()

    assert fetched.status is FetchStatus.MISSING
    assert "'not modified' to a request without a condition" in (fetched.fault or "")


@pytest.mark.fault("interrupted")
def test_a_transfer_ends_when_the_run_is_stopped(
    server: MisbehavingServer, client: Client, home: Home
) -> None:
    server.publish(PATH, GOOD)
    stopping = make_fetch_context(client, home, progress=lambda *_: client.stop())

    first = fetch(FetchJob(make_source(server.url + PATH), PART, make_decision()), stopping)
    second = fetch(FetchJob(make_source(server.url + PATH), PART, make_decision()), stopping)

    assert [outcome.status for outcome in (first, second)] == [FetchStatus.MISSING] * 2
    assert "the run is being stopped" in (first.fault or "")
    assert (len(server.requests), list_partial_files(home)) == (1, [])
