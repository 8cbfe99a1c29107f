"""Each reason to fetch a file, or to keep the one that is held."""

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


def held(**fields: Any) -> RawFile:
    known = {"etag": '"1"', "last_modified": CHANGED, "size_bytes": 10, **fields}
    return RawFile(
        part=PART,
        sha256=SHA,
        path="data/raw/ab/x",
        url=URL,
        fetched_at=NOW,
        code_version="1",
        **known,
    )


def last(file: RawFile | None = None, status: FetchStatus = FetchStatus.FETCHED) -> FetchResult:
    before = Decision(part=PART, fetch=True, reason=Reason.NO_RECORD)
    return FetchResult(part=PART, status=status, decision=before, file=file or held())


def choose(
    said: Validators | None = SAME,
    known: FetchResult | None = None,
    *,
    source: Source | None = None,
    published: bool = True,
    now: datetime = LATER,
    **fields: Any,
) -> Decision:
    fault = "no answer" if said is None else None
    found = Probe(
        part=PART, url=URL, probed_at=now, validators=said, published=published, fault=fault
    )
    given = {
        "stored": StoredState.PRESENT,
        "force": False,
        "code_version": "1",
        "is_newest": False,
        **fields,
    }
    return decide(source or make_source(URL), PART, found, known, now=now, **given)


def test_equal_validators_keep_the_file_and_say_which() -> None:
    decision = choose(SAME, last())

    assert (decision.fetch, decision.reason) == (False, Reason.UP_TO_DATE)
    assert decision.detail == "ETag and Last-Modified unchanged"


@pytest.mark.fault("validators")
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"etag": '"2"'}, Reason.ETAG_CHANGED),
        ({"last_modified": CHANGED + timedelta(seconds=1)}, Reason.LAST_MODIFIED_CHANGED),
        ({"size_bytes": 11}, Reason.LENGTH_CHANGED),
        ({"last_modified": CHANGED - timedelta(days=1)}, Reason.LAST_MODIFIED_CHANGED),
    ],
    ids=["etag", "date with equal etag", "length with equal etag", "date goes back"],
)
def test_a_changed_validator_is_a_reason(said: dict[str, Any], reason: Reason) -> None:
    decision = choose(SAME.model_copy(update=said), last())

    assert (decision.fetch, decision.reason) == (True, reason)
    assert " -> " in decision.detail


@pytest.mark.fault("validators")
def test_a_weak_and_a_strong_form_of_one_etag_are_equal() -> None:
    decision = choose(SAME.model_copy(update={"etag": 'W/"1"'}), last())

    assert not decision.fetch


@pytest.mark.fault("no-validator")
@pytest.mark.parametrize(
    ("said", "file"),
    [
        (Validators(), held(etag=None)),
        (Validators(size_bytes=10), held(etag=None)),
        (Validators(etag='W/"1"'), held(etag='W/"1"', last_modified=None)),
        (Validators(etag='"1"'), held(etag=None, last_modified=None)),
    ],
    ids=["nothing", "length alone", "weak etag alone", "etag that is new"],
)
def test_without_proof_of_equality_a_file_is_fetched_from_time_to_time(
    said: Validators, file: RawFile
) -> None:
    soon = choose(said, last(file), now=NOW + timedelta(minutes=59))
    later = choose(said, last(file), now=NOW + timedelta(minutes=60))

    assert (soon.fetch, soon.reason) == (False, Reason.UP_TO_DATE)
    assert soon.detail == "no validator; fetched less than 60 minutes ago"
    assert (later.fetch, later.reason) == (True, Reason.NO_VALIDATOR)


@pytest.mark.fault("validators", "no-validator")
@pytest.mark.parametrize(
    "said", [Validators(), Validators(size_bytes=10)], ids=["nothing", "length alone"]
)
def test_a_remote_that_states_its_etag_no_more_is_asked_at_once(said: Validators) -> None:
    decision = choose(said, last(), now=NOW + timedelta(minutes=1))

    assert (decision.fetch, decision.reason) == (True, Reason.ETAG_GONE)
    assert decision.detail == 'was "1"'


@pytest.mark.fault("clock")
def test_a_clock_that_was_set_back_does_not_stop_fetching() -> None:
    decision = choose(Validators(), last(held(etag=None)), now=NOW - timedelta(days=400))

    assert decision.reason is Reason.NO_VALIDATOR


def with_digest(of: str) -> Source:
    return make_source(location={"url": URL, "digest": {"url": URL + ".meta", "of": of}})


