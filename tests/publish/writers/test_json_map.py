"""Rows become an object of objects, without nulls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.publish.writers import json_map

DOCUMENT = Document.model_validate(
    {
        "file": "plants.json",
        "title": "Plants by bed",
        "format": "json_map",
        "from": "mart_plants",
        "options": {"outer": "bed", "inner": "plant"},
    }
)


def test_keys_become_objects_and_nulls_are_left_out(lay, context) -> None:
    rows = lay(
        {"bed": "north", "plant": "fern", "height_m": 0.5, "kind": None},
        {"bed": "north", "plant": "moss", "height_m": None, "kind": None},
        {"bed": "south", "plant": "oak", "height_m": 20.0, "kind": "tree"},
    )

    json_map.write(rows, DOCUMENT, context)

    assert (context.directory / "plants.json").read_text(encoding="utf-8") == (
        '{\n"north":{"fern":{"height_m":0.5},"moss":{}},\n'
        '"south":{"oak":{"height_m":20.0,"kind":"tree"}}\n}\n'
    )
    assert json_map.count_rows(DOCUMENT, context.directory) == 3


def test_the_sources_are_named_in_a_license_file(lay, context) -> None:
    written = json_map.write(lay({"bed": "north", "plant": "fern"}), DOCUMENT, context)

    assert [(w.file, w.rows) for w in written] == [("plants.json", 1), ("plants.json.license", 0)]
    assert (context.directory / "plants.json.license").read_text() == (
        "Plants by bed, made of:\nGarden list. Licence: CC0-1.0\n"
    )


def test_rows_of_one_key_that_are_not_consecutive_are_refused(lay, context) -> None:
    rows = lay(*({"bed": bed, "plant": "fern"} for bed in ("north", "south", "north")))

    with pytest.raises(BuildError, match="expected the rows of north together"):
        json_map.write(rows, DOCUMENT, context)


def test_a_missing_key_column_is_reported(lay, context) -> None:
    with pytest.raises(BuildError, match="expected the column plant"):
        json_map.write(lay({"bed": "north"}), DOCUMENT, context)


@pytest.mark.parametrize("content", ["[]", '{"north":1}', '{"north":{"fern":null}}', "{"])
def test_a_file_of_another_structure_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "plants.json").write_text(content)

    with pytest.raises(BuildError, match="expected an object of objects"):
        json_map.count_rows(DOCUMENT, tmp_path)


def test_a_repeated_key_counts_once_so_that_it_shows_as_a_loss(tmp_path: Path) -> None:
    (tmp_path / "plants.json").write_text(json.dumps({"a": {"b": {}}})[:-1] + ',"a":{"b":{}}}')

    assert json_map.count_rows(DOCUMENT, tmp_path) == 1
