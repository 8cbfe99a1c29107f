"""Rows of a site about invented trees, and what a page of it refers to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from etl_assets.publish.writers.rows import Rows

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
TEXT, TIME = pa.string(), pa.timestamp("us", tz="UTC")


def _struct(columns: str, **others: pa.DataType) -> pa.DataType:
    return pa.struct([(name, others.get(name, TEXT)) for name in columns.split()])


SCHEMA = pa.schema(
    [
        *((name, TEXT) for name in ("page", "entry", "entry_group", "state")),
        *(("state_rank", pa.int64()), ("is_open", pa.bool_()), ("badge", TEXT), ("answer", TEXT)),
        *((name, TEXT) for name in ("sentence", "action", "flip", "entry_url", "record_url")),
        ("facts", _struct("severity score", score=pa.float64())),
        ("rule", TEXT),
        (
            "statements",
            pa.list_(
                _struct("rank verdict source claim rule detail record record_url", rank=pa.int64())
            ),
        ),
        (
            "periods",
            pa.list_(
                _struct(
                    "since until state answer confidence cause source record",
                    since=TIME,
                    until=TIME,
                )
            ),
        ),
    ]
)
RANKS = {"open": 1, "fixed": 5}


def an_entry(page: str = "ash", entry: str = "CVE-2026-1", **values: Any) -> dict[str, Any]:
    """A row; `statement` has values of its one statement."""
    state = values.get("state", "fixed")
    statement = {
        "rank": 1,
        "verdict": "won",
        "source": "Garden",
        "claim": "fixed_version",
        "rule": "R1",
    }
    return {
        "page": page,
        "entry": entry,
        "entry_group": entry[:8] if entry.startswith("CVE-") else entry.partition("-")[0],
        "state": state,
        "state_rank": RANKS[state],
        "is_open": state == "open",
        "sentence": "The garden fixed it.",
        "facts": {"severity": "high", "score": 7.5},
        "rule": "R1",
        "statements": [statement | values.pop("statement", {})],
        "periods": [{"since": JANUARY, "state": state, "cause": "first_seen"}],
    } | values


def lay_entries(file: Path, rows: list[dict[str, Any]]) -> Rows:
    """A mart of the rows, in the order of pages and ids."""
    rows = sorted(rows, key=lambda row: (row["page"], row["entry"]))
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
    return Rows(file)


class Page(HTMLParser):
    """The elements and the text of a page, as a parser of HTML sees them."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.heading = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags and self.tags[-1][0] == "h1" and not self.heading:
            self.heading = data

    @property
    def ids(self) -> list[str]:
        return [values["id"] or "" for _, values in self.tags if "id" in values]

    @property
    def entries(self) -> list[str]:
        return [values["id"] or "" for tag, values in self.tags if tag == "article"]

    @property
    def urls(self) -> list[str]:
        """The targets of all links, scripts, styles and images."""
        return [
            values[name] or ""
            for _, values in self.tags
            for name in ("href", "src")
            if name in values
        ]


def find_broken_links(site: Path) -> Iterator[str]:
    """The relative URLs of all pages whose file or anchor does not exist."""
    pages = {file.resolve(): Page(file) for file in site.rglob("*.html")}
    ids = {file: set(page.ids) for file, page in pages.items()}
    for file, page in pages.items():
        for url in page.urls:
            parts = urlsplit(url)
            if parts.scheme in {"http", "https", "data"}:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            is_found = target.is_file() and not parts.scheme
            # A browser decodes the fragment once to find the id.
            if not is_found or (parts.fragment and unquote(parts.fragment) not in ids[target]):
                yield f"{file.name}: {url}"
