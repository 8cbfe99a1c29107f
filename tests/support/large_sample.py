"""A sample so large that shares count: 40 invented packages of 50 pairs each, and edits of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

FEED = "advisory.echohq.com/data.json"
Feed = dict[str, dict[str, dict[str, str]]]


def add_large_feed(text: str) -> str:
    """The sample's feed with 40 packages more, of 50 pairs each; every other one is fixed."""
    pairs = {
        f"crowd{package:02}": {
            f"CVE-2026-{package * 100 + n:06}": {"fixed_version": "2.0-1"} if n % 2 else {}
            for n in range(50)
        }
        for package in range(40)
    }
    return json.dumps(json.loads(text) | pairs)


def edit_pairs(how: Callable[[Iterator[dict[str, str]]], None]) -> Callable[[str], str]:
    """An edit of the pairs of the crowd, in their order."""

    def edit(text: str) -> str:
        feed: Feed = json.loads(text)
        how(pair for name, ids in feed.items() if name.startswith("crowd") for pair in ids.values())
        return json.dumps(feed)

    return edit


def remove_fixes(count: int) -> Callable[[str], str]:
    """The first so many fixed pairs lose their version."""

    def how(pairs: Iterator[dict[str, str]]) -> None:
        for pair in [pair for pair in pairs if pair][:count]:
            pair.clear()

    return edit_pairs(how)


def mark_not_applicable(count: int) -> Callable[[str], str]:
    """The first so many unfixed pairs become not applicable."""

    def how(pairs: Iterator[dict[str, str]]) -> None:
        for pair in [pair for pair in pairs if not pair][:count]:
            pair["fixed_version"] = "0"

    return edit_pairs(how)


def keep_one_package(text: str) -> str:
    """The feed cut to the first package of the crowd."""
    return json.dumps({"crowd00": json.loads(text)["crowd00"]})
