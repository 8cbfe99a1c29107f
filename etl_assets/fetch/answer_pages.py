"""The pages of one answer: whether there is another one, its address, and all pages as one answer.

How an answer states that it has more is declared (`etl_assets.declarations.answers`); sending the
request for a page is `etl_assets.fetch.row_requests`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from etl_assets.declarations.answers import Pages
from etl_assets.declarations.json_path import parse_path
from etl_assets.fetch.answer_shape import quote_value, read_member
from etl_assets.fetch.network_guard import resolve_redirect
from etl_assets.model.errors import ContentError

MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Page:
    """One response of several: its JSON, and the next address in its header."""

    body: Any
    next_link: str | None = None


@dataclass(frozen=True, slots=True)
class PagedAnswer:
    """The first page with the items of all pages, and what the operator has to know about it."""

    body: Any
    pages: int = 1
    is_cut_off: bool = False
    """True if there are more pages than the declared number."""
    note: str | None = None


def read_pages(
    pages: Pages | None, url: str, send: Callable[[str, int], Page], *, is_private: bool
) -> PagedAnswer:
    """Returns an answer with the items of its pages, each requested by `send(url, number)`.

    Raises ContentError for pages that repeat, TransferRefusedError for the address of a page that
    a redirect could not have either (unless `is_private`, a private one), and what `send` raises.
    """
    page = send(url, 1)
    if pages is None:
        return PagedAnswer(page.body)
    answer, number, visited = page.body, 1, {url}
    items = last_items = _read_items(pages, page.body)
    while following := _next_url(pages, url, page, number, len(items), is_private=is_private):
        if following in visited:
            raise ContentError.of(f"page {number}", "another page", "the address of a page before")
        if number == pages.max_pages:
            note = f"{number} pages read, there are more; see for_each.pages.max_pages"
            merged = _with_items(pages, answer, items)
            return PagedAnswer(merged, number, is_cut_off=True, note=note)
        visited.add(following)
        url, number = following, number + 1
        page = send(url, number)
        new_items = _read_items(pages, page.body)
        if not new_items and pages.by in {"number", "offset"}:
            note = f"page {number} is empty, although there should be more items than {len(items)}"
            return PagedAnswer(_with_items(pages, answer, items), number, note=note)
        if new_items == last_items and pages.by in {"number", "offset"}:
            raise ContentError.of(f"page {number}", "other items than before", "the same again")
        items, last_items = [*items, *new_items], new_items
    return PagedAnswer(_with_items(pages, answer, items), number)


def has_unread_pages(pages: Pages, body: object) -> bool:
    """True if a stored answer of one page states that it has more."""
    try:
        if pages.by in {"cursor", "link"}:
            return pages.next is not None and _read_next(pages, body) is not None
        return _states_more(pages, body, 1, len(_read_items(pages, body)))
    except ContentError:
        return True


def _next_url(
    pages: Pages, url: str, page: Page, number: int, received: int, *, is_private: bool
) -> str | None:
    """Returns the address of the page after `page`, whose address is `url`; None after the last."""
    if pages.by in {"number", "offset"}:
        if not _states_more(pages, page.body, number, received):
            return None
        passed = number if pages.by == "number" else received
        return _with_parameter(url, pages, str(pages.first_value + passed))
    following = _read_next(pages, page.body) if pages.next else page.next_link
    if not following:
        return None
    if pages.by == "cursor":
        return _with_parameter(url, pages, following)
    return resolve_redirect(url, following, private=is_private, kind="next page")


def _read_next(pages: Pages, body: object) -> str | None:
    """Returns the cursor or the address of the next page; None on the last."""
    following = read_member(body, pages.next or "")
    if not following or (pages.has_more and not _is_true(body, pages.has_more)):
        return None
    if isinstance(following, str) or (pages.by == "cursor" and isinstance(following, int)):
        return str(following)
    expected = "a cursor" if pages.by == "cursor" else "an address"
    raise ContentError.of(pages.next or "", expected, quote_value(following))


def _states_more(pages: Pages, body: object, number: int, received: int) -> bool:
    """True if a page states that there is another one, after so many pages and items."""
    counts = ((pages.total_pages, number), (pages.total_items, received))
    for path, count in counts:
        if path and _read_count(body, path) > count:
            return True
    return bool(pages.has_more and _is_true(body, pages.has_more))


def _is_true(body: object, path: str) -> bool:
    return str(read_member(body, path)).casefold() in {"true", "yes", "1"}


def _read_count(body: object, path: str) -> int:
    """Returns a number of pages or items, 0 if it is not stated; raises ContentError for others."""
    value = read_member(body, path)
    if value is None:
        return 0
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or len(text) > MAX_DIGITS:
        raise ContentError.of(path, "a number", quote_value(value))
    return int(text)


def _read_items(pages: Pages, body: object) -> list[Any]:
    path = pages.items.removesuffix("[]")
    items = read_member(body, path) if path else body
    if items is None:
        return []
    if not isinstance(items, list):
        raise ContentError.of(pages.items, "a list", quote_value(items))
    return items


def _with_items(pages: Pages, body: Any, items: list[Any]) -> Any:  # noqa: ANN401 - JSON
    """Returns the first page with these items in the place of its own."""
    names = [step.name for step in parse_path(pages.items) if step.kind == "field"]
    if not names:
        return items
    return _replace(body, names, items)


def _replace(value: object, names: list[str], items: list[Any]) -> object:
    if not names:
        return items
    members = value if isinstance(value, dict) else {}
    return {**members, names[0]: _replace(members.get(names[0]), names[1:], items)}


def _with_parameter(url: str, pages: Pages, value: str) -> str:
    """Returns the URL with another value of the declared parameter; the rest keeps its bytes."""
    name = pages.parameter or ""
    text = f"{name}={quote(value, safe='')}"
    changed, count = re.subn(rf"(?<=[?&]){re.escape(name)}=[^&#]*", lambda _: text, url, count=1)
    if count:
        return changed
    return f"{url}{'&' if '?' in url else '?'}{text}"
