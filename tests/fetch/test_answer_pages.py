"""Answers of several pages: followed as declared, stored whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support import chat_endpoint as chats
from support.asking import NOON, QUICK, Asking

from etl_assets.fetch.locations import LocationResolver
from etl_assets.fetch.row_requests import AnswerStore
from etl_assets.model.records import FetchResult, FetchStatus

LETTERS = "abcdefghijklmnopqrstuvwxyz"
NUMBER = {"by": "number", "parameter": "page", "items": "results[]", "total_pages": "pages"}
OFFSET = {"by": "offset", "parameter": "start", "items": "data.rows[]", "total_items": "data.total"}
CURSOR = {"by": "cursor", "parameter": "after", "items": "results[]", "next": "next.cursor"}
LINK = {"by": "link", "items": "results[]", "next": "links.next"}


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    with chats.run_endpoint(tmp_path / "mirror") as server:
        asking = Asking(tmp_path, server)
        asking.rows("ELM")
        yield asking


def ask(asking: Asking, paged: dict[str, Any], **declared: Any) -> FetchResult:
    items = paged["items"]
    given = {"path": "/search?of={name}&size=2", "chat": None, "pages": paged}
    given |= {"row_path": f"answers[].answer.{items}", "shape": {"required": [items]}}
    return asking.ask(**given | declared)


def query(path: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


def reply(body: object, **headers: str) -> chats.Reply:
    return 200, {name.replace("_", "-"): value for name, value in headers.items()}, encoded(body)


def encoded(body: object) -> bytes:
    return json.dumps(body).encode()


def rows(start: int, size: int = 2) -> list[dict[str, str]]:
    return [{"n": letter} for letter in LETTERS[start : start + size]]


def numbered(path: str) -> chats.Reply:
    page = int(query(path).get("page", 1))
    return reply({"pages": 3, "page": page, "results": rows((page - 1) * 2)})


def offset(path: str) -> chats.Reply:
    start = int(query(path).get("start", 0))
    return reply({"data": {"total": "6", "rows": rows(start)}})


def cursored(path: str) -> chats.Reply:
    after = query(path).get("after", "0/ &=")
    position = int(after.partition("/")[0])
    following = {"cursor": f"{position + 2}/ &="} if position < 4 else {}
    return reply({"results": rows(position), "next": following})


def linked(path: str) -> chats.Reply:
    page = int(query(path).get("page", 1))
    links = {"next": f"search?of=ELM&page={page + 1}"} if page < 3 else {"next": None}
    return reply({"results": rows((page - 1) * 2), "links": links})


def linked_in_header(path: str) -> chats.Reply:
    page = int(query(path).get("page", 1))
    link = f'</search?page={page + 1}>; rel="next"' if page < 3 else '</search>; rel="first"'
    return reply({"results": rows((page - 1) * 2)}, Link=link)


def flagged(path: str) -> chats.Reply:
    page = int(query(path).get("page", 1))
    return reply({"more": page < 3, "results": rows((page - 1) * 2)})


def flagged_cursors(path: str) -> chats.Reply:
    position = int(query(path).get("after", 0))
    following = {"cursor": position + 2}  # also on the last page
    return reply({"results": rows(position), "next": following, "more": position < 4})


def offset_from_one(path: str) -> chats.Reply:
    start = int(query(path).get("start", 1))
    return reply({"data": {"total": 6, "rows": rows(start - 1)}})


def collected(asking: Asking) -> str:
    [entry] = asking.index["answers"]
    body = entry["answer"]
    return "".join(row["n"] for row in body.get("data", {}).get("rows") or body["results"])


@pytest.mark.fault("answer-pages")
@pytest.mark.parametrize(
    ("pages", "server"),
    [
        pytest.param(NUMBER, numbered, id="number"),
        pytest.param(OFFSET, offset, id="offset"),
        pytest.param(CURSOR, cursored, id="cursor"),
        pytest.param(LINK, linked, id="link"),
        pytest.param({"by": "link", "items": "results[]"}, linked_in_header, id="Link header"),
        pytest.param(
            {"by": "number", "parameter": "page", "items": "results[]", "has_more": "more"},
            flagged,
            id="has more",
        ),
        pytest.param(CURSOR | {"has_more": "more"}, flagged_cursors, id="cursor with a flag"),
        pytest.param(OFFSET | {"first": 1}, offset_from_one, id="offset from 1"),
    ],
)
def test_all_pages_of_an_answer_are_one_answer(
    asking: Asking, pages: dict[str, Any], server: chats.Behaviour
) -> None:
    asking.server.answer_get = server

    fetch = ask(asking, pages)
    again = ask(asking, pages)

    assert (fetch.status, again.status) == (FetchStatus.FETCHED, FetchStatus.UNCHANGED)
    assert collected(asking) == "abcdef"
    assert (len(asking.server.fetched), fetch.warning) == (3, None)
    usage = AnswerStore(asking.home.answers("orchard", "fruits")).usage_on(NOON.date())
    assert usage.requests == 3


def test_a_parameter_that_the_address_has_is_replaced(asking: Asking) -> None:
    asking.server.answer_get = numbered

    ask(asking, NUMBER, path="/search?of={name}&page=1&size=2")

    assert asking.server.fetched == [f"/search?of=ELM&page={n}&size=2" for n in (1, 2, 3)]


@pytest.mark.parametrize("total", [0, 1, "1", None], ids=str)
def test_an_answer_that_states_no_more_pages_is_complete(asking: Asking, total: object) -> None:
    asking.server.answer_get = lambda _: reply({"pages": total, "results": rows(0)})

    fetch = ask(asking, NUMBER)

    assert (fetch.status, collected(asking)) == (FetchStatus.FETCHED, "ab")
    assert len(asking.server.fetched) == 1


@pytest.mark.fault("answer-pages")
@pytest.mark.parametrize(
    ("pages", "server"),
    [
        pytest.param(NUMBER, numbered, id="number"),
        pytest.param(OFFSET, offset, id="offset"),
        pytest.param(CURSOR, cursored, id="cursor"),
        pytest.param(LINK, linked, id="link"),
    ],
)
def test_a_limit_of_pages_is_shown_where_it_applies(
    asking: Asking, pages: dict[str, Any], server: chats.Behaviour
) -> None:
    asking.server.answer_get = server

    fetch = ask(asking, pages | {"max_pages": 2})
    again = ask(asking, pages | {"max_pages": 2}, limits={"max_bytes": 10_000})
    cut = collected(asking)
    ask(asking, pages | {"max_pages": 5})

    assert "1 answers are incomplete: ELM: 2 pages read, there are more" in (fetch.warning or "")
    assert (again.warning, cut) == (fetch.warning, "abcd")
    assert collected(asking) == "abcdef"  # with a higher limit it is requested again
    assert len(asking.server.fetched) == 5


def always(body: object) -> chats.Behaviour:
    return lambda _: reply(body)


@pytest.mark.fault("answer-pages")
@pytest.mark.parametrize(
    ("pages", "body", "words"),
    [
        pytest.param(NUMBER, {"pages": 9, "results": rows(0)}, "the same again", id="same page"),
        pytest.param(
            OFFSET, {"data": {"total": 9, "rows": rows(0)}}, "the same again", id="same offset"
        ),
        pytest.param(
            CURSOR,
            {"results": rows(0), "next": {"cursor": "x"}},
            "the address of a page before",
            id="same cursor",
        ),
        pytest.param(
            LINK,
            {"results": rows(0), "links": {"next": "/search?of=ELM&size=2"}},
            "the address of a page before",
            id="link to itself",
        ),
        pytest.param(NUMBER, {"pages": "many", "results": []}, "expected a number", id="no total"),
        pytest.param(NUMBER, {"pages": -2, "results": []}, "expected a number", id="negative"),
        pytest.param(NUMBER, {"pages": True, "results": []}, "expected a number", id="true"),
        pytest.param(
            CURSOR, {"results": [], "next": {"cursor": ["x"]}}, "expected a cursor", id="a list"
        ),
        pytest.param(LINK, {"results": [], "links": {"next": 2}}, "expected an address", id="2"),
        pytest.param(
            LINK,
            {"results": [], "links": {"next": "file:///etc/passwd"}},
            "expected an http or https address",
            id="a file",
        ),
    ],
)
def test_pages_that_repeat_or_lead_nowhere_are_an_outage(
    asking: Asking, pages: dict[str, Any], body: object, words: str
) -> None:
    asking.server.answer_get = always(body)

    fetch = ask(asking, pages)

    assert fetch.status is FetchStatus.MISSING
    assert words in (fetch.fault or "")
    assert len(asking.server.fetched) <= 2
    assert not [*asking.home.root.rglob("answers/**/*.json")]


@pytest.mark.fault("answer-pages", "answer-error")
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        pytest.param(reply({"error": "session expired"}), "session expired", id="error object"),
        pytest.param((500, {}, b""), "answered 500", id="500"),
        pytest.param((404, {}, b""), "page 2: ", id="404"),
        pytest.param((200, {}, b"<html><body>Sorry</body></html>"), "an HTML page", id="a page"),
    ],
)
def test_an_answer_of_which_a_page_fails_is_not_stored(
    asking: Asking, broken: chats.Reply, words: str
) -> None:
    asking.server.answer_get = lambda path: broken if "page=2" in path else numbered(path)

    fetch = ask(asking, NUMBER)
    stored = [*asking.home.root.rglob("answers/**/*.json")]
    asking.server.answer_get = numbered
    healed = ask(asking, NUMBER)

    assert (fetch.status, stored) == (FetchStatus.MISSING, [])
    assert words in (fetch.fault or "")
    assert (healed.status, collected(asking)) == (FetchStatus.FETCHED, "abcdef")


@pytest.mark.parametrize("pages", [NUMBER, OFFSET], ids=["number", "offset"])
def test_a_total_that_promises_too_much_is_a_warning(asking: Asking, pages: dict[str, Any]) -> None:
    def lying(path: str) -> chats.Reply:
        items = [] if {"page", "start"} & set(query(path)) else rows(0)
        return reply({"pages": 9, "results": items, "data": {"total": 9, "rows": items}})

    asking.server.answer_get = lying

    fetch = ask(asking, pages)
    again = ask(asking, pages)

    assert "ELM: page 2 is empty" in (fetch.warning or "")
    assert (again.warning, len(asking.server.fetched)) == (fetch.warning, 2)


def test_an_answer_stored_without_its_further_pages_is_requested_again(asking: Asking) -> None:
    asking.server.answer_get = numbered
    ask(asking, NUMBER, pages=None)
    first = collected(asking)

    ask(asking, NUMBER)

    assert (first, collected(asking)) == ("ab", "abcdef")
    assert len(asking.server.fetched) == 4


def test_pages_that_are_too_large_together_are_an_outage(asking: Asking) -> None:
    asking.server.answer_get = numbered

    fetch = ask(asking, NUMBER, limits={"max_bytes": 100})

    assert "expected at most 100 bytes; see limits.max_bytes" in (fetch.fault or "")


@pytest.mark.fault("answer-pages", "redirect-private", "redirect-scheme")
@pytest.mark.parametrize(
    ("link", "words"),
    [
        pytest.param("https://10.0.0.7/next", "a public address", id="private"),
        pytest.param("https://[::1]/next", "a public address", id="loopback"),
        pytest.param("https://printer.local/next", "a public address", id="private name"),
        pytest.param("http://orchard.example/next", "https to stay https", id="http"),
        pytest.param("https://orchard.example:0/next", "page 2: location: expected", id="port 0"),
        pytest.param("https://orchard.example/../../etc", "page 2: location: expected", id="out"),
    ],
)
def test_the_next_page_of_a_public_source_has_a_public_address(
    asking: Asking, link: str, words: str
) -> None:
    body = {"results": rows(0), "links": {"next": link}}
    asking.server.answer_get = always(body)
    resolver = LocationResolver(asking.home.root, asking.server.url)
    location = {"url": "https://orchard.example/search?of={name}"}

    fetch = ask(asking, LINK, location=location, resolver=resolver)

    assert words in (fetch.fault or "")
    assert len(asking.server.fetched) == 1


def test_a_mirror_has_the_pages_under_numbered_names(asking: Asking) -> None:
    asking.server.answer_get = lambda path: numbered(
        "/?page=" + (path.rpartition("Elm.")[2].removesuffix("json").strip(".") or "1")
    )
    resolver = LocationResolver(asking.home.root, asking.server.url)
    location = {"url": "https://orchard.example/search?of={name}"}
    mirror_name = {"column": "name", "case": "title"}

    ask(asking, NUMBER, location=location, resolver=resolver, mirror_name=mirror_name)

    folder = "/orchard.example/search"
    names = ["Elm.json", "Elm.2.json", "Elm.3.json"]
    assert asking.server.fetched == [f"{folder}/{name}" for name in names]
    assert collected(asking) == "abcdef"


def test_the_key_is_not_sent_to_the_host_of_another_page(asking: Asking, tmp_path: Path) -> None:
    received: list[str] = []
    with chats.run_endpoint(tmp_path / "other") as other:
        other.answer_get = lambda _: reply({"results": rows(2), "links": {}})
        other.on_request = received.append
        asking.server.on_request = received.append
        asking.server.answer_get = always(
            {"results": rows(0), "links": {"next": f"{other.url}/search?page=2"}}
        )
        credentials = {"Authorization": {"env": "THE_KEY", "prefix": "Bearer "}}
        url = asking.server.url + "/search?of={name}"

        ask(asking, LINK, location={"url": url, "credentials": credentials}, limits=QUICK)

    assert collected(asking) == "abcd"
    assert [bool(header) for header in received] == [True, False]
