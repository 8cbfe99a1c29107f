"""What the lists of a site show of all entries, on changed and on unchanged pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

from etl_assets.publish.site.names import anchor, file_name, fragment, link
from etl_assets.publish.writers.rows import Rows

DIGITS = re.compile(r"(\d+)")


class Line(NamedTuple):
    """An entry in a list."""

    page: str
    entry: str
    entry_group: str
    state: str
    state_rank: int
    is_open: bool
    answer: str | None


class PageCounts(NamedTuple):
    """A page in a list."""

    page: str
    entries: int
    open_entries: int


@dataclass(slots=True)
class EntryNumbers:
    """On which of the files of its page an entry is, where there are several."""

    by_page: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, page: str, number: int, anchors: Iterable[str]) -> None:
        self.by_page.setdefault(page, {}).update(dict.fromkeys(anchors, number))

    def find(self, page: str, entry: str) -> int:
        numbers = self.by_page.get(page)
        return numbers[anchor(entry)] if numbers else 1

    def link(self, page: str, entry: str) -> str:
        """The URL of the entry, from the folder of all pages."""
        return link(file_name(page, self.find(page, entry))) + fragment(entry)


@dataclass(frozen=True)
class Outline:
    """All entries, without the texts of their pages."""

    lines: list[Line]

    @classmethod
    def read(cls, rows: Rows) -> Outline:
        return cls([Line._make(values) for values in rows.values(Line._fields)])

    @cached_property
    def pages(self) -> list[PageCounts]:
        """In the order of the rows."""
        counts = []
        for page, lines in groupby(self.lines, key=lambda line: line.page):
            is_open = [line.is_open for line in lines]
            counts.append(PageCounts(page, len(is_open), sum(is_open)))
        return counts

    @cached_property
    def state_counts(self) -> dict[str, int]:
        """By state, in the order of their ranks."""
        counts = Counter((line.state_rank, line.state) for line in self.lines)
        by_state = Counter[str]()
        for (_, state), count in sorted(counts.items()):
            by_state[state] += count
        return dict(by_state)

    def list_states(self, known: Sequence[str]) -> list[str]:
        """The known states, then all others that an entry has."""
        return list(dict.fromkeys((*known, *self.state_counts)))

    @cached_property
    def groups(self) -> dict[str, dict[str, list[Line]]]:
        """The lines of each id by group and id; groups are in natural order."""
        by_group: dict[str, dict[str, list[Line]]] = {}
        for line in self.lines:
            by_group.setdefault(line.entry_group, {}).setdefault(line.entry, []).append(line)
        return dict(sorted(by_group.items(), key=lambda item: natural_key(item[0])))


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Orders numbers in a text by their values: CVE-2026-999 before CVE-2026-1000."""
    return [
        # A number of a million digits is not worth its conversion.
        (1, int(part), "") if part.isascii() and part.isdigit() and len(part) < 20 else (0, 0, part)
        for part in DIGITS.split(text)
    ]


def newest_key(group: str, entry: str = "") -> tuple[bool, object, object]:
    """Orders ids by age, as far as they show it: groups without a number, such as a year, first."""
    has_number = DIGITS.search(group) is not None
    return has_number, natural_key(group), natural_key(entry)
