"""The only row of a model becomes one object."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import json_record

DOCUMENT = Document.model_validate(
    {"file": "today.json", "title": "Today", "format": "json_record", "from": "mart_today"}
)


def test_the_columns_of_the_row_are_members(lay, context) -> None:
    json_record.write(lay({"first": True, "found": [{"plant": "oak"}]}), DOCUMENT, context)

    content = json.loads((context.directory / "today.json").read_text())
    assert content == {"first": True, "found": [{"plant": "oak"}]}
    assert json_record.count_rows(DOCUMENT, context.directory) == 1


@pytest.mark.parametrize("count", [0, 2])
def test_a_model_without_exactly_one_row_is_refused(lay, context, count: int) -> None:
    with pytest.raises(BuildError, match=f"expected one row for today.json, found {count}"):
        json_record.write(lay(*[{"first": True}] * count), DOCUMENT, context)


def test_a_file_of_another_structure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "today.json").write_text("[]")

    with pytest.raises(BuildError, match="expected one object"):
        json_record.count_rows(DOCUMENT, tmp_path)