@pytest.mark.parametrize(
    ("said", "reason"),
    [("cd" * 32, Reason.UP_TO_DATE), ("ef" * 32, Reason.DIGEST_CHANGED)],
    ids=["equal", "changed"],
)
def test_a_published_digest_settles_it_whatever_the_etag_says(said: str, reason: Reason) -> None:
    found = Validators(etag='"moved"', published_sha256=said)
    known = last(held(published_sha256="cd" * 32))

    decision = choose(found, known, source=with_digest("unpacked"))

    assert decision.reason is reason


@pytest.mark.parametrize(
    ("said", "fetched"), [(SHA, False), ("ef" * 32, True)], ids=["equal", "changed"]
)
def test_a_digest_of_the_file_is_compared_with_the_file(said: str, fetched: bool) -> None:
    decision = choose(Validators(published_sha256=said), last(), source=with_digest("file"))

    assert decision.fetch is fetched


def test_a_digest_that_is_new_is_a_reason() -> None:
    found = Validators(published_sha256="cd" * 32)

    decision = choose(found, last(), source=with_digest("unpacked"))

    assert (decision.reason, decision.detail) == (Reason.DIGEST_CHANGED, f"None -> {'cd' * 32}")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"force": True}, Reason.FORCED),
        ({"stored": StoredState.MISSING}, Reason.FILE_MISSING),
        ({"stored": StoredState.DAMAGED}, Reason.FILE_DAMAGED),
        ({"code_version": "2"}, Reason.CODE_CHANGED),
        ({"said": None}, Reason.PROBE_FAILED),
        ({"known": last(status=FetchStatus.OUTAGE)}, Reason.LAST_WAS_OUTAGE),
        ({"known": None}, Reason.NO_RECORD),
        ({"said": None, "published": False}, Reason.PROBE_FAILED),
        ({"known": None, "said": None, "published": False}, Reason.NO_RECORD),
    ],
    ids=[
        "forced", "missing", "damaged", "code", "probe failed", "outage", "no record",
        "held and gone", "older and gone",
    ],
)  # fmt: skip
def test_other_reasons_to_fetch(fields: dict[str, Any], reason: Reason) -> None:
    decision = choose(**{"known": last(), **fields})

    assert (decision.fetch, decision.reason) == (True, reason)


@pytest.mark.fault("not-yet-published")
@pytest.mark.parametrize("force", [False, True], ids=["as usual", "forced"])
def test_the_newest_period_that_was_never_held_is_not_yet_published(force: bool) -> None:
    decision = choose(None, None, published=False, is_newest=True, force=force)

    assert (decision.fetch, decision.reason) == (False, Reason.NOT_YET_PUBLISHED)


@pytest.mark.fault("unpublished")
def test_the_newest_period_that_was_held_and_is_gone_is_fetched_and_so_an_outage() -> None:
    decision = choose(None, last(), published=False, is_newest=True)

    assert (decision.fetch, decision.reason) == (True, Reason.PROBE_FAILED)


def test_a_decision_reads_as_a_sentence() -> None:
    decision = choose(SAME.model_copy(update={"etag": '"2"'}), last())

    assert str(decision) == 'advisories.feed: fetch, ETag changed ("1" -> "2")'


@pytest.mark.parametrize("force", [False, True])
def test_a_pinned_part_is_kept_whatever_the_remote_says(force: bool) -> None:
    ruling = OperatorDecision(sha256=SHA, by="robin", why="the newest is wrong", at=NOW)
    pinned = last().model_copy(update={"status": FetchStatus.PINNED, "pin": Pin(ruling=ruling)})

    decision = choose(Validators(etag='"2"'), pinned, force=force)

    assert (decision.fetch, decision.reason) == (False, Reason.PINNED)
    assert "robin" in decision.detail
    assert "the newest is wrong" in decision.detail


@pytest.mark.parametrize(
    ("known", "stored", "reason"),
    [
        (last(), StoredState.PRESENT, Reason.HELD),
        (last(status=FetchStatus.OUTAGE), StoredState.PRESENT, Reason.HELD),
        (last(), StoredState.MISSING, None),
        (last(), StoredState.DAMAGED, None),
        (None, StoredState.MISSING, None),
    ],
    ids=["held", "held since an outage", "lost", "damaged", "never fetched"],
)
def test_a_part_is_spared_the_question_only_while_its_file_is_there(
    known: FetchResult | None, stored: StoredState, reason: Reason | None
) -> None:
    decision = decide_without_probe(PART, known, stored=stored)

    assert (decision and decision.reason) == reason
    assert not (decision and decision.fetch)
