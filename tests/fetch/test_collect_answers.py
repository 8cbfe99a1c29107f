"""Requests from the rows of a table, each answered and paid for once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support import chat_endpoint as chats
from support.asking import CHAT, NOON, SECRET, Asking

from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.errors import HomeError
from etl_assets.model.records import FetchStatus


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    with chats.run_endpoint(tmp_path / "mirror") as server:
        yield Asking(tmp_path, server)


def test_each_row_is_requested_only_once(asking: Asking) -> None:
    first = asking.ask()
    again = asking.ask(at=NOON + timedelta(days=900))

    assert (first.status, again.status) == (FetchStatus.FETCHED, FetchStatus.UNCHANGED)
    assert asking.server.stations == ["ELM", "OAK"]
    assert asking.names() == ["ELM", "OAK"]


def test_a_row_whose_request_changes_is_requested_again(asking: Asking) -> None:
    asking.ask()
    asking.rows("ELM", "OAK", text="another page")
    asking.ask()
    asking.rows("ELM", "OAK", text="a page")
    asking.ask()

    assert asking.server.stations == ["ELM", "OAK"] * 2


def test_a_removed_row_leaves_the_file_and_not_the_store(asking: Asking) -> None:
    asking.ask()
    asking.rows("OAK")
    asking.ask()
    gone = asking.names()
    asking.rows("ELM", "OAK")
    asking.ask()

    assert gone == ["OAK"]
    assert asking.names() == ["ELM", "OAK"]
    assert len(asking.server.stations) == 2


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        pytest.param(chats.not_json, "expected JSON, found", id="not JSON"),
        pytest.param(chats.field_twice, "expected JSON with each key once", id="field twice"),
        pytest.param(chats.wrong_schema, "under the declared schema", id="wrong schema"),
        pytest.param(chats.wrong_station, "expected station_name 'ELM'", id="wrong station"),
        pytest.param(chats.refusal, "found a refusal", id="refusal"),
        pytest.param(chats.cut_off, "found an answer that is cut off", id="cut off"),
    ],
)
def test_a_bad_answer_is_requested_again_and_then_refused_for_good(
    asking: Asking, behaviour: chats.Behaviour, why: str
) -> None:
    asking.rows("ELM")
    asking.server.default_behaviour = behaviour

    fetch = asking.ask()
    asking.ask(at=NOON + timedelta(days=3))

    assert asking.server.stations == ["ELM", "ELM"]
    assert asking.names("without") == ["ELM"]
    assert why in (fetch.warning or "")
    assert fetch.status is FetchStatus.FETCHED


def test_a_good_answer_replaces_a_bad_one(asking: Asking) -> None:
    asking.server.next_behaviours.append(chats.wrong_schema)

    fetch = asking.ask()

    assert asking.server.stations == ["ELM", "ELM", "OAK"]
    assert (asking.names(), fetch.warning) == (["ELM", "OAK"], None)


def test_an_answer_in_a_code_fence_is_accepted(asking: Asking) -> None:
    asking.server.default_behaviour = chats.fenced

    asking.ask()

    assert asking.names() == ["ELM", "OAK"]


def test_force_requests_only_refused_answers_again(asking: Asking) -> None:
    asking.server.next_behaviours += [chats.refusal, chats.refusal]
    asking.ask()

    asking.ask(force=True)

    assert asking.server.stations == ["ELM", "ELM", "OAK", "ELM"]
    assert asking.names() == ["ELM", "OAK"]


@pytest.mark.parametrize("behaviour", [chats.rate_limited, chats.out_of_order])
def test_a_temporary_fault_is_retried(asking: Asking, behaviour: chats.Behaviour) -> None:
    asking.server.next_behaviours.append(behaviour)

    fetch = asking.ask()

    assert (fetch.status, fetch.attempts) == (FetchStatus.FETCHED, 3)
    assert asking.names() == ["ELM", "OAK"]


def test_a_failed_request_is_an_outage_and_other_answers_are_kept(asking: Asking) -> None:
    asking.server.next_behaviours += [chats.answer_well, chats.rate_limited, chats.rate_limited]

    fetch = asking.ask()
    healed = asking.ask()

    assert (fetch.status, healed.status) == (FetchStatus.OUTAGE, FetchStatus.FETCHED)
    assert "1 of 2 requests failed, first: OAK" in (fetch.fault or "")
    assert asking.names() == ["ELM", "OAK"]
    assert asking.server.stations == ["ELM", "OAK", "OAK", "OAK"]


def test_a_refused_key_stops_the_requests(asking: Asking) -> None:
    asking.server.default_behaviour = chats.no_key

    fetch = asking.ask()

    assert fetch.status is FetchStatus.MISSING
    assert asking.server.stations == ["ELM"]
    assert "answered 401" in (fetch.fault or "")


def test_a_source_without_its_key_is_off_with_the_reason(asking: Asking) -> None:
    fetch = asking.ask(missing_settings="THE_KEY")
    again = asking.ask(missing_settings="THE_KEY")

    assert (fetch.status, again.status) == (FetchStatus.OFF, FetchStatus.OFF)
    assert "off, as THE_KEY is not set" in fetch.decision.detail
    assert (again.decision.fetch, asking.server.stations) == (False, [])


def test_stored_answers_are_used_without_the_key(asking: Asking) -> None:
    asking.ask()

    fetch = asking.ask(missing_settings="THE_KEY")

    assert fetch.status is FetchStatus.UNCHANGED
    assert asking.names() == ["ELM", "OAK"]


@pytest.mark.fault("missing-secret")
def test_an_empty_key_is_an_outage_of_the_requests_that_are_due(asking: Asking) -> None:
    fault = "THE_KEY: expected a secret, found an empty text"
    empty = asking.ask(settings_fault=fault)
    sent_without_key = list(asking.server.stations)
    asking.ask()
    answered = asking.ask(settings_fault=fault)
    asking.rows("ASH", "ELM", "OAK")
    more = asking.ask(settings_fault=fault)

    assert (empty.status, sent_without_key) == (FetchStatus.MISSING, [])
    assert empty.fault == f"2 of 2 requests failed, first: ELM: {fault}; also OAK"
    assert (answered.status, answered.fault) == (FetchStatus.UNCHANGED, None)
    assert (more.status, asking.names()) == (FetchStatus.OUTAGE, ["ELM", "OAK"])
    assert more.fault == f"1 of 3 requests failed, first: ASH: {fault}"
    assert asking.server.stations == ["ELM", "OAK"]


def test_the_daily_limit_postpones_the_rest_to_another_day(asking: Asking) -> None:
    asking.ask(daily_limit=1)
    same_day = asking.ask(daily_limit=1, at=NOON + timedelta(hours=1))
    first = asking.names()
    asking.ask(daily_limit=1, at=NOON + timedelta(days=1))

    assert first == ["ELM"]
    assert "the daily limit of 1 requests is reached" in same_day.decision.detail
    assert asking.names() == ["ELM", "OAK"]
    assert asking.server.stations == ["ELM", "OAK"]


def test_bad_answers_count_against_the_daily_limit(asking: Asking) -> None:
    asking.server.default_behaviour = chats.refusal

    asking.ask(daily_limit=1)

    assert asking.server.stations == ["ELM"]


def test_the_cost_cap_is_never_exceeded(asking: Asking) -> None:
    fetch = asking.ask(max_cost_usd_per_day=0.3)

    spent = 0.2  # 2,000 tokens at 100 USD a million
    assert asking.server.stations == ["ELM"]
    assert f"leaves {0.3 - spent:.4f} USD" in fetch.decision.detail


def test_the_key_is_sent_and_never_stored(asking: Asking) -> None:
    def echoing(station: str) -> chats.Reply:
        answer = {"station_name": station, "exits": [], "note": f"your key is {SECRET}"}
        return chats.completion(answer)

    asking.server.default_behaviour = echoing
    asking.ask()

    assert asking.server.keys == [f"Bearer {SECRET}"] * 2
    files = [path for path in asking.home.root.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_a_request_with_a_body_follows_no_redirect(asking: Asking) -> None:
    elsewhere = f"{asking.server.url}/other"
    asking.server.default_behaviour = lambda _: (307, {"Location": elsewhere}, b"")

    fetch = asking.ask()

    assert fetch.status is FetchStatus.MISSING
    assert "found a redirect" in (fetch.fault or "")


SEARCH = {"path": "/search?of={name}", "chat": None, "keep_days": 30}
SEARCH |= {"mirror_name": {"column": "name", "case": "title"}}


def make_mirror(asking: Asking, *names: str) -> Path:
    """A mirror that has an answer for each of these names."""
    mirror = asking.folder / "mirror"
    folder = mirror / asking.server.url.removeprefix("http://") / "search"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.json").write_text('{"found": 1}', encoding="utf-8")
    return mirror


def test_a_search_is_repeated_when_its_answer_is_old(asking: Asking) -> None:
    make_mirror(asking, "Elm", "Oak")
    resolver = LocationResolver(asking.home.root, asking.server.url)

    for days in (0, 29, 30):
        asking.ask(at=NOON + timedelta(days=days), resolver=resolver, **SEARCH)

    assert asking.server.fetched == ["GET Elm.json", "GET Oak.json"] * 2


@pytest.mark.parametrize("mirror", ["directory", "server"])
def test_a_mirror_may_have_its_own_spelling_of_a_value(asking: Asking, mirror: str) -> None:
    directory = make_mirror(asking, "Elm", "oak_TREE")
    where = str(directory) if mirror == "directory" else asking.server.url
    mirror_name = {"column": "name", "case": "title", "spelt": {"OAK": "oak_TREE"}}

    fetch = asking.ask(
        resolver=LocationResolver(asking.home.root, where), **SEARCH | {"mirror_name": mirror_name}
    )

    assert fetch.decision.detail == "2 requests: 2 answered"


@pytest.mark.fault("no-result")
@pytest.mark.parametrize("mirror", ["directory", "server"])
def test_a_row_without_an_answer_has_no_result_and_is_no_outage(
    asking: Asking, mirror: str
) -> None:
    directory = make_mirror(asking, "Elm")
    where = str(directory) if mirror == "directory" else asking.server.url

    fetch = asking.ask(resolver=LocationResolver(asking.home.root, where), **SEARCH)

    assert fetch.status is FetchStatus.FETCHED
    assert (asking.names(), asking.names("without")) == (["ELM"], ["OAK"])
    assert fetch.decision.detail == "2 requests: 1 answered, 1 no result"


def test_an_answer_new_in_the_mirror_is_collected(asking: Asking) -> None:
    resolver = LocationResolver(asking.home.root, str(make_mirror(asking, "Elm")))
    asking.ask(resolver=resolver, **SEARCH)
    make_mirror(asking, "Oak")

    asking.ask(resolver=resolver, **SEARCH)

    assert asking.names() == ["ELM", "OAK"]


def test_rows_with_equal_requests_share_one(asking: Asking) -> None:
    asking.server.default_behaviour = lambda _: chats.completion({"station_name": "X", "exits": []})

    asking.ask(chat=CHAT | {"prompt": "Name a fruit.", "repeats": {}})

    assert len(asking.server.stations) == 1
    assert asking.names() == ["ELM", "OAK"]


@pytest.mark.fault("too-large")
def test_an_answer_over_the_size_limit_is_an_outage(asking: Asking) -> None:
    make_mirror(asking, "Elm", "Oak")
    resolver = LocationResolver(asking.home.root, asking.server.url)

    fetch = asking.ask(resolver=resolver, limits={"max_bytes": 5}, **SEARCH)

    assert fetch.status is FetchStatus.MISSING
    assert "expected at most 5 bytes; see limits.max_bytes" in (fetch.fault or "")


def test_an_answer_that_cannot_be_read_from_the_mirror_is_an_outage(asking: Asking) -> None:
    mirror = make_mirror(asking, "Elm")
    folder = next(mirror.rglob("Elm.json")).parent
    (folder / "Oak.json").mkdir()

    fetch = asking.ask(resolver=LocationResolver(asking.home.root, str(mirror)), **SEARCH)

    assert "Is a directory" in (fetch.fault or "")


def test_a_damaged_stored_answer_is_an_error_with_its_path(asking: Asking) -> None:
    resolver = LocationResolver(asking.home.root, str(make_mirror(asking, "Elm", "Oak")))
    asking.ask(resolver=resolver, **SEARCH)
    path = next(asking.home.root.rglob("answers/**/*.json"))
    path.write_text("{", encoding="utf-8")

    with pytest.raises(HomeError, match=f"{path}: expected a stored answer"):
        asking.ask(resolver=resolver, **SEARCH)


def test_a_stored_answer_names_its_attempts_as_earlier_versions_did(asking: Asking) -> None:
    resolver = LocationResolver(asking.home.root, str(make_mirror(asking, "Elm", "Oak")))

    asking.ask(resolver=resolver, **SEARCH)

    stored = json.loads(next(asking.home.root.rglob("answers/**/*.json")).read_bytes())
    assert list(stored) == ["request_sha256", "key", "status", "asked", "body"]
    assert stored["asked"] == [{"at": "2026-03-01T12:00:00Z", "cost_usd": 0.0, "fault": None}]
