"""The only row of a model becomes one object."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import json_record
from etl_assets.publish.writers.registry import find_problems

DOCUMENT = Document.model_validate(
    {"file": "today.json", "title": "Today", "format": "json_record", "from": "mart_today"}
)


def test_the_columns_of_the_row_are_members(lay, context) -> None:
    json_record.write(lay({"first": True, "found": [{"plant": "oak"}]}), DOCUMENT, context)

    content = json.loads((context.directory / "today.json").read_text())
    assert content == {"first": True, "found": [{"plant": "oak"}]}
    assert json_record.count_rows(DOCUMENT, context.directory) == 1


def test_a_declared_version_is_the_first_member(lay, context) -> None:
    document = DOCUMENT.model_copy(update={"options": {"format_version": 2}})

    json_record.write(lay({"first": True}), document, context)

    content = json.loads((context.directory / "today.json").read_text())
    assert list(content.items()) == [("format_version", 2), ("first", True)]


@pytest.mark.parametrize("version", [0, -1, "one", 1.5])
def test_a_version_that_is_no_positive_number_is_refused(version: object) -> None:
    document = DOCUMENT.model_copy(update={"options": {"format_version": version}})

    problems = find_problems([document])

    assert [problem.where for problem in problems] == [
        "documents: today.json: options.format_version"
    ]


@pytest.mark.parametrize("count", [0, 2])
def test_a_model_without_exactly_one_row_is_refused(lay, context, count: int) -> None:
    with pytest.raises(BuildError, match=f"expected one row for today.json, found {count}"):
        json_record.write(lay(*[{"first": True}] * count), DOCUMENT, context)


def test_a_file_of_another_structure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "today.json").write_text("[]")

    with pytest.raises(BuildError, match="expected one object"):
        json_record.count_rows(DOCUMENT, tmp_path)
