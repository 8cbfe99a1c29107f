"""Long lists are written and read one element per line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from etl_assets.model.errors import BuildError
from etl_assets.publish.writers.json_stream import HEADER, read_object, write_object
from etl_assets.publish.writers.output import open_output


def written(folder: Path, *lists: tuple[str, list[bytes]], head: bytes = b'{"a":1}') -> Path:
    path = folder / "stream.json"
    with open_output(path) as file:
        write_object(file, head, lists)
    return path


def test_several_lists_are_one_object(tmp_path: Path) -> None:
    path = written(tmp_path, ("x", [b"1", b"2"]), ("y", []), ("z", [b'{"b":[]}']))

    assert json.loads(path.read_text()) == {"a": 1, "x": [1, 2], "y": [], "z": [{"b": []}]}


def test_an_object_is_read_back_part_by_part(tmp_path: Path) -> None:
    path = written(tmp_path, ("x", [b"1", b"2"]), ("y", []), ("z", [b"3"]))

    assert list(read_object(path)) == [(HEADER, b'{"a":1}'), ("x", b"1"), ("x", b"2"), ("z", b"3")]


def test_an_object_may_consist_of_its_list(tmp_path: Path) -> None:
    path = written(tmp_path, ("x", [b"1"]), head=b"{}")

    assert json.loads(path.read_text()) == {"x": [1]}
    assert list(read_object(path)) == [(HEADER, b"{}"), ("x", b"1")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "line 1: expected the object's first members", id="empty"),
        pytest.param('{"x":[\n1\n', "expected the end of the object", id="cut off"),
        pytest.param('{"x":[\n1,\n]}\n', "line 3: expected another element", id="comma at the end"),
        pytest.param('{"x":[\n1\n2\n]}\n', "line 3: expected a comma", id="no comma"),
        pytest.param('{"x":[\n1\n]}\n2', "line 4: expected nothing", id="more"),
    ],
)
def test_invalid_lines_are_reported_with_their_number(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "stream.json"
    path.write_text(content)

    with pytest.raises(BuildError, match=message):
        list(read_object(path))
