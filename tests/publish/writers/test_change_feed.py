"""The feed of changes: pages, index and Atom feed, and what a reader gets from a number on."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import change_feed
from etl_assets.publish.writers.change_feed import Sequence, read_since
from etl_assets.publish.writers.output import DocumentContext, PublishedDocument
from etl_assets.publish.writers.rows import Rows

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DOCUMENT = Document.model_validate(
    {
        "file": "changes",
        "title": "Changes of trees",
        "format": "change_feed",
        "from": "mart_changes",
        "options": {"base_url": "https://orchard.example.org", "author": "Orchard"},
    }
)
ATOM = "{http://www.w3.org/2005/Atom}"
HOSTILE = "<script>&\x00]]>"

Row = tuple[int, int, str, str | None]


def number(day: int, change: int) -> str:
    micros = int((FIRST + timedelta(days=day)).timestamp()) * 1_000_000
    return f"{micros}-{change}"


def write_mart(path: Path, rows: list[Row]) -> Path:
    table = [
        {
            "published_at": FIRST + timedelta(days=day),
            "change_number": change,
            "tree": tree,
            "is_removed": fruit is None,
            "fruit": fruit,
        }
        for day, change, tree, fruit in rows
    ]
    schema = pa.schema(
        [
            ("published_at", pa.timestamp("us", "UTC")),
            ("change_number", pa.int64()),
            ("tree", pa.string()),
            ("is_removed", pa.bool_()),
            ("fruit", pa.string()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(table, schema), path)
    return path


def write(folder: Path, rows: list[Row], before: Path | None = None) -> Path:
    """Write a feed, beside its mart, and return the folder of the set."""
    folder.mkdir()
    mart = write_mart(folder / "mart.parquet", rows)
    context = DocumentContext(folder, FIRST)
    if before:
        files = json.loads((before / "files.json").read_text())
        published = PublishedDocument(
            before,
            {file["file"]: change_feed.PublishedFile(**file) for file in files},
            before / "mart.parquet",
            ["published_at", "tree"],
        )
        context = replace(context, published=published)
    written = change_feed.write(Rows(mart), DOCUMENT, context)
    (folder / "files.json").write_text(json.dumps([f.model_dump(mode="json") for f in written]))
    assert sum(file.rows for file in written) == len(rows)
    return folder


ROWS: list[Row] = [
    (0, 0, "apple", "green"),
    (0, 0, "pear", "small"),
    (1, 1, "apple", "red"),
    (1, 2, "pear", None),
    (2, 1, HOSTILE, "odd"),
]


@pytest.mark.parametrize(
    ("since", "is_complete", "changes"),
    [
        pytest.param("0", True, ROWS, id="nothing known"),
        pytest.param(number(0, 0), False, ROWS[2:], id="the snapshot"),
        pytest.param(number(1, 1), False, ROWS[3:], id="half a publication"),
        pytest.param(number(1, 2), False, ROWS[4:], id="a publication"),
        pytest.param(number(2, 1), False, [], id="everything"),
        pytest.param(number(0, 3), True, ROWS, id="a page that was folded"),
        pytest.param(number(9, 1), True, ROWS, id="a later set that was replaced"),
    ],
)
def test_a_reader_gets_what_follows_its_number(
    tmp_path: Path, since: str, is_complete: bool, changes: list[Row]
) -> None:
    folder = write(tmp_path / "set", ROWS)

    found = read_since(folder / "changes", Sequence.parse(since))

    assert found.newest == number(2, 1)
    assert found.is_complete is is_complete
    assert [(each["tree"], each["fruit"]) for each in found.changes] == [r[2:] for r in changes]


def test_unchanged_pages_are_links_and_a_new_page_is_written(tmp_path: Path) -> None:
    before = write(tmp_path / "before", ROWS[:4])

    after = write(tmp_path / "after", ROWS, before)

    linked = {path.name for path in (after / "changes").iterdir() if path.stat().st_nlink > 1}
    assert linked == {"feed-0.ndjson", f"feed-{number(1, 0).removesuffix('-0')}.ndjson"}
    whole = write(tmp_path / "whole", ROWS)
    for path in (whole / "changes").iterdir():
        assert path.read_bytes() == (after / "changes" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    "folded",
    [
        pytest.param([(1, 0, "apple", "red"), ROWS[4]], id="two publications"),
        pytest.param([(2, 0, "apple", "red"), (2, 0, HOSTILE, "odd")], id="all"),
        pytest.param([], id="an empty history"),
    ],
)
def test_a_folded_page_is_gone_and_counted_back(tmp_path: Path, folded: list[Row]) -> None:
    before = write(tmp_path / "before", ROWS)

    after = write(tmp_path / "after", folded, before)

    assert change_feed.count_rows(DOCUMENT, after) == len(folded)
    pages = json.loads((after / "changes/index.json").read_bytes())["pages"]
    assert {p["file"] for p in pages} == {p.name for p in (after / "changes").glob("*.ndjson")}


def test_the_atom_feed_has_an_entry_for_each_publication(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ROWS)

    feed = ET.parse(folder / "changes/changes.atom").getroot()

    entries = feed.findall(f"{ATOM}entry")
    assert [entry.findtext(f"{ATOM}title") for entry in entries] == ["1 change", "2 changes"]
    assert entries[0].findtext(f"{ATOM}content") == "<script>&\ufffd]]> odd"
    assert entries[1].findtext(f"{ATOM}content") == "apple red\npear removed"
    assert feed.findtext(f"{ATOM}updated") == "2026-03-03T00:00:00Z"
    assert {link.get("href") for link in feed.iter(f"{ATOM}link")} >= {
        "https://orchard.example.org/changes/changes.atom"
    }


@pytest.mark.parametrize("damage", ["a line gone", "a page gone", "a page more", "no JSON"])
def test_a_feed_that_is_not_its_index_is_refused(tmp_path: Path, damage: str) -> None:
    folder = write(tmp_path / "set", ROWS) / "changes"
    page = folder / f"feed-{number(1, 0).removesuffix('-0')}.ndjson"
    page.chmod(0o644)
    lines = page.read_text().splitlines(keepends=True)
    if damage == "a line gone":
        page.write_text(lines[0])
    elif damage == "a page gone":
        page.unlink()
    elif damage == "a page more":
        (folder / "feed-1.ndjson").write_text(lines[0])
    else:
        page.write_text("{")

    with pytest.raises(BuildError, match="expected"):
        change_feed.count_rows(DOCUMENT, folder.parent)


def test_a_feed_that_was_read_has_the_members_of_the_documentation(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ROWS)
    expected: dict[str, Any] = {
        "sequence": number(1, 2), "tree": "pear", "is_removed": True, "fruit": None,
    }  # fmt: skip

    assert read_since(folder / "changes", Sequence.parse(number(1, 1))).changes[0] == expected
