"""A response that is no answer: never stored, never paid for, shown, and requested again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support import chat_endpoint as chats
from support.asking import CHAT, NOON, SECRET, Asking

from etl_assets.fetch.row_requests import AnswerStore
from etl_assets.model.records import FetchStatus

SEARCH: dict[str, Any] = {
    "path": "/search?of={name}",
    "chat": None,
    "keep_days": 90,
    "row_path": "answers[].answer.results[]",
    "shape": {"required": ["results[]"]},
}
MAPS = {"required": ["status"], "values": {"status": ["OK", "ZERO_RESULTS"], "ok": [True]}}


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    with chats.run_endpoint(tmp_path / "mirror") as server:
        yield Asking(tmp_path, server)


def found(*names: str) -> bytes:
    return json.dumps({"results": [{"n": name} for name in names]}).encode()


def serve(asking: Asking, *bodies: object, headers: dict[str, str] | None = None) -> None:
    """Answer the next requests with these bodies, as 200; the last one answers all that follow."""
    left = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]

    def answer(_path: str) -> chats.Reply:
        return 200, headers or {}, left.pop(0) if len(left) > 1 else left[0]

    asking.server.answer_get = answer


@pytest.mark.fault("json-twice")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"results": [{"n": "a"}], "results": []}', id="top"),
        pytest.param(b'{"results": [{"n": "a", "\\u006e": "b"}]}', id="record, escaped"),
    ],
)
def test_an_answer_with_a_field_twice_is_not_stored(asking: Asking, body: bytes) -> None:
    asking.rows("ELM")
    serve(asking, body)

    fetch = asking.ask(**SEARCH)

    assert "more than once" in (fetch.fault or "")
    assert stored_answers(asking) == []


def stored_answers(asking: Asking) -> list[Path]:
    return sorted(asking.home.root.rglob("answers/**/*.json"))


@pytest.mark.fault("answer-error")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param({"error": "no such layer"}, "no such layer", id="text"),
        pytest.param({"error": {"code": 17, "message": "bad"}}, '"message":"bad"', id="object"),
        pytest.param({"errors": [{"reason": "expired"}]}, "expired", id="list"),
        pytest.param({"error": "x", "results": []}, '"error":"x"', id="beside results"),
        pytest.param({"message": "quota used up"}, "quota used up", id="another member"),
        pytest.param({"results": None}, "results[]", id="null"),
        pytest.param({"results": "too busy"}, "too busy", id="text for a list"),
        pytest.param({"results": ["too busy"]}, "an object at results[]", id="no records"),
        pytest.param({}, "an answer with results[]", id="empty object"),
        pytest.param([], "an answer with results[]", id="another top"),
        pytest.param("slow down", "slow down", id="top-level text"),
        pytest.param(None, "found null", id="top-level null"),
        pytest.param(b"", "an empty body", id="empty body"),
        pytest.param(b"  \n", "an empty body", id="blank body"),
        pytest.param(found("a")[:-4], "expected JSON", id="cut off"),
        pytest.param(b"\xff\xfe{", "UTF-16 text", id="another encoding"),
        pytest.param(
            b"<html><title>Sorry\x1b[2J</title></html>", "HTML page titled 'Sorry", id="page"
        ),
    ],
)
def test_an_error_in_a_response_of_status_200_is_an_outage_and_is_not_stored(
    asking: Asking, body: object, words: str
) -> None:
    serve(asking, found("a"), body)

    fetch = asking.ask(**SEARCH)
    stored = stored_answers(asking)
    serve(asking, found("b"))
    healed = asking.ask(**SEARCH)

    assert fetch.status is FetchStatus.OUTAGE
    assert "1 of 2 requests failed, first: OAK: " in (fetch.fault or "")
    assert words in (fetch.fault or "")
    assert "\x1b" not in (fetch.fault or "")
    assert len(stored) == 1
    assert (healed.status, asking.names()) == (FetchStatus.FETCHED, ["ELM", "OAK"])
    assert asking.server.fetched[-1] == "/search?of=OAK"
    assert len(asking.server.fetched) == 3


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"error": {"code": 429, "message": "slow down"}}, id="number"),
        pytest.param({"error": {"code": "429"}}, id="number as text"),
        pytest.param({"error": "429 Too Many Requests"}, id="in a text"),
        pytest.param({"errors": [{"status": 429}]}, id="in a list"),
        pytest.param({"code": 429, "message": "slow down"}, id="at the top"),
        pytest.param({"error": True, "statusCode": 503}, id="beside the error"),
        pytest.param({"error": {"code": "ratelimited", "info": "wait"}}, id="a declared word"),
        pytest.param({"status": "OVER_QUERY_LIMIT", "results": []}, id="a status"),
    ],
)
def test_a_code_that_asks_to_wait_is_waited_for(asking: Asking, body: object) -> None:
    shape = {"values": {"status": ["OK"]}, "busy": [429, "RateLimited", "OVER_QUERY_LIMIT"]}
    serve(asking, body, found("a"))

    fetch = asking.ask(**SEARCH | {"shape": SEARCH["shape"] | shape})

    assert (fetch.status, fetch.attempts) == (FetchStatus.FETCHED, 3)
    assert asking.names() == ["ELM", "OAK"]


def test_the_retry_after_of_an_error_is_waited_for(asking: Asking) -> None:
    serve(asking, {"error": {"code": 429}}, found("a"), headers={"Retry-After": "1"})

    fetch = asking.ask(**SEARCH)

    assert fetch.status is FetchStatus.FETCHED
    assert 0.5 < fetch.waited_seconds < 1.5


def test_an_error_with_another_code_is_not_repeated_in_the_same_run(asking: Asking) -> None:
    serve(asking, {"error": {"code": 400, "message": "no such field"}})

    fetch = asking.ask(**SEARCH)

    assert (fetch.status, fetch.attempts) == (FetchStatus.MISSING, 2)
    assert "2 of 2 requests failed, first: ELM" in (fetch.fault or "")
    assert "also OAK" in (fetch.fault or "")


def test_an_error_that_denies_access_ends_the_requests(asking: Asking) -> None:
    serve(asking, {"error": {"code": 401, "message": "key expired"}})

    fetch = asking.ask(**SEARCH)

    assert len(asking.server.fetched) == 1
    assert "the endpoint denies access" in (fetch.fault or "")


def test_an_endpoint_that_stays_busy_is_left_alone(asking: Asking) -> None:
    asking.rows(*[f"N{number:02}" for number in range(20)])
    serve(asking, {"error": {"code": 429}})

    fetch = asking.ask(**SEARCH, limits={"failures_before_pause": 3})

    assert len(asking.server.fetched) == 6  # two attempts each
    assert "3 of 20 requests failed" in (fetch.fault or "")
    assert "3 requests in a row failed" in (fetch.fault or "")


@pytest.mark.parametrize(
    ("shape", "body", "is_good"),
    [
        pytest.param(MAPS, {"status": "OK", "results": []}, True, id="OK"),
        pytest.param(MAPS, {"status": "ZERO_RESULTS"}, True, id="nothing found"),
        pytest.param(MAPS, {"status": "REQUEST_DENIED"}, False, id="denied"),
        pytest.param(MAPS, {"results": []}, False, id="no status"),
        pytest.param(MAPS, {"status": "OK", "ok": False}, False, id="not ok"),
        pytest.param({}, {"error": None, "errors": [], "results": []}, True, id="no errors"),
        pytest.param({}, {"error": "", "errors": {}}, True, id="empty errors"),
        pytest.param({"required": ["[]"]}, [], False, id="rows are elsewhere"),
        pytest.param({"required": [["query", "done"]]}, {"done": True}, True, id="one of two"),
        pytest.param({"required": [["query", "done"]]}, {"x": 1}, False, id="none of two"),
        pytest.param({"errors": ["a[].error"]}, {"a": [{}, {"error": 1}]}, False, id="in an item"),
        pytest.param({"required": ["a[].id"]}, {"a": [{"id": 1}, {}]}, False, id="not in all"),
        pytest.param({"required": ["@odata.count"]}, {"@odata.count": 0}, True, id="a dotted name"),
    ],
)
def test_a_shape_may_name_values_and_alternatives(
    asking: Asking, shape: dict[str, Any], body: object, is_good: bool
) -> None:
    asking.rows("ELM")
    serve(asking, body)

    fetch = asking.ask(**SEARCH | {"shape": shape})

    assert (fetch.status is FetchStatus.FETCHED) is is_good
    assert len(stored_answers(asking)) == is_good


@pytest.mark.fault("no-result")
def test_an_answer_without_results_is_stored_as_no_result(asking: Asking) -> None:
    serve(asking, found("a"), found())

    fetch = asking.ask(**SEARCH)
    asking.ask(**SEARCH)

    assert fetch.decision.detail == "2 requests: 1 answered, 1 no result"
    assert (asking.names(), asking.names("without")) == (["ELM"], ["OAK"])
    assert len(asking.server.fetched) == 2


@pytest.mark.parametrize(
    "error",
    [
        pytest.param({"message": "denied", "api_key": "topsecret-" * 40}, id="member"),
        pytest.param({"message": "denied for key=topsecret now"}, id="in a text"),
        pytest.param("denied: https://me:topsecret@a.example/?token=topsecret", id="address"),
        pytest.param([{"raw": '{"denied": 1, "token": "topsecret"}'}], id="JSON in a text"),
    ],
)
def test_words_of_an_error_are_shown_without_secrets(asking: Asking, error: object) -> None:
    serve(asking, {"error": error})

    fetch = asking.ask(**SEARCH)

    assert "denied" in (fetch.fault or "")
    assert "topsecret" not in (fetch.fault or "")


def replace_body(asking: Asking, body: object) -> None:
    """Write another body into the first stored answer, as an earlier version would have stored."""
    path = stored_answers(asking)[0]
    stored = json.loads(path.read_bytes())
    path.write_text(json.dumps(stored | {"body": body}), encoding="utf-8")


@pytest.mark.fault("answer-error")
def test_a_stored_error_of_an_earlier_version_is_requested_again(asking: Asking) -> None:
    serve(asking, found("a"))
    asking.ask(**SEARCH)
    replace_body(asking, {"error": {"code": 429}})
    asking.server.fetched.clear()

    fetch = asking.ask(**SEARCH)

    assert len(asking.server.fetched) == 1
    assert fetch.decision.detail == "2 requests: 2 answered"
    assert b'"error"' not in b"".join(path.read_bytes() for path in stored_answers(asking))


def test_a_stored_error_is_not_used_while_the_endpoint_still_fails(asking: Asking) -> None:
    asking.rows("ELM")
    serve(asking, {"error": "quota"})
    asking.ask(**SEARCH | {"shape": {"errors": []}, "row_path": "answers[]"})
    stored_as_good = asking.names()

    fetch = asking.ask(**SEARCH)
    again = asking.ask(**SEARCH)

    assert stored_as_good == ["ELM"]
    assert (fetch.status, asking.index["answers"]) == (FetchStatus.OUTAGE, [])
    assert again.status is FetchStatus.OUTAGE
    assert len(asking.server.fetched) == 3


def test_a_failed_request_leaves_the_last_good_answer_for_its_key_in_use(asking: Asking) -> None:
    serve(asking, found("a"))
    asking.ask(**SEARCH)
    before = asking.index["answers"]

    serve(asking, {"error": "quota"})
    fetch = asking.ask(**SEARCH | {"path": "/search?of={name}&v=2"})
    again = asking.ask(**SEARCH | {"path": "/search?of={name}&v=2"})
    cut = asking.index["answers"]
    serve(asking, found("b"))
    asking.ask(**SEARCH | {"path": "/search?of={name}&v=2"})

    assert "2 earlier answers are used" in (fetch.fault or "")
    assert (fetch.status, again.status) == (FetchStatus.OUTAGE, FetchStatus.OUTAGE)
    assert cut == before
    assert [entry["answer"]["results"] for entry in asking.index["answers"]] == [[{"n": "b"}]] * 2


def test_an_earlier_answer_is_used_when_the_store_of_answers_is_lost(asking: Asking) -> None:
    serve(asking, found("a"))
    asking.ask(**SEARCH)
    for path in stored_answers(asking):
        path.unlink()
    serve(asking, {"error": "quota"})

    fetch = asking.ask(**SEARCH)

    assert (fetch.status, asking.names()) == (FetchStatus.OUTAGE, ["ELM", "OAK"])


def test_the_daily_limit_counts_searches_of_the_same_run(asking: Asking) -> None:
    serve(asking, found("a"))

    asking.ask(**SEARCH, daily_limit=1)

    assert len(asking.server.fetched) == 1


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("answer-error", "error-page")
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        pytest.param(chats.error_object(400, "bad model"), "bad model", id="error object"),
        pytest.param(chats.error_object(402, "no credits"), "no credits", id="no money"),
        pytest.param(chats.error_object(429), "try later", id="too many"),
        pytest.param(chats.error_in_choice, "no backend", id="error in a choice"),
        pytest.param(chats.no_completion, "an HTML page titled 'Welcome'", id="a page"),
        pytest.param(chats.empty_body, "an empty body", id="empty body"),
        pytest.param(chats.cut_body, "expected JSON", id="cut off"),
        pytest.param(chats.no_choice, "expected a completion, found no choice", id="no choice"),
        pytest.param(lambda _: (404, {}, b"{}"), "answered 404", id="unknown model"),
    ],
)
def test_an_error_of_a_model_is_not_paid_for_and_not_counted(
    asking: Asking, behaviour: chats.Behaviour, words: str
) -> None:
    asking.rows("ELM")
    asking.server.default_behaviour = behaviour

    for _ in range(3):  # more often than `attempts` would allow for answers
        fetch = asking.ask(daily_limit=1, max_cost_usd_per_day=0.2)
    usage = AnswerStore(asking.home.answers("orchard", "fruits")).usage_on(NOON.date())
    asking.server.default_behaviour = chats.answer_well
    healed = asking.ask(daily_limit=1, max_cost_usd_per_day=0.2)

    assert (fetch.status, words in (fetch.fault or "")) == (FetchStatus.MISSING, True), fetch.fault
    assert (usage.requests, usage.cost_usd) == (0, 0)
    assert (healed.status, asking.names()) == (FetchStatus.FETCHED, ["ELM"])


def test_a_busy_model_is_waited_for(asking: Asking) -> None:
    asking.server.next_behaviours.append(chats.error_object(429))

    fetch = asking.ask()

    assert (fetch.status, fetch.attempts) == (FetchStatus.FETCHED, 3)
    assert asking.server.stations == ["ELM", "ELM", "OAK"]


def test_a_completion_with_unreadable_usage_is_counted_with_the_maximum_cost(
    asking: Asking,
) -> None:
    def odd_usage(station: str) -> chats.Reply:
        status, headers, body = chats.answer_well(station)
        return (
            status,
            headers,
            json.dumps(json.loads(body) | {"usage": {"prompt_tokens": "many"}}).encode(),
        )

    asking.rows("ELM")
    asking.server.default_behaviour = odd_usage

    asking.ask()

    usage = AnswerStore(asking.home.answers("orchard", "fruits")).usage_on(NOON.date())
    assert asking.names() == ["ELM"]
    assert usage.cost_usd > 0.1


def store_refusal(asking: Asking, fault: str, **changes: Any) -> None:
    """Write a refused answer of two attempts with this fault into the store."""
    [request] = asking.requests(asking.source())
    path = AnswerStore(asking.home.answers("orchard", "fruits")).folder / request.sha256[:2]
    path.mkdir(parents=True)
    attempt = {"at": "2026-02-01T12:00:00Z", "cost_usd": 0.1, "fault": fault}
    stored = {
        "request_sha256": request.sha256,
        "key": request.key,
        "status": "refused",
        "asked": [attempt, attempt],
        "body": None,
    }
    (path / f"{request.sha256}.json").write_text(json.dumps(stored | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        pytest.param("expected a completion, found: missing `choices`", 1, id="an error"),
        pytest.param('expected JSON, found "Sure!"', 0, id="an answer"),
    ],
)
def test_errors_that_an_earlier_version_counted_as_answers_of_a_model_are_requested_again(
    asking: Asking, fault: str, requests: int
) -> None:
    asking.rows("ELM")
    store_refusal(asking, fault)

    asking.ask()

    assert len(asking.server.stations) == requests


def test_a_stored_completion_under_another_schema_is_requested_again(asking: Asking) -> None:
    asking.rows("ELM")
    asking.ask()
    stricter = CHAT["answer"] | {"required": ["station_name", "exits", "lifts"]}  # type: ignore[operator]
    asking.server.default_behaviour = lambda station: chats.completion(
        {"station_name": station, "exits": [], "lifts": 1}
    )

    fetch = asking.ask(chat=CHAT | {"answer": stricter}, at=NOON + timedelta(hours=1))

    assert (len(asking.server.stations), asking.names()) == (2, ["ELM"])
    assert fetch.status is FetchStatus.FETCHED
    usage = AnswerStore(asking.home.answers("orchard", "fruits")).usage_on(NOON.date())
    assert usage.requests == 2  # both were paid for


def test_a_secret_that_an_error_repeats_with_escapes_is_masked(asking: Asking) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in SECRET)
    body = b'{"error": {"message": "no account for ' + escaped.encode() + b'"}}'
    asking.server.default_behaviour = lambda _: (200, {}, body)

    fetch = asking.ask()

    assert "no account for ***" in (fetch.fault or "")
    assert SECRET not in (fetch.fault or "")
