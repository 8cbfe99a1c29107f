"""The pages with the entries: what is open first, in parts of limited size."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from markupsafe import Markup

from etl_assets.publish.site import names
from etl_assets.publish.site.files import SiteFiles
from etl_assets.publish.site.outline import EntryNumbers, newest_key
from etl_assets.publish.site.paging import cut_pages
from etl_assets.publish.site.render import Renderer
from etl_assets.publish.site.rows import Row

ROOT = "../"
# A page with more entries has a heading, and a link at its start, for each group of ids too.
MAX_UNDIVIDED_ENTRIES = 100
# What is above them in a page has a limited length, but for the page's own name.
MAX_HEAD_BYTES = 16_384
DATA_LINK = re.compile(rb'<a class="data" href="([^"]*)">')
ENTRY = re.compile(rb'<article id="([^"]+)">')


@dataclass(frozen=True, slots=True)
class Section:
    """Entries of one state, of one group of ids on a long page."""

    state: str
    group: str | None

    @property
    def id(self) -> str:
        """The anchor; that of an entry has no colon."""
        return ":".join(names.anchor(text) for text in (self.state, self.group or ""))


class EntryPages:
    """Renders pages, and notes on which part of its page each entry is."""

    def __init__(self, renderer: Renderer, files: SiteFiles, folder: str) -> None:
        self.numbers = EntryNumbers()
        self.moved: set[tuple[str, str]] = set()
        """The page and the id of entries that are on another part of it than before."""
        self._renderer, self._files, self._folder = renderer, files, folder

    @cached_property
    def _entry(self) -> Any:  # noqa: ANN401 - a macro
        return self._renderer.macros("entry.html.j2", ROOT).entry

    def write(self, rows: Sequence[Row], links: Sequence[tuple[str, str]]) -> None:
        """Write all parts of the page of these rows; `links` are URLs with their labels."""
        page = rows[0].page
        rows = sorted(rows, key=lambda row: newest_key(row.entry_group, row.entry), reverse=True)
        rows.sort(key=lambda row: (row.state_rank, row.state))
        is_long = len(rows) > MAX_UNDIVIDED_ENTRIES
        sections = [Section(row.state, row.entry_group if is_long else None) for row in rows]
        entries = [str(self._entry(row)) for row in rows]
        parts = cut_pages(entries)
        published_numbers = self._read_published_numbers(page)
        files = [names.link(names.file_name(page, number + 1)) for number in range(len(parts))]
        counts: dict[Section, int] = {}
        first_files: dict[Section, str] = {}
        for number, part in enumerate(parts):
            for index in part:
                section = sections[index]
                counts[section] = counts.get(section, 0) + 1
                first_files.setdefault(section, files[number])
                if published_numbers.get(names.anchor(rows[index].entry), 1) != number + 1:
                    self.moved.add((page, rows[index].entry))
            if len(parts) > 1:
                anchors = (names.anchor(rows[index].entry) for index in part)
                self.numbers.add(page, number + 1, anchors)
        common = {
            "name": page,
            "total": len(rows),
            "open_count": sum(row.is_open for row in rows),
            "jumps": _jumps(counts, first_files),
            "files": files,
            "links": links,
        }
        for number, part in enumerate(parts):
            content = self._renderer.page(
                "page.html.j2",
                ROOT,
                number=number + 1,
                sections=_sections(part, sections, entries, counts),
                **common,
            )
            file = f"{self._folder}/{names.file_name(page, number + 1)}"
            self._files.write(file, content, rows=len(part))

    def _read_published_numbers(self, page: str) -> dict[str, int]:
        """On which published part each anchor is, of a page that has several."""
        parts = self._files.published_parts(self._folder, page)
        numbers: dict[str, int] = {}
        for number, file in enumerate(parts if len(parts) > 1 else (), start=1):
            anchors = read_anchors(self._files.read_published(file))
            numbers |= dict.fromkeys(anchors, number)
        return numbers

    def can_link(self, page: str, links: Sequence[tuple[str, str]]) -> bool:
        """True if the page is published with these links, which other rows may have changed."""
        parts = self._files.published_parts(self._folder, page)
        if not parts:
            return False
        head = self._files.read_published(parts[0], MAX_HEAD_BYTES)
        urls = [html.unescape(url.decode()) for url in DATA_LINK.findall(head)]
        return urls == [url for _, url in links]

    def link(self, page: str) -> None:
        """Link the published parts of a page."""
        if numbers := self._read_published_numbers(page):
            self.numbers.by_page[page] = numbers
        for file in self._files.published_parts(self._folder, page):
            self._files.link(file)


def read_anchors(content: bytes) -> list[str]:
    """The anchors of the entries in a file of a page."""
    # Only a template makes such a tag: in text of the data, quotes and brackets are escaped.
    return [anchor.decode() for anchor in ENTRY.findall(content)]


def _sections(
    part: range,
    sections: Sequence[Section],
    entries: Sequence[str],
    counts: dict[Section, int],
) -> list[dict[str, object]]:
    """What a part of a page shows of each section."""
    shown = []
    for section, indexes in groupby(part, key=lambda index: sections[index]):
        numbers = list(indexes)
        first = numbers[0]
        shown.append(
            {
                "id": section.id,
                "state": section.state,
                "group": section.group,
                "count": counts[section],
                "is_continued": first > 0 and sections[first - 1] == section,
                "html": Markup("".join(entries[index] for index in numbers)),  # noqa: S704 - rendered
            }
        )
    return shown


def _jumps(counts: dict[Section, int], first_files: dict[Section, str]) -> list[dict[str, object]]:
    """The links to all sections of a page, by state."""
    jumps: list[dict[str, object]] = []
    for state, group in groupby(counts, key=lambda section: section.state):
        sections = list(group)
        targets = [
            {
                "url": f"{first_files[section]}#{names.link(section.id)}",
                "label": section.group or section.state,
                "count": counts[section],
            }
            for section in sections
        ]
        total = sum(counts[section] for section in sections)
        jumps.append({"state": state, "count": total, "targets": targets})
    return jumps
