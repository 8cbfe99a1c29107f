"""Each reason to fetch a file, or to keep the stored one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.transfers import NOW, make_source

from etl_assets.declarations.source import Source
from etl_assets.fetch.decide import decide, decide_without_probe
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    OperatorDecision,
    Part,
    Pin,
    Probe,
    RawFile,
    Reason,
    StoredState,
    Validators,
)

PART = Part(source="advisories.feed")
SHA = "ab" * 32
LATER = NOW + timedelta(days=1)
CHANGED = datetime(2026, 11, 1, tzinfo=UTC)
SAME = Validators(etag='"1"', last_modified=CHANGED, size_bytes=10)
URL = "https://feeds.example/feed.json"


def make_raw_file(**fields: Any) -> RawFile:
    fields = {"etag": '"1"', "last_modified": CHANGED, "size_bytes": 10, **fields}
    return RawFile(
        part=PART,
        sha256=SHA,
        path="data/raw/ab/x",
        url=URL,
        fetched_at=NOW,
        code_version="1",
        **fields,
    )


def make_result(
    file: RawFile | None = None, status: FetchStatus = FetchStatus.FETCHED
) -> FetchResult:
    before = Decision(part=PART, fetch=True, reason=Reason.NO_RECORD)
    return FetchResult(part=PART, status=status, decision=before, file=file or make_raw_file())


def choose(
    remote: Validators | None = SAME,
    last: FetchResult | None = None,
    *,
    source: Source | None = None,
    published: bool = True,
    now: datetime = LATER,
    **fields: Any,
) -> Decision:
    fault = "no answer" if remote is None else None
    probe = Probe(
        part=PART, url=URL, probed_at=now, validators=remote, published=published, fault=fault
    )
    arguments = {
        "stored": StoredState.PRESENT,
        "force": False,
        "code_version": "1",
        "is_newest": False,
        **fields,
    }
    return decide(source or make_source(URL), PART, probe, last, now=now, **arguments)


def test_equal_validators_keep_the_file_and_are_named() -> None:
    decision = choose(SAME, make_result())

    assert (decision.fetch, decision.reason) == (False, Reason.UP_TO_DATE)
    assert decision.detail == "ETag and Last-Modified unchanged"


@pytest.mark.fault("validators")
@pytest.mark.parametrize(
    ("remote", "reason"),
    [
        ({"etag": '"2"'}, Reason.ETAG_CHANGED),
        ({"last_modified": CHANGED + timedelta(seconds=1)}, Reason.LAST_MODIFIED_CHANGED),
        ({"size_bytes": 11}, Reason.LENGTH_CHANGED),
        ({"last_modified": CHANGED - timedelta(days=1)}, Reason.LAST_MODIFIED_CHANGED),
    ],
    ids=["etag", "date with equal etag", "length with equal etag", "date goes back"],
)
def test_a_changed_validator_is_a_reason(remote: dict[str, Any], reason: Reason) -> None:
    decision = choose(SAME.model_copy(update=remote), make_result())

    assert (decision.fetch, decision.reason) == (True, reason)
    assert " -> " in decision.detail


@pytest.mark.fault("validators")
def test_a_weak_and_a_strong_form_of_one_etag_are_equal() -> None:
    decision = choose(SAME.model_copy(update={"etag": 'W/"1"'}), make_result())

    assert not decision.fetch


@pytest.mark.fault("no-validator")
@pytest.mark.parametrize(
    ("remote", "file"),
    [
        (Validators(), make_raw_file(etag=None)),
        (Validators(size_bytes=10), make_raw_file(etag=None)),
        (Validators(etag='W/"1"'), make_raw_file(etag='W/"1"', last_modified=None)),
        (Validators(etag='"1"'), make_raw_file(etag=None, last_modified=None)),
    ],
    ids=["nothing", "length alone", "weak etag alone", "etag that is new"],
)
def test_without_proof_of_equality_a_file_is_fetched_from_time_to_time(
    remote: Validators, file: RawFile
) -> None:
    soon = choose(remote, make_result(file), now=NOW + timedelta(minutes=59))
    later = choose(remote, make_result(file), now=NOW + timedelta(minutes=60))

    assert (soon.fetch, soon.reason) == (False, Reason.UP_TO_DATE)
    assert soon.detail == "no validator; fetched less than 60 minutes ago"
    assert (later.fetch, later.reason) == (True, Reason.NO_VALIDATOR)


@pytest.mark.fault("validators", "no-validator")
@pytest.mark.parametrize(
    "remote", [Validators(), Validators(size_bytes=10)], ids=["nothing", "length alone"]
)
def test_a_file_whose_etag_is_no_longer_stated_is_fetched_at_once(remote: Validators) -> None:
    decision = choose(remote, make_result(), now=NOW + timedelta(minutes=1))

    assert (decision.fetch, decision.reason) == (True, Reason.ETAG_GONE)
    assert decision.detail == 'was "1"'


@pytest.mark.fault("clock")
def test_a_clock_that_was_set_back_does_not_stop_fetching() -> None:
    decision = choose(
        Validators(), make_result(make_raw_file(etag=None)), now=NOW - timedelta(days=400)
    )

    assert decision.reason is Reason.NO_VALIDATOR


def with_digest(of: str) -> Source:
    return make_source(location={"url": URL, "digest": {"url": URL + ".meta", "of": of}})


@pytest.mark.parametrize(
    ("remote", "reason"),
    [("cd" * 32, Reason.UP_TO_DATE), ("ef" * 32, Reason.DIGEST_CHANGED)],
    ids=["equal", "changed"],
)
def test_a_published_digest_decides_over_the_etag(remote: str, reason: Reason) -> None:
    remote = Validators(etag='"moved"', published_sha256=remote)
    last = make_result(make_raw_file(published_sha256="cd" * 32))

    decision = choose(remote, last, source=with_digest("unpacked"))

    assert decision.reason is reason


@pytest.mark.parametrize(
    ("remote", "fetched"), [(SHA, False), ("ef" * 32, True)], ids=["equal", "changed"]
)
def test_a_digest_of_the_file_is_compared_with_the_file(remote: str, fetched: bool) -> None:
    decision = choose(
        Validators(published_sha256=remote), make_result(), source=with_digest("file")
    )

    assert decision.fetch is fetched


def test_a_first_published_digest_is_a_reason() -> None:
    remote = Validators(published_sha256="cd" * 32)

    decision = choose(remote, make_result(), source=with_digest("unpacked"))

    assert (decision.reason, decision.detail) == (Reason.DIGEST_CHANGED, f"None -> {'cd' * 32}")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"force": True}, Reason.FORCED),
        ({"stored": StoredState.MISSING}, Reason.FILE_MISSING),
        ({"stored": StoredState.DAMAGED}, Reason.FILE_DAMAGED),
        ({"code_version": "2"}, Reason.CODE_CHANGED),
        ({"remote": None}, Reason.PROBE_FAILED),
        ({"last": make_result(status=FetchStatus.OUTAGE)}, Reason.LAST_WAS_OUTAGE),
        ({"last": None}, Reason.NO_RECORD),
        ({"remote": None, "published": False}, Reason.PROBE_FAILED),
        ({"last": None, "remote": None, "published": False}, Reason.NO_RECORD),
    ],
    ids=[
        "forced", "missing", "damaged", "code", "probe failed", "outage", "no record",
        "stored and gone", "older and gone",
    ],
)  # fmt: skip
def test_other_reasons_to_fetch(fields: dict[str, Any], reason: Reason) -> None:
    decision = choose(**{"last": make_result(), **fields})

    assert (decision.fetch, decision.reason) == (True, reason)


@pytest.mark.fault("not-yet-published")
@pytest.mark.parametrize("force", [False, True], ids=["as usual", "forced"])
def test_a_missing_newest_period_without_a_file_is_not_yet_published(force: bool) -> None:
    decision = choose(None, None, published=False, is_newest=True, force=force)

    assert (decision.fetch, decision.reason) == (False, Reason.NOT_YET_PUBLISHED)


@pytest.mark.fault("unpublished")
def test_a_missing_newest_period_with_a_file_is_fetched_and_so_an_outage() -> None:
    decision = choose(None, make_result(), published=False, is_newest=True)

    assert (decision.fetch, decision.reason) == (True, Reason.PROBE_FAILED)


def test_a_decision_reads_as_a_sentence() -> None:
    decision = choose(SAME.model_copy(update={"etag": '"2"'}), make_result())

    assert str(decision) == 'advisories.feed: fetch, ETag changed ("1" -> "2")'


@pytest.mark.parametrize("force", [False, True])
def test_a_pinned_part_is_never_fetched(force: bool) -> None:
    ruling = OperatorDecision(sha256=SHA, by="robin", why="the newest is wrong", at=NOW)
    pinned = make_result().model_copy(
        update={"status": FetchStatus.PINNED, "pin": Pin(decision=ruling)}
    )

    decision = choose(Validators(etag='"2"'), pinned, force=force)

    assert (decision.fetch, decision.reason) == (False, Reason.PINNED)
    assert "robin" in decision.detail
    assert "the newest is wrong" in decision.detail


@pytest.mark.parametrize(
    ("last", "stored", "reason"),
    [
        (make_result(), StoredState.PRESENT, Reason.ALREADY_STORED),
        (make_result(status=FetchStatus.OUTAGE), StoredState.PRESENT, Reason.ALREADY_STORED),
        (make_result(), StoredState.MISSING, None),
        (make_result(), StoredState.DAMAGED, None),
        (None, StoredState.MISSING, None),
    ],
    ids=["stored", "stored since an outage", "lost", "damaged", "never fetched"],
)
def test_only_a_part_with_a_stored_file_is_kept_without_a_probe(
    last: FetchResult | None, stored: StoredState, reason: Reason | None
) -> None:
    decision = decide_without_probe(PART, last, stored=stored)

    assert (decision and decision.reason) == reason
    assert not (decision and decision.fetch)
