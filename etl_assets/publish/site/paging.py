"""Cut a sequence of rendered parts into pages of limited size."""

from __future__ import annotations

from collections.abc import Sequence

MAX_PAGE_BYTES = 500_000
# Head, navigation and headings of a page need the rest.
MAX_PARTS_BYTES = 400_000


def size_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def cut_pages(parts: Sequence[str]) -> list[range]:
    """The numbers of the parts of each page; at least one page, and one part on each page."""
    pages = list[range]()
    start = page_bytes = 0
    for index, part in enumerate(parts):
        part_bytes = size_bytes(part)
        if index > start and page_bytes + part_bytes > MAX_PARTS_BYTES:
            pages.append(range(start, index))
            start, page_bytes = index, 0
        page_bytes += part_bytes
    return [*pages, range(start, len(parts))]
