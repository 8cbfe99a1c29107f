"""What changed in a published set since a sequence number, for `etl changes`.

Read from the published feed alone; how it is written is `publish.writers.change_feed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from etl_assets.declarations.domain import Domain
from etl_assets.model.display_text import format_count
from etl_assets.model.errors import NotFoundError, UsageError
from etl_assets.model.home import Home
from etl_assets.model.records import Record
from etl_assets.publish import run_directory
from etl_assets.publish.writers.change_feed import (
    SEQUENCE,
    Sequence,
    describe_change,
    read_since,
)

FORMAT = "change_feed"


class Changes(Record):
    """The changes after a sequence number."""

    domain: str
    since: str
    newest: str = Field(description="the number to ask with the next time")
    is_complete: bool = Field(
        description="true if the number is not known: these are all rows, and what a reader has is"
        " to be dropped first"
    )
    changes: list[dict[str, Any]]

    def lines(self) -> list[str]:
        """Return the text for a terminal."""
        count = format_count(len(self.changes), "change")
        title = f"{self.domain}: {count} since {self.since}, the newest is {self.newest}"
        if self.is_complete:
            title = f"{self.domain}: all {len(self.changes):,} rows and changes up to {self.newest}"
        return [title, *(f"{each[SEQUENCE]}  {describe_change(each)}" for each in self.changes)]


def find_changes(
    home: Home, domains: Mapping[str, Domain], name: str | None, since: str
) -> Changes:
    """Return the changes of a domain; by default of the only one that publishes a feed.

    Raises UsageError if it has no feed or the number is malformed, NotFoundError if nothing is
    published.
    """
    feeds = {
        domain.name: document.file
        for domain in domains.values()
        for document in domain.documents
        if document.format == FORMAT
    }
    if name is None and len(feeds) == 1:
        (name,) = feeds
    if name is None or name not in feeds:
        known = ", ".join(sorted(feeds)) or "none"
        raise UsageError(
            f"expected a domain with a feed of changes ({known}), found {name or 'no name'}"
        )
    number = Sequence.parse(since)
    published = run_directory.published_directory(home, name)
    if published is None:
        raise NotFoundError(f"{name}: expected a published set, found none; `etl run {name}` first")
    feed = read_since(published / feeds[name], number)
    return Changes(
        domain=name,
        since=since,
        newest=feed.newest,
        is_complete=feed.is_complete,
        changes=feed.changes,
    )
