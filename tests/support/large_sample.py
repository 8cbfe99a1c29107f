"""A sample large enough for limits in percent: 40 invented packages, 50 vulnerability ids each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

FEED = "advisory.echohq.com/data.json"
Feed = dict[str, dict[str, dict[str, str]]]


def add_large_feed(text: str) -> str:
    """Return the feed with 40 more packages of 50 ids each, every other one fixed."""
    pairs = {
        f"crowd{package:02}": {
            f"CVE-2026-{package * 100 + n:06}": {"fixed_version": "2.0-1"} if n % 2 else {}
            for n in range(50)
        }
        for package in range(40)
    }
    return json.dumps(json.loads(text) | pairs)


def edit_pairs(change: Callable[[Iterator[dict[str, str]]], None]) -> Callable[[str], str]:
    """Return an edit of the feed that applies `change` to the entries of the added packages."""

    def edit(text: str) -> str:
        feed: Feed = json.loads(text)
        change(
            pair for name, ids in feed.items() if name.startswith("crowd") for pair in ids.values()
        )
        return json.dumps(feed)

    return edit


def remove_fixes(count: int) -> Callable[[str], str]:
    """Return an edit that removes the fixed version of the first `count` fixed entries."""

    def change(pairs: Iterator[dict[str, str]]) -> None:
        for pair in [pair for pair in pairs if pair][:count]:
            pair.clear()

    return edit_pairs(change)


def mark_not_applicable(count: int) -> Callable[[str], str]:
    """Return an edit that makes the first `count` unfixed entries not applicable."""

    def change(pairs: Iterator[dict[str, str]]) -> None:
        for pair in [pair for pair in pairs if not pair][:count]:
            pair["fixed_version"] = "0"

    return edit_pairs(change)


def keep_one_package(text: str) -> str:
    """Return the feed with only the first added package."""
    return json.dumps({"crowd00": json.loads(text)["crowd00"]})
