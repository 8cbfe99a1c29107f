"""Documents held to a JSON Schema of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl_assets.model.errors import BuildError
from etl_assets.publish.document_schemas import broken

SCHEMA = '{"required": ["fruits"], "properties": {"fruits": {"items": {"type": "string"}}}}'


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "fruits.schema.json"
    path.write_text(SCHEMA, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param('{"fruits": ["elm"]}', [], id="as it should be"),
        pytest.param(
            '{"fruits": ["elm", 3]}',
            ['fruits.json: $.fruits[1]: expected type "string", found 3'],
            id="another type",
        ),
        pytest.param("{}", ['fruits.json: $: expected required ["fruits"], found {}'], id="lacks"),
    ],
)
def test_what_the_schema_does_not_allow_is_told_with_its_place(
    tmp_path: Path, schema: Path, text: str, told: list[str]
) -> None:
    document = tmp_path / "fruits.json"
    document.write_text(text, encoding="utf-8")

    assert [str(problem) for problem in broken(document, schema)] == told


def test_a_document_that_is_no_json_is_an_error_of_ours(tmp_path: Path, schema: Path) -> None:
    document = tmp_path / "fruits.json"
    document.write_text("{", encoding="utf-8")

    with pytest.raises(BuildError, match=r"fruits\.json: expected JSON"):
        broken(document, schema)
