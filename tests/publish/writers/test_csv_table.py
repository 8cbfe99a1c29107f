"""Rows become comma-separated text, in which no text is a formula."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import csv_table

DOCUMENT = Document.model_validate(
    {"file": "plants.csv", "title": "Plants", "format": "csv_table", "from": "mart_plants"}
)


def written(lay, context, *rows: dict[str, object]) -> list[list[str]]:
    csv_table.write(lay(*rows), DOCUMENT, context)
    with (context.directory / "plants.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_values_are_below_their_column_names(lay, context) -> None:
    row = {
        "name": 'a "pear", ripe\nor not', "weight": -1.5, "is_ripe": True,
        "picked": date(2026, 3, 1), "at": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "tags": ["a"], "nothing": None,
    }  # fmt: skip

    header, cells = written(lay, context, row)

    assert header == list(row)
    assert cells == [
        'a "pear", ripe\nor not', "-1.5", "true", "2026-03-01", "2026-03-01T12:00:00+00:00",
        '["a"]', "",
    ]  # fmt: skip
    assert csv_table.count_rows(DOCUMENT, context.directory) == 1


@pytest.mark.fault("formula")
@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "  ="])
def test_text_that_looks_like_a_formula_is_escaped(lay, context, start: str) -> None:
    _, cells = written(lay, context, {"name": f"{start}cmd|' /C calc'!A0", "note": "fine"})

    assert cells == [f"'{start}cmd|' /C calc'!A0", "fine"]


def test_many_rows_are_written_in_chunks(lay, context) -> None:
    rows = [{"name": "x" * 1000, "number": number} for number in range(200)]

    lines = written(lay, context, *rows)

    assert [int(number) for _, number in lines[1:]] == list(range(200))
    assert csv_table.count_rows(DOCUMENT, context.directory) == 200


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\r\n1\r\n", "2 cells"), ("", "0 cells"), ('a\r\n"x"y\r\n', "comma-separated text")],
    ids=["ragged", "empty", "broken"],
)
def test_a_file_of_another_structure_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "plants.csv").write_text(text, encoding="utf-8", newline="")

    with pytest.raises(BuildError, match=message):
        csv_table.count_rows(DOCUMENT, tmp_path)
